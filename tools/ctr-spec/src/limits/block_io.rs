//! Disks: weights and rates.

use super::{Options, merge, size};
use crate::{devices, flag};
use anyhow::{Context, bail};
use serde_json::{Map, Value, json};

/// Weights and rates of disks, by the numbers of their device nodes.
pub(super) fn set_block_io(config: &mut Value, host: &mut Map<String, Value>, options: &Options) -> anyhow::Result<()> {
    let mut io = Map::new();
    match options.blkio_weight {
        None | Some(0) => {}
        Some(weight @ 10..=1000) => drop(io.insert("weight".into(), weight.into())),
        Some(_) => bail!("Range of blkio weight is from 10 to 1000"),
    }
    let rates = [
        ("weightDevice", "blkioWeightDevice", "--blkio-weight-device", &options.blkio_weight_device),
        ("throttleReadBpsDevice", "blkioDeviceReadBps", "--device-read-bps", &options.device_read_bps),
        ("throttleWriteBpsDevice", "blkioDeviceWriteBps", "--device-write-bps", &options.device_write_bps),
        ("throttleReadIOPSDevice", "blkioDeviceReadIOps", "--device-read-iops", &options.device_read_iops),
        ("throttleWriteIOPSDevice", "blkioDeviceWriteIOps", "--device-write-iops", &options.device_write_iops),
    ];
    for (member, shown, flag, wishes) in rates {
        let (mut list, mut repeated) = (Vec::new(), Vec::new());
        let what = if member == "weightDevice" { "weight" } else { "rate" };
        for wish in wishes {
            let (path, number) = read(member, wish).map_err(|why| flag::refused(flag, wish, why))?;
            let (_, major, minor) = devices::numbers(path)?;
            list.push(json!({ "major": major, "minor": minor, what: number }));
            repeated.push(json!({ "path": path, what: number }));
        }
        if !list.is_empty() {
            io.insert(member.into(), list.into());
            host.insert(shown.into(), repeated.into());
        }
    }
    merge(config, "blockIO", io);
    Ok(())
}

/// `/dev/sda:300`, the number as the member of `blockIO` wants it.
fn read<'a>(member: &str, wish: &'a str) -> anyhow::Result<(&'a str, i64)> {
    let (path, number) = wish.rsplit_once(':').with_context(|| format!("bad format: {wish}"))?;
    if !path.starts_with("/dev/") {
        bail!("bad format for device path: {wish}");
    }
    let in_bytes = member.contains("Bps");
    let number = if in_bytes { size(number) } else { number.parse().ok() }.filter(|number| *number > 0);
    if member == "weightDevice" {
        let weight = number.filter(|number| (10..=1000).contains(number));
        return Ok((path, weight.with_context(|| format!("invalid weight for device: {wish}"))?));
    }
    let (unit, hint) = if in_bytes { ("[<unit>]", ". Unit is optional and can be kb, mb, or gb") } else { ("", "") };
    let wrong = || {
        format!(
            "invalid rate for device: {wish}. The correct format is <device-path>:<number>{unit}. Number must be a positive integer{hint}"
        )
    };
    Ok((path, number.with_context(wrong)?))
}

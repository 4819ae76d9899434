//! Disks: weights and rates.

use super::{Options, merge, size};
use crate::devices;
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
        ("weightDevice", "blkioWeightDevice", &options.blkio_weight_device),
        ("throttleReadBpsDevice", "blkioDeviceReadBps", &options.device_read_bps),
        ("throttleWriteBpsDevice", "blkioDeviceWriteBps", &options.device_write_bps),
        ("throttleReadIOPSDevice", "blkioDeviceReadIOps", &options.device_read_iops),
        ("throttleWriteIOPSDevice", "blkioDeviceWriteIOps", &options.device_write_iops),
    ];
    for (member, shown, wishes) in rates {
        let (mut list, mut repeated) = (Vec::new(), Vec::new());
        for wish in wishes {
            let invalid = || format!("bad format: {wish}");
            let (path, rate) = wish.rsplit_once(':').with_context(invalid)?;
            if !path.starts_with("/dev/") {
                bail!("bad format for device path: {wish}");
            }
            let number = if member.contains("Bps") { size(rate) } else { rate.parse().ok() };
            let number = number.filter(|number| *number > 0);
            let number = number.with_context(|| format!("invalid rate for device: {wish}. The correct format is <device-path>:<number>. Number must be a positive integer"))?;
            if member == "weightDevice" && !(10..=1000).contains(&number) {
                bail!("invalid weight for device: {wish}");
            }
            let (_, major, minor) = devices::numbers(path)?;
            let what = if member == "weightDevice" { "weight" } else { "rate" };
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

//! Memory and swap.

use super::size::no_size;
use super::{Options, merge, size};
use anyhow::bail;
use serde_json::{Map, Value};

/// Docker refuses less: a container needs some to start.
const LEAST_MEMORY: i64 = 6 << 20;

/// Docker's rules: swap counts memory and swap together; when it is not given it stays as it was, and is twice the memory
/// at first.
pub(super) fn set_memory(config: &mut Value, options: &Options) -> anyhow::Result<()> {
    let bytes = |flag, text: &str| size(text).ok_or_else(|| no_size(flag, text));
    let memory = options.memory.as_deref().map(|text| bytes("-m, --memory", text)).transpose()?;
    let swap = match options.memory_swap.as_deref() {
        Some("-1") => Some(-1),
        text => text.map(|text| bytes("--memory-swap", text)).transpose()?,
    };
    let mut limits = Map::new();
    match (memory.filter(|memory| *memory > 0), swap.filter(|swap| *swap != 0)) {
        (None, None) => {}
        (None, Some(-1)) => drop(limits.insert("swap".into(), (-1).into())),
        (None, Some(_)) => {
            bail!("You should always set the Memory limit when using Memoryswap limit, see usage")
        }
        (Some(memory), _) if memory < LEAST_MEMORY => bail!("Minimum memory limit allowed is 6MB"),
        (Some(memory), Some(swap)) if swap > 0 && swap < memory => {
            bail!("Minimum memoryswap limit should be larger than memory limit, see usage")
        }
        (Some(memory), swap) => {
            let before = config["linux"]["resources"]["memory"]["swap"].as_i64();
            if swap.is_none() && before.is_some_and(|before| before > 0 && before < memory) {
                bail!(
                    "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time"
                );
            }
            limits.insert("limit".into(), memory.into());
            limits.insert("swap".into(), swap.or(before).unwrap_or(memory.saturating_mul(2)).into());
        }
    }
    let reservation = options.memory_reservation.as_deref().map(|text| bytes("--memory-reservation", text));
    if let Some(reservation) = reservation.transpose()? {
        if memory.is_some_and(|memory| memory > 0 && memory < reservation) {
            bail!("Minimum memory limit can not be less than memory reservation limit, see usage");
        }
        if reservation > 0 && reservation < LEAST_MEMORY {
            bail!("Minimum memory reservation allowed is 6MB");
        }
        limits.insert("reservation".into(), reservation.into());
    }
    match options.memory_swappiness {
        None | Some(-1) => {}
        Some(much @ 0..=100) => drop(limits.insert("swappiness".into(), much.into())),
        Some(other) => {
            return Err(toolkit::usage(format!("invalid value: {other}. Valid memory swappiness range is 0-100")));
        }
    }
    if options.oom_kill_disable {
        limits.insert("disableOOMKiller".into(), true.into());
    }
    merge(config, "memory", limits);
    Ok(())
}

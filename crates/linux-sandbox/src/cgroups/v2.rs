//! Version 2: one tree, and the word `max`.

use super::Limit;
use crate::error::{Error, Result};

/// Files and contents of one limit.
pub(super) fn files(limit: &Limit) -> Result<Vec<(String, String)>> {
    let max = |value: i64| if value < 0 { "max".to_owned() } else { value.to_string() };
    let one = |file: &str, value: String| Ok(vec![(file.to_owned(), value)]);
    match limit {
        Limit::Memory(bytes) => one("memory.max", max(*bytes)),
        // The caller has taken the memory off.
        Limit::MemorySwap(bytes) => one("memory.swap.max", max(*bytes)),
        Limit::MemoryReservation(bytes) => one("memory.low", max(*bytes)),
        Limit::CpuShares(shares) => one("cpu.weight", weight(*shares).to_string()),
        Limit::CpuQuota(quota, period) => one("cpu.max", format!("{} {}", max(*quota), period.unwrap_or(100_000))),
        Limit::CpusetCpus(list) => one("cpuset.cpus", list.clone()),
        Limit::CpusetMems(list) => one("cpuset.mems", list.clone()),
        Limit::Pids(count) => one("pids.max", max(*count)),
        // Not a file: see [`super::devices`].
        Limit::Devices(_) => Ok(Vec::new()),
        Limit::Files(files) if files.v2.is_empty() => {
            let what: Vec<&str> = files.v1.iter().map(|(file, _)| file.as_str()).collect();
            Err(Error::refused(format!("cgroup: {}: version 2 has no such limit", what.join(", "))))
        }
        Limit::Files(files) => Ok(files.v2.clone()),
        Limit::Unified(file, content) if file.contains('/') => {
            Err(Error::refused(format!("cgroup: {file}={content}: not a file name")))
        }
        Limit::Unified(file, content) => one(file, content.clone()),
    }
}

/// 2..=262144 of version 1 onto 1..=10000 of version 2, as every runtime maps it.
pub(super) fn weight(shares: u64) -> u64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9999 / 262_142
}

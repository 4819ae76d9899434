//! Version 1: one tree a controller, numbers without words.

use super::{Limit, write};
use crate::error::{Call, Error, Result};
use std::fs;
use std::path::Path;

/// Files and contents of one limit, in the order in which they must be written.
pub(super) fn files(limit: &Limit) -> Result<Vec<(String, String)>> {
    let one = |file: &str, value: String| Ok(vec![(file.to_owned(), value)]);
    match limit {
        Limit::Memory(bytes) => one("memory.limit_in_bytes", bytes.to_string()),
        Limit::MemorySwap(bytes) => one("memory.memsw.limit_in_bytes", bytes.to_string()),
        Limit::MemoryReservation(bytes) => one("memory.soft_limit_in_bytes", bytes.to_string()),
        Limit::CpuShares(shares) => one("cpu.shares", shares.to_string()),
        Limit::CpuQuota(quota, period) => {
            let period = period.map(|period| ("cpu.cfs_period_us".to_owned(), period.to_string()));
            Ok(period.into_iter().chain([("cpu.cfs_quota_us".to_owned(), quota.to_string())]).collect())
        }
        Limit::CpusetCpus(list) => one("cpuset.cpus", list.clone()),
        Limit::CpusetMems(list) => one("cpuset.mems", list.clone()),
        Limit::Pids(count) if *count < 0 => one("pids.max", "max".into()),
        Limit::Pids(count) => one("pids.max", count.to_string()),
        Limit::Devices(rules) => Ok(rules
            .iter()
            .map(|(allow, rule)| (if *allow { "devices.allow" } else { "devices.deny" }.to_owned(), rule.clone()))
            .collect()),
        Limit::Files(files) => Ok(files.v1.clone()),
        Limit::Unified(file, _) => {
            Err(Error::refused(format!("cgroup: {file}: this controller has no version 2 tree here")))
        }
    }
}

/// A new cpuset is empty, and nothing can run in an empty one: every level takes what the one above has.
pub(super) fn inherit_cpuset(group: &Path) -> Result<()> {
    let Some(parent) = group.parent() else { return Ok(()) };
    let read = |path: &Path| fs::read_to_string(path).call(|| format!("read({path:?})"));
    for file in ["cpuset.cpus", "cpuset.mems"] {
        if read(&parent.join(file))?.trim().is_empty() {
            inherit_cpuset(parent)?;
        }
        write(&group.join(file), read(&parent.join(file))?.trim())?;
    }
    Ok(())
}

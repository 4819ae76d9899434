//! Processor time, and which processors.

use super::{Options, merge};
use crate::flag;
use anyhow::bail;
use serde_json::{Map, Value};

/// Microseconds; docker's, and the kernel's default.
const CPU_PERIOD: u64 = 100_000;

pub(super) fn set_processors(
    config: &mut Value,
    host: &mut Map<String, Value>,
    options: &Options,
) -> anyhow::Result<()> {
    let mut cpu = Map::new();
    let mut set = |name: &str, value: Value| drop(cpu.insert(name.into(), value));
    if let Some(quota) = options.cpus.as_deref().map(cpu_quota).transpose()?.filter(|quota| *quota > 0) {
        for (given, name) in [(options.cpu_period.is_some(), "Period"), (options.cpu_quota.is_some(), "Quota")] {
            if given {
                bail!("Conflicting options: Nano CPUs and CPU {name} cannot both be set");
            }
        }
        let there = std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
        let there = online_processors().map_or(there, |list| list.len() as u64);
        if quota > there * CPU_PERIOD {
            bail!("Range of CPUs is from 0.01 to {there}.00, as there are only {there} CPUs available");
        }
        set("quota", quota.into());
        set("period", CPU_PERIOD.into());
        host.insert("nanoCpus".into(), (quota * (1_000_000_000 / CPU_PERIOD)).into());
    }
    match options.cpu_period {
        None | Some(0) => {}
        Some(period @ 1000..=1_000_000) => set("period", period.into()),
        Some(_) => bail!("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)"),
    }
    match options.cpu_quota {
        None | Some(0) => {}
        Some(quota) if !(0..1000).contains(&quota) => set("quota", quota.into()),
        Some(_) => bail!("CPU cfs quota can not be less than 1ms (i.e. 1000)"),
    }
    if let (Some(period), Some(runtime)) = (options.cpu_rt_period, options.cpu_rt_runtime)
        && runtime > period
    {
        bail!("cpu real-time runtime cannot be higher than cpu real-time period");
    }
    if let Some(period) = options.cpu_rt_period {
        set("realtimePeriod", period.into());
    }
    if let Some(runtime) = options.cpu_rt_runtime {
        set("realtimeRuntime", runtime.into());
    }
    match options.cpu_shares {
        None | Some(0) => {}
        Some(weight @ 1..) => set("shares", weight.into()),
        Some(_) => bail!("shares: invalid argument"),
    }
    let lists = [("cpus", &options.cpuset_cpus, "CPUs", "cpu"), ("mems", &options.cpuset_mems, "memory nodes", "node")];
    for (member, list, what, folder) in lists {
        let Some(list) = list.as_deref().filter(|list| !list.is_empty()) else { continue };
        let Some(wanted) = numbers(list) else {
            bail!("Invalid value {list} for cpuset {member}: invalid format: {list}")
        };
        if let Some(there) = online(folder)
            && wanted.iter().any(|number| !there.contains(number))
        {
            let shown = std::fs::read_to_string(format!("/sys/devices/system/{folder}/online")).unwrap_or_default();
            bail!("Requested {what} are not available - requested {list}, available: {}", shown.trim());
        }
        set(member, list.into());
    }
    merge(config, "cpu", cpu);
    Ok(())
}

fn online_processors() -> Option<Vec<u32>> {
    online("cpu")
}

/// Processors or memory nodes of the host.
fn online(folder: &str) -> Option<Vec<u32>> {
    numbers(std::fs::read_to_string(format!("/sys/devices/system/{folder}/online")).ok()?.trim())
}

/// `0-2,4`, as cpuset(7) has lists.
fn numbers(list: &str) -> Option<Vec<u32>> {
    const MOST: u32 = 1 << 16;
    let mut all = Vec::new();
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let plain = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u32>().ok()).flatten();
        let (first, last) = (plain(first)?, plain(last)?);
        if first > last || last >= MOST {
            return None;
        }
        all.extend(first..=last);
    }
    Some(all)
}

/// `1.5` is 150 000 of every 100 000 microseconds, computed in whole numbers; 0 is no limit, as in docker.
fn cpu_quota(text: &str) -> anyhow::Result<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let quota = || {
        let part = format!("{part:0<5}");
        let part: u64 = part.get(..5)?.parse().ok()?;
        let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        whole.checked_mul(CPU_PERIOD)?.checked_add(part)
    };
    if !digits(whole) || !digits(part) || text.len() < part.len() + usize::from(whole.is_empty()) || text == "." {
        return Err(flag::refused("--cpus", text, format!("failed to parse {text} as a rational number")));
    }
    match quota() {
        // The kernel takes no quota below one millisecond, and docker no less than 0.01 processors.
        Some(quota) if quota == 0 || quota >= 1000 => Ok(quota),
        _ => bail!("Range of CPUs is from 0.01: {text} is less"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_become_a_quota() {
        for (text, want) in
            [("1", 100_000), ("1.5", 150_000), (".5", 50_000), ("0.01", 1000), ("2.000001", 200_000), ("0.0", 0)]
        {
            assert_eq!(cpu_quota(text).ok(), Some(want), "{text}");
        }
        for text in ["", ".", "-1", "x", "1e3", "0.001", "1.5.5", "99999999999999999999"] {
            assert!(cpu_quota(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn lists_of_processors() {
        assert_eq!(numbers("0-2,4"), Some(vec![0, 1, 2, 4]));
        for text in ["", "a", "1-", "2-1", "0,,1", "-1", "0-4294967295", "+1"] {
            assert_eq!(numbers(text), None, "{text:?}");
        }
    }
}

//! How much a container may take: members of `linux.resources` become cgroup files, those of
//! `process.rlimits` become setrlimit(2).

use crate::devices;
use anyhow::{Context, bail};
use clap::Args;
use serde_json::{Map, Value, json};

/// Docker refuses less: a container needs some to start.
const LEAST_MEMORY: i64 = 6 << 20;
/// Microseconds; docker's, and the kernel's default.
const CPU_PERIOD: u64 = 100_000;

#[derive(Debug, Args)]
#[group(skip)]
pub struct Options {
    /// Limit memory: bytes, or with b, k, m, g
    #[arg(short, long, value_name = "SIZE", allow_hyphen_values = true)]
    memory: Option<String>,

    /// Limit memory and swap together; -1 for unlimited swap [default: twice --memory]
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    memory_swap: Option<String>,

    /// Reclaim down to this much when the host is short of memory
    #[arg(long, value_name = "SIZE")]
    memory_reservation: Option<String>,

    /// How readily memory is swapped out: 0 to 100; -1 as the host
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    memory_swappiness: Option<i64>,

    /// Let the container wait for memory, instead of killing in it
    #[arg(long)]
    oom_kill_disable: bool,

    /// The weight of the container when disks are scarce: 10 to 1000
    #[arg(long, value_name = "WEIGHT")]
    blkio_weight: Option<u16>,

    /// The same for one disk: /dev/sda:300
    #[arg(long, value_name = "DEVICE:WEIGHT")]
    blkio_weight_device: Vec<String>,

    /// Limit reading from a disk, bytes a second: /dev/sda:1m
    #[arg(long, value_name = "DEVICE:RATE")]
    device_read_bps: Vec<String>,

    /// Limit writing to a disk, bytes a second
    #[arg(long, value_name = "DEVICE:RATE")]
    device_write_bps: Vec<String>,

    /// Limit reading from a disk, operations a second
    #[arg(long, value_name = "DEVICE:RATE")]
    device_read_iops: Vec<String>,

    /// Limit writing to a disk, operations a second
    #[arg(long, value_name = "DEVICE:RATE")]
    device_write_iops: Vec<String>,

    /// Put the container's cgroup below this one
    #[arg(long, value_name = "PATH")]
    cgroup_parent: Option<String>,

    /// Limit processor time: 1.5 is one and a half processors
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    cpus: Option<String>,

    /// The weight of the container when processors are scarce; 1024 is usual
    #[arg(short = 'c', long, value_name = "WEIGHT")]
    cpu_shares: Option<u64>,

    /// The period of the processor quota, in microseconds
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_period: Option<u64>,

    /// Processor time in each period, in microseconds
    #[arg(long, value_name = "MICROSECONDS", allow_hyphen_values = true)]
    cpu_quota: Option<i64>,

    /// The period of real-time scheduling, in microseconds
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_rt_period: Option<u64>,

    /// Real-time scheduling in each period, in microseconds
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_rt_runtime: Option<i64>,

    /// Processors to use: 0-2,4
    #[arg(long, value_name = "LIST")]
    cpuset_cpus: Option<String>,

    /// Memory nodes to use
    #[arg(long, value_name = "LIST")]
    cpuset_mems: Option<String>,

    /// Limit the number of processes and threads; -1 for unlimited
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    pids_limit: Option<i64>,

    /// Limit a resource of each process: nofile=1024:2048
    #[arg(long, value_name = "NAME=SOFT[:HARD]")]
    ulimit: Vec<String>,

    /// Prefer, or spare, the container when the kernel has to kill: -1000 to 1000
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    oom_score_adj: Option<i64>,

    /// The size of /dev/shm
    #[arg(long, value_name = "SIZE")]
    shm_size: Option<String>,
}

/// Sets the limits, and in `host` what docker's inspect repeats of them.
pub fn set(
    config: &mut Value,
    host: &mut Map<String, Value>,
    options: &Options,
    id: Option<&str>,
) -> anyhow::Result<()> {
    set_memory(config, options)?;
    set_processors(config, host, options)?;
    set_block_io(config, host, options)?;
    if let Some(limit) = options.pids_limit {
        config["linux"]["resources"]["pids"]["limit"] = if limit > 0 { limit } else { -1 }.into();
    }
    if let Some(score) = options.oom_score_adj {
        if !(-1000..=1000).contains(&score) {
            bail!("Invalid value {score}, range for oom score adj is [-1000, 1000]");
        }
        config["process"]["oomScoreAdj"] = score.into();
    }
    for wish in &options.ulimit {
        set_ulimit(config, wish)?;
    }
    if let Some(parent) = options.cgroup_parent.as_deref().filter(|parent| !parent.is_empty()) {
        set_parent(config, host, parent, id)?;
    }
    if let Some(text) = &options.shm_size {
        let bytes = size(text).filter(|bytes| *bytes > 0).with_context(|| format!("invalid size: '{text}'"))?;
        host.insert("shmSize".into(), bytes.into());
        let mounts = config["mounts"].as_array_mut().into_iter().flatten();
        for mount in mounts.filter(|mount| mount["destination"] == "/dev/shm") {
            if let Some(options) = mount["options"].as_array_mut() {
                options.retain(|option| !option.as_str().is_some_and(|option| option.starts_with("size=")));
                options.push(format!("size={bytes}").into());
            }
        }
    }
    Ok(())
}

/// `/dock/PARENT/ID`: the last name is the container's own.
fn set_parent(config: &mut Value, host: &mut Map<String, Value>, parent: &str, id: Option<&str>) -> anyhow::Result<()> {
    if parent.split('/').any(|name| name == "..") || parent.contains('\0') {
        bail!("--cgroup-parent {parent}: a path without .. is wanted");
    }
    let own = id.map_or_else(bundle::names::id, Into::into);
    let parent = parent.trim_matches('/');
    config["linux"]["cgroupsPath"] = format!("/{parent}/{own}").into();
    host.insert("cgroupParent".into(), parent.into());
    Ok(())
}

/// Docker's rules: swap counts memory and swap together, and is twice the memory when it is not given.
fn set_memory(config: &mut Value, options: &Options) -> anyhow::Result<()> {
    let bytes = |text: &String| size(text).with_context(|| format!("invalid size: '{text}'"));
    let memory = options.memory.as_ref().map(bytes).transpose()?;
    let swap = match options.memory_swap.as_deref() {
        Some("-1") => Some(-1),
        _ => options.memory_swap.as_ref().map(bytes).transpose()?,
    };
    let mut limits = Map::new();
    match (memory.filter(|memory| *memory > 0), swap.filter(|swap| *swap != 0)) {
        (None, None) => {}
        (None, Some(_)) => {
            bail!("You should always set the Memory limit when using Memoryswap limit, see usage")
        }
        (Some(memory), _) if memory < LEAST_MEMORY => bail!("Minimum memory limit allowed is 6MB"),
        (Some(memory), Some(swap)) if swap > 0 && swap < memory => {
            bail!("Minimum memoryswap limit should be larger than memory limit, see usage")
        }
        (Some(memory), swap) => {
            limits.insert("limit".into(), memory.into());
            limits.insert("swap".into(), swap.unwrap_or(memory.saturating_mul(2)).into());
        }
    }
    if let Some(reservation) = options.memory_reservation.as_ref().map(bytes).transpose()? {
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
        Some(other) => bail!("Invalid value: {other}, valid memory swappiness range is 0-100"),
    }
    if options.oom_kill_disable {
        limits.insert("disableOOMKiller".into(), true.into());
    }
    merge(config, "memory", limits);
    Ok(())
}

/// A member of `linux.resources` is made only when there is something to say.
fn merge(config: &mut Value, member: &str, wishes: Map<String, Value>) {
    for (name, value) in wishes {
        config["linux"]["resources"][member][name.as_str()] = value;
    }
}

fn set_processors(config: &mut Value, host: &mut Map<String, Value>, options: &Options) -> anyhow::Result<()> {
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
        && i64::try_from(period).is_ok_and(|period| runtime > period)
    {
        bail!("cpu real-time runtime cannot be higher than cpu real-time period");
    }
    if let Some(period) = options.cpu_rt_period {
        set("realtimePeriod", period.into());
    }
    if let Some(runtime) = options.cpu_rt_runtime {
        set("realtimeRuntime", runtime.into());
    }
    if let Some(weight) = options.cpu_shares.filter(|weight| *weight > 0) {
        set("shares", weight.into());
    }
    let lists = [("cpus", &options.cpuset_cpus, "CPUs", "cpu"), ("mems", &options.cpuset_mems, "memory nodes", "node")];
    for (member, list, what, folder) in lists {
        let Some(list) = list.as_deref().filter(|list| !list.is_empty()) else { continue };
        let Some(wanted) = numbers(list) else { bail!("Invalid value {list} for cpuset {member}") };
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

/// Weights and rates of disks, by the numbers of their device nodes.
fn set_block_io(config: &mut Value, host: &mut Map<String, Value>, options: &Options) -> anyhow::Result<()> {
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
        bail!("invalid argument {text:?} for --cpus: want a number of processors");
    }
    match quota() {
        // The kernel takes no quota below one millisecond, and docker no less than 0.01 processors.
        Some(quota) if quota == 0 || quota >= 1000 => Ok(quota),
        _ => bail!("invalid argument {text:?} for --cpus: want 0.01 or more processors"),
    }
}

fn set_ulimit(config: &mut Value, wish: &str) -> anyhow::Result<()> {
    const NAMES: [&str; 16] = [
        "core",
        "cpu",
        "data",
        "fsize",
        "locks",
        "memlock",
        "msgqueue",
        "nice",
        "nofile",
        "nproc",
        "rss",
        "rtprio",
        "rttime",
        "sigpending",
        "stack",
        "as",
    ];
    let (name, values) = wish.split_once('=').with_context(|| format!("invalid ulimit argument: {wish}"))?;
    if !NAMES.contains(&name) {
        bail!("invalid ulimit type: {name}");
    }
    let value = |text: &str| match text {
        "-1" | "unlimited" => Ok(u64::MAX),
        _ => text.parse::<u64>().with_context(|| format!("invalid ulimit value: {wish}")),
    };
    let (soft, hard) = values.split_once(':').unwrap_or((values, values));
    let (soft, hard) = (value(soft)?, value(hard)?);
    if soft > hard {
        bail!("ulimit soft limit must be less than or equal to hard limit: {wish}");
    }
    let kind = format!("RLIMIT_{}", name.to_ascii_uppercase());
    let limits = &mut config["process"]["rlimits"];
    if !limits.is_array() {
        *limits = json!([]);
    }
    if let Some(limits) = limits.as_array_mut() {
        limits.retain(|old| old["type"] != kind.as_str());
        limits.push(json!({ "type": kind, "soft": soft, "hard": hard }));
    }
    Ok(())
}

/// Docker's sizes: `512`, `64k`, `1.5G`, `2gb`, `1 GiB`; the steps are 1024 always.
pub fn size(text: &str) -> Option<i64> {
    let lower = text.to_ascii_lowercase();
    let number_ends = lower.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(lower.len());
    let (number, unit) = lower.split_at(number_ends);
    let unit = unit.strip_prefix(' ').unwrap_or(unit);
    let unit = unit.strip_suffix('b').unwrap_or(unit);
    let unit = unit.strip_suffix('i').unwrap_or(unit);
    let shift = match unit {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        "p" => 50,
        _ => return None,
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || number.ends_with('.') || part.contains('.') {
        return None;
    }
    let whole: i128 = whole.parse().ok()?;
    let part: String = part.chars().take(9).collect();
    let fraction = if part.is_empty() {
        0
    } else {
        (part.parse::<i128>().ok()? << shift) / 10i128.pow(u32::try_from(part.len()).ok()?)
    };
    i64::try_from(whole.checked_mul(1 << shift)?.checked_add(fraction)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_sizes() {
        for (text, want) in [
            ("0", Some(0)),
            ("512", Some(512)),
            ("64k", Some(65536)),
            ("256m", Some(256 << 20)),
            ("1G", Some(1 << 30)),
            ("2gb", Some(2 << 30)),
            ("1 GiB", Some(1 << 30)),
            ("1.5g", Some(3 << 29)),
            ("10b", Some(10)),
            ("", None),
            ("m", None),
            ("-1", None),
            ("1.", None),
            (".5g", None),
            ("1x", None),
            ("1mm", None),
            ("1.2.3m", None),
            ("9223372036854775808", None),
            ("99999999999p", None),
        ] {
            assert_eq!(size(text), want, "{text:?}");
        }
    }

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

    #[test]
    fn the_last_ulimit_of_a_kind_wins() {
        let mut config = json!({"process": {}});
        for wish in ["nofile=1:2", "core=-1", "nofile=5"] {
            set_ulimit(&mut config, wish).unwrap();
        }
        let want = json!([
            {"type": "RLIMIT_CORE", "soft": u64::MAX, "hard": u64::MAX},
            {"type": "RLIMIT_NOFILE", "soft": 5, "hard": 5},
        ]);
        assert_eq!(config["process"]["rlimits"], want);
        for wish in ["nofile", "x=1", "nofile=2:1", "nofile=a", "nofile=1:2:3"] {
            assert!(set_ulimit(&mut config, wish).is_err(), "{wish}");
        }
    }
}

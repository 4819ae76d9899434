//! How much a container may take: members of `linux.resources` become cgroup files, those of
//! `process.rlimits` become setrlimit(2).

use anyhow::{Context, bail};
use clap::Args;
use serde_json::{Value, json};

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

    /// Limit processor time: 1.5 is one and a half processors
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    cpus: Option<String>,

    /// The weight of the container when processors are scarce; 1024 is usual
    #[arg(short = 'c', long, value_name = "WEIGHT")]
    cpu_shares: Option<u64>,

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

pub fn set(config: &mut Value, options: &Options) -> anyhow::Result<()> {
    set_memory(config, options)?;
    let resources = &mut config["linux"]["resources"];
    if let Some(quota) = options.cpus.as_deref().map(cpu_quota).transpose()?.filter(|quota| *quota > 0) {
        resources["cpu"]["quota"] = quota.into();
        resources["cpu"]["period"] = CPU_PERIOD.into();
    }
    if let Some(weight) = options.cpu_shares {
        resources["cpu"]["shares"] = weight.into();
    }
    for (member, list) in [("cpus", &options.cpuset_cpus), ("mems", &options.cpuset_mems)] {
        let Some(list) = list else { continue };
        if list.is_empty() || !list.bytes().all(|b| b.is_ascii_digit() || matches!(b, b',' | b'-')) {
            bail!("--cpuset-{member} {list}: want numbers and ranges, 0-2,4");
        }
        resources["cpu"][member] = list.as_str().into();
    }
    if let Some(limit) = options.pids_limit {
        resources["pids"]["limit"] = if limit > 0 { limit } else { -1 }.into();
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
    if let Some(text) = &options.shm_size {
        let bytes = size(text).filter(|bytes| *bytes > 0).with_context(|| format!("invalid size: '{text}'"))?;
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

/// Docker's rules: swap counts memory and swap together, and is twice the memory when it is not given.
fn set_memory(config: &mut Value, options: &Options) -> anyhow::Result<()> {
    let bytes = |text: &String| size(text).with_context(|| format!("invalid size: '{text}'"));
    let memory = options.memory.as_ref().map(bytes).transpose()?;
    let swap = match options.memory_swap.as_deref() {
        Some("-1") => Some(-1),
        _ => options.memory_swap.as_ref().map(bytes).transpose()?,
    };
    let limits = &mut config["linux"]["resources"]["memory"];
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
            limits["limit"] = memory.into();
            limits["swap"] = swap.unwrap_or(memory.saturating_mul(2)).into();
        }
    }
    if let Some(reservation) = options.memory_reservation.as_ref().map(bytes).transpose()? {
        if memory.is_some_and(|memory| memory > 0 && memory < reservation) {
            bail!("Minimum memory limit can not be less than memory reservation limit, see usage");
        }
        config["linux"]["resources"]["memory"]["reservation"] = reservation.into();
    }
    // Indexing made an empty member when there was nothing to say.
    if let Some(resources) = config["linux"]["resources"].as_object_mut() {
        resources.retain(|_, value| !value.is_null());
    }
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

//! How much a container may take: members of `linux.resources` become cgroup files, those of
//! `process.rlimits` become setrlimit(2).

mod block_io;
mod memory;
mod processors;
mod size;
mod ulimit;

pub use size::size;

use crate::flag;
use anyhow::bail;
use block_io::set_block_io;
use clap::Args;
use memory::set_memory;
use processors::set_processors;
use serde_json::{Map, Value};
use ulimit::set_ulimit;

#[derive(Debug, Args)]
#[group(skip)]
pub struct Options {
    /// Limit memory: bytes, or with b, k, m, g
    #[arg(short, long, value_name = "SIZE", allow_hyphen_values = true)]
    memory: Option<String>,

    /// Limit memory and swap together; -1 for unlimited swap [default: as it was, or twice --memory]
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    memory_swap: Option<String>,

    /// Reclaim down to this much when the host is short of memory
    #[arg(long, value_name = "SIZE")]
    memory_reservation: Option<String>,

    /// How readily memory is swapped out: 0 to 100; -1 as the host
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true, value_parser = flag::INT)]
    memory_swappiness: Option<i64>,

    /// Let the container wait for memory, instead of killing in it
    #[arg(long)]
    oom_kill_disable: bool,

    /// The weight of the container when disks are scarce: 10 to 1000
    #[arg(long, value_name = "WEIGHT", allow_hyphen_values = true, value_parser = flag::UINT16)]
    blkio_weight: Option<i64>,

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
    #[arg(short = 'c', long, value_name = "WEIGHT", allow_hyphen_values = true, value_parser = flag::INT)]
    cpu_shares: Option<i64>,

    /// The period of the processor quota, in microseconds
    #[arg(long, value_name = "MICROSECONDS", allow_hyphen_values = true, value_parser = flag::INT)]
    cpu_period: Option<i64>,

    /// Processor time in each period, in microseconds
    #[arg(long, value_name = "MICROSECONDS", allow_hyphen_values = true, value_parser = flag::INT)]
    cpu_quota: Option<i64>,

    /// The period of real-time scheduling, in microseconds
    #[arg(long, value_name = "MICROSECONDS", allow_hyphen_values = true, value_parser = flag::INT)]
    cpu_rt_period: Option<i64>,

    /// Real-time scheduling in each period, in microseconds
    #[arg(long, value_name = "MICROSECONDS", allow_hyphen_values = true, value_parser = flag::INT)]
    cpu_rt_runtime: Option<i64>,

    /// Processors to use: 0-2,4
    #[arg(long, value_name = "LIST")]
    cpuset_cpus: Option<String>,

    /// Memory nodes to use
    #[arg(long, value_name = "LIST")]
    cpuset_mems: Option<String>,

    /// Limit the number of processes and threads; -1 for unlimited
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true, value_parser = flag::INT)]
    pids_limit: Option<i64>,

    /// Limit a resource of each process: nofile=1024:2048
    #[arg(long, value_name = "NAME=SOFT[:HARD]")]
    ulimit: Vec<String>,

    /// Prefer, or spare, the container when the kernel has to kill: -1000 to 1000
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true, value_parser = flag::INT)]
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
        set_ulimit(config, wish).map_err(|why| flag::refused("--ulimit", wish, why))?;
    }
    if let Some(parent) = options.cgroup_parent.as_deref().filter(|parent| !parent.is_empty()) {
        set_parent(config, host, parent, id)?;
    }
    if let Some(text) = &options.shm_size {
        let bytes = size(text).filter(|bytes| *bytes > 0).ok_or_else(|| size::no_size("--shm-size", text))?;
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
    config["linux"]["cgroupsPath"] = format!("/{}/{own}", parent.trim_matches('/')).into();
    host.insert("cgroupParent".into(), parent.into());
    Ok(())
}

/// A member of `linux.resources` is made only when there is something to say.
fn merge(config: &mut Value, member: &str, wishes: Map<String, Value>) {
    for (name, value) in wishes {
        config["linux"]["resources"][member][name.as_str()] = value;
    }
}

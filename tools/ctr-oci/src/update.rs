//! update: limits of a container that runs, into the files of its cgroups.

use crate::store::Store;
use anyhow::Context;
use linux_sandbox::{Cgroups, Hierarchies, Resources, Scope, where_systemd_would};
use serde_json::json;
use std::io::Read;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub struct Options {
    /// ID of the container
    id: String,

    /// Read `linux.resources` from FILE; - is stdin
    #[arg(short, long, value_name = "FILE")]
    resources: Option<PathBuf>,

    /// Microseconds of a period
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_period: Option<i64>,

    /// Processor time in each period
    #[arg(long, value_name = "MICROSECONDS", allow_hyphen_values = true)]
    cpu_quota: Option<i64>,

    /// Relative share of processor time
    #[arg(long, value_name = "SHARES")]
    cpu_share: Option<i64>,

    /// Processor time that may be saved up for a burst
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_burst: Option<i64>,

    /// 1: only when nobody else wants the processor
    #[arg(long, value_name = "0|1")]
    cpu_idle: Option<i64>,

    /// Microseconds of a period of real-time processes
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_rt_period: Option<i64>,

    /// Processor time of real-time processes in each such period
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_rt_runtime: Option<i64>,

    /// Relative share of block devices, 10 to 1000
    #[arg(long, value_name = "WEIGHT", value_parser = clap::value_parser!(u16).range(..=1000))]
    blkio_weight: Option<u16>,

    /// Processors
    #[arg(long, value_name = "LIST")]
    cpuset_cpus: Option<String>,

    /// Memory nodes
    #[arg(long, value_name = "LIST")]
    cpuset_mems: Option<String>,

    /// Memory
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true)]
    memory: Option<i64>,

    /// Memory that is kept when memory is short
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true)]
    memory_reservation: Option<i64>,

    /// Memory and swap together
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true)]
    memory_swap: Option<i64>,

    /// Processes and threads
    #[arg(long, value_name = "COUNT", allow_hyphen_values = true)]
    pids_limit: Option<i64>,
}

pub fn verb(store: &Store, options: &Options) -> anyhow::Result<()> {
    let container = store.find(&options.id)?;
    let resources = match &options.resources {
        Some(file) => read(file)?,
        None => of_options(options)?,
    };
    let limits = resources.limits();
    let config = container.config()?;
    let name = config["linux"]["cgroupsPath"].as_str().filter(|path| !path.is_empty());
    let trees = Hierarchies::of_this_host()?;
    let (id, uid) = (&container.state.id, rustix::process::geteuid());
    if let Some(unit) = container.scope() {
        let name = name.map_or_else(|| format!(":dock:{id}"), str::to_owned);
        return Ok(Scope::new(&trees, &name, &limits, unit.user.then_some(uid.as_raw()))?.update()?);
    }
    let name = name.map_or_else(|| format!("dock/{id}"), str::to_owned);
    Ok(Cgroups::new(&trees, &where_systemd_would(&name), &limits, !uid.is_root())?.rewrite()?)
}

fn read(file: &PathBuf) -> anyhow::Result<Resources> {
    let name = || file.display().to_string();
    let mut text = String::new();
    if file.as_os_str() == "-" {
        std::io::stdin().read_to_string(&mut text).context("<stdin>")?;
    } else {
        text = std::fs::read_to_string(file).with_context(name)?;
    }
    serde_json::from_str(&text).with_context(name)
}

fn of_options(options: &Options) -> anyhow::Result<Resources> {
    let resources = json!({
        "memory": { "limit": options.memory, "reservation": options.memory_reservation, "swap": options.memory_swap },
        "cpu": {
            "shares": options.cpu_share, "quota": options.cpu_quota, "period": options.cpu_period,
            "cpus": options.cpuset_cpus, "mems": options.cpuset_mems,
            "burst": options.cpu_burst, "idle": options.cpu_idle,
            "realtimePeriod": options.cpu_rt_period, "realtimeRuntime": options.cpu_rt_runtime,
        },
        "blockIO": { "weight": options.blkio_weight },
        "pids": { "limit": options.pids_limit },
    });
    Ok(serde_json::from_value(resources)?)
}

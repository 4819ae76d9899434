//! kill: a signal to the first process, by its descriptor, or to every process of the container's cgroup.

use crate::cgroups;
use crate::store::{Container, Status, Store};
use anyhow::{Context, bail};
use linux_sandbox::Target;

#[derive(Debug, clap::Args)]
pub struct Options {
    /// ID of the container
    id: String,

    /// Name or number of the signal
    #[arg(default_value = "TERM")]
    signal: String,

    /// Send it to every process of the container
    #[arg(short, long)]
    all: bool,
}

/// `SIGKILL` of signal(7).
const KILL: i32 = 9;

pub fn verb(store: &Store, options: &Options) -> anyhow::Result<()> {
    let container = store.find(&options.id)?;
    // 0 only asks whether there is somebody, as in kill(2).
    let number = if options.signal == "0" { Some(0) } else { bundle::signals::number(&options.signal) };
    let signal = number.with_context(|| format!("unknown signal {:?}", options.signal))?;
    if options.all {
        return all(&container, signal);
    }
    let status = container.status();
    let sent = container.process().filter(|_| status != Status::Stopped).map(|process| process.signal(signal));
    // The words by which containerd knows that there is nothing to do.
    if !sent.transpose()?.unwrap_or(false) {
        bail!("container not running");
    }
    if signal == KILL && status == Status::Paused {
        cgroups::freeze(&container.cgroups(), false)?;
    }
    Ok(())
}

/// Every process of its cgroups. One that comes while we look is met in the next round.
pub fn all(container: &Container, signal: i32) -> anyhow::Result<()> {
    let groups = container.cgroups();
    let mut met = Vec::new();
    for _ in 0..16 {
        let new: Vec<i32> = cgroups::processes(&groups).into_iter().filter(|pid| !met.contains(pid)).collect();
        if new.is_empty() {
            break;
        }
        for pid in new {
            // The descriptor is of a process that was in the cgroup behind it: no stranger has that number now.
            let Ok(process) = Target::open(pid) else { continue };
            if cgroups::processes(&groups).contains(&pid) {
                process.signal(signal)?;
            }
            met.push(pid);
        }
    }
    if let (true, Some(first)) = (met.is_empty(), container.process()) {
        first.signal(signal)?;
    }
    if signal == KILL && cgroups::are_frozen(&groups) {
        cgroups::freeze(&groups, false)?;
    }
    Ok(())
}

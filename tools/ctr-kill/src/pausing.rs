//! Pausing: the freezer stops all processes of a container at once, in the midst of whatever they do.

use anyhow::{Context, bail};
use bundle::keeper::{self, Pausing};
use bundle::life::Started;
use bundle::{Containers, Found};
use rustix::fd::OwnedFd;
use std::path::Path;
use toolkit::WithHint;
use wire::Status;

pub fn pause(containers: &Containers, operand: &str, run: &Path) -> anyhow::Result<()> {
    let (found, _pausing) = find(containers, operand)?;
    if found.status == Status::Paused {
        bail!("Container {} is already paused", found.meta.id);
    }
    let not_running = || format!("Container {} is not running", found.meta.id);
    // The descriptor is held until the freezer has taken the process: so long its number is its own.
    let process = found.started.as_ref().map(Started::open).transpose()?.flatten();
    let _process = process.with_context(not_running)?;
    let first = found.started.as_ref().map_or(0, |started| started.pid);
    let id = &found.meta.id;
    // Noted first: who is killed in the midst of this leaves a container that can be woken.
    let frozen =
        linux_sandbox::freeze(first, id, |cgroup| Ok::<_, anyhow::Error>(keeper::set_paused(run, id, cgroup)?));
    if frozen.is_err() {
        keeper::set_resumed(run, id)?;
    }
    if rustix::process::geteuid().is_root() {
        return frozen;
    }
    let how = linux_sandbox::how_to_get_cgroups;
    frozen.hint(|| format!("the freezer is a cgroup, which must be this user's: {}", how()))
}

pub fn resume(containers: &Containers, operand: &str, run: &Path) -> anyhow::Result<()> {
    let (found, pausing) = find(containers, operand)?;
    if found.status != Status::Paused {
        bail!("Container {} is not paused", found.meta.id);
    }
    wake(&found, run, &pausing)
}

/// The container as it is when nobody else pauses it or lets it go on.
fn find(containers: &Containers, operand: &str) -> anyhow::Result<(Found, Pausing)> {
    let found = containers.find(operand)?;
    let pausing = Pausing::take(&found.dir)?;
    let id = found.meta.id;
    let still = containers.read(&id)?.ok_or_else(|| bundle::Error::NoContainer(operand.into()))?;
    Ok((still, pausing))
}

/// Sends a signal and lets a container go on that is frozen: before that it hears of none. False: it has ended.
pub fn send_awake(found: &Found, run: &Path, process: &OwnedFd, signal: i32) -> anyhow::Result<bool> {
    let pausing = Pausing::take(&found.dir)?;
    let sent = linux_sandbox::send_signal(process, signal)?;
    wake(found, run, &pausing)?;
    Ok(sent)
}

fn wake(found: &Found, run: &Path, _pausing: &Pausing) -> anyhow::Result<()> {
    let id = &found.meta.id;
    if let Some(cgroup) = keeper::frozen(run, id) {
        linux_sandbox::thaw(&cgroup)?;
        keeper::set_resumed(run, id)?;
    }
    Ok(())
}

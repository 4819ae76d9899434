//! Pausing: the freezer stops all processes of a container at once, in the midst of whatever they do.

use anyhow::{Context, bail};
use bundle::life::Started;
use bundle::{Found, keeper};
use std::path::Path;
use toolkit::WithHint;
use wire::Status;

pub fn pause(found: &Found, run: &Path) -> anyhow::Result<()> {
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

pub fn resume(found: &Found, run: &Path) -> anyhow::Result<()> {
    if found.status != Status::Paused {
        bail!("Container {} is not paused", found.meta.id);
    }
    wake(found, run)
}

/// Lets a container go on that may be frozen.
pub fn wake(found: &Found, run: &Path) -> anyhow::Result<()> {
    let id = &found.meta.id;
    if let Some(cgroup) = keeper::freezer(run, id).filter(|_| keeper::paused_path(run, id).exists()) {
        linux_sandbox::thaw(&cgroup)?;
        keeper::set_resumed(run, id)?;
    }
    Ok(())
}

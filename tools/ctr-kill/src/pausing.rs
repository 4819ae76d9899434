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
    let cgroup = match linux_sandbox::freeze(first, &found.meta.id) {
        Err(error) if !rustix::process::geteuid().is_root() => {
            let how = linux_sandbox::how_to_get_cgroups;
            return Err(error).hint(|| format!("the freezer is a cgroup, which must be this user's: {}", how()));
        }
        frozen => frozen?,
    };
    Ok(keeper::set_paused(run, &found.meta.id, &cgroup)?)
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

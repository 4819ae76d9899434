//! Ending a container's first process; the kernel then ends everything in its PID namespace.

use anyhow::{Context, bail};
use bundle::Found;
use bundle::keeper::{self, Keeper, Pausing};
use bundle::life::{self, Lock};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Signal, pidfd_send_signal};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a killed process may take: as long as its file systems do.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sends SIGKILL and waits for the end.
pub fn kill(found: &Found, run: &Path) -> anyhow::Result<()> {
    let Some(started) = &found.started else { return Ok(()) };
    let name = || format!("could not kill container: {}", found.meta.id);
    let Some(process) = started.open().with_context(name)? else { return Ok(()) };
    // As long as this is held, nobody freezes it again.
    let _pausing = Pausing::take(&found.dir)?;
    match pidfd_send_signal(&process, Signal::KILL) {
        Err(rustix::io::Errno::SRCH) => return Ok(()),
        sent => sent.with_context(name)?,
    }
    // Who is frozen cannot even die.
    if let Some(cgroup) = keeper::frozen(run, &found.meta.id) {
        linux_sandbox::thaw(&cgroup)?;
    }
    let patience = Timespec { tv_sec: i64::try_from(PATIENCE.as_secs())?, tv_nsec: 0 };
    let mut ends = [PollFd::new(&process, PollFlags::IN)];
    if poll(&mut ends, Some(&patience)).with_context(name)? == 0 {
        bail!("{}: still there after {} s", name(), PATIENCE.as_secs());
    }
    Ok(())
}

/// Where nothing else can be read: no container outlives who keeps it.
pub fn kill_keeper(id: &str, run: &Path) -> anyhow::Result<()> {
    let keeper = Keeper::read(run, id).ok().flatten();
    if let Some(process) = keeper.map(|keeper| keeper.open()).transpose()?.flatten() {
        pidfd_send_signal(&process, Signal::KILL).with_context(|| format!("could not kill who keeps {id}"))?;
    }
    keeper::freezer(run, id).map_or(Ok(()), |cgroup| Ok(linux_sandbox::thaw(&cgroup)?))
}

/// The process that keeps the container holds the lock until it has written how the container ended.
pub fn wait_for_lock(dir: &Path) -> bundle::Result<Lock> {
    let until = Instant::now() + PATIENCE;
    loop {
        match life::lock(dir) {
            Err(bundle::Error::Busy(_)) if Instant::now() < until => std::thread::sleep(Duration::from_millis(5)),
            other => return other,
        }
    }
}

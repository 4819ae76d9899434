//! Seeing a container end: its process, and then whoever keeps it, who has written how.

use crate::pausing::send_awake;
use anyhow::{Context, bail};
use bundle::Found;
use bundle::life::Waiting;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// An end that has been asked for.
#[derive(Debug)]
pub struct Ending {
    found: Found,
    run: PathBuf,
    process: Option<OwnedFd>,
    lock: Option<Waiting>,
    until: Option<Instant>,
}

impl Ending {
    /// `patience` counts from now; without one it has no end.
    pub fn new(found: &Found, run: &Path, process: Option<OwnedFd>, patience: Option<Duration>) -> Self {
        let until = patience.and_then(|patience| Instant::now().checked_add(patience));
        Self { found: found.clone(), run: run.into(), process, lock: Waiting::open(&found.dir).ok(), until }
    }

    /// Waits for it, with SIGKILL when patience is over.
    pub fn see(self) -> anyhow::Result<()> {
        if let Some(process) = &self.process
            && !has_ended(process, self.until)?
        {
            // It may have been paused meanwhile.
            send_awake(&self.found, &self.run, process, super::KILL)?;
            if !has_ended(process, Some(Instant::now() + super::PATIENCE))? {
                bail!("{}: still there {} s after SIGKILL", self.found.meta.name, super::PATIENCE.as_secs());
            }
        }
        if let Some(lock) = self.lock {
            lock.wait()?;
        }
        Ok(())
    }
}

/// A pidfd is readable when its process has ended.
fn has_ended(process: &OwnedFd, until: Option<Instant>) -> anyhow::Result<bool> {
    let left = until.map(|until| until.saturating_duration_since(Instant::now()));
    let left = left.map(Timespec::try_from).transpose().context("poll(<process>)")?;
    loop {
        match poll(&mut [PollFd::new(process, PollFlags::IN)], left.as_ref()) {
            Err(rustix::io::Errno::INTR) => {}
            ready => return Ok(ready.context("poll(<process>)")? > 0),
        }
    }
}

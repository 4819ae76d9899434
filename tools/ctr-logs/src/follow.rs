//! Waiting for more: inotify(7) on the bundle tells of new bytes and new names, a pidfd of the end.

use crate::entry::Moment;
use anyhow::Context;
use bundle::Found;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

/// What can happen to the log.
#[derive(Debug)]
pub struct Watch {
    changes: OwnedFd,
    keeper: Option<OwnedFd>,
}

impl Watch {
    pub fn begin(found: &Found) -> anyhow::Result<Self> {
        let line = || format!("inotify({})", found.dir.display());
        let changes = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).with_context(line)?;
        let what = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO;
        inotify::add_watch(&changes, &found.dir, what).with_context(line)?;
        let keeper = found.keeper.as_ref().map(bundle::keeper::Keeper::open).transpose()?.flatten();
        Ok(Self { changes, keeper })
    }

    /// Whether somebody still writes. What was written before the answer "no" is all there will be.
    pub fn goes_on(&self) -> anyhow::Result<bool> {
        let Some(keeper) = &self.keeper else { return Ok(false) };
        let now = Timespec::default();
        Ok(poll(&mut [PollFd::new(keeper, PollFlags::IN)], Some(&now)).context("poll(<keeper>)")? == 0)
    }

    /// Until there may be something new, or a time has come.
    pub fn wait(&self, until: Option<Moment>) -> anyhow::Result<()> {
        let mut fds = vec![PollFd::new(&self.changes, PollFlags::IN)];
        fds.extend(self.keeper.as_ref().map(|keeper| PollFd::new(keeper, PollFlags::IN)));
        let left = until.map(|until| Timespec::try_from(until.away())).transpose()?;
        match poll(&mut fds, left.as_ref()) {
            Err(rustix::io::Errno::INTR) => {}
            other => drop(other.context("poll(<log>)")?),
        }
        // What has changed does not matter; only that it is not told again.
        let mut told = [0; 4096];
        while rustix::io::read(&self.changes, &mut told).is_ok_and(|length| length > 0) {}
        Ok(())
    }
}

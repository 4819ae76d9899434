//! A small file costs the kernel two halves of about equal length: making the name, and then content, owner, mode, time and
//! closing. The second half needs only the descriptor, so another thread does it while the next name is made.

use crate::apply::{gid, set_xattrs, timestamps, uid};
use crate::{Error, Loss, Meta, Result};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::Mode;
use rustix::io::Errno;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Scope, ScopedJoinHandle};

/// Larger files are written where they are read.
pub(crate) const SMALL: u64 = 64 * 1024;
/// Bytes and files that are handed over at once: often enough for both sides to have work, and few descriptors.
const BATCH_BYTES: usize = 128 * 1024;
const BATCH_FILES: usize = 32;
const QUEUE: usize = 3;

/// What is still to be done to a file that was made.
#[derive(Debug)]
pub(crate) struct Unfinished {
    pub fd: OwnedFd,
    pub at: PathBuf,
    pub content: Vec<u8>,
    pub meta: Meta,
    pub chown: bool,
    pub chmod: bool,
}

/// The other thread's end.
#[derive(Debug)]
pub(crate) struct Finisher<'scope> {
    to: SyncSender<Vec<Unfinished>>,
    batch: Vec<Unfinished>,
    bytes: usize,
    thread: ScopedJoinHandle<'scope, Result<Loss>>,
}

impl<'scope> Finisher<'scope> {
    pub fn start(scope: &'scope Scope<'scope, '_>) -> Self {
        let (to, from) = sync_channel(QUEUE);
        Self { to, batch: Vec::new(), bytes: 0, thread: scope.spawn(move || finish_all(&from)) }
    }

    /// False when the other side met an error, which [`end`](Self::end) returns.
    pub fn push(&mut self, file: Unfinished) -> bool {
        self.bytes += file.content.len();
        self.batch.push(file);
        if self.bytes < BATCH_BYTES && self.batch.len() < BATCH_FILES {
            return true;
        }
        self.bytes = 0;
        self.to.send(std::mem::take(&mut self.batch)).is_ok()
    }

    /// Waits until every file is finished.
    pub fn end(self) -> Result<Loss> {
        // Whoever does not take it has an error to tell.
        let _ = self.to.send(self.batch);
        drop(self.to);
        match self.thread.join() {
            Ok(result) => result,
            Err(_) => Err(std::io::Error::other("a worker thread ended early").into()),
        }
    }
}

fn finish_all(from: &Receiver<Vec<Unfinished>>) -> Result<Loss> {
    let mut loss = Loss::default();
    for file in from.iter().flatten() {
        write_all(&file, &file.at)?;
        finish(&file, &mut loss)?;
    }
    Ok(loss)
}

fn write_all(file: &Unfinished, at: &Path) -> Result<()> {
    let mut rest = &file.content[..];
    while !rest.is_empty() {
        match rustix::io::write(&file.fd, rest) {
            Ok(written) => rest = &rest[written..],
            Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::call("write", at)(errno)),
        }
    }
    Ok(())
}

/// Owner, then mode, then attributes, then time: each may undo a later one if it came after it.
pub(crate) fn finish(file: &Unfinished, loss: &mut Loss) -> Result<()> {
    let Unfinished { fd, at, meta, .. } = file;
    if file.chown {
        rustix::fs::fchown(fd, Some(uid(meta.uid)), Some(gid(meta.gid))).map_err(Error::call("fchown", at))?;
    }
    // Changing the owner, and writing without CAP_FSETID, take the set-id bits away: so they come last.
    if file.chmod {
        rustix::fs::fchmod(fd, Mode::from_raw_mode(meta.mode)).map_err(Error::call("fchmod", at))?;
    }
    if !meta.xattrs.is_empty() {
        set_xattrs(fd.as_fd(), &meta.xattrs, loss, at)?;
    }
    rustix::fs::futimens(fd, &timestamps(meta.mtime)).map_err(Error::call("utimensat", at))
}

//! A place for what a build needs only while it lasts: contexts that came as a stream, trees of images. A lock
//! tells what is in use from what a killed build left behind.

use anyhow::Context;
use rustix::fs::FlockOperation;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use tempfile::TempDir;

/// A directory below `cache/`, made when it is first asked for and gone with the value.
#[derive(Debug)]
pub struct Scratch {
    cache: PathBuf,
    made: Mutex<Option<Made>>,
}

#[derive(Debug)]
struct Made {
    dir: TempDir,
    _lock: File,
    count: u32,
}

const PREFIX: &str = "build-";

impl Scratch {
    pub fn new(root: &Path) -> Self {
        Self { cache: root.join("cache"), made: Mutex::default() }
    }

    /// The path of something new in it.
    pub fn path(&self) -> anyhow::Result<PathBuf> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if made.is_none() {
            *made = Some(self.make().with_context(|| self.cache.display().to_string())?);
        }
        let made = made.as_mut().context("no directory")?;
        made.count += 1;
        Ok(made.dir.path().join(made.count.to_string()))
    }

    fn make(&self) -> anyhow::Result<Made> {
        crate::run::private_dir(&self.cache)?;
        // Nobody sweeps between the making of our directory and its lock.
        let door = File::open(&self.cache)?;
        rustix::fs::flock(&door, FlockOperation::LockExclusive).context("flock")?;
        self.sweep();
        let dir = tempfile::Builder::new().prefix(PREFIX).tempdir_in(&self.cache).context("mkdtemp")?;
        let lock = File::open(dir.path())?;
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).context("flock")?;
        Ok(Made { dir, _lock: lock, count: 0 })
    }

    /// Removes what no living build has locked.
    fn sweep(&self) {
        let Ok(entries) = fs::read_dir(&self.cache) else { return };
        for entry in entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX)) {
            let Ok(dir) = File::open(entry.path()) else { continue };
            if rustix::fs::flock(&dir, FlockOperation::NonBlockingLockExclusive).is_ok() {
                let _ = bundle::remove_tree(&entry.path());
            }
        }
    }
}

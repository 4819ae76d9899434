//! Files that have no name yet, and the sweep of those whose writer is gone.

use crate::error::{At, Result};
use rustix::fs::{FlockOperation, OFlags, flock, fstat};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// A temporary file whose writer holds its flock: whoever can take the lock knows that the writer is gone.
/// Removed when dropped, unless it was renamed into place.
#[derive(Debug)]
pub(crate) struct Temp {
    file: File,
    path: PathBuf,
    /// Renamed, or worth keeping: not removed in the end.
    stays: bool,
}

impl Temp {
    pub(crate) fn create(dir: &Path) -> Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        loop {
            let name = format!("{}.{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
            let path = dir.join(name);
            // Containers share the directory with equal process IDs, so the name alone is no promise.
            let file = match OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                other => other.at(&path, "create")?,
            };
            flock(&file, FlockOperation::LockExclusive).at(&path, "lock")?;
            // A sweep may have come between create and lock.
            if fstat(&file).at(&path, "stat")?.st_nlink > 0 {
                return Ok(Self { file, path, stays: false });
            }
        }
    }

    /// A locked file that stays when it is dropped.
    pub(crate) fn kept(file: File, path: PathBuf) -> Self {
        Self { file, path, stays: true }
    }

    /// It is not worth keeping.
    pub(crate) fn discard(mut self) {
        self.stays = false;
    }

    pub(crate) fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Syncs the bytes and gives them their name, replacing what has it.
    pub(crate) fn persist(mut self, to: &Path) -> Result<()> {
        self.file.sync_data().at(&self.path, "sync")?;
        fs::rename(&self.path, to).at(to, "rename")?;
        self.stays = true;
        Ok(())
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        if !self.stays {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The temporary files whose writers are gone.
pub(crate) fn stale(dir: &Path) -> Result<Vec<(PathBuf, File)>> {
    let mut found = Vec::new();
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        other => other.at(dir, "list")?,
    };
    for entry in entries {
        let path = entry.at(dir, "list")?.path();
        let mut options = OpenOptions::new();
        options.read(true).custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed());
        let Ok(file) = options.open(&path) else { continue };
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            found.push((path, file));
        }
    }
    Ok(found)
}

/// Removes them. Somebody else may be faster.
pub(crate) fn sweep(dir: &Path) -> Result<()> {
    for (path, _locked) in stale(dir)? {
        let _ = fs::remove_file(path);
    }
    Ok(())
}

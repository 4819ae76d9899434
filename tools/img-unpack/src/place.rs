//! Directories that are there whole or not at all.

use anyhow::{Context, bail};
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The bundle, removed again unless [`keep`](NewDir::keep) was said.
pub struct NewDir {
    path: PathBuf,
    was_there: bool,
    keep: bool,
    /// Two that unpack into one directory would each clean up the other's tree.
    _lock: File,
}

impl NewDir {
    /// Makes the directory, with those above it, or takes an empty one. Set-id programs of an image are nobody
    /// else's: 0700 (CVE-2021-21284).
    pub fn make(path: &Path) -> anyhow::Result<Self> {
        let path = std::path::absolute(path)?;
        let shown = || path.display().to_string();
        if let Some(parent) = path.parent() {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(parent)
                .with_context(|| parent.display().to_string())?;
        }
        let was_there = match DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => false,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => true,
            Err(error) => return Err(error).with_context(shown),
        };
        let lock = File::open(&path).with_context(shown)?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => bail!("{}: somebody else is unpacking into it", path.display()),
            other => other.with_context(shown)?,
        }
        if fs::read_dir(&path).with_context(shown)?.next().is_some() {
            bail!("{}: exists and is not empty", path.display());
        }
        lock.set_permissions(Permissions::from_mode(0o700)).with_context(shown)?;
        Ok(Self { path, was_there, keep: false, _lock: lock })
    }

    /// Where it is, absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// It is whole.
    pub fn keep(&mut self) {
        self.keep = true;
    }
}

impl Drop for NewDir {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        // The error that brought us here is the one to tell.
        if !self.was_there {
            let _ = bundle::remove_tree(&self.path);
        } else if let Ok(entries) = fs::read_dir(&self.path) {
            for entry in entries.flatten() {
                let _ = bundle::remove_tree(&entry.path());
            }
        }
    }
}

/// Makes a directory and opens it. Its time is nobody's accident: two unpacked trees of one image are equal.
pub fn make_dir(path: &Path, mode: u32) -> anyhow::Result<File> {
    let shown = || path.display().to_string();
    DirBuilder::new().mode(mode).create(path).with_context(shown)?;
    let dir = File::open(path).with_context(shown)?;
    dir.set_modified(std::time::UNIX_EPOCH).with_context(shown)?;
    Ok(dir)
}

/// Makes the directory look like another one.
pub fn copy_root(from: &Path, to: &File) -> anyhow::Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let from = rustix::fs::open(from, flags, Mode::empty()).with_context(|| from.display().to_string())?;
    Ok(layer_tar::copy_root(from.as_fd(), to.as_fd())?)
}

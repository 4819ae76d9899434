//! Cache mounts: plain directories `$DOCK_ROOT/cache/mounts/ID`, for everyone to look into, to save with tar(1) and
//! to put back. Who uses one has a lock on it.

use crate::run::private_dir;
use crate::shelf::chown;
use anyhow::{Context, bail};
use dockerfile::{Mount, Sharing};
use rustix::fs::{FlockOperation, Timespec, Timestamps};
use rustix::io::Errno;
use std::fmt::Write;
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// `NAME_MAX` is 255, and a private one has a number behind it.
const LONGEST_NAME: usize = 200;
const MOST_PRIVATE: usize = 1000;

/// A cache that a step uses; the lock goes with the value.
pub struct Claimed {
    pub id: String,
    pub path: PathBuf,
    /// Nothing has been put in yet.
    pub is_new: bool,
    _lock: File,
}

/// Opens a cache as its sharing says: beside others, after them, or one that nobody else has.
pub fn claim(all: &Path, mount: &Mount) -> anyhow::Result<Claimed> {
    private_dir(all)?;
    let name = file_name(&mount.id);
    let how = match mount.sharing {
        Sharing::Shared => FlockOperation::LockShared,
        Sharing::Locked => FlockOperation::LockExclusive,
        Sharing::Private => return private(all, &name, mount),
    };
    loop {
        let (path, is_new) = made(all, &name)?;
        let lock = File::open(&path).with_context(|| format!("{}: open", path.display()))?;
        rustix::fs::flock(&lock, how).with_context(|| format!("{}: flock", path.display()))?;
        if is_still(&path, &lock)? {
            note_use(&lock);
            return Ok(Claimed { id: mount.id.clone(), path, is_new, _lock: lock });
        }
    }
}

/// Whether the directory is there still: dfile-cache(1) removes one under its lock.
fn is_still(path: &Path, dir: &File) -> anyhow::Result<bool> {
    let own = dir.metadata()?;
    Ok(fs::symlink_metadata(path).is_ok_and(|there| (there.dev(), there.ino()) == (own.dev(), own.ino())))
}

/// By the time of the last access, the only one that is not the cache's own.
fn note_use(dir: &File) {
    let omit = Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT };
    let now = Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW };
    // Of no use for the build.
    let _ = rustix::fs::futimens(dir, &Timestamps { last_access: now, last_modification: omit });
}

fn private(all: &Path, name: &str, mount: &Mount) -> anyhow::Result<Claimed> {
    for number in 0..MOST_PRIVATE {
        let name = if number == 0 { name.to_owned() } else { format!("{name}@{number}") };
        let (path, is_new) = made(all, &name)?;
        let lock = File::open(&path).with_context(|| format!("{}: open", path.display()))?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) if !is_still(&path, &lock)? => {}
            Ok(()) => return Ok(Claimed { id: mount.id.clone(), path, is_new, _lock: lock }),
            Err(Errno::WOULDBLOCK) => {}
            Err(error) => return Err(error).with_context(|| format!("{}: flock", path.display())),
        }
    }
    bail!("{}: {MOST_PRIVATE} private caches are in use", mount.id)
}

fn made(all: &Path, name: &str) -> anyhow::Result<(PathBuf, bool)> {
    let path = all.join(name);
    match fs::create_dir(&path) {
        Ok(()) => Ok((path, true)),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            if !fs::symlink_metadata(&path)?.is_dir() {
                bail!("{}: is not a directory", path.display());
            }
            // Empty: also of a build that was killed before it put anything in.
            let is_new = fs::read_dir(&path)?.next().is_none();
            Ok((path, is_new))
        }
        Err(error) => Err(error).with_context(|| format!("{}: mkdir", path.display())),
    }
}

/// An ID as one name, readable and like no other's: `/root/.cache` is `%2Froot%2F.cache`.
fn file_name(id: &str) -> String {
    let mut name = String::new();
    for (at, byte) in id.bytes().enumerate() {
        let plain = byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-') || byte == b'.' && at > 0;
        if plain {
            name.push(byte.into());
        } else {
            let _ = write!(name, "%{byte:02X}");
        }
    }
    if name.len() > LONGEST_NAME {
        return format!("{}%{}", &name[..LONGEST_NAME - 65], oci_layout::digest_of(id.as_bytes()).hex());
    }
    name
}

/// Fills a new cache: all of it, or nothing.
pub fn seed(path: &Path, fill: impl FnOnce(&Path) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let all = path.parent().unwrap_or(path);
    let door = File::open(all).with_context(|| format!("{}: open", all.display()))?;
    rustix::fs::flock(&door, FlockOperation::LockExclusive).with_context(|| format!("{}: flock", all.display()))?;
    if fs::read_dir(path)?.next().is_some() {
        // Another build was faster.
        return Ok(());
    }
    let temporary = tempfile::Builder::new().prefix(".seed-").tempdir_in(all)?;
    let seeded = temporary.path().join("seed");
    fill(&seeded)?;
    if !seeded.is_dir() {
        bail!("the source of a cache is a directory");
    }
    for entry in fs::read_dir(&seeded)? {
        let entry = entry?;
        fs::rename(entry.path(), path.join(entry.file_name()))?;
    }
    let like = fs::metadata(&seeded)?;
    fs::set_permissions(path, like.permissions())?;
    chown(path, like.uid(), like.gid())
}

/// The directory itself is as the mount asks; what is in it stays as it is.
pub fn own(path: &Path, mount: &Mount, is_new: bool) -> anyhow::Result<()> {
    let seeded = mount.from.is_some();
    if is_new && !seeded || mount.uid != 0 || mount.gid != 0 {
        chown(path, mount.uid, mount.gid)?;
    }
    let mode = mount.mode.or((is_new && !seeded).then_some(0o755));
    if let Some(mode) = mode {
        let mode = fs::Permissions::from_mode(mode);
        fs::set_permissions(path, mode).with_context(|| format!("{}: chmod", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_one_component_and_differ() {
        for (id, name) in
            [("npm", "npm"), ("/root/.cache", "%2Froot%2F.cache"), ("..", "%2E."), ("a@1", "a%401"), ("a%2F", "a%252F")]
        {
            assert_eq!(file_name(id), name);
        }
        let (a, b) = ("x".repeat(500), "x".repeat(501));
        assert!(file_name(&a).len() <= LONGEST_NAME);
        assert_ne!(file_name(&a), file_name(&b));
    }
}

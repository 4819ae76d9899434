//! Removing a tree that is hostile: names are looked up in directory descriptors, links are removed and never
//! followed, a mount point is an error and not a way out.

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, openat, openat2, statat, unlinkat,
};
use rustix::io::{Errno, Result};
use std::ffi::{CStr, CString};
use std::ops::AddAssign;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// One directory on the way down: what is left to remove in it, and its own name in the one above.
struct Level {
    fd: OwnedFd,
    names: Vec<CString>,
    name: CString,
}

/// What went away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Freed {
    /// Whole trees.
    pub trees: usize,
    /// The blocks that their files had on the disk, in bytes.
    pub bytes: u64,
}

impl AddAssign for Freed {
    fn add_assign(&mut self, more: Self) {
        self.trees += more.trees;
        self.bytes += more.bytes;
    }
}

/// Removes `path` and everything below it. That it is gone already is fine.
pub fn remove(path: &Path) -> Result<()> {
    remove_with(path, &mut |_, _| Ok(()))
}

/// The same, and says how much it was.
pub fn remove_and_count(path: &Path) -> Result<Freed> {
    let mut freed = Freed { trees: 1, bytes: 0 };
    remove_with(path, &mut |above, name| {
        let stat = match statat(above, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(()),
            other => other?,
        };
        // The last one of several links frees the blocks.
        if stat.st_nlink <= 1 || FileType::from_raw_mode(stat.st_mode).is_dir() {
            freed.bytes += u64::try_from(stat.st_blocks).unwrap_or(0) * 512;
        }
        Ok(())
    })?;
    Ok(freed)
}

type Look<'a> = &'a mut dyn FnMut(BorrowedFd<'_>, &CStr) -> Result<()>;

fn remove_with(path: &Path, look: Look<'_>) -> Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Err(Errno::INVAL) };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent = match openat(CWD, parent, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(()),
        parent => parent?,
    };
    let name = CString::new(name.as_encoded_bytes()).map_err(|_| Errno::INVAL)?;
    remove_below(parent.as_fd(), name, look)
}

/// Without recursion: a tree may be deeper than a stack.
fn remove_below(parent: BorrowedFd<'_>, name: CString, look: Look<'_>) -> Result<()> {
    let mut levels: Vec<Level> = Vec::new();
    look(parent, &name)?;
    levels.extend(enter(parent, name)?);
    while let Some(level) = levels.last_mut() {
        if let Some(name) = level.names.pop() {
            look(level.fd.as_fd(), &name)?;
            let below = enter(level.fd.as_fd(), name)?;
            levels.extend(below);
            continue;
        }
        let Some(done) = levels.pop() else { break };
        let above = levels.last().map_or(parent, |level| level.fd.as_fd());
        unlinkat(above, &done.name, AtFlags::REMOVEDIR)?;
    }
    Ok(())
}

/// Removes a name that is no directory; opens and lists one that is.
fn enter(above: BorrowedFd<'_>, name: CString) -> Result<Option<Level>> {
    match unlinkat(above, &name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(None),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(error) => return Err(error),
    }
    let fd = open_directory(above, &name)?;
    let mut names = Vec::new();
    for entry in Dir::read_from(&fd)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push(entry.file_name().to_owned());
        }
    }
    Ok(Some(Level { fd, names, name }))
}

/// Overlayfs leaves work/work with mode 000, which stops everybody but root: its owner gives himself the right,
/// through a descriptor, for a path could be exchanged.
fn open_directory(above: BorrowedFd<'_>, name: &CString) -> Result<OwnedFd> {
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV | ResolveFlags::BENEATH;
    let open = |flags| {
        openat2(above, name, flags | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty(), resolve)
    };
    let path = open(OFlags::PATH)?;
    let stat: Stat = fstat(&path)?;
    if stat.st_mode & 0o700 != 0o700 {
        // fchmod(2) refuses O_PATH descriptors; the kernel's own link to one does not leave it.
        use std::os::fd::AsRawFd;
        let link = format!("/proc/self/fd/{}", path.as_raw_fd());
        rustix::fs::chmodat(CWD, link, Mode::from_raw_mode(0o700), AtFlags::empty())?;
    }
    open(OFlags::RDONLY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn links_are_removed_and_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let outside = dir.path().join("outside");
        let tree = dir.path().join("tree");
        fs::create_dir_all(tree.join("a/b")).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("kept"), "").unwrap();
        symlink(&outside, tree.join("a/link")).unwrap();
        symlink("nowhere", tree.join("dangling")).unwrap();
        fs::set_permissions(tree.join("a/b"), fs::Permissions::from_mode(0o000)).unwrap();
        remove(&tree).unwrap();
        assert!(!tree.exists() && outside.join("kept").exists());
        remove(&tree).unwrap();
        symlink(&outside, &tree).unwrap();
        remove(&tree).unwrap();
        assert!(outside.join("kept").exists());
    }

    #[test]
    fn a_tree_deeper_than_any_path() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().join("top");
        fs::create_dir(&top).unwrap();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut at = openat(CWD, &top, flags, Mode::empty()).unwrap();
        for _ in 0..600 {
            let name = "d".repeat(20);
            rustix::fs::mkdirat(&at, name.as_str(), Mode::from_raw_mode(0o700)).unwrap();
            at = openat(&at, name.as_str(), flags, Mode::empty()).unwrap();
        }
        remove(&top).unwrap();
        assert!(!top.exists());
    }
}

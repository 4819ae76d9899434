//! Paths inside a root directory, which no link, no `..` and no other process leads out of: openat2(2).

use crate::node::{Kind, Meta, proc_path};
use crate::stack::{components, is_whiteout, stat_at};
use crate::{Error, Result};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::rc::Rc;

const MOST_LINKS: u32 = 40;
/// Deeper trees than this are made to exhaust descriptors, not to hold files.
pub(crate) const DEEPEST: usize = 900;

/// A directory below the root, found without ever leaving it.
#[derive(Debug, Clone)]
pub(crate) struct DirFd {
    /// Relative to the root, without symbolic links.
    pub path: PathBuf,
    /// `O_PATH`.
    pub fd: Rc<OwnedFd>,
}

const DIR: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Opens `path` below `root` when it is a chain of real directories. The kernel does the whole walk in one call;
/// where it may not (before Linux 5.6, or filtered), [`walk`] gives the same answer.
pub(crate) fn open_plain(root: BorrowedFd<'_>, path: &Path) -> Option<OwnedFd> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let inside = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(root, path, DIR, Mode::empty(), inside).ok()
}

/// Makes a directory: in which one, by which name, at which path.
pub(crate) type Make<'a> = dyn FnMut(BorrowedFd<'_>, &OsStr, &Path) -> Result<()> + 'a;

/// Opens `path` below `root` component by component, following symbolic links inside the root. A component
/// that is not there is made by `make`, or ends the search.
pub(crate) fn walk(root: BorrowedFd<'_>, path: &Path, mut make: Option<&mut Make<'_>>) -> Result<Option<DirFd>> {
    use std::os::unix::ffi::OsStrExt;
    let mut left: VecDeque<OsString> = components(path.as_os_str().as_bytes());
    let mut trail: Vec<(OsString, Rc<OwnedFd>)> = Vec::new();
    let mut links = 0;
    while let Some(name) = left.pop_front() {
        if name == ".." {
            trail.pop();
            continue;
        }
        let at: PathBuf = trail.iter().map(|(name, _)| name.as_os_str()).chain([name.as_os_str()]).collect();
        if trail.len() + left.len() > DEEPEST {
            return Err(Error::call("openat", at)(Errno::NAMETOOLONG));
        }
        let here = trail.last().map_or(root, |(_, fd)| fd.as_fd());
        match rustix::fs::openat(here, &name, DIR, Mode::empty()) {
            Ok(fd) => trail.push((name, Rc::new(fd))),
            Err(Errno::NOENT) => match &mut make {
                Some(make) => {
                    make(here, &name, &at)?;
                    left.push_front(name);
                }
                None => return Ok(None),
            },
            // What this layer hid before it made something below it.
            Err(Errno::NOTDIR) if make.is_some() && stat_at(here, &name, &at)?.as_ref().is_some_and(is_whiteout) => {
                if let Some(make) = &mut make {
                    make(here, &name, &at)?;
                }
                left.push_front(name);
            }
            Err(Errno::NOTDIR | Errno::LOOP) => {
                let target = rustix::fs::readlinkat(here, &name, Vec::new())
                    .map_err(|_| Error::call("openat", &at)(Errno::NOTDIR))?
                    .into_bytes();
                links += 1;
                if links > MOST_LINKS {
                    return Err(Error::call("openat", at)(Errno::LOOP));
                }
                if target.starts_with(b"/") {
                    trail.clear();
                }
                for name in components(&target).into_iter().rev() {
                    left.push_front(name);
                }
            }
            Err(errno) => return Err(Error::call("openat", at)(errno)),
        }
    }
    let path = trail.iter().map(|(name, _)| name.as_os_str()).collect();
    let fd = match trail.pop() {
        Some((_, fd)) => fd,
        None => Rc::new(rustix::fs::openat(root, ".", DIR, Mode::empty()).map_err(Error::call("openat", "."))?),
    };
    Ok(Some(DirFd { path, fd }))
}

/// The owner of a directory without the right to write in it takes that right: what is in it goes, and then it
/// does itself. A directory that stays has been widened by whoever will narrow it again.
fn widen(dir: BorrowedFd<'_>, at: &Path) -> Result<()> {
    if fstat(dir, at)?.st_mode & 0o700 != 0o700 {
        // Where it is not allowed, the next call says so.
        let _ = rustix::fs::chmodat(CWD, proc_path(dir), Mode::RWXU, AtFlags::empty());
    }
    Ok(())
}

/// Removes a name and everything below it. No symbolic link is followed.
pub(crate) fn remove_all(parent: BorrowedFd<'_>, name: &OsStr, at: &Path, depth: usize) -> Result<()> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(errno) => return Err(Error::call("unlinkat", at)(errno)),
    }
    let dir = rustix::fs::openat(parent, name, DIR, Mode::empty()).map_err(Error::call("openat", at))?;
    if depth > DEEPEST {
        return Err(Error::call("openat", at)(Errno::NAMETOOLONG));
    }
    widen(dir.as_fd(), at)?;
    for child in crate::stack::read_names(dir.as_fd(), at)? {
        remove_all(dir.as_fd(), &child, &at.join(&child), depth + 1)?;
    }
    rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR).map_err(Error::call("unlinkat", at))
}

/// Removes a name as a whiteout does: what `keep` knows stays, with the directories that lead to it.
pub(crate) fn remove_except(
    parent: BorrowedFd<'_>,
    name: &OsStr,
    at: &Path,
    keep: &dyn Fn(&Path) -> bool,
    depth: usize,
) -> Result<()> {
    let Some(stat) = stat_at(parent, name, at)? else { return Ok(()) };
    if Kind::of(&stat) != Kind::Directory {
        return if keep(at) { Ok(()) } else { remove_all(parent, name, at, depth) };
    }
    if depth > DEEPEST {
        return Err(Error::call("openat", at)(Errno::NAMETOOLONG));
    }
    let dir = rustix::fs::openat(parent, name, DIR, Mode::empty()).map_err(Error::call("openat", at))?;
    widen(dir.as_fd(), at)?;
    empty_except(dir.as_fd(), at, keep, depth + 1)?;
    if !keep(at) {
        match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
            Ok(()) => return Ok(()),
            Err(Errno::NOTEMPTY) => {}
            Err(errno) => return Err(Error::call("unlinkat", at)(errno)),
        }
    }
    // It stays, for what this layer has in it, and looks as if nothing had gone.
    let before = Meta::of(&stat);
    if before.mode & 0o700 != 0o700 {
        rustix::fs::chmodat(CWD, proc_path(dir.as_fd()), Mode::from_raw_mode(before.mode), AtFlags::empty())
            .map_err(Error::call("chmod", at))?;
    }
    crate::apply::set_time(dir.as_fd(), before.mtime, at)
}

/// [`remove_except`] for every name in a directory: an opaque whiteout.
pub(crate) fn empty_except(dir: BorrowedFd<'_>, at: &Path, keep: &dyn Fn(&Path) -> bool, depth: usize) -> Result<()> {
    for child in crate::stack::read_names(dir, at)? {
        remove_except(dir, &child, &at.join(&child), keep, depth)?;
    }
    Ok(())
}

pub(crate) fn fstat(fd: BorrowedFd<'_>, at: &Path) -> Result<Stat> {
    rustix::fs::fstat(fd).map_err(Error::call("fstat", at))
}

//! Paths inside a root file system. They are never used as strings twice and never from the host's root:
//! `openat2(2)` resolves them below the root's descriptor, and what follows works on the descriptor.

use crate::error::{Call, Error, Result};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags, ResolveFlags, mkdirat, openat, openat2, readlinkat};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

/// What a symbolic link in the image may do to a path of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Links {
    /// Followed, as if the root were `/`.
    InRoot,
    /// An error: the path is the kernel's own (`/proc`, `/dev`), an image has no say in it.
    Refused,
}

/// Opens what is there.
pub(crate) fn open(root: impl AsFd, path: &Path, flags: OFlags, links: Links) -> rustix::io::Result<OwnedFd> {
    let mut resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    if links == Links::Refused {
        resolve |= ResolveFlags::NO_SYMLINKS;
    }
    let path = if path.as_os_str().is_empty() { Path::new("/") } else { path };
    again(|| openat2(&root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve))
}

/// Opens what is there, and where a link leads out of `top`, nothing: unlike in a root, what stands above is not the
/// same thing to those who made the link.
pub(crate) fn beneath(top: impl AsFd, path: &Path) -> rustix::io::Result<OwnedFd> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    again(|| openat2(&top, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), BENEATH))
}

const BENEATH: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS);

/// A rename somewhere on the machine raced with a "..": the kernel asks to try again.
fn again(mut open: impl FnMut() -> rustix::io::Result<OwnedFd>) -> rustix::io::Result<OwnedFd> {
    let mut tries = 0;
    loop {
        match open() {
            Err(Errno::AGAIN) if tries < 128 => tries += 1,
            other => return other,
        }
    }
}

/// [`open`], with the error line.
pub(crate) fn need(root: impl AsFd, path: &Path, flags: OFlags, links: Links) -> Result<OwnedFd> {
    open(root, path, flags, links).map_err(|errno| explain(errno, path, links))
}

fn explain(errno: Errno, path: &Path, links: Links) -> Error {
    if errno == Errno::LOOP && links == Links::Refused {
        return Error::refused(format!("openat2(<rootfs>, {path:?}): a symbolic link in the image stands there"));
    }
    Error::Call { call: format!("openat2(<rootfs>, {path:?})"), errno: errno.raw_os_error() }
}

/// The directory at `path`, made with its parents where it is missing.
pub(crate) fn make_dirs(root: impl AsFd, path: &Path, links: Links) -> Result<OwnedFd> {
    make(root.as_fd(), path, links, What::Directory, 0)
}

/// The file at `path`, made empty where it is missing.
pub(crate) fn make_file(root: impl AsFd, path: &Path, links: Links) -> Result<OwnedFd> {
    make(root.as_fd(), path, links, What::File, 0)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Directory,
    File,
}

/// As the kernel's own limit.
const MOST_LINKS: u32 = 40;

fn make(root: BorrowedFd<'_>, path: &Path, links: Links, what: What, depth: u32) -> Result<OwnedFd> {
    let there = if what == What::Directory { OFlags::PATH | OFlags::DIRECTORY } else { OFlags::PATH };
    match open(root, path, there, links) {
        Err(Errno::NOENT) if depth < MOST_LINKS => {}
        other => return other.map_err(|errno| explain(errno, path, links)),
    }
    let (above, name) = split(path)?;
    let parent = make(root, above, links, What::Directory, depth + 1)?;
    // A link that leads nowhere yet, as /etc/resolv.conf in many images: its target is made, below the root too.
    if let (Links::InRoot, Ok(target)) = (links, readlinkat(&parent, name, Vec::new())) {
        let target = Path::new(OsStr::from_bytes(target.as_bytes()));
        return make(root, &above.join(target), links, what, depth + 1);
    }
    let line = || format!("openat(<rootfs>, {path:?})");
    if what == What::File {
        let flags = OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        return openat(&parent, name, flags, Mode::from_raw_mode(0o644)).call(line);
    }
    match mkdirat(&parent, name, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno).call(|| format!("mkdirat(<rootfs>, {path:?})")),
    }
    // Not through the path again: what we just made, or nothing.
    openat(&parent, name, there | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()).call(line)
}

/// Parent and last name of a path that is not the root.
pub(crate) fn split(path: &Path) -> Result<(&Path, &OsStr)> {
    match (path.parent(), path.components().next_back()) {
        (Some(parent), Some(Component::Normal(name))) => Ok((parent, name)),
        _ => Err(Error::refused(format!("{}: a path that ends in a name is needed", path.display()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_stay_in_the_root() {
        let dir = std::env::temp_dir().join(format!("walk-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("root/real")).unwrap();
        std::fs::create_dir_all(dir.join("outside")).unwrap();
        symlink("../../../../../../outside", dir.join("root/out")).unwrap();
        symlink("/real", dir.join("root/abs")).unwrap();
        let root = openat(rustix::fs::CWD, dir.join("root"), OFlags::PATH, Mode::empty()).unwrap();

        make_dirs(&root, Path::new("/abs/a/b"), Links::InRoot).unwrap();
        assert!(dir.join("root/real/a/b").is_dir(), "an absolute link is followed below the root");
        assert!(make_dirs(&root, Path::new("/abs/a/c"), Links::Refused).is_err());
        make_file(&root, Path::new("/real/new/file"), Links::Refused).unwrap();
        assert!(dir.join("root/real/new/file").is_file());
        make_dirs(&root, Path::new("/out/x"), Links::InRoot).unwrap();
        assert!(dir.join("root/outside/x").is_dir(), "the target of a dangling link is made below the root");
        symlink("../run/new/file", dir.join("root/real/conf")).unwrap();
        make_file(&root, Path::new("/real/conf"), Links::InRoot).unwrap();
        assert!(dir.join("root/run/new/file").is_file());
        symlink("loop", dir.join("root/loop")).unwrap();
        assert!(make_file(&root, Path::new("/loop"), Links::InRoot).is_err());
        symlink("around/x", dir.join("root/around")).unwrap();
        assert!(make_dirs(&root, Path::new("/around"), Links::InRoot).is_err());
        assert!(dir.join("outside").read_dir().unwrap().next().is_none());
        std::fs::remove_dir_all(dir).unwrap();
    }
}

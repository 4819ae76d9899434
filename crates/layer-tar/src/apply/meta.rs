//! Owner, mode, attributes and time, as far as the caller may set them.

use super::{Job, Loss, Owners};
use crate::node::{SELINUX, proc_path, read_xattrs};
use crate::root::fstat;
use crate::{Error, Meta, Result, Time, Xattrs};
use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::path::Path;

impl Job<'_> {
    /// What a layer says about owners and attributes, less what the caller may not set.
    pub(super) fn owned(&mut self, meta: &Meta) -> Meta {
        let mut meta = meta.clone();
        // An image cannot be allowed to say how the overlay above it looks.
        let mine = self.options.owners == Owners::Mine;
        if !self.options.selinux {
            meta.xattrs.remove(SELINUX);
        }
        let before = meta.xattrs.len();
        meta.xattrs.retain(|name, _| !(is_overlay(name) || mine && is_privileged(name)));
        self.applied.loss.xattrs += (before - meta.xattrs.len()) as u64;
        if mine {
            self.applied.loss.owners += u64::from((meta.uid, meta.gid) != (0, 0));
            (meta.uid, meta.gid) = self.me;
        }
        meta
    }

    /// An entry says all attributes that its directory has: those of the layers below go.
    pub(super) fn clear_xattrs(&self, fd: BorrowedFd<'_>, at: &Path, keep: &Xattrs) -> Result<()> {
        if self.made.is_none() && self.view.is_none() {
            return Ok(());
        }
        for name in read_xattrs(fd, at)?.into_keys().filter(|name| !keep.contains_key(name)) {
            if !is_overlay(&name) {
                // Its owner may remove whatever a layer can have brought; what stays is the host's: a security module's
                // label, say.
                let _ = rustix::fs::removexattr(proc_path(fd), &name[..]);
            }
        }
        Ok(())
    }
}

pub(super) fn meta_of(fd: BorrowedFd<'_>, at: &Path) -> Result<Meta> {
    let mut meta = Meta::of(&fstat(fd, at)?);
    meta.xattrs = read_xattrs(fd, at)?;
    meta.xattrs.retain(|name, _| !is_overlay(name));
    Ok(meta)
}

/// Owner, then mode, then attributes, then time: each may undo a later one if it came after it.
pub(super) fn set_directory(fd: BorrowedFd<'_>, meta: &Meta, loss: &mut Loss, at: &Path) -> Result<()> {
    let now = Meta::of(&fstat(fd, at)?);
    if (now.uid, now.gid) != (meta.uid, meta.gid) {
        chown(fd, meta, at)?;
    }
    if now.mode != meta.mode || (now.uid, now.gid) != (meta.uid, meta.gid) {
        chmod(fd, meta.mode, at)?;
    }
    set_xattrs(fd, &meta.xattrs, loss, at)?;
    set_time(fd, meta.mtime, at)
}

pub(super) fn chown(fd: BorrowedFd<'_>, meta: &Meta, at: &Path) -> Result<()> {
    rustix::fs::chownat(fd, "", Some(uid(meta.uid)), Some(gid(meta.gid)), AtFlags::EMPTY_PATH)
        .map_err(Error::call("fchownat", at))
}

pub(super) fn chmod(fd: BorrowedFd<'_>, mode: u32, at: &Path) -> Result<()> {
    rustix::fs::chmodat(CWD, proc_path(fd), Mode::from_raw_mode(mode), AtFlags::empty())
        .map_err(Error::call("fchmodat", at))
}

pub(crate) fn set_time(fd: BorrowedFd<'_>, time: Time, at: &Path) -> Result<()> {
    rustix::fs::utimensat(fd, "", &timestamps(time), AtFlags::EMPTY_PATH).map_err(Error::call("utimensat", at))
}

/// What the file system or the kernel will not take is counted, and the rest is kept.
pub(crate) fn set_xattrs(fd: BorrowedFd<'_>, xattrs: &Xattrs, loss: &mut Loss, at: &Path) -> Result<()> {
    for (name, value) in xattrs {
        match rustix::fs::setxattr(proc_path(fd), &name[..], value, XattrFlags::empty()) {
            Ok(()) => {}
            Err(Errno::OPNOTSUPP | Errno::PERM) => loss.xattrs += 1,
            Err(errno) => return Err(Error::call("setxattr", at)(errno)),
        }
    }
    Ok(())
}

pub(crate) fn timestamps(time: Time) -> Timestamps {
    let time = Timespec { tv_sec: time.seconds, tv_nsec: time.nanos.into() };
    Timestamps { last_access: time, last_modification: time }
}

pub(crate) fn uid(id: u32) -> Uid {
    Uid::from_raw(id)
}

pub(crate) fn gid(id: u32) -> Gid {
    Gid::from_raw(id)
}

pub(crate) fn is_overlay(name: &[u8]) -> bool {
    name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.")
}

fn is_privileged(name: &[u8]) -> bool {
    name.starts_with(b"security.") || name.starts_with(b"trusted.")
}

pub(super) fn open_nofollow(dir: BorrowedFd<'_>, name: &OsStr, more: OFlags, at: &Path) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC | more;
    rustix::fs::openat(dir, name, flags, Mode::empty()).map_err(Error::call("openat", at))
}

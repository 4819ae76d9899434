//! What an entry becomes: a directory, a file, a link, a device, under a name that is new.

use super::meta::{chmod, chown, gid, open_nofollow, set_directory, set_time, set_xattrs, timestamps, uid};
use super::whiteouts::mark_opaque;
use super::{Ending, Job, Owners, Parent, refused};
use crate::finish::{SMALL, Unfinished, finish};
use crate::read::{Entry, TarReader};
use crate::stack::{is_whiteout, stat_at};
use crate::{Error, Kind, Meta, Result};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

impl Job<'_> {
    pub(super) fn place_directory(&mut self, entry: &Entry, parent: &Parent, name: &OsStr, at: &Path) -> Result<()> {
        let mut replaced = None;
        let mode = Mode::from_raw_mode(entry.meta.mode & 0o777 | 0o700);
        match rustix::fs::mkdirat(&parent.dir.fd, name, mode) {
            Ok(()) => {}
            Err(Errno::EXIST) => {
                replaced = stat_at(parent.dir.fd.as_fd(), name, at)?;
                if replaced.as_ref().map(Kind::of) != Some(Kind::Directory) {
                    self.remove(parent, name, at)?;
                    rustix::fs::mkdirat(&parent.dir.fd, name, mode).map_err(Error::call("mkdirat", at))?;
                }
            }
            Err(errno) => return Err(Error::call("mkdirat", at)(errno)),
        }
        let fd = open_nofollow(parent.dir.fd.as_fd(), name, OFlags::DIRECTORY, at)?;
        self.copied.remove(at);
        let meta = self.owned(&entry.meta);
        match replaced {
            Some(stat) if Kind::of(&stat) == Kind::Directory => self.clear_xattrs(fd.as_fd(), at, &meta.xattrs)?,
            Some(stat) if is_whiteout(&stat) => mark_opaque(fd.as_fd(), self.options.target, at)?,
            _ => {}
        }
        self.finish_directory(fd.as_fd(), &meta, at.to_owned())
    }

    pub(super) fn finish_directory(&mut self, fd: BorrowedFd<'_>, meta: &Meta, at: PathBuf) -> Result<()> {
        set_directory(fd, meta, &mut self.applied.loss, &at)?;
        let narrow = self.options.owners == Owners::Mine && meta.mode & 0o700 != 0o700;
        if narrow {
            chmod(fd, meta.mode | 0o700, &at)?;
        }
        self.endings.insert(at, Ending { mtime: meta.mtime, mode: narrow.then_some(meta.mode) });
        Ok(())
    }

    pub(super) fn place_file(
        &mut self,
        entry: &Entry,
        parent: &Parent,
        name: &OsStr,
        at: &Path,
        content: &mut TarReader<impl Read>,
    ) -> Result<()> {
        let meta = self.owned(&entry.meta);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(meta.mode & 0o777);
        let fd = self.create("openat", parent, name, at, |dir| rustix::fs::openat(dir, name, flags, mode))?;
        let chown = parent.setgid || (meta.uid, meta.gid) != self.me;
        let chmod = !self.options.umask_is_zero || meta.mode & 0o7000 != 0;
        let mut file = Unfinished { fd, at: at.to_owned(), content: Vec::new(), meta, chown, chmod };
        match &entry.sparse {
            None if entry.size <= SMALL => {
                file.content = content.whole()?;
                return if self.finisher.push(file) { Ok(()) } else { Err(io::Error::other("no finisher").into()) };
            }
            None => write_pieces(file.fd.as_fd(), content, u64::MAX, at)?,
            Some(pieces) => {
                rustix::fs::ftruncate(&file.fd, entry.size).map_err(Error::call("ftruncate", at))?;
                for (offset, length) in pieces {
                    let to = rustix::fs::SeekFrom::Start(*offset);
                    rustix::fs::seek(&file.fd, to).map_err(Error::call("lseek", at))?;
                    write_pieces(file.fd.as_fd(), content, *length, at)?;
                }
            }
        }
        finish(&file, &mut self.applied.loss)
    }

    pub(super) fn place_special(
        &mut self,
        entry: &Entry,
        kind: Kind,
        parent: &Parent,
        name: &OsStr,
        at: &Path,
    ) -> Result<()> {
        let device = matches!(kind, Kind::Char | Kind::Block);
        let whiteout = kind == Kind::Char && entry.device == crate::write::Device { major: 0, minor: 0 };
        if device && self.options.owners != Owners::Keep && !whiteout {
            self.applied.loss.devices += 1;
            self.lost.insert(at.to_owned());
            return Ok(());
        }
        let file_type = match kind {
            Kind::Char => FileType::CharacterDevice,
            Kind::Block => FileType::BlockDevice,
            _ => FileType::Fifo,
        };
        let number = rustix::fs::makedev(entry.device.major, entry.device.minor);
        // On disk it would be a whiteout, and hide what the layers below have.
        if kind == Kind::Char && number == 0 {
            return Err(refused(entry, "a character device 0:0, which means a whiteout"));
        }
        let mode = Mode::from_raw_mode(entry.meta.mode & 0o777);
        let number = if device { number } else { 0 };
        self.create("mknodat", parent, name, at, |fd| rustix::fs::mknodat(fd, name, file_type, mode, number))?;
        self.finish_node(entry, kind, parent, name, at)
    }

    /// Owner, mode, attributes and time of what cannot be opened for writing: the inode is held by `O_PATH`.
    pub(super) fn finish_node(
        &mut self,
        entry: &Entry,
        kind: Kind,
        parent: &Parent,
        name: &OsStr,
        at: &Path,
    ) -> Result<()> {
        let meta = self.owned(&entry.meta);
        self.finish_special(&meta, kind, parent, name, at)
    }

    pub(super) fn finish_special(
        &mut self,
        meta: &Meta,
        kind: Kind,
        parent: &Parent,
        name: &OsStr,
        at: &Path,
    ) -> Result<()> {
        if kind == Kind::Symlink && meta.xattrs.is_empty() {
            if parent.setgid || (meta.uid, meta.gid) != self.me {
                rustix::fs::chownat(
                    &parent.dir.fd,
                    name,
                    Some(uid(meta.uid)),
                    Some(gid(meta.gid)),
                    AtFlags::SYMLINK_NOFOLLOW,
                )
                .map_err(Error::call("fchownat", at))?;
            }
            return rustix::fs::utimensat(&parent.dir.fd, name, &timestamps(meta.mtime), AtFlags::SYMLINK_NOFOLLOW)
                .map_err(Error::call("utimensat", at));
        }
        let fd = open_nofollow(parent.dir.fd.as_fd(), name, OFlags::empty(), at)?;
        chown(fd.as_fd(), meta, at)?;
        if kind != Kind::Symlink {
            chmod(fd.as_fd(), meta.mode, at)?;
        }
        set_xattrs(fd.as_fd(), &meta.xattrs, &mut self.applied.loss, at)?;
        set_time(fd.as_fd(), meta.mtime, at)
    }

    /// Creates a name that must be new. What stands there goes first, and then it must still be new: nothing is
    /// ever written through a name that was there before.
    pub(super) fn create<T>(
        &mut self,
        call: &'static str,
        parent: &Parent,
        name: &OsStr,
        at: &Path,
        create: impl Fn(BorrowedFd<'_>) -> rustix::io::Result<T>,
    ) -> Result<T> {
        match create(parent.dir.fd.as_fd()) {
            Err(Errno::EXIST) => {
                self.remove(parent, name, at)?;
                create(parent.dir.fd.as_fd()).map_err(Error::call(call, at))
            }
            other => other.map_err(Error::call(call, at)),
        }
    }
}

fn write_pieces(fd: BorrowedFd<'_>, content: &mut TarReader<impl Read>, mut most: u64, at: &Path) -> Result<()> {
    while most > 0 {
        let piece = content.piece()?;
        if piece.is_empty() {
            return Ok(());
        }
        let length = usize::try_from(most).unwrap_or(usize::MAX).min(piece.len());
        let written = match rustix::io::write(fd, &piece[..length]) {
            Ok(written) => written,
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(Error::call("write", at)(errno)),
        };
        content.consume(written);
        most -= written as u64;
    }
    Ok(())
}

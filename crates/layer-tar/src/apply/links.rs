//! Hard links, also to what only the layers below have.

use super::meta::{chown, is_overlay, set_time, set_xattrs};
use super::{Job, Parent, Target, inside, refused};
use crate::read::Entry;
use crate::root::DirFd;
use crate::stack::{is_whiteout, stat_at};
use crate::{Error, Kind, Result};
use rustix::fd::AsFd;
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

impl Job<'_> {
    /// The target is found by the same walk as everything else (CVE-2026-50163), and is the name itself, never
    /// what a symbolic link of that name points to.
    pub(super) fn place_link(&mut self, entry: &Entry, parent: &Parent, name: &OsStr, at: &Path) -> Result<()> {
        let target = inside(Path::new(OsStr::from_bytes(&entry.link)), &entry.path)?;
        let Some(target_name) = target.file_name() else {
            return Err(refused(entry, "a hard link to the root directory"));
        };
        let above = target.parent().unwrap_or(Path::new(""));
        if self.lost.contains(&target) {
            return Ok(());
        }
        let missing = |path: &Path| Error::call("linkat", path)(Errno::NOENT);
        let from = match self.find(above)? {
            Some(from) if stat_at(from.fd.as_fd(), target_name, &target)?.is_some() => from,
            _ => match self.options.target {
                Target::Tree | Target::Copy => return Err(missing(&target)),
                Target::OverlayDir { .. } => self.copy_up(above, target_name, &target)?,
            },
        };
        let real = from.path.join(target_name);
        let stat = stat_at(from.fd.as_fd(), target_name, &real)?.ok_or_else(|| missing(&real))?;
        if Kind::of(&stat) == Kind::Directory || is_whiteout(&stat) {
            return Err(refused(entry, "a hard link to something that is not a file"));
        }
        if real == at {
            return Err(refused(entry, "a hard link to itself"));
        }
        self.create("linkat", parent, name, at, |fd| {
            rustix::fs::linkat(&from.fd, target_name, fd, name, AtFlags::empty())
        })
    }

    /// Brings a file of the layers below into this one, as overlayfs does before it links.
    fn copy_up(&mut self, above: &Path, name: &OsStr, target: &Path) -> Result<DirFd> {
        let view = self.view.as_ref().ok_or_else(|| Error::NeedsLower { path: target.to_owned() })?;
        let gone = || Error::call("linkat", target)(Errno::NOENT);
        let (real, node) = view.walk(target, false)?.ok_or_else(gone)?;
        let mut meta = node.meta(&real)?;
        meta.xattrs.retain(|name, _| !is_overlay(name));
        self.copying = true;
        let parent = self.parent(above);
        self.copying = false;
        let parent = parent?;
        self.copied.insert(parent.dir.path.join(name));
        let number = node.stat.st_rdev;
        match node.kind() {
            Kind::File => {}
            Kind::Symlink => {
                let link = node.link(&real)?;
                rustix::fs::symlinkat(&link[..], &parent.dir.fd, name).map_err(Error::call("symlinkat", &real))?;
                self.finish_special(&meta, Kind::Symlink, &parent, name, &real)?;
                return Ok(parent.dir.clone());
            }
            Kind::Char | Kind::Block | Kind::Fifo => {
                let mode = Mode::from_raw_mode(meta.mode);
                let file_type = FileType::from_raw_mode(node.stat.st_mode);
                rustix::fs::mknodat(&parent.dir.fd, name, file_type, mode, number)
                    .map_err(Error::call("mknodat", &real))?;
                self.finish_special(&meta, node.kind(), &parent, name, &real)?;
                return Ok(parent.dir.clone());
            }
            Kind::Directory | Kind::Socket => {
                let reason = "a hard link to something below that is not a file".into();
                return Err(Error::Refused { path: target.to_owned(), reason });
            }
        }
        let mut from = node.open(&real)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&parent.dir.fd, name, flags, Mode::from_raw_mode(0o600))
            .map_err(Error::call("openat", &real))?;
        let mut to = std::fs::File::from(fd);
        io::copy(&mut from, &mut to).map_err(|source| Error::Call {
            call: "copy_file_range",
            path: real.clone(),
            source,
        })?;
        chown(to.as_fd(), &meta, &real)?;
        rustix::fs::fchmod(&to, Mode::from_raw_mode(meta.mode)).map_err(Error::call("fchmod", &real))?;
        set_xattrs(to.as_fd(), &meta.xattrs, &mut self.applied.loss, &real)?;
        set_time(to.as_fd(), meta.mtime, &real)?;
        Ok(parent.dir.clone())
    }
}

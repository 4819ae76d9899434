//! The directory in which an entry will be, found inside the root or made, and its time afterwards.

use super::meta::{chmod, is_overlay, open_nofollow, set_directory, set_time};
use super::whiteouts::mark_opaque;
use super::{Ending, Job, Owners, Parent, Target};
use crate::root::{DirFd, fstat, open_plain, walk};
use crate::stack::{Merged, stat_at};
use crate::{Error, Kind, Meta, Result, Stack, Time};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

impl Job<'_> {
    /// The directory of an existing path, symbolic links followed inside the root.
    pub(super) fn find(&self, path: &Path) -> Result<Option<DirFd>> {
        match open_plain(self.root, path) {
            Some(fd) => Ok(Some(DirFd { path: path.to_owned(), fd: Rc::new(fd) })),
            None => match self.options.target {
                Target::Tree | Target::Copy => walk(self.root, path, None),
                // Only the view knows where a link of the layers below leads.
                Target::OverlayDir { .. } => match &self.view {
                    Some(view) => Ok(view.resolve(path)?.and_then(|found| {
                        Some(DirFd { fd: Rc::new(open_plain(self.root, &found.path)?), path: found.path })
                    })),
                    None => Ok(None),
                },
            },
        }
    }

    /// The directory in which an entry will be, made when it is missing.
    pub(super) fn parent(&mut self, path: &Path) -> Result<Rc<Parent>> {
        if let Some((asked, parent)) = &self.last
            && asked == path
            && self.copied.is_empty()
        {
            return Ok(Rc::clone(parent));
        }
        let dir = match open_plain(self.root, path) {
            Some(fd) => DirFd { path: path.to_owned(), fd: Rc::new(fd) },
            None => self.make_parent(path)?,
        };
        if !self.copying && !self.copied.is_empty() {
            for path in dir.path.ancestors() {
                self.copied.remove(path);
            }
        }
        let stat = fstat(dir.fd.as_fd(), &dir.path)?;
        let setgid = stat.st_mode & 0o2000 != 0;
        if !self.endings.contains_key(&dir.path) {
            let meta = Meta::of(&stat);
            let narrow = self.options.owners == Owners::Mine && meta.mode & 0o700 != 0o700;
            if narrow {
                chmod(dir.fd.as_fd(), meta.mode | 0o700, &dir.path)?;
            }
            self.endings.insert(dir.path.clone(), Ending { mtime: meta.mtime, mode: narrow.then_some(meta.mode) });
        }
        let parent = Rc::new(Parent { dir, setgid });
        self.last = Some((path.to_owned(), Rc::clone(&parent)));
        Ok(parent)
    }

    fn make_parent(&mut self, path: &Path) -> Result<DirFd> {
        let path = match (self.options.target, &self.view) {
            (Target::Tree | Target::Copy, _) => path.to_owned(),
            (_, Some(view)) => real_parent(view, path)?,
            (_, None) => return Err(Error::NeedsLower { path: path.to_owned() }),
        };
        let mine = self.options.owners == Owners::Mine;
        let target = self.options.target;
        let mut below = self.view.as_ref().map(|view| Below { view, last: None });
        let (endings, loss) = (&mut self.endings, &mut self.applied.loss);
        let mut copied = self.copying.then_some(&mut self.copied);
        let mut make = |dir: BorrowedFd<'_>, name: &OsStr, at: &Path| -> Result<()> {
            let above = at.parent().unwrap_or(Path::new(""));
            if !endings.contains_key(above) {
                let mtime = Meta::of(&fstat(dir, above)?).mtime;
                endings.insert(above.to_owned(), Ending { mtime, mode: None });
            }
            let hidden = stat_at(dir, name, at)?.is_some();
            if hidden {
                rustix::fs::unlinkat(dir, name, AtFlags::empty()).map_err(Error::call("unlinkat", at))?;
            }
            rustix::fs::mkdirat(dir, name, Mode::from_raw_mode(0o755)).map_err(Error::call("mkdirat", at))?;
            let fd = open_nofollow(dir, name, OFlags::DIRECTORY, at)?;
            let mut meta = Meta::of(&fstat(fd.as_fd(), at)?);
            (meta.mode, meta.mtime) = (0o755, Time::default());
            if hidden {
                mark_opaque(fd.as_fd(), target, at)?;
                below = None;
            } else if let Some(below) = &mut below {
                // The new directory lies above the one below: it takes over how that one looks.
                meta = below.meta(at)?.unwrap_or(meta);
            }
            set_directory(fd.as_fd(), &meta, loss, at)?;
            let narrow = mine && meta.mode & 0o700 != 0o700;
            if narrow {
                chmod(fd.as_fd(), meta.mode | 0o700, at)?;
            }
            endings.insert(at.to_owned(), Ending { mtime: meta.mtime, mode: narrow.then_some(meta.mode) });
            if let Some(copied) = &mut copied {
                copied.insert(at.to_owned());
            }
            Ok(())
        };
        walk(self.root, &path, Some(&mut make))?.ok_or_else(|| Error::call("openat", path)(Errno::NOENT))
    }

    /// Writing in a directory changes its time, so the times of directories come last, the deepest first.
    pub(super) fn finish_directories(&mut self) -> Result<()> {
        for (path, ending) in std::mem::take(&mut self.endings).into_iter().rev() {
            let Some(fd) = open_plain(self.root, &path) else { continue };
            set_time(fd.as_fd(), ending.mtime, &path)?;
            if let Some(mode) = ending.mode {
                chmod(fd.as_fd(), mode, &path)?;
            }
        }
        Ok(())
    }
}

/// Where a path leads in the view, whether all of it is there yet or not.
fn real_parent(view: &Stack, path: &Path) -> Result<PathBuf> {
    let mut path = path.to_owned();
    // What is missing may be followed by a way back, to where there is something again.
    for _ in 0..=40 {
        let (real, left) = view.reach(&path)?;
        let back = left.iter().any(|name| name == "..");
        path = clamped(&left.iter().fold(real, |path, name| path.join(name)));
        if !back {
            return Ok(path);
        }
    }
    Err(Error::call("openat", path)(Errno::LOOP))
}

/// The path without `.` and `..`; where it would lead above the root, it stays there, as links do.
fn clamped(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => drop(clean.pop()),
            _ => {}
        }
    }
    clean
}

/// What the layers below have of the directory that was made last. Implied parents are made one in the other, so each
/// is looked up in the one before, and not from the root.
struct Below<'a> {
    view: &'a Stack,
    last: Option<(PathBuf, Option<Arc<Merged>>)>,
}

impl Below<'_> {
    /// How the directory looked before this layer put an empty one of its own over it.
    fn meta(&mut self, at: &Path) -> Result<Option<Meta>> {
        let above = at.parent().unwrap_or(Path::new(""));
        let lower = match self.last.take() {
            Some((last, lower)) if last == above => lower,
            _ => self.view.below(above)?.map(Arc::new),
        };
        let name = at.file_name().unwrap_or_default();
        let node = match lower {
            Some(lower) => self.view.child(&lower, name, at)?.filter(|node| node.kind() == Kind::Directory),
            None => None,
        };
        self.last = Some((at.to_owned(), node.as_ref().and_then(|node| node.merged.clone())));
        let meta = node.map(|node| node.meta(at)).transpose()?;
        Ok(meta.map(|mut meta| {
            meta.xattrs.retain(|name, _| !is_overlay(name));
            meta
        }))
    }
}

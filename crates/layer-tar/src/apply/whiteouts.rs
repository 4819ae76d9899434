//! Whiteouts: in a tree they remove, in an overlay directory they stay as marks.

use super::meta::{chmod, open_nofollow, set_time, timestamps};
use super::{Job, Parent, Target, refused};
use crate::node::proc_path;
use crate::read::Entry;
use crate::root::{empty_except, fstat, open_plain, remove_all, remove_except};
use crate::stack::{is_whiteout, read_names, stat_at};
use crate::{Error, Kind, Meta, OPAQUE_NAME, Result, Stack, Time, WHITEOUT_PREFIX};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, XattrFlags};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

impl Job<'_> {
    pub(super) fn place_whiteout(&mut self, entry: &Entry, above: &Path, name: &OsStr, hidden: &OsStr) -> Result<()> {
        if name == OsStr::from_bytes(OPAQUE_NAME) {
            let dir = self.parent(above)?.dir.clone();
            self.uncopy(&dir.path)?;
            return match self.options.target {
                Target::Tree | Target::Copy => match &mut self.made {
                    Some(made) => {
                        self.last = None;
                        made.insert(dir.path.clone());
                        empty_except(dir.fd.as_fd(), &dir.path, &|path| made.contains(path), 0)
                    }
                    None => Ok(()),
                },
                Target::OverlayDir { .. } => mark_opaque(dir.fd.as_fd(), self.options.target, &dir.path),
            };
        }
        // Other names of this form are aufs's own, and mean nothing in a layer.
        if hidden.as_bytes().starts_with(WHITEOUT_PREFIX) {
            return Ok(());
        }
        if matches!(hidden.as_bytes(), b"" | b"." | b"..") {
            return Err(refused(entry, "a whiteout of no name"));
        }
        let parent = self.parent(above)?;
        let at = parent.dir.path.join(hidden);
        self.uncopy(&at)?;
        match self.options.target {
            Target::Tree | Target::Copy => match &mut self.made {
                Some(made) => {
                    self.last = None;
                    made.insert(parent.dir.path.clone());
                    remove_except(parent.dir.fd.as_fd(), hidden, &at, &|path| made.contains(path), 0)
                }
                None => Ok(()),
            },
            Target::OverlayDir { .. } => {
                let kind = stat_at(parent.dir.fd.as_fd(), hidden, &at)?.map(|stat| Kind::of(&stat));
                match kind {
                    Some(Kind::Directory) => {
                        let fd = open_nofollow(parent.dir.fd.as_fd(), hidden, OFlags::DIRECTORY, &at)?;
                        mark_opaque(fd.as_fd(), self.options.target, &at)
                    }
                    Some(_) => Ok(()),
                    None => {
                        self.applied.whiteouts.insert(parent.dir.path.clone());
                        let mode = Mode::empty();
                        rustix::fs::mknodat(&parent.dir.fd, hidden, FileType::CharacterDevice, mode, 0)
                            .map_err(Error::call("mknodat", &at))?;
                        rustix::fs::utimensat(
                            &parent.dir.fd,
                            hidden,
                            &timestamps(Time::default()),
                            AtFlags::SYMLINK_NOFOLLOW,
                        )
                        .map_err(Error::call("utimensat", &at))
                    }
                }
            }
        }
    }

    /// Takes away what was copied up to this path, or below it.
    fn uncopy(&mut self, at: &Path) -> Result<()> {
        let gone: Vec<PathBuf> = from(&self.copied, at).cloned().collect();
        // Files before the directories that were made for them.
        for path in gone.iter().rev() {
            let above = path.parent().unwrap_or(Path::new(""));
            if let (Some(dir), Some(name)) = (open_plain(self.root, above), path.file_name()) {
                remove_all(dir.as_fd(), name, path, 0)?;
            }
            self.copied.remove(path);
            self.endings.remove(path);
            self.last = None;
        }
        Ok(())
    }

    pub(super) fn remove(&mut self, parent: &Parent, name: &OsStr, at: &Path) -> Result<()> {
        self.last = None;
        while let Some((path, _)) = self.endings.range(at.to_owned()..).next().filter(|(path, _)| path.starts_with(at))
        {
            let path = path.clone();
            self.endings.remove(&path);
        }
        for paths in [&mut self.copied, &mut self.applied.whiteouts] {
            for path in from(paths, at).cloned().collect::<Vec<_>>() {
                paths.remove(&path);
            }
        }
        remove_all(parent.dir.fd.as_fd(), name, at, 0)
    }
}

/// Takes whiteouts away that hide nothing. In a directory that only one layer has, the kernel lists them as names (it
/// hides them where it merges): `dirs` are those of the layer `top`, `lower` the layers below it, topmost first.
pub fn drop_void_whiteouts(top: &Path, lower: &[PathBuf], userxattr: bool, dirs: &BTreeSet<PathBuf>) -> Result<()> {
    let layers: Vec<PathBuf> = [top.to_owned()].into_iter().chain(lower.iter().cloned()).collect();
    let view = Stack::open(&layers)?.userxattr(userxattr);
    for path in dirs {
        let Some(merged) = view.single(path)? else { continue };
        let before = Meta::of(&fstat(merged.as_fd(), path)?);
        let narrow = userxattr && before.mode & 0o700 != 0o700;
        if narrow {
            chmod(merged.as_fd(), before.mode | 0o700, path)?;
        }
        for name in read_names(merged.as_fd(), path)? {
            let at = path.join(&name);
            if stat_at(merged.as_fd(), &name, &at)?.is_some_and(|stat| is_whiteout(&stat)) {
                rustix::fs::unlinkat(&merged, &name, AtFlags::empty()).map_err(Error::call("unlinkat", &at))?;
            }
        }
        set_time(merged.as_fd(), before.mtime, path)?;
        if narrow {
            chmod(merged.as_fd(), before.mode, path)?;
        }
    }
    Ok(())
}

pub(super) fn mark_opaque(fd: BorrowedFd<'_>, target: Target<'_>, at: &Path) -> Result<()> {
    let Target::OverlayDir { userxattr, .. } = target else { return Ok(()) };
    let name = if userxattr { "user.overlay.opaque" } else { "trusted.overlay.opaque" };
    rustix::fs::setxattr(proc_path(fd), name, b"y", XattrFlags::empty()).map_err(Error::call("setxattr", at))
}

/// A path and all below it, as far as the set has them: paths are sorted by their components.
fn from<'a>(paths: &'a BTreeSet<PathBuf>, at: &'a Path) -> impl Iterator<Item = &'a PathBuf> {
    paths.range(at.to_owned()..).take_while(move |path| path.starts_with(at))
}

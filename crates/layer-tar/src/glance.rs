//! A glance at the names that two directories share: most are the same file, and for those nothing has to be opened.
//!
//! Whether a name has extended attributes can be asked by descriptor only from Linux 6.13 on (listxattrat(2)). Before,
//! the question takes a path: one over /proc, which costs as much as everything else together, or a bare name below
//! the working directory. So a thread with a working directory of its own goes where the names are.

use crate::node::{Kind, Meta, proc_path};
use crate::stack::Merged;
use crate::{Result, WHITEOUT_PREFIX};
use rustix::fd::BorrowedFd;
use rustix::fs::{AtFlags, llistxattr, statat};
use rustix::io::Errno;
use rustix::path::Arg;
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::panic::resume_unwind;
use std::thread;

/// How the question is put.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Glance(fn(BorrowedFd<'_>, &OsStr) -> bool);

impl Glance {
    /// Does `work` in a thread with a working directory of its own, or here where there is none to be had.
    pub(crate) fn with(work: impl FnOnce(Self) -> Result<()> + Send) -> Result<()> {
        let mut work = Some(work);
        let done = thread::scope(|scope| {
            let by_name = || own_directory().ok().and_then(|()| work.take()).map(|work| work(Self(has_none_by_name)));
            let worker = thread::Builder::new().name("glance".into()).spawn_scoped(scope, by_name).ok()?;
            worker.join().unwrap_or_else(|panic| resume_unwind(panic))
        });
        done.unwrap_or_else(|| work.map_or(Ok(()), |work| work(Self(has_none_by_proc))))
    }

    /// The names that have to be looked at.
    pub(crate) fn rest(self, old: &Merged, new: &Merged, names: BTreeSet<OsString>) -> Vec<OsString> {
        names.into_iter().filter(|name| !is_same(old, new, name, self.0)).collect()
    }
}

/// A working directory of this thread's own.
fn own_directory() -> rustix::io::Result<()> {
    #[expect(deprecated, reason = "unsafe is what unshares descriptors, and these stay shared")]
    rustix::thread::unshare(rustix::thread::UnshareFlags::FS)
}

/// Whether a name certainly is the same regular file in both, or two without attributes that look the same.
fn is_same(old: &Merged, new: &Merged, name: &OsStr, has_none: fn(BorrowedFd<'_>, &OsStr) -> bool) -> bool {
    let (Some(old), Some(new)) = (old.only(), new.only()) else { return false };
    if name.as_bytes().starts_with(WHITEOUT_PREFIX) {
        return false;
    }
    let stat = |dir| statat(dir, name, AtFlags::SYMLINK_NOFOLLOW);
    let (Ok(a), Ok(b)) = (stat(old), stat(new)) else { return false };
    let looks = Kind::of(&a) == Kind::File
        && Kind::of(&b) == Kind::File
        && (a.st_size, a.st_nlink) == (b.st_size, b.st_nlink)
        && Meta::of(&a) == Meta::of(&b);
    looks && ((a.st_dev, a.st_ino) == (b.st_dev, b.st_ino) || has_none(old, name) && has_none(new, name))
}

/// Whether the name in the directory certainly has no extended attributes.
fn has_none_by_name(dir: BorrowedFd<'_>, name: &OsStr) -> bool {
    rustix::process::fchdir(dir).is_ok() && lists_none(name)
}

fn has_none_by_proc(dir: BorrowedFd<'_>, name: &OsStr) -> bool {
    lists_none([proc_path(dir).as_bytes(), b"/", name.as_bytes()].concat())
}

fn lists_none(path: impl Arg) -> bool {
    // One byte is too short for any name; none at all would be a question for the length.
    matches!(llistxattr(path, &mut [0u8; 1][..]), Ok(0) | Err(Errno::OPNOTSUPP))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Stack;
    use std::fs;

    #[test]
    fn both_ways_see_what_is_the_same() {
        let room = tempfile::tempdir().unwrap();
        for side in ["old", "new"] {
            let dir = room.path().join(side);
            fs::create_dir(&dir).unwrap();
            for name in ["same", "size", "mode", "attribute", ".wh.x"] {
                fs::write(dir.join(name), if (side, name) == ("new", "size") { "longer" } else { "x" }).unwrap();
                let time = std::time::SystemTime::UNIX_EPOCH;
                fs::File::options().write(true).open(dir.join(name)).unwrap().set_modified(time).unwrap();
            }
            std::os::unix::fs::symlink("same", dir.join("link")).unwrap();
            fs::create_dir(dir.join("directory")).unwrap();
        }
        let new = room.path().join("new");
        fs::set_permissions(new.join("mode"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        fs::write(new.join("added"), "x").unwrap();
        rustix::fs::setxattr(new.join("attribute"), "user.a", b"1", rustix::fs::XattrFlags::empty()).unwrap();
        let root = |side: &str| Stack::open(&[room.path().join(side)]).unwrap().root().unwrap().merged.unwrap();
        let (old, new) = (root("old"), root("new"));
        let names = || new.names("".as_ref()).unwrap();
        let before = std::env::current_dir().unwrap();
        let want = [".wh.x", "added", "attribute", "directory", "link", "mode", "size"];
        let look = |glance: Glance| {
            assert_eq!(glance.rest(&old, &new, names()), want);
            Ok(())
        };
        Glance::with(look).unwrap();
        look(Glance(has_none_by_proc)).unwrap();
        assert_eq!(std::env::current_dir().unwrap(), before);
    }
}

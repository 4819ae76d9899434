//! The kernel's own files, written through a procfs over which nobody can have mounted another file
//! (CVE-2019-16884, CVE-2023-28642).

use crate::error::{Call, Error, Result};
use crate::steps::Scene;
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, PROC_SUPER_MAGIC, ResolveFlags, fstat, fstatfs, open, openat2};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

/// The inode of procfs's root, in every procfs (`fs/proc`).
const PROC_ROOT_INO: u64 = 1;

/// Opens a file below procfs for writing. Nothing that is mounted further down is followed.
pub(crate) fn open_to_write(scene: &mut Scene, path: &str) -> Result<OwnedFd> {
    let covered;
    let procfs = match scene.procfs.take().map_or_else(private, Ok) {
        Ok(procfs) => scene.procfs.insert(procfs),
        Err(Errno::PERM) => {
            covered = that_on_proc()?;
            &covered
        }
        Err(error) => return Err(error).call(|| "fsopen(\"proc\")".into()),
    };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    openat2(procfs, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty(), resolve)
        .call(|| format!("openat2(<procfs>, {path:?})"))
}

/// A procfs that is mounted nowhere.
fn private() -> rustix::io::Result<OwnedFd> {
    let fs = fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&fs)?;
    fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
}

/// A user namespace in which parts of `/proc` are covered, or that shares its processes with others, may not have one
/// of its own: then the one on `/proc`, when it is a procfs and its root.
fn that_on_proc() -> Result<OwnedFd> {
    let line = || "open(\"/proc\")".into();
    let found = open("/proc", OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()).call(line)?;
    let is_procfs = fstatfs(&found).call(line)?.f_type == PROC_SUPER_MAGIC;
    if !is_procfs || fstat(&found).call(line)?.st_ino != PROC_ROOT_INO {
        return Err(Error::refused("/proc: is no procfs"));
    }
    Ok(found)
}

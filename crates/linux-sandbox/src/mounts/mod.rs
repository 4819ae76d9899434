//! `mount_namespaces(7)` through the mount API of Linux 5.2: a mount is made first and put in its place by
//! descriptor afterwards, so that no path is looked up twice.

mod bind;
mod filesystem;
mod options;
mod overlay;
mod propagation;
mod root;

pub(crate) use bind::clone_from;
pub use bind::{Bind, Held};
pub use filesystem::Filesystem;
pub use options::{Attributes, Mount};
pub use overlay::OverlayRoot;
pub use propagation::{Propagation, PropagationStep};
pub use root::{ReadOnlyRoot, TreeRoot};

use crate::error::{Call, Error, Result};
use crate::sys;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, openat, statat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string,
    fsmount, fsopen, move_mount, open_tree,
};
use std::path::Path;

/// A mount that is nowhere yet.
pub(crate) fn new_filesystem(kind: &str, source: &str, options: &[String], attributes: Attributes) -> Result<OwnedFd> {
    let fs = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).call(|| format!("fsopen({kind:?})"))?;
    fsconfig_set_string(&fs, "source", source).call(|| format!("fsconfig({kind}, \"source\", {source:?})"))?;
    for option in options {
        set(&fs, option).map_err(|errno| context(&fs, &format!("fsconfig({kind}, {option:?})"), errno))?;
    }
    fsconfig_create(&fs).map_err(|errno| context(&fs, &format!("fsconfig({kind}, create)"), errno))?;
    fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, attributes.flags()).call(|| format!("fsmount({kind})"))
}

fn set(fs: &OwnedFd, option: &str) -> rustix::io::Result<()> {
    match option.split_once('=') {
        Some((key, value)) => fsconfig_set_string(fs, key, value),
        None => fsconfig_set_flag(fs, option),
    }
}

/// The kernel keeps a sentence of its own in the descriptor of a file system that could not be made.
fn context(fs: &OwnedFd, call: &str, errno: Errno) -> Error {
    let mut buffer = [0; 256];
    let said =
        rustix::io::read(fs, &mut buffer).ok().and_then(|length| std::str::from_utf8(buffer.get(2..length)?).ok());
    let call = said.map_or(call.to_owned(), |said| format!("{call} ({})", said.trim_end()));
    Error::Call { call, errno: errno.raw_os_error() }
}

/// Puts a mount on what `target` is, by descriptor on both sides.
pub(crate) fn attach(fd: impl AsFd, target: impl AsFd) -> rustix::io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(fd, "", target, "", flags)
}

/// Puts a mount on a directory of the host's that we chose ourselves.
fn attach_to_path(fd: impl AsFd, target: &Path) -> Result<()> {
    let dir = openat(CWD, target, OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
        .call(|| format!("open({target:?})"))?;
    attach(fd, &dir).call(|| format!("move_mount(<rootfs>, {target:?})"))
}

/// A second mount of what `fd` shows.
pub(crate) fn clone_of(fd: impl AsFd) -> rustix::io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    open_tree(fd, "", flags)
}

pub(crate) fn set_attributes(fd: impl AsFd, recursive: bool, attributes: Attributes) -> rustix::io::Result<()> {
    sys::mount_setattr(fd, recursive, attributes.0, 0)
}

pub(crate) fn kind_of(fd: impl AsFd) -> Result<FileType> {
    let found = statat(fd, "", AtFlags::EMPTY_PATH).call(|| "fstat(<mount>)".into())?;
    Ok(FileType::from_raw_mode(found.st_mode))
}

//! What a node of a tree is besides its content: kind, owner, mode, time, attributes.

use crate::{Error, Result};
use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::fs::{FileType, Stat};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::path::Path;

/// A point in time as inodes have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Time {
    /// Seconds since 1970, negative before.
    pub seconds: i64,
    /// 0 to 999 999 999, always forward of `seconds`.
    pub nanos: u32,
}

impl Time {
    /// A whole second.
    pub fn at(seconds: i64) -> Self {
        Self { seconds, nanos: 0 }
    }
}

/// Extended attributes by name, sorted.
pub type Xattrs = BTreeMap<Vec<u8>, Vec<u8>>;

/// What an inode carries beside its content.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Meta {
    /// Permission, set-id and sticky bits, no file type.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Last modification.
    pub mtime: Time,
    /// Extended attributes.
    pub xattrs: Xattrs,
}

/// What an inode is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A character device.
    Char,
    /// A block device.
    Block,
    /// A named pipe.
    Fifo,
    /// A socket, which no layer can hold.
    Socket,
}

impl Kind {
    pub(crate) fn of(stat: &Stat) -> Self {
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Self::Directory,
            FileType::Symlink => Self::Symlink,
            FileType::CharacterDevice => Self::Char,
            FileType::BlockDevice => Self::Block,
            FileType::Fifo => Self::Fifo,
            FileType::Socket => Self::Socket,
            _ => Self::File,
        }
    }
}

impl Meta {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the kernel gives 0..1e9")]
    pub(crate) fn of(stat: &Stat) -> Self {
        Self {
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            mtime: Time { seconds: stat.st_mtime, nanos: stat.st_mtime_nsec as u32 },
            xattrs: Xattrs::new(),
        }
    }
}

/// The path by which calls that take no descriptor of kind `O_PATH` reach its inode. The kernel jumps to the
/// inode itself: nothing is looked up again, and a symbolic link is not followed.
pub(crate) fn proc_path(fd: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// The label that a machine's `SELinux` policy has for a file: another machine has another policy.
pub(crate) const SELINUX: &[u8] = b"security.selinux";

/// All extended attributes of the inode behind an `O_PATH` descriptor, but for this machine's labels. A file system that
/// has none is not an error.
pub(crate) fn read_xattrs(fd: BorrowedFd<'_>, shown: &Path) -> Result<Xattrs> {
    let path = proc_path(fd);
    let names = match grown(|buffer| rustix::fs::listxattr(&path, buffer)) {
        Ok(names) => names,
        Err(Errno::OPNOTSUPP | Errno::NODATA) => Vec::new(),
        Err(errno) => return Err(Error::call("listxattr", shown)(errno)),
    };
    let mut found = Xattrs::new();
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty() && *name != SELINUX) {
        match grown(|buffer| rustix::fs::getxattr(&path, name, buffer)) {
            Ok(value) => drop(found.insert(name.to_vec(), value)),
            // Listed and then gone, or listed to somebody who may not read it.
            Err(Errno::NODATA | Errno::PERM | Errno::ACCESS) => {}
            Err(errno) => return Err(Error::call("getxattr", shown)(errno)),
        }
    }
    Ok(found)
}

/// Most are nothing or short; the kernel has no more than 64 KiB.
fn grown(mut call: impl FnMut(&mut [u8]) -> rustix::io::Result<usize>) -> rustix::io::Result<Vec<u8>> {
    let mut short = [0u8; 256];
    match call(&mut short) {
        Ok(used) => return Ok(short[..used].to_vec()),
        Err(Errno::RANGE) => {}
        Err(errno) => return Err(errno),
    }
    let mut long = vec![0u8; 64 * 1024];
    let used = call(&mut long)?;
    long.truncate(used);
    Ok(long)
}

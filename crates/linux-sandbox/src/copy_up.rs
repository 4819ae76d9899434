//! `tmpcopyup`: a new tmpfs starts with what the image has at its place.

use crate::error::{Call, Error, Result};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, chmodat, chownat, mkdirat, openat,
    readlinkat, statat, symlinkat, utimensat,
};
use std::ffi::CStr;
use std::fs::File;

/// Deeper trees are nobody's honest /tmp.
const DEEPEST: u32 = 100;

/// Copies the content of one directory into another, with owners, modes and times. Devices, sockets and FIFOs are
/// left out.
pub(crate) fn copy(from: impl AsFd, to: impl AsFd) -> Result<()> {
    let found = statat(&from, "", AtFlags::EMPTY_PATH).call(|| "fstat(<tmpcopyup>)".into())?;
    copy_entries(&from, &to, 0)?;
    // The mode is that of the mount's options, the owner and the times are the image's.
    let own = |id| Some(Uid::from_raw(id));
    chownat(&to, "", own(found.st_uid), Some(Gid::from_raw(found.st_gid)), AtFlags::EMPTY_PATH)
        .call(|| "fchown(<tmpcopyup>)".into())
}

fn copy_entries(from: impl AsFd, to: impl AsFd, depth: u32) -> Result<()> {
    if depth > DEEPEST {
        return Err(Error::refused("tmpcopyup: the directories are too deep"));
    }
    // A descriptor of O_PATH cannot be read.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let readable = openat(&from, ".", flags, Mode::empty()).call(|| "open(<tmpcopyup>)".into())?;
    for entry in Dir::read_from(&readable).call(|| "getdents(<tmpcopyup>)".into())? {
        let entry = entry.call(|| "getdents(<tmpcopyup>)".into())?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            copy_one(&readable, &to, name, depth)?;
        }
    }
    Ok(())
}

fn copy_one(from: &OwnedFd, to: impl AsFd, name: &CStr, depth: u32) -> Result<()> {
    let line = || format!("tmpcopyup: {name:?}");
    let found = statat(from, name, AtFlags::SYMLINK_NOFOLLOW).call(line)?;
    match FileType::from_raw_mode(found.st_mode) {
        FileType::Directory => {
            mkdirat(&to, name, Mode::from_raw_mode(0o700)).call(line)?;
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let source = openat(from, name, flags, Mode::empty()).call(line)?;
            copy_entries(&source, openat(&to, name, flags, Mode::empty()).call(line)?, depth + 1)?;
        }
        FileType::RegularFile => {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let mut source = File::from(openat(from, name, flags, Mode::empty()).call(line)?);
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let mut copy = File::from(openat(&to, name, flags, Mode::from_raw_mode(0o600)).call(line)?);
            std::io::copy(&mut source, &mut copy).call(line)?;
        }
        FileType::Symlink => {
            let target = readlinkat(from, name, Vec::new()).call(line)?;
            symlinkat(target.as_c_str(), &to, name).call(line)?;
        }
        _ => return Ok(()),
    }
    keep(&to, name, &found).call(line)
}

fn keep(to: impl AsFd, name: &CStr, found: &Stat) -> rustix::io::Result<()> {
    let (uid, gid) = (Uid::from_raw(found.st_uid), Gid::from_raw(found.st_gid));
    chownat(&to, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(found.st_mode) != FileType::Symlink {
        chmodat(&to, name, Mode::from_raw_mode(found.st_mode), AtFlags::empty())?;
    }
    let time = |tv_sec, nanos: u64| Timespec { tv_sec, tv_nsec: i64::try_from(nanos).unwrap_or(0) };
    let times = Timestamps {
        last_access: time(found.st_atime, found.st_atime_nsec),
        last_modification: time(found.st_mtime, found.st_mtime_nsec),
    };
    utimensat(to, name, &times, AtFlags::SYMLINK_NOFOLLOW)
}

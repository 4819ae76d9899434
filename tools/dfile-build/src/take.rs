//! A part of a tree as files of its own, for a mount that must not show the original.

use crate::shelf::chown;
use crate::source::{Root, Source};
use anyhow::Context;
use layer_tar::{Kind, Meta};
use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags, mknodat, utimensat};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Writes a source to `to`, which is not there yet and in a directory that only we can enter: nobody puts a link
/// where we write. Device nodes and sockets stay behind.
pub fn take(root: &Root, source: &Source, to: &Path) -> anyhow::Result<()> {
    let mut first: HashMap<(u64, u64), PathBuf> = HashMap::new();
    let mut directories = Vec::new();
    for entry in &source.entries {
        let below = source.below(entry);
        let path = if below.as_os_str().is_empty() { to.to_owned() } else { to.join(below) };
        let shown = || path.display().to_string();
        match entry.kind {
            Kind::Directory => {
                fs::create_dir(&path).with_context(shown)?;
                directories.push((path, entry.meta()));
                continue;
            }
            Kind::File => {
                if let Some(other) = entry.shared().and_then(|inode| first.get(&inode)) {
                    fs::hard_link(other, &path).with_context(shown)?;
                    continue;
                }
                // copy_file_range(2), and with it a reflink where the file system has them.
                let mut new = File::create_new(&path).with_context(shown)?;
                io::copy(&mut root.read(&entry.path)?, &mut new).with_context(shown)?;
                if let Some(inode) = entry.shared() {
                    first.insert(inode, path.clone());
                }
            }
            Kind::Symlink => {
                std::os::unix::fs::symlink(OsStr::from_bytes(entry.target()), &path).with_context(shown)?;
            }
            Kind::Fifo => mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).with_context(shown)?,
            _ => continue,
        }
        look_like(&path, &entry.meta(), entry.kind).with_context(shown)?;
    }
    for (path, meta) in directories.iter().rev() {
        look_like(path, meta, Kind::Directory).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// Owner, then mode, then attributes, then times: each would be lost to the one before it.
fn look_like(path: &Path, meta: &Meta, kind: Kind) -> anyhow::Result<()> {
    chown(path, meta.uid, meta.gid)?;
    if kind != Kind::Symlink {
        fs::set_permissions(path, fs::Permissions::from_mode(meta.mode))?;
    }
    for (name, value) in &meta.xattrs {
        rustix::fs::lsetxattr(path, OsStr::from_bytes(name), value, XattrFlags::empty())?;
    }
    let time = Timespec { tv_sec: meta.mtime.seconds, tv_nsec: meta.mtime.nanos.into() };
    let times = Timestamps { last_access: time, last_modification: time };
    Ok(utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

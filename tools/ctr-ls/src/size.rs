//! `--size`: the bytes that a container has written, and those of all it sees.

use anyhow::Context;
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags};
use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// `2B (virtual 1.98MB)`.
pub fn in_words(bundle_dir: &Path) -> anyhow::Result<String> {
    let (written, seen) = of(bundle_dir)?;
    Ok(format!("{} (virtual {})", table::size(written), table::size(seen)))
}

/// The bytes that a container has written, and those of all it sees.
pub fn of(bundle_dir: &Path) -> anyhow::Result<(u64, u64)> {
    let bundle = bundle::load(bundle_dir)?;
    // An ordinary user cannot look into what belongs to other IDs of the container, but from a namespace like its own.
    subids::enter_that_of_record(&bundle.rest)?;
    let Some(overlay) = &bundle.overlay else {
        let whole = tree(&bundle_dir.join("rootfs"))?;
        return Ok((whole, whole));
    };
    let below = overlay.lower.iter().map(|layer| tree(layer.as_path())).sum::<anyhow::Result<u64>>()?;
    let written = tree(overlay.upper.as_path())?;
    Ok((written, written + below))
}

/// The bytes of the regular files in a tree, each file once. What a container writes can change under our feet,
/// so every directory is opened from the top, through no link.
fn tree(top: &Path) -> anyhow::Result<u64> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let root = match rustix::fs::open(top, flags, Mode::empty()) {
        Ok(root) => root,
        // A container that has not been started yet may have none.
        Err(rustix::io::Errno::NOENT) => return Ok(0),
        Err(error) => return Err(error).with_context(|| top.display().to_string()),
    };
    let (mut bytes, mut counted, mut waiting) = (0, HashSet::new(), vec![PathBuf::from(".")]);
    while let Some(dir) = waiting.pop() {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        // What has gone, or is deeper than a path can be, counts nothing.
        let Ok(open) = rustix::fs::openat2(&root, &dir, flags, Mode::empty(), resolve) else { continue };
        bytes += entries(&open, &dir, &mut counted, &mut waiting).with_context(|| top.display().to_string())?;
    }
    Ok(bytes)
}

fn entries(
    open: &OwnedFd,
    path: &Path,
    counted: &mut HashSet<(u64, u64)>,
    waiting: &mut Vec<PathBuf>,
) -> rustix::io::Result<u64> {
    let mut bytes = 0;
    for entry in Dir::read_from(open)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        if entry.file_type() == FileType::Directory {
            waiting.push(path.join(OsStr::from_bytes(name.to_bytes())));
            continue;
        }
        let Ok(stat) = rustix::fs::statat(open, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile && counted.insert((stat.st_dev, stat.st_ino))
        {
            bytes += u64::try_from(stat.st_size).unwrap_or(0);
        }
    }
    Ok(bytes)
}

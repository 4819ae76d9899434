//! Volumes are made when a container that wants them is, and an empty one is filled from the image: with what
//! the image has at that place, owners and modes included.

use crate::mounts::Mounts;
use anyhow::Context;
use bundle::Volumes;
use layer_tar::{Compare, LayerWriter, Options, Owners, Stack, Target, apply, diff_trees};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use wire::Bundle;

/// Makes the volumes that are not there, and fills those that are empty.
pub fn volumes(mounts: &Mounts, volumes: &Volumes, record: &Bundle) -> anyhow::Result<()> {
    for (named, target) in mounts.volumes() {
        let fill = |to: &Path| if named.nocopy { Ok(()) } else { copy(record, target, to) };
        let name = &named.volume.name;
        let data = volumes.data(name);
        if volumes.create(&named.volume, fill)? || named.nocopy || !is_empty(&data)? {
            continue;
        }
        copy(record, target, &data).with_context(|| format!("volume {name}: fill"))?;
    }
    Ok(())
}

fn is_empty(dir: &Path) -> anyhow::Result<bool> {
    Ok(std::fs::read_dir(dir).with_context(|| dir.display().to_string())?.next().is_none())
}

/// Copies a directory of the image by way of a layer: the writer looks every name up in the image's own root, the
/// reader trusts no name that it gets. Where the image has no such directory the volume stays empty.
fn copy(record: &Bundle, target: &str, to: &Path) -> io::Result<()> {
    let (dirs, userxattr) = tree(record);
    let open = move || Stack::open(&dirs).and_then(|stack| stack.userxattr(userxattr).directory(Path::new(target)));
    if open().map_err(io::Error::other)?.is_none() {
        return Ok(());
    }
    let (from, into) = io::pipe()?;
    let to = File::open(to)?;
    std::thread::scope(|scope| {
        let writer = scope.spawn(move || -> layer_tar::Result<()> {
            let Some(tree) = open()? else { return Ok(()) };
            let mut layer = LayerWriter::new(BufWriter::with_capacity(1 << 18, into), None);
            diff_trees(None, &tree, &Compare { any_name: true, ..Compare::default() }, &mut layer)?;
            Ok(layer.finish()?.flush()?)
        });
        let owners = Owners::possible()?;
        let applied =
            apply(from, to.as_fd(), &Options { owners, target: Target::Copy, umask_is_zero: false, selinux: false });
        let written = writer.join().map_err(|_| io::Error::other("the copy was broken off"))?;
        // The end of a pipe is not the cause when its other end has one.
        match (written, applied) {
            (Err(error), Ok(_)) => Err(io::Error::other(error)),
            (Err(error), Err(_)) if !is_broken_pipe(&error) => Err(io::Error::other(error)),
            (_, applied) => applied.map(drop).map_err(io::Error::other),
        }
    })
}

fn is_broken_pipe(error: &layer_tar::Error) -> bool {
    matches!(error, layer_tar::Error::Stream(cause) if cause.kind() == io::ErrorKind::BrokenPipe)
}

/// The directories that are the container's root, topmost first.
fn tree(record: &Bundle) -> (Vec<PathBuf>, bool) {
    match &record.overlay {
        None => (vec![record.path.as_path().join("rootfs")], false),
        Some(overlay) => {
            let all = std::iter::once(&overlay.upper).chain(&overlay.lower);
            (all.map(|dir| dir.as_path().to_owned()).collect(), overlay.userxattr)
        }
    }
}

//! All layers of an image: one over the other in one tree, or each in a directory of its own.

use crate::choose::Chosen;
use crate::{place, stream};
use anyhow::Context;
use layer_tar::{Applied, Error, Flat, Loss, Options, Owners, Target};
use rustix::fs::FlockOperation;
use std::fs::{self, DirBuilder, File};
use std::io::{BufWriter, Write};
use std::num::NonZero;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;
use wire::Digest;

/// One over the other, the lowest first.
pub fn flat(chosen: &Chosen, rootfs: &File, owners: Owners, loss: &mut Loss) -> anyhow::Result<()> {
    for at in 0..chosen.image.diff_ids.len() {
        let applied = apply(chosen, at, rootfs, owners, Target::Tree)?;
        add(loss, applied.loss);
    }
    Ok(())
}

/// The tree of [`flat`] as a tar: read once for the names, and again for the content.
pub fn tar(chosen: &Chosen, to: impl Write) -> anyhow::Result<()> {
    let image = &chosen.image;
    let layers = || image.manifest.layers.iter().zip(&image.diff_ids);
    let mut flat = Flat::new();
    for (blob, diff_id) in layers() {
        stream::layer(&chosen.layout, blob, diff_id, |tar| flat.add(tar)).with_context(|| chosen.name.clone())?;
    }
    let mut writer = flat.writer(BufWriter::with_capacity(1 << 20, to), None)?;
    for (blob, diff_id) in layers() {
        stream::layer(&chosen.layout, blob, diff_id, |tar| writer.add(tar)).with_context(|| chosen.name.clone())?;
    }
    writer.finish()?.flush().context("<stdout>")
}

/// Makes sure that every layer has its directory below `store`, and returns them, the lowest first. A directory
/// is named by its chain ID: the layer and everything below it. It appears whole, by a rename.
pub fn shared(chosen: &Chosen, store: &Path, owners: Owners, loss: &mut Loss) -> anyhow::Result<Vec<PathBuf>> {
    let chain = chosen.image.chain_ids();
    let dirs: Vec<PathBuf> = chain.iter().map(|id| store.join(id.algorithm().name()).join(id.hex())).collect();
    // Whoever makes a layer locks it and all missing ones below it, always from below: no two wait for each other.
    let mut missing = Vec::new();
    for (at, dir) in dirs.iter().enumerate() {
        if !dir.exists() {
            let lock = lock(store, &chain[at])?;
            if !dir.exists() {
                missing.push((at, lock));
            }
        }
    }
    let results = side_by_side(missing.iter().map(|(at, _)| *at), |at| {
        let lower: Option<&[PathBuf]> = if at == 0 { Some(&[]) } else { None };
        let temp = fresh(&dirs[at])?;
        match one(chosen, at, &temp, owners, lower) {
            Err(error) if needs_lower(&error) => Ok(None),
            other => other.map(Some),
        }
    });
    for ((at, _lock), result) in missing.iter().zip(results) {
        let temp = temporary(&dirs[*at]);
        let applied = if let Some(applied) = result? {
            applied
        } else {
            // It asks for what lies below, and all of that is there by now.
            let lower: Vec<PathBuf> = dirs[..*at].iter().rev().cloned().collect();
            one(chosen, *at, &fresh(&dirs[*at])?, owners, Some(&lower))?
        };
        if !applied.root_entry && *at > 0 {
            place::copy_root(&dirs[at - 1], &File::open(&temp)?)?;
        }
        fs::rename(&temp, &dirs[*at]).with_context(|| dirs[*at].display().to_string())?;
        add(loss, applied.loss);
    }
    Ok(dirs)
}

/// An ordinary user may not set `trusted.*` attributes; overlayfs reads `user.*` when it is told to.
pub fn userxattr(owners: Owners) -> bool {
    owners == Owners::Mine
}

fn one(chosen: &Chosen, at: usize, dir: &Path, owners: Owners, lower: Option<&[PathBuf]>) -> anyhow::Result<Applied> {
    let root = File::open(dir).with_context(|| dir.display().to_string())?;
    let result = apply(chosen, at, &root, owners, Target::OverlayDir { userxattr: userxattr(owners), lower });
    if result.is_err() {
        let _ = fs::remove_dir_all(dir);
    }
    result
}

fn apply(chosen: &Chosen, at: usize, root: &File, owners: Owners, target: Target<'_>) -> anyhow::Result<Applied> {
    let options = Options { owners, target, umask_is_zero: true };
    let (blob, diff_id) = (&chosen.image.manifest.layers[at], &chosen.image.diff_ids[at]);
    stream::layer(&chosen.layout, blob, diff_id, |tar| layer_tar::apply(tar, root.as_fd(), &options))
        .with_context(|| chosen.name.clone())
}

fn needs_lower(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| matches!(cause.downcast_ref(), Some(Error::NeedsLower { .. })))
}

/// Runs `work` for every item on as many threads as there are processors; results come in the order of items.
fn side_by_side<T: Send>(
    items: impl Iterator<Item = usize>,
    work: impl Fn(usize) -> anyhow::Result<T> + Sync,
) -> Vec<anyhow::Result<T>> {
    let items: Vec<usize> = items.collect();
    let queue = Mutex::new(items.iter().copied().enumerate());
    let results = Mutex::new(items.iter().map(|_| None).collect::<Vec<_>>());
    let next = || queue.lock().ok()?.next();
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, NonZero::get).min(items.len()) {
            scope.spawn(|| {
                while let Some((slot, item)) = next() {
                    let result = work(item);
                    if let Ok(mut results) = results.lock() {
                        results[slot] = Some(result);
                    }
                }
            });
        }
    });
    let lost = || Err(anyhow::anyhow!("a worker thread ended early"));
    results.into_inner().unwrap_or_default().into_iter().map(|result| result.unwrap_or_else(lost)).collect()
}

fn temporary(dir: &Path) -> PathBuf {
    dir.with_extension("tmp")
}

/// An empty directory to unpack into. What lies there is from somebody who was killed: we hold the lock.
fn fresh(dir: &Path) -> anyhow::Result<PathBuf> {
    let temp = temporary(dir);
    let shown = || temp.display().to_string();
    if temp.exists() {
        fs::remove_dir_all(&temp).with_context(shown)?;
    }
    place::make_dir(&temp, 0o755)?;
    Ok(temp)
}

fn lock(store: &Path, id: &Digest) -> anyhow::Result<File> {
    let path = store.join("locks").join(id.hex());
    for dir in [store.join("locks"), store.join(id.algorithm().name())] {
        DirBuilder::new().recursive(true).mode(0o700).create(&dir).with_context(|| dir.display().to_string())?;
    }
    let file = File::options().create(true).truncate(false).write(true).mode(0o600).open(&path);
    let file = file.with_context(|| path.display().to_string())?;
    rustix::fs::flock(&file, FlockOperation::LockExclusive).with_context(|| path.display().to_string())?;
    Ok(file)
}

fn add(sum: &mut Loss, more: Loss) {
    sum.devices += more.devices;
    sum.xattrs += more.xattrs;
}

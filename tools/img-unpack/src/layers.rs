//! All layers of an image: one over the other in one tree, or each in a directory of its own.

use crate::choose::Chosen;
use crate::place;
use crate::stream::{self, Pool};
use anyhow::Context;
use layer_tar::{Applied, Error, Flat, Loss, Options, Owners, Target};
use rustix::fs::FlockOperation;
use std::collections::BTreeSet;
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
    let pool = Pool::new();
    for at in 0..chosen.image.diff_ids.len() {
        let applied = apply(&pool, chosen, at, rootfs, owners, Target::Tree)?;
        add(loss, applied.loss);
    }
    Ok(())
}

/// The tree of [`flat`] as a tar: read once for the names, and again for the content.
pub fn tar(chosen: &Chosen, to: impl Write) -> anyhow::Result<()> {
    let image = &chosen.image;
    let layers = || image.manifest.layers.iter().zip(&image.diff_ids);
    let pool = Pool::new();
    let mut flat = Flat::new();
    for (blob, diff_id) in layers() {
        stream::layer(&pool, &chosen.layout, blob, diff_id, |tar| flat.add(tar))
            .with_context(|| chosen.name.clone())?;
    }
    let mut writer = flat.writer(BufWriter::with_capacity(1 << 20, to), None)?;
    for (blob, diff_id) in layers() {
        stream::layer(&pool, &chosen.layout, blob, diff_id, |tar| writer.add(tar))
            .with_context(|| chosen.name.clone())?;
    }
    writer.finish()?.flush().context("<stdout>")
}

/// Whether every layer has its directory.
pub fn all_there(chosen: &Chosen, store: &Path) -> bool {
    chosen.image.chain_ids().iter().all(|id| store.join(id.algorithm().name()).join(id.hex()).exists())
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
    if missing.is_empty() {
        return Ok(dirs);
    }
    sweep(store);
    let made = unpack(chosen, &dirs, &missing, owners, loss).and_then(|()| publish(store, &dirs, &missing));
    if made.is_err() {
        for (at, _) in &missing {
            discard(&temporary(&dirs[*at]));
        }
    }
    made.map(|()| dirs)
}

/// Every missing layer into its temporary directory.
fn unpack(
    chosen: &Chosen,
    dirs: &[PathBuf],
    missing: &[(usize, File)],
    owners: Owners,
    loss: &mut Loss,
) -> anyhow::Result<()> {
    let pool = Pool::new();
    let results = side_by_side(missing.iter().map(|(at, _)| *at), |at| {
        let lower: Option<&[PathBuf]> = if at == 0 { Some(&[]) } else { None };
        let temp = fresh(&dirs[at])?;
        match one(&pool, chosen, at, &temp, owners, lower) {
            Err(error) if needs_lower(&error) => Ok(None),
            other => other.map(Some),
        }
    });
    let now = |at: usize| {
        let is_missing = missing.iter().any(|(other, _)| *other == at);
        if is_missing { temporary(&dirs[at]) } else { dirs[at].clone() }
    };
    for ((at, _lock), result) in missing.iter().zip(results) {
        // All of what lies below is there by now.
        let lower: Vec<PathBuf> = (0..*at).rev().map(now).collect();
        let applied = if let Some(applied) = result? {
            applied
        } else {
            // It asks for that.
            one(&pool, chosen, *at, &fresh(&dirs[*at])?, owners, Some(&lower))?
        };
        layer_tar::drop_void_whiteouts(&now(*at), &lower, userxattr(owners), &applied.whiteouts)?;
        if !applied.root_entry && *at > 0 {
            place::copy_root(&now(at - 1), &File::open(temporary(&dirs[*at]))?)?;
        }
        add(loss, applied.loss);
    }
    Ok(())
}

/// Gives them their names, the lowest first. A directory that has its name is believed for ever, so everything in
/// it is on the disk before, also if the power goes: one call for all of their files.
fn publish(store: &Path, dirs: &[PathBuf], missing: &[(usize, File)]) -> anyhow::Result<()> {
    let shown = || store.display().to_string();
    rustix::fs::syncfs(File::open(store).with_context(shown)?).with_context(shown)?;
    for (at, _lock) in missing {
        let dir = &dirs[*at];
        fs::rename(temporary(dir), dir).with_context(|| dir.display().to_string())?;
    }
    for dir in missing.iter().filter_map(|(at, _)| dirs[*at].parent()).collect::<BTreeSet<_>>() {
        File::open(dir).and_then(|dir| dir.sync_all()).with_context(|| dir.display().to_string())?;
    }
    Ok(())
}

/// Removes what was left by those who were killed: nobody has the lock of such a layer.
fn sweep(store: &Path) {
    for algorithm in fs::read_dir(store).into_iter().flatten().flatten() {
        for entry in fs::read_dir(algorithm.path()).into_iter().flatten().flatten() {
            let path = entry.path();
            let Some(hex) = path.file_stem().filter(|_| path.extension().is_some_and(|end| end == "tmp")) else {
                continue;
            };
            if let Ok(lock) = File::open(store.join("locks").join(hex))
                && rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok()
            {
                discard(&path);
            }
        }
    }
}

/// Removes a tree as far as it goes, directories that their owner may not write in included.
fn discard(dir: &Path) {
    // What cannot be removed now is in nobody's way: the next one says why.
    let _ = bundle::remove_tree(dir);
}

/// An ordinary user may not set `trusted.*` attributes; overlayfs reads `user.*` when it is told to.
pub fn userxattr(owners: Owners) -> bool {
    owners != Owners::Keep
}

fn one(
    pool: &Pool,
    chosen: &Chosen,
    at: usize,
    dir: &Path,
    owners: Owners,
    lower: Option<&[PathBuf]>,
) -> anyhow::Result<Applied> {
    let root = File::open(dir).with_context(|| dir.display().to_string())?;
    let result = apply(pool, chosen, at, &root, owners, Target::OverlayDir { userxattr: userxattr(owners), lower });
    if result.is_err() {
        discard(dir);
    }
    result
}

fn apply(
    pool: &Pool,
    chosen: &Chosen,
    at: usize,
    root: &File,
    owners: Owners,
    target: Target<'_>,
) -> anyhow::Result<Applied> {
    let options = Options { owners, target, umask_is_zero: true, selinux: chosen.selinux };
    let (blob, diff_id) = (&chosen.image.manifest.layers[at], &chosen.image.diff_ids[at]);
    stream::layer(pool, &chosen.layout, blob, diff_id, |tar| layer_tar::apply(tar, root.as_fd(), &options))
        .with_context(|| chosen.name.clone())
}

fn needs_lower(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| matches!(cause.downcast_ref(), Some(Error::NeedsLower { .. })))
}

/// Each layer on its way takes about 2 MiB beside the pool's, and a tool is not to take more than 16.
const MOST_AT_ONCE: usize = 3;

/// Runs `work` for every item, some at once as there are processors; results come in the order of items.
fn side_by_side<T: Send>(
    items: impl Iterator<Item = usize>,
    work: impl Fn(usize) -> anyhow::Result<T> + Sync,
) -> Vec<anyhow::Result<T>> {
    let items: Vec<usize> = items.collect();
    let queue = Mutex::new(items.iter().copied().enumerate());
    let results = Mutex::new(items.iter().map(|_| None).collect::<Vec<_>>());
    let next = || queue.lock().ok()?.next();
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, NonZero::get).min(MOST_AT_ONCE).min(items.len()) {
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
    bundle::remove_tree(&temp).with_context(shown)?;
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
    sum.owners += more.owners;
}

//! What a runtime mounts on has to be there. Made in a layer of its own above the image's, as docker does it,
//! it is no change that the container made: a commit or a build step does not find it in the upper directory.

use anyhow::Context;
use layer_tar::{Kind, Stack};
use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;
use wire::Bundle;

const DIRECTORIES: [&str; 3] = ["dev", "proc", "sys"];
/// Below etc, mounted over by the container's own.
const FILES: [&str; 3] = ["hosts", "hostname", "resolv.conf"];
const NAME: &str = "init";

/// Adds the layer to the record of an overlay bundle that has none yet.
pub fn add(record: &mut Bundle) -> anyhow::Result<()> {
    let init = record.path.as_path().join(NAME);
    let Some(overlay) = &mut record.overlay else { return Ok(()) };
    let layers: Vec<PathBuf> = overlay.lower.iter().map(|layer| layer.as_path().to_owned()).collect();
    if layers.contains(&init) {
        return Ok(());
    }
    // Of one who was killed here: the record does not know it.
    bundle::remove_tree(&init).with_context(|| init.display().to_string())?;
    let view = Stack::open(&layers)?.userxattr(overlay.userxattr);
    if make(&init, &layers, &view).with_context(|| init.display().to_string())? {
        overlay.lower.insert(0, init.into());
    }
    Ok(())
}

/// Makes what the layers, the topmost first, have not; says whether that was anything.
fn make(init: &Path, layers: &[PathBuf], view: &Stack) -> anyhow::Result<bool> {
    let kind = |path: &str| anyhow::Ok(view.resolve_link(path)?.map(|found| found.kind));
    let mut directories = Vec::new();
    for name in DIRECTORIES {
        directories.extend(kind(name)?.is_none().then_some(name));
    }
    let etc = kind("etc")?;
    let mut files = Vec::new();
    // Where etc is a link, or no directory at all, the image means it.
    if matches!(etc, None | Some(Kind::Directory)) {
        for name in FILES {
            files.extend(kind(&format!("etc/{name}"))?.is_none().then_some(name));
        }
    }
    if directories.is_empty() && files.is_empty() {
        return Ok(false);
    }
    let root = directory(init)?;
    for name in directories {
        directory(&init.join(name))?.set_modified(UNIX_EPOCH)?;
    }
    if !files.is_empty() {
        let dir = directory(&init.join("etc"))?;
        for name in files {
            let path = init.join("etc").join(name);
            let file = File::options().write(true).create_new(true).mode(0o644).open(&path)?;
            file.set_permissions(Permissions::from_mode(0o644))?;
            file.set_modified(UNIX_EPOCH)?;
        }
        // The topmost directory of a name is what the merged one looks like.
        match layers.iter().map(|layer| layer.join("etc")).find(|path| fs::symlink_metadata(path).is_ok()) {
            Some(below) if etc.is_some() => layer_tar::copy_root(File::open(below)?.as_fd(), dir.as_fd())?,
            _ => dir.set_modified(UNIX_EPOCH)?,
        }
    }
    match layers.first() {
        Some(top) => layer_tar::copy_root(File::open(top)?.as_fd(), root.as_fd())?,
        None => root.set_modified(UNIX_EPOCH)?,
    }
    Ok(true)
}

fn directory(path: &Path) -> io::Result<File> {
    DirBuilder::new().mode(0o755).create(path)?;
    let dir = File::open(path)?;
    dir.set_permissions(Permissions::from_mode(0o755))?;
    Ok(dir)
}

//! `docker builder prune`: entries go one by one, and what they alone held goes after them.

use crate::entry::{Entry, Kind, lock};
use anyhow::Context;
use bundle::Layers;
use oci_layout::Layout;
use std::fs;
use std::path::Path;
use toolkit::Out;

/// Removes them and says so in docker's words.
pub fn prune(root: &Path, layout: Option<&Layout>, doomed: &[Entry], out: &mut Out) -> anyhow::Result<()> {
    let (mut text, mut freed) = (String::new(), 0);
    for entry in doomed {
        match (&entry.kind, layout) {
            (Kind::Mount(path) | Kind::Failed(path), _) => {
                // Since it was listed, a build may have come for it.
                let Some(_lock) = lock(path)? else { continue };
                freed += bundle::remove_tree_and_count(path).with_context(|| path.display().to_string())?.bytes;
            }
            (Kind::Url(path), _) => {
                fs::remove_file(path).with_context(|| path.display().to_string())?;
                freed += entry.size;
            }
            (Kind::Step, Some(layout)) => layout.unpin(&entry.id)?,
            (Kind::Step, None) => continue,
        }
        text.extend([&entry.id, "\n"]);
    }
    freed += remains(root)?;
    if let Some(layout) = layout {
        freed += collect(root, layout)?;
    }
    if !text.is_empty() {
        out.text(&format!("Deleted build cache objects:\n{text}\n"))?;
    }
    out.text(&format!("Total:\t {}\n", table::size_with(freed, 4)))
}

/// What builds that were killed have left: trees and contexts, and caches that were being filled. Who makes one holds the
/// lock of the directory above, and then, or until it is filled, its own.
fn remains(root: &Path) -> anyhow::Result<u64> {
    let mut freed = 0;
    for (dir, start) in [("cache", "build-"), ("cache/mounts", ".seed-"), ("cache/urls", ".tmp")] {
        let dir = root.join(dir);
        let Some(_door) = lock(&dir)? else { continue };
        for entry in fs::read_dir(&dir).with_context(|| dir.display().to_string())? {
            let path = entry?.path();
            let is_one = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(start));
            if is_one && let Some(_lock) = lock(&path)? {
                freed += remove(&path).with_context(|| path.display().to_string())?;
            }
        }
    }
    Ok(freed)
}

fn remove(path: &Path) -> anyhow::Result<u64> {
    let found = fs::symlink_metadata(path)?;
    if found.is_file() {
        fs::remove_file(path)?;
        return Ok(found.len());
    }
    Ok(bundle::remove_tree_and_count(path)?.bytes)
}

/// Blobs that nothing reaches any more, and the layers that were unpacked of them.
fn collect(root: &Path, layout: &Layout) -> anyhow::Result<u64> {
    let removed = match layout.collect_unless_busy() {
        Err(busy @ oci_layout::Error::Busy(_)) => {
            toolkit::say(&format!("dfile-cache: {busy}"));
            return Ok(0);
        }
        removed => removed.context("collect")?,
    };
    let blobs: u64 = removed.iter().map(|(_, size)| size).sum();
    Ok(blobs + Layers::new(root).collect(&layout.chain_ids()?).context("unpacked layers")?.bytes)
}

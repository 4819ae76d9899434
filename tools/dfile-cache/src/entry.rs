//! What the cache holds: the images of steps, the directories of cache mounts, the state of steps that failed, what is
//! known of URLs.

use anyhow::Context;
use oci_layout::Layout;
use rustix::fs::FlockOperation;
use serde_json::Value;
use std::collections::HashSet;
use std::fs::{self, File, Metadata};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use wire::{Descriptor, Digest};

/// BuildKit's words, and one of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    Step,
    /// With its directory.
    Mount(PathBuf),
    Failed(PathBuf),
    /// What is known of a URL that ADD takes.
    Url(PathBuf),
}

impl Kind {
    pub fn word(&self) -> &'static str {
        match self {
            Self::Step => "regular",
            Self::Mount(_) => "exec.cachemount",
            Self::Failed(_) => "failed",
            Self::Url(_) => "source.http",
        }
    }
}

/// One thing that can be removed.
#[derive(Debug)]
pub struct Entry {
    pub id: String,
    pub kind: Kind,
    /// What it takes beside all others: no byte is counted twice.
    pub size: u64,
    pub used: SystemTime,
    /// What made it, where that is known.
    pub description: String,
    pub in_use: bool,
    /// An image with a name has its layer.
    pub shared: bool,
}

/// Everything, steps first.
pub fn all(root: &Path, layout: Option<&Layout>) -> anyhow::Result<Vec<Entry>> {
    let mut entries = layout.map(steps).transpose()?.unwrap_or_default();
    entries.extend(directories(&root.join("cache/mounts"), Kind::Mount)?);
    entries.extend(directories(&root.join("cache/failed"), Kind::Failed)?);
    entries.extend(urls(&root.join("cache/urls"))?);
    Ok(entries)
}

/// A step is charged with the blobs that neither a named image nor a shorter step has.
fn steps(layout: &Layout) -> anyhow::Result<Vec<Entry>> {
    let mut taken: HashSet<Digest> = HashSet::new();
    for image in layout.index()? {
        // Of one that cannot be read the blobs are somebody else's trouble.
        taken.extend(layout.below(&image).unwrap_or_default().into_iter().map(|blob| blob.digest));
    }
    let named = taken.clone();
    // Also what a killed build has left of an image on its way in.
    let is_ours = |key: &str| key.starts_with("build-") || key.starts_with("incoming-build-");
    let pins = layout.pins()?.into_iter().filter(|(key, _)| is_ours(key));
    let mut steps: Vec<(String, Descriptor, Vec<Descriptor>)> = pins
        .map(|(key, image)| {
            let blobs = layout.below(&image).unwrap_or_default();
            (key, image, blobs)
        })
        .collect();
    steps.sort_by_key(|(_, _, blobs)| blobs.len());
    let mut entries = Vec::new();
    for (key, image, blobs) in steps {
        let own = blobs.iter().filter(|blob| taken.insert(blob.digest.clone()));
        let size = own.map(|blob| blob.size).sum();
        let opened = layout.open_image(&image, None).ok();
        let top = opened.as_ref().and_then(|opened| opened.manifest.layers.last());
        entries.push(Entry {
            shared: top.is_some_and(|layer| named.contains(&layer.digest)),
            description: opened.as_ref().map(|opened| made_by(&opened.config)).unwrap_or_default(),
            used: layout.last_use(&key)?,
            in_use: false,
            kind: Kind::Step,
            id: key,
            size,
        });
    }
    Ok(entries)
}

/// The last line of the history that made a layer.
fn made_by(config: &Value) -> String {
    let history = config["history"].as_array().map(Vec::as_slice).unwrap_or_default();
    let layer = history.iter().rev().find(|entry| entry["empty_layer"] != true);
    layer.and_then(|entry| entry["created_by"].as_str()).unwrap_or_default().to_owned()
}

/// Each directory below another one is an entry; its lock says whether a build has it.
fn directories(all: &Path, kind: impl Fn(PathBuf) -> Kind) -> anyhow::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for (path, id, metadata) in list(all)? {
        if metadata.is_dir() {
            entries.push(Entry {
                size: size(&path),
                used: last_use(&metadata),
                description: String::new(),
                in_use: lock(&path)?.is_none(),
                shared: false,
                kind: kind(path),
                id,
            });
        }
    }
    Ok(entries)
}

/// Each file is a line of url-get(1).
fn urls(all: &Path) -> anyhow::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for (path, id, metadata) in list(all)? {
        if metadata.is_file() {
            let line: Value =
                fs::read(&path).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
            entries.push(Entry {
                size: metadata.len(),
                used: last_use(&metadata),
                description: line["url"].as_str().unwrap_or_default().to_owned(),
                in_use: false,
                shared: false,
                kind: Kind::Url(path),
                id,
            });
        }
    }
    Ok(entries)
}

/// What is in a directory, by name. With a dot: what is being made, or was when its build was killed.
fn list(all: &Path) -> anyhow::Result<Vec<(PathBuf, String, Metadata)>> {
    let listed = match fs::read_dir(all) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.with_context(|| all.display().to_string())?,
    };
    let mut found = Vec::new();
    for entry in listed {
        let path = entry?.path();
        let id = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if let Ok(metadata) = fs::symlink_metadata(&path)
            && !id.starts_with('.')
        {
            found.push((path, id, metadata));
        }
    }
    found.sort_by(|a, b| a.1.cmp(&b.1));
    Ok(found)
}

/// dfile-build notes its use of a mount or a URL in the time of the last access: the other times are its own.
fn last_use(metadata: &Metadata) -> SystemTime {
    let times = metadata.accessed().into_iter().chain(metadata.modified());
    times.max().unwrap_or(SystemTime::UNIX_EPOCH)
}

/// The lock of a directory that nobody uses.
pub fn lock(path: &Path) -> anyhow::Result<Option<File>> {
    let Ok(dir) = File::open(path) else { return Ok(None) };
    match rustix::fs::flock(&dir, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(dir)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("{}: flock", path.display())),
    }
}

/// The bytes of the files in a tree; what cannot be read counts nothing.
fn size(dir: &Path) -> u64 {
    let mut open = vec![dir.to_owned()];
    let mut bytes = 0;
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(found) if found.is_dir() => open.push(entry.path()),
                Ok(found) if found.is_file() => bytes += found.len(),
                _ => {}
            }
        }
    }
    bytes
}

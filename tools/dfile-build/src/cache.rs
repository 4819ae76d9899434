//! The build cache: a pin of the layout whose key is the digest of everything that the step depends on
//! (CVE-2024-24557: never a match of configurations). The value is the image after the step.

use crate::elsewhere::{Place, Source};
use crate::siblings::Siblings;
use anyhow::bail;
use clap::Args;
use oci_layout::Layout;
use serde_json::{Map, Value};
use std::fs::{self, File, FileTimes, Metadata};
use std::os::unix::fs::MetadataExt;
use std::time::SystemTime;
use wire::Descriptor;

/// On the entry of a step: what it copied that was below it already.
pub const COPIED: &str = "dev.dock.build.copied";
/// On an entry whose key names the images that a step read: the key that names their files.
const CONTENT: &str = "dev.dock.build.content";
/// Changes when the same key would mean another image.
const VERSION: u32 = 2;

#[derive(Debug, Args)]
#[group(skip)]
pub struct Options {
    /// Run every step again
    #[arg(long)]
    pub no_cache: bool,
    /// Run the steps of these stages again
    #[arg(long, value_name = "STAGE,...", value_delimiter = ',')]
    no_cache_filter: Vec<String>,
    /// Pull base images anew
    #[arg(long)]
    pub pull: bool,
    /// Take steps from a cache that was kept elsewhere: type=local,src=DIR or type=registry,ref=REF
    #[arg(long, value_name = "WHERE")]
    pub cache_from: Vec<Place>,
    /// Keep the steps of this build for others: type=local,dest=DIR, type=registry,ref=REF, or type=inline in the image itself
    #[arg(long, value_name = "WHERE")]
    pub cache_to: Vec<Place>,
}

impl Options {
    /// Whether a stage is built as if there were no cache.
    pub fn is_off(&self, name: Option<&str>, index: usize) -> bool {
        let named = |stage: &String| name == Some(&stage.to_ascii_lowercase()) || *stage == index.to_string();
        self.no_cache || self.no_cache_filter.iter().any(named)
    }
}

/// The name of a cache entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key(String);

impl Key {
    pub fn of(inputs: &Value) -> Self {
        let text = serde_json::json!([VERSION, env!("CARGO_PKG_VERSION"), inputs]).to_string();
        Self(format!("build-{}", oci_layout::digest_of(text.as_bytes()).hex()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A short name for directories.
    pub fn short(&self) -> &str {
        &self.0["build-".len()..][..12]
    }
}

/// The pin of a base image for another machine.
pub fn base(what: &str) -> String {
    format!("build-base-{}", oci_layout::digest_of(what.as_bytes()).hex())
}

/// A step that was taken from the cache turns out not to be there whole.
#[derive(Debug, thiserror::Error)]
#[error("the cache is damaged")]
pub struct Damaged;

/// The image of a key, by what the cache says of it.
pub fn known(layout: &Layout, key: &Key) -> Option<Descriptor> {
    layout.pinned(key.as_str()).ok().flatten().map(bare)
}

/// An image is what it is, whatever an entry of the cache says beside it.
fn bare(mut image: Descriptor) -> Descriptor {
    image.annotations.retain(|name, _| name != COPIED && name != CONTENT);
    image
}

/// Keeps the image of a key under a second one, by which it is found without a look at the files that it was made from.
pub fn pin_also(layout: &Layout, also: &Key, key: &Key) -> anyhow::Result<()> {
    if let Some(mut image) = layout.pinned(key.as_str())? {
        image.annotations.insert(CONTENT.into(), key.as_str().into());
        layout.pin(also.as_str(), &image)?;
    }
    Ok(())
}

/// The keys that mean something on another machine: there the same files may come from another image.
pub fn by_content(layout: &Layout, keys: &[String]) -> Vec<String> {
    let of = |key: &String| {
        let image = layout.pinned(key).ok().flatten();
        image.and_then(|image| Some(image.annotation(CONTENT)?.to_owned())).unwrap_or_else(|| key.clone())
    };
    keys.iter().map(of).collect()
}

/// What layer-diff said of the bytes that the step of a key copied.
pub fn copied(layout: &Layout, key: &Key) -> Option<Value> {
    let image = layout.pinned(key.as_str()).ok().flatten()?;
    serde_json::from_str(image.annotation(COPIED)?).ok()
}

/// Keeps that for builds that take the step from the cache.
pub fn keep_copied(layout: &Layout, key: &Key, copied: &Value) -> anyhow::Result<()> {
    if let Some(mut image) = layout.pinned(key.as_str())? {
        image.annotations.insert(COPIED.into(), copied.to_string().into());
        layout.pin(key.as_str(), &image)?;
    }
    Ok(())
}

/// The image of a key, when it is there whole.
pub fn find(layout: &Layout, key: &Key, note: bool) -> Option<Descriptor> {
    known(layout, key).filter(|descriptor| is_whole(layout, descriptor, note))
}

/// What the image of a step is made from: nobody's word that a key stands for another image counts.
#[derive(Debug)]
pub struct Made<'a> {
    pub parent: Option<&'a Descriptor>,
    /// The configuration that the step leaves.
    pub config: &'a Map<String, Value>,
    /// A step that may turn out to have had nothing to do, and then is its parent.
    pub or_parent: bool,
}

/// The same from a cache kept elsewhere, which is then our own: it must stand on the image that the step stands on, and
/// add one layer at most.
pub fn find_elsewhere(
    layout: &Layout,
    siblings: &Siblings,
    source: &Source,
    key: &Key,
    made: &Made<'_>,
) -> anyhow::Result<Descriptor> {
    let incoming = format!("incoming-{}", key.as_str());
    let mut image = source.bring(layout, siblings, key, made, &incoming)?;
    image.annotations.retain(|name, _| name == COPIED);
    let fits = fits(layout, &image, made).unwrap_or(false) && is_whole(layout, &image, true);
    if fits {
        layout.pin(key.as_str(), &image)?;
    }
    layout.unpin(&incoming)?;
    if fits { Ok(bare(image)) } else { bail!("is not the image of this step") }
}

fn fits(layout: &Layout, image: &Descriptor, made: &Made<'_>) -> anyhow::Result<bool> {
    if made.parent.is_some_and(|parent| parent.digest == image.digest) {
        return Ok(made.or_parent);
    }
    let below = made.parent.map(|parent| layout.open_image(parent, None)).transpose()?;
    let below = below.map(|parent| parent.diff_ids).unwrap_or_default();
    let image = layout.open_image(image, None)?;
    let config = image.config.get("config").and_then(Value::as_object);
    Ok(image.diff_ids.starts_with(&below) && image.diff_ids.len() <= below.len() + 1 && config == Some(made.config))
}

/// Whether every layer is there as it was written. Layers are written before the manifest that names them; one whose
/// inode changed later (stat(2), `st_ctim`, which nobody can set) is read and hashed: once, when that may be noted.
pub fn is_whole(layout: &Layout, descriptor: &Descriptor, note: bool) -> bool {
    let Ok(image) = layout.open_image(descriptor, None) else { return false };
    let manifest = layout.blob_path(&image.descriptor.digest);
    let Ok(named) = fs::metadata(&manifest) else { return false };
    let mut later = Vec::new();
    for layer in &image.manifest.layers {
        let Ok(there) = fs::symlink_metadata(layout.blob_path(&layer.digest)) else { return false };
        if !there.is_file() || there.len() != layer.size {
            return false;
        }
        if changed(&there) > changed(&named) {
            later.push(layer);
        }
    }
    if later.is_empty() {
        return true;
    }
    let is_good = |layer: &&Descriptor| layout.read(layer).is_ok_and(|blob| blob.finish().is_ok());
    let good = later.iter().all(is_good);
    if good
        && note
        && let Ok(file) = File::open(&manifest)
    {
        // Now the manifest is the one that changed last.
        let _ = file.set_times(FileTimes::new().set_accessed(SystemTime::now()));
    }
    good
}

fn changed(metadata: &Metadata) -> (i64, i64) {
    (metadata.ctime(), metadata.ctime_nsec())
}

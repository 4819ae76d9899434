//! The build cache: a pin of the layout whose key is the digest of everything that the step depends on
//! (CVE-2024-24557: never a match of configurations). The value is the image after the step.
//!
//! A cache that is kept elsewhere is an ordinary image layout: each image in it has its key as its name.

use crate::source::hex;
use anyhow::{Context, bail};
use clap::Args;
use oci_layout::Layout;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use toolkit::usage;
use wire::Descriptor;

/// Changes when the same key would mean another image.
const VERSION: u32 = 1;

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
    /// Take steps from a cache that was kept elsewhere
    #[arg(long, value_name = "type=local,src=DIR")]
    cache_from: Vec<String>,
    /// Keep the steps of this build for others
    #[arg(long, value_name = "type=local,dest=DIR")]
    cache_to: Vec<String>,
}

impl Options {
    /// Whether a stage is built as if there were no cache.
    pub fn is_off(&self, name: Option<&str>, index: usize) -> bool {
        let named = |stage: &String| name == Some(&stage.to_ascii_lowercase()) || *stage == index.to_string();
        self.no_cache || self.no_cache_filter.iter().any(named)
    }

    /// The caches to take from. One that is not there yet is no error, as in docker.
    pub fn sources(&self) -> anyhow::Result<Vec<Layout>> {
        let dirs = self.cache_from.iter().map(|text| directory(text, "cache-from", "src"));
        Ok(dirs.collect::<anyhow::Result<Vec<_>>>()?.iter().filter_map(|dir| Layout::open(dir).ok()).collect())
    }

    /// Copies the steps of a build, and everything that their images are made of.
    pub fn keep(&self, layout: &Layout, keys: &BTreeSet<String>) -> anyhow::Result<()> {
        for text in &self.cache_to {
            let dir = directory(text, "cache-to", "dest")?;
            let to = Layout::open_or_create(&dir)?;
            let _hold = to.hold()?;
            for key in keys {
                if let Some(image) = layout.pinned(key)? {
                    take(layout, &to, &image).with_context(|| format!("--cache-to {}", dir.display()))?;
                    to.name(key, image)?;
                }
            }
        }
        Ok(())
    }

    /// Says what is wrong with the words before anything is built.
    pub fn check(&self) -> anyhow::Result<()> {
        self.cache_to.iter().try_for_each(|text| directory(text, "cache-to", "dest").map(drop))
    }
}

/// `type=local,src=DIR`
fn directory(text: &str, option: &str, key: &str) -> anyhow::Result<PathBuf> {
    let (mut kind, mut path) = ("local", None);
    for field in text.split(',') {
        match field.split_once('=') {
            Some(("type", value)) => kind = value,
            Some((own, value)) if own == key => path = Some(value),
            // How much to keep, and how, is always all, and as it is.
            Some(("mode" | "compression" | "oci-mediatypes" | "tag", _)) => {}
            // A name alone is an image of a registry.
            None => kind = "registry",
            Some(_) => return Err(usage(format!("--{option} {text}: unexpected field '{field}'"))),
        }
    }
    match (kind, path) {
        ("local", Some(path)) if !path.is_empty() => Ok(Path::new(path).to_owned()),
        ("local", _) => Err(usage(format!("--{option} {text}: want type=local,{key}=DIR"))),
        _ => Err(usage(format!("--{option} {text}: type={kind} is not supported: want type=local,{key}=DIR"))),
    }
}

/// Everything of an image from one layout to another; every blob is checked against its digest.
fn take(from: &Layout, to: &Layout, image: &Descriptor) -> anyhow::Result<()> {
    let mut all = from.below(image)?;
    all.retain(|part| part.digest != image.digest);
    // The manifest last: it is there only with what it names.
    all.push(image.clone());
    for part in all {
        if to.has(&part.digest) != Some(part.size) {
            let mut writer = to.writer_for(part.digest.algorithm())?;
            let mut blob = from.read(&part)?;
            std::io::copy(&mut blob, &mut writer).with_context(|| part.digest.to_string())?;
            blob.finish().with_context(|| part.digest.to_string())?;
            writer.commit(&part)?;
        }
    }
    Ok(())
}

/// The name of a cache entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key(String);

impl Key {
    pub fn of(inputs: &Value) -> Self {
        let text = serde_json::json!([VERSION, inputs]).to_string();
        Self(format!("build-{}", hex(&Sha256::digest(text.as_bytes()))))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A short name for directories.
    pub fn short(&self) -> &str {
        &self.0["build-".len()..][..12]
    }
}

/// The image of a key, when it is there whole.
pub fn find(layout: &Layout, key: &Key) -> Option<Descriptor> {
    let descriptor = layout.pinned(key.as_str()).ok().flatten()?;
    is_whole(layout, &descriptor).then_some(descriptor)
}

/// The same from a cache kept elsewhere, which is then our own. What does not hash to its digest is not taken.
pub fn find_elsewhere(layout: &Layout, sources: &[Layout], key: &Key) -> anyhow::Result<Descriptor> {
    for source in sources {
        let Ok(image) = source.find(key.as_str()) else { continue };
        if take(source, layout, &image).is_ok() && is_whole(layout, &image) {
            layout.pin(key.as_str(), &image)?;
            return find(layout, key).context("the pin is gone");
        }
    }
    bail!("not there")
}

fn is_whole(layout: &Layout, descriptor: &Descriptor) -> bool {
    let Ok(image) = layout.open_image(descriptor, None) else { return false };
    image.manifest.layers.iter().all(|layer| layout.has(&layer.digest) == Some(layer.size))
}

//! What a reference leads to: the manifest of one platform, or an index with all that stands below it.

use crate::sources::Sources;
use anyhow::bail;
use registry::{Document, Manifest};
use serde_json::Value;
use wire::{Descriptor, Digest, Platform, Reference, media_type};

/// An index may point to an index; not for ever.
const DEEPEST_INDEX: usize = 3;
/// Docker stops at 127; this only keeps a hostile manifest from making us busy.
const MOST_LAYERS: usize = 1024;
/// Image configurations are read into memory by every tool.
const LARGEST_CONFIG: u64 = 4 << 20;
/// Buildx makes two documents a platform, and the largest images know some twenty platforms.
const MOST_DOCUMENTS: usize = 256;
/// They are in memory until all of them are there.
const MOST_BYTES: u64 = 8 << 20;

/// How much of an index is wanted.
#[derive(Debug, Clone, Copy)]
pub enum Wanted<'a> {
    /// The manifest of one platform, by default this machine's.
    One(Option<&'a Platform>),
    /// The index with everything below it, attestations included: a part of it could be pushed nowhere.
    All,
}

/// The documents of an image; no blob has moved yet.
#[derive(Debug)]
pub struct Found {
    /// What the layout's index will name.
    pub root: Document,
    /// The digest of what the reference led to first: docker's `Digest:`.
    pub source: Digest,
    /// The index's word for the platform of `root`.
    pub platform: Option<Value>,
    /// Of a whole index: the documents below it, each one before what names it.
    pub below: Vec<Document>,
}

impl Found {
    /// Every manifest.
    pub fn manifests(&self) -> anyhow::Result<Vec<Manifest>> {
        let documents = self.below.iter().chain([&self.root]).filter(|document| !document.descriptor.is_index());
        documents.map(read).collect()
    }
}

/// Fetches the documents behind `reference`.
pub fn find(sources: &Sources<'_>, reference: &Reference, wanted: Wanted<'_>) -> anyhow::Result<Found> {
    let first = sources.manifest(reference, None)?;
    let source = first.descriptor.digest.clone();
    match wanted {
        Wanted::One(platform) => {
            let (root, platform) = choose(sources, reference, platform, first)?;
            let manifest = read(&root)?;
            if !matches!(manifest.config.media_type.as_str(), media_type::CONFIG | media_type::DOCKER_CONFIG) {
                bail!("not an image: its configuration is of type {:?}", manifest.config.media_type);
            }
            Ok(Found { root, source, platform, below: Vec::new() })
        }
        Wanted::All => {
            let (mut below, mut bytes) = (Vec::new(), 0);
            descend(sources, reference, &first, DEEPEST_INDEX, &mut below, &mut bytes)?;
            Ok(Found { root: first, source, platform: None, below })
        }
    }
}

/// Follows indexes to the manifest for one platform.
fn choose(
    sources: &Sources<'_>,
    reference: &Reference,
    platform: Option<&Platform>,
    mut document: Document,
) -> anyhow::Result<(Document, Option<Value>)> {
    let (wanted, mut offered) = (platform.cloned().unwrap_or_else(Platform::host), None);
    for _ in 0..DEEPEST_INDEX {
        if !document.descriptor.is_index() {
            return Ok((document, offered));
        }
        let index = document.index()?;
        let entry = index.choose(&wanted)?;
        document = child(sources, reference, entry)?;
        offered.clone_from(&entry.platform);
    }
    bail!("manifest: an index in an index in an index")
}

/// Everything below an index. What is neither manifest nor index stays where it is: nobody knows how to ask for it.
fn descend(
    sources: &Sources<'_>,
    reference: &Reference,
    document: &Document,
    deep: usize,
    below: &mut Vec<Document>,
    bytes: &mut u64,
) -> anyhow::Result<()> {
    if !document.descriptor.is_index() {
        return Ok(());
    }
    if deep == 0 {
        bail!("manifest: an index in an index in an index");
    }
    for entry in document.index()?.manifests {
        if !(entry.is_manifest() || entry.is_index()) {
            sources.say(&format!("{}: left out: {:?} is neither manifest nor index", entry.digest, entry.media_type));
            continue;
        }
        if below.iter().any(|known| known.descriptor.digest == entry.digest) {
            continue;
        }
        *bytes = bytes.saturating_add(entry.size);
        if below.len() >= MOST_DOCUMENTS || *bytes > MOST_BYTES {
            bail!("index: more than {MOST_DOCUMENTS} documents or {MOST_BYTES} bytes of them");
        }
        let found = child(sources, reference, &entry)?;
        descend(sources, reference, &found, deep - 1, below, bytes)?;
        below.push(found);
    }
    Ok(())
}

/// The document that an index names, if it is what the index says.
fn child(sources: &Sources<'_>, reference: &Reference, entry: &Descriptor) -> anyhow::Result<Document> {
    let document = sources.manifest(reference, Some(&entry.digest))?;
    if document.descriptor.media_type != entry.media_type || document.descriptor.size != entry.size {
        bail!("{}: manifest: type and size are not those of the index", entry.digest);
    }
    Ok(document)
}

fn read(document: &Document) -> anyhow::Result<Manifest> {
    let manifest = document.manifest()?;
    if manifest.layers.len() > MOST_LAYERS || manifest.config.size > LARGEST_CONFIG {
        bail!("manifest: more than {MOST_LAYERS} layers or a configuration of more than {LARGEST_CONFIG} bytes");
    }
    Ok(manifest)
}

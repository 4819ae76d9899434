//! What the documents make of the blobs: `index.json` for OCI archives and for docker's since version 25,
//! `manifest.json` for docker's older ones.

use crate::intake::{Archive, Blob, LARGEST_DOCUMENT};
use anyhow::{Context, bail, ensure};
use layer_tar::codec::{self, Compression};
use oci_layout::{Hashed, Layout};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::{HashSet, VecDeque};
use std::io;
use wire::{Descriptor, Digest, Platform, Reference, annotation, media_type};

/// What containerd and docker write an image's whole name to.
const CONTAINERD_NAME: &str = "io.containerd.image.name";
const MOST_IMAGES: usize = 10_000;
const MOST_LAYERS: usize = 1024;
const MOST_INDEXES: usize = 100;

/// An image that is whole.
#[derive(Debug)]
pub struct Image {
    /// Its manifest, with platform and source digest as the index had them.
    pub descriptor: Descriptor,
    /// The digest of its configuration.
    pub id: Digest,
    /// The names that the archive gives it.
    pub names: Vec<Reference>,
}

/// What can be loaded, and what the archive names but does not hold.
#[derive(Debug, Default)]
pub struct Found {
    pub images: Vec<Image>,
    /// Platforms of an image that is here for another one, and things that are no images. One line each.
    pub skipped: Vec<String>,
    /// Images that lack blobs, however many there are. One line each.
    pub incomplete: Vec<String>,
    /// The IDs of an index's images, wanted or not: docker's document lists one of them again.
    of_index: HashSet<Digest>,
}

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

/// How much of an index is wanted.
#[derive(Debug, Clone, Copy)]
pub enum Wanted<'a> {
    /// The image for one platform, by default this machine's, else the first that is whole.
    One(Option<&'a Platform>),
    /// The index, with everything below it.
    All,
}

/// Reads both documents. An image that both have is one image with the names of both.
pub fn find(layout: &Layout, archive: &Archive, wanted: Wanted<'_>) -> anyhow::Result<Found> {
    let mut found = Found::default();
    let (index, docker) = (archive.document("index.json"), archive.document("manifest.json"));
    ensure!(index.is_some() || docker.is_some(), "no archive of images: neither index.json nor manifest.json in it");
    if let Some(index) = index {
        let index: Index = serde_json::from_slice(index).context("index.json")?;
        ensure!(index.manifests.len() <= MOST_IMAGES, "index.json: more than {MOST_IMAGES} images");
        for entry in &index.manifests {
            let label = || format!("index.json: {}", entry.digest);
            from_index(layout, entry, wanted, &mut found).with_context(label)?;
        }
    }
    if let Some(docker) = docker {
        let entries: Vec<Entry> = serde_json::from_slice(docker).context("manifest.json")?;
        ensure!(entries.len() <= MOST_IMAGES, "manifest.json: more than {MOST_IMAGES} images");
        // What index.json has and is not whole, docker's document cannot make whole.
        let entries = if found.incomplete.is_empty() { &entries[..] } else { &[] };
        for entry in entries {
            from_docker(layout, archive, entry, &mut found).context("manifest.json")?;
        }
    }
    if let Wanted::One(Some(wanted)) = wanted {
        for image in &found.images {
            layout.open_image(&image.descriptor, Some(wanted))?;
        }
    }
    Ok(found)
}

fn from_index(layout: &Layout, entry: &Descriptor, wanted: Wanted<'_>, found: &mut Found) -> anyhow::Result<()> {
    let names: Vec<Reference> = name_of(entry)?.into_iter().collect();
    let mut candidates = Vec::new();
    if entry.is_index() {
        if layout.has(&entry.digest).is_none() {
            found.incomplete.push(format!("{}: lacks {}", word(entry, &names), entry.digest));
            return Ok(());
        }
        let Wanted::One(platform) = wanted else { return whole_index(layout, entry, names, found) };
        let nested = manifests_below(layout, entry)?;
        let here = |below: &&Descriptor| below.is_manifest() && layout.has(&below.digest) == Some(below.size);
        for manifest in nested.iter().filter(here) {
            found.of_index.extend(config_of(layout, manifest)?);
        }
        candidates = of_platform(nested, platform)?;
    } else if entry.is_manifest() {
        candidates.push(entry.clone());
    } else {
        found.skipped.push(format!("{}: not an image but {:?}", entry.digest, entry.media_type));
        return Ok(());
    }
    let (mut whole, mut lacking) = (None, Vec::new());
    for candidate in candidates {
        match &missing(layout, &candidate)?[..] {
            [] if whole.is_none() => whole = Some(candidate),
            [] => {}
            missing => lacking.push(format!("{}: lacks {}", word(&candidate, &names), missing.join(", "))),
        }
    }
    // Docker saves indexes whose other platforms it never had: with one whole the rest is no loss.
    let Some(mut descriptor) = whole else {
        found.incomplete.append(&mut lacking);
        return Ok(());
    };
    found.skipped.append(&mut lacking);
    let image = layout.open_image(&descriptor, None)?;
    if descriptor.platform.is_none() {
        descriptor.platform = image.platform().map(serde_json::to_value).transpose()?;
    }
    descriptor.annotations = foreign(entry);
    if entry.is_index() {
        descriptor.annotations.insert(annotation::SOURCE_DIGEST.into(), entry.digest.to_string().into());
    }
    add(found, Image { id: image.id().clone(), descriptor, names })
}

/// What an index lists, and the indexes that are in it and here, each once.
fn manifests_below(layout: &Layout, index: &Descriptor) -> anyhow::Result<Vec<Descriptor>> {
    let (mut found, mut todo) = (Vec::new(), VecDeque::from([index.clone()]));
    let mut seen = HashSet::from([index.digest.clone()]);
    while let Some(index) = todo.pop_front() {
        let listed: Index = serde_json::from_slice(&layout.document(&index)?)?;
        ensure!(found.len() + listed.manifests.len() <= MOST_IMAGES, "more than {MOST_IMAGES} manifests");
        for below in listed.manifests {
            match (below.is_index(), layout.has(&below.digest)) {
                (false, _) => found.push(below),
                (true, Some(_)) if seen.insert(below.digest.clone()) => {
                    ensure!(seen.len() <= MOST_INDEXES, "more than {MOST_INDEXES} indexes in an index");
                    todo.push_back(below);
                }
                (true, _) => {}
            }
        }
    }
    Ok(found)
}

/// An index as it stands. Its digest is the image's, so that a name which pins it can be checked.
fn whole_index(layout: &Layout, entry: &Descriptor, names: Vec<Reference>, found: &mut Found) -> anyhow::Result<()> {
    let absent = layout.absent(entry)?;
    if !absent.is_empty() {
        let absent: Vec<String> = absent.iter().map(ToString::to_string).collect();
        found.incomplete.push(format!("{}: lacks {}", word(entry, &names), absent.join(", ")));
        return Ok(());
    }
    let mut descriptor = entry.clone();
    descriptor.annotations = foreign(entry);
    let id = layout.open_image(entry, None).map_or_else(|_| entry.digest.clone(), |image| image.id().clone());
    add(found, Image { descriptor, id, names })
}

/// Names are given at the end; what dock itself notes about an image is not for an archive to claim.
fn foreign(entry: &Descriptor) -> Map<String, Value> {
    let ours = |key: &str| key.starts_with("dev.dock.") || [annotation::REF_NAME, CONTAINERD_NAME].contains(&key);
    let mut annotations = entry.annotations.clone();
    annotations.retain(|key, _| !ours(key));
    annotations
}

/// The images of an index, this machine's first; attestations are for platform unknown/unknown, and no images.
fn of_platform(mut manifests: Vec<Descriptor>, wanted: Option<&Platform>) -> anyhow::Result<Vec<Descriptor>> {
    manifests.retain(|entry| entry.is_manifest() && entry.platform().is_none_or(|p| p.os != "unknown"));
    let host = Platform::host();
    manifests.sort_by_key(|entry| !entry.platform().is_some_and(|offered| host.accepts(&offered)));
    let Some(wanted) = wanted else { return Ok(manifests) };
    let offered: Vec<String> = manifests.iter().filter_map(|entry| Some(entry.platform()?.to_string())).collect();
    manifests.retain(|entry| entry.platform().is_none_or(|offered| wanted.accepts(&offered)));
    ensure!(!manifests.is_empty(), "no image for {wanted}, only for {}", offered.join(", "));
    Ok(manifests)
}

/// Every blob of these images.
pub fn reached(layout: &Layout, images: &[Image]) -> anyhow::Result<HashSet<Digest>> {
    let mut reached = HashSet::new();
    for image in images {
        reached.extend(layout.below(&image.descriptor)?.into_iter().map(|blob| blob.digest));
    }
    Ok(reached)
}

/// How a message calls an entry of the index.
fn word(entry: &Descriptor, names: &[Reference]) -> String {
    let name = names.first().map_or_else(|| entry.digest.to_string(), Reference::familiar);
    entry.platform().map_or(name.clone(), |platform| format!("{name} ({platform})"))
}

/// The grammar keeps hostile names out (CVE-2014-9356). A bare word is what other tools call a tag, and says
/// nothing about the repository.
fn name_of(entry: &Descriptor) -> anyhow::Result<Option<Reference>> {
    let name = entry
        .annotation(CONTAINERD_NAME)
        .or_else(|| entry.annotation(annotation::REF_NAME).filter(|name| name.contains(['/', ':', '@'])));
    Ok(name.map(str::parse).transpose()?)
}

/// What an index leads to may be no image at all.
fn config_of(layout: &Layout, manifest: &Descriptor) -> anyhow::Result<Option<Digest>> {
    #[derive(Deserialize)]
    struct Manifest {
        config: Descriptor,
    }
    let read = serde_json::from_slice::<Manifest>(&layout.document(manifest)?);
    Ok(read.ok().map(|manifest| manifest.config.digest))
}

/// The blobs that neither the archive nor the store has; a manifest that is there is read and checked.
fn missing(layout: &Layout, manifest: &Descriptor) -> anyhow::Result<Vec<String>> {
    #[derive(Deserialize)]
    struct Manifest {
        config: Descriptor,
        layers: Vec<Descriptor>,
    }
    if layout.has(&manifest.digest).is_none() {
        return Ok(vec![manifest.digest.to_string()]);
    }
    let read: Manifest = serde_json::from_slice(&layout.document(manifest)?).context("manifest")?;
    ensure!(read.layers.len() <= MOST_LAYERS, "manifest: more than {MOST_LAYERS} layers");
    let absent = |blob: &&Descriptor| layout.has(&blob.digest) != Some(blob.size);
    let mut missing: Vec<String> =
        [&read.config].into_iter().chain(&read.layers).filter(absent).map(|blob| blob.digest.to_string()).collect();
    missing.dedup();
    Ok(missing)
}

fn from_docker(layout: &Layout, archive: &Archive, entry: &Entry, found: &mut Found) -> anyhow::Result<()> {
    let tags = entry.repo_tags.iter().flatten();
    let names = tags.map(|tag| tag.parse()).collect::<Result<Vec<Reference>, _>>()?;
    let config = archive.blob(&entry.config)?;
    if let Some(image) = found.images.iter_mut().find(|image| image.id == config.digest) {
        ensure!(names.iter().all(|name| name.digest().is_none()), "RepoTags: a name with a digest");
        image.names.extend(names);
        dedup(image);
        return Ok(());
    }
    if found.of_index.contains(&config.digest) {
        return Ok(());
    }
    ensure!(config.size <= LARGEST_DOCUMENT, "{}: more than {LARGEST_DOCUMENT} bytes", entry.config);
    let layers = entry.layers.iter().flatten().map(|path| archive.blob(path)).collect::<Result<Vec<_>, _>>()?;
    let descriptor = assemble(layout, config, &layers)?;
    add(found, Image { descriptor, id: config.digest.clone(), names })
}

/// Docker's archive has no manifest: the one that is written here is the same for the same archive.
fn assemble(layout: &Layout, config: &Blob, layers: &[&Blob]) -> anyhow::Result<Descriptor> {
    #[derive(Deserialize)]
    struct RootFs {
        diff_ids: Vec<Digest>,
    }
    #[derive(Deserialize)]
    struct Config {
        rootfs: RootFs,
    }
    let config = Descriptor::new(media_type::CONFIG, config.digest.clone(), config.size);
    let text = layout.document(&config)?;
    let read: Config = serde_json::from_slice(&text).context("configuration")?;
    let diff_ids = read.rootfs.diff_ids;
    ensure!(layers.len() <= MOST_LAYERS, "more than {MOST_LAYERS} layers");
    ensure!(diff_ids.len() == layers.len(), "{} layers, but the configuration has {}", layers.len(), diff_ids.len());
    let layers = layers
        .iter()
        .zip(&diff_ids)
        .map(|(blob, diff_id)| layer(layout, blob, diff_id))
        .collect::<Result<Vec<_>, _>>()?;
    let manifest = json!({"schemaVersion": 2, "mediaType": media_type::MANIFEST, "config": config, "layers": layers});
    let mut descriptor = layout.put(media_type::MANIFEST, manifest.to_string().as_bytes())?;
    descriptor.platform = serde_json::from_slice::<Platform>(&text)
        .ok()
        .filter(|p| !p.os.is_empty())
        .map(serde_json::to_value)
        .transpose()?;
    Ok(descriptor)
}

/// The only promise that docker's archive makes about a layer is its diff ID, the digest of the plain tar.
fn layer(layout: &Layout, blob: &Blob, diff_id: &Digest) -> anyhow::Result<Descriptor> {
    let media_type = match Compression::detect(&blob.start) {
        Compression::None => media_type::LAYER,
        Compression::Gzip => media_type::LAYER_GZIP,
        Compression::Zstd => media_type::LAYER_ZSTD,
    };
    let descriptor = Descriptor::new(media_type, blob.digest.clone(), blob.size);
    let plain = if media_type == media_type::LAYER && diff_id.algorithm() == blob.digest.algorithm() {
        blob.digest.clone()
    } else {
        let mut hashed = Hashed::with(io::sink(), diff_id.algorithm());
        io::copy(&mut codec::decoder(layout.read(&descriptor)?)?, &mut hashed)?;
        hashed.finish().1
    };
    if plain != *diff_id {
        bail!("layer {plain}: the configuration wants {diff_id} in its place");
    }
    Ok(descriptor)
}

/// A name that pins a digest must pin this image's: else an archive could put any image behind a digest that
/// somebody trusts.
fn add(found: &mut Found, image: Image) -> anyhow::Result<()> {
    let source = image.descriptor.annotation(annotation::SOURCE_DIGEST);
    let other = |pinned: &Digest| *pinned != image.descriptor.digest && Some(pinned.to_string().as_str()) != source;
    if let Some(name) = image.names.iter().find(|name| name.digest().is_some_and(other)) {
        bail!("{}: the image has digest {}", name.familiar(), image.descriptor.digest);
    }
    match found.images.iter_mut().find(|there| there.descriptor.digest == image.descriptor.digest) {
        Some(there) => {
            there.names.extend(image.names);
            dedup(there);
        }
        None => found.images.push(image),
    }
    Ok(())
}

fn dedup(image: &mut Image) {
    let mut seen = HashSet::new();
    image.names.retain(|name| seen.insert(name.clone()));
}

//! The archive: documents first, so that a reader of a pipe can plan, then every blob once. The bytes depend on
//! the images alone: sorted, time zero, owner root.

use crate::ahead::read_ahead;
use crate::choose::Chosen;
use anyhow::Context;
use oci_layout::OpenImage;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{self, Write};
use tar::{Builder, EntryType, Header};
use wire::{Descriptor, Digest, Have, Reference, annotation, media_type};

/// A smaller blob is read before a thread has started.
const WORTH_A_THREAD: u64 = 1 << 20;

/// What containerd and docker read an image's whole name from.
const CONTAINERD_NAME: &str = "io.containerd.image.name";

/// A sink that puts its name before its errors: a full disk is told from a damaged blob.
#[derive(Debug)]
pub struct Labelled<W>(pub String, pub W);

impl<W> Labelled<W> {
    fn label<T>(&self, result: io::Result<T>) -> io::Result<T> {
        result.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", self.0)))
    }
}

impl<W: Write> Write for Labelled<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.1.write(bytes);
        self.label(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.1.flush();
        self.label(flushed)
    }
}

/// What is to be written.
#[derive(Debug)]
pub struct Archive<'a> {
    pub images: &'a [Chosen],
    /// With docker's own document.
    pub docker: bool,
    /// What the reader has.
    pub have: Have,
}

impl Archive<'_> {
    /// Writes everything to `to`. Manifests and configurations are always there, so that a reader who lacks layers
    /// after all can name every one.
    pub fn write(&self, to: &mut impl Write) -> anyhow::Result<()> {
        let images = self.images;
        let mut tar = Builder::new(to);
        document(&mut tar, "oci-layout", &json!({"imageLayoutVersion": "1.0.0"}))?;
        document(&mut tar, "index.json", &index(images))?;
        if self.docker {
            document(&mut tar, "manifest.json", &docker_manifest(images))?;
        }
        // A sorted map: two images share their blobs, and the order is the same every time.
        let mut first: BTreeMap<String, (&Chosen, &Descriptor)> = BTreeMap::new();
        let mut later = BTreeMap::new();
        for image in images {
            for blob in &image.blobs {
                if is_document(blob) {
                    first.insert(blob_path(&blob.digest), (image, blob));
                } else if !self.have.has(&blob.digest, blob.size) {
                    later.insert(blob_path(&blob.digest), (image, blob));
                }
            }
        }
        let mut directories: Vec<&str> =
            first.keys().chain(later.keys()).filter_map(|p| p.rsplit_once('/')).map(|p| p.0).collect();
        directories.sort_unstable();
        directories.dedup();
        for directory in ["blobs"].into_iter().chain(directories) {
            tar.append_data(&mut header(EntryType::Directory, 0), format!("{directory}/"), std::io::empty())?;
        }
        later.retain(|path, _| !first.contains_key(path));
        for (path, (image, blob)) in first.iter().chain(&later) {
            let reader = image.layout.read(blob).with_context(|| image.operand.clone())?;
            let mut header = header(EntryType::Regular, reader.size());
            // The path of a sha512 blob is longer than a header: it gets an entry of its own before.
            if reader.size() < WORTH_A_THREAD {
                tar.append_data(&mut header, path, reader)?;
            } else {
                read_ahead(reader, |ahead| tar.append_data(&mut header, path, ahead))?;
            }
        }
        tar.finish()?;
        Ok(())
    }
}

fn blob_path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().name(), digest.hex())
}

fn is_document(blob: &Descriptor) -> bool {
    let config = matches!(blob.media_type.as_str(), media_type::CONFIG | media_type::DOCKER_CONFIG);
    config || blob.is_index() || blob.is_manifest()
}

fn document(tar: &mut Builder<impl Write>, name: &str, value: &Value) -> anyhow::Result<()> {
    let bytes = value.to_string().into_bytes();
    Ok(tar.append_data(&mut header(EntryType::Regular, bytes.len() as u64), name, &bytes[..])?)
}

fn header(kind: EntryType, size: u64) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(if kind == EntryType::Directory { 0o755 } else { 0o644 });
    header.set_size(size);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

/// One entry a name, the descriptors as the layout has them.
fn index(images: &[Chosen]) -> Value {
    let mut entries = Vec::new();
    for image in images {
        let mut entry = image.descriptor.clone();
        for (key, value) in &image.annotations {
            entry.annotations.insert(key.clone(), value.clone());
        }
        if entry.platform.is_none() && !entry.is_index() {
            entry.platform = image
                .image
                .as_ref()
                .and_then(OpenImage::platform)
                .and_then(|platform| serde_json::to_value(platform).ok());
        }
        // Both come from the name, so that an image that was asked for by its ID has none.
        entry.annotations.retain(|key, _| ![annotation::REF_NAME, CONTAINERD_NAME].contains(&key.as_str()));
        if let Some(name) = &image.name {
            entry.annotations.insert(annotation::REF_NAME.into(), name.clone().into());
            if name.parse::<Reference>().is_ok() {
                entry.annotations.insert(CONTAINERD_NAME.into(), name.clone().into());
            }
        }
        if !entries.contains(&entry) {
            entries.push(entry);
        }
    }
    json!({"schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": entries})
}

/// `docker load`'s own document: one entry an image, with all the names that were asked for.
fn docker_manifest(images: &[Chosen]) -> Value {
    let mut entries: Vec<(&Digest, Vec<String>, Value)> = Vec::new();
    for (image, name) in images.iter().filter_map(|chosen| Some((chosen.image.as_ref()?, &chosen.name))) {
        let familiar = name.as_ref().and_then(|name| name.parse::<Reference>().ok());
        // RepoTags knows tags only; a name with a digest is in index.json.
        let tag = familiar.filter(|name| name.digest().is_none()).map(|name| name.familiar());
        if let Some((_, tags, _)) = entries.iter_mut().find(|(digest, ..)| **digest == image.descriptor.digest) {
            tags.extend(tag.filter(|tag| !tags.contains(tag)).into_iter().collect::<Vec<_>>());
            continue;
        }
        let layers: Vec<String> = image.manifest.layers.iter().map(|layer| blob_path(&layer.digest)).collect();
        let entry = json!({"Config": blob_path(&image.manifest.config.digest), "RepoTags": null, "Layers": layers});
        entries.push((&image.descriptor.digest, tag.into_iter().collect(), entry));
    }
    let entry = |(_, tags, mut entry): (&Digest, Vec<String>, Value)| {
        if !tags.is_empty() {
            entry["RepoTags"] = tags.into();
        }
        entry
    };
    entries.into_iter().map(entry).collect()
}

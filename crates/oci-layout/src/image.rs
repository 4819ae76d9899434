//! An image, checked: index, manifest and configuration agree before anybody uses them.

use crate::error::{Error, Result};
use crate::hash::digest_of;
use crate::layout::Layout;
use serde_json::Value;
use wire::{Descriptor, Digest, Platform, media_type};

/// An index may point to an index; nobody nests deeper.
const DEEPEST: usize = 3;

/// The descriptors of an image manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The image configuration.
    pub config: Descriptor,
    /// The layers, the lowest first.
    pub layers: Vec<Descriptor>,
}

/// An image for one platform with its two documents, as stored and parsed.
#[derive(Debug, Clone)]
pub struct OpenImage {
    /// Of the manifest, even when an index was asked for.
    pub descriptor: Descriptor,
    /// The parsed manifest.
    pub manifest: Manifest,
    /// The manifest as stored.
    pub manifest_bytes: Vec<u8>,
    /// The parsed configuration; every member is there.
    pub config: Value,
    /// The configuration as stored.
    pub config_bytes: Vec<u8>,
    /// The digests of the uncompressed layers, the lowest first; as many as layers.
    pub diff_ids: Vec<Digest>,
}

impl OpenImage {
    /// The image ID: the digest of the configuration.
    pub fn id(&self) -> &Digest {
        &self.manifest.config.digest
    }

    /// The platform of the configuration.
    pub fn platform(&self) -> Option<Platform> {
        config_platform(&self.config)
    }

    /// The chain ID of each layer (image-spec config.md, "Layer ChainID"): what names a layer together with
    /// everything below it.
    pub fn chain_ids(&self) -> Vec<Digest> {
        let mut chain: Vec<Digest> = Vec::with_capacity(self.diff_ids.len());
        for diff_id in &self.diff_ids {
            let next = match chain.last() {
                None => diff_id.clone(),
                Some(below) => digest_of(format!("{below} {diff_id}").as_bytes()),
            };
            chain.push(next);
        }
        chain
    }
}

impl Layout {
    /// Opens an image. An index is followed to the manifest for `platform`, by default the host's; the platform
    /// of a plain manifest is compared only when one was asked for.
    pub fn open_image(&self, descriptor: &Descriptor, platform: Option<&Platform>) -> Result<OpenImage> {
        let mut descriptor = descriptor.clone();
        for _ in 0..DEEPEST {
            if !descriptor.is_index() {
                return self.open_manifest(descriptor, platform);
            }
            let wanted = platform.cloned().unwrap_or_else(Platform::host);
            descriptor = self.choose(&descriptor, &wanted)?;
        }
        Err(malformed(&descriptor, "indexes are nested too deep"))
    }

    fn choose(&self, index: &Descriptor, wanted: &Platform) -> Result<Descriptor> {
        let document = parse_document(index, &self.document(index)?)?;
        let manifests: Vec<Descriptor> = member(index, &document, "manifests")?;
        // An entry without a platform is taken only when nothing names ours: its configuration decides.
        let named = manifests.iter().find(|entry| entry.platform().is_some_and(|offered| wanted.accepts(&offered)));
        let unnamed = || manifests.iter().find(|entry| entry.platform.is_none() && self.has(&entry.digest).is_some());
        if let Some(found) = named.or_else(unnamed) {
            return Ok(found.clone());
        }
        let mut offered: Vec<String> = manifests.iter().filter_map(|e| Some(e.platform()?.to_string())).collect();
        offered.retain(|platform| !platform.starts_with("unknown/"));
        if offered.is_empty() {
            offered.push("nothing".into());
        }
        Err(Error::Platform { digest: index.digest.clone(), wanted: wanted.clone(), offered })
    }

    fn open_manifest(&self, descriptor: Descriptor, platform: Option<&Platform>) -> Result<OpenImage> {
        let not = |media_type: &str| Error::NotAnImage {
            digest: descriptor.digest.clone(),
            media_type: media_type.to_owned(),
        };
        if !descriptor.is_manifest() {
            return Err(not(&descriptor.media_type));
        }
        let manifest_bytes = self.document(&descriptor)?;
        let manifest = parse_manifest(&descriptor, &manifest_bytes)?;
        if !matches!(manifest.config.media_type.as_str(), media_type::CONFIG | media_type::DOCKER_CONFIG) {
            return Err(not(&manifest.config.media_type));
        }
        let config_bytes = self.document(&manifest.config)?;
        let config = parse_json(&manifest.config, &config_bytes)?;
        let diff_ids = diff_ids(&manifest.config, &config)?;
        if diff_ids.len() != manifest.layers.len() {
            let reason = format!("{} diff IDs for {} layers", diff_ids.len(), manifest.layers.len());
            return Err(malformed(&manifest.config, &reason));
        }
        if let (Some(wanted), Some(offered)) = (platform, config_platform(&config))
            && !wanted.accepts(&offered)
        {
            let offered = vec![offered.to_string()];
            return Err(Error::Platform { digest: descriptor.digest, wanted: wanted.clone(), offered });
        }
        Ok(OpenImage { descriptor, manifest, manifest_bytes, config, config_bytes, diff_ids })
    }

    /// The digests by which a person may call an entry: the manifest's (or index's), then the configuration's.
    pub(crate) fn ids(&self, entry: &Descriptor) -> Vec<Digest> {
        let mut ids = vec![entry.digest.clone()];
        let mut manifests = vec![entry.clone()];
        if entry.is_index()
            && let Ok(children) = self.document(entry).and_then(|bytes| {
                let document = parse_document(entry, &bytes)?;
                member::<Vec<Descriptor>>(entry, &document, "manifests")
            })
        {
            // The host's platform first: its configuration is the image ID here.
            let host = Platform::host();
            manifests = children;
            manifests.sort_by_key(|child| !child.platform().is_some_and(|offered| host.accepts(&offered)));
        }
        for manifest in manifests.iter().filter(|descriptor| descriptor.is_manifest()) {
            if let Ok(parsed) = self.document(manifest).and_then(|bytes| parse_manifest(manifest, &bytes)) {
                ids.push(parsed.config.digest);
                if manifest.digest != entry.digest {
                    ids.push(manifest.digest.clone());
                }
            }
        }
        ids
    }
}

/// Parses a manifest or an index, and refuses one that could be read as the other: the two are told apart by
/// their media type alone, so the embedded one must be the descriptor's, and no document may have the members of
/// both (CVE-2021-41190).
pub(crate) fn parse_document(descriptor: &Descriptor, bytes: &[u8]) -> Result<Value> {
    let document = parse_json(descriptor, bytes)?;
    if document.get("manifests").is_some() && (document.get("layers").is_some() || document.get("config").is_some()) {
        return Err(malformed(descriptor, "has the members of both a manifest and an index"));
    }
    match document.get("mediaType") {
        None => {}
        Some(Value::String(embedded)) if *embedded == descriptor.media_type => {}
        Some(other) => {
            let reason = format!("its mediaType is {other}, its descriptor says {:?}", descriptor.media_type);
            return Err(malformed(descriptor, &reason));
        }
    }
    Ok(document)
}

pub(crate) fn parse_manifest(descriptor: &Descriptor, bytes: &[u8]) -> Result<Manifest> {
    let document = parse_document(descriptor, bytes)?;
    Ok(Manifest { config: member(descriptor, &document, "config")?, layers: member(descriptor, &document, "layers")? })
}

fn parse_json(descriptor: &Descriptor, bytes: &[u8]) -> Result<Value> {
    match serde_json::from_slice(bytes) {
        Ok(document @ Value::Object(_)) => Ok(document),
        Ok(_) => Err(malformed(descriptor, "not a JSON object")),
        Err(error) => Err(malformed(descriptor, &error.to_string())),
    }
}

pub(crate) fn member<T: serde::de::DeserializeOwned>(of: &Descriptor, document: &Value, name: &str) -> Result<T> {
    let value = document.get(name).cloned().unwrap_or_default();
    serde_json::from_value(value).map_err(|error| malformed(of, &format!("{name}: {error}")))
}

fn diff_ids(of: &Descriptor, config: &Value) -> Result<Vec<Digest>> {
    match config.pointer("/rootfs/diff_ids") {
        // An image without layers: docker writes null.
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(ids) => {
            serde_json::from_value(ids.clone()).map_err(|error| malformed(of, &format!("rootfs.diff_ids: {error}")))
        }
    }
}

fn config_platform(config: &Value) -> Option<Platform> {
    let text = |name| config.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    Some(Platform {
        os: text("os")?.into(),
        architecture: text("architecture")?.into(),
        variant: text("variant").map(Into::into),
    })
}

pub(crate) fn malformed(descriptor: &Descriptor, reason: &str) -> Error {
    Error::Malformed { what: descriptor.digest.to_string(), reason: reason.into() }
}

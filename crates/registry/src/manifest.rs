//! The two documents of an image: the manifest of one platform, and the index that lists manifests.

use crate::{Error, Result};
use serde::Deserialize;
use serde_json::Value;
use sha2::{Sha256, Sha512};
use wire::{Algorithm, Descriptor, Digest, Platform, media_type};

/// A document as the registry sent it, read and checked.
#[derive(Debug, Clone)]
pub struct Document {
    /// Media type, digest and size of `bytes`.
    pub descriptor: Descriptor,
    /// Byte for byte as received.
    pub bytes: Vec<u8>,
}

/// What a manifest points to.
#[derive(Debug, Clone, Deserialize)]
pub struct Manifest {
    /// The image configuration.
    pub config: Descriptor,
    /// The layers, the lowest first.
    pub layers: Vec<Descriptor>,
}

/// What an index points to.
#[derive(Debug, Clone, Deserialize)]
pub struct Index {
    /// One entry a platform, and attestations among them.
    pub manifests: Vec<Descriptor>,
}

impl Document {
    /// Checks bytes against what they were asked by, and against what the header calls them.
    pub(crate) fn new(bytes: Vec<u8>, content_type: &str, want: Option<&Digest>) -> Result<Self> {
        let got = digest(want.map_or(Algorithm::Sha256, Digest::algorithm), &bytes);
        if let Some(want) = want.filter(|want| **want != got) {
            return Err(Error::Digest { want: want.clone(), got });
        }
        let media_type = media_type_of(&bytes, content_type)?;
        let size = bytes.len() as u64;
        Ok(Self { descriptor: Descriptor::new(media_type, got, size), bytes })
    }

    /// Reads an image manifest.
    pub fn manifest(&self) -> Result<Manifest> {
        serde_json::from_slice(&self.bytes).map_err(|error| Error::Document(error.to_string()))
    }

    /// Reads an image index.
    pub fn index(&self) -> Result<Index> {
        serde_json::from_slice(&self.bytes).map_err(|error| Error::Document(error.to_string()))
    }
}

impl Index {
    /// The first manifest that runs on `wanted`. Attestations (platform unknown/unknown) are never offered.
    pub fn choose(&self, wanted: &Platform) -> Result<&Descriptor> {
        let serves = |entry: &&Descriptor| entry.platform().is_some_and(|offered| wanted.accepts(&offered));
        let images = || self.manifests.iter().filter(|entry| entry.is_manifest() || entry.is_index());
        if let Some(found) = images().find(serves) {
            return Ok(found);
        }
        let mut offered: Vec<String> =
            images().filter_map(Descriptor::platform).filter(|p| p.os != "unknown").map(|p| p.to_string()).collect();
        offered.truncate(40);
        let offered = if offered.is_empty() { "none".into() } else { crate::error::clip(&offered.join(", ")) };
        Err(Error::Platform { wanted: wanted.clone(), offered })
    }
}

/// One blob must not be valid as manifest and as index (CVE-2021-41190): the header, the member `mediaType`
/// and the shape have to say the same.
fn media_type_of(bytes: &[u8], content_type: &str) -> Result<String> {
    let document: Value = serde_json::from_slice(bytes).map_err(|error| Error::Document(error.to_string()))?;
    let header = content_type.split(';').next().unwrap_or_default().trim();
    let known = [media_type::MANIFEST, media_type::DOCKER_MANIFEST, media_type::INDEX, media_type::DOCKER_LIST];
    if document["schemaVersion"] == 1 || header.starts_with("application/vnd.docker.distribution.manifest.v1+") {
        return Err(Error::Schema1);
    }
    let is_index = match (document.get("manifests").is_some(), document.get("layers").is_some()) {
        (true, false) => true,
        (false, true) => false,
        (true, true) => return Err(Error::Document("has both manifests and layers".into())),
        (false, false) => return Err(Error::Document("has neither manifests nor layers".into())),
    };
    let header = known.contains(&header).then_some(header);
    let inside = match document.get("mediaType") {
        None => None,
        Some(Value::String(inside)) if known.contains(&inside.as_str()) => Some(inside.as_str()),
        Some(other) => return Err(Error::Document(crate::error::clip(&format!("media type {other} is no image's")))),
    };
    if let (Some(header), Some(inside)) = (header, inside)
        && header != inside
    {
        return Err(Error::Document(format!("calls itself {inside}, but was sent as {header}")));
    }
    let usual = if is_index { media_type::INDEX } else { media_type::MANIFEST };
    let called = inside.or(header).unwrap_or(usual);
    if matches!(called, media_type::INDEX | media_type::DOCKER_LIST) != is_index {
        return Err(Error::Document(format!("calls itself {called}, and is not")));
    }
    Ok(called.to_owned())
}

pub(crate) fn digest(algorithm: Algorithm, bytes: &[u8]) -> Digest {
    use sha2::Digest as _;
    match algorithm {
        Algorithm::Sha256 => Digest::from_bytes(algorithm, &Sha256::digest(bytes)),
        Algorithm::Sha512 => Digest::from_bytes(algorithm, &Sha512::digest(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn media_type(body: &str, header: &str) -> Result<String> {
        Document::new(body.into(), header, None).map(|document| document.descriptor.media_type)
    }

    #[test]
    fn the_three_signs_of_a_type_must_agree() {
        let manifest = r#"{"schemaVersion":2,"config":{},"layers":[]}"#;
        let index = r#"{"schemaVersion":2,"manifests":[]}"#;
        let said = r#"{"mediaType":"application/vnd.oci.image.manifest.v1+json","layers":[]}"#;
        assert_eq!(media_type(manifest, "application/json").unwrap(), media_type::MANIFEST);
        assert_eq!(media_type(manifest, media_type::DOCKER_MANIFEST).unwrap(), media_type::DOCKER_MANIFEST);
        assert_eq!(media_type(said, "text/plain").unwrap(), media_type::MANIFEST);
        assert_eq!(media_type(index, &format!("{}; charset=utf-8", media_type::INDEX)).unwrap(), media_type::INDEX);
        for (body, header) in [
            (manifest, media_type::INDEX),
            (index, media_type::MANIFEST),
            (said, media_type::DOCKER_MANIFEST),
            (r#"{"manifests":[],"layers":[]}"#, ""),
            (r#"{"mediaType":"x","layers":[]}"#, ""),
            ("{}", ""),
            ("<html>", "text/html"),
        ] {
            assert!(matches!(media_type(body, header), Err(Error::Document(_))), "{body} as {header}");
        }
        assert!(matches!(media_type(r#"{"schemaVersion":1}"#, ""), Err(Error::Schema1)));
    }

    #[test]
    fn bytes_answer_for_their_digest() {
        let want = digest(Algorithm::Sha512, br#"{"layers":[]}"#);
        let got = Document::new(br#"{"layers":[]}"#.to_vec(), "", Some(&want)).unwrap();
        assert_eq!(got.descriptor.digest, want);
        assert!(matches!(Document::new(br#"{"layers":[ ]}"#.to_vec(), "", Some(&want)), Err(Error::Digest { .. })));
    }

    #[test]
    fn a_platform_is_chosen_or_the_offer_named() {
        let entry = |os: &str, architecture: &str, hex: &str| {
            format!(
                r#"{{"mediaType":"{}","digest":"sha256:{}","size":1,"platform":{{"os":"{os}","architecture":"{architecture}"}}}}"#,
                media_type::MANIFEST,
                hex.repeat(64)
            )
        };
        let text = format!(
            r#"{{"manifests":[{},{},{}]}}"#,
            entry("unknown", "unknown", "a"),
            entry("linux", "arm64", "b"),
            entry("linux", "s390x", "c")
        );
        let index: Index = serde_json::from_str(&text).unwrap();
        assert_eq!(index.choose(&"linux/arm64/v8".parse().unwrap()).unwrap().digest.hex(), "b".repeat(64));
        let error = index.choose(&"linux/amd64".parse().unwrap()).unwrap_err().to_string();
        assert_eq!(error, "no image for platform linux/amd64; the index offers linux/arm64, linux/s390x");
    }
}

//! Media type, digest and size: OCI image-spec, descriptor.md.

use crate::{Digest, Platform};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// An OCI content descriptor (descriptor.md): what a blob is, its digest and its size. Members that are not
/// named here stay in `rest`, in their order, so that a descriptor is passed on as it came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// One of [`media_type`], or a foreign one.
    pub media_type: String,
    /// The digest of the bytes.
    pub digest: Digest,
    /// How many bytes.
    pub size: u64,
    /// In an image index: what the image runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Value>,
    /// The standard's place for what the standard does not know; keys in [`annotation`].
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub annotations: Map<String, Value>,
    /// Every other member.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

impl Descriptor {
    /// A descriptor with the three members that every one has.
    pub fn new(media_type: impl Into<String>, digest: Digest, size: u64) -> Self {
        Self { media_type: media_type.into(), digest, size, platform: None, annotations: Map::new(), rest: Map::new() }
    }

    /// The value of an annotation, when it is there and a string.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.get(key).and_then(Value::as_str)
    }

    /// The platform, when it is there and well formed.
    pub fn platform(&self) -> Option<Platform> {
        serde_json::from_value(self.platform.clone()?).ok()
    }

    /// Whether this names an image index or docker's manifest list.
    pub fn is_index(&self) -> bool {
        matches!(self.media_type.as_str(), media_type::INDEX | media_type::DOCKER_LIST)
    }

    /// Whether this names an image manifest, OCI's or docker's.
    pub fn is_manifest(&self) -> bool {
        matches!(self.media_type.as_str(), media_type::MANIFEST | media_type::DOCKER_MANIFEST)
    }
}

/// Annotation keys that the tools write.
pub mod annotation {
    /// The full reference of an image in `index.json` (image-spec annotations.md).
    pub const REF_NAME: &str = "org.opencontainers.image.ref.name";
    /// The digest that the registry gave for the reference, where that was an index and only one platform
    /// of it is stored: docker's `Digest:` line and DIGEST column.
    pub const SOURCE_DIGEST: &str = "dev.dock.source.digest";
}

/// Media types of OCI image-spec (media-types.md) and of docker's distribution before it.
pub mod media_type {
    /// OCI image index.
    pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    /// OCI image manifest.
    pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    /// OCI image configuration.
    pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    /// A layer as plain tar.
    pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
    /// A layer as gzip-compressed tar.
    pub const LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
    /// A layer as zstd-compressed tar.
    pub const LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
    /// Docker's name for an index.
    pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    /// Docker's name for a manifest.
    pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    /// Docker's name for an image configuration.
    pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
    /// Docker's name for a gzip-compressed layer.
    pub const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
    /// Docker's name for a plain layer.
    pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_members_pass_through() {
        let text = format!(
            r#"{{"mediaType":"{}","digest":"sha256:{}","size":7,"platform":{{"architecture":"amd64","os":"linux","os.features":["x"]}},"annotations":{{"a":"b"}},"urls":["u"],"data":"eA=="}}"#,
            media_type::MANIFEST,
            "ab".repeat(32)
        );
        let descriptor: Descriptor = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_string(&descriptor).unwrap(), text);
        assert_eq!(descriptor.platform().unwrap().to_string(), "linux/amd64");
    }
}

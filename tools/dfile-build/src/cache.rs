//! The build cache: a pin of the layout whose key is the digest of everything that the step depends on
//! (CVE-2024-24557: never a match of configurations). The value is the image after the step.

use crate::source::hex;
use oci_layout::Layout;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use wire::Descriptor;

/// Changes when the same key would mean another image.
const VERSION: u32 = 1;

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
    let image = layout.open_image(&descriptor, None).ok()?;
    let whole = image.manifest.layers.iter().all(|layer| layout.has(&layer.digest) == Some(layer.size));
    whole.then_some(descriptor)
}

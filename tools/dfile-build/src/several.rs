//! What stands around images: annotations, and the index of an image for several platforms.
//!
//! ```sh
//! img-append --base IMAGE --annotation KEY=VALUE --change-json '{"history":[]}'
//! ```

use crate::cache::Key;
use crate::siblings::{self, Siblings};
use anyhow::{Context, bail};
use oci_layout::Layout;
use serde_json::{Value, json};
use std::str::FromStr;
use wire::{Descriptor, Platform, Record, media_type};

/// `--annotation [WHERE:]KEY=VALUE`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Annotation {
    manifest: bool,
    index: bool,
    key: String,
    value: String,
}

impl FromStr for Annotation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (own, value) = text.split_once('=').ok_or("want KEY=VALUE")?;
        let (places, key) = own.split_once(':').unwrap_or(("manifest", own));
        let (mut manifest, mut index) = (false, false);
        for place in places.split(',') {
            match place {
                "manifest" => manifest = true,
                "index" => index = true,
                "manifest-descriptor" | "index-descriptor" => return Err(format!("{place}: not supported")),
                // The key of an annotation may have a colon, too.
                _ => return Ok(Self { manifest: true, index: false, key: own.into(), value: value.into() }),
            }
        }
        if key.is_empty() {
            return Err("the key is empty".into());
        }
        Ok(Self { manifest, index, key: key.into(), value: value.into() })
    }
}

/// The same image with annotations in its manifest: its configuration, and so its ID, stay.
pub fn annotate(
    layout: &Layout,
    siblings: &Siblings,
    image: &mut Descriptor,
    annotations: &[Annotation],
) -> anyhow::Result<()> {
    let mut pairs: Vec<String> =
        annotations.iter().filter(|own| own.manifest).map(|own| format!("{}={}", own.key, own.value)).collect();
    if pairs.is_empty() {
        return Ok(());
    }
    pairs.sort();
    let key = Key::of(&json!(["annotations", image.digest, pairs]));
    let mut append = siblings.on_layout("img-append");
    append.arg("--base").arg(image.digest.to_string()).args(["--pin", key.as_str()]);
    append.args(["--change-json", "{\"history\":[]}"]);
    // It was made when it was made.
    if let Some(created) = layout.open_image(image, None)?.config["created"].as_str() {
        append.args(["--created", created]);
    }
    for pair in &pairs {
        append.arg("--annotation").arg(pair);
    }
    let Record::Image(new) = siblings::transform(&mut append, None)? else { bail!("img-append: not an image record") };
    *image = new.descriptor;
    Ok(())
}

/// One index for the images of several platforms; an image for one is itself.
pub fn joined(
    layout: &Layout,
    images: Vec<(Option<Platform>, Descriptor)>,
    annotations: &[Annotation],
) -> anyhow::Result<Descriptor> {
    if let [(_, only)] = &images[..] {
        if annotations.iter().any(|own| own.index) {
            bail!("index annotations not supported for single platform export");
        }
        return Ok(only.clone());
    }
    let mut manifests = Vec::new();
    for (platform, image) in images {
        let platform = platform.map(serde_json::to_value).transpose()?;
        manifests.push(Descriptor { platform, annotations: serde_json::Map::new(), ..image });
    }
    let mut index = json!({"schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": manifests});
    for own in annotations.iter().filter(|own| own.index) {
        index["annotations"][&own.key] = Value::from(own.value.as_str());
    }
    layout.put(media_type::INDEX, index.to_string().as_bytes()).context("the index")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_an_annotation_goes() {
        for (text, manifest, index, key) in [
            ("a=b", true, false, "a"),
            ("manifest:a=b=c", true, false, "a"),
            ("index:a=", false, true, "a"),
            ("index,manifest:a=b", true, true, "a"),
            ("urn:a=b", true, false, "urn:a"),
        ] {
            let own: Annotation = text.parse().unwrap();
            assert_eq!((own.manifest, own.index, own.key.as_str()), (manifest, index, key), "{text}");
        }
        for text in ["a", "index:=b", "manifest-descriptor:a=b"] {
            assert!(text.parse::<Annotation>().is_err(), "{text}");
        }
    }
}

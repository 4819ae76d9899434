//! A cache inside of the image: its configuration says which step made which of its layers. From that, and from the
//! history, the image of each step is made again byte for byte; what does not come to the digest that it had is not one.
//! BuildKit keeps the same facts in a member of its own, in words that only it understands.

use crate::cache::{self, Key, Made};
use crate::image::LONGEST_CHANGE;
use crate::siblings::{self, Siblings};
use anyhow::{Context, bail};
use oci_layout::{Layout, OpenImage, digest_of};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, HashSet};
use wire::{Descriptor, Record, media_type};

/// Of the configuration: `[{"key":…,"image":DIGEST,"layers":NUMBER}]`, the steps from the first on.
const MEMBER: &str = "dev.dock.build.cache";

/// An image that is a cache.
#[derive(Debug)]
pub struct Inline {
    image: OpenImage,
    /// The configuration as it was before it was a cache.
    document: Map<String, Value>,
    /// Of each key the digest of the image, and how many layers it has.
    steps: BTreeMap<String, (String, usize)>,
}

/// Writes the steps into an image, which is the same whether they were in the cache or not.
pub fn put(layout: &Layout, siblings: &Siblings, keys: &[String], image: &mut Descriptor) -> anyhow::Result<()> {
    let whole = layout.open_image(image, None)?;
    let (mut steps, mut told) = (Vec::new(), HashSet::new());
    for key in cache::by_content(layout, keys) {
        let Some(pinned) = layout.pinned(&key)? else { continue };
        let step = layout.open_image(&pinned, None)?;
        let layers = step.diff_ids.len();
        if layers > 0 && whole.diff_ids.starts_with(&step.diff_ids) && told.insert(key.clone()) {
            steps.push(json!({"key": key, "image": pinned.digest, "layers": layers}));
        }
    }
    let key = Key::of(&json!(["inline", image.digest, steps]));
    let mut append = siblings.on_layout("img-append");
    append.arg("--base").arg(image.digest.to_string()).args(["--pin", key.as_str()]);
    let change = json!({MEMBER: steps, "history": []}).to_string();
    if change.len() > LONGEST_CHANGE {
        bail!("type=inline: {} steps are too many for a configuration", steps.len());
    }
    append.args(["--change-json", &change]);
    // It was made when it was made.
    if let Some(created) = whole.config["created"].as_str() {
        append.args(["--created", created]);
    }
    let Record::Image(new) = siblings::transform(&mut append, None)? else { bail!("img-append: not an image record") };
    *image = new.descriptor;
    Ok(())
}

impl Inline {
    /// None of an image that says nothing.
    pub fn of(image: OpenImage) -> Option<Self> {
        let mut document = image.config.as_object()?.clone();
        let list = document.shift_remove(MEMBER)?;
        let step = |step: &Value| {
            let layers = usize::try_from(step["layers"].as_u64()?).ok()?;
            Some((step["key"].as_str()?.to_owned(), (step["image"].as_str()?.to_owned(), layers)))
        };
        let steps = list.as_array()?.iter().filter_map(step).collect();
        Some(Self { image, document, steps })
    }

    /// The image of a step, whose configuration is that of the builder that asks.
    pub fn bring(&self, layout: &Layout, key: &Key, made: &Made<'_>) -> anyhow::Result<Descriptor> {
        let (digest, layers) = self.steps.get(key.as_str()).context("not there")?;
        let history = self.document.get("history").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let makes_layer = |(at, entry): (usize, &Value)| (entry["empty_layer"] != true).then_some(at + 1);
        let own = history.iter().enumerate().filter_map(makes_layer).nth(layers.saturating_sub(1));
        // At the end of a stage there may be lines without a layer.
        for end in own.into_iter().chain([history.len()]) {
            let config = self.config(made, *layers, &history[..end])?;
            let config = layout.put(media_type::CONFIG, &config)?;
            let below = self.image.manifest.layers.get(..*layers).context("has fewer layers")?;
            let manifest = json!({
                "schemaVersion": 2,
                "mediaType": media_type::MANIFEST,
                "config": config,
                "layers": below,
            })
            .to_string();
            if *digest == digest_of(manifest.as_bytes()).to_string() {
                let mut image = layout.put(media_type::MANIFEST, manifest.as_bytes())?;
                image.platform.clone_from(&self.image.descriptor.platform);
                return Ok(image);
            }
        }
        bail!("is not the image of this step")
    }

    fn config(&self, made: &Made<'_>, layers: usize, history: &[Value]) -> anyhow::Result<Vec<u8>> {
        let mut document = self.document.clone();
        let diff_ids = self.image.diff_ids.get(..layers).context("has fewer layers")?;
        let created = history.last().and_then(|entry| entry.get("created")).cloned().unwrap_or_default();
        document.insert("created".into(), created);
        document.insert("config".into(), made.config.clone().into());
        document.insert("rootfs".into(), json!({"type": "layers", "diff_ids": diff_ids}));
        document.insert("history".into(), history.into());
        Ok(serde_json::to_vec(&document)?)
    }
}

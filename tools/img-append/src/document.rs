//! The two documents of the new image. The base's configuration is edited as JSON, so that members which nobody
//! here knows stay in it.

use crate::layer::Added;
use anyhow::{Context, bail, ensure};
use oci_layout::{Layout, OpenImage};
use serde_json::{Map, Value, json};
use wire::{Descriptor, Platform, media_type};

/// What goes into the history and the head of the configuration.
#[derive(Debug)]
pub struct Facts {
    pub created: String,
    pub created_by: Option<String>,
    pub comment: Option<String>,
    pub author: Option<String>,
}

/// An image in the making.
#[derive(Debug)]
pub struct Draft {
    /// The `config` member: how to run it.
    pub config: Map<String, Value>,
    document: Map<String, Value>,
    layers: Vec<Descriptor>,
    diff_ids: Vec<Value>,
    history: Vec<Value>,
    /// How many layers were added to the base.
    added: usize,
}

impl Draft {
    /// No base.
    pub fn scratch(platform: Platform) -> Self {
        let mut document = Map::new();
        document.insert("created".into(), Value::Null);
        document.insert("architecture".into(), platform.architecture.into());
        if let Some(variant) = platform.variant {
            document.insert("variant".into(), variant.into());
        }
        document.insert("os".into(), platform.os.into());
        let (layers, diff_ids, history) = (Vec::new(), Vec::new(), Vec::new());
        Self { config: Map::new(), document, layers, diff_ids, history, added: 0 }
    }

    /// A base. Docker's media types become OCI's: a manifest is of one family.
    pub fn of(base: OpenImage) -> Self {
        let mut document = match base.config {
            Value::Object(document) => document,
            _ => Map::new(),
        };
        // How docker's old builder made the base is not true of what is made from it.
        document.shift_remove("container");
        document.shift_remove("container_config");
        let config = match document.get("config") {
            Some(Value::Object(config)) => config.clone(),
            _ => Map::new(),
        };
        let mut history = document.get("history").and_then(Value::as_array).cloned().unwrap_or_default();
        let told = history.iter().filter(|entry| !is_empty(entry)).count();
        // Old images tell nothing of their layers; entries and layers must match from here on.
        history.extend((told..base.diff_ids.len()).map(|_| json!({})));
        let layers = base.manifest.layers.into_iter().map(as_oci).collect();
        let diff_ids = base.diff_ids.iter().map(|digest| digest.to_string().into()).collect();
        Self { config, document, layers, diff_ids, history, added: 0 }
    }

    /// One more layer, on top.
    pub fn push_layer(&mut self, layer: Added) {
        self.layers.push(layer.descriptor);
        self.diff_ids.push(layer.diff_id.to_string().into());
        self.added += 1;
    }

    /// Writes configuration and manifest. `replacement` has members of the configuration that win over ours;
    /// its `history` is the entries of this step.
    pub fn finish(
        self,
        layout: &Layout,
        facts: &Facts,
        mut replacement: Map<String, Value>,
        annotations: &[(String, String)],
    ) -> anyhow::Result<Descriptor> {
        ensure!(!replacement.contains_key("rootfs"), "--change-json: rootfs follows from the layers");
        let entries = match replacement.shift_remove("history") {
            None => generated_entries(facts, self.added),
            Some(Value::Array(entries)) => entries,
            Some(entry @ Value::Object(_)) => vec![entry],
            Some(_) => bail!("--change-json: history is neither an entry nor a list of entries"),
        };
        let told = entries.iter().filter(|entry| !is_empty(entry)).count();
        if told != self.added {
            bail!(
                "--change-json: the history tells of {told} layers and {} were added; set empty_layer where there is none",
                self.added
            );
        }
        let mut history = self.history;
        history.extend(entries.into_iter().map(|entry| dated(entry, facts)));
        let mut document = self.document;
        document.insert("created".into(), facts.created.as_str().into());
        if let Some(author) = &facts.author {
            document.insert("author".into(), author.as_str().into());
        }
        document.insert("config".into(), self.config.into());
        for (name, value) in replacement {
            match value {
                Value::Null => drop(document.shift_remove(&name)),
                value => drop(document.insert(name, value)),
            }
        }
        ensure!(document.get("config").is_none_or(Value::is_object), "--change-json: config is no JSON object");
        document.insert("rootfs".into(), json!({"type": "layers", "diff_ids": self.diff_ids}));
        document.insert("history".into(), history.into());
        let config = layout.put(media_type::CONFIG, &serde_json::to_vec(&document)?)?;
        let mut manifest = json!({
            "schemaVersion": 2,
            "mediaType": media_type::MANIFEST,
            "config": config,
            "layers": self.layers,
        });
        for (key, value) in annotations {
            manifest["annotations"][key] = value.as_str().into();
        }
        let mut descriptor = layout.put(media_type::MANIFEST, &serde_json::to_vec(&manifest)?)?;
        descriptor.platform = platform_of(&document);
        // Read back what was written: it is an image, or nothing is named.
        layout.open_image(&descriptor, None).context("the new image")?;
        Ok(descriptor)
    }
}

fn is_empty(entry: &Value) -> bool {
    entry.get("empty_layer") == Some(&Value::Bool(true))
}

/// One entry a layer; one without a layer when there is none.
fn generated_entries(facts: &Facts, layers: usize) -> Vec<Value> {
    let mut entry = Map::new();
    entry.insert("created".into(), facts.created.as_str().into());
    let texts = [("created_by", &facts.created_by), ("author", &facts.author), ("comment", &facts.comment)];
    for (name, text) in texts {
        if let Some(text) = text {
            entry.insert(name.into(), text.as_str().into());
        }
    }
    if layers == 0 {
        entry.insert("empty_layer".into(), true.into());
    }
    vec![Value::Object(entry); layers.max(1)]
}

fn dated(entry: Value, facts: &Facts) -> Value {
    match entry {
        Value::Object(entry) if !entry.contains_key("created") => {
            let mut dated = Map::new();
            dated.insert("created".into(), facts.created.as_str().into());
            dated.extend(entry);
            Value::Object(dated)
        }
        entry => entry,
    }
}

fn as_oci(mut layer: Descriptor) -> Descriptor {
    layer.media_type = match layer.media_type.as_str() {
        media_type::DOCKER_LAYER => media_type::LAYER.into(),
        media_type::DOCKER_LAYER_GZIP => media_type::LAYER_GZIP.into(),
        "application/vnd.docker.image.rootfs.diff.tar.zstd" => media_type::LAYER_ZSTD.into(),
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip" => {
            "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip".into()
        }
        _ => layer.media_type,
    };
    layer
}

/// For the entry in the index, where readers choose by it.
fn platform_of(document: &Map<String, Value>) -> Option<Value> {
    let mut platform = Map::new();
    for name in ["architecture", "os", "variant"] {
        match document.get(name) {
            Some(Value::String(text)) if !text.is_empty() => drop(platform.insert(name.into(), text.clone().into())),
            _ if name == "variant" => {}
            _ => return None,
        }
    }
    Some(platform.into())
}

//! A file that a RUN only gives another owner or mode is in the layer whole: an overlay mount copies it first. layer-diff
//! counts such bytes; here is what to do about them.

use crate::board::lock;
use crate::builder::Builder;
use crate::cache::{self, Key};
use serde_json::{Value, json};
use wire::Record;

/// What is less is nobody's trouble.
const WORTH_A_WORD: u64 = 1 << 20;

impl Builder<'_> {
    /// A warning, and a member of the metadata.
    pub fn report_copies(&self, original: &str, copied: &Value) {
        let bytes = copied["bytes"].as_u64().unwrap_or(0);
        if bytes < WORTH_A_WORD {
            return;
        }
        let changed: Vec<&str> = copied["changed"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let what =
            if changed.is_empty() { "new attributes".to_owned() } else { format!("a new {}", changed.join(" and ")) };
        self.progress.note(&format!(
            "warning: this step copies {} in {} that are below it already, only for {} (the largest: {}): {}",
            human(bytes),
            if copied["files"] == 1 { "1 file".to_owned() } else { format!("{} files", copied["files"]) },
            // An entry of the cache may be from elsewhere.
            what.escape_debug(),
            copied["largest"].as_str().unwrap_or("…").escape_debug(),
            instead(&changed),
        ));
        let mut entry = json!({"step": original});
        if let (Some(entry), Some(copied)) = (entry.as_object_mut(), copied.as_object()) {
            entry.extend(copied.clone());
        }
        lock(&self.shared.copied).push(entry);
    }

    /// The same of a step that was taken from the cache.
    pub fn repeat_copies(&self, original: &str, key: &Key) {
        if let Some(copied) = cache::copied(&self.build.layout, key) {
            self.report_copies(original, &copied);
        }
    }
}

/// What layer-diff says of a layer.
pub fn of_layer(layer: &Record) -> Option<&Value> {
    match layer {
        Record::Layer(layer) => layer.rest.get("copied"),
        _ => None,
    }
}

/// The flag that makes the step superfluous.
fn instead(changed: &[&str]) -> String {
    let flags: Vec<&str> = [("owner", "--chown"), ("mode", "--chmod")]
        .into_iter()
        .filter(|(what, _)| changed.contains(what))
        .map(|(_, flag)| flag)
        .collect();
    match &flags[..] {
        [] => "do it in the step that makes the files".into(),
        flags => format!("COPY {} does it where they come in, or do it in the step that makes them", flags.join(" ")),
    }
}

#[expect(clippy::cast_precision_loss, reason = "one digit is shown")]
fn human(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

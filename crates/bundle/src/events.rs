//! What happened to containers, as docker's events: one JSON object a line in `$DOCK_RUN/events.json`. Who changes
//! something writes its line; nobody has to run for that. Two files of bounded size are kept.

use crate::Meta;
use serde_json::{Map, Value, json};
use std::fs::{DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Bytes after which a new file is begun; the one before is kept beside it.
const LARGEST: u64 = 1 << 20;

/// The file, and the older one.
pub fn files(run: &Path) -> [PathBuf; 2] {
    [run.join("events.json"), run.join("events.json.1")]
}

/// Makes the directory where none is yet, for its owner alone.
pub fn make_dir(run: &Path) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(run)
}

/// Writes down what happened to a container. An event that cannot be written is lost: that is no reason for the
/// container to fail.
pub fn note(run: &Path, action: &str, meta: &Meta, more: &[(&str, String)]) {
    let mut attributes: Map<String, Value> = meta.labels.clone();
    let image = meta.image.clone().unwrap_or_default();
    attributes.insert("image".into(), image.as_str().into());
    attributes.insert("name".into(), meta.name.as_str().into());
    attributes.extend(more.iter().map(|(name, value)| ((*name).to_owned(), value.as_str().into())));
    let now = jiff::Timestamp::now();
    let event = json!({
        "status": action,
        "id": meta.id,
        "from": image,
        "Type": "container",
        "Action": action,
        "Actor": { "ID": meta.id, "Attributes": attributes },
        "scope": "local",
        "time": now.as_second(),
        "timeNano": i64::try_from(now.as_nanosecond()).unwrap_or(i64::MAX),
    });
    let [file, older] = files(run);
    let _ = make_dir(run);
    if std::fs::metadata(&file).is_ok_and(|found| found.len() > LARGEST) {
        let _ = std::fs::rename(&file, older);
    }
    // One write in append mode: lines of two writers do not mix.
    let _ = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(file)
        .and_then(|mut file| file.write_all(format!("{event}\n").as_bytes()));
}

//! state: what the specification wants to be told of a container (runtime.md, "State").

use crate::store::{Container, Status, Store};
use serde_json::{Value, json};
use toolkit::Out;

#[derive(Debug, clap::Args)]
pub struct Options {
    /// ID of the container
    id: String,
}

pub fn verb(store: &Store, options: &Options, out: &mut Out) -> anyhow::Result<()> {
    let state = of(&store.find(&options.id)?);
    out.text(&format!("{state:#}\n"))
}

/// The specification's members, and those that runc adds.
pub fn of(container: &Container) -> Value {
    let state = &container.state;
    let status = container.status();
    let bundle = state.bundle.as_path();
    let config = container.config().unwrap_or_default();
    let rootfs = bundle.join(config["root"]["path"].as_str().unwrap_or("rootfs"));
    let annotations = match &config["annotations"] {
        Value::Object(members) => members.clone(),
        _ => serde_json::Map::new(),
    };
    json!({
        "ociVersion": config["ociVersion"].as_str().unwrap_or(&state.oci_version),
        "id": state.id,
        "pid": if status == Status::Stopped { 0 } else { state.pid },
        "status": status.word(),
        "bundle": bundle.to_string_lossy(),
        "rootfs": rootfs.to_string_lossy(),
        "created": state.started_at(),
        "annotations": annotations,
        "owner": owner(container),
    })
}

/// As runc: empty for root.
pub fn owner(container: &Container) -> String {
    use std::os::unix::fs::MetadataExt;
    let uid = std::fs::metadata(&container.dir).map_or(0, |found| found.uid());
    if uid == 0 { String::new() } else { uid.to_string() }
}

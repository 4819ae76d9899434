//! The object that `docker image inspect` prints: the members of docker 20.10 to 28, in docker's order.

use crate::names;
use oci_layout::{Layout, OpenImage};
use serde_json::{Map, Value, json};
use wire::{Descriptor, annotation};

/// Docker's object, without what is a matter of its storage driver. An image that was loaded or pulled has no
/// parent here, and when it was tagged nobody writes down.
pub fn object(layout: &Layout, image: &OpenImage) -> anyhow::Result<Value> {
    let (tags, digests) = names(layout, image)?;
    let member = |name: &str| image.config.get(name).cloned().unwrap_or(Value::Null);
    let text = |name: &str| image.config.get(name).and_then(Value::as_str).unwrap_or_default();
    let comment =
        image.config.get("history").and_then(Value::as_array).and_then(|steps| steps.last()?.get("comment")?.as_str());
    let size: u64 = image.manifest.layers.iter().map(|layer| layer.size).sum();
    let layers: Vec<_> = image.diff_ids.iter().map(ToString::to_string).collect();
    let mut shown = Map::new();
    let mut put = |name: &str, value: Value| drop(shown.insert(name.into(), value));
    put("Id", image.id().to_string().into());
    put("RepoTags", tags.into());
    put("RepoDigests", digests.into());
    put("Parent", "".into());
    put("Comment", Some(text("comment")).filter(|said| !said.is_empty()).or(comment).unwrap_or_default().into());
    put("Created", text("created").into());
    put("Container", text("container").into());
    put("ContainerConfig", config(&member("container_config")));
    put("DockerVersion", text("docker_version").into());
    put("Author", text("author").into());
    put("Config", config(&member("config")));
    put("Architecture", text("architecture").into());
    if !text("variant").is_empty() {
        put("Variant", text("variant").into());
    }
    put("Os", text("os").into());
    if !text("os.version").is_empty() {
        put("OsVersion", text("os.version").into());
    }
    put("Size", size.into());
    put("VirtualSize", size.into());
    put("GraphDriver", json!({"Data": null, "Name": "overlay2"}));
    put("RootFS", json!({"Type": "layers", "Layers": layers}));
    put("Metadata", json!({"LastTagTime": "0001-01-01T00:00:00Z"}));
    put("Descriptor", serde_json::to_value(without_name(&image.descriptor))?);
    Ok(shown.into())
}

/// Docker's `container.Config`: every member that it always prints, those that it leaves out when they are
/// empty, and none of what else an image may carry there.
fn config(given: &Value) -> Value {
    // What is printed also when it is empty, with what is printed then; and what is not.
    let always = |name: &str| match name {
        "AttachStdin" | "AttachStdout" | "AttachStderr" | "Tty" | "OpenStdin" | "StdinOnce" => Some(false.into()),
        "Env" | "Cmd" | "Volumes" | "Entrypoint" | "OnBuild" | "Labels" => Some(Value::Null),
        "Hostname" | "Domainname" | "User" | "Image" | "WorkingDir" => Some("".into()),
        _ => None,
    };
    let names = [
        "Hostname",
        "Domainname",
        "User",
        "AttachStdin",
        "AttachStdout",
        "AttachStderr",
        "ExposedPorts",
        "Tty",
        "OpenStdin",
        "StdinOnce",
        "Env",
        "Cmd",
        "Healthcheck",
        "ArgsEscaped",
        "Image",
        "Volumes",
        "WorkingDir",
        "Entrypoint",
        "NetworkDisabled",
        "MacAddress",
        "OnBuild",
        "Labels",
        "StopSignal",
        "StopTimeout",
        "Shell",
    ];
    let shown = |name: &str| given.get(name).filter(|value| !is_empty(value)).cloned().or_else(|| always(name));
    names.into_iter().filter_map(|name| Some((name.to_owned(), shown(name)?))).collect::<Map<_, _>>().into()
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}

fn without_name(descriptor: &Descriptor) -> Descriptor {
    let mut descriptor = descriptor.clone();
    descriptor.annotations.shift_remove(annotation::REF_NAME);
    descriptor
}

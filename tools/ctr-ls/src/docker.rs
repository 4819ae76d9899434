//! The object that docker inspect prints: its members, its order, its words for nothing.

use crate::{host, status};
use bundle::Found;
use serde_json::{Map, Value, json};
use std::path::Path;
use wire::Status;

/// What docker writes for a time that has not come.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// With `sizes`, the bytes that it has written and those of all it sees.
pub fn object(found: &Found, sizes: bool) -> anyhow::Result<Value> {
    let config = bundle::read_config(&found.dir)?;
    let image = bundle::read_image_config(&found.dir)?;
    let record = bundle::load(&found.dir)?;
    let meta = &found.meta;
    let label = |text: &Value| text.as_str().unwrap_or_default().to_owned();
    let mut object = json!({
        "Id": meta.id,
        "Created": meta.created,
        "Path": meta.command.first().map_or("", String::as_str),
        "Args": meta.command.get(1..).unwrap_or_default(),
        "State": state(found),
        "Image": meta.image_id.as_deref().unwrap_or_default(),
        "ResolvConfPath": file_at(&config, "/etc/resolv.conf"),
        "HostnamePath": file_at(&config, "/etc/hostname"),
        "HostsPath": file_at(&config, "/etc/hosts"),
        "LogPath": found.dir.join("log.json").to_string_lossy(),
        "Name": format!("/{}", meta.name),
        "RestartCount": restart_count(found),
        "Driver": "overlay2",
        "Platform": "linux",
        "MountLabel": label(&config["linux"]["mountLabel"]),
        "ProcessLabel": label(&config["process"]["selinuxLabel"]),
        "AppArmorProfile": label(&config["process"]["apparmorProfile"]),
        "ExecIDs": null,
        "HostConfig": host::config(found, &config)?,
        "GraphDriver": graph_driver(&found.dir, &record),
        "Mounts": mounts(meta),
        "Config": made_as(found, &config, &image),
        "NetworkSettings": network(found, &config),
    });
    if sizes {
        let (written, seen) = crate::size::of(&found.dir)?;
        object["SizeRw"] = written.into();
        object["SizeRootFs"] = seen.into();
    }
    Ok(object)
}

fn state(found: &Found) -> Value {
    let is = |status| found.status == status;
    let mut state = json!({
        "Status": crate::status::word(found.status),
        "Running": is(Status::Running) || is(Status::Paused) || is(Status::Restarting),
        "Paused": is(Status::Paused),
        "Restarting": is(Status::Restarting),
        "OOMKilled": found.exit.as_ref().is_some_and(|exit| exit.oom_killed),
        "Dead": is(Status::Dead),
        "Pid": found.started.as_ref().map_or(0, |started| started.pid),
        "ExitCode": match (&found.exit, found.status) {
            (Some(exit), _) => exit.exit_code,
            // Nobody saw how it ended.
            (None, Status::Exited) => 255,
            (None, _) => 0,
        },
        "Error": found.exit.as_ref().and_then(|exit| exit.rest.get("error")?.as_str()).unwrap_or_default(),
        "StartedAt": found.started_at().unwrap_or(NEVER),
        "FinishedAt": found.exit.as_ref().filter(|_| !is(Status::Created)).map_or(NEVER, |exit| &exit.finished_at),
    });
    if let Some(health) = health(found) {
        state["Health"] = health;
    }
    state
}

/// Of one that nobody keeps any more, as its last end has it.
fn restart_count(found: &Found) -> u64 {
    let at_end = || found.exit.as_ref()?.rest.get("restartCount")?.as_u64();
    found.keeper.as_ref().map_or_else(|| at_end().unwrap_or(0), |keeper| keeper.restart_count)
}

fn health(found: &Found) -> Option<Value> {
    serde_json::to_value(status::health(found)?).ok()
}

/// Where a file of the container's own identity lies on the host.
fn file_at(config: &Value, destination: &str) -> String {
    let mut mounts = config["mounts"].as_array().into_iter().flatten();
    let mount = mounts.find(|mount| mount["destination"] == destination);
    mount.and_then(|mount| mount["source"].as_str()).unwrap_or_default().into()
}

fn graph_driver(dir: &Path, record: &wire::Bundle) -> Value {
    let Some(overlay) = &record.overlay else { return json!({ "Data": null, "Name": "vfs" }) };
    let shown = |path: &Path| path.to_string_lossy().into_owned();
    let lower: Vec<String> = overlay.lower.iter().map(|layer| shown(layer.as_path())).collect();
    json!({
        "Data": {
            "LowerDir": lower.join(":"),
            "MergedDir": shown(&dir.join("rootfs")),
            "UpperDir": shown(overlay.upper.as_path()),
            "WorkDir": shown(overlay.work.as_path()),
        },
        "Name": "overlay2",
    })
}

/// Mount points, as ctr-spec noted them.
fn mounts(meta: &bundle::Meta) -> Vec<Value> {
    let points = meta.rest.get("mounts").and_then(Value::as_array).into_iter().flatten();
    points.map(|point| host::in_dockers_names(point, &[])).collect()
}

/// Config: what it was made as, which is the image's where no option said otherwise.
fn made_as(found: &Found, config: &Value, image: &Value) -> Value {
    let rest = &found.meta.rest;
    let noted = |name: &str| rest.get("config").map_or(&Value::Null, |noted| &noted[name]);
    let of_image = |name: &str| &image["config"][name];
    let either = |name: &str, in_image: &str| match noted(name) {
        Value::Null if rest.contains_key("config") => Value::Null,
        Value::Null => of_image(in_image).clone(),
        known => known.clone(),
    };
    let text = |value: Value| if value.is_string() { value } else { "".into() };
    let is = |name: &str| rest.get(name).is_some_and(|value| value == true);
    let mut object = json!({
        "Hostname": text(config["hostname"].clone()),
        "Domainname": text(config["domainname"].clone()),
        "User": text(either("user", "User")),
        "AttachStdin": is("openStdin"),
        "AttachStdout": true,
        "AttachStderr": true,
    });
    let mut put = |name: &str, value: Value| object[name] = value;
    let exposed = either("exposedPorts", "ExposedPorts");
    if exposed.is_object() {
        put("ExposedPorts", exposed);
    }
    put("Tty", config["process"]["terminal"].clone());
    put("OpenStdin", is("openStdin").into());
    put("StdinOnce", is("openStdin").into());
    put("Env", if noted("env").is_array() { noted("env").clone() } else { config["process"]["env"].clone() });
    put("Cmd", either("cmd", "Cmd"));
    if let Some(check) = rest.get("healthcheck").filter(|check| check.is_object()) {
        put("Healthcheck", check.clone());
    }
    put("Image", found.meta.image.as_deref().unwrap_or_default().into());
    put("Volumes", either("volumes", "Volumes"));
    put("WorkingDir", config["process"]["cwd"].as_str().filter(|dir| *dir != "/").unwrap_or_default().into());
    // An empty one takes away the image's.
    put("Entrypoint", Some(either("entrypoint", "Entrypoint")).filter(|words| *words != json!([""])).into());
    put("OnBuild", of_image("OnBuild").clone());
    put("Labels", found.meta.labels.clone().into());
    for (name, docker) in [("stopSignal", "StopSignal"), ("stopTimeout", "StopTimeout")] {
        let value = rest.get(name).unwrap_or(of_image(docker));
        if !value.is_null() {
            put(docker, value.clone());
        }
    }
    object
}

/// Docker's object of a container without an address.
fn network(found: &Found, config: &Value) -> Value {
    let mode = host::network_mode(found, config);
    let mut networks = Map::new();
    if !mode.starts_with("container:") {
        networks.insert(
            mode,
            json!({
                "IPAMConfig": null, "Links": null, "Aliases": null, "NetworkID": "", "EndpointID": "", "Gateway": "",
                "IPAddress": "", "IPPrefixLen": 0, "IPv6Gateway": "", "GlobalIPv6Address": "", "GlobalIPv6PrefixLen": 0,
                "MacAddress": "", "DriverOpts": null,
            }),
        );
    }
    let key = found.started.as_ref().map_or_else(String::new, |started| bundle::join::path(started.pid, "network"));
    json!({
        "Bridge": "", "SandboxID": "", "HairpinMode": false, "LinkLocalIPv6Address": "", "LinkLocalIPv6PrefixLen": 0,
        "Ports": {}, "SandboxKey": key, "SecondaryIPAddresses": null, "SecondaryIPv6Addresses": null, "EndpointID": "",
        "Gateway": "", "GlobalIPv6Address": "", "GlobalIPv6PrefixLen": 0, "IPAddress": "", "IPPrefixLen": 0,
        "IPv6Gateway": "", "MacAddress": "", "Networks": networks,
    })
}

//! The object that docker inspect prints, as far as it is known here.

use bundle::Found;
use serde_json::{Value, json};
use wire::Status;

/// What docker writes for a time that has not come.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// With `sizes`, the bytes that it has written and those of all it sees.
pub fn object(found: &Found, sizes: bool) -> anyhow::Result<Value> {
    let config = bundle::read_config(&found.dir)?;
    let image = bundle::read_image_config(&found.dir)?;
    let (meta, process) = (&found.meta, &config["process"]);
    let user = &process["user"];
    let mut object = json!({
        "Id": meta.id,
        "Created": meta.created,
        "Path": meta.command.first(),
        "Args": meta.command.get(1..).unwrap_or_default(),
        "State": state(found),
        "Image": meta.image_id,
        "ResolvConfPath": found.dir.join("resolv.conf").to_string_lossy(),
        "HostnamePath": found.dir.join("hostname").to_string_lossy(),
        "HostsPath": found.dir.join("hosts").to_string_lossy(),
        "Name": format!("/{}", meta.name),
        "RestartCount": 0,
        "Driver": "overlay2",
        "Platform": "linux",
        "HostConfig": host_config(&config),
        "Mounts": mounts(&config),
        "Config": {
            "Hostname": config["hostname"],
            "User": format!("{}:{}", user["uid"], user["gid"]),
            "Tty": process["terminal"],
            "Env": process["env"],
            "Cmd": image["config"]["Cmd"],
            "Image": meta.image,
            "WorkingDir": process["cwd"],
            "Entrypoint": image["config"]["Entrypoint"],
            "Labels": meta.labels,
        },
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
    json!({
        "Status": crate::status::word(found.status),
        "Running": is(Status::Running) || is(Status::Paused),
        "Paused": is(Status::Paused),
        "Restarting": is(Status::Restarting),
        "OOMKilled": found.exit.as_ref().is_some_and(|exit| exit.oom_killed),
        "Dead": is(Status::Dead),
        "Pid": found.started.as_ref().map_or(0, |started| started.pid),
        "ExitCode": found.exit.as_ref().map_or(0, |exit| exit.exit_code),
        "Error": "",
        "StartedAt": found.started_at().unwrap_or(NEVER),
        "FinishedAt": found.exit.as_ref().map_or(NEVER, |exit| &exit.finished_at),
    })
}

fn host_config(config: &Value) -> Value {
    let resources = &config["linux"]["resources"];
    let namespaces = config["linux"]["namespaces"].as_array();
    let own = |kind: &str| namespaces.is_some_and(|list| list.iter().any(|namespace| namespace["type"] == kind));
    json!({
        "NetworkMode": if own("network") { "none" } else { "host" },
        "PidMode": if own("pid") { "" } else { "host" },
        "ReadonlyRootfs": config["root"]["readonly"],
        "Memory": resources["memory"]["limit"].as_i64().unwrap_or(0),
        "MemorySwap": resources["memory"]["swap"].as_i64().unwrap_or(0),
        "CpuShares": resources["cpu"]["shares"].as_u64().unwrap_or(0),
        "CpuPeriod": resources["cpu"]["period"].as_u64().unwrap_or(0),
        "CpuQuota": resources["cpu"]["quota"].as_i64().unwrap_or(0),
        "CpusetCpus": resources["cpu"]["cpus"].as_str().unwrap_or_default(),
        "PidsLimit": resources["pids"]["limit"],
        "MaskedPaths": config["linux"]["maskedPaths"],
        "ReadonlyPaths": config["linux"]["readonlyPaths"],
    })
}

/// Binds and volumes; not the files of the container's own identity.
fn mounts(config: &Value) -> Vec<Value> {
    let own = ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf"];
    let all = config["mounts"].as_array().into_iter().flatten();
    let shown = all.filter(|mount| {
        mount["type"] == "bind" && !mount["destination"].as_str().is_some_and(|path| own.contains(&path))
    });
    shown
        .map(|mount| {
            let has = |word: &str| mount["options"].as_array().is_some_and(|list| list.iter().any(|o| o == word));
            let source = mount["source"].as_str().unwrap_or_default();
            let mut parts = source.rsplit('/');
            let name = parts.next().filter(|last| *last == "_data").and(parts.next());
            json!({
                "Type": if name.is_some() { "volume" } else { "bind" },
                "Name": name,
                "Source": source,
                "Destination": mount["destination"],
                "RW": !has("ro"),
            })
        })
        .collect()
}

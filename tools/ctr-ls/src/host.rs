//! `HostConfig` of docker inspect: docker's defaults, over them what `config.json` holds, over that what ctr-spec
//! noted of the options themselves.

use bundle::Found;
use serde_json::{Map, Value, json};

/// Names that are not just ours with a capital letter.
const NAMES: [(&str, &str); 2] = [("utsMode", "UTSMode"), ("rw", "RW")];
/// Objects whose names are the user's.
const MAPS: [&str; 6] = ["sysctls", "tmpfs", "annotations", "labels", "config", "storageOpt"];

pub fn config(found: &Found, config: &Value) -> anyhow::Result<Value> {
    // Docker's object when no option is given, in docker's order: of docker 20.10.24.
    let mut host: Value = serde_json::from_str(include_str!("../data/hostconfig.json"))?;
    let resources = &config["linux"]["resources"];
    let rest = &found.meta.rest;
    let mut put = |name: &str, value: &Value| {
        if !value.is_null() {
            host[name] = value.clone();
        }
    };
    put("NetworkMode", &network_mode(found, config).into());
    for (kind, name) in [("pid", "PidMode"), ("ipc", "IpcMode"), ("uts", "UTSMode"), ("cgroup", "CgroupnsMode")] {
        if !has(config, kind) {
            put(name, &"host".into());
        }
    }
    put("OomScoreAdj", &config["process"]["oomScoreAdj"]);
    put("ReadonlyRootfs", &config["root"]["readonly"]);
    let (cpu, memory) = (&resources["cpu"], &resources["memory"]);
    put("CpuShares", &cpu["shares"]);
    // Docker's --cpus is a quota to the kernel and a number of its own here.
    if rest.get("hostConfig").is_none_or(|noted| noted["nanoCpus"].is_null()) {
        put("CpuPeriod", &cpu["period"]);
        put("CpuQuota", &cpu["quota"]);
    }
    for (member, name) in [
        ("realtimePeriod", "CpuRealtimePeriod"),
        ("realtimeRuntime", "CpuRealtimeRuntime"),
        ("cpus", "CpusetCpus"),
        ("mems", "CpusetMems"),
    ] {
        put(name, &cpu[member]);
    }
    for (member, name) in [
        ("limit", "Memory"),
        ("reservation", "MemoryReservation"),
        ("swap", "MemorySwap"),
        ("swappiness", "MemorySwappiness"),
        ("disableOOMKiller", "OomKillDisable"),
    ] {
        put(name, &memory[member]);
    }
    put("PidsLimit", &resources["pids"]["limit"]);
    put("BlkioWeight", &resources["blockIO"]["weight"]);
    put("Ulimits", &ulimits(config));
    put("MaskedPaths", &config["linux"]["maskedPaths"]);
    put("ReadonlyPaths", &config["linux"]["readonlyPaths"]);
    put("AutoRemove", rest.get("autoRemove").unwrap_or(&Value::Null));
    for (name, docker) in [("restart", "RestartPolicy"), ("logConfig", "LogConfig")] {
        if let Some(value) = rest.get(name) {
            put(docker, &in_dockers_names(value, &MAPS));
        }
    }
    if let Some(noted) = rest.get("hostConfig").map(|noted| in_dockers_names(noted, &MAPS)) {
        noted.as_object().into_iter().flatten().for_each(|(name, value)| put(name, value));
    }
    Ok(host)
}

/// `none`, `host`, or `container:ID`.
pub fn network_mode(found: &Found, config: &Value) -> String {
    let noted = found.meta.rest.get("hostConfig").and_then(|noted| noted["networkMode"].as_str());
    noted.unwrap_or(if has(config, "network") { "none" } else { "host" }).into()
}

fn has(config: &Value, kind: &str) -> bool {
    let list = config["linux"]["namespaces"].as_array();
    list.is_some_and(|list| list.iter().any(|namespace| namespace["type"] == kind))
}

fn ulimits(config: &Value) -> Value {
    let limits = config["process"]["rlimits"].as_array().into_iter().flatten();
    let number = |value: &Value| match value.as_u64() {
        Some(u64::MAX) => json!(-1),
        _ => value.clone(),
    };
    let shown = limits.map(|limit| {
        let name = limit["type"].as_str().unwrap_or_default().trim_start_matches("RLIMIT_").to_ascii_lowercase();
        json!({ "Name": name, "Hard": number(&limit["hard"]), "Soft": number(&limit["soft"]) })
    });
    shown.collect()
}

/// lowerCamelCase becomes docker's, but in `maps`, whose names are the user's own.
pub fn in_dockers_names(value: &Value, maps: &[&str]) -> Value {
    match value {
        Value::Array(list) => list.iter().map(|value| in_dockers_names(value, maps)).collect(),
        Value::Object(members) => {
            let renamed = members.iter().map(|(name, value)| {
                let value = if maps.contains(&name.as_str()) { value.clone() } else { in_dockers_names(value, maps) };
                (dockers_name(name), value)
            });
            Value::Object(renamed.collect::<Map<_, _>>())
        }
        other => other.clone(),
    }
}

fn dockers_name(name: &str) -> String {
    if let Some((_, docker)) = NAMES.iter().find(|(ours, _)| *ours == name) {
        return (*docker).into();
    }
    let mut letters = name.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}

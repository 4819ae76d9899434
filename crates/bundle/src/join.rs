//! Namespaces of another container. Its process is another one after each start, so a container keeps the other's
//! ID, and the namespace is looked up when it is wanted.

use crate::{Containers, Error, Meta, Result};
use serde_json::Value;
use std::fs::File;
use std::os::fd::AsRawFd;

/// Docker's members of hostConfig, and the namespace that each is about.
const MODES: [(&str, &str); 3] = [("networkMode", "network"), ("pidMode", "pid"), ("ipcMode", "ipc")];

/// `shm_overview(7)`.
const SHARED_MEMORY: &str = "/dev/shm";

/// Where the kernel shows a namespace of a process, `namespaces(7)`. `kind` is the word of runtime-spec.
pub fn path(pid: i32, kind: &str) -> String {
    let name = match kind {
        "network" => "net",
        "mount" => "mnt",
        other => other,
    };
    format!("/proc/{pid}/ns/{name}")
}

/// Gives the namespaces that `container:ID` asks for the path of a descriptor of this process, which stays valid
/// as long as the descriptors do that are returned. A process ID may be another process's by now: the namespace is
/// opened first, and then the process must still be the one that was recorded.
pub fn resolve(config: &mut Value, of: &Meta, containers: &Containers) -> Result<Vec<File>> {
    let mut held = Vec::new();
    let Some(host) = of.rest.get("hostConfig").and_then(Value::as_object) else { return Ok(held) };
    for (member, kind) in MODES {
        let mode = host.get(member).and_then(Value::as_str).unwrap_or_default();
        let Some(id) = mode.strip_prefix("container:") else { continue };
        let found = containers.find(id)?;
        let stopped = || Error::NotRunning(found.meta.id.clone());
        let started = found.started.as_ref().ok_or_else(stopped)?;
        let path = path(started.pid, kind);
        let file = File::open(&path).map_err(|cause| Error::Io(path.into(), cause))?;
        let user = path_without_root(started.pid);
        let user = user.map(|path| File::open(&path).map_err(|cause| Error::Io(path.into(), cause))).transpose()?;
        if !started.lives() {
            return Err(stopped());
        }
        if let Some(user) = user.filter(|_| held.is_empty()) {
            join_user_namespace(config, &user);
            held.push(user);
        }
        let list = config["linux"]["namespaces"].as_array_mut().into_iter().flatten();
        for namespace in list.filter(|namespace| namespace["type"] == kind) {
            namespace["path"] = format!("/proc/self/fd/{}", file.as_raw_fd()).into();
        }
        held.push(file);
        if kind == "ipc" {
            held.push(share_memory(config, started.pid, &found.meta)?);
            if !started.lives() {
                return Err(stopped());
            }
        }
    }
    Ok(held)
}

/// The user namespace of a process, which an ordinary user has to enter: all its other namespaces belong to that.
fn path_without_root(pid: i32) -> Option<String> {
    (!rustix::process::geteuid().is_root()).then(|| path(pid, "user"))
}

fn join_user_namespace(config: &mut Value, file: &File) {
    if let Some(list) = config["linux"]["namespaces"].as_array_mut() {
        list.retain(|namespace| namespace["type"] != "user");
        list.push(serde_json::json!({ "type": "user", "path": format!("/proc/self/fd/{}", file.as_raw_fd()) }));
    }
}

/// With the namespace goes `/dev/shm`: it is where POSIX keeps what the namespace does not know. It is in the other's
/// mount namespace, which the mount here names as a member that is in no file, `mountNamespace`.
fn share_memory(config: &mut Value, pid: i32, donor: &Meta) -> Result<File> {
    let mode = donor.rest.get("hostConfig").and_then(|host| host["ipcMode"].as_str()).unwrap_or_default();
    if !matches!(mode, "shareable" | "host") && !mode.starts_with("container:") {
        return Err(Error::NotShareable(donor.id.clone()));
    }
    let path = path(pid, "mount");
    let namespace = File::open(&path).map_err(|cause| Error::Io(path.into(), cause))?;
    let mounts = config["mounts"].as_array_mut().into_iter().flatten();
    for mount in mounts.filter(|mount| mount["destination"] == SHARED_MEMORY && mount["type"] == "bind") {
        mount["source"] = SHARED_MEMORY.into();
        mount["mountNamespace"] = format!("/proc/self/fd/{}", namespace.as_raw_fd()).into();
    }
    Ok(namespace)
}

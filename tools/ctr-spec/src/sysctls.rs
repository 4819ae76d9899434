//! Kernel parameters of the container's own namespaces: what `--sysctl` sets, and what docker sets by itself.

use crate::flag;
use rustix::fs::{StatVfsMountFlags, statvfs};
use serde_json::{Map, Value};

/// Docker's for a new network namespace: who is not root may listen on every port, and send pings (icmp(7)).
const PORTS: (&str, &str) = ("net.ipv4.ip_unprivileged_port_start", "0");
const PING: (&str, &str) = ("net.ipv4.ping_group_range", "0 2147483647");

pub fn set(config: &mut Value, host: &mut Map<String, Value>, wishes: &[String]) -> anyhow::Result<()> {
    let own = |kind: &str| namespaces(config).iter().any(|namespace| namespace["type"] == kind);
    let (own_network, own_ipc) = (own("network"), own("ipc"));
    let mut all = config["linux"].get("sysctl").and_then(Value::as_object).cloned().unwrap_or_default();
    set_usual(config, &mut all)?;
    let mut shown = Map::new();
    for setting in wishes {
        let not_allowed = || flag::refused("--sysctl", setting, format!("sysctl '{setting}' is not allowed"));
        let (name, value) = setting.split_once('=').ok_or_else(not_allowed)?;
        if !is_namespaced(name, own_network, own_ipc) {
            return Err(not_allowed());
        }
        all.insert(name.into(), value.into());
        shown.insert(name.into(), value.into());
    }
    if !shown.is_empty() {
        host.insert("sysctls".into(), shown.into());
    }
    if !all.is_empty() {
        config["linux"]["sysctl"] = all.into();
    } else if let Some(linux) = config["linux"].as_object_mut() {
        linux.shift_remove("sysctl");
    }
    Ok(())
}

fn namespaces(config: &Value) -> &[Value] {
    config["linux"]["namespaces"].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Sets the usual ones that are not set yet. A network of others keeps its own.
fn set_usual(config: &Value, all: &mut Map<String, Value>) -> anyhow::Result<()> {
    let new_network = namespaces(config).iter().any(|one| one["type"] == "network" && one["path"].is_null());
    if !new_network {
        all.retain(|name, value| [PORTS, PING].iter().all(|usual| name != usual.0 || value != usual.1));
        return Ok(());
    }
    // The kernel refuses a range with groups that a user namespace does not have.
    let every_group = rustix::process::geteuid().is_root()
        && subids::Mapping::of_process()?.is_everything()
        && namespaces(config).iter().all(|one| one["type"] != "user");
    for (name, value) in [Some(PORTS), Some(PING).filter(|_| every_group)].into_iter().flatten() {
        if !all.contains_key(name) && can_be_written(name) {
            all.insert(name.into(), value.into());
        }
    }
    Ok(())
}

/// Whether the kernel has it; inside of another container `/proc/sys` is often there to be read only.
fn can_be_written(name: &str) -> bool {
    let found = statvfs(format!("/proc/sys/{}", name.replace('.', "/")));
    found.is_ok_and(|found| !found.f_flag.contains(StatVfsMountFlags::RDONLY))
}

/// Kernel parameters that belong to an IPC or network namespace, by exact grammar: anything else, or a name
/// that hides a second one (CVE-2022-0811), would change the host.
fn is_namespaced(name: &str, own_network: bool, own_ipc: bool) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    let ipc = ["msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced"];
    let of_ipc = name.strip_prefix("kernel.").is_some_and(|rest| ipc.contains(&rest)) || name.starts_with("fs.mqueue.");
    name.bytes().all(plain)
        && !name.split('.').any(str::is_empty)
        && (own_ipc && of_ipc || own_network && name.starts_with("net."))
}

#[cfg(test)]
mod tests {
    #[test]
    fn cve_2022_0811_only_namespaced_parameters() {
        for (name, own_network, own_ipc, want) in [
            ("net.ipv4.ip_forward", true, true, true),
            ("net.ipv4.ip_forward", false, true, false),
            ("kernel.shmmax", false, true, true),
            ("kernel.shmmax", true, false, false),
            ("fs.mqueue.msg_max", true, true, true),
            ("kernel.core_pattern", true, true, false),
            ("kernel.shmmax+kernel.core_pattern", true, true, false),
            ("net.ipv4/../../kernel.core_pattern", true, true, false),
            ("net..x", true, true, false),
            ("vm.swappiness", true, true, false),
            ("", true, true, false),
        ] {
            assert_eq!(super::is_namespaced(name, own_network, own_ipc), want, "{name:?}");
        }
    }
}

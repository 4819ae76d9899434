//! Device nodes, and the list of those that may be used.

use super::facts::Facts;
use anyhow::bail;
use linux_sandbox::{Device, DeviceKind, DeviceRule, Devices, Limit, Resources};
use std::path::Path;

/// What every container has, and what the configuration adds.
pub(super) fn devices(facts: &Facts) -> anyhow::Result<Devices> {
    let usual = [("null", 3), ("zero", 5), ("full", 7), ("random", 8), ("urandom", 9)];
    let usual = usual.into_iter().map(|(name, minor)| (name, 1, minor)).chain([("tty", 5, 0)]);
    let mut nodes: Vec<Device> = usual
        .map(|(name, major, minor)| Device {
            path: Path::new("/dev").join(name),
            kind: DeviceKind::Char,
            major,
            minor,
            mode: 0o666,
            uid: 0,
            gid: 0,
        })
        .collect();
    for device in &facts.config.linux.devices {
        let kind = match device.kind.as_str() {
            "c" | "u" => DeviceKind::Char,
            "b" => DeviceKind::Block,
            "p" => DeviceKind::Fifo,
            other => bail!("config.json: linux.devices: {}: type {other:?}: not c, b or p", device.path.display()),
        };
        nodes.retain(|node| node.path != device.path);
        nodes.push(Device {
            path: device.path.clone(),
            kind,
            major: device.major,
            minor: device.minor,
            mode: device.file_mode.unwrap_or(0o666) & 0o7777,
            uid: device.uid.unwrap_or(0),
            gid: device.gid.unwrap_or(0),
        });
    }
    let links = [
        ("/dev/fd", "/proc/self/fd"),
        ("/dev/stdin", "/proc/self/fd/0"),
        ("/dev/stdout", "/proc/self/fd/1"),
        ("/dev/stderr", "/proc/self/fd/2"),
        ("/dev/ptmx", "pts/ptmx"),
    ];
    let links = links.map(|(path, to)| (path.into(), to.into())).to_vec();
    Ok(Devices { nodes, links, bind: facts.in_user_namespace() })
}

/// The list of devices needs a cgroup of its own only where the process could make nodes (the root file
/// system is mounted nodev) or where a node that it gets shall be good for less than reading and writing.
pub(super) fn device_limit(facts: &Facts, resources: &Resources) -> Option<Limit> {
    let makes_nodes = facts.process.capabilities.as_ref().is_some_and(|caps| {
        caps.bounding
            .iter()
            .any(|name| linux_sandbox::capability_number(name) == linux_sandbox::capability_number("MKNOD"))
    });
    let adds_devices = !facts.config.linux.devices.is_empty();
    if resources.devices.is_empty() || facts.rootless || !(makes_nodes || adds_devices) || allows_every_device(facts) {
        return None;
    }
    let mut rules: Vec<(bool, String)> = resources.devices.iter().map(|rule| (rule.allow, rule_text(rule))).collect();
    // What every container has follows the refusal of everything, as in runc; what else is said comes behind.
    let behind_refusal =
        rules.iter().rposition(|(allow, rule)| !allow && rule.starts_with("a ")).map_or(0, |at| at + 1);
    rules.splice(behind_refusal..behind_refusal, OF_EVERY_CONTAINER.map(|rule| (true, rule.into())));
    Some(Limit::Devices(rules))
}

/// Nodes may be made, and those that every container has be used: null, zero, full, random, urandom, tty, ptmx and
/// terminals.
const OF_EVERY_CONTAINER: [&str; 10] = [
    "c *:* m",
    "b *:* m",
    "c 1:3 rwm",
    "c 1:5 rwm",
    "c 1:7 rwm",
    "c 1:8 rwm",
    "c 1:9 rwm",
    "c 5:0 rwm",
    "c 5:2 rwm",
    "c 136:* rwm",
];

fn rule_text(rule: &DeviceRule) -> String {
    let number = |value: Option<i64>| value.filter(|value| *value >= 0).map_or("*".into(), |value| value.to_string());
    let kind = rule.kind.as_deref().filter(|kind| !kind.is_empty()).unwrap_or("a");
    if kind == "a" {
        return "a *:* rwm".into();
    }
    format!("{kind} {}:{} {}", number(rule.major), number(rule.minor), rule.access.as_deref().unwrap_or("rwm"))
}

pub(super) fn allows_every_device(facts: &Facts) -> bool {
    device_rules(facts)
        .last()
        .is_some_and(|rule| rule.allow && rule.kind.as_deref().is_none_or(|kind| kind == "a") && rule.major.is_none())
}

fn device_rules<'a>(facts: &Facts<'a>) -> &'a [DeviceRule] {
    facts.config.linux.resources.as_ref().map_or(&[], |resources| &resources.devices)
}

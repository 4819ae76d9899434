//! namespaces(7): those that are made, those that are joined, and what holds in them: identity maps, clocks, host names,
//! network devices.

use super::facts::{Facts, is_our_own};
use super::mounts::{idmapped, lent};
use crate::config::Config;
use anyhow::bail;
use linux_sandbox::{
    BorrowedSources, Clone, Hostname, IdMap, IdRange, Join, Namespace, NetDevice, NetDevices, Place, Step,
    TimeNamespace,
};
use std::path::Path;
use wire::Bundle;

/// The process, and what must be ready before there is one.
pub(super) fn clone(bundle: &Bundle, facts: &Facts) -> anyhow::Result<Vec<Step>> {
    let linux = &facts.config.linux;
    let mut steps = Vec::new();
    let idmapped = idmapped(bundle, facts)?;
    if !idmapped.sources.is_empty() {
        steps.push(Step::IdmappedSources(idmapped));
    }
    let borrowed: Vec<_> = lent(facts.config).map(|(_, source)| source).collect();
    if !borrowed.is_empty() {
        steps.push(Step::BorrowedSources(BorrowedSources { sources: borrowed }));
    }
    if facts.has_own(Namespace::Time) {
        steps.push(Step::TimeNamespace(TimeNamespace { offsets: time_offsets(facts.config)? }));
    } else if !linux.time_offsets.is_empty() {
        bail!("config.json: linux.timeOffsets: without a time namespace of its own");
    }
    steps.extend(joins(facts).0);
    // The root of a cgroup namespace is where the process stands when it is made, and clocks are set before.
    let made_otherwise = [Namespace::Cgroup, Namespace::Time];
    steps.push(Step::Clone(Clone {
        namespaces: facts.new.iter().copied().filter(|kind| !made_otherwise.contains(kind)).collect(),
        inside: facts.joins(Namespace::User).map(Into::into),
        inside_pid: pid_by_helper(facts).map(Into::into),
    }));
    Ok(steps)
}

/// The namespaces that exist: those that the parent enters for the child, and those that it enters itself. The
/// user namespace is where it is made.
pub(super) fn joins(facts: &Facts) -> (Vec<Step>, Vec<Step>) {
    let step = |(kind, path): &(Namespace, &Path)| Step::Join(Join { namespace: *kind, path: path.to_path_buf() });
    let by_helper = |kind| kind == Namespace::User || kind == Namespace::Pid && pid_by_helper(facts).is_some();
    let joined = facts.joined.iter().filter(|(kind, _)| !by_helper(*kind)).map(step);
    joined.partition(|step| step.place() == Place::Before)
}

/// Without root the right to enter a PID namespace comes with the user namespace that it belongs to, and only the
/// helper that makes the process goes there before.
fn pid_by_helper<'a>(facts: &'a Facts) -> Option<&'a Path> {
    facts.joins(Namespace::Pid).filter(|_| facts.joins_owner())
}

/// Clocks and what is added to them.
fn time_offsets(config: &Config) -> anyhow::Result<Vec<(String, i64, u32)>> {
    let one = |(clock, offset): (&String, &crate::config::TimeOffset)| match clock.as_str() {
        "monotonic" | "boottime" => Ok((clock.clone(), offset.secs, offset.nanosecs)),
        _ => bail!("config.json: linux.timeOffsets: {clock}: want monotonic or boottime"),
    };
    config.linux.time_offsets.iter().map(one).collect()
}

/// The map of a new user namespace.
pub(super) fn id_map(facts: &Facts) -> Option<IdMap> {
    map_in_force(facts).filter(|_| facts.has_own(Namespace::User))
}

/// What the configuration says. When it says nothing, the kernel lets us map one ID without root: our own, to the
/// user that the process shall be. An ordinary user can join only his own containers, and one store has one map.
pub(super) fn map_in_force(facts: &Facts) -> Option<IdMap> {
    if !(facts.has_own(Namespace::User) || facts.joins_owner()) {
        return None;
    }
    let (linux, user) = (&facts.config.linux, &facts.process.user);
    let own = |list: &[subids::Range], id: u32| matches!(list, [one] if one.outside == id && one.count == 1);
    let single = own(&linux.uid_mappings, facts.around.uid) && own(&linux.gid_mappings, facts.around.gid);
    if !(linux.uid_mappings.is_empty() || facts.rootless && single) {
        // Whoever is in such a namespace already sees every ID as it is inside.
        let outside = |m: &subids::Range| if facts.inside { m.inside } else { m.outside };
        let ranges = |list: &[subids::Range]| {
            list.iter().map(|m| IdRange { inside: m.inside, outside: outside(m), count: m.count }).collect()
        };
        return Some(IdMap {
            users: ranges(&linux.uid_mappings),
            groups: ranges(&linux.gid_mappings),
            deny_setgroups: false,
            by_helpers: facts.around.uid != 0,
        });
    }
    let one = |inside, outside| vec![IdRange { inside, outside, count: 1 }];
    Some(IdMap {
        users: one(user.uid, facts.around.uid),
        groups: one(user.gid, facts.around.gid),
        deny_setgroups: true,
        by_helpers: false,
    })
}

pub(super) fn hostname(facts: &Facts) -> Option<Hostname> {
    let clean = |name: &Option<String>| name.clone().filter(|name| !name.is_empty());
    let (hostname, domainname) = (clean(&facts.config.hostname), clean(&facts.config.domainname));
    // docker run --uts=host leaves the name in the file; the host's own name it must not become.
    let asked = hostname.is_some() || domainname.is_some();
    (asked && facts.has_own(Namespace::Uts)).then_some(Hostname { hostname, domainname })
}

/// Devices of the host's network namespace that go to the container's.
pub(super) fn net_devices(facts: &Facts) -> anyhow::Result<Option<NetDevices>> {
    let wanted = &facts.config.linux.net_devices;
    if wanted.is_empty() {
        return Ok(None);
    }
    let is_hosts = facts.joins(Namespace::Network).is_some_and(|path| is_our_own("net", path));
    if is_hosts || !facts.is_own(Namespace::Network) {
        bail!("config.json: linux.netDevices: without a network namespace of its own");
    }
    let device = |(name, device): (&String, &crate::config::NetDevice)| {
        let inside = device.name.clone().filter(|name| !name.is_empty());
        NetDevice { name: name.clone(), inside: inside.unwrap_or_else(|| name.clone()) }
    };
    Ok(Some(NetDevices::new(wanted.iter().map(device).collect())?))
}

//! The root directory and what is mounted in it.

use super::devices::allows_every_device;
use super::facts::Facts;
use crate::config::{Config, Mount as Wanted};
use anyhow::bail;
use linux_sandbox::{
    Attributes, Bind, BorrowedSource, CgroupMounts, Filesystem, Held, IdRange, IdmappedSource, IdmappedSources, Mount,
    Namespace, OverlayRoot, Pivot, Propagation, Step, TreeRoot,
};
use std::path::Path;
use wire::Bundle;

pub(super) fn root(bundle: &Bundle, facts: &Facts) -> Step {
    let path = bundle.path.as_path().join(&facts.config.root.path);
    // A device node that an image brings along opens nothing, unless every device is allowed anyhow.
    let attributes = if allows_every_device(facts) { Attributes::default() } else { Attributes::NODEV };
    match &bundle.overlay {
        None => Step::TreeRoot(TreeRoot { path, attributes }),
        Some(overlay) => Step::OverlayRoot(OverlayRoot {
            lower: overlay.lower.iter().map(|layer| layer.0.clone()).collect(),
            upper: overlay.upper.0.clone(),
            work: overlay.work.0.clone(),
            target: path,
            userxattr: overlay.userxattr,
            context: facts.config.linux.mount_label.clone().filter(|label| !label.is_empty()),
            attributes,
        }),
    }
}

pub(super) fn mount_step(
    mount: &Wanted,
    bundle: &Bundle,
    facts: &Facts,
    trees: &[(String, std::path::PathBuf)],
) -> anyhow::Result<Option<Step>> {
    let target = mount.destination.clone();
    let parsed = Mount::parse(mount.options.iter().map(String::as_str));
    let kind = mount.kind.as_deref().unwrap_or(if parsed.bind { "bind" } else { "" });
    let source = mount.source.clone().unwrap_or_else(|| kind.into());
    if mount_hides_proc(&target, kind) {
        bail!("config.json: mounts: {}: only a proc file system may stand there", target.display());
    }
    let of_host = of_host(kind, facts).map(Path::new);
    if of_host.is_some_and(|place| !place.exists()) {
        return Ok(None);
    }
    if parsed.bind || kind == "bind" || of_host.is_some() {
        let source = of_host.map_or_else(|| bundle.path.as_path().join(source), Path::to_owned);
        return Ok(Some(Step::Bind(Bind {
            held: if facts.in_user_namespace() { Held::of(&source) } else { None },
            source,
            target,
            // In a user namespace a mount must keep what the host has mounted below it.
            recursive: parsed.recursive || facts.in_user_namespace(),
            attributes: parsed.attributes,
            recursive_attributes: parsed.recursive_attributes,
            recursive_clear: parsed.recursive_clear,
            propagation: parsed.propagation.filter(|kind| *kind != Propagation::Private),
            idmapped: maps_owners(mount)
                .then(|| facts.config.mounts.iter().filter(|m| maps_owners(m)).position(|m| std::ptr::eq(m, mount)))
                .flatten(),
            borrowed: lent(facts.config).position(|(m, _)| std::ptr::eq(m, mount)),
        })));
    }
    if kind == "cgroup" || kind == "cgroup2" {
        let unified = rustix::fs::statfs("/sys/fs/cgroup").is_ok_and(|found| found.f_type == CGROUP2);
        return Ok(Some(Step::CgroupMounts(CgroupMounts {
            target,
            unified,
            trees: trees.to_vec(),
            attributes: parsed.attributes,
        })));
    }
    let known = |option: &String| match option.strip_prefix("gid=") {
        Some(gid) if kind == "devpts" => gid.parse().is_ok_and(|gid| facts.has_group(gid)),
        _ => true,
    };
    // The kernel labels what it makes up itself, and a queue's file system is there before it is mounted.
    let label = facts.config.linux.mount_label.as_ref().filter(|label| !label.is_empty());
    let label = label.filter(|_| !matches!(kind, "proc" | "sysfs" | "mqueue"));
    let label = label.map(|label| format!("context={label}"));
    Ok(Some(Step::Filesystem(Filesystem {
        kind: kind.into(),
        source: source.to_string_lossy().into_owned(),
        target,
        options: parsed.options.into_iter().filter(known).chain(label).collect(),
        attributes: parsed.attributes.and(parsed.recursive_attributes),
        copy_up: parsed.copy_up,
    })))
}

/// Where the host has a file system that shows a namespace. A new one is for who owns the namespace: a container in a
/// user namespace that shares the host's gets the host's, with the options that it was to have.
fn of_host(kind: &str, facts: &Facts) -> Option<&'static str> {
    let (place, namespace) = match kind {
        "proc" => ("/proc", Namespace::Pid),
        "mqueue" => ("/dev/mqueue", Namespace::Ipc),
        "sysfs" => ("/sys", Namespace::Network),
        _ => return None,
    };
    // One that root joins may belong to any user namespace.
    let with_its_owner = facts.joins_owner() || kind != "sysfs";
    let owns = facts.has_own(namespace) || facts.is_own(namespace) && with_its_owner;
    (facts.in_user_namespace() && !owns).then_some(place)
}

/// `f_type` of cgroup2.
const CGROUP2: i64 = 0x6367_7270;

/// A volume on /proc would let the container write its own answers (CVE-2019-16884).
fn mount_hides_proc(target: &Path, kind: &str) -> bool {
    let at: std::path::PathBuf = target.components().collect();
    at == Path::new("/proc") && kind != "proc"
}

/// Mounts whose source is in another container's mount namespace, in their order.
pub(super) fn lent(config: &Config) -> impl Iterator<Item = (&Wanted, BorrowedSource)> {
    config.mounts.iter().filter_map(|mount| {
        let namespace = mount.lender.clone()?;
        Some((mount, BorrowedSource { namespace, path: mount.source.clone()? }))
    })
}

/// A mount whose owners are mapped: by its own maps, or with `idmap` by those of the container.
fn maps_owners(mount: &Wanted) -> bool {
    !mount.uid_mappings.is_empty() || mount.options.iter().any(|word| word == "idmap" || word == "ridmap")
}

/// The sources of such mounts, in their order.
pub(super) fn idmapped(bundle: &Bundle, facts: &Facts) -> anyhow::Result<IdmappedSources> {
    let mut sources = Vec::new();
    for mount in facts.config.mounts.iter().filter(|mount| maps_owners(mount)) {
        let target = mount.destination.display();
        let parsed = Mount::parse(mount.options.iter().map(String::as_str));
        if !parsed.bind && mount.kind.as_deref() != Some("bind") {
            bail!("config.json: mounts: {target}: only a bind mount can map owners");
        }
        let linux = &facts.config.linux;
        let own = !mount.uid_mappings.is_empty();
        let users = if own { &mount.uid_mappings } else { &linux.uid_mappings };
        let groups = if own { &mount.gid_mappings } else { &linux.gid_mappings };
        if users.is_empty() || groups.is_empty() {
            bail!("config.json: mounts: {target}: to map owners takes uidMappings and gidMappings");
        }
        let ranges = |list: &[subids::Range]| {
            list.iter().map(|m| IdRange { inside: m.inside, outside: m.outside, count: m.count }).collect()
        };
        sources.push(IdmappedSource {
            path: bundle.path.as_path().join(mount.source.clone().unwrap_or_default()),
            recursive: parsed.recursive,
            recursive_map: parsed.idmap == Some(true),
            users: ranges(users),
            groups: ranges(groups),
        });
    }
    Ok(IdmappedSources { sources })
}

pub(super) fn propagation(config: &Config) -> anyhow::Result<Propagation> {
    let wanted = config.linux.rootfs_propagation.as_deref().unwrap_or("private");
    let follows = config
        .mounts
        .iter()
        .any(|mount| mount.options.iter().any(|word| word.ends_with("slave") || word.ends_with("shared")));
    let shares = config.mounts.iter().any(|mount| mount.options.iter().any(|word| word.ends_with("shared")));
    match kind_of_propagation(wanted) {
        None => bail!("config.json: linux.rootfsPropagation: {wanted}: no such propagation"),
        // A mount below a bind of this kind shall reach the host: then the copies of its mounts stay connected.
        _ if shares => Ok(Propagation::Shared),
        Some(Propagation::Private | Propagation::Unbindable) if !follows => Ok(Propagation::Private),
        _ => Ok(Propagation::Slave),
    }
}

/// `rshared` and `shared` are of one kind; nothing is private.
fn kind_of_propagation(word: &str) -> Option<Propagation> {
    Some(match word.strip_prefix('r').unwrap_or(word) {
        "" | "private" => Propagation::Private,
        "slave" => Propagation::Slave,
        "shared" => Propagation::Shared,
        "unbindable" => Propagation::Unbindable,
        _ => return None,
    })
}

/// What mounts of the container's own are to others that come out of it.
pub(super) fn pivot(config: &Config) -> Pivot {
    let wanted = config.linux.rootfs_propagation.as_deref().unwrap_or_default();
    let kind = kind_of_propagation(wanted).filter(|kind| *kind != Propagation::Private);
    Pivot { propagation: kind, recursive: kind.is_some() && wanted.starts_with('r') }
}

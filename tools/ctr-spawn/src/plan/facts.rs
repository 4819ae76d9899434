//! What the whole list needs to know: which namespaces the container has of its own, and who starts it.

use super::Around;
use super::namespaces::map_in_force;
use crate::config::Config;
use anyhow::bail;
use bundle::process::Process;
use linux_sandbox::Namespace;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What the whole list needs to know.
pub(super) struct Facts<'a> {
    pub(super) config: &'a Config,
    pub(super) process: &'a Process,
    pub(super) around: &'a Around<'a>,
    pub(super) new: Vec<Namespace>,
    pub(super) joined: Vec<(Namespace, &'a Path)>,
    /// Without root the container has a user namespace, whether the configuration says so or not.
    pub(super) rootless: bool,
    /// This process is in a user namespace with the maps of the configuration, which are written as they look from
    /// outside.
    pub(super) inside: bool,
}

impl<'a> Facts<'a> {
    /// Reads them, and refuses what would leave the container a part of the host.
    pub(super) fn of(config: &'a Config, process: &'a Process, around: &'a Around) -> anyhow::Result<Self> {
        let (mut new, mut joined) = (Vec::new(), Vec::new());
        for namespace in &config.linux.namespaces {
            let kind = match namespace.kind.as_str() {
                "user" => Namespace::User,
                "mount" => Namespace::Mount,
                "pid" => Namespace::Pid,
                "uts" => Namespace::Uts,
                "ipc" => Namespace::Ipc,
                "network" => Namespace::Network,
                "cgroup" => Namespace::Cgroup,
                "time" => Namespace::Time,
                other => bail!("config.json: linux.namespaces: {other}: no such namespace"),
            };
            if new.contains(&kind) || joined.iter().any(|(known, _)| *known == kind) {
                bail!("config.json: linux.namespaces: {}: twice", namespace.kind);
            }
            match namespace.path.as_deref().filter(|path| !path.as_os_str().is_empty()) {
                None => new.push(kind),
                Some(path) if kind == Namespace::Mount && is_our_own("mnt", path) => {
                    bail!("config.json: linux.namespaces: mount: {}: is the host's", path.display())
                }
                Some(path) => joined.push((kind, path)),
            }
        }
        // Once the mounts are others', the paths of the other namespaces lead elsewhere.
        joined.sort_by_key(|(kind, _)| *kind == Namespace::Mount);
        if !new.contains(&Namespace::Mount) && joined.iter().all(|(kind, _)| *kind != Namespace::Mount) {
            bail!("config.json: linux.namespaces: no mount namespace: its mounts would be the host's");
        }
        let inside = is_inside(&config.linux);
        let rootless = around.uid != 0 || inside;
        if rootless && !new.contains(&Namespace::User) && joined.iter().all(|(kind, _)| *kind != Namespace::User) {
            new.push(Namespace::User);
        }
        check_maps(&config.linux, new.contains(&Namespace::User), rootless)?;
        if rootless && new.contains(&Namespace::Time) {
            bail!("config.json: linux.namespaces: time: its clocks are set by root only");
        }
        new.sort_unstable();
        new.dedup();
        Ok(Self { config, process, around, new, joined, rootless, inside })
    }

    /// Made for the container.
    pub(super) fn has_own(&self, namespace: Namespace) -> bool {
        self.new.contains(&namespace)
    }

    /// Not the host's.
    pub(super) fn is_own(&self, namespace: Namespace) -> bool {
        self.has_own(namespace) || self.joined.iter().any(|(joined, _)| *joined == namespace)
    }

    pub(super) fn in_user_namespace(&self) -> bool {
        self.is_own(Namespace::User)
    }

    /// The file of a namespace that exists.
    pub(super) fn joins(&self, namespace: Namespace) -> Option<&Path> {
        self.joined.iter().find(|(joined, _)| *joined == namespace).map(|(_, path)| *path)
    }

    /// Without root, another container's user namespace, to which whatever else is joined belongs.
    pub(super) fn joins_owner(&self) -> bool {
        self.rootless && self.joins(Namespace::User).is_some()
    }

    /// Whether the container knows a group of this number.
    pub(super) fn has_group(&self, gid: u32) -> bool {
        match map_in_force(self) {
            None => true,
            Some(map) => {
                map.groups.iter().any(|range| gid.checked_sub(range.inside).is_some_and(|at| at < range.count))
            }
        }
    }
}

/// Who is nobody in a new user namespace can do nothing there. Without root, one ID is mapped by itself.
fn check_maps(linux: &crate::config::Linux, is_new: bool, rootless: bool) -> anyhow::Result<()> {
    for (member, maps) in [("uidMappings", &linux.uid_mappings), ("gidMappings", &linux.gid_mappings)] {
        let other = !linux.uid_mappings.is_empty() || !linux.gid_mappings.is_empty();
        if maps.is_empty() && is_new && (other || !rootless) {
            bail!("config.json: linux.{member}: a new user namespace, and none");
        }
    }
    Ok(())
}

/// Whether the maps are those of the user namespace that we are in: a build runs its steps from within.
fn is_inside(linux: &crate::config::Linux) -> bool {
    let here = if linux.uid_mappings.is_empty() { None } else { subids::Mapping::of_process().ok() };
    here.is_some_and(|here| {
        !here.is_everything() && linux.uid_mappings == here.users && linux.gid_mappings == here.groups
    })
}

/// Whether a file stands for the namespace in which we are.
pub(super) fn is_our_own(name: &str, path: &Path) -> bool {
    let which = |path: &Path| std::fs::metadata(path).ok().map(|found| (found.dev(), found.ino()));
    which(path).is_some() && which(path) == which(&Path::new("/proc/self/ns").join(name))
}

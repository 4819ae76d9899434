//! The trees of a host: what is mounted where, what it can limit, and where this process stands in it.

use super::Limit;
use crate::error::{Call, Error};
use rustix::fs::Access;
use std::fs;
use std::path::{Path, PathBuf};

/// One mounted tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    /// Version 2.
    pub unified: bool,
    /// Its mount point.
    pub mount: PathBuf,
    /// What it can limit.
    pub controllers: Vec<String>,
    /// Where this process stands in it.
    pub own: PathBuf,
}

impl Hierarchy {
    /// The directory of the process in it.
    pub fn path(&self) -> PathBuf {
        self.mount.join(&self.own)
    }
}

impl Hierarchy {
    /// Below which cgroup those of containers are made: for root the whole tree. An ordinary user has the one that was
    /// delegated to him, as far up as it goes: where processes are, no controller can be handed on (cgroups(7)).
    pub(crate) fn top(&self, below_own: bool) -> PathBuf {
        let own = self.mount.join(&self.own);
        if !below_own {
            return self.mount.clone();
        }
        if !self.unified {
            return own;
        }
        let his = |dir: &&Path| {
            let may = |file: &str| rustix::fs::access(dir.join(file), Access::WRITE_OK).is_ok();
            may("") && may("cgroup.procs") && may("cgroup.subtree_control")
        };
        let is_empty = |dir: &&Path| fs::read_to_string(dir.join("cgroup.procs")).is_ok_and(|list| list.is_empty());
        let above = || own.ancestors().take_while(|dir| *dir != self.mount).filter(his);
        above().filter(is_empty).last().or_else(|| above().last()).unwrap_or(&own).to_owned()
    }
}

/// The trees of this host.
#[derive(Debug, Clone, Default)]
pub struct Hierarchies(pub Vec<Hierarchy>);

impl Hierarchies {
    /// Reads what is mounted.
    pub fn of_this_host() -> std::result::Result<Self, Error> {
        let read = |path: &str| fs::read_to_string(path).call(|| format!("read({path:?})"));
        let mut trees = Self::parse(&read("/proc/self/mountinfo")?, &read("/proc/self/cgroup")?);
        for tree in trees.0.iter_mut().filter(|tree| tree.unified) {
            let list = fs::read_to_string(tree.mount.join("cgroup.controllers")).unwrap_or_default();
            tree.controllers = list.split_whitespace().map(Into::into).collect();
        }
        Ok(trees)
    }

    pub(crate) fn parse(mountinfo: &str, own: &str) -> Self {
        let mut trees: Vec<Hierarchy> = Vec::new();
        for line in mountinfo.lines() {
            let Some((left, right)) = line.split_once(" - ") else { continue };
            let (Some(mount), mut right) = (left.split(' ').nth(4), right.split(' ')) else { continue };
            let (unified, options) = match right.next() {
                Some("cgroup2") => (true, ""),
                Some("cgroup") => (false, right.nth(1).unwrap_or_default()),
                _ => continue,
            };
            let controllers: Vec<String> = options
                .split(',')
                .filter(|word| !matches!(*word, "rw" | "ro" | "xattr" | ""))
                .map(Into::into)
                .collect();
            if trees.iter().any(|tree| tree.unified == unified && tree.controllers == controllers) {
                continue; // a bind mount of one that we have
            }
            let mut own = own.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'));
            let own = own.find(|(names, _)| {
                if unified {
                    return names.is_empty();
                }
                !names.is_empty() && names.split(',').all(|name| controllers.iter().any(|known| known == name))
            });
            let own = own.map_or("/", |(_, path)| path).trim_start_matches('/').into();
            trees.push(Hierarchy { unified, mount: mount.replace("\\040", " ").into(), controllers, own });
        }
        Self(trees)
    }

    /// The tree in which a limit can be set, and its controller there. Devices have none in version 2: a program
    /// can be attached to any cgroup.
    pub(super) fn of<'a>(&'a self, limit: &'a Limit) -> Option<(&'a Hierarchy, &'a str)> {
        let [v1, v2] = limit.controllers();
        let old = self.0.iter().find(|tree| !tree.unified && tree.controllers.iter().any(|name| name == v1));
        let new = || self.0.iter().find(|tree| tree.unified && tree.controllers.iter().any(|name| name == v2));
        let any = || self.0.iter().find(|tree| tree.unified && matches!(limit, Limit::Devices(_)));
        old.map(|tree| (tree, v1)).or_else(|| new().or_else(any).map(|tree| (tree, v2)))
    }

    #[cfg(test)]
    pub(super) fn with(&self, controller: &str) -> Option<&Hierarchy> {
        self.0.iter().find(|tree| tree.controllers.iter().any(|name| name == controller))
    }

    /// Whether version 2 is all there is.
    pub(crate) fn is_unified(&self) -> bool {
        self.0.iter().all(|tree| tree.unified)
    }
}

/// What an ordinary user can do about a cgroup that he may not make.
pub fn how_to_get_cgroups() -> &'static str {
    if Hierarchies::of_this_host().is_ok_and(|trees| trees.is_unified()) {
        "run as root, or from a cgroup that was delegated: systemd-run --user --scope -p Delegate=yes COMMAND"
    } else {
        "run as root, or boot the host with cgroups of version 2 alone: systemd.unified_cgroup_hierarchy=1"
    }
}

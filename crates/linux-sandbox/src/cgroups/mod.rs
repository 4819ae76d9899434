//! cgroups(7): limits for all processes of a container together. A host has the one tree of version 2, one tree
//! for each controller of version 1, or both at once: then each limit goes where its controller is.

mod devices;
mod freezer;
mod group;
mod hierarchy;
mod join;
mod later;
mod limit;
mod more;
mod mount;
mod oom;
mod peaks;
mod resources;
mod systemd;
mod v1;
mod v2;

pub use freezer::{freeze, processes_of, thaw};
pub(crate) use group::write;
pub use group::{Group, remove_cgroup};
pub use hierarchy::{Hierarchies, Hierarchy, how_to_get_cgroups};
pub use join::JoinCgroups;
pub use later::Later;
pub use limit::{Limit, Limits};
pub use more::{Files, Throttle};
pub use mount::CgroupMounts;
pub use oom::{OomScore, oom_killed};
pub use peaks::{Peaks, peaks};
pub use resources::{DeviceRule, Resources};
pub use systemd::{Attach, Scope, Unit, where_systemd_would};

use crate::error::{Error, Result};
use crate::steps::{Mechanism, Scene, all, quote};
use serde::Serialize;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Makes the cgroups and writes the limits.
#[derive(Debug, Serialize)]
pub struct Cgroups {
    /// At most one a tree.
    pub groups: Vec<Group>,
}

impl Cgroups {
    /// Puts each limit where its controller is; a limit for which there is no controller is an error. `name` is
    /// a path below the root of each tree (below the own cgroup without root).
    pub fn new(trees: &Hierarchies, name: &str, limits: &[Limit], below_own: bool) -> std::result::Result<Self, Error> {
        let name = checked(name)?;
        let mut groups: BTreeMap<&Path, Group> = BTreeMap::new();
        for limit in limits {
            let Some((tree, controller)) = trees.of(limit) else {
                let controller = limit.controller();
                return Err(Error::refused(format!("cgroup: this host has no {controller} controller for {limit:?}")));
            };
            let top = tree.top(below_own);
            if tree.unified && below_own && !hands_on(&top, limit, controller) {
                let top = top.display();
                return Err(Error::refused(format!(
                    "cgroup: {top}: has no {controller} controller: {}",
                    how_to_get_cgroups()
                )));
            }
            let group = groups.entry(&tree.mount).or_insert_with(|| Group {
                path: top.join(name),
                controllers: Vec::new(),
                enable: Vec::new(),
                writes: Vec::new(),
                devices: Vec::new(),
                above: RefCell::default(),
                made: Cell::default(),
            });
            if let (Limit::Devices(rules), true) = (limit, tree.unified) {
                group.devices.clone_from(rules);
            } else if !group.controllers.iter().any(|known| known == controller) {
                group.controllers.push(controller.into());
            }
            group.writes.extend(match limit {
                Limit::MemorySwap(both) if tree.unified => v2::files(&Limit::MemorySwap(swap_alone(*both, limits)))?,
                limit if tree.unified => v2::files(limit)?,
                limit => v1::files(limit)?,
            });
            if tree.unified {
                let above = group.path.ancestors().skip(1).take_while(|dir| dir.starts_with(&top));
                group.enable = above.map(Into::into).collect();
                group.enable.reverse();
            }
        }
        Ok(Self { groups: groups.into_values().collect() })
    }

    /// A group in every tree, limited or not: whoever stops, counts or ends all processes of a container needs one.
    pub fn in_every_tree(&mut self, trees: &Hierarchies, name: &str) -> std::result::Result<(), Error> {
        let name = checked(name)?;
        for tree in &trees.0 {
            let path = tree.mount.join(name);
            if self.groups.iter().any(|group| group.path == path) {
                continue;
            }
            let useful = |name: &&String| !tree.unified || matches!(name.as_str(), "cpu" | "io" | "memory" | "pids");
            let controllers: Vec<String> = tree.controllers.iter().filter(useful).cloned().collect();
            let above = path.ancestors().skip(1).take_while(|dir| dir.starts_with(&tree.mount)).map(Into::into);
            let mut enable: Vec<PathBuf> = above.filter(|_| tree.unified && !controllers.is_empty()).collect();
            enable.reverse();
            self.groups.push(Group {
                path,
                controllers,
                enable,
                writes: Vec::new(),
                devices: Vec::new(),
                above: RefCell::default(),
                made: Cell::default(),
            });
        }
        Ok(())
    }

    /// Writes the limits into cgroups that are in use. One limit may stand in the way of another that changes too:
    /// what is refused is tried once more behind the rest. As at the start, memory is limited where swap is not counted.
    pub fn rewrite(&self) -> std::result::Result<(), Error> {
        let all = || self.groups.iter().flat_map(|group| group.writes.iter().map(move |write| (group, write)));
        let refused: Vec<_> = all().filter(|(group, (file, content))| group.write(file, content).is_err()).collect();
        refused.into_iter().try_for_each(|(group, (file, content))| match group.write(file, content) {
            Err(error) if group::swap_is_not_counted(file, &error) => Ok(()),
            other => other,
        })
    }

    fn make(&self, scene: &mut Scene) -> Result<()> {
        for group in &self.groups {
            let (lock, dir) = group.make()?;
            group.switch_on()?;
            group.limit(&dir, scene)?;
            join::open_for_the_process(&group.path, dir, scene)?;
            scene.locks.push(lock);
        }
        Ok(())
    }

    /// Writes the limits into cgroups that somebody else made for us.
    fn fill(&self, scene: &Scene) -> Result<()> {
        for group in &self.groups {
            let dir = group.open()?;
            if !group.writes.is_empty() && !group.has_controllers() {
                group.switch_on()?;
            }
            group.limit(&dir, scene)?;
        }
        Ok(())
    }
}

/// Whether a cgroup of version 2 has the controller, so that those below it can have it.
fn hands_on(top: &Path, limit: &Limit, controller: &str) -> bool {
    let list = fs::read_to_string(top.join("cgroup.controllers")).unwrap_or_default();
    matches!(limit, Limit::Devices(_)) || list.split_whitespace().any(|name| name == controller)
}

/// A name that leads below the root of a tree, and never to the root itself, whose processes are everybody's.
fn checked(name: &str) -> std::result::Result<&str, Error> {
    let name = name.trim_matches('/');
    if name.is_empty() || name.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(Error::refused(format!("cgroup path {name:?}: not a path below the root of a tree")));
    }
    Ok(name)
}

/// Version 2 counts swap by itself, everybody else memory and swap together.
fn swap_alone(both: i64, limits: &[Limit]) -> i64 {
    let memory = limits.iter().find_map(|limit| match limit {
        Limit::Memory(bytes) => Some(*bytes),
        _ => None,
    });
    if both < 0 { both } else { (both - memory.unwrap_or(0)).max(0) }
}

impl Cgroups {
    /// The lines that make them when nobody has, and those that write the limits.
    fn lines(&self, make: bool) -> String {
        all(self.groups.iter().flat_map(|group| {
            let path = quote(&group.path.to_string_lossy());
            let words: Vec<String> = group.controllers.iter().map(|name| format!("+{name}")).collect();
            let words = words.join(" ");
            let enable = group.enable.iter().filter(move |_| make && !group.controllers.is_empty()).map(move |dir| {
                format!("echo '{words}' >{}", quote(&dir.join("cgroup.subtree_control").to_string_lossy()))
            });
            let write = {
                let path = path.clone();
                let name = |file: &str| file.trim_start_matches('?').split('|').next().unwrap_or_default().to_owned();
                group
                    .writes
                    .iter()
                    .map(move |(file, content)| format!("echo {} >{path}/{}", quote(content), name(file)))
            };
            let rules = |list: &[(bool, String)]| {
                let words =
                    |(allow, rule): &(bool, String)| format!("{} {rule}", if *allow { "allow" } else { "deny" });
                list.iter().map(words).collect::<Vec<_>>().join(", ")
            };
            // No shell can say it: bpftool attaches a program that somebody has compiled.
            let devices = (!group.devices.is_empty()).then(|| {
                format!(": bpftool cgroup attach {path} cgroup_device PROGRAM {}", quote(&rules(&group.devices)))
            });
            make.then(|| format!("mkdir -p {path}")).into_iter().chain(enable).chain(devices).chain(write)
        }))
    }
}

impl Mechanism for Cgroups {
    fn shell(&self) -> String {
        self.lines(true)
    }

    fn run(&self, scene: &mut Scene) -> Result<()> {
        self.make(scene).inspect_err(|_| self.undo())
    }

    fn undo(&self) {
        self.groups.iter().for_each(Group::remove);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
36 31 0:32 / /other/memory rw,relatime - cgroup cgroup rw,memory
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw";
    const OWN: &str = "4:memory:/here/i am\n1:cpu,cpuacct:/\n0::/u\n";

    fn names(limits: &[Limit]) -> Vec<(String, String)> {
        let trees = Hierarchies::parse(HYBRID, OWN);
        let cgroups = Cgroups::new(&trees, "dock/x", limits, false).unwrap();
        cgroups
            .groups
            .into_iter()
            .flat_map(|g| g.writes.into_iter().map(move |(f, c)| (g.path.join(f).display().to_string(), c)))
            .collect()
    }

    #[test]
    fn each_limit_goes_where_its_controller_is() {
        let trees = Hierarchies::parse(HYBRID, OWN);
        assert_eq!(trees.0.len(), 3, "{trees:?}");
        assert_eq!(trees.with("memory").unwrap().own, Path::new("here/i am"));
        assert_eq!(
            names(&[Limit::Memory(4096), Limit::CpuQuota(50_000, None)]),
            [
                ("/sys/fs/cgroup/cpu/dock/x/cpu.cfs_quota_us".into(), "50000".into()),
                ("/sys/fs/cgroup/memory/dock/x/memory.limit_in_bytes".into(), "4096".into())
            ]
        );
        let error = Cgroups::new(&trees, "dock/x", &[Limit::Pids(5)], false).unwrap_err();
        assert!(error.to_string().contains("no pids controller"), "{error}");
        assert!(Cgroups::new(&trees, "../x", &[Limit::Memory(1)], false).is_err());
    }

    #[test]
    fn version_2_writes_its_own_files() {
        let trees = Hierarchies(vec![Hierarchy {
            unified: true,
            mount: "/sys/fs/cgroup".into(),
            controllers: ["cpu", "memory", "pids"].map(Into::into).into(),
            own: PathBuf::new(),
        }]);
        let limits = [Limit::Memory(100), Limit::MemorySwap(150), Limit::CpuQuota(5, Some(10)), Limit::Pids(-1)];
        let cgroups = Cgroups::new(&trees, "dock/x", &limits, false).unwrap();
        let [group] = &cgroups.groups[..] else { panic!() };
        assert_eq!(group.enable, [Path::new("/sys/fs/cgroup"), Path::new("/sys/fs/cgroup/dock")]);
        let text: Vec<String> = group.writes.iter().map(|(f, c)| format!("{f}={c}")).collect();
        assert_eq!(text, ["memory.max=100", "memory.swap.max=50", "cpu.max=5 10", "pids.max=max"]);
    }
}

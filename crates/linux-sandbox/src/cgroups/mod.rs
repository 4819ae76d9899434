//! cgroups(7): limits for all processes of a container together. A host has the one tree of version 2, one tree
//! for each controller of version 1, or both at once: then each limit goes where its controller is.

mod devices;
mod freezer;
mod later;
mod more;
mod v1;
mod v2;

pub use more::{Files, Throttle};

pub use later::Later;

pub use freezer::{freeze, processes_of, thaw};

use crate::error::{Call, Error, Result};
use crate::mounts::{Attributes, attach, clone_of, new_filesystem, set_attributes};
use crate::steps::{Mechanism, Scene, all, in_rootfs, quote};
use crate::walk::{self, Links};
use rustix::fd::OwnedFd;
use rustix::fs::{Access, CWD, FlockOperation, Mode, OFlags, flock, mkdirat, open, openat};
use rustix::io::Errno;
use serde::Serialize;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

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

/// What an ordinary user can do about a cgroup that he may not make.
pub fn how_to_get_cgroups() -> &'static str {
    if Hierarchies::of_this_host().is_ok_and(|trees| trees.is_unified()) {
        "run as root, or from a cgroup that was delegated: systemd-run --user --scope -p Delegate=yes COMMAND"
    } else {
        "run as root, or boot the host with cgroups of version 2 alone: systemd.unified_cgroup_hierarchy=1"
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
    fn of<'a>(&'a self, limit: &'a Limit) -> Option<(&'a Hierarchy, &'a str)> {
        let [v1, v2] = limit.controllers();
        let old = self.0.iter().find(|tree| !tree.unified && tree.controllers.iter().any(|name| name == v1));
        let new = || self.0.iter().find(|tree| tree.unified && tree.controllers.iter().any(|name| name == v2));
        let any = || self.0.iter().find(|tree| tree.unified && matches!(limit, Limit::Devices(_)));
        old.map(|tree| (tree, v1)).or_else(|| new().or_else(any).map(|tree| (tree, v2)))
    }

    #[cfg(test)]
    fn with(&self, controller: &str) -> Option<&Hierarchy> {
        self.0.iter().find(|tree| tree.controllers.iter().any(|name| name == controller))
    }

    /// Whether version 2 is all there is.
    pub fn is_unified(&self) -> bool {
        self.0.iter().all(|tree| tree.unified)
    }
}

/// One limit that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Limit {
    /// Bytes of memory.
    Memory(i64),
    /// Bytes of memory and swap together.
    MemorySwap(i64),
    /// Bytes of memory that are kept when memory is short.
    MemoryReservation(i64),
    /// Relative share of processor time, 1024 is usual.
    CpuShares(u64),
    /// Microseconds of processor time in each period, and the period.
    CpuQuota(i64, Option<u64>),
    /// `0-3,6`
    CpusetCpus(String),
    /// `0`
    CpusetMems(String),
    /// Number of processes and threads; -1 is no limit.
    Pids(i64),
    /// Rules in order, as version 1 writes them: `(allow, "c 1:3 rwm")`.
    Devices(Vec<(bool, String)>),
    /// A file of version 2 and its content.
    Unified(String, String),
    /// One of the less usual: see the functions of this type.
    Files(Files),
}

/// Every limit.
pub type Limits = Vec<Limit>;

impl Limit {
    /// Its name in version 1 and in version 2.
    fn controllers(&self) -> [&str; 2] {
        match self {
            Self::Files(files) => files.controllers,
            _ => [self.controller(); 2],
        }
    }

    fn controller(&self) -> &str {
        match self {
            Self::Files(files) => files.controllers[0],
            Self::Memory(_) | Self::MemorySwap(_) | Self::MemoryReservation(_) => "memory",
            Self::CpuShares(_) | Self::CpuQuota(..) => "cpu",
            Self::CpusetCpus(_) | Self::CpusetMems(_) => "cpuset",
            Self::Pids(_) => "pids",
            Self::Devices(_) => "devices",
            Self::Unified(file, _) => file.split('.').next().unwrap_or(file),
        }
    }
}

/// One cgroup of the container's and what is written into it.
#[derive(Debug, Serialize)]
pub struct Group {
    /// Its directory.
    pub path: PathBuf,
    /// What it limits.
    pub controllers: Vec<String>,
    /// Version 2: the directories above in which the controllers are switched on first.
    pub enable: Vec<PathBuf>,
    /// File → content, in order.
    pub writes: Vec<(String, String)>,
    /// Version 2: rules for devices, as version 1 writes them. They become a program of the kernel's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<(bool, String)>,
    /// The directories above that were not there before: they go with it, the deepest first.
    #[serde(skip)]
    pub(crate) above: RefCell<Vec<PathBuf>>,
}

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
            });
        }
        Ok(())
    }

    /// Writes the limits into cgroups that are in use. One limit may stand in the way of another that changes too:
    /// what is refused is tried once more behind the rest.
    pub fn rewrite(&self) -> std::result::Result<(), Error> {
        let all = || self.groups.iter().flat_map(|group| group.writes.iter().map(move |write| (group, write)));
        let refused: Vec<_> = all().filter(|(group, (file, content))| group.write(file, content).is_err()).collect();
        refused.into_iter().try_for_each(|(group, (file, content))| group.write(file, content))
    }

    fn make(&self, scene: &mut Scene) -> Result<()> {
        for group in &self.groups {
            let (lock, dir) = group.make()?;
            group.switch_on()?;
            if !group.devices.is_empty() {
                devices::attach(&dir, &group.devices)?;
            }
            drop(dir);
            for (file, content) in &group.writes {
                match group.write(file, content) {
                    // As docker: memory is limited, and that swap is not is said.
                    Err(Error::Call { errno: libc::ENOENT, .. })
                        if file.starts_with("memory.memsw.") || file.starts_with("memory.swap.") =>
                    {
                        scene.note(&format!("{file}: this kernel does not count swap; memory alone is limited"));
                    }
                    other => other?,
                }
            }
            scene.locks.push(lock);
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

impl Group {
    /// Makes the directory. The lock on the one above says "not joined yet": an empty cgroup without it is one
    /// whose ctr-spawn was killed, and the next one sweeps it away.
    fn make(&self) -> Result<(OwnedFd, OwnedFd)> {
        let line = || format!("mkdir({:?})", self.path);
        let (parent, name) = walk::split(&self.path)?;
        let missing = parent.ancestors().take_while(|dir| !dir.exists() && !dir.ends_with("dock"));
        self.above.borrow_mut().extend(missing.map(Into::into));
        for _ in 0..64 {
            fs::create_dir_all(parent).call(line)?;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let above = match open(parent, flags, Mode::empty()) {
                Err(Errno::NOENT) => continue,
                other => other.call(line)?,
            };
            flock(&above, FlockOperation::LockShared).call(|| format!("flock({parent:?})"))?;
            match mkdirat(&above, name, Mode::from_raw_mode(0o755)) {
                Err(Errno::NOENT) => continue, // swept away between the two calls
                Err(Errno::EXIST) => {
                    // Left by a killed one, or in use: the kernel knows which.
                    rustix::fs::unlinkat(&above, name, rustix::fs::AtFlags::REMOVEDIR)
                        .call(|| format!("rmdir({:?})", self.path))?;
                    mkdirat(&above, name, Mode::from_raw_mode(0o755)).call(line)?;
                }
                other => other.call(line)?,
            }
            let dir = openat(&above, name, flags, Mode::empty()).call(line)?;
            return Ok((above, dir));
        }
        Err(Errno::NOENT).call(line)
    }

    /// Its controllers count: version 2 wants it said in every directory above, version 1 an own set of processors.
    fn switch_on(&self) -> Result<()> {
        for above in self.enable.iter().filter(|_| !self.controllers.is_empty()) {
            let words: Vec<String> = self.controllers.iter().map(|name| format!("+{name}")).collect();
            write(&above.join("cgroup.subtree_control"), &words.join(" "))?;
        }
        if self.controllers.iter().any(|name| name == "cpuset") && self.enable.is_empty() {
            v1::inherit_cpuset(&self.path)?;
        }
        Ok(())
    }

    /// A name may offer others for kernels that do not have it (`|`), or be one that need not be there (`?`).
    fn write(&self, file: &str, content: &str) -> Result<()> {
        let mut result = Ok(());
        for name in file.trim_start_matches('?').split('|') {
            result = write(&self.path.join(name), content);
            if !matches!(result, Err(Error::Call { errno: libc::ENOENT, .. })) {
                return result;
            }
        }
        if file.starts_with('?') { Ok(()) } else { result }
    }

    /// Removes it, and those beside it that nobody uses any more.
    fn remove(&self) {
        for wait in 0..40 {
            match fs::remove_dir(&self.path) {
                // The kernel is still taking the last processes apart.
                Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
                    self.kill_all();
                    std::thread::sleep(Duration::from_millis(1 + wait));
                }
                _ => break,
            }
        }
        for dir in self.above.borrow().iter() {
            let _ = fs::remove_dir(dir);
        }
        // Only what is below dock/ is ours to sweep: in any other place an empty one may be somebody's.
        let Some(parent) = self.path.parent().filter(|parent| parent.ends_with("dock")) else { return };
        let Ok(above) = open(parent, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) else {
            return;
        };
        if flock(&above, FlockOperation::NonBlockingLockExclusive).is_err() {
            return;
        }
        for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                let _ = fs::remove_dir(entry.path());
            }
        }
        let _ = fs::remove_dir(parent);
    }

    /// Without a PID namespace of its own, processes of the container may have outlived its first.
    fn kill_all(&self) {
        let procs = fs::read_to_string(self.path.join("cgroup.procs")).unwrap_or_default();
        for pid in procs.lines().filter_map(|line| rustix::process::Pid::from_raw(line.parse().ok()?)) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

impl Mechanism for Cgroups {
    fn shell(&self) -> String {
        all(self.groups.iter().flat_map(|group| {
            let path = quote(&group.path.to_string_lossy());
            let words: Vec<String> = group.controllers.iter().map(|name| format!("+{name}")).collect();
            let words = words.join(" ");
            let enable = group.enable.iter().filter(|_| !group.controllers.is_empty()).map(move |dir| {
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
            std::iter::once(format!("mkdir -p {path}")).chain(enable).chain(devices).chain(write)
        }))
    }

    fn run(&self, scene: &mut Scene) -> Result<()> {
        self.make(scene).inspect_err(|_| self.undo())
    }

    fn undo(&self) {
        self.groups.iter().for_each(Group::remove);
    }
}

/// Kills whatever is in a cgroup and the ones below it, and removes them. Gone already is fine.
pub fn remove_cgroup(path: &Path) -> std::result::Result<(), Error> {
    if !path.parent().is_some_and(|parent| parent.join("cgroup.procs").exists()) && path.exists() {
        return Err(Error::refused(format!("{}: the root of a tree, or no cgroup at all", path.display())));
    }
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_cgroup(&entry.path())?;
        }
    }
    let group = Group {
        path: path.into(),
        controllers: Vec::new(),
        enable: Vec::new(),
        writes: Vec::new(),
        devices: Vec::new(),
        above: RefCell::default(),
    };
    group.remove();
    if path.exists() { Err(Errno::BUSY).call(|| format!("rmdir({path:?})")) } else { Ok(()) }
}

/// Whether the kernel killed a process in one of these cgroups for want of memory. To be asked before their end.
pub fn oom_killed(groups: &[PathBuf]) -> bool {
    let files = groups.iter().flat_map(|group| ["memory.events", "memory.oom_control"].map(|file| group.join(file)));
    files.into_iter().any(|file| {
        let text = fs::read_to_string(file).unwrap_or_default();
        text.lines().any(|line| line.strip_prefix("oom_kill ").is_some_and(|count| count.trim() != "0"))
    })
}

/// The most that a container had at once, all of its processes together. Only what is limited is counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Peaks {
    /// Memory with the page cache, bytes: `memory.peak` (Linux 5.19), `memory.max_usage_in_bytes` of version 1.
    pub memory: Option<u64>,
    /// Processes and threads: `pids.peak` (Linux 6.11).
    pub pids: Option<u64>,
}

/// Reads the peaks in the cgroups of a container. To be asked before their end.
pub fn peaks(groups: &[PathBuf]) -> Peaks {
    let read = |file: &str| {
        let text = groups.iter().find_map(|group| fs::read_to_string(group.join(file)).ok())?;
        text.trim().parse().ok()
    };
    Peaks { memory: read("memory.peak").or_else(|| read("memory.max_usage_in_bytes")), pids: read("pids.peak") }
}

/// Moves the process that waits into its cgroups: from its first instruction on it is limited.
#[derive(Debug, Serialize)]
pub struct JoinCgroups {
    /// The directories.
    pub paths: Vec<PathBuf>,
}

impl Mechanism for JoinCgroups {
    fn shell(&self) -> String {
        all(self.paths.iter().map(|path| format!("echo $pid >{}/cgroup.procs", quote(&path.to_string_lossy()))))
    }

    fn run(&self, scene: &mut Scene) -> Result<()> {
        let pid = scene.pid.map_or(0, |pid| pid.as_raw_nonzero().get());
        for path in &self.paths {
            write(&path.join("cgroup.procs"), &pid.to_string())?;
        }
        scene.locks.clear();
        Ok(())
    }
}

/// `oom_score_adj` of proc(5): whom the kernel kills first.
#[derive(Debug, Serialize)]
pub struct OomScore {
    /// -1000 never, 1000 first.
    pub value: i32,
}

impl Mechanism for OomScore {
    fn shell(&self) -> String {
        format!("echo {} >/proc/$pid/oom_score_adj", self.value)
    }

    fn run(&self, scene: &mut Scene) -> Result<()> {
        let pid = scene.pid.map_or(0, |pid| pid.as_raw_nonzero().get());
        let path = PathBuf::from(format!("/proc/{pid}/oom_score_adj"));
        match write(&path, &self.value.to_string()) {
            Err(Error::Call { errno: libc::EACCES | libc::EPERM, .. }) => {
                scene.note(&format!("oom_score_adj: {} is below what this process may set; it stays", self.value));
                Ok(())
            }
            other => other,
        }
    }
}

/// `/sys/fs/cgroup` of the container: the cgroup2 tree, or with version 1 a tmpfs with the trees in which the
/// container has limits.
#[derive(Debug, Serialize)]
pub struct CgroupMounts {
    /// Below the root.
    pub target: PathBuf,
    /// Version 2 only.
    pub unified: bool,
    /// Version 1: name → the container's cgroup in that tree.
    pub trees: Vec<(String, PathBuf)>,
    /// Attributes of every mount.
    pub attributes: Attributes,
}

impl Mechanism for CgroupMounts {
    fn shell(&self) -> String {
        let target = in_rootfs(&self.target);
        if self.unified {
            return format!("mount -t cgroup2 -o ro,nosuid,nodev,noexec cgroup {target}");
        }
        let mut lines = vec![format!("mount -t tmpfs -o nosuid,nodev,noexec,mode=755 cgroup {target}")];
        for (name, path) in &self.trees {
            let path = quote(&path.to_string_lossy());
            lines.push(format!("mkdir {target}/{name} && mount --bind {path} {target}/{name} && mount -o remount,bind,ro {target}/{name}"));
        }
        lines.push(format!("mount -o remount,bind,ro {target}"));
        all(lines)
    }

    fn run(&self, scene: &mut Scene) -> Result<()> {
        let line = || format!("move_mount(<cgroup>, <rootfs>{})", self.target.display());
        let target = walk::make_dirs(scene.root()?, &self.target, Links::Refused)?;
        if self.unified {
            let fd = new_filesystem("cgroup2", "cgroup", &[], self.attributes)?;
            return attach(&fd, &target).call(line);
        }
        let tmpfs = new_filesystem("tmpfs", "cgroup", &["mode=755".into()], Attributes::default())?;
        attach(&tmpfs, &target).call(line)?;
        for (name, path) in &self.trees {
            let source = openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
                .call(|| format!("open({path:?})"))?;
            let copy = clone_of(&source).call(|| format!("open_tree({path:?})"))?;
            set_attributes(&copy, false, self.attributes).call(|| format!("mount_setattr({path:?})"))?;
            attach(&copy, &walk::make_dirs(&tmpfs, Path::new(name), Links::Refused)?).call(line)?;
        }
        set_attributes(&tmpfs, false, self.attributes).call(|| "mount_setattr(<cgroup>)".into())
    }
}

pub(crate) fn write(path: &Path, content: &str) -> Result<()> {
    let line = || format!("write({path:?}, {content:?})");
    let file = open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()).call(line)?;
    rustix::io::write(&file, content.as_bytes()).call(line).map(drop)
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

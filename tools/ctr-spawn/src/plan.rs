//! `config.json` and the bundle record become the list of steps. Nothing is done here.

use crate::config::{Config, DeviceRule, Mount as Wanted, Resources};
use anyhow::{Context, bail};
use bundle::process::Process;
use linux_sandbox::{
    Attributes, Bind, BorrowedSource, BorrowedSources, Capabilities, CgroupMounts, Cgroups, Clone, Console, Device,
    DeviceKind, Devices, Exec, Filesystem, Held, Hierarchies, Hostname, IdMap, IdRange, IdmappedSource,
    IdmappedSources, IoPriority, Join, JoinCgroups, Label, Limit, Limits, Listener, Loopback, MakeWorkDir, Masks,
    Module, Moment, Mount, Namespace, NamespaceRoot, NoNewPrivileges, OomScore, OverlayRoot, Personality, Pivot, Place,
    Propagation, PropagationStep, ReadOnlyPaths, ReadOnlyRoot, Rlimits, Scheduler, Seccomp, SignalsToDefault, State,
    Step, Sysctls, Throttle, TimeNamespace, TreeRoot, UnshareCgroup, User, WorkDir,
};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use wire::Bundle;

/// What the command line and the host add to the configuration.
#[derive(Debug)]
pub struct Around<'a> {
    pub id: &'a str,
    pub command: &'a [String],
    pub terminal: bool,
    pub terminal_size: Option<(u16, u16)>,
    pub uid: u32,
    pub gid: u32,
}

/// What the whole list needs to know.
struct Facts<'a> {
    config: &'a Config,
    process: &'a Process,
    around: &'a Around<'a>,
    new: Vec<Namespace>,
    joined: Vec<(Namespace, &'a Path)>,
    /// Without root the container has a user namespace, whether the configuration says so or not.
    rootless: bool,
    /// This process is in a user namespace with the maps of the configuration, which are written as they look from
    /// outside.
    inside: bool,
}

/// The list, in the order in which it runs.
pub fn steps(bundle: &Bundle, config: &Config, around: &Around) -> anyhow::Result<Vec<Step>> {
    let process = config.process.as_ref().context("config.json: process: missing")?;
    refuse_what_is_not_built(config)?;
    let facts = facts(config, process, around)?;
    let cgroups = cgroups(&facts)?;
    let mut steps = Vec::new();
    let join = cgroups.as_ref().map(|made| JoinCgroups { paths: made.groups.iter().map(|g| g.path.clone()).collect() });
    let trees = cgroups.as_ref().map(cgroup_trees).unwrap_or_default();

    steps.extend(cgroups.map(Step::Cgroups));
    steps.extend(clone(bundle, &facts)?);
    steps.extend(id_map(&facts).map(Step::IdMap));
    steps.extend(join.map(Step::JoinCgroups));
    steps.extend(process.oom_score_adj.map(|value| Step::OomScore(OomScore { value })));
    if facts.joins(Namespace::User).is_some() || id_map(&facts).is_some_and(|map| !map.deny_setgroups) {
        steps.push(Step::NamespaceRoot(NamespaceRoot {}));
    }
    let (_, inside) = joins(&facts);
    steps.extend(inside);
    if facts.has_own(Namespace::Cgroup) {
        steps.push(Step::UnshareCgroup(UnshareCgroup {}));
    }
    let rootfs = bundle.path.as_path().join(&config.root.path);
    if facts.has_own(Namespace::Mount) {
        let propagation = propagation(config)?;
        let except = (propagation == Propagation::Shared).then(|| rootfs.clone());
        steps.push(Step::Propagation(PropagationStep { propagation, except }));
    }
    steps.push(root(bundle, &facts));
    for mount in &config.mounts {
        steps.push(mount_step(mount, bundle, &facts, &trees)?);
    }
    steps.push(Step::Devices(devices(&facts)?));
    if around.terminal {
        steps.push(Step::Console(Console { uid: process.user.uid, size: around.terminal_size, console: true }));
    }
    if !config.linux.sysctl.is_empty() {
        let (ipc, network) = (facts.is_own(Namespace::Ipc), facts.is_own(Namespace::Network));
        steps.push(Step::Sysctls(Sysctls::new(config.linux.sysctl.clone(), ipc, network)?));
    }
    steps.push(Step::ReadOnlyPaths(ReadOnlyPaths { paths: config.linux.readonly_paths.clone() }));
    steps.push(Step::Masks(Masks { paths: config.linux.masked_paths.clone() }));
    if process.cwd != Path::new("/") {
        steps.push(Step::MakeWorkDir(MakeWorkDir { path: process.cwd.clone() }));
    }
    let state = state(bundle, config, around);
    let hooks = |moment, directory: &Path| crate::hooks::of(moment, config, &state, directory);
    steps.extend(hooks(Moment::Prestart, bundle.path.as_path())?);
    steps.extend(hooks(Moment::CreateRuntime, bundle.path.as_path())?);
    steps.extend(hooks(Moment::CreateContainer, &rootfs)?);
    if config.root.readonly {
        steps.push(Step::ReadOnlyRoot(ReadOnlyRoot {}));
    }
    steps.push(Step::Pivot(pivot(config)));
    steps.extend(hostname(&facts).map(Step::Hostname));
    if facts.has_own(Namespace::Network) {
        steps.push(Step::Loopback(Loopback {}));
    }
    if !process.rlimits.is_empty() {
        let limits = process.rlimits.iter().map(|limit| (limit.kind.clone(), limit.soft, limit.hard));
        steps.push(Step::Rlimits(Rlimits::new(limits.collect())?));
    }
    steps.extend(scheduling(config, process)?);
    steps.push(Step::WorkDir(WorkDir { path: process.cwd.clone() }));
    steps.push(user(&facts)?);
    steps.push(Step::Signals(SignalsToDefault {}));
    let args = if around.command.is_empty() { &process.args } else { around.command };
    let exec = Exec::new(args.to_vec(), process.env.clone())?;
    steps.push(Step::Look(exec.look()));
    steps.extend(rights(&facts, &state)?);
    steps.extend(hooks(Moment::StartContainer, Path::new("."))?);
    steps.push(Step::Exec(exec));
    steps.extend(hooks(Moment::Poststart, bundle.path.as_path())?);
    steps.extend(hooks(Moment::Poststop, bundle.path.as_path())?);
    Ok(steps)
}

/// Isolation that was asked for and cannot be given is an error, never left out in silence.
fn refuse_what_is_not_built(config: &Config) -> anyhow::Result<()> {
    if !config.oci_version.starts_with("1.") {
        bail!("config.json: ociVersion {}: this program reads 1.x", config.oci_version);
    }
    if config.linux.intel_rdt.as_ref().is_some_and(|wanted| !wanted.is_null()) {
        bail!("config.json: linux.intelRdt: this program does not know the processor's cache and memory classes");
    }
    Ok(())
}

fn facts<'a>(config: &'a Config, process: &'a Process, around: &'a Around) -> anyhow::Result<Facts<'a>> {
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
    if rootless && new.contains(&Namespace::Time) {
        bail!("config.json: linux.namespaces: time: its clocks are set by root only");
    }
    new.sort_unstable();
    new.dedup();
    Ok(Facts { config, process, around, new, joined, rootless, inside })
}

/// Whether the maps are those of the user namespace that we are in: a build runs its steps from within.
fn is_inside(linux: &crate::config::Linux) -> bool {
    let here = if linux.uid_mappings.is_empty() { None } else { subids::Mapping::of_process().ok() };
    here.is_some_and(|here| {
        !here.is_everything() && linux.uid_mappings == here.users && linux.gid_mappings == here.groups
    })
}

/// Whether a file stands for the namespace in which we are.
fn is_our_own(name: &str, path: &Path) -> bool {
    let which = |path: &Path| std::fs::metadata(path).ok().map(|found| (found.dev(), found.ino()));
    which(path).is_some() && which(path) == which(&Path::new("/proc/self/ns").join(name))
}

impl Facts<'_> {
    /// Made for the container.
    fn has_own(&self, namespace: Namespace) -> bool {
        self.new.contains(&namespace)
    }

    /// Not the host's.
    fn is_own(&self, namespace: Namespace) -> bool {
        self.has_own(namespace) || self.joined.iter().any(|(joined, _)| *joined == namespace)
    }

    fn in_user_namespace(&self) -> bool {
        self.is_own(Namespace::User)
    }

    /// The file of a namespace that exists.
    fn joins(&self, namespace: Namespace) -> Option<&Path> {
        self.joined.iter().find(|(joined, _)| *joined == namespace).map(|(_, path)| *path)
    }

    /// Whether the container knows a group of this number.
    fn has_group(&self, gid: u32) -> bool {
        match id_map(self) {
            None => true,
            Some(map) => {
                map.groups.iter().any(|range| gid.checked_sub(range.inside).is_some_and(|at| at < range.count))
            }
        }
    }
}

/// What the configuration says. When it says nothing, the kernel lets us map one ID without root: our own, to the
/// user that the process shall be.
fn id_map(facts: &Facts) -> Option<IdMap> {
    if !facts.has_own(Namespace::User) {
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

fn propagation(config: &Config) -> anyhow::Result<Propagation> {
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
fn pivot(config: &Config) -> Pivot {
    let wanted = config.linux.rootfs_propagation.as_deref().unwrap_or_default();
    let kind = kind_of_propagation(wanted).filter(|kind| *kind != Propagation::Private);
    Pivot { propagation: kind, recursive: kind.is_some() && wanted.starts_with('r') }
}

/// The process, and what must be ready before there is one.
fn clone(bundle: &Bundle, facts: &Facts) -> anyhow::Result<Vec<Step>> {
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
    }));
    Ok(steps)
}

/// The namespaces that exist: those that the parent enters for the child, and those that it enters itself. The
/// user namespace is where it is made.
fn joins(facts: &Facts) -> (Vec<Step>, Vec<Step>) {
    let step = |(kind, path): &(Namespace, &Path)| Step::Join(Join { namespace: *kind, path: path.to_path_buf() });
    let joined = facts.joined.iter().filter(|(kind, _)| *kind != Namespace::User).map(step);
    joined.partition(|step| step.place() == Place::Before)
}

/// Clocks and what is added to them.
fn time_offsets(config: &Config) -> anyhow::Result<Vec<(String, i64, u32)>> {
    let one = |(clock, offset): (&String, &crate::config::TimeOffset)| match clock.as_str() {
        "monotonic" | "boottime" => Ok((clock.clone(), offset.secs, offset.nanosecs)),
        _ => bail!("config.json: linux.timeOffsets: {clock}: want monotonic or boottime"),
    };
    config.linux.time_offsets.iter().map(one).collect()
}

/// Mounts whose source is in another container's mount namespace, in their order.
fn lent(config: &Config) -> impl Iterator<Item = (&Wanted, BorrowedSource)> {
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
fn idmapped(bundle: &Bundle, facts: &Facts) -> anyhow::Result<IdmappedSources> {
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

fn root(bundle: &Bundle, facts: &Facts) -> Step {
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
            attributes,
        }),
    }
}

fn device_rules<'a>(facts: &Facts<'a>) -> &'a [DeviceRule] {
    facts.config.linux.resources.as_ref().map_or(&[], |resources| &resources.devices)
}

fn allows_every_device(facts: &Facts) -> bool {
    device_rules(facts)
        .last()
        .is_some_and(|rule| rule.allow && rule.kind.as_deref().is_none_or(|kind| kind == "a") && rule.major.is_none())
}

fn mount_step(
    mount: &Wanted,
    bundle: &Bundle,
    facts: &Facts,
    trees: &[(String, std::path::PathBuf)],
) -> anyhow::Result<Step> {
    let target = mount.destination.clone();
    let parsed = Mount::parse(mount.options.iter().map(String::as_str));
    let kind = mount.kind.as_deref().unwrap_or(if parsed.bind { "bind" } else { "" });
    let source = mount.source.clone().unwrap_or_else(|| kind.into());
    if mount_hides_proc(&target, kind) {
        bail!("config.json: mounts: {}: only a proc file system may stand there", target.display());
    }
    // Without a network namespace of its own a user namespace has no right to a new sysfs: the host's, read-only.
    let sysfs_of_host = kind == "sysfs" && facts.in_user_namespace() && !facts.has_own(Namespace::Network);
    if parsed.bind || kind == "bind" || sysfs_of_host {
        let source = if sysfs_of_host { "/sys".into() } else { bundle.path.as_path().join(source) };
        return Ok(Step::Bind(Bind {
            held: if facts.in_user_namespace() { Held::of(&source) } else { None },
            source,
            target,
            // In a user namespace a mount must keep what the host has mounted below it.
            recursive: parsed.recursive || sysfs_of_host || facts.in_user_namespace(),
            attributes: parsed.attributes,
            recursive_attributes: parsed.recursive_attributes,
            recursive_clear: parsed.recursive_clear,
            propagation: parsed.propagation.filter(|kind| *kind != Propagation::Private),
            idmapped: maps_owners(mount)
                .then(|| facts.config.mounts.iter().filter(|m| maps_owners(m)).position(|m| std::ptr::eq(m, mount)))
                .flatten(),
            borrowed: lent(facts.config).position(|(m, _)| std::ptr::eq(m, mount)),
        }));
    }
    if kind == "cgroup" || kind == "cgroup2" {
        let unified = rustix::fs::statfs("/sys/fs/cgroup").is_ok_and(|found| found.f_type == CGROUP2);
        return Ok(Step::CgroupMounts(CgroupMounts {
            target,
            unified,
            trees: trees.to_vec(),
            attributes: parsed.attributes,
        }));
    }
    let known = |option: &String| match option.strip_prefix("gid=") {
        Some(gid) if kind == "devpts" => gid.parse().is_ok_and(|gid| facts.has_group(gid)),
        _ => true,
    };
    Ok(Step::Filesystem(Filesystem {
        kind: kind.into(),
        source: source.to_string_lossy().into_owned(),
        target,
        options: parsed.options.into_iter().filter(known).collect(),
        attributes: parsed.attributes.and(parsed.recursive_attributes),
        copy_up: parsed.copy_up,
    }))
}

/// `f_type` of cgroup2.
const CGROUP2: i64 = 0x6367_7270;

/// A volume on /proc would let the container write its own answers (CVE-2019-16884).
fn mount_hides_proc(target: &Path, kind: &str) -> bool {
    let at: std::path::PathBuf = target.components().collect();
    at == Path::new("/proc") && kind != "proc"
}

/// What every container has, and what the configuration adds.
fn devices(facts: &Facts) -> anyhow::Result<Devices> {
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

fn hostname(facts: &Facts) -> Option<Hostname> {
    let clean = |name: &Option<String>| name.clone().filter(|name| !name.is_empty());
    let (hostname, domainname) = (clean(&facts.config.hostname), clean(&facts.config.domainname));
    // docker run --uts=host leaves the name in the file; the host's own name it must not become.
    let asked = hostname.is_some() || domainname.is_some();
    (asked && facts.has_own(Namespace::Uts)).then_some(Hostname { hostname, domainname })
}

/// How the process stands beside others: scheduler, priority, personality, and the name under which a security
/// module watches it.
fn scheduling(config: &Config, process: &Process) -> anyhow::Result<Vec<Step>> {
    let mut steps = Vec::new();
    if let Some(wanted) = &config.linux.personality {
        steps.push(Step::Personality(Personality::new(&wanted.domain, &wanted.flags)?));
    }
    if let Some(wanted) = &process.scheduler {
        let scheduler = Scheduler {
            policy: wanted.policy.clone(),
            nice: wanted.nice,
            priority: wanted.priority,
            flags: wanted.flags.clone(),
            runtime: wanted.runtime,
            deadline: wanted.deadline,
            period: wanted.period,
        };
        steps.push(Step::Scheduler(scheduler.check()?));
    }
    if let Some(wanted) = &process.io_priority {
        steps.push(Step::IoPriority(IoPriority::new(&wanted.class, wanted.priority)?));
    }
    let name = |name: &Option<String>| name.clone().unwrap_or_default();
    steps.extend(Label::new(Module::AppArmor, &name(&process.apparmor_profile))?.map(Step::Label));
    steps.extend(Label::new(Module::SeLinux, &name(&process.selinux_label))?.map(Step::Label));
    Label::new(Module::SeLinux, &name(&config.linux.mount_label))?;
    Ok(steps)
}

fn user(facts: &Facts) -> anyhow::Result<Step> {
    let (user, none) = (&facts.process.user, bundle::process::Capabilities::default());
    let asked = facts.process.capabilities.as_ref().unwrap_or(&none);
    let sets = [&asked.bounding, &asked.effective, &asked.permitted, &asked.inheritable, &asked.ambient];
    Capabilities::check(sets.into_iter().flatten())?;
    let groups = match id_map(facts) {
        Some(map) if map.deny_setgroups => None,
        _ => Some(user.additional_gids.clone()),
    };
    Ok(Step::User(User {
        uid: user.uid,
        gid: user.gid,
        groups,
        umask: user.umask.unwrap_or(0o022),
        bounding: asked.bounding.clone(),
    }))
}

/// What hooks and listeners are told.
fn state(bundle: &Bundle, config: &Config, around: &Around) -> State {
    State {
        oci_version: config.oci_version.clone(),
        id: around.id.into(),
        status: String::new(),
        pid: None,
        bundle: bundle.path.0.clone(),
        annotations: config.annotations.clone(),
    }
}

/// The filter of system calls, and who listens to it.
fn filter(facts: &Facts, state: &State) -> anyhow::Result<Vec<Step>> {
    let Some(profile) = &facts.config.linux.seccomp else { return Ok(Vec::new()) };
    let filter = Seccomp::new(profile)?;
    let mut steps = Vec::new();
    match (&profile.listener_path, filter.listens) {
        (None, true) => bail!("config.json: linux.seccomp: SCMP_ACT_NOTIFY without a listenerPath"),
        (Some(path), true) => steps.push(Step::Listener(Listener {
            path: path.clone(),
            metadata: profile.listener_metadata.clone(),
            state: state.clone(),
        })),
        (_, false) => {}
    }
    steps.insert(0, Step::Seccomp(filter));
    Ok(steps)
}

/// The last things of ours: what is left to the process. Without `no_new_privs` a filter needs a capability that
/// goes next, so the filter comes first; else it comes last and need not allow what the steps before it do.
fn rights(facts: &Facts, state: &State) -> anyhow::Result<Vec<Step>> {
    let none = bundle::process::Capabilities::default();
    let asked = facts.process.capabilities.as_ref().unwrap_or(&none);
    let capabilities = Capabilities {
        effective: asked.effective.clone(),
        permitted: asked.permitted.clone(),
        inheritable: asked.inheritable.clone(),
        ambient: asked.ambient.clone(),
    };
    let filter = filter(facts, state)?;
    let mut steps = vec![Step::Capabilities(capabilities)];
    if facts.process.no_new_privileges {
        steps.push(Step::NoNewPrivileges(NoNewPrivileges {}));
        steps.extend(filter);
    } else {
        steps.splice(0..0, filter);
    }
    Ok(steps)
}

/// Only trees in which something is limited get a cgroup: making one costs as much as a mount.
fn cgroups(facts: &Facts) -> anyhow::Result<Option<Cgroups>> {
    let Some(resources) = &facts.config.linux.resources else { return Ok(None) };
    let mut limits = limits(resources);
    limits.extend(device_limit(facts, resources));
    if limits.is_empty() {
        return Ok(None);
    }
    let default = format!("dock/{}", facts.around.id);
    let name = facts.config.linux.cgroups_path.as_deref().filter(|path| !path.is_empty()).unwrap_or(&default);
    Ok(Some(Cgroups::new(&Hierarchies::of_this_host()?, &where_systemd_would(name), &limits, facts.rootless)?))
}

/// `SLICE:PREFIX:NAME` is how those who use systemd name a cgroup. It is made by hand where systemd would make it:
/// `a-b.slice` stands in `a.slice`.
pub fn where_systemd_would(path: &str) -> String {
    let [slice, prefix, name] = path.split(':').collect::<Vec<_>>()[..] else { return path.into() };
    if path.contains('/') {
        return path.into();
    }
    let slice = match slice {
        "" => "system.slice",
        "-.slice" => "",
        slice => slice,
    };
    let mut parts = Vec::new();
    let stem = slice.trim_end_matches(".slice");
    for (at, _) in stem.match_indices('-') {
        parts.push(format!("{}.slice", &stem[..at]));
    }
    parts.extend((!slice.is_empty()).then(|| slice.to_owned()));
    parts.push(match (name.strip_suffix(".slice"), prefix) {
        (Some(_), _) | (_, "") => name.into(),
        _ => format!("{prefix}-{name}.scope"),
    });
    parts.join("/")
}

fn limits(resources: &Resources) -> Limits {
    let mut limits = Vec::new();
    if let Some(memory) = &resources.memory {
        limits.extend(memory.limit.map(Limit::Memory));
        limits.extend(memory.swap.map(Limit::MemorySwap));
        limits.extend(memory.reservation.map(Limit::MemoryReservation));
    }
    if let Some(cpu) = &resources.cpu {
        limits.extend(cpu.shares.filter(|shares| *shares > 0).map(Limit::CpuShares));
        if cpu.quota.is_some_and(|quota| quota != 0) || cpu.period.is_some() {
            limits.push(Limit::CpuQuota(cpu.quota.unwrap_or(-1), cpu.period.filter(|period| *period > 0)));
        }
        limits.extend(cpu.cpus.clone().filter(|list| !list.is_empty()).map(Limit::CpusetCpus));
        limits.extend(cpu.mems.clone().filter(|list| !list.is_empty()).map(Limit::CpusetMems));
    }
    limits.extend(resources.pids.as_ref().filter(|pids| pids.limit != 0).map(|pids| Limit::Pids(pids.limit)));
    more_limits(resources, &mut limits);
    limits.extend(resources.unified.iter().map(|(file, text)| Limit::Unified(file.clone(), text.clone())));
    limits
}

/// Limits that few ask for.
fn more_limits(resources: &Resources, limits: &mut Limits) {
    if let Some(cpu) = &resources.cpu {
        limits.extend(cpu.burst.map(Limit::cpu_burst));
        limits.extend(cpu.idle.map(Limit::cpu_idle));
        // docker writes zeros where nothing was asked for.
        let (runtime, period) = (cpu.realtime_runtime.filter(|v| *v != 0), cpu.realtime_period.filter(|v| *v != 0));
        limits.extend((runtime.is_some() || period.is_some()).then(|| Limit::cpu_real_time(runtime, period)));
    }
    if let Some(memory) = &resources.memory {
        limits.extend(memory.swappiness.filter(|value| *value <= 100).map(Limit::swappiness));
        limits.extend(memory.disable_oom_killer.then(Limit::no_oom_killer));
    }
    if let Some(block) = &resources.block_io {
        limits.extend(block.weight.filter(|weight| *weight > 0).map(|weight| Limit::block_weight(weight, None)));
        let name = |device: &crate::config::BlockDevice| format!("{}:{}", device.major, device.minor);
        limits.extend(block.weight_device.iter().filter_map(|d| Some(Limit::block_weight(d.weight?, Some(&name(d))))));
        for (what, list) in [
            (Throttle::ReadBytes, &block.throttle_read_bps_device),
            (Throttle::WriteBytes, &block.throttle_write_bps_device),
            (Throttle::ReadOperations, &block.throttle_read_iops_device),
            (Throttle::WriteOperations, &block.throttle_write_iops_device),
        ] {
            limits.extend(list.iter().filter_map(|d| Some(Limit::block_throttle(what, &name(d), d.rate?))));
        }
    }
    limits.extend(resources.hugepage_limits.iter().map(|pages| Limit::huge_pages(&pages.size, pages.limit)));
    limits
        .extend(resources.rdma.iter().map(|(name, wanted)| Limit::rdma(name, wanted.hca_handles, wanted.hca_objects)));
    if let Some(network) = &resources.network {
        limits.extend(network.class.filter(|class| *class != 0).map(Limit::network_class));
        limits.extend(network.priorities.iter().map(|one| Limit::network_priority(&one.name, one.priority)));
    }
}

/// The list of devices needs a cgroup of its own only where the process could make nodes (the root file
/// system is mounted nodev) or where a node that it gets shall be good for less than reading and writing.
fn device_limit(facts: &Facts, resources: &Resources) -> Option<Limit> {
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

fn cgroup_trees(cgroups: &Cgroups) -> Vec<(String, std::path::PathBuf)> {
    let name = |group: &linux_sandbox::Group| group.controllers.join(",");
    cgroups.groups.iter().map(|group| (name(group), group.path.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::where_systemd_would;

    #[test]
    fn cgroups_stand_where_systemd_would_make_them() {
        for (path, want) in [
            ("dock/x", "dock/x"),
            ("system.slice:docker:abc", "system.slice/docker-abc.scope"),
            (":cri:abc", "system.slice/cri-abc.scope"),
            ("user-1000-x.slice:p:n", "user.slice/user-1000.slice/user-1000-x.slice/p-n.scope"),
            ("-.slice:p:n", "p-n.scope"),
            ("a:b:c:d", "a:b:c:d"),
            ("x/a:b:c", "x/a:b:c"),
        ] {
            assert_eq!(where_systemd_would(path), want);
        }
    }
}

//! `config.json` and the bundle record become the list of steps: [`steps`] is the list, each file beside this one
//! what one mechanism needs. Nothing is done here.

mod cgroups;
mod devices;
mod facts;
mod mounts;
mod namespaces;
mod rights;
mod scheduling;

use crate::config::Config;
use anyhow::{Context, bail};
pub use cgroups::cgroup_trees;
use cgroups::{cgroups, scope};
use devices::devices;
use facts::Facts;
use linux_sandbox::{
    Console, Exec, JoinCgroups, Loopback, MakeWorkDir, Masks, Moment, Namespace, NamespaceRoot, OomScore, Propagation,
    PropagationStep, ReadOnlyPaths, ReadOnlyRoot, Rlimits, SignalsToDefault, State, Step, Sysctls, UnshareCgroup,
    WorkDir,
};
use mounts::{mount_step, pivot, propagation, root};
use namespaces::{clone, hostname, id_map, joins, map_in_force, net_devices};
use rights::{rights, user};
use scheduling::scheduling;
use std::path::{Path, PathBuf};
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
    /// systemd makes the cgroup.
    pub systemd: bool,
}

/// The list, in the order in which it runs.
pub fn steps(bundle: &Bundle, config: &Config, around: &Around) -> anyhow::Result<Vec<Step>> {
    let process = config.process.as_ref().context("config.json: process: missing")?;
    refuse_what_is_not_built(config)?;
    let facts = Facts::of(config, process, around)?;
    let state = state(bundle, config, around);
    let rootfs = bundle.path.as_path().join(&config.root.path);
    let hooks = |moment, directory: &Path| crate::hooks::of(moment, config, &state, directory);

    let mut steps = Vec::new();
    let trees = add_isolation(&mut steps, bundle, &facts)?;
    add_view(&mut steps, bundle, &facts, &rootfs, &trees)?;
    steps.extend(hooks(Moment::Prestart, bundle.path.as_path())?);
    steps.extend(hooks(Moment::CreateRuntime, bundle.path.as_path())?);
    steps.extend(hooks(Moment::CreateContainer, &rootfs)?);
    add_entry(&mut steps, &facts);
    add_process(&mut steps, &facts)?;
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

/// Cgroups and namespaces, and a process that is in them; the answer is where the trees of its cgroups are.
fn add_isolation(steps: &mut Vec<Step>, bundle: &Bundle, facts: &Facts) -> anyhow::Result<Vec<(String, PathBuf)>> {
    let by_systemd = facts.around.systemd;
    let scope = if by_systemd { Some(scope(facts)?) } else { None };
    let cgroups = if by_systemd { None } else { cgroups(facts)? };
    let made = cgroups.as_ref().or(scope.as_ref().map(|scope| &scope.cgroups));
    let join = made.map(|made| JoinCgroups { paths: made.groups.iter().map(|g| g.path.clone()).collect() });
    let trees = made.map(cgroup_trees).unwrap_or_default();

    steps.extend(cgroups.map(Step::Cgroups));
    steps.extend(clone(bundle, facts)?);
    steps.extend(id_map(facts).map(Step::IdMap));
    steps.extend(scope.map(Step::Scope));
    steps.extend(facts.process.oom_score_adj.map(|value| Step::OomScore(OomScore { value })));
    steps.extend(join.map(Step::JoinCgroups));
    let has_root = map_in_force(facts).map(|map| !map.deny_setgroups);
    if has_root.unwrap_or_else(|| facts.joins(Namespace::User).is_some()) {
        steps.push(Step::NamespaceRoot(NamespaceRoot {}));
    }
    let (_, inside) = joins(facts);
    steps.extend(inside);
    steps.extend(net_devices(facts)?.map(Step::NetDevices));
    if facts.has_own(Namespace::Cgroup) {
        steps.push(Step::UnshareCgroup(UnshareCgroup {}));
    }
    Ok(trees)
}

/// What it will see: the root directory with what is mounted in it, devices, what is hidden or only read.
fn add_view(
    steps: &mut Vec<Step>,
    bundle: &Bundle,
    facts: &Facts,
    rootfs: &Path,
    trees: &[(String, PathBuf)],
) -> anyhow::Result<()> {
    let (config, process) = (facts.config, facts.process);
    if facts.has_own(Namespace::Mount) {
        let propagation = propagation(config)?;
        let except = (propagation == Propagation::Shared).then(|| rootfs.to_owned());
        steps.push(Step::Propagation(PropagationStep { propagation, except }));
    }
    steps.push(root(bundle, facts));
    for mount in &config.mounts {
        steps.extend(mount_step(mount, bundle, facts, trees)?);
    }
    steps.push(Step::Devices(devices(facts)?));
    if facts.around.terminal {
        steps.push(Step::Console(Console { uid: process.user.uid, size: facts.around.terminal_size, console: true }));
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
    Ok(())
}

/// The root directory becomes its own.
fn add_entry(steps: &mut Vec<Step>, facts: &Facts) {
    if facts.config.root.readonly {
        steps.push(Step::ReadOnlyRoot(ReadOnlyRoot {}));
    }
    steps.push(Step::Pivot(pivot(facts.config)));
    steps.extend(hostname(facts).map(Step::Hostname));
    if facts.has_own(Namespace::Network) {
        steps.push(Step::Loopback(Loopback {}));
    }
}

/// Limits of the process alone, where it starts, and as whom.
fn add_process(steps: &mut Vec<Step>, facts: &Facts) -> anyhow::Result<()> {
    let process = facts.process;
    if !process.rlimits.is_empty() {
        let limits = process.rlimits.iter().map(|limit| (limit.kind.clone(), limit.soft, limit.hard));
        steps.push(Step::Rlimits(Rlimits::new(limits.collect())?));
    }
    steps.extend(scheduling(facts.config, process)?);
    steps.push(Step::WorkDir(WorkDir { path: process.cwd.clone() }));
    steps.push(user(facts));
    steps.push(Step::Signals(SignalsToDefault {}));
    Ok(())
}

/// Isolation that was asked for and cannot be given is an error, never left out in silence.
fn refuse_what_is_not_built(config: &Config) -> anyhow::Result<()> {
    if !config.oci_version.starts_with("1.") {
        bail!("config.json: ociVersion {}: this program reads 1.x", config.oci_version);
    }
    if let Some(process) = config.process.as_ref().filter(|process| !process.cwd.is_absolute()) {
        bail!("config.json: process.cwd: {}: not an absolute path", process.cwd.display());
    }
    if config.linux.intel_rdt.as_ref().is_some_and(|wanted| !wanted.is_null()) {
        bail!("config.json: linux.intelRdt: this program does not know the processor's cache and memory classes");
    }
    Ok(())
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

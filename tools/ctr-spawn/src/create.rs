//! A container that is made and waits for its start: the operation "create" of the OCI runtime specification
//! (runtime.md), for a runtime that keeps its own state. What is said here does not hold for containers of the store.

use crate::config::Config;
use crate::plan::cgroup_trees;
use anyhow::Context;
use bundle::life::Started;
use clap::Args;
use linux_sandbox::{
    AwaitStart, Cgroups, FirstStderr, Hierarchies, JoinCgroups, Moment, Outlive, Place, Plan, Step, Unit,
    where_systemd_would,
};
use serde_json::Value;
use std::path::{Path, PathBuf};
use wire::Bundle;

#[derive(Debug, Args)]
#[group(skip)]
pub struct Options {
    /// Set up everything and return: the process waits for a byte in DIR/exec.fifo, DIR/state.json tells of it
    #[arg(long, value_name = "DIR", conflicts_with_all = ["rm", "die_with_parent", "plan"])]
    pub create: Option<PathBuf>,

    /// With --create: write the process's ID to FILE
    #[arg(long, value_name = "FILE", requires = "create")]
    pid_file: Option<PathBuf>,

    /// With --create: hand the terminal to whoever listens at the socket PATH
    #[arg(long, value_name = "PATH", requires = "create")]
    console_socket: Option<PathBuf>,

    /// With --create: hand a descriptor of the process to whoever listens at the socket PATH
    #[arg(long, value_name = "PATH", requires = "create")]
    pidfd_socket: Option<PathBuf>,

    /// With --create: pass COUNT descriptors from 3 on to the process
    #[arg(long, value_name = "COUNT", requires = "create", default_value_t = 0, hide_default_value = true)]
    preserve_fds: u32,

    /// With --create: say what there is to say in FILE instead of on stderr, which is the process's
    #[arg(long, value_name = "FILE", requires = "create")]
    log: Option<PathBuf>,
}

impl Options {
    /// From here on everything that is said goes to the log.
    pub fn open_log(&self) -> anyhow::Result<Option<FirstStderr>> {
        Ok(self.log.as_deref().map(FirstStderr::log_to).transpose()?)
    }
}

/// Adds to the list what a process that waits and outlives us needs.
pub fn prepare(
    options: &Options,
    stderr: Option<FirstStderr>,
    steps: &mut Vec<Step>,
    config: &Config,
    id: &str,
) -> anyhow::Result<()> {
    let Some(dir) = &options.create else { return Ok(()) };
    let size = config.process.as_ref().and_then(|process| process.console_size);
    for step in &mut *steps {
        match step {
            Step::Exec(exec) => exec.keep = options.preserve_fds,
            Step::Look(look) => look.keep = options.preserve_fds,
            Step::Console(console) => console.size = size.map(|size| (size.height, size.width)),
            _ => {}
        }
    }
    if rustix::process::geteuid().is_root() && !steps.iter().any(|step| matches!(step, Step::Scope(_))) {
        join_every_tree(steps, config, id)?;
    }
    let first_inside = steps.iter().position(|step| step.place() == Place::Inside).unwrap_or(steps.len());
    steps.splice(first_inside..first_inside, stderr.map(Step::FirstStderr));
    steps.insert(first_inside, Step::Outlive(Outlive {}));
    // The start is not now: whoever makes it tells those who want to hear of it.
    steps.retain(|step| !matches!(step, Step::Hooks(hooks) if hooks.moment == Moment::Poststart));
    let Some(exec) = steps.iter().find_map(|step| if let Step::Exec(exec) = step { Some(exec) } else { None }) else {
        return Ok(());
    };
    let wait = AwaitStart::new(&dir.join("exec.fifo"), exec)?;
    // With the rights that the command will have, and before a filter that need not allow what is ours to do.
    let last = |step: &Step| matches!(step, Step::Capabilities(_) | Step::NoNewPrivileges(_));
    let at = steps.iter().rposition(last).map_or(steps.len() - 1, |at| at + 1);
    steps.insert(at, Step::AwaitStart(wait));
    Ok(())
}

/// Whoever pauses, counts or ends all processes of a container does it by cgroups, limits or none.
fn join_every_tree(steps: &mut Vec<Step>, config: &Config, id: &str) -> anyhow::Result<()> {
    let default = format!("dock/{id}");
    let name = config.linux.cgroups_path.as_deref().filter(|path| !path.is_empty()).unwrap_or(&default);
    if !matches!(steps.first(), Some(Step::Cgroups(_))) {
        steps.insert(0, Step::Cgroups(Cgroups { groups: Vec::new() }));
        let at = steps.iter().position(|step| step.place() == Place::Inside).unwrap_or(steps.len());
        steps.insert(at, Step::JoinCgroups(JoinCgroups { paths: Vec::new() }));
    }
    let Some(Step::Cgroups(cgroups)) = steps.first_mut() else { return Ok(()) };
    cgroups.in_every_tree(&Hierarchies::of_this_host()?, &where_systemd_would(name))?;
    let (trees, paths) =
        (cgroup_trees(cgroups), cgroups.groups.iter().map(|group| group.path.clone()).collect::<Vec<_>>());
    for step in steps {
        match step {
            Step::JoinCgroups(join) => join.paths.clone_from(&paths),
            Step::CgroupMounts(mounts) => mounts.trees.clone_from(&trees),
            _ => {}
        }
    }
    Ok(())
}

/// Runs the list up to the waiting, and writes down what there is now.
pub fn create(options: &Options, dir: &Path, plan: &Plan, bundle: &Bundle, id: &str) -> anyhow::Result<()> {
    let mut running = linux_sandbox::spawn(plan).map_err(|error| crate::hints::with_hint(&error))?;
    let told = tell(options, dir, plan, bundle, id, &mut running);
    if told.is_err() {
        running.kill();
        running.clean_up(&plan.steps);
    }
    told
}

fn tell(
    options: &Options,
    dir: &Path,
    plan: &Plan,
    bundle: &Bundle,
    id: &str,
    running: &mut linux_sandbox::Running,
) -> anyhow::Result<()> {
    if let Some(socket) = &options.console_socket {
        running.send_terminal(socket)?;
    }
    if let Some(socket) = &options.pidfd_socket {
        running.send_pidfd(socket, "standard")?;
    }
    let mut state = Started::new(id, running.pid(), bundle.path.as_path())?;
    state.status = "created".into();
    let cgroups = plan.steps.iter().find_map(|step| match step {
        Step::JoinCgroups(join) => Some(join.paths.iter().map(|path| path.to_string_lossy().into_owned()).collect()),
        _ => None,
    });
    state.rest.insert("cgroups".into(), cgroups.unwrap_or_else(|| Value::Array(Vec::new())));
    Unit::note(&plan.steps, &mut state.rest);
    bundle::write_file(dir, "state.json", &serde_json::to_vec(&state)?)?;
    if let Some(file) = &options.pid_file {
        std::fs::write(file, running.pid().to_string()).with_context(|| file.display().to_string())?;
    }
    Ok(())
}

//! The process becomes the list of steps. Nothing is done here.

use crate::cgroups;
use crate::target::Container;
use bundle::process::Process;
use linux_sandbox::{
    Affinity, Attach, BornIn, Capabilities, Clone, Console, EnterCgroups, Exec, IoPriority, Label, MemoryPolicy,
    Module, Namespace, NamespaceRoot, NoNewPrivileges, NullStdio, OomScore, Outlive, Personality, Rlimits, Scheduler,
    Seccomp, SignalsToDefault, Step, User, WorkDir,
};

/// What the command line adds to the process.
#[derive(Debug)]
pub struct Around {
    /// It lives on when ctr-exec ends.
    pub detach: bool,
    /// Somebody in the container may trace a process of ours that he sees.
    pub watched: bool,
    /// Standard descriptors that are the container's `/dev/null`.
    pub null: Vec<u8>,
    /// Descriptors from 3 on that are passed on.
    pub preserve_fds: u32,
    /// Lines and columns of the person's terminal.
    pub terminal_size: Option<(u16, u16)>,
    /// Cgroups below the container's own, as runc names them.
    pub cgroups: Vec<String>,
    /// Whether this process is root.
    pub root: bool,
}

/// The list, in the order in which it runs.
pub fn steps(container: &Container, process: &Process, around: &Around) -> anyhow::Result<Vec<Step>> {
    let first = &container.first;
    let namespaces = first.namespaces()?;
    let (parent, inside) = first.enter(&namespaces, around.root);
    let born_last = around.watched && namespaces.contains(&Namespace::Pid);
    let (parent, late) = if born_last { (None, Some(parent)) } else { (Some(parent), None) };
    let (unified, trees) = cgroups::of(&first.cgroups()?, &around.cgroups)?;
    let affinity = |list: Option<&String>| list.filter(|list| !list.is_empty()).map(|list| Affinity::new(list));
    let affinities = process.exec_cpu_affinity.as_ref();
    let mut steps: Vec<Step> = parent.into_iter().map(Step::EnterPid).collect();
    let initial = affinity(affinities.and_then(|both| both.initial.as_ref())).transpose()?;
    steps.extend(initial.map(Step::FirstAffinity));
    let scope = container.scope.clone().filter(|_| !around.root && around.cgroups.is_empty());
    steps.extend(unified.filter(|_| scope.is_none()).map(|path| Step::BornIn(BornIn { path })));
    steps.push(Step::Clone(Clone::default()));
    steps.extend(scope.map(|unit| Step::Attach(Attach { unit })));
    steps.extend(process.oom_score_adj.map(|value| Step::OomScore(OomScore { value })));
    if around.detach {
        steps.push(Step::Outlive(Outlive {}));
    }
    if !trees.is_empty() {
        let if_allowed = !around.root && around.cgroups.is_empty();
        steps.push(Step::EnterCgroups(EnterCgroups { paths: trees, if_allowed }));
    }
    let last = affinity(affinities.and_then(|both| both.last.as_ref())).transpose()?;
    steps.extend(last.map(Step::Affinity));
    steps.extend(scheduling(container, process)?);
    steps.push(Step::Enter(inside));
    let sets_groups = !first.denies_setgroups();
    if namespaces.contains(&Namespace::User) && sets_groups {
        steps.push(Step::NamespaceRoot(NamespaceRoot {}));
    }
    if process.terminal {
        let size = around.terminal_size.or(process.console_size.map(|size| (size.height, size.width)));
        steps.push(Step::Console(Console { uid: process.user.uid, size, console: false }));
    } else if !around.null.is_empty() {
        steps.push(Step::NullStdio(NullStdio { fds: around.null.clone() }));
    }
    if !process.rlimits.is_empty() {
        let limits = process.rlimits.iter().map(|limit| (limit.kind.clone(), limit.soft, limit.hard));
        steps.push(Step::Rlimits(Rlimits::new(limits.collect())?));
    }
    let label = |module, name: &Option<String>| Label::new(module, name.as_deref().unwrap_or_default());
    steps.extend(label(Module::AppArmor, &process.apparmor_profile)?.map(Step::Label));
    steps.extend(label(Module::SeLinux, &process.selinux_label)?.map(Step::Label));
    steps.push(Step::WorkDir(WorkDir { path: process.cwd.clone() }));
    steps.extend(late.map(Step::Enter));
    steps.push(user(process, sets_groups));
    steps.push(Step::Signals(SignalsToDefault {}));
    let exec = Exec::new(process.args.clone(), process.env.clone())?.keeping(around.preserve_fds).born_last(born_last);
    steps.push(Step::Look(exec.look()));
    steps.extend(rights(container, process)?);
    steps.push(Step::Exec(exec));
    Ok(steps)
}

fn scheduling(container: &Container, process: &Process) -> anyhow::Result<Vec<Step>> {
    let mut steps = Vec::new();
    let linux = &container.config.linux;
    if let Some(wanted) = &linux.personality {
        steps.push(Step::Personality(Personality::new(&wanted.domain, &wanted.flags)?));
    }
    if let Some(wanted) = &linux.memory_policy {
        steps.push(Step::MemoryPolicy(MemoryPolicy::new(&wanted.mode, &wanted.nodes, &wanted.flags)?));
    }
    if let Some(wanted) = process.scheduler.clone() {
        let bundle::process::Scheduler { policy, nice, priority, flags, runtime, deadline, period } = wanted;
        let scheduler = Scheduler { policy, nice, priority, flags, runtime, deadline, period };
        steps.push(Step::Scheduler(scheduler.check()?));
    }
    if let Some(wanted) = &process.io_priority {
        steps.push(Step::IoPriority(IoPriority::new(&wanted.class, wanted.priority)?));
    }
    Ok(steps)
}

fn user(process: &Process, sets_groups: bool) -> Step {
    let user = &process.user;
    let asked = process.capabilities.clone().unwrap_or_default();
    Step::User(User {
        uid: user.uid,
        gid: user.gid,
        groups: sets_groups.then(|| user.additional_gids.clone()),
        umask: user.umask.unwrap_or(0o022),
        bounding: asked.bounding,
    })
}

/// What the container's own process may do, and no more. Without `no_new_privs` a filter needs a capability that
/// goes next, so the filter comes first; else it comes last and need not allow what the steps before it do.
fn rights(container: &Container, process: &Process) -> anyhow::Result<Vec<Step>> {
    let asked = process.capabilities.clone().unwrap_or_default();
    let filter = container.config.linux.seccomp.as_ref().map(Seccomp::new).transpose()?.map(Step::Seccomp);
    let sets = [&asked.bounding, &asked.effective, &asked.permitted, &asked.inheritable, &asked.ambient];
    let mut steps = vec![Step::Capabilities(Capabilities {
        unknown: Capabilities::unknown(sets.into_iter().flatten()),
        effective: asked.effective,
        permitted: asked.permitted,
        inheritable: asked.inheritable,
        ambient: asked.ambient,
    })];
    if process.no_new_privileges {
        steps.push(Step::NoNewPrivileges(NoNewPrivileges {}));
        steps.extend(filter);
    } else {
        steps.splice(0..0, filter);
    }
    Ok(steps)
}

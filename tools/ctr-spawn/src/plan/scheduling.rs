//! How the process stands beside others: its turn on processors and disks, its memory nodes, and the label it is watched by.

use crate::config::Config;
use bundle::process::Process;
use linux_sandbox::{IoPriority, Label, MemoryPolicy, Module, Personality, Scheduler, Step};

/// How the process stands beside others: scheduler, priority, memory policy, personality, and the name under which a security
/// module watches it.
pub(super) fn scheduling(config: &Config, process: &Process) -> anyhow::Result<Vec<Step>> {
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
    if let Some(wanted) = &config.linux.memory_policy {
        steps.push(Step::MemoryPolicy(MemoryPolicy::new(&wanted.mode, &wanted.nodes, &wanted.flags)?));
    }
    let name = |name: &Option<String>| name.clone().unwrap_or_default();
    steps.extend(Label::new(Module::AppArmor, &name(&process.apparmor_profile))?.map(Step::Label));
    steps.extend(Label::new(Module::SeLinux, &name(&process.selinux_label))?.map(Step::Label));
    Label::new(Module::SeLinux, &name(&config.linux.mount_label))?;
    Ok(steps)
}

//! What the process is left with: user, capabilities, filter of system calls.

use super::facts::Facts;
use super::namespaces::map_in_force;
use anyhow::bail;
use linux_sandbox::{Capabilities, Listener, NoNewPrivileges, Seccomp, State, Step, User};

pub(super) fn user(facts: &Facts) -> Step {
    let (user, none) = (&facts.process.user, bundle::process::Capabilities::default());
    let asked = facts.process.capabilities.as_ref().unwrap_or(&none);
    let groups = match map_in_force(facts) {
        Some(map) if map.deny_setgroups => None,
        _ => Some(user.additional_gids.clone()),
    };
    Step::User(User {
        uid: user.uid,
        gid: user.gid,
        groups,
        umask: user.umask.unwrap_or(0o022),
        bounding: asked.bounding.clone(),
    })
}

/// The last things of ours: what is left to the process. Without `no_new_privs` a filter needs a capability that
/// goes next, so the filter comes first; else it comes last and need not allow what the steps before it do.
pub(super) fn rights(facts: &Facts, state: &State) -> anyhow::Result<Vec<Step>> {
    let none = bundle::process::Capabilities::default();
    let asked = facts.process.capabilities.as_ref().unwrap_or(&none);
    let sets = [&asked.bounding, &asked.effective, &asked.permitted, &asked.inheritable, &asked.ambient];
    let capabilities = Capabilities {
        unknown: Capabilities::unknown(sets.into_iter().flatten()),
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

/// The filter of system calls, and who listens to it.
pub(super) fn filter(facts: &Facts, state: &State) -> anyhow::Result<Vec<Step>> {
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

//! Which cgroup, and which limits are written into it.

use super::devices::device_limit;
use super::facts::Facts;
use linux_sandbox::{Cgroups, Hierarchies, Limits, Scope, where_systemd_would};

/// Only trees in which something is limited get a cgroup: making one costs as much as a mount.
pub(super) fn cgroups(facts: &Facts) -> anyhow::Result<Option<Cgroups>> {
    let limits = wanted(facts);
    if limits.is_empty() {
        return Ok(None);
    }
    let name = name(facts, format!("dock/{}", facts.around.id));
    Ok(Some(Cgroups::new(&Hierarchies::of_this_host()?, &where_systemd_would(&name), &limits, facts.rootless)?))
}

/// The same by systemd. Without root it is the user's own manager that is asked.
pub(super) fn scope(facts: &Facts) -> anyhow::Result<Scope> {
    let name = name(facts, format!(":dock:{}", facts.around.id));
    let uid = facts.around.uid;
    Ok(Scope::new(&Hierarchies::of_this_host()?, &name, &wanted(facts), (uid != 0).then_some(uid))?)
}

fn wanted(facts: &Facts) -> Limits {
    let Some(resources) = &facts.config.linux.resources else { return Limits::new() };
    let mut limits = resources.limits();
    limits.extend(device_limit(facts, resources));
    limits
}

fn name(facts: &Facts, default: String) -> String {
    facts.config.linux.cgroups_path.clone().filter(|path| !path.is_empty()).unwrap_or(default)
}

/// What the container sees of the trees of version 1, each called as every host calls it in `/sys/fs/cgroup`. The tree of
/// version 2 beside them has no such name.
pub fn cgroup_trees(cgroups: &Cgroups) -> Vec<(String, std::path::PathBuf)> {
    let name = |group: &linux_sandbox::Group| {
        let name = group.controllers.join(",");
        name.strip_prefix("name=").map(Into::into).unwrap_or(name)
    };
    let named = cgroups.groups.iter().map(|group| (name(group), group.path.clone()));
    named.filter(|(name, _)| !name.is_empty()).collect()
}

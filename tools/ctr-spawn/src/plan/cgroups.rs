//! Which cgroup, and which limits are written into it.

use super::devices::device_limit;
use super::facts::Facts;
use crate::config::Resources;
use linux_sandbox::{Cgroups, Hierarchies, Limit, Limits, Scope, Throttle, where_systemd_would};

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
    let mut limits = limits(resources);
    limits.extend(device_limit(facts, resources));
    limits
}

fn name(facts: &Facts, default: String) -> String {
    facts.config.linux.cgroups_path.clone().filter(|path| !path.is_empty()).unwrap_or(default)
}

pub(super) fn limits(resources: &Resources) -> Limits {
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

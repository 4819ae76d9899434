//! Which cgroup, and which limits are written into it.

use super::devices::device_limit;
use super::facts::Facts;
use crate::config::Resources;
use linux_sandbox::{Cgroups, Hierarchies, Limit, Limits, Throttle};

/// Only trees in which something is limited get a cgroup: making one costs as much as a mount.
pub(super) fn cgroups(facts: &Facts) -> anyhow::Result<Option<Cgroups>> {
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
fn where_systemd_would(path: &str) -> String {
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

pub(super) fn cgroup_trees(cgroups: &Cgroups) -> Vec<(String, std::path::PathBuf)> {
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

//! The `linux.resources` member of a runtime configuration: which limits it asks for
//! ([runtime-spec, config-linux](https://github.com/opencontainers/runtime-spec/blob/main/config-linux.md#control-groups)).

use super::{Limit, Limits, Throttle};
use serde::Deserialize;
use std::collections::BTreeMap;

/// What a container may use. Members that nobody here knows are passed over, as the specification wants it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// In order: the last one that matches decides.
    #[serde(default)]
    pub devices: Vec<DeviceRule>,
    memory: Option<Memory>,
    cpu: Option<Cpu>,
    pids: Option<Pids>,
    #[serde(rename = "blockIO")]
    block_io: Option<BlockIo>,
    #[serde(default)]
    hugepage_limits: Vec<HugePages>,
    network: Option<Network>,
    #[serde(default)]
    rdma: BTreeMap<String, Rdma>,
    #[serde(default)]
    unified: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct BlockIo {
    weight: Option<u16>,
    #[serde(default)]
    weight_device: Vec<BlockDevice>,
    #[serde(default)]
    throttle_read_bps_device: Vec<BlockDevice>,
    #[serde(default)]
    throttle_write_bps_device: Vec<BlockDevice>,
    #[serde(default, rename = "throttleReadIOPSDevice")]
    throttle_read_iops_device: Vec<BlockDevice>,
    #[serde(default, rename = "throttleWriteIOPSDevice")]
    throttle_write_iops_device: Vec<BlockDevice>,
}

#[derive(Debug, Deserialize)]
struct BlockDevice {
    major: u32,
    minor: u32,
    weight: Option<u16>,
    rate: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct HugePages {
    #[serde(rename = "pageSize")]
    size: String,
    limit: u64,
}

#[derive(Debug, Deserialize)]
struct Network {
    #[serde(rename = "classID")]
    class: Option<u32>,
    #[serde(default)]
    priorities: Vec<Priority>,
}

#[derive(Debug, Deserialize)]
struct Priority {
    name: String,
    priority: u32,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rdma {
    hca_handles: Option<u32>,
    hca_objects: Option<u32>,
}

/// A rule on what may be done with some devices; what is absent is any.
#[derive(Debug, Deserialize)]
pub struct DeviceRule {
    /// Or forbidden.
    pub allow: bool,
    /// `b`, `c`, or `a` for both.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// The driver's number.
    pub major: Option<i64>,
    /// The device's among the driver's.
    pub minor: Option<i64>,
    /// Of `rwm`: read, write, mknod.
    pub access: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Memory {
    limit: Option<i64>,
    reservation: Option<i64>,
    swap: Option<i64>,
    swappiness: Option<u64>,
    #[serde(default, rename = "disableOOMKiller")]
    disable_oom_killer: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Cpu {
    burst: Option<u64>,
    idle: Option<i64>,
    realtime_runtime: Option<i64>,
    realtime_period: Option<u64>,
    shares: Option<u64>,
    quota: Option<i64>,
    period: Option<u64>,
    cpus: Option<String>,
    mems: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Pids {
    limit: Option<i64>,
}

impl Resources {
    /// The limits, but for those of devices, which depend on more than this. Zero and empty are "not asked for", as docker
    /// and runc have it.
    pub fn limits(&self) -> Limits {
        let mut limits = Vec::new();
        self.memory.iter().for_each(|memory| memory.limits(&mut limits));
        self.cpu.iter().for_each(|cpu| cpu.limits(&mut limits));
        limits.extend(self.pids.as_ref().and_then(|pids| pids.limit).filter(|limit| *limit != 0).map(Limit::Pids));
        self.block_io.iter().for_each(|block| block.limits(&mut limits));
        limits.extend(self.hugepage_limits.iter().map(|pages| Limit::huge_pages(&pages.size, pages.limit)));
        limits.extend(self.rdma.iter().map(|(name, one)| Limit::rdma(name, one.hca_handles, one.hca_objects)));
        if let Some(network) = &self.network {
            limits.extend(network.class.filter(|class| *class != 0).map(Limit::network_class));
            limits.extend(network.priorities.iter().map(|one| Limit::network_priority(&one.name, one.priority)));
        }
        limits.extend(self.unified.iter().map(|(file, text)| Limit::Unified(file.clone(), text.clone())));
        limits
    }
}

impl Memory {
    fn limits(&self, limits: &mut Limits) {
        let asked = |value: Option<i64>| value.filter(|bytes| *bytes != 0);
        limits.extend(asked(self.limit).map(Limit::Memory));
        limits.extend(asked(self.swap).map(Limit::MemorySwap));
        limits.extend(asked(self.reservation).map(Limit::MemoryReservation));
        // docker writes the largest number there is for "as the host has it".
        limits.extend(self.swappiness.filter(|value| *value <= 100).map(Limit::swappiness));
        limits.extend(self.disable_oom_killer.then(Limit::no_oom_killer));
    }
}

impl Cpu {
    fn limits(&self, limits: &mut Limits) {
        let asked = |value: Option<u64>| value.filter(|number| *number != 0);
        let signed = |value: Option<i64>| value.filter(|number| *number != 0);
        let text = |list: &Option<String>| list.clone().filter(|list| !list.is_empty());
        limits.extend(asked(self.shares).map(Limit::CpuShares));
        if signed(self.quota).is_some() || asked(self.period).is_some() {
            limits.push(Limit::CpuQuota(signed(self.quota).unwrap_or(-1), asked(self.period)));
        }
        limits.extend(text(&self.cpus).map(Limit::CpusetCpus));
        limits.extend(text(&self.mems).map(Limit::CpusetMems));
        limits.extend(asked(self.burst).map(Limit::cpu_burst));
        // Here 0 is a wish, too.
        limits.extend(self.idle.map(Limit::cpu_idle));
        let (runtime, period) = (signed(self.realtime_runtime), asked(self.realtime_period));
        limits.extend((runtime.is_some() || period.is_some()).then(|| Limit::cpu_real_time(runtime, period)));
    }
}

impl BlockIo {
    fn limits(&self, limits: &mut Limits) {
        let name = |device: &BlockDevice| format!("{}:{}", device.major, device.minor);
        limits.extend(self.weight.filter(|weight| *weight > 0).map(|weight| Limit::block_weight(weight, None)));
        limits.extend(self.weight_device.iter().filter_map(|d| Some(Limit::block_weight(d.weight?, Some(&name(d))))));
        for (what, list) in [
            (Throttle::ReadBytes, &self.throttle_read_bps_device),
            (Throttle::WriteBytes, &self.throttle_write_bps_device),
            (Throttle::ReadOperations, &self.throttle_read_iops_device),
            (Throttle::WriteOperations, &self.throttle_write_iops_device),
        ] {
            limits.extend(list.iter().filter_map(|d| Some(Limit::block_throttle(what, &name(d), d.rate?))));
        }
    }
}

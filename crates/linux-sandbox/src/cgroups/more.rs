//! Limits beside the usual ones: block devices, huge pages, networks, RDMA, real time. Each is a file or two by
//! another name in each version; a version that has no such thing refuses the limit.

use super::Limit;

/// A limit as the files of both versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The controller of version 1 and that of version 2.
    pub(super) controllers: [&'static str; 2],
    /// File → content, version 1; names after a `|` are tried where the first is not there.
    pub(super) v1: Vec<(String, String)>,
    /// The same of version 2.
    pub(super) v2: Vec<(String, String)>,
}

fn files(controllers: [&'static str; 2], v1: &[(&str, String)], v2: &[(&str, String)]) -> Limit {
    let own = |list: &[(&str, String)]| list.iter().map(|(file, text)| ((*file).to_owned(), text.clone())).collect();
    Limit::Files(Files { controllers, v1: own(v1), v2: own(v2) })
}

const BLKIO: [&str; 2] = ["blkio", "io"];

/// What a throttle counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each says it all")]
pub enum Throttle {
    ReadBytes,
    WriteBytes,
    ReadOperations,
    WriteOperations,
}

impl Limit {
    /// Share of block devices' time, 10 to 1000; of one device when `device` names it as `major:minor`.
    pub(crate) fn block_weight(weight: u16, device: Option<&str>) -> Self {
        let v2 = 1 + (u64::from(weight.clamp(10, 1000)) - 10) * 9999 / 990;
        let text = |value: String| device.map_or(value.clone(), |device| format!("{device} {value}"));
        let v1_file = if device.is_some() {
            "blkio.bfq.weight_device|blkio.weight_device"
        } else {
            "blkio.bfq.weight|blkio.weight"
        };
        files(
            BLKIO,
            &[(v1_file, text(weight.to_string()))],
            // BFQ takes the old numbers, the other scheduler the new ones.
            &[
                ("?io.bfq.weight", text(weight.to_string())),
                ("io.weight", device.map_or(format!("default {v2}"), |d| format!("{d} {v2}"))),
            ],
        )
    }

    /// Bytes or operations a second of one device.
    pub(crate) fn block_throttle(what: Throttle, device: &str, rate: u64) -> Self {
        let (v1, v2) = match what {
            Throttle::ReadBytes => ("blkio.throttle.read_bps_device", "rbps"),
            Throttle::WriteBytes => ("blkio.throttle.write_bps_device", "wbps"),
            Throttle::ReadOperations => ("blkio.throttle.read_iops_device", "riops"),
            Throttle::WriteOperations => ("blkio.throttle.write_iops_device", "wiops"),
        };
        files(BLKIO, &[(v1, format!("{device} {rate}"))], &[("io.max", format!("{device} {v2}={rate}"))])
    }

    /// Bytes of huge pages of one size, `2MB` or `1GB`: of those in use, and (since Linux 5.7) of those put by.
    pub(crate) fn huge_pages(size: &str, bytes: u64) -> Self {
        let both = |file: &str| {
            let names = [format!("hugetlb.{size}.{file}"), format!("?hugetlb.{size}.rsvd.{file}")];
            names.map(|name| (name, bytes.to_string())).into()
        };
        Limit::Files(Files { controllers: ["hugetlb", "hugetlb"], v1: both("limit_in_bytes"), v2: both("max") })
    }

    /// Handles and objects of an RDMA device.
    pub fn rdma(device: &str, handles: Option<u32>, objects: Option<u32>) -> Self {
        let part = |name: &str, value: Option<u32>| value.map_or(String::new(), |value| format!(" {name}={value}"));
        let text = format!("{device}{}{}", part("hca_handle", handles), part("hca_object", objects));
        files(["rdma", "rdma"], &[("rdma.max", text.clone())], &[("rdma.max", text)])
    }

    /// The class of the container's packets for tc(8). Version 1 only.
    pub(crate) fn network_class(class: u32) -> Self {
        files(["net_cls", "net_cls"], &[("net_cls.classid", class.to_string())], &[])
    }

    /// The priority of the container's packets on one interface. Version 1 only.
    pub(crate) fn network_priority(interface: &str, priority: u32) -> Self {
        files(["net_prio", "net_prio"], &[("net_prio.ifpriomap", format!("{interface} {priority}"))], &[])
    }

    /// Microseconds of processor time that may be saved up.
    pub fn cpu_burst(micros: u64) -> Self {
        let text = micros.to_string();
        files(["cpu", "cpu"], &[("cpu.cfs_burst_us", text.clone())], &[("cpu.max.burst", text)])
    }

    /// 1: only when nobody else wants the processor.
    pub fn cpu_idle(idle: i64) -> Self {
        let text = idle.to_string();
        files(["cpu", "cpu"], &[("cpu.idle", text.clone())], &[("cpu.idle", text)])
    }

    /// Microseconds of real-time processor time in a period. Version 1 only.
    pub(crate) fn cpu_real_time(runtime: Option<i64>, period: Option<u64>) -> Self {
        let period = period.map(|value| ("cpu.rt_period_us", value.to_string()));
        let runtime = runtime.map(|value| ("cpu.rt_runtime_us", value.to_string()));
        let list: Vec<_> = period.into_iter().chain(runtime).collect();
        files(["cpu", "cpu"], &list, &[])
    }

    /// How eagerly memory is swapped out, 0 to 100. Version 1 only.
    pub fn swappiness(value: u64) -> Self {
        files(["memory", "memory"], &[("memory.swappiness", value.to_string())], &[])
    }

    /// Processes wait for memory instead of being killed. Version 1 only.
    pub(crate) fn no_oom_killer() -> Self {
        files(["memory", "memory"], &[("memory.oom_control", "1".into())], &[])
    }
}

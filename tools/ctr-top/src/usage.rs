//! What a container uses: from its cgroups where it has some, else the sum over its processes.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// One look.
#[derive(Debug, Default)]
pub struct Sample {
    pub at: Option<Instant>,
    /// Microseconds of processor time.
    pub cpu: u64,
    /// Bytes.
    pub memory: u64,
    /// Bytes; of the container, or of the machine.
    pub memory_limit: u64,
    pub pids: u64,
    /// Received, sent.
    pub network: (u64, u64),
    /// Read, written.
    pub block: (u64, u64),
}

/// Of /proc/PID/stat; every Linux that we know counts in hundredths.
const TICKS: u64 = 100;

impl Sample {
    pub fn take(first: i32) -> Self {
        let mut sample = Self { at: Some(Instant::now()), memory_limit: machine_memory(), ..Self::default() };
        for pid in linux_sandbox::processes_of(first) {
            sample.add(pid);
        }
        sample.network = network(first);
        for (controllers, path) in cgroups_of(first) {
            sample.read_cgroup(&controllers, &path);
        }
        sample
    }

    fn add(&mut self, pid: i32) {
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return };
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let number = |at: usize| fields.get(at).and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
        // Fields 14 to 17 of proc(5): user and system time, of the process and of its children that have ended.
        self.cpu += [11, 12, 13, 14].map(number).iter().sum::<u64>() * 1_000_000 / TICKS;
        self.memory += number(21) * u64::try_from(rustix::param::page_size()).unwrap_or(4096);
        self.pids += number(17);
        let io = fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
        self.block.0 += named(&io, "read_bytes:");
        self.block.1 += named(&io, "write_bytes:");
    }

    /// What the kernel has counted for all of them together, those that have ended included.
    fn read_cgroup(&mut self, controllers: &str, dir: &Path) {
        let text = |file: &str| fs::read_to_string(dir.join(file)).unwrap_or_default();
        let number = |file: &str| text(file).trim().parse::<u64>().ok();
        let has = |name: &str| controllers.split(',').any(|known| known == name);
        if controllers.is_empty() {
            let stat = text("cpu.stat");
            if stat.contains("usage_usec") {
                self.cpu = named(&stat, "usage_usec");
            }
            if let Some(all) = number("memory.current") {
                self.memory = all.saturating_sub(named(&text("memory.stat"), "inactive_file"));
            }
            self.memory_limit = number("memory.max").unwrap_or(u64::MAX).min(self.memory_limit);
        }
        if has("cpuacct") {
            self.cpu = number("cpuacct.usage").map_or(self.cpu, |nanoseconds| nanoseconds / 1000);
        }
        if has("memory")
            && let Some(all) = number("memory.usage_in_bytes")
        {
            self.memory = all.saturating_sub(named(&text("memory.stat"), "total_inactive_file"));
            self.memory_limit = number("memory.limit_in_bytes").unwrap_or(u64::MAX).min(self.memory_limit);
        }
    }
}

/// The cgroups that are the container's alone: those below `dock/`, and scopes of that name.
fn cgroups_of(pid: i32) -> Vec<(String, PathBuf)> {
    let Ok(trees) = linux_sandbox::Hierarchies::of_this_host() else { return Vec::new() };
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    let lines = text.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'));
    let own = lines.filter(|(_, path)| path.contains("/dock/") || path.contains("/dock-"));
    own.filter_map(|(names, path)| {
        let same = |tree: &&linux_sandbox::Hierarchy| {
            if names.is_empty() { tree.unified } else { !tree.unified && tree.controllers.join(",") == names }
        };
        let tree = trees.0.iter().find(same)?;
        Some((names.to_owned(), tree.mount.join(path.trim_start_matches('/'))))
    })
    .collect()
}

/// `name 123` among lines.
fn named(text: &str, name: &str) -> u64 {
    let mut lines = text.lines().filter_map(|line| line.split_once(char::is_whitespace));
    lines
        .find(|(known, _)| *known == name)
        .and_then(|(_, number)| number.trim().split(' ').next()?.parse().ok())
        .unwrap_or(0)
}

/// All interfaces of its network namespace but the loopback, unless the namespace is ours.
fn network(pid: i32) -> (u64, u64) {
    let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/net")).ok();
    if namespace(&pid.to_string()) == namespace("self") {
        return (0, 0);
    }
    let text = fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap_or_default();
    let mut sum = (0, 0);
    for (name, counts) in text.lines().filter_map(|line| line.split_once(':')) {
        let counts: Vec<u64> = counts.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        if name.trim() != "lo" && counts.len() > 8 {
            sum = (sum.0 + counts[0], sum.1 + counts[8]);
        }
    }
    sum
}

fn machine_memory() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    named(&text, "MemTotal:") * 1024
}

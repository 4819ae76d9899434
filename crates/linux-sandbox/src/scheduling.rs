//! sched(7), `ioprio_set(2)`, `sched_setaffinity(2)`, personality(2): how the process is treated beside others, and as whose program.

use crate::error::{Call, Error, Result};
use crate::steps::{Mechanism, Scene, all};
use crate::sys;
use rustix::thread::{CpuSet, sched_setaffinity};
use serde::Serialize;

/// `sched_setattr(2)`
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Scheduler {
    /// `SCHED_FIFO`
    pub policy: String,
    /// For the ordinary policies.
    pub nice: i32,
    /// For the real-time ones.
    pub priority: u32,
    /// `SCHED_FLAG_RESET_ON_FORK`, …
    pub flags: Vec<String>,
    /// Nanoseconds, for the deadline policy.
    pub runtime: u64,
    /// See there.
    pub deadline: u64,
    /// See there.
    pub period: u64,
}

const POLICIES: [(&str, u32, &str); 7] = [
    ("SCHED_OTHER", 0, "--other"),
    ("SCHED_FIFO", 1, "--fifo"),
    ("SCHED_RR", 2, "--rr"),
    ("SCHED_BATCH", 3, "--batch"),
    ("SCHED_ISO", 4, "--iso"),
    ("SCHED_IDLE", 5, "--idle"),
    ("SCHED_DEADLINE", 6, "--deadline"),
];

const FLAGS: [&str; 7] = [
    "SCHED_FLAG_RESET_ON_FORK",
    "SCHED_FLAG_RECLAIM",
    "SCHED_FLAG_DL_OVERRUN",
    "SCHED_FLAG_KEEP_POLICY",
    "SCHED_FLAG_KEEP_PARAMS",
    "SCHED_FLAG_UTIL_CLAMP_MIN",
    "SCHED_FLAG_UTIL_CLAMP_MAX",
];

impl Scheduler {
    /// Refuses names that Linux does not have.
    pub fn check(self) -> std::result::Result<Self, Error> {
        if self.policy().is_none() {
            return Err(Error::refused(format!("scheduler: {}: no such policy", self.policy)));
        }
        match self.flags.iter().find(|flag| !FLAGS.contains(&flag.as_str())) {
            Some(flag) => Err(Error::refused(format!("scheduler: {flag}: no such flag"))),
            None => Ok(self),
        }
    }

    fn policy(&self) -> Option<&'static (&'static str, u32, &'static str)> {
        POLICIES.iter().find(|(name, ..)| *name == self.policy)
    }
}

impl Mechanism for Scheduler {
    fn shell(&self) -> String {
        let option = self.policy().map_or("--other", |(.., option)| option);
        let times = format!(
            "--sched-runtime {} --sched-deadline {} --sched-period {} ",
            self.runtime, self.deadline, self.period
        );
        let times = if self.runtime == 0 { "" } else { &times };
        let nice = if self.nice == 0 { String::new() } else { format!(" && renice -n {} $$", self.nice) };
        format!("chrt {option} {times}-p {} $${nice}", self.priority)
    }

    fn run(&self, _: &mut Scene) -> Result<()> {
        let policy = self.policy().map_or(0, |(_, number, _)| *number);
        let bits = FLAGS.iter().enumerate().filter(|(_, name)| self.flags.iter().any(|flag| flag == **name));
        let attributes = sys::Scheduling {
            policy,
            flags: bits.fold(0, |all, (bit, _)| all | 1 << bit),
            nice: self.nice,
            priority: self.priority,
            runtime: self.runtime,
            deadline: self.deadline,
            period: self.period,
        };
        sys::sched_setattr(&attributes).call(|| format!("sched_setattr({})", self.policy))
    }
}

/// `ioprio_set(2)`
#[derive(Debug, Serialize)]
pub struct IoPriority {
    /// 1 real time, 2 best effort, 3 idle.
    pub class: u32,
    /// 0 to 7, 0 comes first.
    pub priority: u32,
}

impl IoPriority {
    /// By `IOPRIO_CLASS_…`.
    pub fn new(class: &str, priority: i64) -> std::result::Result<Self, Error> {
        let number = match class {
            "IOPRIO_CLASS_RT" => 1,
            "IOPRIO_CLASS_BE" => 2,
            "IOPRIO_CLASS_IDLE" => 3,
            _ => return Err(Error::refused(format!("io priority: {class}: no such class"))),
        };
        match u32::try_from(priority) {
            Ok(priority) if priority < 8 => Ok(Self { class: number, priority }),
            _ => Err(Error::refused(format!("io priority: {priority}: not 0 to 7"))),
        }
    }
}

impl Mechanism for IoPriority {
    fn shell(&self) -> String {
        format!("ionice -c {} -n {} -p $$", self.class, self.priority)
    }

    fn run(&self, _: &mut Scene) -> Result<()> {
        sys::ioprio_set(self.class << 13 | self.priority)
            .call(|| format!("ioprio_set(IOPRIO_WHO_PROCESS, 0, {}:{})", self.class, self.priority))
    }
}

/// `sched_setaffinity(2)`
#[derive(Debug, Serialize)]
pub struct Affinity {
    /// Processors as `0-3,7`.
    pub cpus: String,
    #[serde(skip)]
    set: CpuSet,
}

impl Affinity {
    /// By a list like `0-3,7`.
    pub fn new(cpus: &str) -> std::result::Result<Self, Error> {
        let refused = || Error::refused(format!("CPU affinity: {cpus}: not a list of processors like 0-3,7"));
        let mut set = CpuSet::new();
        numbers(cpus, CpuSet::MAX_CPU).ok_or_else(refused)?.into_iter().for_each(|cpu| set.set(cpu));
        Ok(Self { cpus: cpus.into(), set })
    }
}

/// A list like `0-3,7` of numbers below `most`.
pub(crate) fn numbers(list: &str, most: usize) -> Option<Vec<usize>> {
    let mut all = Vec::new();
    for part in list.split(',').map(str::trim) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.parse::<usize>().ok()?, last.parse::<usize>().ok()?);
        if first > last || last >= most {
            return None;
        }
        all.extend(first..=last);
    }
    Some(all)
}

impl Mechanism for Affinity {
    fn shell(&self) -> String {
        format!("taskset -pc {} $$", self.cpus)
    }

    fn run(&self, _: &mut Scene) -> Result<()> {
        sched_setaffinity(None, &self.set).call(|| format!("sched_setaffinity(0, {{{}}})", self.cpus))
    }
}

/// `personality(2)`
#[derive(Debug, Serialize)]
pub struct Personality {
    /// What uname(2) says of the machine: 0 the truth, 8 that it has 32 bits.
    pub domain: u32,
}

impl Personality {
    /// By `LINUX` or `LINUX32`.
    pub fn new(domain: &str, flags: &[String]) -> std::result::Result<Self, Error> {
        if let Some(flag) = flags.first() {
            return Err(Error::refused(format!("personality: {flag}: no such flag")));
        }
        match domain {
            "LINUX" => Ok(Self { domain: 0 }),
            "LINUX32" => Ok(Self { domain: 8 }),
            _ => Err(Error::refused(format!("personality: {domain}: want LINUX or LINUX32"))),
        }
    }
}

impl Mechanism for Personality {
    fn shell(&self) -> String {
        all([format!("exec setarch {} sh", if self.domain == 0 { "linux64" } else { "linux32" })])
    }

    fn run(&self, _: &mut Scene) -> Result<()> {
        sys::personality(self.domain).call(|| format!("personality({:#x})", self.domain))
    }
}

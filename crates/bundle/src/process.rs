//! `process` of the runtime configuration (OCI runtime-spec config.md, "Process"): what the first process of a
//! container is started by, and every further one; and what `linux` has for each of them.

use serde::Deserialize;
use std::path::PathBuf;

/// One process: what it executes, as whom, where, and within which bounds.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Process {
    /// Whether it has a terminal.
    #[serde(default)]
    pub terminal: bool,
    /// Of that terminal.
    pub console_size: Option<ConsoleSize>,
    /// As whom it runs.
    #[serde(default)]
    pub user: User,
    /// The program and its arguments.
    #[serde(default)]
    pub args: Vec<String>,
    /// `NAME=VALUE`
    #[serde(default)]
    pub env: Vec<String>,
    /// An absolute path inside.
    pub cwd: PathBuf,
    /// None is none at all.
    pub capabilities: Option<Capabilities>,
    /// See setrlimit(2).
    #[serde(default)]
    pub rlimits: Vec<Rlimit>,
    /// See `prctl(2)`, `PR_SET_NO_NEW_PRIVS`.
    #[serde(default)]
    pub no_new_privileges: bool,
    /// -1000 to 1000, see proc(5).
    pub oom_score_adj: Option<i32>,
    /// Its `AppArmor` profile.
    pub apparmor_profile: Option<String>,
    /// Its `SELinux` label.
    pub selinux_label: Option<String>,
    /// See sched(7).
    pub scheduler: Option<Scheduler>,
    /// See `ioprio_set(2)`.
    pub io_priority: Option<IoPriority>,
    /// Of a process that comes in later; the first one's are its cgroup's.
    #[serde(rename = "execCPUAffinity")]
    pub exec_cpu_affinity: Option<CpuAffinity>,
}

/// Processors as lists like `0-3,7`; see `sched_setaffinity(2)`.
#[derive(Debug, Clone, Deserialize)]
pub struct CpuAffinity {
    /// Until the process is in the container's cgroups.
    pub initial: Option<String>,
    /// From then on.
    #[serde(rename = "final")]
    pub last: Option<String>,
}

/// Of a terminal, in characters.
#[derive(Debug, Clone, Copy, Deserialize)]
#[expect(missing_docs, reason = "each is what it says")]
pub struct ConsoleSize {
    pub height: u16,
    pub width: u16,
}

/// Numbers as the container has them.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct User {
    /// The user.
    #[serde(default)]
    pub uid: u32,
    /// Its group.
    #[serde(default)]
    pub gid: u32,
    /// Of the files that it makes.
    pub umask: Option<u32>,
    /// The groups beside `gid`.
    #[serde(default)]
    pub additional_gids: Vec<u32>,
}

/// The five sets of capabilities(7), by names like `CAP_CHOWN`.
#[derive(Debug, Clone, Default, Deserialize)]
#[expect(missing_docs, reason = "each is the set of that name")]
pub struct Capabilities {
    #[serde(default)]
    pub bounding: Vec<String>,
    #[serde(default)]
    pub effective: Vec<String>,
    #[serde(default)]
    pub permitted: Vec<String>,
    #[serde(default)]
    pub inheritable: Vec<String>,
    #[serde(default)]
    pub ambient: Vec<String>,
}

/// One limit of setrlimit(2).
#[derive(Debug, Clone, Deserialize)]
pub struct Rlimit {
    /// `RLIMIT_NOFILE` and the like.
    #[serde(rename = "type")]
    pub kind: String,
    /// In force.
    pub soft: u64,
    /// As far as the process may raise it.
    pub hard: u64,
}

/// What `sched_setattr(2)` takes.
#[derive(Debug, Clone, Deserialize)]
pub struct Scheduler {
    /// `SCHED_OTHER` and the like.
    pub policy: String,
    /// -20 to 19.
    #[serde(default)]
    pub nice: i32,
    /// 1 to 99, of the real-time policies.
    #[serde(default)]
    pub priority: u32,
    /// `SCHED_FLAG_RESET_ON_FORK` and the like.
    #[serde(default)]
    pub flags: Vec<String>,
    /// Nanoseconds, of `SCHED_DEADLINE`, as the two that follow.
    #[serde(default)]
    pub runtime: u64,
    /// Nanoseconds.
    #[serde(default)]
    pub deadline: u64,
    /// Nanoseconds.
    #[serde(default)]
    pub period: u64,
}

/// What `ioprio_set(2)` takes.
#[derive(Debug, Clone, Deserialize)]
pub struct IoPriority {
    /// `IOPRIO_CLASS_BE` and the like.
    pub class: String,
    /// 0, the highest, to 7.
    #[serde(default)]
    pub priority: i64,
}

/// `linux.memoryPolicy`: what `set_mempolicy(2)` takes.
#[derive(Debug, Clone, Deserialize)]
pub struct MemoryPolicy {
    /// `MPOL_BIND` and the like.
    pub mode: String,
    /// Nodes as a list like `0-3,7`.
    #[serde(default)]
    pub nodes: String,
    /// `MPOL_F_STATIC_NODES` and the like.
    #[serde(default)]
    pub flags: Vec<String>,
}

/// `linux.personality`: what personality(2) takes.
#[derive(Debug, Clone, Deserialize)]
pub struct Personality {
    /// `LINUX` or `LINUX32`.
    pub domain: String,
    /// The specification names none.
    #[serde(default)]
    pub flags: Vec<String>,
}

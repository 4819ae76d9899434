//! What the kernel offers to isolate a process, one file a mechanism, and the **list of steps** that joins them.
//!
//! A [`Step`] knows how to run and which shell line it equals; a [`Plan`] is a list of them. Reading the list
//! as JSON, printing it as shell and running it ([`spawn()`]) are three readings of the same thing. The crate
//! knows nothing of images, and of the runtime specification only the two members that are a language of their own, a
//! seccomp [`Profile`] and [`Resources`]: the caller translates the rest.
//!
//! It is the only crate with `unsafe` code, and all of that is in `sys.rs`.

#![allow(clippy::unnecessary_debug_formatting, reason = "calls are shown as strace shows them, with paths in quotes")]

mod await_start;
mod background;
mod born_last;
mod borrowed;
mod capabilities;
mod cgroups;
mod copy_up;
mod devices;
mod enter;
mod error;
mod exec;
mod hooks;
mod idmap;
mod idmapped;
mod init;
mod labels;
mod masks;
mod memory_policy;
mod mounts;
mod namespaces;
mod net_devices;
mod netlink;
mod pidfd;
mod pivot;
mod procfs;
mod rlimits;
mod scheduling;
mod sealed;
mod seccomp;
mod signals;
mod spawn;
mod steps;
mod sys;
mod sysctls;
mod terminal;
mod time;
mod view;
mod walk;

pub use await_start::{AwaitStart, start};
pub use background::{Stdio, close_inherited, fork_into_background, let_go_of_code};
pub use borrowed::{BorrowedSource, BorrowedSources};
pub use capabilities::{Capabilities, NoNewPrivileges, User, capability_number};
pub use cgroups::{
    Attach, CgroupMounts, Cgroups, DeviceRule, Group, Hierarchies, Hierarchy, JoinCgroups, Later, Limit, Limits,
    OomScore, Peaks, Resources, Scope, Throttle, Unit, freeze, how_to_get_cgroups, oom_killed, peaks, processes_of,
    remove_cgroup, thaw, where_systemd_would,
};
pub use devices::{Device, DeviceKind, Devices};
pub use enter::{BornIn, Enter, EnterCgroups, FirstStderr, NullStdio, Outlive, Target};
pub use error::Error;
pub use exec::{Exec, Look, MakeWorkDir, WorkDir};
pub use hooks::{Hook, Hooks, Moment, State};
pub use idmap::{IdMap, IdRange, NamespaceRoot};
pub use idmapped::{IdmappedSource, IdmappedSources};
pub use init::init;
pub use labels::{Label, Module};
pub use masks::{Masks, ReadOnlyPaths};
pub use memory_policy::MemoryPolicy;
pub use mounts::{
    Attributes, Bind, Filesystem, Held, Mount, OverlayRoot, Propagation, PropagationStep, ReadOnlyRoot, TreeRoot,
};
pub use namespaces::{Clone, Hostname, Join, Loopback, Namespace, UnshareCgroup};
pub use net_devices::{NetDevice, NetDevices};
pub use pidfd::{Exit, Running, Usage, send_signal};
pub use pivot::Pivot;
pub use rlimits::Rlimits;
pub use scheduling::{Affinity, IoPriority, Personality, Scheduler};
pub use sealed::{is_sealed, run_sealed, set_name};
pub use seccomp::{Action, Arch, Compare, Condition, Flag, Listener, Profile, Rule, Seccomp};
pub use signals::{Signals, SignalsToDefault};
pub use spawn::{Plan, spawn, spawn_with};
pub use steps::{Place, Scene, Step};
pub use sysctls::Sysctls;
pub use terminal::{Console, Terminal};
pub use time::TimeNamespace;
pub use view::view;

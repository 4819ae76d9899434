//! The list of steps that isolation consists of: each is data, can be run, undone, and told as a line of shell.

use crate::error::Result;
use crate::{
    Affinity, Attach, AwaitStart, Bind, BornIn, BorrowedSources, Capabilities, CgroupMounts, Cgroups, Console, Devices,
    Enter, EnterCgroups, Error, Exec, Filesystem, FirstStderr, Hooks, Hostname, IdMap, IdmappedSources, IoPriority,
    Join, JoinCgroups, Label, Listener, Look, Loopback, MakeWorkDir, Masks, MemoryPolicy, NamespaceRoot, NetDevices,
    NoNewPrivileges, NullStdio, OomScore, Outlive, OverlayRoot, Personality, Pivot, PropagationStep, ReadOnlyPaths,
    ReadOnlyRoot, Rlimits, Scheduler, Scope, Seccomp, SignalsToDefault, Sysctls, TimeNamespace, TreeRoot, Unit,
    UnshareCgroup, User, WorkDir,
};
use rustix::fd::OwnedFd;
use rustix::process::Pid;
use rustix::thread::LinkNameSpaceType;
use serde::Serialize;
use serde_json::Value;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// One thing that is done to make a container. Every variant is a mechanism of its own, in its own file.
#[derive(Debug, Serialize)]
#[serde(tag = "step", rename_all = "camelCase")]
#[expect(missing_docs, reason = "each names the type that says it all")]
pub enum Step {
    Cgroups(Cgroups),
    TimeNamespace(TimeNamespace),
    IdmappedSources(IdmappedSources),
    BorrowedSources(BorrowedSources),
    EnterPid(Enter),
    Clone(crate::Clone),
    IdMap(IdMap),
    Scope(Scope),
    Attach(Attach),
    JoinCgroups(JoinCgroups),
    OomScore(OomScore),
    EnterCgroups(EnterCgroups),
    BornIn(BornIn),
    Outlive(Outlive),
    FirstStderr(FirstStderr),
    Enter(Enter),
    NullStdio(NullStdio),
    NamespaceRoot(NamespaceRoot),
    Join(Join),
    NetDevices(NetDevices),
    UnshareCgroup(UnshareCgroup),
    Propagation(PropagationStep),
    OverlayRoot(OverlayRoot),
    TreeRoot(TreeRoot),
    Filesystem(Filesystem),
    Bind(Bind),
    CgroupMounts(CgroupMounts),
    Devices(Devices),
    Console(Console),
    Sysctls(Sysctls),
    Masks(Masks),
    ReadOnlyPaths(ReadOnlyPaths),
    MakeWorkDir(MakeWorkDir),
    ReadOnlyRoot(ReadOnlyRoot),
    Pivot(Pivot),
    Hostname(Hostname),
    Loopback(Loopback),
    Rlimits(Rlimits),
    WorkDir(WorkDir),
    User(User),
    Capabilities(Capabilities),
    NoNewPrivileges(NoNewPrivileges),
    Signals(SignalsToDefault),
    Look(Look),
    Seccomp(Seccomp),
    Listener(Listener),
    Hooks(Hooks),
    Label(Label),
    Scheduler(Scheduler),
    IoPriority(IoPriority),
    MemoryPolicy(MemoryPolicy),
    FirstAffinity(Affinity),
    Affinity(Affinity),
    Personality(Personality),
    AwaitStart(AwaitStart),
    Exec(Exec),
}

/// Who runs a step, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Place {
    /// ctr-spawn, before there is a process.
    Before,
    /// ctr-spawn, on the process that waits.
    Beside,
    /// The process itself, on its way to the exec.
    Inside,
    /// ctr-spawn, when the command runs or has ended.
    After,
}

/// What every step is.
pub(crate) trait Mechanism {
    /// The shell line that does the same.
    fn shell(&self) -> String;
    /// Does it.
    fn run(&self, scene: &mut Scene) -> Result<()>;
    /// What must be taken back when the container has ended.
    fn undo(&self) {}
}

/// What steps leave for the steps after them.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own that a step notes for later ones")]
pub struct Scene {
    /// The process, as the host sees it. Known beside it only.
    pub(crate) pid: Option<Pid>,
    /// The mount that becomes `/`.
    pub(crate) root: Option<OwnedFd>,
    /// A procfs of our own for sysctls, whatever stands on the container's `/proc`.
    pub(crate) procfs: Option<OwnedFd>,
    /// `/dev/null` of the container, its device number checked.
    pub(crate) null: Option<OwnedFd>,
    /// The descriptor of the filter's listener: in the process its number, beside it the descriptor.
    pub(crate) listener_number: Option<i32>,
    /// See there.
    pub(crate) listener: Option<OwnedFd>,
    /// Namespaces that the parent goes back to when it has left a child in others.
    pub(crate) come_back: Vec<(OwnedFd, LinkNameSpaceType)>,
    /// Mounts of [`IdmappedSources`], in their order.
    pub(crate) idmapped: Vec<OwnedFd>,
    /// Mounts of [`BorrowedSources`], in their order.
    pub(crate) borrowed: Vec<OwnedFd>,
    /// Mounts are still passed on to the host unless each is made private.
    pub(crate) shared: bool,
    /// Takes the terminal's master to the parent.
    pub(crate) socket: Option<OwnedFd>,
    /// What the process gets as 0, 1 and 2; without it, ours.
    pub(crate) stdio: Option<crate::Stdio>,
    /// Standard descriptors are pipes that were made for the process, so it owns them.
    pub(crate) own_pipes: bool,
    /// The first stderr, whatever the terminal does to descriptor 2.
    pub(crate) notes: Option<OwnedFd>,
    /// Held while a cgroup of ours has no process yet.
    pub(crate) locks: Vec<OwnedFd>,
    /// The cgroup of version 2 in which the process is born.
    pub(crate) cgroup: Option<OwnedFd>,
    /// The file by which it goes there when it was not.
    pub(crate) unless_born_in: Option<(PathBuf, OwnedFd)>,
    /// The files by which it goes into its other cgroups.
    pub(crate) entrances: Vec<(PathBuf, OwnedFd)>,
    /// Takes an error to the parent; closed, it says that there is none.
    pub(crate) report: Option<OwnedFd>,
    /// The process does not end with its parent.
    pub(crate) outlives: bool,
    /// The command is executed by a child that is born for it: a session and its terminal are for that one to take.
    pub(crate) born_last: bool,
    /// There is a terminal on 0, 1 and 2.
    pub(crate) has_terminal: bool,
    /// The name for notes.
    pub(crate) program: String,
    /// The last look at descriptors and command was taken.
    pub(crate) looked: bool,
    /// ctr-spawn's own file, as device and inode: a container must not execute it (CVE-2019-5736).
    pub(crate) own_file: Option<(u64, u64)>,
}

impl Scene {
    pub(crate) fn root(&self) -> Result<&OwnedFd> {
        self.root.as_ref().ok_or_else(|| Error::refused("the plan mounts nothing as the root"))
    }

    /// One line on stderr that is no error: what was asked for and could only be done in part.
    pub(crate) fn note(&self, line: &str) {
        self.say(&format!("note: {line}"));
    }

    pub(crate) fn say(&self, line: &str) {
        let line = format!("{}: {line}\n", self.program);
        if let Some(fd) = &self.notes {
            let _ = rustix::io::write(fd, line.as_bytes());
        }
    }
}

impl Step {
    pub(crate) fn mechanism(&self) -> &dyn Mechanism {
        match self {
            Self::Cgroups(step) => step,
            Self::EnterPid(step) | Self::Enter(step) => step,
            Self::EnterCgroups(step) => step,
            Self::BornIn(step) => step,
            Self::Outlive(step) => step,
            Self::FirstStderr(step) => step,
            Self::NullStdio(step) => step,
            Self::Clone(step) => step,
            Self::IdMap(step) => step,
            Self::Scope(step) => step,
            Self::Attach(step) => step,
            Self::JoinCgroups(step) => step,
            Self::OomScore(step) => step,
            Self::NamespaceRoot(step) => step,
            Self::Join(step) => step,
            Self::NetDevices(step) => step,
            Self::UnshareCgroup(step) => step,
            Self::Propagation(step) => step,
            Self::OverlayRoot(step) => step,
            Self::TreeRoot(step) => step,
            Self::Filesystem(step) => step,
            Self::Bind(step) => step,
            Self::CgroupMounts(step) => step,
            Self::Devices(step) => step,
            Self::Console(step) => step,
            Self::Sysctls(step) => step,
            Self::Masks(step) => step,
            Self::ReadOnlyPaths(step) => step,
            Self::MakeWorkDir(step) => step,
            Self::ReadOnlyRoot(step) => step,
            Self::Pivot(step) => step,
            Self::Hostname(step) => step,
            Self::Loopback(step) => step,
            Self::Rlimits(step) => step,
            Self::WorkDir(step) => step,
            Self::User(step) => step,
            Self::Capabilities(step) => step,
            Self::NoNewPrivileges(step) => step,
            Self::Signals(step) => step,
            Self::Look(step) => step,
            Self::Seccomp(step) => step,
            Self::Listener(step) => step,
            Self::Hooks(step) => step,
            Self::TimeNamespace(step) => step,
            Self::IdmappedSources(step) => step,
            Self::BorrowedSources(step) => step,
            Self::Label(step) => step,
            Self::Scheduler(step) => step,
            Self::IoPriority(step) => step,
            Self::MemoryPolicy(step) => step,
            Self::FirstAffinity(step) | Self::Affinity(step) => step,
            Self::Personality(step) => step,
            Self::AwaitStart(step) => step,
            Self::Exec(step) => step,
        }
    }

    /// The cgroups that it makes.
    pub fn cgroups(&self) -> Option<&Cgroups> {
        match self {
            Self::Cgroups(cgroups) => Some(cgroups),
            Self::Scope(scope) => Some(&scope.cgroups),
            _ => None,
        }
    }

    /// What it asks systemd for.
    pub(crate) fn unit(&self) -> Option<&Unit> {
        if let Self::Scope(scope) = self { Some(&scope.unit) } else { None }
    }

    /// The shell line that does the same.
    pub fn shell(&self) -> String {
        self.mechanism().shell()
    }

    /// As `--plan` prints it: its members, who runs it, and the shell line.
    pub fn describe(&self) -> serde_json::Result<Value> {
        let mut step = serde_json::to_value(self)?;
        step["place"] = serde_json::to_value(self.place())?;
        step["shell"] = self.shell().into();
        Ok(step)
    }

    /// Who runs it.
    pub fn place(&self) -> Place {
        match self {
            Self::Cgroups(_)
            | Self::TimeNamespace(_)
            | Self::IdmappedSources(_)
            | Self::BorrowedSources(_)
            | Self::BornIn(_)
            | Self::FirstAffinity(_)
            | Self::EnterPid(_)
            | Self::Clone(_) => Place::Before,
            Self::IdMap(_)
            | Self::Scope(_)
            | Self::Attach(_)
            | Self::OomScore(_)
            | Self::NetDevices(_)
            | Self::Listener(_) => Place::Beside,
            Self::Hooks(step) => step.moment.place(),
            Self::Join(step) => step.place(),
            _ => Place::Inside,
        }
    }

    /// Its name in messages.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Cgroups(_)
            | Self::Scope(_)
            | Self::Attach(_)
            | Self::JoinCgroups(_)
            | Self::EnterCgroups(_)
            | Self::BornIn(_)
            | Self::UnshareCgroup(_) => "cgroup",
            Self::TimeNamespace(_) | Self::EnterPid(_) | Self::Enter(_) | Self::Clone(_) | Self::Join(_) => {
                "namespaces"
            }
            Self::Outlive(_) => "background",
            Self::FirstStderr(_) | Self::NullStdio(_) => "standard input and output",
            Self::IdMap(_) | Self::NamespaceRoot(_) => "user namespace",
            Self::OomScore(_) => "oom_score_adj",
            Self::Propagation(_) => "propagation",
            Self::OverlayRoot(_) => "overlay",
            Self::TreeRoot(_) | Self::ReadOnlyRoot(_) => "rootfs",
            Self::Filesystem(_) | Self::Bind(_) | Self::CgroupMounts(_) | Self::BorrowedSources(_) => "mount",
            Self::Devices(_) => "devices",
            Self::Console(_) => "terminal",
            Self::Sysctls(_) => "sysctl",
            Self::Masks(_) => "masked paths",
            Self::ReadOnlyPaths(_) => "read-only paths",
            Self::MakeWorkDir(_) | Self::WorkDir(_) => "working directory",
            Self::Pivot(_) => "pivot_root",
            Self::Hostname(_) => "hostname",
            Self::Loopback(_) => "loopback",
            Self::NetDevices(_) => "network device",
            Self::Rlimits(_) => "rlimits",
            Self::User(_) => "user",
            Self::Capabilities(_) => "capabilities",
            Self::NoNewPrivileges(_) => "no_new_privs",
            Self::Signals(_) => "signals",
            Self::Seccomp(_) | Self::Listener(_) => "seccomp",
            Self::Hooks(_) => "hooks",
            Self::IdmappedSources(_) => "idmapped mount",
            Self::Label(_) => "security module",
            Self::Scheduler(_) => "scheduler",
            Self::IoPriority(_) => "io priority",
            Self::MemoryPolicy(_) => "memory policy",
            Self::FirstAffinity(_) | Self::Affinity(_) => "CPU affinity",
            Self::Personality(_) => "personality",
            Self::Look(_) | Self::AwaitStart(_) | Self::Exec(_) => "exec",
        }
    }
}

/// A word as a POSIX shell reads it back.
pub(crate) fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:,@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// A path below the root as the lines write it: `$rootfs/proc`.
pub(crate) fn in_rootfs(path: &Path) -> String {
    let path = path.to_string_lossy();
    let tail = path.trim_start_matches('/');
    if tail.is_empty() {
        return "$rootfs".into();
    }
    format!("$rootfs/{}", quote(tail))
}

/// Lines joined so that the shell stops at the first that fails.
pub(crate) fn all<I: IntoIterator<Item = String>>(lines: I) -> String {
    let mut text = String::new();
    for line in lines {
        let _ = write!(text, "{}{line}", if text.is_empty() { "" } else { " && " });
    }
    if text.is_empty() { ":".into() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_back_from_the_shell() {
        for (word, quoted) in [("a", "a"), ("", "''"), ("a b", "'a b'"), ("it's", r"'it'\''s'"), ("$x", "'$x'")] {
            assert_eq!(quote(word), quoted);
        }
        assert_eq!(in_rootfs(Path::new("/proc")), "$rootfs/proc");
        assert_eq!(in_rootfs(Path::new("/")), "$rootfs");
    }
}

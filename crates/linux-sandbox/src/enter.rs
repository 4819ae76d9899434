//! `setns(2)`: one more process where another one lives. Its namespaces are named by a descriptor of that
//! process, never by its number, which may be another's tomorrow.

use crate::cgroups::{Hierarchies, Hierarchy, write};
use crate::error::{Call, Error, Result};
use crate::namespaces::Namespace;
use crate::steps::{Mechanism, Scene, all, quote};
use crate::sys;
use crate::walk::{self, Links};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::{FileType, Mode, OFlags, fcntl_setfl, fstat, makedev, open, readlinkat};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use rustix::thread::{ThreadNameSpaceType, move_into_thread_name_spaces};
use serde::Serialize;
use std::cell::RefCell;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

/// A process of the container to enter.
#[derive(Debug, Clone)]
pub struct Target {
    pub(crate) pid: i32,
    pub(crate) pidfd: Rc<OwnedFd>,
}

/// The bit of `CAP_SYS_PTRACE`.
const SYS_PTRACE: u64 = 1 << 19;

/// Every kind that a process can enter.
const KINDS: [(Namespace, &str); 8] = [
    (Namespace::User, "user"),
    (Namespace::Mount, "mnt"),
    (Namespace::Pid, "pid"),
    (Namespace::Uts, "uts"),
    (Namespace::Ipc, "ipc"),
    (Namespace::Network, "net"),
    (Namespace::Cgroup, "cgroup"),
    (Namespace::Time, "time"),
];

impl Target {
    /// Takes hold of the process that has this ID now. Whether that is the right one, only the caller can tell,
    /// and only from here on: ask for its start time behind this call.
    pub fn open(pid: i32) -> std::result::Result<Self, Error> {
        let line = || format!("pidfd_open({pid})");
        let number = Pid::from_raw(pid).ok_or(Errno::INVAL).call(line)?;
        let pidfd = pidfd_open(number, PidfdFlags::empty()).call(line)?;
        Ok(Self { pid, pidfd: Rc::new(pidfd) })
    }

    /// Its process ID.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Whether it lives. What was read of `/proc/PID` before is its own, when it does.
    pub fn lives(&self) -> bool {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut [PollFd::new(&*self.pidfd, PollFlags::IN)], Some(&now)) == Ok(0)
    }

    /// Sends a signal of any number. False: the process has ended.
    pub fn signal(&self, signal: i32) -> std::result::Result<bool, Error> {
        match sys::pidfd_send_signal(&*self.pidfd, signal) {
            Err(Errno::SRCH) => Ok(false),
            sent => sent.call(|| format!("pidfd_send_signal({}, {signal})", self.pid)).map(|()| true),
        }
    }

    /// Waits at most so long for its end; whether that came.
    pub fn ends_within(&self, patience: Duration) -> bool {
        let seconds = i64::try_from(patience.as_secs()).unwrap_or(i64::MAX);
        let patience = Timespec { tv_sec: seconds, tv_nsec: patience.subsec_nanos().into() };
        poll(&mut [PollFd::new(&*self.pidfd, PollFlags::IN)], Some(&patience)).is_ok_and(|ready| ready > 0)
    }

    fn must_live(&self) -> Result<()> {
        if self.lives() { Ok(()) } else { Err(Error::refused(format!("process {}: has ended", self.pid))) }
    }

    /// Its namespaces that are not this process's own.
    pub fn namespaces(&self) -> std::result::Result<Vec<Namespace>, Error> {
        let directory = |process: &str| {
            let path = format!("/proc/{process}/ns");
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            open(&path, flags, Mode::empty()).call(|| format!("open({path:?})")).map(|fd| (path, fd))
        };
        let (ours, theirs) = (directory("self")?, directory(&self.pid.to_string())?);
        // The text of such a link names the namespace. To follow it, the kernel would have to make a file of it.
        let name = |(_, fd): &(String, OwnedFd), file| readlinkat(fd, file, Vec::with_capacity(64));
        let line = |(path, _): &(String, OwnedFd), file| format!("readlink({:?})", format!("{path}/{file}"));
        let mut others = Vec::new();
        for (kind, file) in KINDS {
            let own = match name(&ours, file) {
                // Linux 5.6 brought it.
                Err(Errno::NOENT) if kind == Namespace::Time => continue,
                other => other.call(|| line(&ours, file))?,
            };
            if own != name(&theirs, file).call(|| line(&theirs, file))? {
                others.push(kind);
            }
        }
        self.must_live()?;
        Ok(others)
    }

    /// Its cgroups in which this process is not.
    pub fn cgroups(&self) -> std::result::Result<Vec<Hierarchy>, Error> {
        // procfs says no size: without room for all of it, the first read would ask for 32 bytes, and the kernel begins anew
        // at each mount that does not fit.
        let read = |path: String| {
            let mut text = String::with_capacity(16 * 1024);
            let done = fs::File::open(&path).and_then(|mut file| file.read_to_string(&mut text));
            done.call(|| format!("read({path:?})")).map(|_| text)
        };
        let mounts = read("/proc/self/mountinfo".into())?;
        let theirs = Hierarchies::parse(&mounts, &read(format!("/proc/{}/cgroup", self.pid))?);
        let ours = Hierarchies::parse(&mounts, &read("/proc/self/cgroup".into())?);
        self.must_live()?;
        let others = theirs.0.into_iter().zip(ours.0).filter(|(theirs, ours)| theirs.own != ours.own);
        Ok(others.map(|(tree, _)| tree).collect())
    }

    /// Whether it may look into a process of ours that comes in, and so reach the file that this executes: in our
    /// own user namespace, with `CAP_SYS_PTRACE` within its bounds (what is not there, no exec brings back). In
    /// another one its capabilities count for nothing here, since until the exec we are not dumpable.
    pub fn may_trace_us(&self) -> std::result::Result<bool, Error> {
        let path = format!("/proc/{}/status", self.pid);
        let status = fs::read_to_string(&path).call(|| format!("read({path:?})"))?;
        self.must_live()?;
        let bounds = status.lines().find_map(|line| line.strip_prefix("CapBnd:"));
        let bounds = bounds.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).unwrap_or(u64::MAX);
        Ok(bounds & SYS_PTRACE != 0 && self.shares_user_namespace()?)
    }

    /// Whether its user namespace is ours.
    pub fn shares_user_namespace(&self) -> std::result::Result<bool, Error> {
        Ok(!self.namespaces()?.contains(&Namespace::User))
    }

    /// Whether its user namespace has given up `setgroups(2)`.
    pub fn denies_setgroups(&self) -> bool {
        fs::read(format!("/proc/{}/setgroups", self.pid)).is_ok_and(|text| text.starts_with(b"deny"))
    }

    /// A regular file as the process sees it, volumes and all; `None` where there is none. Links are followed
    /// below its root, and what is no regular file is not opened: opening a FIFO waits, opening a device acts.
    pub fn read_file(&self, path: &Path, most: u64) -> std::result::Result<Option<Vec<u8>>, Error> {
        let line = || format!("open(<container>{})", path.display());
        let directory = format!("/proc/{}/root", self.pid);
        let root = open(&directory, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .call(|| format!("open({directory:?})"))?;
        self.must_live()?;
        let node = match walk::open(&root, path, OFlags::PATH, Links::InRoot) {
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            other => other.call(line)?,
        };
        if FileType::from_raw_mode(fstat(&node).call(line)?.st_mode) != FileType::RegularFile {
            return Err(Error::refused(format!("{}: in the container: is not a regular file", path.display())));
        }
        let again = format!("/proc/self/fd/{}", node.as_raw_fd());
        let file = fs::File::from(open(again, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).call(line)?);
        let mut bytes = Vec::new();
        file.take(most + 1).read_to_end(&mut bytes).call(line)?;
        if bytes.len() as u64 > most {
            return Err(Error::refused(format!("{}: in the container: larger than {most} bytes", path.display())));
        }
        Ok(Some(bytes))
    }

    /// The steps into it: the PID namespace by the parent, since only its children are born there; the others by
    /// the process itself. Without root the user namespace comes first of all: it gives the right to the rest.
    pub fn enter(&self, namespaces: &[Namespace], root: bool) -> (Enter, Enter) {
        let first = |kind: &Namespace| *kind == Namespace::Pid || *kind == Namespace::User && !root;
        let (before, inside) = namespaces.iter().partition(|kind| first(kind));
        let enter = |namespaces| Enter { pid: self.pid, namespaces, pidfd: Some(self.pidfd.clone()) };
        (enter(before), enter(inside))
    }
}

/// Enters namespaces of another process, all in one call.
#[derive(Debug, Serialize)]
pub struct Enter {
    /// The process, for people: the call goes by its descriptor.
    pub pid: i32,
    /// What is entered.
    pub namespaces: Vec<Namespace>,
    #[serde(skip)]
    pidfd: Option<Rc<OwnedFd>>,
}

impl Mechanism for Enter {
    fn shell(&self) -> String {
        let options: String = self.namespaces.iter().flat_map(|kind| [" ", kind.option()]).collect();
        if options.is_empty() { ":".into() } else { format!("exec nsenter --target {}{options} sh", self.pid) }
    }

    fn run(&self, scene: &mut Scene) -> Result<()> {
        let line = || format!("setns(<pidfd of {}>, {:?})", self.pid, self.namespaces);
        let flags = self.namespaces.iter().fold(0, |flags, kind| flags | kind.flag());
        if let (Some(pidfd), true) = (&self.pidfd, flags != 0) {
            let flags = ThreadNameSpaceType::from_bits_retain(u32::try_from(flags).unwrap_or(0));
            move_into_thread_name_spaces(pidfd.as_fd(), flags).call(line)?;
        }
        // Entering a mount namespace has made its root ours. Steps that come later look below it.
        let root = open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        scene.root = Some(root.call(|| "open(\"/\")".into())?);
        Ok(())
    }
}

/// Makes the process in the container's cgroup of version 2, by `CLONE_INTO_CGROUP`.
#[derive(Debug, Serialize)]
pub struct BornIn {
    /// The directory.
    pub path: PathBuf,
}

impl Mechanism for BornIn {
    fn shell(&self) -> String {
        format!("echo $$ >{}/cgroup.procs", quote(&self.path.to_string_lossy()))
    }

    fn run(&self, scene: &mut Scene) -> Result<()> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        scene.cgroup = Some(open(&self.path, flags, Mode::empty()).call(|| format!("open({:?})", self.path))?);
        Ok(())
    }
}

/// Goes into the container's cgroups of version 1: its limits hold for both. The process moves itself and only
/// itself: moving another, or a whole process, stops the forks and exits of the machine for milliseconds.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EnterCgroups {
    /// The directories.
    pub paths: Vec<PathBuf>,
    /// Where the host refuses it, a note instead of an error: an ordinary user may not move processes between
    /// cgroups that are not his.
    pub if_allowed: bool,
}

impl Mechanism for EnterCgroups {
    fn shell(&self) -> String {
        all(self.paths.iter().map(|path| format!("echo 0 >{}/tasks", quote(&path.to_string_lossy()))))
    }

    fn run(&self, scene: &mut Scene) -> Result<()> {
        for path in &self.paths {
            match write(&path.join("tasks"), "0") {
                Err(Error::Call { errno: libc::EACCES | libc::EPERM | libc::ENOENT, .. }) if self.if_allowed => {
                    scene.note(&format!("{}: this user may not enter it: its limits do not hold here", path.display()));
                }
                other => other?,
            }
        }
        Ok(())
    }
}

/// Lives on when its parent ends.
#[derive(Debug, Serialize)]
pub struct Outlive {}

impl Mechanism for Outlive {
    fn shell(&self) -> String {
        "exec setsid sh".into()
    }

    fn run(&self, scene: &mut Scene) -> Result<()> {
        scene.outlives = true;
        rustix::process::set_parent_process_death_signal(None).call(|| "prctl(PR_SET_PDEATHSIG, 0)".into())
    }
}

/// Gives the process the standard error that ours was before it became a log.
#[derive(Debug, Serialize)]
pub struct FirstStderr {
    #[serde(skip)]
    first: RefCell<Option<OwnedFd>>,
}

impl FirstStderr {
    /// From here on what this program says goes to `log`, emptied first.
    pub fn log_to(log: &Path) -> std::result::Result<Self, Error> {
        let line = || format!("open({log:?})");
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::APPEND | OFlags::CLOEXEC;
        let file = open(log, flags, Mode::from_raw_mode(0o600)).call(line)?;
        let first = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stderr(), 3).call(|| "dup(2)".into())?;
        rustix::stdio::dup2_stderr(&file).call(line)?;
        Ok(Self { first: RefCell::new(Some(first)) })
    }

    /// The first standard error is back where it was.
    pub fn give_back(&self) -> std::result::Result<(), Error> {
        // Not one copy may stay behind: a caller that reads to the end of a pipe would wait for the exec.
        let Some(first) = self.first.take() else { return Ok(()) };
        rustix::stdio::dup2_stderr(&first).call(|| "dup2(<stderr>, 2)".into())
    }
}

impl Mechanism for FirstStderr {
    fn shell(&self) -> String {
        ": # stderr is not the log".into()
    }

    fn run(&self, _: &mut Scene) -> Result<()> {
        self.give_back()
    }
}

/// The container's own `/dev/null` on standard descriptors: one of the host's would be a device that no list of
/// the container allows.
#[derive(Debug, Serialize)]
pub struct NullStdio {
    /// 0, 1 or 2.
    pub fds: Vec<u8>,
}

impl Mechanism for NullStdio {
    fn shell(&self) -> String {
        let redirect = |fd: &u8| format!(" {fd}{}/dev/null", if *fd == 0 { '<' } else { '>' });
        format!("exec{}", self.fds.iter().map(redirect).collect::<String>())
    }

    fn run(&self, scene: &mut Scene) -> Result<()> {
        // It has joined the container's cgroups and opens no device that the container may not open itself.
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::NOCTTY;
        let null = walk::need(scene.root()?, Path::new("/dev/null"), flags, Links::Refused)?;
        let found = fstat(&null).call(|| "fstat(/dev/null)".into())?;
        let right = FileType::from_raw_mode(found.st_mode) == FileType::CharacterDevice;
        if !right || found.st_rdev != makedev(1, 3) {
            return Err(Error::refused("/dev/null: something else stands there in the container"));
        }
        fcntl_setfl(&null, OFlags::empty()).call(|| "fcntl(/dev/null)".into())?;
        for fd in &self.fds {
            match fd {
                0 => rustix::stdio::dup2_stdin(&null),
                1 => rustix::stdio::dup2_stdout(&null),
                _ => rustix::stdio::dup2_stderr(&null),
            }
            .call(|| format!("dup2(/dev/null, {fd})"))?;
        }
        Ok(())
    }
}

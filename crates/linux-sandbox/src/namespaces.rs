//! namespaces(7): the new ones in the one `clone3` that makes the process, existing ones by `setns(2)`.

use crate::error::{Call, Result};
use crate::steps::{Mechanism, Place, Scene, quote};
use crate::sys;
use rustix::fs::{Mode, OFlags, open};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde::Serialize;
use std::os::fd::AsFd;
use std::path::PathBuf;

/// A kind of namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Namespace {
    /// User and group IDs, capabilities.
    User,
    /// Mounts.
    Mount,
    /// Process IDs.
    Pid,
    /// Host name.
    Uts,
    /// System V IPC and POSIX message queues.
    Ipc,
    /// Network devices, addresses, ports.
    Network,
    /// The root of the cgroup tree.
    Cgroup,
    /// Clocks since the start of the machine.
    Time,
}

impl Namespace {
    pub(crate) fn flag(self) -> u64 {
        self.link() as u64
    }

    fn link(self) -> LinkNameSpaceType {
        match self {
            Self::User => LinkNameSpaceType::User,
            Self::Mount => LinkNameSpaceType::Mount,
            Self::Pid => LinkNameSpaceType::ProcessID,
            Self::Uts => LinkNameSpaceType::HostNameAndNISDomainName,
            Self::Ipc => LinkNameSpaceType::InterProcessCommunication,
            Self::Network => LinkNameSpaceType::Network,
            Self::Cgroup => LinkNameSpaceType::ControlGroup,
            Self::Time => LinkNameSpaceType::Time,
        }
    }

    /// The long option of unshare(1) and nsenter(1).
    pub(crate) fn option(self) -> &'static str {
        match self {
            Self::User => "--user",
            Self::Mount => "--mount",
            Self::Pid => "--pid",
            Self::Uts => "--uts",
            Self::Ipc => "--ipc",
            Self::Network => "--net",
            Self::Cgroup => "--cgroup",
            Self::Time => "--time",
        }
    }
}

/// The process itself: one `clone3(2)` with every new namespace but the cgroup's, whose root is where the
/// process stands when the namespace is made ([`UnshareCgroup`]).
#[derive(Debug, Default, Serialize)]
pub struct Clone {
    /// The new ones.
    pub namespaces: Vec<Namespace>,
    /// The user namespace in which that happens, when it exists already: the new ones are to belong to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inside: Option<PathBuf>,
    /// The PID namespace in which it is born, when only who is in there may enter it.
    #[serde(rename = "insidePid", skip_serializing_if = "Option::is_none")]
    pub inside_pid: Option<PathBuf>,
}

impl Clone {
    pub(crate) fn flags(&self) -> u64 {
        self.namespaces.iter().fold(0, |flags, namespace| flags | namespace.flag())
    }
}

impl Mechanism for Clone {
    fn shell(&self) -> String {
        let options: Vec<&str> = self.namespaces.iter().map(|namespace| namespace.option()).collect();
        if options.is_empty() {
            return "sh & pid=$!  # what follows is typed into this shell".into();
        }
        let mut enter = String::new();
        for (option, path) in [("nsenter --user", &self.inside), ("--pid", &self.inside_pid)] {
            enter +=
                &path.as_ref().map_or(String::new(), |path| format!("{option}={} ", quote(&path.to_string_lossy())));
        }
        format!(
            "{enter}unshare {} --fork --kill-child sh & pid=$!  # what follows is typed into this shell",
            options.join(" ")
        )
    }

    fn run(&self, _: &mut Scene) -> Result<()> {
        Ok(()) // spawn() makes the call: it returns twice
    }
}

/// Enters a namespace that exists.
#[derive(Debug, Serialize)]
pub struct Join {
    /// Its kind.
    pub namespace: Namespace,
    /// A file that stands for it: `/proc/PID/ns/…` or a bind mount of that.
    pub path: PathBuf,
}

impl Join {
    /// Of PIDs and clocks a process cannot change its own, only those of its children: the parent goes there, and
    /// comes back when the child is made.
    pub(crate) fn place(&self) -> Place {
        if matches!(self.namespace, Namespace::Pid | Namespace::Time) { Place::Before } else { Place::Inside }
    }
}

/// Notes a namespace of ours, to be entered again behind the clone.
pub(crate) fn come_back_to(scene: &mut Scene, name: &str, kind: LinkNameSpaceType) -> Result<()> {
    let path = format!("/proc/self/ns/{name}");
    let ours = open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).call(|| format!("open({path:?})"))?;
    scene.come_back.push((ours, kind));
    Ok(())
}

impl Mechanism for Join {
    fn shell(&self) -> String {
        format!("nsenter {}={} sh", self.namespace.option(), quote(&self.path.to_string_lossy()))
    }

    fn run(&self, scene: &mut Scene) -> Result<()> {
        match self.namespace {
            Namespace::Pid => come_back_to(scene, "pid", LinkNameSpaceType::ProcessID)?,
            Namespace::Time => come_back_to(scene, "time", LinkNameSpaceType::Time)?,
            _ => {}
        }
        let file = open(&self.path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .call(|| format!("open({:?})", self.path))?;
        move_into_link_name_space(file.as_fd(), Some(self.namespace.link()))
            .call(|| format!("setns({:?}, {:?})", self.path, self.namespace))
    }
}

/// A cgroup namespace whose root is the cgroup that was just joined.
#[derive(Debug, Serialize)]
pub struct UnshareCgroup {}

impl Mechanism for UnshareCgroup {
    fn shell(&self) -> String {
        "exec unshare --cgroup sh".into()
    }

    fn run(&self, _: &mut Scene) -> Result<()> {
        sys::unshare_cgroup().call(|| "unshare(CLONE_NEWCGROUP)".into())
    }
}

/// `sethostname(2)` and `setdomainname(2)`.
#[derive(Debug, Serialize)]
pub struct Hostname {
    /// What `hostname` prints.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// What `domainname` prints.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domainname: Option<String>,
}

impl Mechanism for Hostname {
    fn shell(&self) -> String {
        crate::steps::all(
            self.hostname
                .iter()
                .map(|name| format!("hostname {}", quote(name)))
                .chain(self.domainname.iter().map(|name| format!("domainname {}", quote(name)))),
        )
    }

    fn run(&self, _: &mut Scene) -> Result<()> {
        if let Some(name) = &self.hostname {
            rustix::system::sethostname(name.as_bytes()).call(|| format!("sethostname({name:?})"))?;
        }
        if let Some(name) = &self.domainname {
            rustix::system::setdomainname(name.as_bytes()).call(|| format!("setdomainname({name:?})"))?;
        }
        Ok(())
    }
}

/// A new network namespace has a loopback device, and it is down.
#[derive(Debug, Serialize)]
pub struct Loopback {}

impl Mechanism for Loopback {
    fn shell(&self) -> String {
        "ip link set lo up".into()
    }

    fn run(&self, _: &mut Scene) -> Result<()> {
        sys::loopback_up().call(|| "ioctl(SIOCSIFFLAGS, \"lo\", IFF_UP)".into())
    }
}

//! Programs of the host's that are told of a container's life (OCI runtime-spec config.md, "POSIX-platform
//! Hooks"): each gets the container's state as JSON on stdin, and most can stop it by failing.

use crate::error::{Call, Error, Result};
use crate::steps::{Mechanism, Place, Scene, all, quote};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// When, where and by whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Moment {
    /// All mounts are made; on the host. The older name of the next.
    Prestart,
    /// All mounts are made; on the host.
    CreateRuntime,
    /// The same moment; in the container's namespaces, with the host's files still to be seen.
    CreateContainer,
    /// Just before the command; in the container, as its user, with its files.
    StartContainer,
    /// The command runs; on the host.
    Poststart,
    /// It has ended; on the host.
    Poststop,
}

impl Moment {
    /// The member of `hooks` in a runtime configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Prestart => "prestart",
            Self::CreateRuntime => "createRuntime",
            Self::CreateContainer => "createContainer",
            Self::StartContainer => "startContainer",
            Self::Poststart => "poststart",
            Self::Poststop => "poststop",
        }
    }

    pub(crate) fn place(self) -> Place {
        match self {
            Self::Prestart | Self::CreateRuntime => Place::Beside,
            Self::CreateContainer | Self::StartContainer => Place::Inside,
            Self::Poststart | Self::Poststop => Place::After,
        }
    }

    fn status(self) -> &'static str {
        match self {
            Self::Prestart | Self::CreateRuntime | Self::CreateContainer => "creating",
            Self::StartContainer => "created",
            Self::Poststart => "running",
            Self::Poststop => "stopped",
        }
    }
}

/// One program.
#[derive(Debug, Clone, Serialize)]
pub struct Hook {
    /// Absolute.
    pub path: PathBuf,
    /// With the name first, as execve(2) takes them.
    pub args: Vec<String>,
    /// All of its environment.
    pub env: Vec<String>,
    /// After so long it is killed, and has failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
}

/// What is known of a container (runtime.md, "State").
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// Of the specification.
    pub oci_version: String,
    /// Its name.
    pub id: String,
    /// `creating`, `created`, `running`, `stopped`.
    pub status: String,
    /// Of its first process, as the reader sees it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<i32>,
    /// Its directory.
    pub bundle: PathBuf,
    /// What the configuration says beside the point.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// All hooks of one moment, in order.
#[derive(Debug, Serialize)]
pub struct Hooks {
    /// Which.
    pub moment: Moment,
    /// The programs.
    pub hooks: Vec<Hook>,
    /// Where they start.
    pub directory: PathBuf,
    /// What they are told, but for status and PID.
    pub state: State,
    /// Who warns when one fails behind the start.
    #[serde(skip)]
    pub program: String,
}

impl Hooks {
    /// Runs them for a process that is `pid` to them. The first that fails is the last; but behind the end all are told,
    /// and those that failed come back as warnings.
    pub fn tell(&self, pid: Option<i32>) -> std::result::Result<Vec<String>, Error> {
        let out = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stderr(), 3).call(|| "dup(2)".into())?;
        let state = State { status: self.moment.status().into(), pid, ..self.state.clone() };
        let state = serde_json::to_vec(&state).map_err(|cause| Error::refused(format!("state: {cause}")))?;
        let mut warnings = Vec::new();
        for hook in &self.hooks {
            let Err(what) = hook.run(&self.directory, &state, &out) else { continue };
            let line = format!("{}: {}: {what}", self.moment.name(), hook.path.display());
            if self.moment != Moment::Poststop {
                return Err(Error::refused(line));
            }
            warnings.push(line);
        }
        Ok(warnings)
    }
}

impl Hook {
    fn run(
        &self,
        directory: &std::path::Path,
        state: &[u8],
        out: &rustix::fd::OwnedFd,
    ) -> std::result::Result<(), String> {
        let plain = |cause: std::io::Error| crate::error::cause(cause.raw_os_error().unwrap_or(libc::EIO));
        // Its stdout would be the container's.
        let out = || out.try_clone().map(Stdio::from).map_err(plain);
        let mut command = Command::new(&self.path);
        command.arg0(self.args.first().map_or_else(|| self.path.clone(), PathBuf::from));
        command.args(self.args.iter().skip(1)).current_dir(directory);
        command.env_clear().envs(self.env.iter().filter_map(|entry| entry.split_once('=')));
        let mut child = command.stdin(Stdio::piped()).stdout(out()?).stderr(out()?).spawn().map_err(plain)?;
        // One that does not read its stdin has heard enough. A state fits into the pipe.
        drop(child.stdin.take().map(|mut stdin| stdin.write_all(state)));
        if let Some(limit) = self.timeout
            && !ends_within(child.id(), limit)
        {
            let _ = child.kill();
            let _ = child.wait();
            return Err(format!("took longer than {} s", limit.as_secs()));
        }
        let status = child.wait().map_err(plain)?;
        match (status.success(), status.signal(), status.code()) {
            (true, ..) => Ok(()),
            (_, Some(signal), _) => Err(format!("killed by signal {signal}")),
            (.., code) => Err(format!("exit status {}", code.unwrap_or(1))),
        }
    }

    fn shell(&self) -> String {
        let words = self.env.iter().cloned().chain([self.path.to_string_lossy().into_owned()]);
        let words = words.chain(self.args.iter().skip(1).cloned()).map(|word| quote(&word)).collect::<Vec<_>>();
        format!("env -i {} <state.json", words.join(" "))
    }
}

fn ends_within(pid: u32, limit: Duration) -> bool {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return true };
    let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { return true };
    let end = Instant::now() + limit;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let timeout =
            Timespec { tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX), tv_nsec: left.subsec_nanos().into() };
        match poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&timeout)) {
            Err(Errno::INTR) => {}
            Ok(0) => return false,
            _ => return true,
        }
    }
}

impl Mechanism for Hooks {
    fn shell(&self) -> String {
        all(self.hooks.iter().map(Hook::shell))
    }

    fn run(&self, scene: &mut Scene) -> Result<()> {
        if self.moment == Moment::Poststop {
            return Ok(()); // its time is undo()
        }
        // Inside it is this process that is told of, by the number that it has there.
        let pid = match self.moment.place() {
            Place::Inside => rustix::process::getpid().as_raw_nonzero().get(),
            _ => scene.pid.map_or(0, |pid| pid.as_raw_nonzero().get()),
        };
        self.tell(Some(pid)).map(drop)
    }

    fn undo(&self) {
        if self.moment != Moment::Poststop {
            return;
        }
        for warning in self.tell(None).unwrap_or_else(|error| vec![error.to_string()]) {
            let line = format!("{}: note: hooks: {warning}\n", self.program);
            let _ = rustix::io::write(rustix::stdio::stderr(), line.as_bytes());
        }
    }
}

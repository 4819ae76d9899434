//! The process that keeps a container in the background, as others see it: who it is, whether it waits to start
//! the container again, how the container's health is; and what it says on its socket.
//!
//! ```text
//! $DOCK_RUN/containers/ID/keeper.json   this
//! $DOCK_RUN/containers/ID/attach.sock   a SOCK_SEQPACKET socket: one message a packet
//! $DOCK_RUN/containers/ID/paused        is there while its processes are frozen
//! $DOCK_RUN/containers/ID/freezer       the cgroup in which they are, or were
//! $DOCK_ROOT/containers/ID/stopped      somebody stopped it: its restart policy must not bring it back
//! ```

use crate::life::{start_time, state_dir};
use crate::{Error, Found, Result, file};
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use rustix::net::{self, AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType, socket_with};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// `keeper.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Keeper {
    /// The process that keeps the container, as the host sees it.
    pub pid: i32,
    /// When that process started, in clock ticks since boot.
    pub start: u64,
    /// The container has ended and will be started again.
    #[serde(default)]
    pub restarting: bool,
    /// How often it has been started again.
    #[serde(default)]
    pub restart_count: u64,
    /// With a health check: what docker's inspect has in State.Health.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// Members that this version does not know.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// State.Health of docker's inspect.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Health {
    /// `starting`, `healthy` or `unhealthy`.
    pub status: String,
    /// Probes that failed one after the other.
    pub failing_streak: u64,
    /// The last five probes, the oldest first.
    pub log: Vec<Probe>,
}

/// One probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Probe {
    /// RFC 3339.
    pub start: String,
    /// RFC 3339.
    pub end: String,
    /// 0 healthy; -1 when it took too long.
    pub exit_code: i32,
    /// What it printed, at most 4096 bytes.
    pub output: String,
}

impl Keeper {
    /// This very process.
    pub fn myself() -> Result<Self> {
        let pid = i32::try_from(std::process::id()).unwrap_or(0);
        let start = start_time(pid)
            .ok_or_else(|| Error::Io("/proc/self/stat".into(), io::Error::from(io::ErrorKind::NotFound)))?;
        Ok(Self { pid, start, ..Self::default() })
    }

    /// Writes `keeper.json`.
    pub fn write(&self, run: &Path, id: &str) -> Result<()> {
        let dir = crate::life::make_state_dir(run, id)?;
        file::write_json(&dir, "keeper.json", self)
    }

    /// Reads it; `None` when nobody keeps the container, or who did is dead.
    pub fn read(run: &Path, id: &str) -> Result<Option<Self>> {
        let read: Option<Self> = file::read_json_if_there(&state_dir(run, id), "keeper.json")?;
        Ok(read.filter(Self::lives))
    }

    /// The process itself, readable when it has ended; `None` when it lives no more.
    pub fn open(&self) -> Result<Option<OwnedFd>> {
        crate::life::open_process(self.pid, || self.lives())
    }

    /// Whether that very process lives.
    pub fn lives(&self) -> bool {
        start_time(self.pid) == Some(self.start)
    }
}

/// Where the keeper listens.
pub fn socket_path(run: &Path, id: &str) -> PathBuf {
    state_dir(run, id).join("attach.sock")
}

/// Connects to the keeper. The path goes through a descriptor of its directory: a socket's address has only 108
/// bytes.
pub fn connect(run: &Path, id: &str) -> Result<OwnedFd> {
    let path = socket_path(run, id);
    let call = || -> rustix::io::Result<OwnedFd> {
        let dir = open(state_dir(run, id), OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        let through = format!("/proc/self/fd/{}/attach.sock", dir.as_raw_fd());
        net::connect(&socket, &SocketAddrUnix::new(through)?)?;
        Ok(socket)
    };
    call().map_err(|cause| Error::Io(path, cause.into()))
}

/// Remembers that the container was stopped and tells who would start it again.
pub fn forbid_restart(found: &Found, run: &Path) -> Result<()> {
    set_stopped(&found.dir, true)?;
    if found.keeper.as_ref().is_some_and(|keeper| keeper.restarting)
        && let Ok(socket) = connect(run, &found.meta.id)
    {
        // It has just given up by itself, then.
        let _ = net::send(&socket, &Message::GiveUp.packet(), SendFlags::NOSIGNAL);
    }
    Ok(())
}

/// Held by who freezes a container or lets it go on, from the look at its state to the change of it: two at once would
/// leave one that stands still and is said to run. It is the bundle's directory, which stays as long as the container.
#[derive(Debug)]
pub struct Pausing {
    _dir: Option<File>,
}

impl Pausing {
    /// Waits for it. A container that is gone has nobody who pauses it.
    pub fn take(bundle: &Path) -> Result<Self> {
        let take = || File::open(bundle).and_then(|dir| Ok(flock(&dir, FlockOperation::LockExclusive).map(|()| dir)?));
        match take() {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(Error::Io(bundle.into(), cause)),
            dir => Ok(Self { _dir: dir.ok() }),
        }
    }
}

/// Is there while a container is paused.
pub fn paused_path(run: &Path, id: &str) -> PathBuf {
    state_dir(run, id).join("paused")
}

/// Remembers the cgroup in which the container is frozen now.
pub fn set_paused(run: &Path, id: &str, cgroup: &Path) -> Result<()> {
    let dir = crate::life::make_state_dir(run, id)?;
    file::write(&dir, "freezer", cgroup.as_os_str().as_encoded_bytes())?;
    file::write(&dir, "paused", b"")
}

/// The container goes on. Its processes stay in that cgroup.
pub fn set_resumed(run: &Path, id: &str) -> Result<()> {
    crate::life::gone(paused_path(run, id))
}

/// The cgroup in which the container is, or once was, frozen.
pub fn freezer(run: &Path, id: &str) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStringExt;
    let bytes = file::read_if_there(&state_dir(run, id), "freezer").ok().flatten()?;
    Some(std::ffi::OsString::from_vec(bytes).into())
}

/// The cgroup in which the container is frozen now.
pub fn frozen(run: &Path, id: &str) -> Option<PathBuf> {
    freezer(run, id).filter(|_| paused_path(run, id).exists())
}

/// Remembers cgroups that a container got while it ran: they go with it.
pub fn note_cgroups(run: &Path, id: &str, more: &[PathBuf]) -> Result<()> {
    let mut all = later_cgroups(run, id)?;
    all.extend(more.iter().filter(|path| !all.contains(path)).cloned().collect::<Vec<_>>());
    file::write_json(&state_dir(run, id), "cgroups.json", &all)
}

/// The cgroups that a container got while it ran.
pub fn later_cgroups(run: &Path, id: &str) -> Result<Vec<PathBuf>> {
    Ok(file::read_json_if_there(&state_dir(run, id), "cgroups.json")?.unwrap_or_default())
}

/// The container has ended: so have its pause and the cgroups that it got while it ran.
pub fn end_cgroups(bundle: &Path, run: &Path, id: &str) -> Result<()> {
    let _pausing = Pausing::take(bundle)?;
    set_resumed(run, id)?;
    later_cgroups(run, id)?.iter().chain(&freezer(run, id)).for_each(|cgroup| remove_cgroup(cgroup));
    crate::life::gone(state_dir(run, id).join("freezer"))?;
    crate::life::gone(state_dir(run, id).join("cgroups.json"))
}

/// The kernel takes a moment to empty it.
fn remove_cgroup(cgroup: &Path) {
    for wait in 0..20 {
        match std::fs::remove_dir(cgroup) {
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::BUSY.raw_os_error()) => {
                std::thread::sleep(std::time::Duration::from_millis(1 + wait));
            }
            _ => break,
        }
    }
    // The one above goes with the last; whoever makes one in it makes it again.
    if let Some(above) = cgroup.parent().filter(|above| above.ends_with("dock")) {
        let _ = std::fs::remove_dir(above);
    }
}

/// Remembers that somebody stopped the container, or forgets it at the next start.
pub fn set_stopped(bundle: &Path, stopped: bool) -> Result<()> {
    let path = bundle.join("stopped");
    let done = if stopped { std::fs::write(&path, "") } else { std::fs::remove_file(&path) };
    match done {
        Err(cause) if stopped || cause.kind() != io::ErrorKind::NotFound => Err(Error::Io(path, cause)),
        _ => Ok(()),
    }
}

/// Whether somebody stopped the container since it was started.
pub fn was_stopped(bundle: &Path) -> bool {
    bundle.join("stopped").exists()
}

/// What stands in the file that remembers a stop, when the container was stopped to be started again.
const AGAIN: &str = "again\n";

/// After [`forbid_restart`]: a container that goes with its end stays this time, to be started again.
pub fn spare(bundle: &Path) -> Result<()> {
    let path = bundle.join("stopped");
    std::fs::write(&path, AGAIN).map_err(|cause| Error::Io(path, cause))
}

/// Whether it was stopped to be started again.
pub fn is_spared(bundle: &Path) -> bool {
    std::fs::read(bundle.join("stopped")).is_ok_and(|text| text == AGAIN.as_bytes())
}

/// What is said on `attach.sock`, one message a packet: a letter, then its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    /// To the keeper: bytes for the container's standard input.
    Input(&'a [u8]),
    /// To the keeper: no more of these.
    InputEnd,
    /// To the keeper: lines and columns of the terminal.
    Size(u16, u16),
    /// To the keeper: a signal for the container.
    Signal(u8),
    /// To the keeper: do not start the container again.
    GiveUp,
    /// From the keeper: bytes of standard output, or of the terminal.
    Output(&'a [u8]),
    /// From the keeper: bytes of standard error.
    Errors(&'a [u8]),
    /// From the keeper: the container has ended with this code and is not started again.
    Ended(u8),
}

impl<'a> Message<'a> {
    /// No message has more bytes of content.
    pub const LONGEST: usize = 16 * 1024 - 1;

    /// The packet.
    pub fn packet(self) -> Vec<u8> {
        let bytes = |letter: u8, content: &[u8]| [&[letter], content].concat();
        match self {
            Self::Input(content) => bytes(b'i', content),
            Self::InputEnd => vec![b'e'],
            Self::Size(rows, columns) => bytes(b's', &[rows.to_be_bytes(), columns.to_be_bytes()].concat()),
            Self::Signal(signal) => vec![b'k', signal],
            Self::GiveUp => vec![b'g'],
            Self::Output(content) => bytes(b'o', content),
            Self::Errors(content) => bytes(b'r', content),
            Self::Ended(code) => vec![b'x', code],
        }
    }

    /// Reads a packet; `None` for one of another version.
    pub fn parse(packet: &'a [u8]) -> Option<Self> {
        let (letter, content) = packet.split_first()?;
        Some(match (letter, content) {
            (b'i', content) => Self::Input(content),
            (b'e', []) => Self::InputEnd,
            (b's', &[a, b, c, d]) => Self::Size(u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])),
            (b'k', &[signal]) => Self::Signal(signal),
            (b'g', []) => Self::GiveUp,
            (b'o', content) => Self::Output(content),
            (b'r', content) => Self::Errors(content),
            (b'x', &[code]) => Self::Ended(code),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_back_and_rubbish_does_not() {
        let all = [
            Message::Input(b"ls\n"),
            Message::Input(b""),
            Message::InputEnd,
            Message::Size(25, 300),
            Message::Signal(2),
            Message::GiveUp,
            Message::Output(b"\xff"),
            Message::Errors(b"e"),
            Message::Ended(255),
        ];
        for message in all {
            assert_eq!(Message::parse(&message.packet()), Some(message));
        }
        for rubbish in [&b""[..], b"z", b"s123", b"k", b"x12", b"e1"] {
            assert_eq!(Message::parse(rubbish), None, "{rubbish:?}");
        }
    }

    #[test]
    fn a_dead_keeper_keeps_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let myself = Keeper::myself().unwrap();
        myself.write(dir.path(), "c1").unwrap();
        assert_eq!(Keeper::read(dir.path(), "c1").unwrap(), Some(myself.clone()));
        Keeper { start: myself.start - 1, ..myself }.write(dir.path(), "c1").unwrap();
        assert_eq!(Keeper::read(dir.path(), "c1").unwrap(), None);
    }

    #[test]
    fn a_stop_is_remembered_once() {
        let dir = tempfile::tempdir().unwrap();
        set_stopped(dir.path(), false).unwrap();
        set_stopped(dir.path(), true).unwrap();
        assert!(was_stopped(dir.path()) && !is_spared(dir.path()));
        spare(dir.path()).unwrap();
        assert!(was_stopped(dir.path()) && is_spared(dir.path()));
        set_stopped(dir.path(), false).unwrap();
        assert!(!is_spared(dir.path()) && !was_stopped(dir.path()));
    }
}

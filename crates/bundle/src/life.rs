//! From start to end of a container: who holds it, what its first process is, how that ended.
//!
//! A process ID alone proves nothing: the kernel hands it out again. Here a process is its ID and the time
//! that it started, which /proc/PID/stat gives in clock ticks since boot.

use crate::{Error, Result, file};
use rustix::fd::OwnedFd;
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use wire::WirePath;

/// Annotation of `state.json`: field 22 of /proc/PID/stat.
const PID_START: &str = "dev.dock.pid.start";
/// Annotation of `state.json`: when it started, RFC 3339.
const STARTED_AT: &str = "dev.dock.started";

/// The time as records have it: RFC 3339, UTC.
pub fn now() -> String {
    jiff::Timestamp::now().to_string()
}

/// Held by the process that keeps a container while the container lives; gone with that process.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

/// All that stands in a lock is as long as this, so that what is written once has its place on the disk.
const WORD: usize = 8;

impl Lock {
    /// Takes back what an earlier life left, before a new one. Where the disk has no room for that, it has none for the
    /// end of the new one either.
    pub fn clear(&mut self) -> std::io::Result<()> {
        self.write("")
    }

    /// Leaves the word that the process was executed: after a loss of power it is all that tells of that.
    pub fn begin(&mut self) {
        let _ = self.write("started");
    }

    /// Leaves the exit code in the file, for those who wait for the lock: they may be the last who know of the
    /// container.
    pub fn leave(&mut self, code: u8) {
        let _ = self.write(&code.to_string());
    }

    fn write(&mut self, text: &str) -> std::io::Result<()> {
        self.file.write_all_at(format!("{text:WORD$}").as_bytes(), 0)
    }
}

/// What was left in a bundle's lock.
fn word(bundle: &Path) -> Option<String> {
    let text = std::fs::read_to_string(bundle.join("lock")).ok()?;
    Some(text.trim().to_owned()).filter(|word| !word.is_empty())
}

/// Whether the process of a bundle was ever executed, as far as its lock tells.
pub(crate) fn was_started(bundle: &Path) -> bool {
    word(bundle).is_some()
}

/// Waits until nobody holds a bundle's lock and gives the code that was left there.
#[derive(Debug)]
pub struct Waiting {
    file: File,
}

impl Waiting {
    /// Opens the lock. From here on the container may be removed, and its end is seen still.
    pub fn open(bundle: &Path) -> Result<Self> {
        let path = bundle.join("lock");
        File::open(&path).map(|file| Self { file }).map_err(|cause| Error::Io(path, cause))
    }

    /// Whether somebody keeps the container now.
    pub fn is_kept(&self) -> bool {
        match flock(&self.file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => flock(&self.file, FlockOperation::Unlock).is_err(),
            Err(_) => true,
        }
    }

    /// Waits; `None` when who kept the container could not say how it ended.
    pub fn wait(mut self) -> Result<Option<u8>> {
        let io = |cause: std::io::Error| Error::Io("lock".into(), cause);
        flock(&self.file, FlockOperation::LockShared).map_err(|cause| io(cause.into()))?;
        let mut text = String::new();
        self.file.rewind().map_err(io)?;
        (&self.file).take(8).read_to_string(&mut text).map_err(io)?;
        Ok(text.trim().parse().ok())
    }
}

/// Takes a bundle's lock, or says [`Error::Busy`] after a moment. What was left in it stays.
pub fn lock(bundle: &Path) -> Result<Lock> {
    let path = bundle.join("lock");
    let io = |cause: std::io::Error| Error::Io(path.clone(), cause);
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(io)?;
    // Who has waited for the end holds it for a moment to read the code.
    for _ in 0..10 {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(Lock { file }),
            Err(rustix::io::Errno::WOULDBLOCK) => std::thread::sleep(Duration::from_millis(2)),
            Err(cause) => return Err(io(cause.into())),
        }
    }
    Err(Error::Busy(bundle.into()))
}

/// `state.json` below the run directory: the state of runtime-spec (runtime.md, "State").
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Started {
    /// Of the runtime specification.
    pub oci_version: String,
    /// The container's ID.
    pub id: String,
    /// `running`; the file says nothing about a process that has ended since.
    pub status: String,
    /// The first process, as the host sees it.
    pub pid: i32,
    /// Absolute path of the bundle.
    pub bundle: WirePath,
    /// Where the start time stands.
    #[serde(default)]
    pub annotations: Map<String, Value>,
    /// Members that this version does not know.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

impl Started {
    /// The state of the process `pid`, which must live.
    pub fn new(id: &str, pid: i32, bundle: &Path) -> Result<Self> {
        let start = start_time(pid).ok_or_else(|| {
            Error::Io(format!("/proc/{pid}/stat").into(), std::io::Error::from(std::io::ErrorKind::NotFound))
        })?;
        let mut annotations = Map::new();
        annotations.insert(PID_START.into(), start.to_string().into());
        annotations.insert(STARTED_AT.into(), now().into());
        Ok(Self {
            oci_version: "1.0.2".into(),
            id: id.into(),
            status: "running".into(),
            pid,
            bundle: bundle.into(),
            annotations,
            rest: Map::new(),
        })
    }

    /// Writes `<run>/containers/<id>/state.json`.
    pub fn write(&self, run: &Path) -> Result<()> {
        file::write_json(&make_state_dir(run, &self.id)?, "state.json", self)
    }

    /// Reads it; `None` when the container is not started.
    pub fn read(run: &Path, id: &str) -> Result<Option<Self>> {
        file::read_json_if_there(&state_dir(run, id), "state.json")
    }

    /// Removes the file alone: the process has ended, and who keeps the container goes on.
    pub fn forget(run: &Path, id: &str) -> Result<()> {
        gone(state_dir(run, id).join("state.json"))
    }

    /// Removes all that is known of a container that lives. That it is gone already is fine.
    pub fn remove(run: &Path, id: &str) -> Result<()> {
        let dir = state_dir(run, id);
        match std::fs::remove_dir_all(&dir) {
            Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => Err(Error::Io(dir, cause)),
            _ => Ok(()),
        }
    }

    /// When it started, RFC 3339.
    pub fn started_at(&self) -> Option<&str> {
        self.annotations.get(STARTED_AT)?.as_str()
    }

    /// The process itself; `None` when it lives no more. The descriptor is opened before the start time is
    /// compared: from then on it means that process or none.
    pub fn open(&self) -> Result<Option<OwnedFd>> {
        open_process(self.pid, || self.lives())
    }

    /// Whether that very process still lives. One that waits to be reaped does not.
    pub fn lives(&self) -> bool {
        let recorded = self.annotations.get(PID_START).and_then(Value::as_str);
        recorded.is_some() && start_time(self.pid).map(|start| start.to_string()).as_deref() == recorded
    }
}

pub(crate) fn state_dir(run: &Path, id: &str) -> PathBuf {
    run.join("containers").join(id)
}

/// `<run>/containers/<id>`, for its owner alone.
pub fn make_state_dir(run: &Path, id: &str) -> Result<PathBuf> {
    let dir = state_dir(run, id);
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir);
    made.map_err(|cause| Error::Io(dir.clone(), cause))?;
    Ok(dir)
}

pub(crate) fn gone(path: PathBuf) -> Result<()> {
    match std::fs::remove_file(&path) {
        Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => Err(Error::Io(path, cause)),
        _ => Ok(()),
    }
}

/// A pidfd, opened before it is asked whether the number still means the same process.
pub(crate) fn open_process(pid: i32, lives: impl Fn() -> bool) -> Result<Option<OwnedFd>> {
    let Some(number) = Pid::from_raw(pid).filter(|_| pid > 1) else { return Ok(None) };
    match pidfd_open(number, PidfdFlags::empty()) {
        Err(rustix::io::Errno::SRCH) => Ok(None),
        Err(cause) => Err(Error::Io(format!("pidfd_open({pid})").into(), cause.into())),
        Ok(process) => Ok(lives().then_some(process)),
    }
}

/// When a process started, in clock ticks since boot; `None` when there is no such process, or only its
/// zombie. The command's name, in parentheses, can hold anything: what counts stands after the last one.
pub(crate) fn start_time(pid: i32) -> Option<u64> {
    // Files of procfs tell no size: room for all of it is one read.
    let mut stat = Vec::with_capacity(1024);
    File::open(format!("/proc/{pid}/stat")).ok()?.read_to_end(&mut stat).ok()?;
    let stat = String::from_utf8_lossy(&stat);
    let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_whitespace();
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    // The state was field 3; the start time is field 22.
    fields.nth(18)?.parse().ok()
}

/// `exit.json`: how the first process ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Exit {
    /// Its code; 128+n for signal n; 125, 126, 127 when it was not executed.
    pub exit_code: i32,
    /// The signal that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// When it started the last time, RFC 3339; absent when it was never executed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// When it ended, RFC 3339.
    pub finished_at: String,
    /// Whether the kernel ended it for want of memory.
    #[serde(default)]
    pub oom_killed: bool,
    /// Members that this version does not know.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

impl Exit {
    /// An end just now.
    pub fn now(exit_code: i32, signal: Option<i32>, started_at: Option<String>) -> Self {
        Self { exit_code, signal, started_at, finished_at: now(), oom_killed: false, rest: Map::new() }
    }

    /// Writes `exit.json` in the bundle.
    pub fn write(&self, bundle: &Path) -> Result<()> {
        file::write_json(bundle, "exit.json", self)
    }

    /// Reads it; `None` when the process has not ended.
    pub fn read(bundle: &Path) -> Result<Option<Self>> {
        file::read_json_if_there(bundle, "exit.json")
    }

    /// What the lock tells of an end that could not be written down, on a full disk.
    pub fn left_in_lock(bundle: &Path) -> Option<Self> {
        let path = bundle.join("lock");
        let exit_code: u8 = word(bundle)?.parse().ok()?;
        let finished = jiff::Timestamp::try_from(path.metadata().ok()?.modified().ok()?).ok()?;
        Some(Self { finished_at: finished.to_string(), ..Self::now(exit_code.into(), None, None) })
    }

    /// Whether this tells only of a start that failed.
    pub(crate) fn never_lived(&self) -> bool {
        self.started_at.is_none() && self.rest.contains_key("error")
    }

    /// Removes it, before a new start.
    pub fn remove(bundle: &Path) -> Result<()> {
        gone(bundle.join("exit.json"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn a_process_is_its_id_and_its_start() {
        let dir = tempfile::tempdir().unwrap();
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let started = Started::new("c1", pid, Path::new("/b")).unwrap();
        started.write(dir.path()).unwrap();
        let read = Started::read(dir.path(), "c1").unwrap().unwrap();
        assert_eq!(read, started);
        assert!(read.lives() && read.started_at().unwrap().ends_with('Z'));
        let mut other = read.clone();
        other.annotations.insert(PID_START.into(), "1".into());
        assert!(!other.lives(), "the same ID at another time is another process");
        child.stdin.take();
        // Dead and not yet reaped: a zombie does not live.
        while start_time(pid).is_some() {
            std::thread::yield_now();
        }
        assert!(!read.lives());
        child.wait().unwrap();
        assert!(!read.lives());
        Started::remove(dir.path(), "c1").unwrap();
        Started::remove(dir.path(), "c1").unwrap();
        assert_eq!(Started::read(dir.path(), "c1").unwrap(), None);
    }

    #[test]
    fn a_lock_has_one_holder() {
        let dir = tempfile::tempdir().unwrap();
        let mut held = lock(dir.path()).unwrap();
        assert!(matches!(lock(dir.path()), Err(Error::Busy(_))));
        let waiting = Waiting::open(dir.path()).unwrap();
        assert!(waiting.is_kept());
        std::fs::remove_file(dir.path().join("lock")).unwrap();
        held.leave(137);
        drop(held);
        assert!(!waiting.is_kept());
        assert_eq!(waiting.wait().unwrap(), Some(137), "also of a container that is gone");
        let mut held = lock(dir.path()).unwrap();
        held.leave(3);
        drop(held);
        drop(lock(dir.path()).unwrap());
        assert!(was_started(dir.path()), "who only looks in takes nothing away");
        lock(dir.path()).unwrap().clear().unwrap();
        assert!(!was_started(dir.path()));
        assert_eq!(Waiting::open(dir.path()).unwrap().wait().unwrap(), None, "who held it was killed");
    }

    #[test]
    fn an_end_comes_back_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Exit::read(dir.path()).unwrap(), None);
        let exit = Exit::now(137, Some(9), Some(now()));
        exit.write(dir.path()).unwrap();
        assert_eq!(Exit::read(dir.path()).unwrap(), Some(exit));
        Exit::remove(dir.path()).unwrap();
        assert_eq!(Exit::read(dir.path()).unwrap(), None);
    }
}

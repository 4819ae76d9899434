//! One cgroup, that is one directory: made under a lock, written to, and removed with what is left in it.

use super::{devices, v1};
use crate::error::{Call, Error, Result};
use crate::steps::Scene;
use crate::walk;
use rustix::fd::OwnedFd;
use rustix::fs::{FlockOperation, Mode, OFlags, flock, mkdirat, open, openat};
use rustix::io::Errno;
use serde::Serialize;
use std::cell::{Cell, RefCell};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// One cgroup of the container's and what is written into it.
#[derive(Debug, Serialize)]
pub struct Group {
    /// Its directory.
    pub path: PathBuf,
    /// What it limits.
    pub controllers: Vec<String>,
    /// Version 2: the directories above in which the controllers are switched on first.
    pub enable: Vec<PathBuf>,
    /// File → content, in order.
    pub writes: Vec<(String, String)>,
    /// Version 2: rules for devices, as version 1 writes them. They become a program of the kernel's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<(bool, String)>,
    /// The directories above that were not there before: they go with it, the deepest first.
    #[serde(skip)]
    pub(crate) above: RefCell<Vec<PathBuf>>,
    /// It is ours: who finds the place taken leaves alone what stands there.
    #[serde(skip)]
    pub(crate) made: Cell<bool>,
}

impl Group {
    /// Makes the directory. The lock on the one above says "not joined yet": an empty cgroup without it is one
    /// whose ctr-spawn was killed, and the next one sweeps it away.
    pub(super) fn make(&self) -> Result<(OwnedFd, OwnedFd)> {
        let line = || format!("mkdir({:?})", self.path);
        let (parent, name) = walk::split(&self.path)?;
        let missing = parent.ancestors().take_while(|dir| !dir.exists() && !dir.ends_with("dock"));
        self.above.borrow_mut().extend(missing.map(Into::into));
        for _ in 0..64 {
            fs::create_dir_all(parent).call(line)?;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let above = match open(parent, flags, Mode::empty()) {
                Err(Errno::NOENT) => continue,
                other => other.call(line)?,
            };
            flock(&above, FlockOperation::LockShared).call(|| format!("flock({parent:?})"))?;
            match mkdirat(&above, name, Mode::from_raw_mode(0o755)) {
                Err(Errno::NOENT) => continue, // swept away between the two calls
                Err(Errno::EXIST) => {
                    // Left by a killed one, or in use: the kernel knows which.
                    rustix::fs::unlinkat(&above, name, rustix::fs::AtFlags::REMOVEDIR)
                        .call(|| format!("rmdir({:?})", self.path))?;
                    mkdirat(&above, name, Mode::from_raw_mode(0o755)).call(line)?;
                }
                other => other.call(line)?,
            }
            self.made.set(true);
            let dir = openat(&above, name, flags, Mode::empty()).call(line)?;
            return Ok((above, dir));
        }
        Err(Errno::NOENT).call(line)
    }

    /// Its controllers count: version 2 wants it said in every directory above, version 1 an own set of processors.
    pub(super) fn switch_on(&self) -> Result<()> {
        for above in self.enable.iter().filter(|_| !self.controllers.is_empty()) {
            let words: Vec<String> = self.controllers.iter().map(|name| format!("+{name}")).collect();
            write(&above.join("cgroup.subtree_control"), &words.join(" "))?;
        }
        if self.controllers.iter().any(|name| name == "cpuset") && self.enable.is_empty() {
            v1::inherit_cpuset(&self.path)?;
        }
        Ok(())
    }

    /// The directory that is there.
    pub(super) fn open(&self) -> Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        open(&self.path, flags, Mode::empty()).call(|| format!("open({:?})", self.path))
    }

    /// Version 2: whether all that it limits is switched on for it.
    pub(super) fn has_controllers(&self) -> bool {
        let there = fs::read_to_string(self.path.join("cgroup.controllers")).unwrap_or_default();
        self.controllers.iter().all(|wanted| there.split_whitespace().any(|name| name == wanted))
    }

    /// Its devices and its limits.
    pub(super) fn limit(&self, dir: &OwnedFd, scene: &Scene) -> Result<()> {
        if !self.devices.is_empty() {
            devices::attach(dir, &self.devices)?;
        }
        for (file, content) in &self.writes {
            match self.write(file, content) {
                // As docker: memory is limited, and that swap is not is said.
                Err(error) if swap_is_not_counted(file, &error) => {
                    scene.note(&format!("{file}: this kernel does not count swap; memory alone is limited"));
                }
                other => other?,
            }
        }
        Ok(())
    }

    /// A name may offer others for kernels that do not have it (`|`), or be one that need not be there (`?`).
    pub(super) fn write(&self, file: &str, content: &str) -> Result<()> {
        let mut result = Ok(());
        for name in file.trim_start_matches('?').split('|') {
            result = write(&self.path.join(name), content);
            if !matches!(result, Err(Error::Call { errno: libc::ENOENT, .. })) {
                return result;
            }
        }
        if file.starts_with('?') { Ok(()) } else { result }
    }

    /// Removes it, and those beside it that nobody uses any more.
    pub(super) fn remove(&self) {
        if !self.made.get() {
            return;
        }
        for wait in 0..40 {
            match fs::remove_dir(&self.path) {
                // The kernel is still taking the last processes apart.
                Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
                    self.kill_all();
                    std::thread::sleep(Duration::from_millis(1 + wait));
                }
                _ => break,
            }
        }
        for dir in self.above.borrow().iter() {
            let _ = fs::remove_dir(dir);
        }
        // Only what is below dock/ is ours to sweep: in any other place an empty one may be somebody's.
        let Some(parent) = self.path.parent().filter(|parent| parent.ends_with("dock")) else { return };
        let Ok(above) = open(parent, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) else {
            return;
        };
        if flock(&above, FlockOperation::NonBlockingLockExclusive).is_err() {
            return;
        }
        for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                let _ = fs::remove_dir(entry.path());
            }
        }
        let _ = fs::remove_dir(parent);
    }

    /// Without a PID namespace of its own, processes of the container may have outlived its first.
    fn kill_all(&self) {
        let procs = fs::read_to_string(self.path.join("cgroup.procs")).unwrap_or_default();
        for pid in procs.lines().filter_map(|line| rustix::process::Pid::from_raw(line.parse().ok()?)) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

/// Kills whatever is in a cgroup and the ones below it, and removes them. Gone already is fine.
pub fn remove_cgroup(path: &Path) -> std::result::Result<(), Error> {
    if !path.parent().is_some_and(|parent| parent.join("cgroup.procs").exists()) && path.exists() {
        return Err(Error::refused(format!("{}: the root of a tree, or no cgroup at all", path.display())));
    }
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_cgroup(&entry.path())?;
        }
    }
    let group = Group {
        path: path.into(),
        controllers: Vec::new(),
        enable: Vec::new(),
        writes: Vec::new(),
        devices: Vec::new(),
        above: RefCell::default(),
        made: Cell::new(true),
    };
    group.remove();
    if path.exists() { Err(Errno::BUSY).call(|| format!("rmdir({path:?})")) } else { Ok(()) }
}

/// Whether a limit of swap met a kernel that does not count it.
pub(super) fn swap_is_not_counted(file: &str, error: &Error) -> bool {
    let of_swap = file.starts_with("memory.memsw.") || file.starts_with("memory.swap.");
    of_swap && matches!(error, Error::Call { errno: libc::ENOENT, .. })
}

pub(crate) fn write(path: &Path, content: &str) -> Result<()> {
    let line = || format!("write({path:?}, {content:?})");
    let file = open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()).call(line)?;
    rustix::io::write(&file, content.as_bytes()).call(line).map(drop)
}

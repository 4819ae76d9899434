//! The way into a cgroup.

use crate::error::{Call, Result};
use crate::steps::{Mechanism, Scene, all, quote};
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// The process goes into its cgroups: from its first instruction on it is limited. In that of version 2 it was born
/// where the kernel can do that. It moves itself and only itself: moving another, or a whole process, stops the forks
/// and exits of the machine, and waits milliseconds for that.
#[derive(Debug, Serialize)]
pub struct JoinCgroups {
    /// The directories.
    pub paths: Vec<PathBuf>,
}

impl Mechanism for JoinCgroups {
    fn shell(&self) -> String {
        let has_tasks = |path: &Path| path.ancestors().any(|dir| dir.join("tasks").exists());
        let file = |path: &Path| if has_tasks(path) { "tasks" } else { "cgroup.procs" };
        all(self.paths.iter().map(|path| format!("echo 0 >{}/{}", quote(&path.to_string_lossy()), file(path))))
    }

    fn run(&self, scene: &mut Scene) -> Result<()> {
        for (path, file) in scene.entrances.drain(..) {
            rustix::io::write(&file, b"0").call(|| format!("write({path:?}, \"0\")"))?;
        }
        // The parent has let go of its copies of the locks: with these the cgroups count as joined.
        scene.locks.clear();
        Ok(())
    }
}

/// Opens now what the process goes in by: it may stand in a user namespace by then, and what counts is who opened it.
pub(super) fn open_for_the_process(group: &Path, dir: OwnedFd, scene: &mut Scene) -> Result<()> {
    let open = |file: &str| {
        let path = group.join(file);
        openat(&dir, file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()).map(|fd| (path, fd))
    };
    match open("tasks") {
        // Version 2 has no such file.
        Err(Errno::NOENT) => {
            let file = open("cgroup.procs").call(|| format!("open({:?})", group.join("cgroup.procs")))?;
            scene.unless_born_in = Some(file);
            scene.cgroup = Some(dir);
        }
        file => scene.entrances.push(file.call(|| format!("open({:?})", group.join("tasks")))?),
    }
    Ok(())
}

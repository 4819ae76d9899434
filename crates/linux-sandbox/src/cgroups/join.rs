//! The way into a cgroup.

use super::write;
use crate::error::Result;
use crate::steps::{Mechanism, Scene, all, quote};
use serde::Serialize;
use std::path::PathBuf;

/// Moves the process that waits into its cgroups: from its first instruction on it is limited.
#[derive(Debug, Serialize)]
pub struct JoinCgroups {
    /// The directories.
    pub paths: Vec<PathBuf>,
}

impl Mechanism for JoinCgroups {
    fn shell(&self) -> String {
        all(self.paths.iter().map(|path| format!("echo $pid >{}/cgroup.procs", quote(&path.to_string_lossy()))))
    }

    fn run(&self, scene: &mut Scene) -> Result<()> {
        let pid = scene.pid.map_or(0, |pid| pid.as_raw_nonzero().get());
        for path in &self.paths {
            write(&path.join("cgroup.procs"), &pid.to_string())?;
        }
        scene.locks.clear();
        Ok(())
    }
}

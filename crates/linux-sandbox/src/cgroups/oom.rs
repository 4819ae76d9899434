//! Want of memory: whom the kernel kills first, and whether it did.

use super::write;
use crate::error::{Error, Result};
use crate::steps::{Mechanism, Scene};
use serde::Serialize;
use std::fs;
use std::path::PathBuf;

/// `oom_score_adj` of proc(5): whom the kernel kills first.
#[derive(Debug, Serialize)]
pub struct OomScore {
    /// -1000 never, 1000 first.
    pub value: i32,
}

impl Mechanism for OomScore {
    fn shell(&self) -> String {
        format!("echo {} >/proc/$pid/oom_score_adj", self.value)
    }

    fn run(&self, scene: &mut Scene) -> Result<()> {
        let pid = scene.pid.map_or(0, |pid| pid.as_raw_nonzero().get());
        let path = PathBuf::from(format!("/proc/{pid}/oom_score_adj"));
        match write(&path, &self.value.to_string()) {
            Err(Error::Call { errno: libc::EACCES | libc::EPERM, .. }) => {
                scene.note(&format!("oom_score_adj: {} is below what this process may set; it stays", self.value));
                Ok(())
            }
            other => other,
        }
    }
}

/// Whether the kernel killed a process in one of these cgroups for want of memory. To be asked before their end.
pub fn oom_killed(groups: &[PathBuf]) -> bool {
    let files = groups.iter().flat_map(|group| ["memory.events", "memory.oom_control"].map(|file| group.join(file)));
    files.into_iter().any(|file| {
        let text = fs::read_to_string(file).unwrap_or_default();
        text.lines().any(|line| line.strip_prefix("oom_kill ").is_some_and(|count| count.trim() != "0"))
    })
}

//! The most that a container had.

use std::fs;
use std::path::PathBuf;

/// The most that a container had at once, all of its processes together. Only what is limited is counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Peaks {
    /// Memory with the page cache, bytes: `memory.peak` (Linux 5.19), `memory.max_usage_in_bytes` of version 1.
    pub memory: Option<u64>,
    /// Processes and threads: `pids.peak` (Linux 6.11).
    pub pids: Option<u64>,
}

/// Reads the peaks in the cgroups of a container. To be asked before their end.
pub fn peaks(groups: &[PathBuf]) -> Peaks {
    let read = |file: &str| {
        let text = groups.iter().find_map(|group| fs::read_to_string(group.join(file)).ok())?;
        text.trim().parse().ok()
    };
    Peaks { memory: read("memory.peak").or_else(|| read("memory.max_usage_in_bytes")), pids: read("pids.peak") }
}

//! `set_mempolicy(2)`: from which memory nodes of the machine (NUMA, numa(7)) the process takes its pages.

use crate::error::{Call, Error, Result};
use crate::scheduling::numbers;
use crate::steps::{Mechanism, Scene};
use crate::sys;
use serde::Serialize;

/// The policy of the process, which those that it starts inherit.
#[derive(Debug, Serialize)]
pub struct MemoryPolicy {
    /// `MPOL_BIND`
    pub mode: String,
    /// Nodes as `0-3,7`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub nodes: String,
    /// `MPOL_F_STATIC_NODES`, …
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<String>,
    #[serde(skip)]
    number: u32,
    #[serde(skip)]
    mask: Vec<u64>,
}

/// The kernel's number of each, and what numactl(8) calls it.
const MODES: [(&str, &str); 7] = [
    ("MPOL_DEFAULT", ""),
    ("MPOL_PREFERRED", "--preferred"),
    ("MPOL_BIND", "--membind"),
    ("MPOL_INTERLEAVE", "--interleave"),
    ("MPOL_LOCAL", "--localalloc"),
    ("MPOL_PREFERRED_MANY", "--preferred-many"),
    ("MPOL_WEIGHTED_INTERLEAVE", "--weighted-interleave"),
];

const FLAGS: [(&str, u32); 3] =
    [("MPOL_F_NUMA_BALANCING", 1 << 13), ("MPOL_F_RELATIVE_NODES", 1 << 14), ("MPOL_F_STATIC_NODES", 1 << 15)];

/// As many nodes as Linux can be built for.
const MOST_NODES: usize = 1024;

impl MemoryPolicy {
    /// Refuses what Linux has no name for.
    pub fn new(mode: &str, nodes: &str, flags: &[String]) -> std::result::Result<Self, Error> {
        let refused = |what: &str, why: &str| Error::refused(format!("memory policy: {what}: {why}"));
        let number = MODES.iter().position(|(name, _)| *name == mode).ok_or_else(|| refused(mode, "no such mode"))?;
        let mut bits = u32::try_from(number).unwrap_or_default();
        for flag in flags {
            let known = FLAGS.iter().find(|(name, _)| name == flag);
            bits |= known.ok_or_else(|| refused(flag, "no such flag"))?.1;
        }
        let mut mask = vec![0; MOST_NODES / 64];
        if !nodes.is_empty() {
            let list = numbers(nodes, MOST_NODES);
            for node in list.ok_or_else(|| refused(nodes, "not a list of memory nodes like 0-3,7"))? {
                mask[node / 64] |= 1 << (node % 64);
            }
        }
        Ok(Self { mode: mode.into(), nodes: nodes.into(), flags: flags.to_vec(), number: bits, mask })
    }
}

impl Mechanism for MemoryPolicy {
    fn shell(&self) -> String {
        let option = MODES.iter().find(|(name, _)| *name == self.mode).map_or("", |(_, option)| option);
        let nodes = if self.nodes.is_empty() { String::new() } else { format!("={}", self.nodes) };
        format!("exec numactl {option}{nodes} sh")
    }

    fn run(&self, _: &mut Scene) -> Result<()> {
        sys::set_mempolicy(self.number, &self.mask).call(|| format!("set_mempolicy({}, {{{}}})", self.mode, self.nodes))
    }
}

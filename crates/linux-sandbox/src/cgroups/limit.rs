//! One limit, in the words of neither version, and the controllers that can hold to it.

use super::Files;

/// One limit that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Limit {
    /// Bytes of memory.
    Memory(i64),
    /// Bytes of memory and swap together.
    MemorySwap(i64),
    /// Bytes of memory that are kept when memory is short.
    MemoryReservation(i64),
    /// Relative share of processor time, 1024 is usual.
    CpuShares(u64),
    /// Microseconds of processor time in each period, and the period.
    CpuQuota(i64, Option<u64>),
    /// `0-3,6`
    CpusetCpus(String),
    /// `0`
    CpusetMems(String),
    /// Number of processes and threads; -1 is no limit.
    Pids(i64),
    /// Rules in order, as version 1 writes them: `(allow, "c 1:3 rwm")`.
    Devices(Vec<(bool, String)>),
    /// A file of version 2 and its content.
    Unified(String, String),
    /// One of the less usual: see the functions of this type.
    Files(Files),
}

/// Every limit.
pub type Limits = Vec<Limit>;

impl Limit {
    /// Its name in version 1 and in version 2.
    pub(super) fn controllers(&self) -> [&str; 2] {
        match self {
            Self::Files(files) => files.controllers,
            _ => [self.controller(); 2],
        }
    }

    pub(super) fn controller(&self) -> &str {
        match self {
            Self::Files(files) => files.controllers[0],
            Self::Memory(_) | Self::MemorySwap(_) | Self::MemoryReservation(_) => "memory",
            Self::CpuShares(_) | Self::CpuQuota(..) => "cpu",
            Self::CpusetCpus(_) | Self::CpusetMems(_) => "cpuset",
            Self::Pids(_) => "pids",
            Self::Devices(_) => "devices",
            Self::Unified(file, _) => file.split('.').next().unwrap_or(file),
        }
    }
}

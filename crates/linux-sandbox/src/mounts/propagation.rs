//! Who else sees a mount: shared subtrees of `mount_namespaces(7)`.

use crate::error::{Call, Error, Result};
use crate::steps::{Mechanism, Scene, quote};
use crate::sys;
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, Mode, OFlags, StatxAttributes, StatxFlags, open, statx};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Whether mounts and unmounts are passed to and from other mount namespaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Propagation {
    /// Neither way.
    Private,
    /// In, not out.
    Slave,
    /// Both ways.
    Shared,
    /// Neither, and it cannot be bound.
    Unbindable,
}

impl Propagation {
    pub(crate) fn flag(self) -> u64 {
        match self {
            Self::Private => libc::MS_PRIVATE,
            Self::Slave => libc::MS_SLAVE,
            Self::Shared => libc::MS_SHARED,
            Self::Unbindable => libc::MS_UNBINDABLE,
        }
    }

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Private => "private",
            Self::Slave => "slave",
            Self::Shared => "shared",
            Self::Unbindable => "unbindable",
        }
    }
}

/// The new mount namespace is a copy of the host's, and the copies still tell each other of mounts.
#[derive(Debug, Serialize)]
pub struct PropagationStep {
    /// `Private`, unless a bind mount shall still hear of the host's mounts.
    pub propagation: Propagation,
    /// The root directory. When mounts shall reach the host, too, it must be the one place where they do not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub except: Option<PathBuf>,
}

impl Mechanism for PropagationStep {
    fn shell(&self) -> String {
        match &self.except {
            Some(dir) => {
                format!("mount --make-private \"$(findmnt -n -o TARGET -T {})\"", quote(&dir.to_string_lossy()))
            }
            None => format!("mount --make-r{} /", self.propagation.word()),
        }
    }

    fn run(&self, scene: &mut Scene) -> Result<()> {
        if let Some(dir) = &self.except {
            scene.shared = true;
            let mount = mount_of(dir)?;
            return sys::mount_setattr(&mount, false, 0, libc::MS_PRIVATE)
                .call(|| format!("mount_setattr(<mount of {dir:?}>, private)"));
        }
        let root = open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).call(|| "open(\"/\")".into())?;
        sys::mount_setattr(&root, true, 0, self.propagation.flag()).call(|| "mount_setattr(\"/\", propagation)".into())
    }
}

/// The mount in which a directory lies.
fn mount_of(dir: &Path) -> Result<OwnedFd> {
    let dir = std::fs::canonicalize(dir).call(|| format!("realpath({dir:?})"))?;
    for above in dir.ancestors() {
        let line = || format!("statx({above:?})");
        let fd = open(above, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).call(line)?;
        let found = statx(&fd, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS).call(line)?;
        if found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) {
            return Ok(fd);
        }
    }
    Err(Error::refused(format!("{}: lies in no mount", dir.display())))
}

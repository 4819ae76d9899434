//! A mount of another mount namespace. `mount --bind` sees only its own namespace, but a mount that is taken off by
//! `open_tree(2)` over there belongs to nobody, and may be attached here: two containers have one `/dev/shm`.

use crate::error::{Call, Error, Result};
use crate::steps::{Mechanism, Scene, all, quote};
use crate::sys;
use crate::walk::{self, Links};
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, open};
use rustix::mount::{OpenTreeFlags, open_tree};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde::Serialize;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

/// Sources of bind mounts, taken where they are while we still have the host's rights.
#[derive(Debug, Serialize)]
pub struct BorrowedSources {
    /// In the order of the mounts that use them.
    pub sources: Vec<BorrowedSource>,
}

/// One file system that is mounted in another namespace.
#[derive(Debug, Serialize)]
pub struct BorrowedSource {
    /// File of the mount namespace.
    pub namespace: PathBuf,
    /// The mount point in there; no link is followed.
    pub path: PathBuf,
}

impl Mechanism for BorrowedSources {
    fn shell(&self) -> String {
        all(self.sources.iter().enumerate().map(|(at, source)| {
            let (namespace, path) = (source.namespace.to_string_lossy(), source.path.to_string_lossy());
            let take = format!("open_tree {} # not in util-linux yet", quote(&path));
            format!("nsenter --mount={} {take}: borrowed{at}", quote(&namespace))
        }))
    }

    fn run(&self, scene: &mut Scene) -> Result<()> {
        for source in &self.sources {
            let line = || format!("open({:?})", source.namespace);
            let namespace = open(&source.namespace, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).call(line)?;
            // Only one thread goes there, and it ends there: this one keeps its own root and working directory.
            let taken = std::thread::scope(|scope| scope.spawn(|| take(&namespace, &source.path)).join());
            scene.borrowed.push(taken.unwrap_or_else(|_| Err(Error::refused("open_tree: the thread has ended")))?);
        }
        Ok(())
    }
}

/// The mount at `path` in `namespace`, as one of nobody's.
fn take(namespace: &OwnedFd, path: &Path) -> Result<OwnedFd> {
    sys::unshare_directories().call(|| "unshare(CLONE_FS)".into())?;
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Mount))
        .call(|| "setns(<another's>, Mount)".into())?;
    let root = open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let root = root.call(|| "open(\"/\")".into())?;
    let place = walk::need(&root, path, OFlags::PATH | OFlags::DIRECTORY, Links::Refused)?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    open_tree(&place, "", flags).call(|| format!("open_tree(<another's>{})", path.display()))
}

//! The container's root as one directory, and any root made read-only.

use super::{Attributes, attach_to_path};
use crate::error::{Call, Result};
use crate::steps::{Mechanism, Scene, quote};
use crate::sys;
use rustix::fs::CWD;
use rustix::mount::{OpenTreeFlags, open_tree};
use serde::Serialize;
use std::path::PathBuf;

/// A directory that holds the whole tree, as the container's root.
#[derive(Debug, Serialize)]
pub struct TreeRoot {
    /// The directory.
    pub path: PathBuf,
    /// Attributes of the mount.
    pub attributes: Attributes,
}

impl Mechanism for TreeRoot {
    fn shell(&self) -> String {
        let path = quote(&self.path.to_string_lossy());
        let words: Vec<&str> = self.attributes.words().collect();
        let remount = if words.is_empty() {
            String::new()
        } else {
            format!(" && mount -o remount,bind,{} $rootfs", words.join(","))
        };
        format!("rootfs={path}; mount --rbind $rootfs $rootfs{remount}")
    }

    fn run(&self, scene: &mut Scene) -> Result<()> {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
        let fd = open_tree(CWD, &self.path, flags).call(|| format!("open_tree({:?})", self.path))?;
        if self.attributes != Attributes::default() {
            sys::mount_setattr(&fd, false, self.attributes.0, 0).call(|| "mount_setattr(<rootfs>)".into())?;
        }
        if scene.shared {
            sys::mount_setattr(&fd, true, 0, libc::MS_PRIVATE).call(|| "mount_setattr(<rootfs>, private)".into())?;
        }
        attach_to_path(&fd, &self.path)?;
        scene.root = Some(fd);
        Ok(())
    }
}

/// The root itself becomes read-only, after everything that had to be made in it.
#[derive(Debug, Serialize)]
pub struct ReadOnlyRoot {}

impl Mechanism for ReadOnlyRoot {
    fn shell(&self) -> String {
        "mount -o remount,bind,ro $rootfs".into()
    }

    fn run(&self, scene: &mut Scene) -> Result<()> {
        sys::mount_setattr(scene.root()?, false, Attributes::READ_ONLY.0, 0)
            .call(|| "mount_setattr(<rootfs>, ro)".into())
    }
}

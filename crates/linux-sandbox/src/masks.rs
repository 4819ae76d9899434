//! What of /proc and /sys a container must not see, or not write.

use crate::error::{Call, Error, Result};
use crate::mounts::{Attributes, attach, clone_of, kind_of, new_filesystem, set_attributes};
use crate::steps::{Mechanism, Scene, all, in_rootfs};
use crate::walk::{self, Links};
use rustix::fd::OwnedFd;
use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;
use serde::Serialize;
use std::path::PathBuf;

/// Files get `/dev/null` on top, directories an empty read-only tmpfs. Both by descriptor: the null device is
/// the one whose number was checked (CVE-2025-31133), the target is not reached through a link.
#[derive(Debug, Serialize)]
pub struct Masks {
    /// Those that are not there are left out.
    pub paths: Vec<PathBuf>,
}

impl Mechanism for Masks {
    fn shell(&self) -> String {
        all(self.paths.iter().map(|path| {
            let path = in_rootfs(path);
            format!("{{ [ ! -e {path} ] || mount --bind $rootfs/dev/null {path} 2>/dev/null || mount -t tmpfs -o ro,size=0 tmpfs {path}; }}")
        }))
    }

    fn run(&self, scene: &mut Scene) -> Result<()> {
        let mut empty: Option<OwnedFd> = None;
        for path in &self.paths {
            let Some(target) = there(scene, path)? else { continue };
            let attach = |cover: &OwnedFd| {
                attach(cover, &target).call(|| format!("move_mount(<mask>, <rootfs>{})", path.display()))
            };
            let cover = match (&empty, kind_of(&target)? == FileType::Directory) {
                // The first one is attached itself: before Linux 6.15 there is no copy of a mount that is nowhere.
                (None, true) => {
                    attach(empty.insert(new_empty()?))?;
                    continue;
                }
                (Some(first), true) => clone_of(first),
                (_, false) => {
                    let null = scene.null.as_ref().ok_or_else(|| Error::refused("no /dev/null to mask files with"))?;
                    clone_of(null)
                }
            };
            attach(&cover.call(|| format!("open_tree(<mask of {}>)", path.display()))?)?;
        }
        Ok(())
    }
}

/// One super block for all of them.
fn new_empty() -> Result<OwnedFd> {
    new_filesystem(
        "tmpfs",
        "tmpfs",
        &["size=4k".into(), "nr_inodes=1".into(), "mode=555".into()],
        Attributes::READ_ONLY,
    )
}

/// Bound onto themselves, read-only.
#[derive(Debug, Serialize)]
pub struct ReadOnlyPaths {
    /// Those that are not there are left out.
    pub paths: Vec<PathBuf>,
}

impl Mechanism for ReadOnlyPaths {
    fn shell(&self) -> String {
        all(self.paths.iter().map(|path| {
            let path = in_rootfs(path);
            format!("{{ [ ! -e {path} ] || {{ mount --bind {path} {path} && mount -o remount,bind,ro {path}; }}; }}")
        }))
    }

    fn run(&self, scene: &mut Scene) -> Result<()> {
        for path in &self.paths {
            let Some(target) = there(scene, path)? else { continue };
            let copy = clone_of(&target).call(|| format!("open_tree(<rootfs>{})", path.display()))?;
            set_attributes(&copy, false, Attributes::READ_ONLY)
                .call(|| format!("mount_setattr({}, ro)", path.display()))?;
            attach(&copy, &target).call(|| format!("move_mount(<ro>, <rootfs>{})", path.display()))?;
        }
        Ok(())
    }
}

fn there(scene: &Scene, path: &std::path::Path) -> Result<Option<OwnedFd>> {
    match walk::open(scene.root()?, path, OFlags::PATH, Links::Refused) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(errno) => Err(errno).call(|| format!("openat2(<rootfs>, {path:?})")),
    }
}

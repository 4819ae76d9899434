//! `pivot_root(2)`: the new root becomes `/`, the old one goes away, and with it every way back.

use crate::error::{Call, Error, Result};
use crate::mounts::Propagation;
use crate::steps::{Mechanism, Scene};
use crate::sys;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxFlags, open, statx};
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{chdir, fchdir, pivot_root};
use serde::Serialize;

/// Makes the root mount `/` and unmounts the old root. Both by descriptor: the old root lands on top of the
/// new one, so no directory for it is needed in the image.
#[derive(Debug, Serialize)]
pub struct Pivot {
    /// Whether mounts of the container are passed on from its root, when that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub propagation: Option<Propagation>,
    /// And of the mounts below.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub recursive: bool,
}

impl Mechanism for Pivot {
    fn shell(&self) -> String {
        let make =
            |kind: Propagation| format!(" && mount --make-{}{} /", if self.recursive { "r" } else { "" }, kind.word());
        let make = self.propagation.map_or(String::new(), make);
        format!("cd $rootfs && pivot_root . . && umount -l . && cd /{make}")
    }

    fn run(&self, scene: &mut Scene) -> Result<()> {
        fchdir(scene.root()?).call(|| "fchdir(<rootfs>)".into())?;
        let here = || open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).call(|| "open(\"/\")".into());
        let old = if scene.shared { Some(here()?) } else { None };
        pivot_root(".", ".").call(|| "pivot_root(\".\", \".\")".into())?;
        if let Some(old) = old {
            // What happens to the old root here must not happen to the host's mounts.
            sys::mount_setattr(&old, true, 0, libc::MS_SLAVE).call(|| "mount_setattr(<old root>, slave)".into())?;
        }
        unmount(".", UnmountFlags::DETACH).call(|| "umount2(<old root>, MNT_DETACH)".into())?;
        chdir("/").call(|| "chdir(\"/\")".into())?;
        leave_nothing_on_top()?;
        if let Some(propagation) = self.propagation {
            sys::mount_setattr(&here()?, self.recursive, 0, propagation.flag())
                .call(|| format!("mount_setattr(\"/\", {propagation:?})"))?;
        }
        Ok(())
    }
}

/// Where the host's root was itself a stack of mounts, what lay on it lies on the new root now, and `/..` leads
/// there: out of the container.
fn leave_nothing_on_top() -> Result<()> {
    let mount = |path: &str| -> Result<u64> {
        let found = statx(CWD, path, AtFlags::empty(), StatxFlags::MNT_ID).call(|| format!("statx({path:?})"))?;
        Ok(found.stx_mnt_id)
    };
    for _ in 0..64 {
        if mount("/..")? == mount("/")? {
            return Ok(());
        }
        unmount("/..", UnmountFlags::DETACH).call(|| "umount2(\"/..\", MNT_DETACH)".into())?;
    }
    Err(Error::refused("the host's root still lies on the container's"))
}

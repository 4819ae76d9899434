//! `pivot_root(2)`: the new root becomes `/`, the old one goes away, and with it every way back.

use crate::error::{Call, Result};
use crate::steps::{Mechanism, Scene};
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{chdir, fchdir, pivot_root};
use serde::Serialize;

/// Makes the root mount `/` and unmounts the old root. Both by descriptor: the old root lands on top of the
/// new one, so no directory for it is needed in the image.
#[derive(Debug, Serialize)]
pub struct Pivot {}

impl Mechanism for Pivot {
    fn shell(&self) -> String {
        "cd $rootfs && pivot_root . . && umount -l . && cd /".into()
    }

    fn run(&self, scene: &mut Scene) -> Result<()> {
        fchdir(scene.root()?).call(|| "fchdir(<rootfs>)".into())?;
        pivot_root(".", ".").call(|| "pivot_root(\".\", \".\")".into())?;
        unmount(".", UnmountFlags::DETACH).call(|| "umount2(<old root>, MNT_DETACH)".into())?;
        chdir("/").call(|| "chdir(\"/\")".into())
    }
}

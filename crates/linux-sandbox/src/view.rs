//! Looking into a container that does not run: its root and what is mounted in it, put together in a mount
//! namespace of our own. Nobody else sees the mounts, and they go with this process, however it ends.

use crate::error::{Call, Error, Result};
use crate::idmap::{IdMap, IdRange};
use crate::mounts::{Propagation, PropagationStep};
use crate::steps::{Mechanism, Scene, Step};
use crate::sys;
use rustix::fd::OwnedFd;
use rustix::process::{getegid, geteuid, getpid};

/// Leaves the host's mount namespace (without root its user namespace too), runs the steps, which mount a root and
/// things in it, and gives the root. The caller must have no other thread.
pub fn view(steps: &[Step]) -> std::result::Result<OwnedFd, Error> {
    let (uid, gid) = (geteuid(), getegid());
    let rootless = !uid.is_root();
    sys::unshare_mounts(rootless).call(|| "unshare(CLONE_NEWNS)".into())?;
    let mut scene = Scene { pid: Some(getpid()), ..Scene::default() };
    if rootless {
        let one = |id: u32| vec![IdRange { inside: 0, outside: id, count: 1 }];
        let map =
            IdMap { users: one(uid.as_raw()), groups: one(gid.as_raw()), deny_setgroups: true, by_helpers: false };
        map.run(&mut scene)?;
    }
    PropagationStep { propagation: Propagation::Private, except: None }.run(&mut scene)?;
    steps.iter().try_for_each(|step| -> Result<()> { step.mechanism().run(&mut scene) })?;
    scene.root.ok_or_else(|| Error::refused("the steps mount nothing as the root"))
}

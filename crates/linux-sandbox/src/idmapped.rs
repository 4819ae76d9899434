//! Idmapped mounts (`mount_setattr(2)`, `MOUNT_ATTR_IDMAP`): who owns the files of a directory depends on the mount
//! through which they are seen. The map is that of a user namespace, which is made for that alone.

use crate::error::{Call, Result};
use crate::idmap::{IdRange, text};
use crate::mounts::clone_from;
use crate::steps::{Mechanism, Scene, all, quote};
use crate::sys;
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, open};
use rustix::io::read;
use rustix::mount::OpenTreeFlags;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{WaitId, WaitIdOptions, waitid};
use serde::Serialize;
use std::os::fd::AsFd;
use std::path::PathBuf;

/// Sources of bind mounts, taken with their maps while we still have the host's rights.
#[derive(Debug, Serialize)]
pub struct IdmappedSources {
    /// In the order of the mounts that use them.
    pub sources: Vec<IdmappedSource>,
}

/// One directory or file of the host's.
#[derive(Debug, Serialize)]
pub struct IdmappedSource {
    /// Where.
    pub path: PathBuf,
    /// With the mounts below it.
    pub recursive: bool,
    /// The map holds for those, too.
    #[serde(rename = "recursiveMap")]
    pub recursive_map: bool,
    /// User IDs: those of the files are `inside`, those that are seen `outside`.
    pub users: Vec<IdRange>,
    /// Group IDs.
    pub groups: Vec<IdRange>,
}

impl Mechanism for IdmappedSources {
    fn shell(&self) -> String {
        let map = |kind: char, list: &[IdRange]| {
            let one = |range: &IdRange| format!("{kind}:{}:{}:{}", range.inside, range.outside, range.count);
            list.iter().map(one).collect::<Vec<_>>().join(" ")
        };
        all(self.sources.iter().enumerate().map(|(at, source)| {
            let maps = format!("{} {}", map('u', &source.users), map('g', &source.groups));
            let how = if source.recursive { "--rbind" } else { "--bind" };
            format!(
                "mount {how} -o X-mount.idmap={} {} idmapped{at}",
                quote(&maps),
                quote(&source.path.to_string_lossy())
            )
        }))
    }

    fn run(&self, scene: &mut Scene) -> Result<()> {
        for source in &self.sources {
            let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
            if source.recursive {
                flags |= OpenTreeFlags::AT_RECURSIVE;
            }
            let mount = clone_from(&source.path, None, flags)?;
            let namespace = user_namespace(&source.users, &source.groups)?;
            sys::mount_idmap(&mount, source.recursive_map, &namespace)
                .call(|| format!("mount_setattr({:?}, MOUNT_ATTR_IDMAP)", source.path))?;
            scene.idmapped.push(mount);
        }
        Ok(())
    }
}

/// A user namespace lives as long as somebody has it open; a process is needed to make it.
fn user_namespace(users: &[IdRange], groups: &[IdRange]) -> Result<OwnedFd> {
    let (waits, release) = pipe_with(PipeFlags::CLOEXEC).call(|| "pipe2()".into())?;
    let flag = crate::Namespace::User.flag();
    let Some((pid, pidfd)) = sys::clone3(flag, None).call(|| "clone3([User])".into())? else {
        drop(release);
        let _ = read(&waits, &mut [0_u8; 1]);
        sys::exit_now(0);
    };
    let file = |name: &str| format!("/proc/{}/{name}", pid.as_raw_nonzero());
    let namespace = (|| {
        for (name, map) in [("uid_map", users), ("gid_map", groups)] {
            std::fs::write(file(name), text(map)).call(|| format!("write({:?}, {:?})", file(name), text(map)))?;
        }
        open(file("ns/user"), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .call(|| format!("open({:?})", file("ns/user")))
    })();
    drop(release);
    let _ = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED);
    namespace
}

//! What a container sees of its cgroups.

use crate::error::{Call, Result};
use crate::mounts::{Attributes, attach, clone_of, new_filesystem, set_attributes};
use crate::steps::{Mechanism, Scene, all, in_rootfs, quote};
use crate::walk::{self, Links};
use rustix::fs::{CWD, Mode, OFlags, openat};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// `/sys/fs/cgroup` of the container: the cgroup2 tree, or with version 1 a tmpfs with the trees in which the
/// container has limits.
#[derive(Debug, Serialize)]
pub struct CgroupMounts {
    /// Below the root.
    pub target: PathBuf,
    /// Version 2 only.
    pub unified: bool,
    /// Version 1: name → the container's cgroup in that tree.
    pub trees: Vec<(String, PathBuf)>,
    /// Attributes of every mount.
    pub attributes: Attributes,
}

impl Mechanism for CgroupMounts {
    fn shell(&self) -> String {
        let target = in_rootfs(&self.target);
        if self.unified {
            return format!("mount -t cgroup2 -o ro,nosuid,nodev,noexec cgroup {target}");
        }
        let mut lines = vec![format!("mount -t tmpfs -o nosuid,nodev,noexec,mode=755 cgroup {target}")];
        for (name, path) in &self.trees {
            let path = quote(&path.to_string_lossy());
            lines.push(format!("mkdir {target}/{name} && mount --bind {path} {target}/{name} && mount -o remount,bind,ro {target}/{name}"));
        }
        lines.push(format!("mount -o remount,bind,ro {target}"));
        all(lines)
    }

    fn run(&self, scene: &mut Scene) -> Result<()> {
        let line = || format!("move_mount(<cgroup>, <rootfs>{})", self.target.display());
        let target = walk::make_dirs(scene.root()?, &self.target, Links::Refused)?;
        if self.unified {
            let fd = new_filesystem("cgroup2", "cgroup", &[], self.attributes)?;
            return attach(&fd, &target).call(line);
        }
        let tmpfs = new_filesystem("tmpfs", "cgroup", &["mode=755".into()], Attributes::default())?;
        attach(&tmpfs, &target).call(line)?;
        for (name, path) in &self.trees {
            let source = openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
                .call(|| format!("open({path:?})"))?;
            let copy = clone_of(&source).call(|| format!("open_tree({path:?})"))?;
            set_attributes(&copy, false, self.attributes).call(|| format!("mount_setattr({path:?})"))?;
            attach(&copy, &walk::make_dirs(&tmpfs, Path::new(name), Links::Refused)?).call(line)?;
        }
        set_attributes(&tmpfs, false, self.attributes).call(|| "mount_setattr(<cgroup>)".into())
    }
}

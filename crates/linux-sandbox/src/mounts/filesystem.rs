//! File systems that are made for the container.

use super::{Attributes, attach, new_filesystem};
use crate::copy_up;
use crate::error::{Call, Result};
use crate::steps::{Mechanism, Scene, in_rootfs, quote};
use crate::walk::{self, Links};
use rustix::fs::{OFlags, fstat};
use serde::Serialize;
use std::path::PathBuf;

/// A new file system: proc, sysfs, tmpfs, devpts, mqueue, cgroup2.
#[derive(Debug, Serialize)]
pub struct Filesystem {
    /// Its type.
    pub kind: String,
    /// What stands in the first column of /proc/mounts.
    pub source: String,
    /// Where, below the root.
    pub target: PathBuf,
    /// The file system's own options.
    pub options: Vec<String>,
    /// Attributes of the mount.
    pub attributes: Attributes,
    /// It starts with what the image has there.
    #[serde(rename = "copyUp", skip_serializing_if = "std::ops::Not::not")]
    pub copy_up: bool,
}

impl Filesystem {
    /// A tmpfs of which nobody says otherwise has the mode of the directory that it covers; one without such a
    /// directory the kernel's own, 1777.
    fn takes_mode(&self) -> bool {
        self.kind == "tmpfs" && !self.options.iter().any(|option| option.starts_with("mode="))
    }

    fn mode_there(&self, scene: &Scene) -> Result<Option<String>> {
        let found = walk::open(scene.root()?, &self.target, OFlags::PATH | OFlags::DIRECTORY, self.links());
        let stat = found.ok().filter(|_| self.takes_mode()).map(|directory| fstat(&directory)).transpose();
        let stat = stat.call(|| format!("fstat(<rootfs>{})", self.target.display()))?;
        Ok(stat.map(|stat| format!("mode={:o}", stat.st_mode & 0o7777)))
    }

    /// proc, sys and dev are where later steps and the container itself trust what they find: a symbolic link
    /// in the image must not lead them elsewhere (CVE-2019-19921, CVE-2023-27561, CVE-2026-41579).
    fn links(&self) -> Links {
        let kernels = self.kind != "tmpfs" || ["/dev", "/proc", "/sys"].iter().any(|top| self.target.starts_with(top));
        if kernels { Links::Refused } else { Links::InRoot }
    }
}

impl Mechanism for Filesystem {
    fn shell(&self) -> String {
        // Labels hold commas.
        let word = |option: &String| match option.strip_prefix("context=") {
            Some(label) => format!("context=\"{label}\""),
            None => option.clone(),
        };
        let words: Vec<String> = self.attributes.words().map(Into::into).chain(self.options.iter().map(word)).collect();
        let target = in_rootfs(&self.target);
        let (made, mode) = if self.takes_mode() {
            ("mkdir -m 1777 -p", format!(" -o mode=$(stat -c %a {target})"))
        } else {
            ("mkdir -p", String::new())
        };
        let options = if words.is_empty() { String::new() } else { format!(" -o {}", quote(&words.join(","))) };
        let source = quote(&self.source);
        let mount = format!("{made} {target} && mount -t {}{options}{mode} {source} {target}", self.kind);
        if !self.copy_up {
            return mount;
        }
        format!("cp -a {target} $rootfs.copy && {mount} && cp -a $rootfs.copy/. {target} && rm -r $rootfs.copy")
    }

    fn run(&self, scene: &mut Scene) -> Result<()> {
        let options: Vec<String> = self.options.iter().cloned().chain(self.mode_there(scene)?).collect();
        let fd = new_filesystem(&self.kind, &self.source, &options, self.attributes)?;
        let target = walk::make_dirs(scene.root()?, &self.target, self.links())?;
        if self.copy_up {
            copy_up::copy(&target, &fd)?;
        }
        attach(&fd, &target).call(|| format!("move_mount(<{}>, <rootfs>{})", self.kind, self.target.display()))?;
        if self.kind == "proc" {
            scene.procfs = Some(fd);
        }
        Ok(())
    }
}

//! Security modules of the kernel: the name under which `AppArmor` or `SELinux` watches the command.

use crate::error::{Call, Error, Result};
use crate::procfs;
use crate::steps::{Mechanism, Scene, quote};
use rustix::io::Errno;
use rustix::process::getpid;
use serde::Serialize;
use std::fs;
use std::path::Path;

/// Whose name it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Module {
    /// A profile.
    AppArmor,
    /// A label.
    SeLinux,
}

/// What the command is to its security module from the exec on.
#[derive(Debug, Serialize)]
pub struct Label {
    /// The module.
    pub module: Module,
    /// The name.
    pub name: String,
}

impl Label {
    /// `None` where the name is that of no confinement; an error where the kernel has no such module: a container
    /// that shall be confined does not run unconfined.
    pub fn new(module: Module, name: &str) -> std::result::Result<Option<Self>, Error> {
        let (enabled, what) = match module {
            Module::AppArmor => {
                let on = fs::read_to_string("/sys/module/apparmor/parameters/enabled");
                (on.is_ok_and(|text| text.starts_with('Y')), "AppArmor")
            }
            Module::SeLinux => (Path::new("/sys/fs/selinux/enforce").exists(), "SELinux"),
        };
        match (enabled, name) {
            (_, "") | (false, "unconfined") => Ok(None),
            (true, name) => Ok(Some(Self { module, name: name.into() })),
            (false, name) => Err(Error::refused(format!("{name}: this kernel runs without {what}"))),
        }
    }
}

impl Mechanism for Label {
    fn shell(&self) -> String {
        match self.module {
            Module::AppArmor => format!("exec aa-exec -p {} sh", quote(&self.name)),
            Module::SeLinux => format!("exec runcon {} sh", quote(&self.name)),
        }
    }

    /// Through a procfs that is one: where an image has put another file, the write would confine nothing
    /// (CVE-2019-16884, CVE-2023-28642).
    fn run(&self, scene: &mut Scene) -> Result<()> {
        let (file, text) = match self.module {
            Module::AppArmor => ("attr/apparmor/exec", format!("exec {}", self.name)),
            Module::SeLinux => ("attr/exec", self.name.clone()),
        };
        let path = format!("{}/{file}", getpid().as_raw_nonzero());
        let line = || format!("write(<procfs>/{path}, {text:?})");
        let file = procfs::open_to_write(scene, &path)?;
        match (rustix::io::write(&file, text.as_bytes()), self.module) {
            (Err(Errno::NOENT), Module::AppArmor) => Err(Error::refused(format!(
                "{}: the kernel has no such AppArmor profile: apparmor_parser -r FILE loads one",
                self.name
            ))),
            (Err(Errno::INVAL), Module::SeLinux) => {
                Err(Error::refused(format!("{}: the SELinux policy has no such label", self.name)))
            }
            (written, _) => written.call(line).map(drop),
        }
    }
}

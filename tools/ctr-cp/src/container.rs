//! The tree of a container, held open.

use anyhow::{Context, bail};
use bundle::life::{self, Lock};
use bundle::{Containers, Found};
use linux_sandbox::{Attributes, Bind, Mount, OverlayRoot, Step, TreeRoot};
use rustix::fs::{Mode, OFlags, open};
use serde_json::Value;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use wire::Bundle;

/// A container's root as the container has it.
#[derive(Debug)]
pub struct Tree {
    root: OwnedFd,
    /// As the user named it.
    pub name: String,
    /// Where writing is refused: the root, but not what is mounted at these places.
    read_only: Option<Vec<PathBuf>>,
    /// While this is held nobody starts it: two mounts of one upper directory would spoil it.
    _lock: Option<Lock>,
}

impl Tree {
    pub fn open(name: &str, root: Option<&Path>) -> anyhow::Result<Self> {
        let containers = Containers::new(&toolkit::root_dir(root), &toolkit::run_dir());
        let found = containers.find(name)?;
        let config = bundle::read_config(&found.dir)?;
        let read_only = (config["root"]["readonly"] == true).then(|| places(&config));
        // The root of a process that runs is opened before: from inside it is no process of ours any more.
        let running = running(&found)?;
        subids::enter_that_of_record(&bundle::load(&found.dir)?.rest)?;
        let (root, lock) = if let Some(root) = running {
            (root, None)
        } else {
            let lock = life::lock(&found.dir)?;
            (linux_sandbox::view(&steps(&found.dir, &config)?)?, Some(lock))
        };
        Ok(Self { root, name: name.into(), read_only, _lock: lock })
    }

    /// A path of the host that leads to the root, for as long as the tree is held.
    pub fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.root.as_raw_fd()).into()
    }

    pub fn root(&self) -> &OwnedFd {
        &self.root
    }

    /// Docker's words where nothing may be written.
    pub fn check_writable(&self, path: &Path) -> anyhow::Result<()> {
        match &self.read_only {
            Some(places) if !places.iter().any(|place| path.starts_with(place)) => {
                bail!("container rootfs is marked read-only")
            }
            _ => Ok(()),
        }
    }
}

/// The root of its first process. A process ID may be another's by now: it is opened first, then compared.
fn running(found: &Found) -> anyhow::Result<Option<OwnedFd>> {
    let Some(started) = &found.started else { return Ok(None) };
    let path = format!("/proc/{}/root", started.pid);
    let root = open(path.as_str(), OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    if !started.lives() {
        return Ok(None);
    }
    root.map(Some).with_context(|| format!("open({path:?})"))
}

fn places(config: &Value) -> Vec<PathBuf> {
    let mounts = config["mounts"].as_array().into_iter().flatten();
    let path = |mount: &Value| Some(PathBuf::from(mount["destination"].as_str()?.trim_start_matches('/')));
    mounts.filter_map(path).collect()
}

/// The root and what of the host is mounted in it: neither /proc nor /dev nor file systems in memory, which are not
/// there while it does not run.
fn steps(dir: &Path, config: &Value) -> anyhow::Result<Vec<Step>> {
    let mut record: Bundle = bundle::load(dir)?;
    bundle::add_init_layer(&mut record)?;
    let rootfs = dir.join(config["root"]["path"].as_str().unwrap_or("rootfs"));
    // An image's device nodes are copied, not opened; nothing in it is executed.
    let attributes = Attributes::NODEV.and(Attributes::NOSUID);
    let mut steps = vec![match &record.overlay {
        None => Step::TreeRoot(TreeRoot { path: rootfs, attributes }),
        Some(overlay) => Step::OverlayRoot(OverlayRoot {
            lower: overlay.lower.iter().map(|layer| layer.0.clone()).collect(),
            upper: overlay.upper.0.clone(),
            work: overlay.work.0.clone(),
            target: rootfs,
            userxattr: overlay.userxattr,
            context: None,
            attributes,
        }),
    }];
    for mount in config["mounts"].as_array().into_iter().flatten().filter(|mount| mount["type"] == "bind") {
        let (Some(target), Some(source)) = (mount["destination"].as_str(), mount["source"].as_str()) else { continue };
        let words = mount["options"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let parsed = Mount::parse(words);
        steps.push(Step::Bind(Bind {
            source: dir.join(source),
            target: target.into(),
            recursive: parsed.recursive,
            attributes: parsed.attributes,
            propagation: None,
            ..Bind::default()
        }));
    }
    Ok(steps)
}

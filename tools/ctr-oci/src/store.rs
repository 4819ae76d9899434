//! The containers below `--root`: a directory each, with what the specification calls its state.
//!
//! ```text
//! state.json    the state, with the start time of its process and its cgroups
//! config.json   the configuration as it was at the creation; the bundle's may change since
//! exec.fifo     there until the start
//! log           what ctr-spawn said
//! ```

use crate::cgroups;
use crate::log::Log;
use anyhow::{Context, bail};
use bundle::life::Started;
use linux_sandbox::{Target, Unit};
use serde_json::Value;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// All containers of one root.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    /// cgroups shall be systemd's.
    pub systemd: bool,
}

/// One of them.
#[derive(Debug)]
pub struct Container {
    pub dir: PathBuf,
    pub state: Started,
}

/// Where a container is in its life (runtime.md, "State"; `paused` is everybody's addition).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Created,
    Running,
    Paused,
    Stopped,
}

impl Status {
    pub fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        }
    }
}

impl Store {
    pub fn new(root: Option<&Path>, systemd: bool) -> Self {
        let root = root.and_then(|root| std::path::absolute(root).ok());
        Self { root: root.unwrap_or_else(|| toolkit::run_dir().join("oci")), systemd }
    }

    /// A directory for a new container. The words are runc's: callers look for them.
    pub fn make(&self, id: &str) -> anyhow::Result<PathBuf> {
        let dir = self.dir(id)?;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.root).with_context(|| self.shown())?;
        match fs::DirBuilder::new().mode(0o700).create(&dir) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => bail!("container with given ID already exists"),
            made => made.with_context(|| dir.display().to_string())?,
        }
        Ok(dir)
    }

    /// The container of that ID.
    pub fn find(&self, id: &str) -> anyhow::Result<Container> {
        let dir = self.dir(id)?;
        match fs::read(dir.join("state.json")) {
            Err(error) if error.kind() == ErrorKind::NotFound => bail!("container does not exist"),
            read => Container::parse(dir, &read.context("state.json")?),
        }
    }

    /// The directory of a container, or of one whose creation was broken off.
    pub fn dir(&self, id: &str) -> anyhow::Result<PathBuf> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'+');
        if id.is_empty() || id.len() > 1024 || id.starts_with('.') || !id.bytes().all(plain) {
            bail!("invalid id format: {id:?}: letters, digits, and _ - . + only");
        }
        Ok(self.root.join(id))
    }

    /// All of them by their IDs; one whose state cannot be read is a warning, and does not hide the others.
    pub fn list(&self, log: &Log) -> anyhow::Result<Vec<Container>> {
        let mut found = Vec::new();
        let entries = match fs::read_dir(&self.root) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(found),
            entries => entries.with_context(|| self.shown())?,
        };
        for entry in entries {
            let dir = entry.with_context(|| self.shown())?.path();
            if let Ok(text) = fs::read(dir.join("state.json")) {
                match Container::parse(dir, &text) {
                    Ok(container) => found.push(container),
                    Err(error) => log.warnings(&[format!("{error:#}")]),
                }
            }
        }
        found.sort_by(|a, b| a.state.id.cmp(&b.state.id));
        Ok(found)
    }

    fn shown(&self) -> String {
        self.root.display().to_string()
    }
}

impl Container {
    fn parse(dir: PathBuf, text: &[u8]) -> anyhow::Result<Self> {
        let state = serde_json::from_slice(text).with_context(|| dir.join("state.json").display().to_string())?;
        Ok(Self { dir, state })
    }

    pub fn status(&self) -> Status {
        if !self.state.lives() {
            return Status::Stopped;
        }
        // Also one that waits for its start can be frozen, and must be woken before anything else.
        match (cgroups::are_frozen(&self.cgroups()), self.fifo().exists()) {
            (true, _) => Status::Paused,
            (false, true) => Status::Created,
            (false, false) => Status::Running,
        }
    }

    pub fn fifo(&self) -> PathBuf {
        self.dir.join("exec.fifo")
    }

    /// Its cgroups, one a tree.
    pub fn cgroups(&self) -> Vec<PathBuf> {
        let list = self.state.rest.get("cgroups").and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str).map(Into::into).collect()
    }

    /// The scope of systemd's that it is in, when systemd made one.
    pub fn scope(&self) -> Option<Unit> {
        Unit::noted(&self.state.rest)
    }

    /// Its process, when it lives: a descriptor first, then the question whether it is the right one.
    pub fn process(&self) -> Option<Target> {
        let target = Target::open(self.state.pid).ok().filter(|_| self.state.pid > 1)?;
        self.state.lives().then_some(target)
    }

    /// The configuration as it was at the creation.
    pub fn config(&self) -> anyhow::Result<Value> {
        Ok(bundle::read_config(&self.dir)?)
    }
}

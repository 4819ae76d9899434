//! What a container of the store leaves in files, so that other tools see that it lives and how it ended. A
//! bundle anywhere else has no such files: it is just run.

use anyhow::Context;
use bundle::life::{Exit, Lock, Started, lock, now};
use std::path::{Path, PathBuf};

/// A container of the store while it lives.
#[derive(Debug)]
pub struct Kept {
    dir: PathBuf,
    run: PathBuf,
    id: String,
    started: Option<String>,
    _lock: Lock,
}

impl Kept {
    /// Takes the lock of a bundle that has a `container.json`; another ctr-spawn on it is an error.
    pub fn take(dir: &Path, id: &str) -> anyhow::Result<Option<Self>> {
        if !dir.join("container.json").exists() {
            return Ok(None);
        }
        let lock = lock(dir).with_context(|| format!("container {id}"))?;
        Exit::remove(dir)?;
        Ok(Some(Self { dir: dir.into(), run: toolkit::run_dir(), id: id.into(), started: None, _lock: lock }))
    }

    /// The process runs.
    pub fn started(&mut self, pid: i32) -> anyhow::Result<()> {
        self.started = Some(now());
        match Started::new(&self.id, pid, &self.dir) {
            Ok(state) => Ok(state.write(&self.run)?),
            // It has ended already, and is not reaped yet: there is nothing to be found under its ID.
            Err(_) => Ok(()),
        }
    }

    /// The process has ended, or was never executed.
    pub fn ended(self, code: u8, signal: Option<i32>, oom_killed: bool) -> anyhow::Result<()> {
        let mut exit = Exit::now(code.into(), signal, self.started.clone());
        exit.oom_killed = oom_killed;
        exit.write(&self.dir)?;
        Ok(Started::remove(&self.run, &self.id)?)
    }
}

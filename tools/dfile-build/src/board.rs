//! Stages side by side: each has a thread, starts at once, and waits where it reads what another one makes. The
//! first failure ends all.

use crate::state::State;
use anyhow::bail;
use rustix::fd::OwnedFd;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// How far each stage is, and what runs.
#[derive(Debug, Default)]
pub struct Board {
    inner: Mutex<Inner>,
    news: Condvar,
    turns: Mutex<HashMap<String, Arc<Mutex<()>>>>,
}

#[derive(Debug, Default)]
struct Inner {
    built: HashMap<usize, State>,
    failed: bool,
    running: HashMap<usize, OwnedFd>,
}

/// A stage that ends because another one failed: its error is nobody's news.
#[derive(Debug, thiserror::Error)]
#[error("another stage failed")]
pub struct Cancelled;

impl Board {
    /// The end of a stage, waited for.
    pub fn wait(&self, stage: usize) -> anyhow::Result<State> {
        let mut inner = lock(&self.inner);
        loop {
            if let Some(state) = inner.built.get(&stage) {
                return Ok(state.clone());
            }
            if inner.failed {
                bail!(Cancelled);
            }
            inner = self.news.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The end of a stage, when it has come.
    pub fn built(&self, stage: usize) -> Option<State> {
        lock(&self.inner).built.get(&stage).cloned()
    }

    /// A stage is built, or goes on to be an image.
    pub fn put(&self, stage: usize, state: State) {
        lock(&self.inner).built.insert(stage, state);
        self.news.notify_all();
    }

    /// Ends everything that runs.
    pub fn fail(&self) {
        let mut inner = lock(&self.inner);
        inner.failed = true;
        for process in inner.running.values() {
            // One that has ended by itself is as good.
            let _ = pidfd_send_signal(process, Signal::KILL);
        }
        self.news.notify_all();
    }

    /// Asked before each step, and when a command has been killed.
    pub fn go_on(&self) -> anyhow::Result<()> {
        if lock(&self.inner).failed {
            bail!(Cancelled);
        }
        Ok(())
    }

    /// A process of a stage: it is killed when another stage fails.
    pub fn watch(&self, stage: usize, process: u32) {
        let mut inner = lock(&self.inner);
        let pid = i32::try_from(process).ok().and_then(Pid::from_raw);
        if let Some(process) = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) {
            if inner.failed {
                let _ = pidfd_send_signal(&process, Signal::KILL);
            }
            inner.running.insert(stage, process);
        }
    }

    pub fn forget(&self, stage: usize) {
        lock(&self.inner).running.remove(&stage);
    }

    /// What two stages want at the same time is made by one of them, while the other waits.
    pub fn turn(&self, what: &str) -> Arc<Mutex<()>> {
        Arc::clone(lock(&self.turns).entry(what.to_owned()).or_default())
    }
}

/// A lock that a thread died with guards data that are whole.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

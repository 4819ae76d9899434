//! What a container of the store leaves in files, so that other tools see that it lives and how it ended. A
//! bundle anywhere else has no such files: it is just run.

use anyhow::{Context, bail};
use bundle::life::{Exit, Lock, Started, lock, now};
use bundle::{Containers, Keeping, Meta, keeper, names};
use linux_sandbox::{Peaks, Plan, Step, Unit};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use wire::Status;

/// How long an end may take that has happened already.
const PATIENCE: Duration = Duration::from_secs(10);

/// A container of the store while it lives.
#[derive(Debug)]
pub struct Kept {
    pub dir: PathBuf,
    pub run: PathBuf,
    pub id: String,
    pub keeping: Keeping,
    /// As it was when this life began: it may have another name by now.
    meta: Option<Meta>,
    containers: Containers,
    /// Since when it lives, or did the last time.
    started: Option<String>,
    lives: bool,
    lock: Lock,
}

impl Kept {
    /// Takes the lock of a bundle that has a `container.json`; another ctr-spawn on it is an error.
    pub fn take(dir: &Path, id: &str) -> anyhow::Result<Option<Self>> {
        if !dir.exists() && names::is_id(id) {
            bail!(bundle::Error::NoContainer(id.into()));
        }
        if !dir.join("container.json").exists() {
            return Ok(None);
        }
        let run = toolkit::run_dir();
        let root = dir.parent().and_then(Path::parent).unwrap_or(dir);
        let containers = Containers::new(root, &run);
        let mut lock = wait_for_lock(&containers, dir, id).with_context(|| format!("container {id}"))?;
        // Who removed it a moment ago may have left nothing but the file that the lock has made just now.
        if !dir.join("container.json").exists() {
            let _ = std::fs::remove_file(dir.join("lock")).and_then(|()| std::fs::remove_dir(dir));
            bail!(bundle::Error::NoContainer(id.into()));
        }
        let meta = containers.read(id)?.map(|found| found.meta);
        let keeping = meta.as_ref().map(Meta::keeping).unwrap_or_default();
        lock.clear().with_context(|| format!("{}: write", dir.join("lock").display()))?;
        let started = Exit::read(dir).ok().flatten().and_then(|exit| exit.started_at);
        Exit::remove(dir)?;
        // What a killed keeper left, and a stop that was meant for the last life.
        keeper::end_cgroups(dir, &run, id)?;
        Started::remove(&run, id)?;
        keeper::set_stopped(dir, false)?;
        Ok(Some(Self { dir: dir.into(), run, id: id.into(), meta, keeping, containers, started, lives: false, lock }))
    }

    /// The process runs.
    pub fn started(&mut self, pid: i32, plan: &Plan) -> anyhow::Result<()> {
        Exit::remove(&self.dir)?;
        self.lock.begin();
        self.started = Some(now());
        self.lives = true;
        // One that has ended already, and is not reaped yet: there is nothing to be found under its ID.
        if let Ok(mut state) = Started::new(&self.id, pid, &self.dir) {
            Unit::note(&plan.steps, &mut state.rest);
            state.write(&self.run)?;
        }
        if let Some(meta) = &self.meta {
            bundle::events::note(&self.run, "start", meta, &[]);
        }
        Ok(())
    }

    /// The process has ended, or was never executed. The container may live again.
    pub fn ended(&mut self, end: &End) -> anyhow::Result<()> {
        let lived = std::mem::take(&mut self.lives);
        let mut exit = Exit::now(end.code.into(), end.signal, self.started.clone());
        exit.oom_killed = end.oom_killed;
        exit.rest.clone_from(&end.more);
        let written = exit.write(&self.dir);
        keeper::end_cgroups(&self.dir, &self.run, &self.id)?;
        Started::forget(&self.run, &self.id)?;
        if end.oom_killed {
            self.note("oom", &[])?;
        }
        if lived {
            self.note("die", &[("exitCode", end.code.to_string())])?;
        }
        Ok(written?)
    }

    /// The last end. Where it cannot be written down, who waits hears the code still.
    pub fn bury(mut self, end: &End, remove: bool) -> anyhow::Result<()> {
        let told = self.ended(end);
        self.leave(end.code, remove)?;
        told
    }

    /// Tells who listens to events.
    fn note(&self, action: &str, more: &[(&str, String)]) -> anyhow::Result<()> {
        if let Some(found) = self.containers.read(&self.id)? {
            bundle::events::note(&self.run, action, &found.meta, more);
        }
        Ok(())
    }

    /// Nobody will keep it from here on: who waits hears the code, and `remove` takes it away.
    pub fn leave(mut self, code: u8, remove: bool) -> anyhow::Result<()> {
        self.lock.leave(code);
        Started::remove(&self.run, &self.id)?;
        match self.containers.read(&self.id)? {
            Some(found) if remove && !keeper::is_spared(&self.dir) => {
                own_what_it_wrote(&self.dir)?;
                Ok(self.containers.remove(&found, self.lock, true)?)
            }
            _ => Ok(()),
        }
    }

    /// The record of the container, as ctr-ls prints it.
    pub fn record(&self) -> anyhow::Result<wire::Container> {
        let found = self.containers.read(&self.id)?;
        Ok(found.with_context(|| format!("container {}: gone", self.id))?.record())
    }
}

/// Who keeps a container that has ended is about to let go of it.
fn wait_for_lock(containers: &Containers, dir: &Path, id: &str) -> anyhow::Result<Lock> {
    let until = Instant::now() + PATIENCE;
    loop {
        match lock(dir) {
            Err(bundle::Error::Busy(_)) if Instant::now() < until => {}
            other => return Ok(other?),
        }
        let found = containers.read(id)?.ok_or_else(|| bundle::Error::NoContainer(id.into()))?;
        if found.started.is_some() || !matches!(found.status, Status::Created | Status::Exited) {
            bail!(bundle::Error::Busy(dir.into()));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// What a container of an ordinary user wrote may belong to other IDs of its user namespace: who removes it does it
/// in one with the same mapping. There is no way back.
pub fn own_what_it_wrote(dir: &Path) -> anyhow::Result<()> {
    Ok(subids::enter_that_of_record(&bundle::load(dir)?.rest)?)
}

/// How a life ended.
#[derive(Debug, Default)]
pub struct End {
    pub code: u8,
    pub signal: Option<i32>,
    pub oom_killed: bool,
    /// Further members of `exit.json`.
    pub more: Map<String, Value>,
}

/// What a cgroup tells of its processes before it goes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Last {
    oom_killed: bool,
    peaks: Peaks,
}

impl Last {
    pub fn words(plan: &Plan, kept: Option<&Kept>) -> Self {
        let cgroups = plan.steps.iter().find_map(Step::cgroups);
        let cgroups = cgroups.map(|cgroups| cgroups.groups.iter().map(|group| group.path.clone()));
        let later = kept.and_then(|kept| keeper::later_cgroups(&kept.run, &kept.id).ok());
        let all: Vec<PathBuf> = cgroups.into_iter().flatten().chain(later.into_iter().flatten()).collect();
        Self { oom_killed: linux_sandbox::oom_killed(&all), peaks: linux_sandbox::peaks(&all) }
    }
}

impl End {
    /// The process was not executed.
    pub fn unborn(error: &linux_sandbox::Error) -> Self {
        Self::failed(error.code(), &error.to_string())
    }

    /// The same, for any reason.
    pub fn failed(code: u8, why: &str) -> Self {
        let more = Map::from_iter([("error".to_owned(), why.into())]);
        Self { code, more, ..Self::default() }
    }

    /// It was, and has ended.
    pub fn of(exit: linux_sandbox::Exit, last: Last) -> Self {
        let usage = exit.usage;
        let mut usage = json!({ "userMicros": usage.user, "systemMicros": usage.system, "memoryPeak": usage.memory });
        // What the largest process had, above; here what all of them had together.
        for (name, peak) in [("cgroupMemoryPeak", last.peaks.memory), ("cgroupPidsPeak", last.peaks.pids)] {
            if let Some(peak) = peak {
                usage[name] = peak.into();
            }
        }
        let more = Map::from_iter([("usage".to_owned(), usage)]);
        Self { code: exit.code, signal: exit.signal, oom_killed: last.oom_killed, more }
    }
}

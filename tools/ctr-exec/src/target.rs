//! Which container: one of the store by name, the one whose record comes down the pipe, or one that another
//! runtime keeps, by its state. What comes out is a descriptor of its first process and its configuration.

use anyhow::{Context, bail};
use bundle::life::Started;
use bundle::process::{MemoryPolicy, Personality, Process};
use bundle::{Containers, Found};
use linux_sandbox::{Profile, Target, Unit, capability_number};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use wire::{Record, Status};

/// A container that runs.
#[derive(Debug)]
pub struct Container {
    /// Its ID.
    pub id: String,
    /// Its first process.
    pub first: Target,
    /// Its `config.json`.
    pub config: Config,
    /// The scope of a user's systemd that it is in.
    pub scope: Option<Unit>,
    /// Where its state is kept, if that is ours to write to.
    state_dir: Option<PathBuf>,
}

/// A file in the state of a container: a process that came in was given `CAP_SYS_PTRACE`, and may be there still.
const TRACERS: &str = "tracers";

impl Container {
    /// Whether somebody in it may look into a process that comes in. Who else came into a container of another
    /// runtime, nobody has noted.
    pub fn may_trace_us(&self) -> anyhow::Result<bool> {
        let noted = || self.state_dir.as_ref().is_none_or(|dir| dir.join(TRACERS).exists());
        Ok(self.first.may_trace_us()? || noted() && self.first.shares_user_namespace()?)
    }

    /// Notes what the process that comes in is given, for those that come after it.
    pub fn note_rights(&self, process: &Process) -> anyhow::Result<()> {
        let given = process.capabilities.iter().flat_map(|sets| sets.bounding.iter().chain(&sets.permitted));
        let tracer = capability_number("SYS_PTRACE");
        if let (Some(dir), true) = (&self.state_dir, given.map(|name| capability_number(name)).any(|one| one == tracer))
        {
            let file = dir.join(TRACERS);
            std::fs::write(&file, "").with_context(|| file.display().to_string())?;
        }
        Ok(())
    }
}

/// What of `config.json` one more process is asked about.
#[derive(Debug, Deserialize)]
pub struct Config {
    /// The first process.
    pub process: Option<Process>,
    #[serde(default)]
    pub linux: Linux,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Linux {
    pub seccomp: Option<Profile>,
    pub personality: Option<Personality>,
    pub memory_policy: Option<MemoryPolicy>,
}

/// It is not there, or does not run: docker tells these from all other errors.
#[derive(Debug, thiserror::Error)]
pub enum NotThere {
    /// No such name or ID.
    #[error(transparent)]
    Unknown(#[from] bundle::Error),
    /// It has ended, or was never started.
    #[error("container {0} is not running")]
    NotRunning(String),
    /// A process that joins frozen ones freezes too.
    #[error("container {0} is paused, unpause the container before exec")]
    Paused(String),
}

/// By name, ID or unique start of an ID.
pub fn of_store(operand: &str, root: Option<&Path>) -> anyhow::Result<Container> {
    let containers = Containers::new(&toolkit::root_dir(root), &toolkit::run_dir());
    let found = containers.find(operand).map_err(NotThere::Unknown)?;
    let id = || found.meta.id.clone();
    let Found { dir, started: Some(started), .. } = &found else { bail!(NotThere::NotRunning(id())) };
    if found.status == Status::Paused {
        bail!(NotThere::Paused(id()));
    }
    let first = hold(started).with_context(id)?.ok_or_else(|| NotThere::NotRunning(id()))?;
    let state_dir = Some(toolkit::run_dir().join("containers").join(id()));
    let config = bundle::read_config_as(dir)?;
    Ok(Container { id: id(), first, config, scope: scope_of_a_user(started), state_dir })
}

/// The container whose record is the first line of stdin; the rest of stdin belongs to the process.
pub fn of_record(root: Option<&Path>) -> anyhow::Result<Container> {
    match toolkit::record_unbuffered("container")? {
        Record::Container(container) => of_store(&container.id, root),
        other => bail!("<stdin>: {} record where a container record is wanted", other.kind()),
    }
}

/// By the state that a runtime of OCI prints or keeps. Its directory may hold the configuration as it was at the
/// start; else the bundle's counts.
pub fn of_state(file: &Path) -> anyhow::Result<Container> {
    let name = || file.display().to_string();
    let text = std::fs::read_to_string(file).with_context(name)?;
    let state: Started = serde_json::from_str(&text).with_context(name)?;
    let first = hold(&state).with_context(name)?.ok_or_else(|| NotThere::NotRunning(state.id.clone()))?;
    let kept: Option<PathBuf> = file.parent().filter(|dir| dir.join("config.json").exists()).map(Into::into);
    let config = bundle::read_config_as(kept.as_deref().unwrap_or(state.bundle.as_path()))?;
    let scope = scope_of_a_user(&state);
    Ok(Container { id: state.id, first, config, scope, state_dir: kept })
}

fn scope_of_a_user(started: &Started) -> Option<Unit> {
    Unit::noted(&started.rest).filter(|unit| unit.user)
}

/// A descriptor of the process, which means that very process from here on, and only then the question whether it
/// is the one that was started. A state without a start time can prove nothing.
fn hold(started: &Started) -> anyhow::Result<Option<Target>> {
    if started.pid <= 1 {
        bail!("{} is no process ID of a container", started.pid);
    }
    let Ok(first) = Target::open(started.pid) else { return Ok(None) };
    let same = if started.started_at().is_some() { started.lives() } else { first.lives() };
    Ok(same.then_some(first))
}

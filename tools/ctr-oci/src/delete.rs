//! delete: the cgroups and the state of a container that has ended.

use crate::log::Log;
use crate::store::{Container, Status, Store};
use crate::{hooks, kill};
use anyhow::{Context, bail};
use linux_sandbox::Moment;
use std::fs;
use std::time::Duration;

#[derive(Debug, clap::Args)]
pub struct Options {
    /// ID of the container
    id: String,

    /// Kill it first when it runs; one that is not there is no error
    #[arg(short, long)]
    force: bool,
}

/// How long a killed process may take: as long as its file systems do.
const PATIENCE: Duration = Duration::from_secs(10);

pub fn verb(store: &Store, log: &Log, options: &Options) -> anyhow::Result<()> {
    let container = match store.find(&options.id) {
        Ok(container) => container,
        // Also what a creation that was broken off has left.
        // A state that cannot be read may be another runtime's: then its processes are not ours to forget.
        Err(error) if options.force => {
            let dir = store.dir(&options.id)?;
            if dir.join("state.json").exists() {
                return Err(error);
            }
            return if dir.exists() {
                fs::remove_dir_all(&dir).with_context(|| dir.display().to_string())
            } else {
                Ok(())
            };
        }
        Err(error) => return Err(error),
    };
    match container.status() {
        Status::Stopped => {}
        Status::Created => end(&container)?,
        _ if options.force => end(&container)?,
        status => bail!("cannot delete container {} that is not stopped: {}", options.id, status.word()),
    }
    remove(&container, log)
}

/// Kills its first process, and with it everything in its PID namespace.
pub fn end(container: &Container) -> anyhow::Result<()> {
    let Some(first) = container.process() else { return Ok(()) };
    kill::all(container, 9)?;
    if !first.ends_within(PATIENCE) {
        bail!("container {} is still there after {} s", container.state.id, PATIENCE.as_secs());
    }
    Ok(())
}

/// Removes what is left of one that has ended. The state goes last: until then a second try finds the rest.
pub fn remove(container: &Container, log: &Log) -> anyhow::Result<()> {
    for group in container.cgroups() {
        linux_sandbox::remove_cgroup(&group)?;
    }
    if let Some(scope) = container.scope() {
        scope.stop();
    }
    log.warnings(&hooks::tell(container, Moment::Poststop, None)?);
    let dir = &container.dir;
    fs::remove_dir_all(dir).with_context(|| dir.display().to_string())
}

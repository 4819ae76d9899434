//! start: one byte into the FIFO that the process reads from.

use crate::log::Log;
use crate::store::{Container, Status, Store};
use crate::{delete, hooks};
use anyhow::{Context, bail};
use linux_sandbox::Moment;

#[derive(Debug, clap::Args)]
pub struct Options {
    /// ID of the container
    id: String,
}

pub fn verb(store: &Store, log: &Log, options: &Options) -> anyhow::Result<()> {
    start(&store.find(&options.id)?, log)
}

pub fn start(container: &Container, log: &Log) -> anyhow::Result<()> {
    match container.status() {
        Status::Created => {}
        Status::Stopped => bail!("cannot start a container that has stopped"),
        Status::Running => bail!("cannot start an already running container"),
        Status::Paused => bail!("cannot start a container in the paused state"),
    }
    let fifo = container.fifo();
    if !linux_sandbox::start(&fifo)? {
        bail!("cannot start a container that has stopped");
    }
    std::fs::remove_file(&fifo).with_context(|| fifo.display().to_string())?;
    hooks::tell(container, Moment::Poststart, Some(container.state.pid)).map(drop).or_else(|error| {
        // The specification: the container is stopped and goes.
        delete::end(container)?;
        delete::remove(container, log)?;
        Err(error)
    })
}

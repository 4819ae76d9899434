//! pause and resume: the freezer of cgroups(7).

use crate::cgroups;
use crate::store::{Status, Store};
use anyhow::bail;

#[derive(Debug, clap::Args)]
pub struct Options {
    /// ID of the container
    id: String,
}

pub fn verb(store: &Store, options: &Options, frozen: bool) -> anyhow::Result<()> {
    let container = store.find(&options.id)?;
    match (container.status(), frozen) {
        (Status::Running | Status::Created, true) | (Status::Paused, false) => {}
        (_, true) => bail!("container not running or created: {}", container.status().word()),
        (_, false) => bail!("container not paused"),
    }
    cgroups::freeze(&container.cgroups(), frozen)
}

//! run: create and start, and without `--detach` the terminal, the signals and the end.

use crate::create::{self, Making};
use crate::log::Log;
use crate::store::Store;
use crate::{delete, start};
use anyhow::Context;
use linux_sandbox::{Running, Terminal};
use rustix::process::{getpid, set_child_subreaper};
use serde_json::Value;
use std::os::unix::net::UnixListener;
use wire::exit;

#[derive(Debug, clap::Args)]
pub struct Options {
    /// ID of the container
    id: String,

    #[command(flatten)]
    making: Making,

    /// Return as soon as the process runs
    #[arg(short, long)]
    detach: bool,

    /// Keep the container when its process has ended
    #[arg(long)]
    keep: bool,

    /// Accepted: whoever called keeps being the subreaper when the process is detached
    #[arg(long)]
    no_subreaper: bool,
}

pub fn verb(store: &Store, log: &Log, options: &Options) -> anyhow::Result<u8> {
    if options.detach {
        let making = create::Options { id: options.id.clone(), making: options.making.clone() };
        create::verb(store, log, &making)?;
        start::start(&store.find(&options.id)?, log)?;
        return Ok(exit::DONE);
    }
    // The process is born to ctr-spawn, which ends: its end is then ours to see.
    set_child_subreaper(Some(getpid())).context("prctl(PR_SET_CHILD_SUBREAPER)")?;
    let config = bundle::read_config(&options.making.bundle)?;
    let console = listen(&config)?;
    let socket = console.as_ref().map(|(_, path)| path.as_path());
    create::make(store, log, &options.id, &options.making, socket, &config)?;
    let container = store.find(&options.id)?;
    let process = container.process().context("the process has ended before its start")?;
    let running = Running::adopt(&process, console.as_ref().map(|(listener, _)| listener))?;
    if let Some((_, path)) = &console {
        let _ = std::fs::remove_file(path);
    }
    start::start(&container, log)?;
    let code = running.wait(terminal(&config))?.code;
    if !options.keep {
        delete::remove(&container, log)?;
    }
    Ok(code)
}

/// Where the terminal's other end comes in, when the process has one.
fn listen(config: &Value) -> anyhow::Result<Option<(UnixListener, std::path::PathBuf)>> {
    if config["process"]["terminal"] != Value::Bool(true) {
        return Ok(None);
    }
    let path = toolkit::run_dir().join(format!("console-{}", std::process::id()));
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
    }
    let listener = UnixListener::bind(&path).with_context(|| path.display().to_string())?;
    Ok(Some((listener, path)))
}

fn terminal(config: &Value) -> Option<Terminal> {
    if config["process"]["terminal"] == Value::Bool(true) { Terminal::of_stdin() } else { None }
}

//! create: `ctr-spawn --create` makes the container up to its exec.

use crate::log::Log;
use crate::sibling;
use crate::store::Store;
use anyhow::{Context, bail};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
pub struct Options {
    /// ID of the container
    pub id: String,

    #[command(flatten)]
    pub making: Making,
}

/// What create and run share.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct Making {
    /// The bundle
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    pub bundle: PathBuf,

    /// Hand the terminal to whoever listens at the socket PATH
    #[arg(long, value_name = "PATH")]
    pub console_socket: Option<PathBuf>,

    /// Hand a descriptor of the process to whoever listens at the socket PATH
    #[arg(long, value_name = "PATH")]
    pub pidfd_socket: Option<PathBuf>,

    /// Write the process's ID to FILE
    #[arg(long, value_name = "FILE")]
    pub pid_file: Option<PathBuf>,

    /// Pass COUNT descriptors more to the process
    #[arg(long, value_name = "COUNT", default_value_t = 0, hide_default_value = true)]
    pub preserve_fds: u32,

    /// Refused: the old root is always left
    #[arg(long)]
    no_pivot: bool,

    /// Accepted: session keyrings are not touched
    #[arg(long)]
    no_new_keyring: bool,
}

pub fn verb(store: &Store, log: &Log, options: &Options) -> anyhow::Result<()> {
    let making = &options.making;
    let config = bundle::read_config(&making.bundle)?;
    let terminal = config["process"]["terminal"] == Value::Bool(true);
    if terminal && making.console_socket.is_none() {
        bail!("cannot allocate tty if the container is detached without a console socket (--console-socket)");
    }
    if !terminal && making.console_socket.is_some() {
        bail!("cannot use a console socket where process.terminal is not set");
    }
    make(store, log, &options.id, making, making.console_socket.as_deref(), &config)
}

/// Makes the container, or nothing.
pub fn make(
    store: &Store,
    log: &Log,
    id: &str,
    making: &Making,
    console: Option<&Path>,
    config: &Value,
) -> anyhow::Result<()> {
    if making.no_pivot {
        bail!("--no-pivot: a container that keeps its way to the old root is no container");
    }
    let dir = store.make(id)?;
    let made = spawn(store, &dir, log, id, making, console, config);
    if made.is_err() {
        let _ = fs::remove_dir_all(&dir);
    }
    made
}

fn spawn(
    store: &Store,
    dir: &Path,
    log: &Log,
    id: &str,
    making: &Making,
    console: Option<&Path>,
    config: &Value,
) -> anyhow::Result<()> {
    bundle::write_config(dir, config)?;
    let log_file = dir.join("log");
    let mut command = sibling::command("ctr-spawn")?;
    command.arg("--create").arg(dir).args(["--id", &short(id)]).arg("--log").arg(&log_file);
    let options = [
        ("--console-socket", console),
        ("--pidfd-socket", making.pidfd_socket.as_deref()),
        ("--pid-file", making.pid_file.as_deref()),
    ];
    for (option, value) in options {
        if let Some(value) = value {
            command.arg(option).arg(value);
        }
    }
    command.args(store.systemd.then_some("--systemd-cgroup"));
    command.args(["--preserve-fds", &preserved(making.preserve_fds).to_string()]).arg(&making.bundle);
    log.debug(&sibling::shown(&command));
    let status = command.status().context("ctr-spawn")?;
    log.debug(&format!("ctr-spawn: {status}"));
    let (error, notes) = sibling::said(&fs::read_to_string(&log_file).unwrap_or_default(), "ctr-spawn");
    if !status.success() {
        let error = error.unwrap_or_else(|| format!("ctr-spawn: {status}"));
        bail!("unable to start container process: {}", sibling::in_words_of_runc(&error, status.code()));
    }
    log.warnings(&notes);
    Ok(())
}

/// Names of cgroups have an end; IDs of callers are 64 digits and rarely more.
fn short(id: &str) -> String {
    id.chars().take(128).collect()
}

/// What systemd hands over counts too (`sd_listen_fds(3)`).
pub fn preserved(count: u32) -> u32 {
    let listen = std::env::var("LISTEN_FDS").ok().and_then(|text| text.parse::<u32>().ok());
    count.saturating_add(listen.unwrap_or(0))
}

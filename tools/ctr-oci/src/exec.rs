//! exec: `ctr-exec`, with the container's state in place of a name.

use crate::log::Log;
use crate::sibling;
use crate::store::{Status, Store};
use anyhow::{Context, bail};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use toolkit::Failure;

#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of the command line")]
pub struct Options {
    /// ID of the container
    id: String,

    /// Hand the terminal to whoever listens at the socket PATH
    #[arg(long, value_name = "PATH")]
    console_socket: Option<PathBuf>,

    /// Hand a descriptor of the process to whoever listens at the socket PATH
    #[arg(long, value_name = "PATH")]
    pidfd_socket: Option<PathBuf>,

    /// The working directory
    #[arg(long, value_name = "DIR")]
    cwd: Option<String>,

    /// Set an environment variable
    #[arg(short, long, value_name = "NAME=VALUE")]
    env: Vec<String>,

    /// Give the process a terminal
    #[arg(short, long)]
    tty: bool,

    /// The user and the group
    #[arg(short, long, value_name = "UID[:GID]")]
    user: Option<String>,

    /// Add supplementary groups
    #[arg(short = 'g', long, value_name = "GID")]
    additional_gids: Vec<u32>,

    /// Take the process from a file
    #[arg(short, long, value_name = "FILE")]
    process: Option<PathBuf>,

    /// Return as soon as the process runs
    #[arg(short, long)]
    detach: bool,

    /// Write the process's ID to FILE
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,

    /// No exec gives the process more rights
    #[arg(long)]
    no_new_privs: bool,

    /// Add a capability
    #[arg(short, long, value_name = "CAPABILITY")]
    cap: Vec<String>,

    /// Pass COUNT descriptors more to the process
    #[arg(long, value_name = "COUNT", default_value_t = 0, hide_default_value = true)]
    preserve_fds: u32,

    /// Run under this label of the security module instead of the container's
    #[arg(long, value_name = "LABEL")]
    process_label: Option<String>,

    /// Run under this profile of the security module instead of the container's
    #[arg(long, value_name = "PROFILE")]
    apparmor: Option<String>,

    /// Join a cgroup below the container's, which must be there
    #[arg(long, value_name = "[CONTROLLER,...:]PATH")]
    cgroup: Vec<String>,

    /// Enter a paused container too; the process freezes with it
    #[arg(long)]
    ignore_paused: bool,

    /// The command and its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    command: Vec<String>,
}

pub fn verb(store: &Store, has_log: bool, log: &Log, options: &Options) -> anyhow::Result<u8> {
    refuse(options)?;
    let container = store.find(&options.id)?;
    match container.status() {
        Status::Stopped => bail!("cannot exec in a stopped container"),
        Status::Paused if !options.ignore_paused => {
            bail!("cannot exec in a paused container (use --ignore-paused to override)")
        }
        _ => {}
    }
    let mut command = sibling::command("ctr-exec")?;
    command.arg("--state").arg(container.dir.join("state.json"));
    pass_on(options, &mut command);
    let waits = has_log || options.detach;
    let file = container.dir.join(format!("exec-{}.log", std::process::id()));
    if waits {
        command.arg("--log").arg(&file);
    }
    if !options.command.is_empty() {
        command.arg("--").args(&options.command);
    }
    log.debug(&sibling::shown(&command));
    if !waits {
        // Nobody reads words: signals reach ctr-exec directly when it takes our place.
        return Err(command.exec()).context("ctr-exec");
    }
    wait(&file, log, command)
}

fn refuse(options: &Options) -> anyhow::Result<()> {
    if options.process.is_none() && options.command.is_empty() {
        return Err(toolkit::usage("exec: a command or --process is needed"));
    }
    Ok(())
}

fn pass_on(options: &Options, command: &mut Command) {
    let mut option = |name: &str, value: Option<&std::ffi::OsStr>| {
        if let Some(value) = value {
            command.arg(name).arg(value);
        }
    };
    option("--console-socket", options.console_socket.as_deref().map(AsRef::as_ref));
    option("--pidfd-socket", options.pidfd_socket.as_deref().map(AsRef::as_ref));
    option("--process", options.process.as_deref().map(AsRef::as_ref));
    option("--pid-file", options.pid_file.as_deref().map(AsRef::as_ref));
    option("--workdir", options.cwd.as_deref().map(AsRef::as_ref));
    option("--user", options.user.as_deref().map(AsRef::as_ref));
    option("--apparmor", options.apparmor.as_deref().map(AsRef::as_ref));
    option("--process-label", options.process_label.as_deref().map(AsRef::as_ref));
    for value in &options.env {
        option("--env", Some(value.as_ref()));
    }
    for value in &options.cap {
        option("--cap-add", Some(value.as_ref()));
    }
    for value in &options.cgroup {
        option("--cgroup", Some(value.as_ref()));
    }
    for value in &options.additional_gids {
        option("--group-add", Some(value.to_string().as_ref()));
    }
    let flags = [("--tty", options.tty), ("--detach", options.detach), ("--no-new-privileges", options.no_new_privs)];
    command.args(flags.iter().filter(|(_, on)| *on).map(|(name, _)| name));
    command.args(["--preserve-fds", &crate::create::preserved(options.preserve_fds).to_string()]);
}

/// The sibling's words go where the caller looks for them, in the caller's words.
fn wait(file: &Path, log: &Log, mut command: Command) -> anyhow::Result<u8> {
    let status = command.status().context("ctr-exec");
    let said = std::fs::read_to_string(file).unwrap_or_default();
    let _ = std::fs::remove_file(file);
    let status = status?;
    let (error, notes) = sibling::said(&said, "ctr-exec");
    let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(255);
    if let Some(error) = error {
        let error = sibling::in_words_of_runc(&error, status.code());
        return Err(Failure::with_code(code, format!("exec failed: unable to start container process: {error}")));
    }
    log.warnings(&notes);
    Ok(code)
}

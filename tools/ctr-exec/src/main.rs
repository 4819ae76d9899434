//! Runs one more process in a container that runs.
//!
//! Mechanism: the container is the namespaces, cgroups and rights of its processes, and a process may enter those
//! of another one. A descriptor of the container's first process names them all at once; the new process is born
//! in its PID namespace, enters the other namespaces and its cgroups, takes the rights that `config.json` gives
//! the first one and executes its command. By hand it is about this, but for the rights: setpriv(1) would have to stand
//! in the container.
//!
//! ```sh
//! pid=$(ctr-ls --filter name=web | sed 's/.*"pid":\([0-9]*\).*/\1/')
//! for dir in $(sed -n 's,^[0-9]*:\([a-z]*\):/,/sys/fs/cgroup/\1/,p' /proc/$pid/cgroup); do echo 0 >$dir/cgroup.procs; done
//! exec nsenter --target $pid --pid --mount --uts --ipc --net --cgroup env -i PATH=/bin sh
//! ```
//!
//! Read setns(2), `pidfd_open(2)`, nsenter(1), namespaces(7), cgroups(7), capabilities(7).

#![forbid(unsafe_code)]

mod cgroups;
mod plan;
mod process;
mod target;

use anyhow::Context;
use bundle::env;
use bundle::process::Process;
use clap::Parser;
use linux_sandbox::{FirstStderr, Place, Plan, Step, Terminal};
use plan::Around;
use serde_json::json;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use target::{Container, NotThere};
use toolkit::{Failure, Out};
use wire::exit;

/// Run one more process in a running container
#[derive(Debug, Parser)]
#[command(name = "ctr-exec", version, about)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of the command line")]
struct Args {
    /// Name, ID or unique start of an ID; without it, the first line of stdin is the container's record
    container: Option<String>,

    /// Pass this stdin on; without it the process reads nothing
    #[arg(short, long)]
    interactive: bool,

    /// Give the process a terminal
    #[arg(short, long)]
    tty: bool,

    /// Return as soon as the process runs; its output goes nowhere
    #[arg(short, long)]
    detach: bool,

    /// Set an environment variable; NAME alone takes its value from ctr-exec's own environment
    #[arg(short, long = "env", value_name = "NAME[=VALUE]")]
    env: Vec<String>,

    /// Set the environment variables of a file, one a line
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,

    /// The user, by name or number, and optionally the group
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,

    /// The working directory
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,

    /// Give the process every capability
    #[arg(long)]
    privileged: bool,

    /// Take the container from a state of the OCI runtime specification; stdin, stdout and stderr are passed on
    #[arg(long, value_name = "FILE", conflicts_with = "container")]
    state: Option<PathBuf>,

    /// Take the process from a file as the runtime specification has it
    #[arg(long, value_name = "FILE")]
    process: Option<PathBuf>,

    /// Write the process's ID, as the host sees it, to FILE
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,

    /// Hand the terminal to whoever listens at the socket PATH
    #[arg(long, value_name = "PATH")]
    console_socket: Option<PathBuf>,

    /// Hand a descriptor of the process to whoever listens at the socket PATH
    #[arg(long, value_name = "PATH")]
    pidfd_socket: Option<PathBuf>,

    /// Pass COUNT descriptors from 3 on to the process
    #[arg(long, value_name = "COUNT", default_value_t = 0, hide_default_value = true)]
    preserve_fds: u32,

    /// Add a supplementary group
    #[arg(long, value_name = "GID")]
    group_add: Vec<u32>,

    /// Add a capability
    #[arg(long, value_name = "CAPABILITY")]
    cap_add: Vec<String>,

    /// Run under this profile of the security module instead of the container's
    #[arg(long, value_name = "PROFILE")]
    apparmor: Option<String>,

    /// Run under this label of the security module instead of the container's
    #[arg(long, value_name = "LABEL")]
    process_label: Option<String>,

    /// Join a cgroup below the container's, which must be there
    #[arg(long, value_name = "[CONTROLLER,...:]PATH")]
    cgroup: Vec<String>,

    /// No exec gives the process more rights
    #[arg(long)]
    no_new_privileges: bool,

    /// Say what there is to say in FILE instead of on stderr, which is the process's
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,

    /// Word errors and exit as docker's client does
    #[arg(long)]
    docker: bool,

    /// Print the list of steps as JSON and do nothing
    #[arg(long, conflicts_with = "explain")]
    plan: bool,

    /// Print each step as a shell line on stderr as it runs
    #[arg(long)]
    explain: bool,

    /// Where containers are kept [default: /var/lib/dock]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,

    /// The command and its arguments
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

fn main() -> ExitCode {
    toolkit::main_with_codes(exit::SPAWN_FAILED, exit::SPAWN_FAILED, |args: Args, out| {
        let done = run(&args, out);
        if args.docker { done.or_else(|error| Ok(say_as_docker(&error))) } else { done }
    })
}

fn run(args: &Args, out: &mut Out) -> anyhow::Result<u8> {
    for assignment in &args.env {
        env::check(assignment)
            .map_err(|why| toolkit::usage(format!("invalid argument {assignment:?} for \"-e, --env\" flag: {why}")))?;
    }
    let stderr = args.log.as_deref().map(FirstStderr::log_to).transpose()?;
    let container = find(args)?;
    let watched = container.may_trace_us()?;
    if watched && !args.plan {
        run_sealed(args, stderr.as_ref(), &container)?;
    }
    let process = process::wanted(args, &container)?;
    let terminal = open_terminal(args, &process);
    let around = around(args, watched, terminal.as_ref());
    let mut steps = plan::steps(&container, &process, &around)?;
    let inside = steps.iter().position(|step| step.place() == Place::Inside).unwrap_or(steps.len());
    steps.splice(inside..inside, stderr.map(Step::FirstStderr));
    if args.plan {
        return print_plan(out, &steps);
    }
    container.note_rights(&process)?;
    enter_and_wait(args, steps, terminal.filter(|_| passes_stdin(args)))
}

fn find(args: &Args) -> anyhow::Result<Container> {
    let root = args.root.as_deref();
    match (&args.state, &args.container) {
        (Some(file), _) => target::of_state(file),
        (None, Some(name)) => target::of_store(name, root),
        (None, None) => target::of_record(root),
    }
}

/// Once more from the start, as a copy of this program that nobody can write to (CVE-2019-5736). A container that was
/// named on stdin is named by an argument then: that line has been read.
fn run_sealed(args: &Args, stderr: Option<&FirstStderr>, container: &Container) -> anyhow::Result<()> {
    if linux_sandbox::is_sealed() {
        return Ok(linux_sandbox::set_name(c"ctr-exec")?);
    }
    if let Some(stderr) = stderr {
        stderr.give_back()?;
    }
    let mut words: Vec<OsString> = std::env::args_os().collect();
    if args.container.is_none() && args.state.is_none() {
        words.insert(1, container.id.clone().into());
    }
    Ok(linux_sandbox::run_sealed(c"ctr-exec", words, std::env::vars_os())?)
}

fn passes_stdin(args: &Args) -> bool {
    args.state.is_some() || args.interactive && !args.detach
}

fn around(args: &Args, watched: bool, terminal: Option<&Terminal>) -> Around {
    let null = match args {
        Args { state: Some(_), .. } => Vec::new(),
        Args { detach: true, .. } => vec![0, 1, 2],
        Args { interactive: false, .. } => vec![0],
        _ => Vec::new(),
    };
    Around {
        detach: args.detach,
        watched,
        null,
        preserve_fds: args.preserve_fds,
        cgroups: args.cgroup.clone(),
        terminal_size: terminal.and_then(Terminal::size),
        root: rustix::process::geteuid().is_root(),
    }
}

/// What comes from the keys goes into the process's terminal, and that is as large as theirs.
fn open_terminal(args: &Args, process: &Process) -> Option<Terminal> {
    let wanted = process.terminal && !args.detach && args.console_socket.is_none();
    if wanted { Terminal::of_the_person() } else { None }
}

/// One object on one line: the same list that would run, with the shell line of each step.
fn print_plan(out: &mut Out, steps: &[Step]) -> anyhow::Result<u8> {
    let list = steps.iter().map(Step::describe).collect::<Result<Vec<_>, _>>()?;
    let plan = json!({ "formatVersion": wire::FORMAT_VERSION, "kind": "plan", "steps": list });
    out.text(&format!("{plan}\n"))?;
    Ok(exit::DONE)
}

fn enter_and_wait(args: &Args, steps: Vec<Step>, terminal: Option<Terminal>) -> anyhow::Result<u8> {
    let plan = Plan { steps, explain: args.explain, program: "ctr-exec".into() };
    let failed = |error: linux_sandbox::Error| Failure::with_code(error.code(), error.to_string());
    let mut running = linux_sandbox::spawn(&plan).map_err(failed)?;
    if let Some(socket) = &args.console_socket {
        running.send_terminal(socket)?;
    }
    if let Some(socket) = &args.pidfd_socket {
        running.send_pidfd(socket, "setns")?;
    }
    if let Some(file) = &args.pid_file {
        std::fs::write(file, running.pid().to_string()).with_context(|| file.display().to_string())?;
    }
    if args.detach {
        return Ok(exit::DONE);
    }
    Ok(running.wait(terminal)?.code)
}

/// Docker's client answers 1 when there is no container to ask, and 126 or 127 when the process could not start.
fn say_as_docker(error: &anyhow::Error) -> u8 {
    let words = format!("{error:#}");
    let (line, code) = if words.starts_with("invalid argument ") {
        toolkit::say(&words);
        ("See 'dock exec --help'.".into(), exit::SPAWN_FAILED)
    } else if toolkit::code_of(error) == Some(exit::USAGE) {
        (words, exit::FAILED)
    } else if let Some(not_there) = error.downcast_ref::<NotThere>() {
        (format!("Error response from daemon: {not_there}"), exit::FAILED)
    } else {
        let code = toolkit::code_of(error).filter(|code| *code == exit::NOT_FOUND).unwrap_or(exit::NOT_EXECUTABLE);
        (format!("OCI runtime exec failed: exec failed: {words}"), code)
    };
    toolkit::say(&line.replace(['\n', '\r'], " "));
    code
}

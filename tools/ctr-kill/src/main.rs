//! Sends signals to containers: one, or those that stop, pause and resume them.
//!
//! Mechanism: a signal goes to the container's first process through a descriptor that means that process and
//! no other, even when its number has been given away since. Stopping is two signals: one that asks, and
//! SIGKILL for who does not listen. By hand:
//!
//! ```sh
//! pid=$(jq .pid "/run/dock/containers/$id/state.json")
//! kill -TERM "$pid"; sleep 10; kill -KILL "$pid"
//! ```
//!
//! Pausing freezes all of its processes at once by a cgroup, which no process can catch or see.
//! Read `pidfd_send_signal(2)`, signal(7), cgroups(7).

#![forbid(unsafe_code)]

mod ending;
mod pausing;

use anyhow::{Context, bail};
use bundle::{Containers, Found, keeper};
use clap::Parser;
use ending::Ending;
use pausing::send_awake;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use toolkit::{Failures, Out};
use wire::Status;

/// Signal, stop, pause and resume containers
#[derive(Debug, Parser)]
#[command(name = "ctr-kill", version, about)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option")]
struct Args {
    /// Names, IDs or unique starts of IDs; without them, container records are read from stdin
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,

    /// The signal, by name or number [default: KILL; with --stop what the container wants, or TERM]
    #[arg(short, long, value_name = "SIGNAL")]
    signal: Option<String>,

    /// Ask them to end, with the signal that each wants for this, and kill those that do not in time
    #[arg(long)]
    stop: bool,

    /// With --stop: seconds before SIGKILL, -1 for never [default: what the container wants, or 10]
    #[arg(short, long, value_name = "SECONDS", requires = "stop", allow_hyphen_values = true)]
    time: Option<i64>,

    /// With --stop: one that goes with its end stays, to be started again
    #[arg(long, requires = "stop")]
    spare: bool,

    /// Freeze all of their processes
    #[arg(long, conflicts_with_all = ["signal", "stop", "resume"])]
    pause: bool,

    /// Let them go on
    #[arg(long, conflicts_with_all = ["signal", "stop"])]
    resume: bool,

    /// Where images, volumes and containers are kept [default: /var/lib/dock]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
}

/// How long a killed process may take: as long as its file systems do.
const PATIENCE: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    toolkit::main(run)
}

#[expect(clippy::needless_pass_by_value, reason = "toolkit::main gives them away")]
fn run(args: Args, out: &mut Out) -> anyhow::Result<()> {
    let run = toolkit::run_dir();
    let containers = Containers::new(&toolkit::root_dir(args.root.as_deref()), &run);
    // An empty one is none, says docker.
    let signal = args.signal.as_deref().filter(|word| !word.is_empty()).map(parse).transpose()?;
    let mut failed = Failures::of("ctr-kill");
    let mut asked = Vec::new();
    // Everybody is asked before anybody is waited for.
    for operand in toolkit::containers(&args.containers)? {
        let find = || containers.find(&operand).map_err(anyhow::Error::from);
        let begun = match &args {
            Args { pause: true, .. } => pausing::pause(&containers, &operand, &run).map(|()| None),
            Args { resume: true, .. } => pausing::resume(&containers, &operand, &run).map(|()| None),
            Args { stop: true, .. } => find().and_then(|found| ask_to_end(&found, &run, &args, signal)),
            _ => find().and_then(|found| send(&found, &run, &operand, signal.unwrap_or(KILL))),
        };
        match begun {
            Ok(ending) => asked.push((operand, ending)),
            Err(error) => failed.add(error),
        }
    }
    for (operand, ending) in asked {
        match ending.map_or(Ok(()), Ending::see) {
            Ok(()) => out.text(&format!("{operand}\n")).and_then(|()| out.finish())?,
            Err(error) => failed.add(error),
        }
    }
    failed.finish()
}

/// By name, or any number but 0: whether there is such a signal is said of a container.
fn parse(word: &str) -> anyhow::Result<i32> {
    let number = word.parse().ok().filter(|number| *number != 0);
    number.or_else(|| bundle::signals::number(word)).with_context(|| format!("Invalid signal: {word}"))
}

/// A signal. After SIGKILL the end is waited for.
fn send(found: &Found, run: &Path, operand: &str, signal: i32) -> anyhow::Result<Option<Ending>> {
    let not_running = || format!("Cannot kill container: {operand}: Container {} is not running", found.meta.id);
    if bundle::signals::number(&signal.to_string()).is_none() {
        bail!("Cannot kill container: {operand}: The linux daemon does not support signal {signal}");
    }
    let process = match &found.started {
        Some(started) => started.open()?.with_context(not_running)?,
        None => bail!(not_running()),
    };
    let wanted = found.meta.keeping().stop_signal.and_then(|name| bundle::signals::number(&name));
    let ends = signal == KILL || wanted.is_none_or(|wanted| wanted == signal);
    if ends {
        // Who kills a container does not want it back.
        keeper::forbid_restart(found, run)?;
    }
    let sent =
        if ends { send_awake(found, run, &process, signal)? } else { linux_sandbox::send_signal(&process, signal)? };
    if !sent {
        bail!(not_running());
    }
    Ok((signal == KILL).then(|| Ending::new(found, run, Some(process), Some(PATIENCE))))
}

const KILL: i32 = 9;
const TERM: i32 = 15;

/// The first of the two signals. A container that does not run is stopped already.
fn ask_to_end(found: &Found, run: &Path, args: &Args, signal: Option<i32>) -> anyhow::Result<Option<Ending>> {
    if matches!(found.status, Status::Created | Status::Exited) {
        return Ok(None);
    }
    keeper::forbid_restart(found, run)?;
    if args.spare {
        keeper::spare(&found.dir)?;
    }
    let keeping = found.meta.keeping();
    let wanted = || keeping.stop_signal.as_deref().and_then(bundle::signals::number);
    let signal = signal.or_else(wanted).unwrap_or(TERM);
    let seconds = args.time.or(keeping.stop_timeout).unwrap_or(10);
    let process = match &found.started {
        Some(started) => started.open()?,
        None => None,
    };
    if let Some(process) = &process {
        send_awake(found, run, process, signal)?;
    }
    Ok(Some(Ending::new(found, run, process, u64::try_from(seconds).ok().map(Duration::from_secs))))
}

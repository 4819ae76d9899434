//! Waits until containers have ended and prints their exit codes.
//!
//! Mechanism: whoever keeps a container holds a lock on a file in its bundle as long as it lives, and leaves the
//! exit code in that file. Waiting for the end is waiting for the lock; the file stays readable through its
//! descriptor even when the container is removed meanwhile. By hand:
//!
//! ```sh
//! flock --shared "/var/lib/dock/containers/$id/lock" cat "/var/lib/dock/containers/$id/lock"
//! ```
//!
//! Read flock(2), `pidfd_open(2)`.

#![forbid(unsafe_code)]

use anyhow::Context;
use bundle::life::{Exit, Waiting};
use bundle::{Containers, Found};
use clap::Parser;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::OwnedFd;
use std::path::PathBuf;
use std::process::ExitCode;
use toolkit::{Failures, Out};
use wire::Status;

/// Wait until containers have ended
#[derive(Debug, Parser)]
#[command(name = "ctr-wait", version, about)]
struct Args {
    /// Names, IDs or unique starts of IDs; without them, container records are read from stdin
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,

    /// Where images, volumes and containers are kept [default: /var/lib/dock]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
}

/// A container whose end is still to be seen.
struct Watched {
    found: Found,
    lock: Option<Waiting>,
    process: Option<OwnedFd>,
}

/// What docker says of an end that nobody has seen.
const UNKNOWN: i32 = 255;

fn main() -> ExitCode {
    toolkit::main(run)
}

#[expect(clippy::needless_pass_by_value, reason = "toolkit::main gives them away")]
fn run(args: Args, out: &mut Out) -> anyhow::Result<()> {
    let containers = Containers::new(&toolkit::root_dir(args.root.as_deref()), &toolkit::run_dir());
    let operands = toolkit::containers(&args.containers)?;
    // All are looked up before the first is waited for: it may be gone when its turn comes.
    let watched: Vec<_> = operands.iter().map(|operand| watch(containers.find(operand)?)).collect();
    let mut failed = Failures::of("ctr-wait");
    for end in watched.into_iter().map(|watched| end_of(watched?)) {
        match end {
            Ok(code) => out.text(&format!("{code}\n")).and_then(|()| out.finish())?,
            Err(error) => failed.add(error),
        }
    }
    failed.finish()
}

fn watch(found: Found) -> anyhow::Result<Watched> {
    // A container that was never started has no lock.
    let lock = Waiting::open(&found.dir).ok();
    let process = found.started.as_ref().map(bundle::life::Started::open).transpose()?.flatten();
    Ok(Watched { found, lock, process })
}

fn end_of(watched: Watched) -> anyhow::Result<i32> {
    let known = |exit: Option<Exit>| exit.map(|exit| exit.exit_code);
    let kept = watched.lock.as_ref().is_some_and(Waiting::is_kept);
    if let (false, Some(process)) = (kept, &watched.process) {
        // Who kept it was killed, and it outlived that.
        poll(&mut [PollFd::new(process, PollFlags::IN)], None).context("poll(<process>)")?;
        return Ok(UNKNOWN);
    }
    match watched.lock {
        Some(lock) if kept => {
            let left = lock.wait()?.map(i32::from);
            Ok(left.or_else(|| known(Exit::read(&watched.found.dir).ok().flatten())).unwrap_or(UNKNOWN))
        }
        _ => {
            let unknown = if watched.found.status == Status::Created { 0 } else { UNKNOWN };
            Ok(known(watched.found.exit).unwrap_or(unknown))
        }
    }
}

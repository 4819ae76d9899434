//! The first process of a container that wants one: `dock run --init`.
//!
//! Mechanism: in a PID namespace the process with the ID 1 is the parent of everybody whose own parent has died, and
//! has to wait for them, or they stay as zombies until it ends itself. And the kernel does not give it a signal that
//! it has no handler for: a program that was not made to be the first does not even end on SIGTERM. So this one is
//! the first, and the program its child. In shell, but for the signals that a shell cannot catch:
//!
//! ```sh
//! "$@" & child=$!
//! trap 'kill -TERM $child' TERM; trap 'kill -INT $child' INT
//! while wait; [ -d /proc/$child ]; do :; done
//! ```
//!
//! ctr-spec --init mounts this file at /sbin/docker-init, read-only, and puts it before the command.
//! Read `pid_namespaces(7)`, wait(2), signalfd(2).

#![forbid(unsafe_code)]

use clap::Parser;
use std::ffi::OsString;
use std::process::{Command, ExitCode};
use toolkit::Failure;
use wire::exit;

/// Run a program as the child of a first process that reaps
#[derive(Debug, Parser)]
#[command(name = "ctr-init", version, about)]
struct Args {
    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

fn main() -> ExitCode {
    toolkit::main_with_codes(exit::SPAWN_FAILED, 2, |args: Args, _| {
        let (program, rest) = args.command.split_first().ok_or_else(|| toolkit::usage("a command is wanted"))?;
        linux_sandbox::init(Command::new(program).args(rest))
            .map_err(|error| Failure::with_code(error.code(), error.to_string()))
    })
}

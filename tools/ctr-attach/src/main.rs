//! Joins the terminal, or the pipes, of a container in the background: its output comes here, keys and signals
//! go there, until it ends or the detach keys are typed.
//!
//! Mechanism: the process that keeps the container holds the other ends of its pipes or of its pty(7), and
//! listens on a socket in the run directory. Each packet is a letter and bytes: `o` and `r` are output and
//! errors, `i` is input, `s` the size of the terminal, `k` a signal, `x` the end. One can look on by hand:
//!
//! ```sh
//! socat -u UNIX-CONNECT:/run/dock/containers/$id/attach.sock,socktype=5 STDOUT
//! ```
//!
//! Read unix(7), termios(3), pty(7), signalfd(2).

#![forbid(unsafe_code)]

mod keys;
mod talk;

use anyhow::bail;
use bundle::life::Waiting;
use bundle::{Containers, Found, keeper};
use clap::{ArgAction, Parser};
use keys::DetachKeys;
use linux_sandbox::Terminal;
use std::path::PathBuf;
use std::process::ExitCode;
use talk::{End, Talk};
use toolkit::Out;
use wire::{Status, exit};

/// Join the terminal or the pipes of a container in the background
#[derive(Debug, Parser)]
#[command(name = "ctr-attach", version, about)]
struct Args {
    /// A name, an ID or a unique start of one
    #[arg(value_name = "CONTAINER")]
    container: String,

    /// Give the container none of this standard input
    #[arg(long)]
    no_stdin: bool,

    /// The keys that leave a container with a terminal to itself
    #[arg(long, value_name = "KEYS", default_value = "ctrl-p,ctrl-q")]
    detach_keys: DetachKeys,

    /// Pass signals on to the container [default: true for one without a terminal]
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true",
          require_equals = true)]
    sig_proxy: Option<bool>,

    /// Where images, volumes and containers are kept [default: /var/lib/dock]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
}

fn main() -> ExitCode {
    toolkit::main_with_codes(exit::FAILED, exit::USAGE, |args: Args, _: &mut Out| run(args))
}

fn run(args: Args) -> anyhow::Result<u8> {
    let run = toolkit::run_dir();
    let found = Containers::new(&toolkit::root_dir(args.root.as_deref()), &run).find(&args.container)?;
    check_that_it_runs(&found)?;
    let lock = Waiting::open(&found.dir)?;
    let socket = keeper::connect(&run, &found.meta.id)?;
    let keeping = found.meta.keeping();
    let talk = Talk {
        socket,
        terminal: if keeping.tty { Terminal::of_stdin() } else { None },
        keys: keeping.open_stdin && !args.no_stdin,
        detach: keeping.tty.then_some(args.detach_keys),
        pass_signals: args.sig_proxy.unwrap_or(!keeping.tty),
    };
    match talk.until_the_end()? {
        End::Code(code) => Ok(code),
        End::Detached => {
            toolkit::say("read escape sequence");
            Ok(exit::DONE)
        }
        End::Signal(signal) => Ok(exit::SIGNAL_BASE.saturating_add(signal)),
        End::Lost => match lock.wait()? {
            Some(code) => Ok(code),
            None => bail!("container {}: the process that keeps it was killed", found.meta.name),
        },
    }
}

/// Docker's words.
fn check_that_it_runs(found: &Found) -> anyhow::Result<()> {
    match found.status {
        // One that has just ended may still have something to tell.
        _ if found.keeper.is_some() && !matches!(found.status, Status::Paused | Status::Restarting) => Ok(()),
        Status::Running => bail!("container {}: it runs in the foreground of another program", found.meta.name),
        Status::Paused => bail!("You cannot attach to a paused container, unpause it first"),
        Status::Restarting => bail!("You cannot attach to a restarting container, wait until it is running"),
        _ => bail!("You cannot attach to a stopped container, start it first"),
    }
}

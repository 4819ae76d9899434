//! The command line that podman, conmon, containerd and dockerd expect of an OCI runtime: runc's. Every verb is one
//! file here, and what it does is done by a sibling.
//!
//! Mechanism: a runtime in the sense of the specification is no daemon either. A container is a directory with its
//! state, and between two verbs nobody runs but the container's own process: `create` makes it up to its exec,
//! where it reads from a FIFO; `start` writes one byte into that; whoever called reaps it. By hand:
//!
//! ```sh
//! mkdir /run/dock/oci/web && ctr-spawn --create /run/dock/oci/web --id web bundle    # create
//! echo >/run/dock/oci/web/exec.fifo                                                  # start
//! ctr-exec --state /run/dock/oci/web/state.json -- ps                                # exec
//! kill -TERM "$(jq .pid /run/dock/oci/web/state.json)"                               # kill
//! ```
//!
//! Read the OCI runtime specification (runtime.md), fifo(7), `pidfd_send_signal(2)`, cgroups(7), `prctl(2)`
//! (`PR_SET_CHILD_SUBREAPER`).

#![forbid(unsafe_code)]

mod cgroups;
mod create;
mod delete;
mod events;
mod exec;
mod features;
mod hooks;
mod kill;
mod list;
mod log;
mod pause;
mod ps;
mod run;
mod sibling;
mod spec;
mod start;
mod state;
mod store;
mod update;

use anyhow::bail;
use clap::{Parser, Subcommand};
use log::{Format, Log};
use std::path::PathBuf;
use std::process::ExitCode;
use store::Store;
use toolkit::Out;
use wire::exit;

/// The runtime that podman, containerd and dockerd expect, by running its siblings
#[derive(Debug, Parser)]
#[command(name = "ctr-oci", about, disable_version_flag = true, args_override_self = true)]
struct Args {
    /// Where the state of containers is kept [default: /run/dock/oci]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,

    /// Write errors and warnings to FILE too
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,

    /// The form of FILE's lines
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Format::Text, hide_default_value = true)]
    log_format: Format,

    /// Write to the log, or without one to stderr, what is done
    #[arg(long)]
    debug: bool,

    /// Have systemd make the cgroups
    #[arg(long)]
    systemd_cgroup: bool,

    /// Accepted; who is not root is found out
    #[arg(long, value_name = "BOOL")]
    rootless: Option<String>,

    /// Accepted; processes cannot be saved here
    #[arg(long, value_name = "PATH", default_value = "criu", hide_default_value = true)]
    criu: String,

    /// Print the version and that of the specification
    #[arg(short = 'v', short_alias = 'V', long)]
    version: bool,

    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a container; its process waits for the start
    Create(create::Options),
    /// Let the process of a made container go on
    Start(start::Options),
    /// Make a container and start it
    Run(run::Options),
    /// Print the state of a container
    State(state::Options),
    /// Send a signal
    Kill(kill::Options),
    /// Remove a container that has ended
    Delete(delete::Options),
    /// Run one more process in a container
    Exec(exec::Options),
    /// Freeze all processes of a container
    Pause(pause::Options),
    /// Let frozen processes go on
    Resume(pause::Options),
    /// Print the processes of a container
    Ps(ps::Options),
    /// Change limits
    Update(update::Options),
    /// Print what a container uses
    Events(events::Options),
    /// Print all containers
    List(list::Options),
    /// Write a config.json to start from
    Spec(spec::Options),
    /// Print what this runtime can do
    Features,
    /// Refused: processes cannot be saved
    #[command(disable_help_flag = true)]
    Checkpoint(Refused),
    /// Refused: there is nothing saved
    #[command(disable_help_flag = true)]
    Restore(Refused),
}

/// Whatever is given to a verb that is refused.
#[derive(Debug, clap::Args)]
struct Refused {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    words: Vec<String>,
}

fn main() -> ExitCode {
    toolkit::main_with_codes(exit::FAILED, exit::USAGE, |args: Args, out| {
        let log = Log::new(args.log.clone(), args.log_format, args.debug);
        let done = run(&args, &log, out);
        if let Err(error) = &done {
            log.error(&format!("{error:#}"));
        }
        done
    })
}

fn run(args: &Args, log: &Log, out: &mut Out) -> anyhow::Result<u8> {
    let Some(verb) = &args.verb else {
        if args.version {
            let version = env!("CARGO_PKG_VERSION");
            out.text(&format!("ctr-oci version {version}\ncommit: v{version}\nspec: {}\n", features::NEWEST))?;
            return Ok(exit::DONE);
        }
        return Err(toolkit::usage("no command: try 'ctr-oci --help'"));
    };
    let store = Store::new(args.root.as_deref(), args.systemd_cgroup);
    let name = format!("{verb:?}").to_lowercase();
    log.debug(&format!("ctr-oci {}: {}", env!("CARGO_PKG_VERSION"), name.split('(').next().unwrap_or_default()));
    match verb {
        Verb::Create(options) => create::verb(&store, log, options),
        Verb::Start(options) => start::verb(&store, log, options),
        Verb::Run(options) => return run::verb(&store, log, options),
        Verb::State(options) => state::verb(&store, options, out),
        Verb::Kill(options) => kill::verb(&store, options),
        Verb::Delete(options) => delete::verb(&store, log, options),
        Verb::Exec(options) => return exec::verb(&store, args.log.is_some(), log, options),
        Verb::Pause(options) => pause::verb(&store, options, true),
        Verb::Resume(options) => pause::verb(&store, options, false),
        Verb::Ps(options) => ps::verb(&store, options, out),
        Verb::Update(options) => update::verb(&store, options),
        Verb::Events(options) => events::verb(&store, options, out),
        Verb::List(options) => list::verb(&store, log, options, out),
        Verb::Spec(options) => spec::verb(options),
        Verb::Features => features::verb(out),
        Verb::Checkpoint(Refused { words }) | Verb::Restore(Refused { words }) => {
            bail!("{}: processes cannot be saved and brought back here", words.last().map_or("checkpoint", |id| id))
        }
    }?;
    Ok(exit::DONE)
}

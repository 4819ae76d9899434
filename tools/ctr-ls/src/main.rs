//! Lists containers. There is no daemon to ask: a container is a directory, and whether it runs is a question
//! to the kernel.
//!
//! Mechanism: `container.json` in the bundle says what a container was made as, `state.json` in the run
//! directory names its first process by ID and start time, `exit.json` tells how that ended. By hand:
//!
//! ```sh
//! for dir in /var/lib/dock/containers/*/; do
//!     id=$(basename "$dir")
//!     pid=$(jq .pid "/run/dock/containers/$id/state.json" 2>/dev/null) && kill -0 "$pid" && echo "$id $pid"
//! done
//! ```
//!
//! `kill -0` alone can be fooled, for process IDs come again; field 22 of /proc/PID/stat cannot.
//! Read proc(5), `pid_namespaces(7)`.

#![forbid(unsafe_code)]

mod docker;
mod filter;
mod status;

use anyhow::{Context, bail};
use bundle::{Containers, Found};
use clap::{Parser, ValueEnum};
use filter::Filter;
use std::path::PathBuf;
use std::process::ExitCode;
use toolkit::Out;
use wire::{Record, Status};

/// List containers
#[derive(Debug, Parser)]
#[expect(clippy::struct_excessive_bools, reason = "docker's flags")]
#[command(name = "ctr-ls", version, about)]
struct Args {
    /// Names, IDs or unique starts of IDs; without them, all that run
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,

    /// List also those that do not run
    #[arg(short, long)]
    all: bool,

    /// Only the newest one
    #[arg(short, long)]
    latest: bool,

    /// Only the newest NUMBER of them
    #[arg(short = 'n', long, value_name = "NUMBER", allow_hyphen_values = true)]
    last: Option<i64>,

    /// Only those for which NAME=VALUE holds: ancestor, exited, id, label, name, status
    #[arg(short, long, value_name = "NAME=VALUE")]
    filter: Vec<Filter>,

    /// Print only IDs
    #[arg(short, long)]
    quiet: bool,

    /// Print whole IDs and commands
    #[arg(long)]
    no_trunc: bool,

    /// How to print them
    #[arg(long, value_enum, default_value_t = Format::Json)]
    format: Format,

    /// Where images, volumes and containers are kept [default: /var/lib/dock]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One container record a line
    Json,
    /// Docker's columns
    Table,
    /// One object a line, as docker inspect has it
    Docker,
    /// The ID of the image it was made from
    Image,
}

fn main() -> ExitCode {
    toolkit::main(run)
}

#[expect(clippy::needless_pass_by_value, reason = "toolkit::main gives them away")]
fn run(args: Args, out: &mut Out) -> anyhow::Result<()> {
    let root = toolkit::root_dir(args.root.as_deref());
    let containers = Containers::new(&root, &toolkit::run_dir());
    let listed = if args.containers.is_empty() { select(&containers, &args)? } else { named(&containers, &args)? };
    let id = |found: &Found| if args.no_trunc { found.meta.id.clone() } else { found.meta.id[..12].to_owned() };
    match args.format {
        _ if args.quiet => listed.iter().try_for_each(|found| out.text(&(id(found) + "\n"))),
        Format::Json => listed.iter().try_for_each(|found| out.record(&Record::Container(found.record()))),
        Format::Table => out.text(&status::render(&listed, args.no_trunc)),
        Format::Docker => listed.iter().try_for_each(|found| out.text(&format!("{}\n", docker::object(found)?))),
        Format::Image => listed.iter().try_for_each(|found| out.text(&(image_id(found)? + "\n"))),
    }
}

fn image_id(found: &Found) -> anyhow::Result<String> {
    found.meta.image_id.clone().with_context(|| format!("{}: made from no image that is known", found.meta.name))
}

/// Exactly those, in the order given.
fn named(containers: &Containers, args: &Args) -> anyhow::Result<Vec<Found>> {
    if args.all || args.latest || args.last.is_some() || !args.filter.is_empty() {
        bail!(toolkit::usage("CONTAINER operands name exactly what is listed: no --all, --latest, --last, --filter"));
    }
    Ok(args.containers.iter().map(|operand| containers.find(operand)).collect::<Result<_, _>>()?)
}

/// Docker's rule: `-l` and `-n` look at all of them, and so does a filter that asks for a status.
fn select(containers: &Containers, args: &Args) -> anyhow::Result<Vec<Found>> {
    let last = if args.latest { Some(1) } else { args.last.and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0) };
    let all = args.all || last.is_some() || args.filter.iter().any(Filter::asks_for_status);
    let mut listed = containers.list()?;
    listed.retain(|found| all || matches!(found.status, Status::Running | Status::Paused | Status::Restarting));
    listed.retain(|found| filter::all_hold(&args.filter, found));
    listed.truncate(last.unwrap_or(usize::MAX));
    Ok(listed)
}

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
mod host;
mod listing;
mod mounted;
mod size;
mod status;

use anyhow::{Context, bail};
use bundle::{Containers, Found};
use clap::Parser;
use filter::Filter;
use std::path::PathBuf;
use std::process::ExitCode;
use template::{Listing, Template};
use toolkit::{Out, usage};
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

    /// Only those for which NAME=VALUE holds: name, label, status and docker's others
    #[arg(short, long, value_name = "NAME=VALUE")]
    filter: Vec<String>,

    /// Print only IDs
    #[arg(short, long)]
    quiet: bool,

    /// Print whole IDs and commands
    #[arg(long)]
    no_trunc: bool,

    /// The bytes that each has written, and those of all it sees
    #[arg(short, long)]
    size: bool,

    /// As docker shows them instead of records: table, json, a Go template, or table and a template
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,

    /// The object of docker inspect instead of a line of docker ps
    #[arg(long)]
    inspect: bool,

    /// Only those that do not run and that their restart policy starts after a boot
    #[arg(long)]
    to_boot: bool,

    /// Where images, volumes and containers are kept [default: /var/lib/dock]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
}

fn main() -> ExitCode {
    toolkit::main(run)
}

#[expect(clippy::needless_pass_by_value, reason = "toolkit::main gives them away")]
fn run(args: Args, out: &mut Out) -> anyhow::Result<()> {
    let root = toolkit::root_dir(args.root.as_deref());
    let containers = Containers::new(&root, &toolkit::run_dir());
    let format = args.format.as_deref().or(args.quiet.then_some("table"));
    let show = match (args.inspect, format) {
        (true, None) => Show::Elements,
        (true, Some("json")) | (false, Some("docker")) => Show::Objects,
        (true, Some(format)) => Show::Template(Template::parse(format).map_err(|error| usage(error.to_string()))?),
        (false, None) => Show::Records,
        (false, Some("image")) => Show::Images,
        (false, Some(format)) => {
            // Docker's words for a list of containers, and for no other.
            let wrong = |error: template::Error| usage(format!("failed to parse template: {}", error.cause()));
            Show::Listing(listing::parse(&args, format).map_err(wrong)?)
        }
    };
    let listed = if args.containers.is_empty() { select(&containers, &args)? } else { named(&containers, &args)? };
    if let Show::Listing(listing) = &show {
        return out.text(&listing::text(listing, &args, &listed)?);
    }
    for found in &listed {
        let object = || docker::object(found, args.size);
        let line = match &show {
            Show::Records => Record::Container(found.record()).to_line(),
            Show::Images => image_id(found)?,
            Show::Objects => object()?.to_string(),
            Show::Elements => template::element(&object()?),
            Show::Template(template) => template.render(&object()?)?,
            Show::Listing(_) => continue,
        };
        out.text(&(line + "\n"))?;
    }
    Ok(())
}

/// How each container is printed.
enum Show {
    Records,
    /// The image that each was made from.
    Images,
    /// docker inspect's object, on one line.
    Objects,
    /// The same, indented as in docker's array.
    Elements,
    /// The same, by a template.
    Template(Template),
    /// All of them, as docker ps does.
    Listing(Listing),
}

fn image_id(found: &Found) -> anyhow::Result<String> {
    found.meta.image_id.clone().with_context(|| format!("{}: made from no image that is known", found.meta.name))
}

/// Exactly those, in the order given.
fn named(containers: &Containers, args: &Args) -> anyhow::Result<Vec<Found>> {
    if args.all || args.latest || args.last.is_some() || args.to_boot || !args.filter.is_empty() {
        bail!(toolkit::usage(
            "CONTAINER operands name exactly what is listed: no --all, --latest, --last, --filter, --to-boot"
        ));
    }
    Ok(args.containers.iter().map(|operand| containers.find(operand)).collect::<Result<_, _>>()?)
}

/// Docker's rule: `-l` and `-n` look at all of them, and so does a filter that asks for a status.
fn select(containers: &Containers, args: &Args) -> anyhow::Result<Vec<Found>> {
    let last = if args.latest { Some(1) } else { args.last.and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0) };
    let filters = args.filter.iter().map(|filter| Filter::parse(filter, containers)).collect::<Result<Vec<_>, _>>()?;
    let all = args.all || args.to_boot || last.is_some() || filters.iter().any(Filter::asks_for_status);
    let (mut listed, mut damaged) = containers.look()?;
    if listed.iter().any(Found::is_left_over) {
        containers.sweep()?;
        (listed, damaged) = containers.look()?;
    }
    for one in damaged {
        toolkit::say(&format!("ctr-ls: note: {one}\nhint: ctr-rm --force {:.12} removes this container", one.id));
    }
    listed.retain(|found| all || matches!(found.status, Status::Running | Status::Paused | Status::Restarting));
    listed.retain(|found| !args.to_boot || found.comes_back());
    listed.retain(|found| filter::all_hold(&filters, found));
    listed.truncate(last.unwrap_or(usize::MAX));
    Ok(listed)
}

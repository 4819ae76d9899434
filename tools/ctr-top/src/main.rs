//! Shows the processes of a container as ps(1) does, or with `--stats` what containers use.
//!
//! Mechanism: for the host a container's processes are processes like any other; they are those of its PID
//! namespace and their children. What they use stands in /proc, and where the container has a cgroup, there for
//! all of them together, those that have ended included. By hand:
//!
//! ```sh
//! ns=$(readlink /proc/$pid/ns/pid)
//! for p in /proc/[0-9]*; do [ "$(readlink $p/ns/pid)" = "$ns" ] && ps -f -p ${p#/proc/}; done
//! cat /sys/fs/cgroup/dock/$id/cpu.stat /sys/fs/cgroup/dock/$id/memory.current
//! ```
//!
//! Read ps(1), proc(5), `pid_namespaces(7)`, cgroups(7).

#![forbid(unsafe_code)]

mod processes;
mod show;
mod usage;

use anyhow::bail;
use bundle::{Containers, Found};
use clap::Parser;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use toolkit::Out;
use usage::Sample;
use wire::Status;

/// Show the processes of a container, or what containers use
#[derive(Debug, Parser)]
#[command(name = "ctr-top", version, about)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of the command line")]
struct Args {
    /// Names, IDs or unique starts of IDs; with --stats all that run, when none is named
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,

    /// Show what the containers use, once a second, in place of their processes
    #[arg(long)]
    stats: bool,

    /// With --stats: once only
    #[arg(long, requires = "stats")]
    no_stream: bool,

    /// With --stats: also containers that do not run
    #[arg(short, long, requires = "stats")]
    all: bool,

    /// With --stats: print whole IDs
    #[arg(long, requires = "stats")]
    no_trunc: bool,

    /// With --stats: table, json, a Go template, or table and a template
    #[arg(long, value_name = "FORMAT", requires = "stats", default_value = "table", hide_default_value = true)]
    format: String,

    /// Where images, volumes and containers are kept [default: /var/lib/dock]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,

    /// Options of ps(1), in place of -ef
    #[arg(last = true, value_name = "PS OPTIONS")]
    ps: Vec<String>,
}

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    toolkit::main(run)
}

#[expect(clippy::needless_pass_by_value, reason = "toolkit::main gives them away")]
fn run(args: Args, out: &mut Out) -> anyhow::Result<()> {
    let containers = Containers::new(&toolkit::root_dir(args.root.as_deref()), &toolkit::run_dir());
    if args.stats {
        return stats(&args, &containers, out);
    }
    let [container] = &args.containers[..] else { return Err(toolkit::usage("name one container")) };
    let found = containers.find(container)?;
    let Some(started) = &found.started else { bail!("Container {} is not running", found.meta.id) };
    out.text(&processes::listing(started.pid, &args.ps)?)
}

/// Two looks give what happened between them.
fn stats(args: &Args, containers: &Containers, out: &mut Out) -> anyhow::Result<()> {
    let listing = show::parse(&args.format)?;
    let chosen = || -> anyhow::Result<Vec<Found>> {
        if args.containers.is_empty() {
            let (mut all, _) = containers.look()?;
            all.retain(|found| args.all || matches!(found.status, Status::Running | Status::Paused));
            return Ok(all);
        }
        Ok(args.containers.iter().map(|operand| containers.find(operand)).collect::<Result<_, _>>()?)
    };
    let mut before: Vec<(String, Sample)> = samples(&chosen()?);
    loop {
        std::thread::sleep(PAUSE);
        let found = chosen()?;
        let now = samples(&found);
        let rows: Vec<_> = found
            .iter()
            .zip(&now)
            .enumerate()
            .map(|(at, (found, (id, sample)))| {
                let earlier = before.iter().find(|(known, _)| known == id).map(|(_, sample)| sample);
                show::row(found, args.containers.get(at).map(String::as_str), sample, earlier, args.no_trunc)
            })
            .collect();
        let text = show::render(&rows, &listing)?;
        // A terminal shows the latest look only.
        let clear = if !args.no_stream && show::redraws() { "\x1b[2J\x1b[H" } else { "" };
        out.text(&format!("{clear}{text}"))?;
        out.finish()?;
        if args.no_stream {
            return Ok(());
        }
        before = now;
    }
}

fn samples(found: &[Found]) -> Vec<(String, Sample)> {
    let look = |found: &Found| found.started.as_ref().map(|started| Sample::take(started.pid)).unwrap_or_default();
    found.iter().map(|found| (found.meta.id.clone(), look(found))).collect()
}

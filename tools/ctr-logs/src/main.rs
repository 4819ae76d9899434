//! Prints what a container in the background has printed, its stdout to stdout, its stderr to stderr.
//!
//! Mechanism: the process that keeps the container writes one JSON object a line to `log.json` in its bundle,
//! as docker's json-file does. A file that has become too large is renamed to `log.json.1`. By hand:
//!
//! ```sh
//! tail -n +1 -F "/var/lib/dock/containers/$id/log.json" | jq --unbuffered -j .log
//! ```
//!
//! Read inotify(7), tail(1).

#![forbid(unsafe_code)]

mod entry;
mod files;
mod follow;

use anyhow::bail;
use bundle::Containers;
use clap::Parser;
use entry::{Moment, Shown};
use files::Files;
use std::path::PathBuf;
use std::process::ExitCode;
use toolkit::Out;

/// Print what a container has printed
#[derive(Debug, Parser)]
#[command(name = "ctr-logs", version, about)]
struct Args {
    /// A name, an ID or a unique start of one
    #[arg(value_name = "CONTAINER")]
    container: String,

    /// Go on with what it will print, until it has ended
    #[arg(short, long)]
    follow: bool,

    /// Only the last NUMBER lines, or all
    #[arg(short = 'n', long, value_name = "NUMBER", default_value = "all", allow_hyphen_values = true)]
    tail: String,

    /// Only from TIME on: 2026-01-02T03:04:05Z, seconds since 1970, or 10m for ten minutes ago
    #[arg(long, value_name = "TIME")]
    since: Option<String>,

    /// Only up to TIME
    #[arg(long, value_name = "TIME")]
    until: Option<String>,

    /// Print the time before each line
    #[arg(short, long)]
    timestamps: bool,

    /// Print before each line the labels and variables that --log-opt labels, env and their -regex chose
    #[arg(long)]
    details: bool,

    /// Where images, volumes and containers are kept [default: /var/lib/dock]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
}

fn main() -> ExitCode {
    toolkit::main(run)
}

#[expect(clippy::needless_pass_by_value, reason = "toolkit::main gives them away")]
fn run(args: Args, out: &mut Out) -> anyhow::Result<()> {
    let run = toolkit::run_dir();
    let found = Containers::new(&toolkit::root_dir(args.root.as_deref()), &run).find(&args.container)?;
    if found.meta.keeping().log_config.is_some_and(|config| config.kind == "none") {
        bail!("configured logging driver does not support reading");
    }
    let (since, until) = (moment("since", args.since.as_deref())?, moment("until", args.until.as_deref())?);
    let shown = Shown { since, until, timestamps: args.timestamps, details: args.details };
    // Before the first byte is read, so that nothing happens between reading and watching.
    let watch = if args.follow { Some(follow::Watch::begin(&found)?) } else { None };
    let mut files = Files::open(&found.dir, lines(&args.tail)?)?;
    loop {
        let more = watch.as_ref().map(follow::Watch::goes_on).transpose()?.unwrap_or(false);
        while let Some(line) = files.next_line()? {
            if !shown.print(&line, out)? {
                return Ok(());
            }
        }
        out.finish()?;
        match &watch {
            Some(watch) if more => watch.wait(shown.until)?,
            _ => return Ok(()),
        }
        if shown.is_over() {
            return Ok(());
        }
    }
}

/// Docker's words; nothing is no limit.
fn moment(option: &str, text: Option<&str>) -> anyhow::Result<Option<Moment>> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    text.parse().map(Some).map_err(|error| toolkit::usage(format!("invalid value for {option:?}: {error}")))
}

/// Docker's rule: what is no number, or negative, is all.
fn lines(tail: &str) -> anyhow::Result<Option<usize>> {
    match tail.parse::<i64>() {
        Ok(number) => Ok(usize::try_from(number).ok()),
        Err(_) if tail == "all" => Ok(None),
        Err(_) => Err(toolkit::usage(format!("--tail {tail}: want a number, or all"))),
    }
}

//! Prints what happens to containers: made, started, ended, renamed, removed.
//!
//! Mechanism: there is no daemon that could tell. Every tool that changes something appends a line to one file, and
//! who wants to know waits for the kernel's word that the file has grown:
//!
//! ```sh
//! tail -F /run/dock/events.json
//! ```
//!
//! Read inotify(7), open(2) (`O_APPEND`).

#![forbid(unsafe_code)]

mod filter;

use anyhow::Context;
use bundle::events;
use clap::Parser;
use filter::Filters;
use jiff::{SignedDuration, Timestamp, Zoned};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init};
use serde_json::Value;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::ExitCode;
use template::Template;
use toolkit::{Out, WithHint, usage};

/// Print what happens to containers
#[derive(Debug, Parser)]
#[command(name = "ctr-events", version, about)]
struct Args {
    /// Also those since then: a time, or so long ago as 10m
    #[arg(short, long, value_name = "TIME")]
    since: Option<String>,

    /// Only those until then; without it, for ever
    #[arg(short, long, value_name = "TIME")]
    until: Option<String>,

    /// Only those for which NAME=VALUE holds: container, event, image, label, type
    #[arg(short, long, value_name = "NAME=VALUE")]
    filter: Vec<String>,

    /// A Go template, or json
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
}

/// What to print, and how.
struct Wish {
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    filters: Filters,
    template: Option<Template>,
}

fn main() -> ExitCode {
    toolkit::main(run)
}

#[expect(clippy::needless_pass_by_value, reason = "toolkit::main gives them away")]
fn run(args: Args, out: &mut Out) -> anyhow::Result<()> {
    let template = match args.format.as_deref() {
        None => None,
        Some("json") => Some("{{json .}}"),
        Some(format) => Some(format),
    };
    let template = template.map(Template::parse).transpose().map_err(|error| usage(error.to_string()))?;
    let at = |text: &Option<String>| text.as_deref().map(time).transpose();
    let wish =
        Wish { since: at(&args.since)?, until: at(&args.until)?, filters: Filters::parse(&args.filter)?, template };
    let dir = toolkit::run_dir();
    // The watch comes first: what is written behind it wakes us.
    events::make_dir(&dir).with_context(|| dir.display().to_string())?;
    let watch = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    add_watch(&watch, &dir, WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO)?;
    let mut log = Log::open(&dir, wish.since.is_some());
    loop {
        for event in log.news(&dir) {
            wish.print(&event, out)?;
        }
        out.finish()?;
        let left = wish.patience();
        if left.is_negative() || left.is_zero() {
            return Ok(());
        }
        let left = Timespec { tv_sec: left.as_secs(), tv_nsec: left.subsec_nanos().into() };
        poll(&mut [PollFd::new(&watch, PollFlags::IN)], Some(&left))?;
        while rustix::io::read(&watch, &mut [0; 4096]).is_ok_and(|length| length > 0) {}
    }
}

impl Wish {
    /// How long to wait for more; nothing left when the time has come, an hour and again where it never does.
    fn patience(&self) -> SignedDuration {
        self.until.map_or(SignedDuration::from_hours(1), |until| until.duration_since(Timestamp::now()))
    }

    fn print(&self, event: &Value, out: &mut Out) -> anyhow::Result<()> {
        let at = Timestamp::from_nanosecond(event["timeNano"].as_i64().unwrap_or(0).into())?;
        let in_time = self.since.is_none_or(|since| at >= since) && self.until.is_none_or(|until| at <= until);
        if !in_time || !self.filters.let_pass(event) {
            return Ok(());
        }
        match &self.template {
            Some(template) => out.text(&(template.render(event)? + "\n")),
            None => out.text(&line(event, at)),
        }
    }
}

fn time(text: &str) -> anyhow::Result<Timestamp> {
    moment::parse(text, &Zoned::now())
        .hint(|| "want 2026-01-02T03:04:05Z, seconds since 1970, or a duration like 10m".into())
}

/// Docker's line.
fn line(event: &Value, at: Timestamp) -> String {
    let attributes = event["Actor"]["Attributes"].as_object().into_iter().flatten();
    let mut shown: Vec<String> =
        attributes.map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default())).collect();
    shown.sort();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (kind, action, id) = (text(&event["Type"]), text(&event["Action"]), text(&event["Actor"]["ID"]));
    format!("{at:.9} {kind} {action} {id} ({})\n", shown.join(", "))
}

/// The file that grows, and how far it was read.
struct Log {
    file: Option<File>,
    /// Read, and not yet a whole line.
    rest: Vec<u8>,
}

impl Log {
    /// From the older file on, or only from now on.
    fn open(dir: &Path, from_start: bool) -> Self {
        let [now, older] = events::files(dir);
        let mut log = Self { file: None, rest: Vec::new() };
        if from_start {
            log.rest = std::fs::read(older).unwrap_or_default();
            log.file = File::open(now).ok();
        } else {
            log.file = File::open(now).ok();
            if let Some(file) = &mut log.file {
                let _ = file.seek(SeekFrom::End(0));
            }
        }
        log
    }

    /// Whole lines that have come, also behind a change of the file.
    fn news(&mut self, dir: &Path) -> Vec<Value> {
        let [now, _] = events::files(dir);
        self.read();
        let here = self.file.as_ref().and_then(|file| file.metadata().ok()).map(|found| found.ino());
        if std::fs::metadata(&now).is_ok_and(|found| Some(found.ino()) != here) {
            self.file = File::open(now).ok();
            self.read();
        }
        let end = self.rest.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        let whole: Vec<u8> = self.rest.drain(..end).collect();
        whole.split(|b| *b == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
    }

    fn read(&mut self) {
        if let Some(file) = &mut self.file {
            let _ = file.read_to_end(&mut self.rest);
        }
    }
}

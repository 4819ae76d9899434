//! events: what a container uses, read from its cgroups, in runc's form.

use crate::cgroups;
use crate::store::{Status, Store};
use anyhow::{Context, bail};
use serde_json::{Map, Value, json};
use std::path::PathBuf;
use std::time::Duration;
use toolkit::Out;

#[derive(Debug, clap::Args)]
pub struct Options {
    /// ID of the container
    id: String,

    /// Print once and end
    #[arg(long)]
    stats: bool,

    /// Time between two lines, as 5s or 500ms
    #[arg(long, value_name = "TIME", default_value = "5s")]
    interval: String,
}

pub fn verb(store: &Store, options: &Options, out: &mut Out) -> anyhow::Result<()> {
    let interval = duration(&options.interval).with_context(|| format!("--interval {}: no time", options.interval))?;
    let container = store.find(&options.id)?;
    if container.status() == Status::Stopped {
        bail!("container with id {} is not running", options.id);
    }
    let groups = container.cgroups();
    let mut say = |kind: &str, data: Option<Value>| {
        let mut line = json!({ "type": kind, "id": options.id });
        line.as_object_mut().zip(data).map(|(line, data)| line.insert("data".into(), data));
        out.text(&format!("{line}\n"))?;
        out.finish()
    };
    let mut killed = 0;
    loop {
        let now = killed_for_memory(&groups);
        if now > killed && !options.stats {
            say("oom", None)?;
        }
        killed = now;
        say("stats", Some(stats(&groups)))?;
        if options.stats {
            return Ok(());
        }
        match container.process() {
            Some(process) if !process.ends_within(interval) => {}
            _ if killed_for_memory(&groups) > killed => return say("oom", None),
            _ => return Ok(()),
        }
    }
}

/// How many of its processes the kernel has killed for want of memory.
fn killed_for_memory(groups: &[PathBuf]) -> u64 {
    let text = cgroups::read(groups, &["memory.events", "memory.oom_control"]).unwrap_or_default();
    let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
    count.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
}

fn duration(text: &str) -> Option<Duration> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let number: u64 = text[..end].parse().ok()?;
    match &text[end..] {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_secs(number * 60)),
        _ => None,
    }
    .filter(|time| !time.is_zero())
}

fn stats(groups: &[PathBuf]) -> Value {
    let number = |files: &[&str]| {
        let text = cgroups::read(groups, files)?;
        if text == "max" { Some(u64::MAX) } else { text.parse::<u64>().ok() }
    };
    let members = |file: &[&str]| {
        let text = cgroups::read(groups, file).unwrap_or_default();
        let pair = |line: &str| {
            let (name, value) = line.split_once(' ')?;
            Some((name.to_owned(), Value::from(value.trim().parse::<u64>().ok()?)))
        };
        text.lines().filter_map(pair).collect::<Map<_, _>>()
    };
    let (cpu, v1) = (members(&["cpu.stat"]), members(&["cpuacct.stat"]));
    let micros = |name: &str| cpu.get(name).and_then(Value::as_u64).map(|micros| micros * 1000);
    // Version 1 counts these two in hundredths of a second.
    let ticks = |name: &str| v1.get(name).and_then(Value::as_u64).map(|ticks| ticks * 10_000_000);
    let memory = members(&["memory.stat"]);
    json!({
        "cpu": {
            "usage": {
                "total": number(&["cpuacct.usage"]).or_else(|| micros("usage_usec")).unwrap_or(0),
                "kernel": ticks("system").or_else(|| micros("system_usec")).unwrap_or(0),
                "user": ticks("user").or_else(|| micros("user_usec")).unwrap_or(0),
            },
            "throttling": {
                "periods": cpu.get("nr_periods"),
                "throttledPeriods": cpu.get("nr_throttled"),
                "throttledTime": cpu.get("throttled_time").and_then(Value::as_u64).or_else(|| micros("throttled_usec")),
            },
        },
        "memory": {
            "cache": memory.get("cache").or_else(|| memory.get("file")),
            "usage": {
                "limit": number(&["memory.limit_in_bytes", "memory.max"]),
                "usage": number(&["memory.usage_in_bytes", "memory.current"]),
                "max": number(&["memory.max_usage_in_bytes", "memory.peak"]),
                "failcnt": number(&["memory.failcnt"]).unwrap_or(0),
            },
            "raw": memory,
        },
        "pids": { "current": number(&["pids.current"]), "limit": number(&["pids.max"]).map(|max| if max == u64::MAX { 0 } else { max }) },
    })
}

//! Which system calls the container may make: docker's default profile, none, or that of a file.

use anyhow::{Context, bail};
use serde_json::Value;
use std::io::{self, Read};
use std::path::Path;

/// A profile that is longer was not written by anybody.
const MOST_BYTES: u64 = 4 << 20;

/// The default profile follows the capabilities, so it is made anew when they changed; another one, which
/// somebody chose, stays.
pub fn set(config: &mut Value, before: &[String], wish: Option<&str>) -> anyhow::Result<()> {
    let now = capabilities(config);
    let profile = match wish {
        Some("unconfined") => None,
        Some("builtin") => Some(default(&now)),
        Some(path) => Some(from_file(path, &now)?),
        None if config["linux"]["seccomp"] == default(before) => Some(default(&now)),
        None => return Ok(()),
    };
    match (profile, config["linux"].as_object_mut()) {
        (Some(profile), _) => config["linux"]["seccomp"] = profile,
        (None, Some(linux)) => drop(linux.shift_remove("seccomp")),
        (None, None) => {}
    }
    Ok(())
}

/// The bounding set: what the process, or a program that it runs, can ever have.
pub fn capabilities(config: &Value) -> Vec<String> {
    let list = config["process"]["capabilities"]["bounding"].as_array().into_iter().flatten();
    list.filter_map(|name| name.as_str().map(Into::into)).collect()
}

fn default(capabilities: &[String]) -> Value {
    let names: Vec<&str> = capabilities.iter().map(String::as_str).collect();
    bundle::default_seccomp(&names)
}

fn from_file(path: &str, capabilities: &[String]) -> anyhow::Result<Value> {
    let mut text = Vec::new();
    std::fs::File::open(Path::new(path)).and_then(|file| file.take(MOST_BYTES + 1).read_to_end(&mut text)).map_err(
        |error| {
            let why = match error.kind() {
                io::ErrorKind::NotFound => format!("open {path}: no such file or directory"),
                _ => error.to_string(),
            };
            toolkit::usage(format!("opening seccomp profile ({path}) failed: {why}"))
        },
    )?;
    if u64::try_from(text.len()).is_ok_and(|length| length > MOST_BYTES) {
        bail!("opening seccomp profile ({path}) failed: larger than {MOST_BYTES} bytes");
    }
    let profile = serde_json::from_slice(&text).with_context(|| format!("Decoding seccomp profile ({path}) failed"))?;
    let names: Vec<&str> = capabilities.iter().map(String::as_str).collect();
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    bundle::seccomp_from_docker(&profile, &names, &release).with_context(|| format!("seccomp profile ({path})"))
}

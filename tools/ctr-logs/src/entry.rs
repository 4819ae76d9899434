//! One line of the log: what it holds, whether it is wanted, where it goes.

use jiff::{Timestamp, Zoned};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::Write;
use std::str::FromStr;
use toolkit::Out;

#[derive(Debug, Deserialize)]
struct Entry {
    log: String,
    stream: String,
    #[serde(default)]
    attrs: BTreeMap<String, String>,
    time: Timestamp,
}

/// A time as docker takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(Timestamp);

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        moment::parse(text, &Zoned::now()).map(Self).map_err(|error| error.to_string())
    }
}

/// Which lines, and how.
#[derive(Debug)]
pub struct Shown {
    pub since: Option<Moment>,
    pub until: Option<Moment>,
    pub timestamps: bool,
    pub details: bool,
}

impl Shown {
    /// Prints a line of the log. False: it is later than all that are wanted.
    pub fn print(&self, line: &[u8], out: &mut Out) -> anyhow::Result<bool> {
        // A line that was cut by a full disk or a kill is no entry.
        let Ok(entry) = serde_json::from_slice::<Entry>(line) else { return Ok(true) };
        if self.since.is_some_and(|since| entry.time < since.0) {
            return Ok(true);
        }
        if self.until.is_some_and(|until| entry.time > until.0) {
            return Ok(false);
        }
        let mut start = if self.timestamps { format!("{:.9} ", entry.time) } else { String::new() };
        if self.details {
            let pairs: Vec<_> = entry.attrs.iter().map(|(k, v)| format!("{}={}", escaped(k), escaped(v))).collect();
            start += &(pairs.join(",") + " ");
        }
        if entry.stream == "stderr" {
            // What came before it on stdout comes before it here.
            out.finish()?;
            let mut stderr = std::io::stderr();
            stderr.write_all(start.as_bytes()).and_then(|()| stderr.write_all(entry.log.as_bytes()))?;
        } else {
            out.text(&start)?;
            out.text(&entry.log)?;
        }
        Ok(true)
    }

    /// Whether no later line can be wanted.
    pub fn is_over(&self) -> bool {
        self.until.is_some_and(|until| Timestamp::now() > until.0)
    }
}

/// As in the query of an address (application/x-www-form-urlencoded): no comma or blank of a value is taken for ours.
fn escaped(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        _ if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        b' ' => "+".into(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}

impl Moment {
    /// How far away it is; zero when it has been.
    pub fn away(self) -> std::time::Duration {
        std::time::Duration::try_from(self.0.duration_since(Timestamp::now())).unwrap_or_default()
    }
}

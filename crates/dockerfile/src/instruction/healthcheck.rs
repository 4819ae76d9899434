//! `HEALTHCHECK`: a probe, and how often.

use super::flags::flag;
use crate::parse::{Statement, json};
use anyhow::{Context, bail};

/// Nanoseconds, as docker stores them; 0 is "inherit".
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Healthcheck {
    /// `NONE`, or `CMD` and words, or `CMD-SHELL` and a line.
    pub test: Vec<String>,
    /// Between two probes.
    pub interval: u64,
    /// Of one probe.
    pub timeout: u64,
    /// In which failures do not count.
    pub start_period: u64,
    /// Between probes in the start period.
    pub start_interval: u64,
    /// Failures in a row that make it unhealthy.
    pub retries: u64,
}

pub(super) fn healthcheck(s: &Statement) -> anyhow::Result<Healthcheck> {
    let (kind, rest) = s.text.split_once(char::is_whitespace).unwrap_or((&s.text, ""));
    if kind.eq_ignore_ascii_case("none") {
        if !rest.is_empty() || !s.flags.is_empty() {
            bail!("HEALTHCHECK NONE takes nothing else");
        }
        return Ok(Healthcheck { test: vec!["NONE".into()], ..Healthcheck::default() });
    }
    if !kind.eq_ignore_ascii_case("cmd") {
        bail!("HEALTHCHECK wants NONE or CMD, not {kind:?}");
    }
    let rest = rest.trim();
    let test = match json(rest)? {
        Some(words) => [vec!["CMD".to_owned()], words].concat(),
        None if rest.is_empty() => bail!("HEALTHCHECK CMD needs a command"),
        None => vec!["CMD-SHELL".into(), rest.into()],
    };
    let time = |name: &str| -> anyhow::Result<u64> {
        let Some(text) = flag(s, name) else { return Ok(0) };
        let nanos =
            duration(&text).with_context(|| format!("HEALTHCHECK --{name}={text}: not a duration like 1m30s"))?;
        if nanos != 0 && nanos < 1_000_000 {
            bail!("HEALTHCHECK --{name}={text}: less than 1ms");
        }
        Ok(nanos)
    };
    let retries = match flag(s, "retries") {
        Some(text) => text.parse().with_context(|| format!("HEALTHCHECK --retries={text}"))?,
        None => 0,
    };
    Ok(Healthcheck {
        test,
        interval: time("interval")?,
        timeout: time("timeout")?,
        start_period: time("start-period")?,
        start_interval: time("start-interval")?,
        retries,
    })
}

/// Go's duration, `1h2m3.5s` or `100ms`, in nanoseconds.
pub fn duration(text: &str) -> Option<u64> {
    if text == "0" {
        return Some(0);
    }
    let (mut rest, mut total) = (text, 0f64);
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (value, tail) = rest.split_at(number);
        let end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let scale = match unit {
            "ns" => 1.0,
            "us" | "µs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return None,
        };
        total += value.parse::<f64>().ok()? * scale;
        rest = tail;
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked against the range")]
    (!text.is_empty() && total < 9e18).then_some(total.round() as u64)
}

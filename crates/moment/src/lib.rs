//! A point in time, as docker's command line takes it: `--since 10m`, `--filter until=2026-01-02`.
//!
//! A duration counts back from now; a whole number is seconds since 1970; anything else is RFC 3339, of which the
//! end may be wanting: the seconds, the minutes, the whole time of the day, and the zone, which is the caller's then.
//! The crate knows no clock and no zone: both come with `now`.
//!
//! Source: `GetTimestamp` of docker's api/types/time.

#![forbid(unsafe_code)]

use jiff::civil::DateTime;
use jiff::{SignedDuration, Timestamp, Zoned};

/// A text that means no time, in docker's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("failed to parse value as time or duration: {0:?}")]
pub struct NoTime(String);

/// What `text` means at `now`.
pub fn parse(text: &str, now: &Zoned) -> Result<Timestamp, NoTime> {
    let ago = || now.timestamp().checked_sub(text.parse::<SignedDuration>().ok()?).ok();
    seconds(text).or_else(ago).or_else(|| date(text, now)).ok_or_else(|| NoTime(text.into()))
}

/// `1767225600` or `1767225600.25`.
fn seconds(text: &str) -> Option<Timestamp> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    if part.is_empty() || part.len() > 9 || !part.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Timestamp::new(whole.parse().ok()?, format!("{part:0<9}").parse().ok()?).ok()
}

fn date(text: &str, now: &Zoned) -> Option<Timestamp> {
    let (day, rest) = text.split_at_checked("2026-01-02".len())?;
    let zone_starts = rest.find(['Z', 'z', '+', '-']).unwrap_or(rest.len());
    let (time, zone) = rest.split_at(zone_starts);
    let time = match time.len() {
        0 => "T00:00".into(),
        // jiff wants the minutes.
        3 => format!("{time}:00"),
        _ => time.to_owned(),
    };
    if zone.is_empty() {
        let local: DateTime = format!("{day}{time}").parse().ok()?;
        return local.to_zoned(now.time_zone().clone()).ok().map(|at| at.timestamp());
    }
    format!("{day}{time}{zone}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_docker_takes_is_taken() {
        let now: Zoned = "2026-01-01T02:10:00+02:00[+02:00]".parse().unwrap();
        for (text, want) in [
            ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
            ("2026-01-02T03:04:05.5+01:00", "2026-01-02T02:04:05.5Z"),
            ("2026-01-02T03:04Z", "2026-01-02T03:04:00Z"),
            ("2026-01-02T03Z", "2026-01-02T03:00:00Z"),
            ("2026-01-02Z", "2026-01-02T00:00:00Z"),
            ("2026-01-02-05:00", "2026-01-02T05:00:00Z"),
            // Without a zone it is the caller's.
            ("2026-01-02T03:04:05.25", "2026-01-02T01:04:05.25Z"),
            ("2026-01-02T03:04", "2026-01-02T01:04:00Z"),
            ("2026-01-02T03", "2026-01-02T01:00:00Z"),
            ("2026-01-02", "2026-01-01T22:00:00Z"),
            ("1767225600", "2026-01-01T00:00:00Z"),
            ("1767225600.5", "2026-01-01T00:00:00.5Z"),
            ("0", "1970-01-01T00:00:00Z"),
            ("10m", "2026-01-01T00:00:00Z"),
            ("9m30s", "2026-01-01T00:00:30Z"),
            ("24h", "2025-12-31T00:10:00Z"),
            ("0s", "2026-01-01T00:10:00Z"),
        ] {
            assert_eq!(parse(text, &now).map(|at| at.to_string()).as_deref(), Ok(want), "{text}");
        }
        for text in
            ["", "x", "yesterday", "5x", "1.x", "1.", "99999999999999", "2026-13-01", "2026-01-02 x", "2026-01-0é"]
        {
            assert_eq!(parse(text, &now), Err(NoTime(text.into())), "{text:?}");
        }
    }
}

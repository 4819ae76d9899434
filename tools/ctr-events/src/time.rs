//! Times as docker takes them.

use anyhow::{Context, bail};
use jiff::{SignedDuration, Timestamp};

/// RFC 3339, seconds since 1970 with or without a fraction, or a duration before now.
pub fn parse(text: &str, now: Timestamp) -> anyhow::Result<Timestamp> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at);
    }
    let (seconds, part) = text.split_once('.').unwrap_or((text, "0"));
    if let (Ok(seconds), true) = (seconds.parse::<i64>(), part.bytes().all(|b| b.is_ascii_digit()) && part.len() <= 9) {
        let nanos: i32 = format!("{part:0<9}").parse().with_context(|| format!("invalid time {text:?}"))?;
        return Ok(Timestamp::new(seconds, nanos)?);
    }
    match text.parse::<SignedDuration>() {
        Ok(ago) => Ok(now.checked_sub(ago)?),
        Err(_) => bail!("invalid time {text:?}: want 2026-01-02T03:04:05Z, seconds since 1970, or a duration like 10m"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_times() {
        let now: Timestamp = "2026-01-01T00:10:00Z".parse().unwrap();
        for (text, want) in [
            ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
            ("1767225600", "2026-01-01T00:00:00Z"),
            ("1767225600.5", "2026-01-01T00:00:00.5Z"),
            ("10m", "2026-01-01T00:00:00Z"),
            ("9m30s", "2026-01-01T00:00:30Z"),
            ("0", "1970-01-01T00:00:00Z"),
        ] {
            assert_eq!(parse(text, now).unwrap().to_string(), want, "{text}");
        }
        for text in ["", "x", "1.x", "99999999999999"] {
            assert!(parse(text, now).is_err(), "{text:?}");
        }
    }
}

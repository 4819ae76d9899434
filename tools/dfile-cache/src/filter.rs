//! `--filter` and `--keep-storage` of `docker builder prune`.

use crate::entry::Entry;
use jiff::Zoned;
use std::str::FromStr;
use std::time::SystemTime;

/// One filter. All must match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    /// Not used since.
    Until(SystemTime),
    Kind(String),
    /// The start of one.
    Id(String),
}

impl FromStr for Filter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=').ok_or("want KEY=VALUE")? {
            ("until" | "unused-for", value) => time(value).map(Self::Until),
            ("type", value) => Ok(Self::Kind(value.into())),
            ("id", value) => Ok(Self::Id(value.into())),
            (key, _) => Err(format!("invalid filter '{key}'")),
        }
    }
}

fn time(text: &str) -> Result<SystemTime, String> {
    moment::parse(text, &Zoned::now()).map(SystemTime::from).map_err(|error| error.to_string())
}

impl Filter {
    pub fn lets(&self, entry: &Entry) -> bool {
        match self {
            Self::Until(limit) => entry.used < *limit,
            Self::Kind(word) => entry.kind.word() == word,
            Self::Id(start) => entry.id.starts_with(start) || entry.id.starts_with(&format!("build-{start}")),
        }
    }
}

/// A number with a unit as docker's go-units reads it: powers of 1024, the unit in any case.
pub fn bytes(text: &str) -> Result<u64, String> {
    let wrong = || format!("invalid size: '{text}'");
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().map_err(|_| wrong())?;
    let unit = text[digits..].trim().to_ascii_lowercase();
    let unit = unit.strip_suffix("ib").or_else(|| unit.strip_suffix('b')).unwrap_or(&unit);
    let power = ["", "k", "m", "g", "t", "p"].iter().position(|known| *known == unit).ok_or_else(wrong)?;
    number.checked_mul(1 << (10 * power)).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, want) in [("0", 0), ("10", 10), ("2kb", 2048), ("3 MiB", 3 << 20), ("1G", 1 << 30), ("5b", 5)] {
            assert_eq!(bytes(text), Ok(want), "{text}");
        }
        for text in ["", "x", "1x", "-1", "99999999999P"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn filters() {
        assert_eq!("type=regular".parse(), Ok(Filter::Kind("regular".into())));
        assert!(matches!("until=24h".parse(), Ok(Filter::Until(then)) if then < SystemTime::now()));
        assert!("until=2020-01-01T00:00:00Z".parse::<Filter>().is_ok());
        for text in ["until=soon", "x=y", "until"] {
            assert!(text.parse::<Filter>().is_err(), "{text}");
        }
    }
}

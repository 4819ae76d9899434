//! What docker's client says of a value that an option does not take.

use clap::builder::TypedValueParser;
use clap::error::ErrorKind;
use clap::{Arg, Command};
use std::ffi::OsStr;
use std::fmt::Display;

/// A mistake on the command line; `flag` as docker shows it, `-m, --memory`.
pub fn refused(flag: &str, text: &str, why: impl Display) -> anyhow::Error {
    toolkit::usage(words(flag, text, why))
}

fn words(flag: &str, text: &str, why: impl Display) -> String {
    format!("invalid argument {text:?} for {flag:?} flag: {why}")
}

/// Parses an option's whole number; what is none is refused as Go refuses it.
#[derive(Debug, Clone, Copy)]
pub struct Whole {
    function: &'static str,
    least: i64,
    most: i64,
}

/// Go's `int64`, and its `int` on machines of our days.
pub const INT: Whole = Whole { function: "ParseInt", least: i64::MIN, most: i64::MAX };
/// Go's `uint16`.
pub const UINT16: Whole = Whole { function: "ParseUint", least: 0, most: u16::MAX as i64 };

impl Whole {
    /// The number, or what Go says.
    pub fn number(self, text: &str) -> Result<i64, String> {
        let digits = if self.least < 0 { text.strip_prefix(['-', '+']).unwrap_or(text) } else { text };
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let range = self.least..=self.most;
        match text.parse() {
            Ok(number) if is_number && range.contains(&number) => Ok(number),
            _ if is_number => Err(format!("strconv.{}: parsing {text:?}: value out of range", self.function)),
            _ => Err(format!("strconv.{}: parsing {text:?}: invalid syntax", self.function)),
        }
    }
}

impl TypedValueParser for Whole {
    type Value = i64;

    fn parse_ref(&self, _: &Command, option: Option<&Arg>, value: &OsStr) -> Result<i64, clap::Error> {
        let text = value.to_string_lossy();
        let short = option.and_then(Arg::get_short).map_or_else(String::new, |short| format!("-{short}, "));
        let long = option.and_then(Arg::get_long).unwrap_or_default();
        self.number(&text)
            .map_err(|why| clap::Error::raw(ErrorKind::ValueValidation, words(&format!("{short}--{long}"), &text, why)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_go_s() {
        assert_eq!((INT.number("-5"), INT.number("+7"), UINT16.number("65535")), (Ok(-5), Ok(7), Ok(65535)));
        for (kind, text, words) in [
            (INT, "", "strconv.ParseInt: parsing \"\": invalid syntax"),
            (INT, "1.5", "strconv.ParseInt: parsing \"1.5\": invalid syntax"),
            (INT, "9223372036854775808", "strconv.ParseInt: parsing \"9223372036854775808\": value out of range"),
            (UINT16, "-1", "strconv.ParseUint: parsing \"-1\": invalid syntax"),
            (UINT16, "+1", "strconv.ParseUint: parsing \"+1\": invalid syntax"),
            (UINT16, "65536", "strconv.ParseUint: parsing \"65536\": value out of range"),
        ] {
            assert_eq!(kind.number(text), Err(words.into()), "{text:?}");
        }
    }
}

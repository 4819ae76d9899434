//! What docker's client says of a value that an option does not take.

use std::fmt::Display;

/// A mistake on the command line; `flag` as docker shows it, `-m, --memory`.
pub fn refused(flag: &str, text: &str, why: impl Display) -> anyhow::Error {
    toolkit::usage(format!("invalid argument {text:?} for {flag:?} flag: {why}"))
}

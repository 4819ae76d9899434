//! Errors for people: one line, a hint, an exit code.

use wire::exit;

/// An error that knows its exit code or carries a hint. It travels inside an [`anyhow::Error`].
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    message: String,
    code: Option<u8>,
    hint: Option<String>,
}

impl Failure {
    /// A failure that ends the tool with `code`.
    pub fn with_code(code: u8, message: impl Into<String>) -> anyhow::Error {
        Self { message: message.into(), code: Some(code), hint: None }.into()
    }
}

/// A mistake in the command line that clap cannot see: exit code 2 (125 for ctr-spawn and ctr-exec).
pub fn usage(message: impl Into<String>) -> anyhow::Error {
    Failure::with_code(exit::USAGE, message)
}

/// Adds the second line of an error: what the reader can do.
pub trait WithHint<T> {
    /// The hint is printed below the error, as `hint: …`.
    fn hint(self, hint: impl FnOnce() -> String) -> anyhow::Result<T>;
}

impl<T, E: Into<anyhow::Error>> WithHint<T> for Result<T, E> {
    fn hint(self, hint: impl FnOnce() -> String) -> anyhow::Result<T> {
        self.map_err(|error| {
            let error = error.into();
            Failure { message: joined(&error), code: code_of(&error), hint: Some(hint()) }.into()
        })
    }
}

/// What fails of several things, none of which keeps the others from their turn, as docker has it: each failure is
/// lines of its own, and the last one is what the tool ends with.
#[derive(Debug)]
pub struct Failures(&'static str, Option<anyhow::Error>);

impl Failures {
    /// Nothing has failed yet in the tool of this name.
    pub fn of(tool: &'static str) -> Self {
        Self(tool, None)
    }

    /// Remembers a failure, and says the one before it.
    pub fn add(&mut self, error: anyhow::Error) {
        if let Some(earlier) = self.1.replace(error) {
            report(self.0, &earlier);
        }
    }

    /// The last failure, not said yet.
    pub fn finish(self) -> anyhow::Result<()> {
        self.1.map_or(Ok(()), Err)
    }
}

/// The exit code that an error carries, if it does.
pub fn code_of(error: &anyhow::Error) -> Option<u8> {
    error.chain().find_map(|cause| cause.downcast_ref::<Failure>()?.code)
}

pub(crate) fn code(error: &anyhow::Error, failed: u8, usage: u8) -> u8 {
    code_of(error).map_or(failed, |code| if code == exit::USAGE { usage } else { code })
}

/// The causes one after the other; one that the message before it ends with already is not said twice.
fn joined(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if !line.ends_with(&cause) {
            line += if line.is_empty() { "" } else { ": " };
            line += &cause;
        }
    }
    line
}

/// How the lines start that docker's client says itself, whatever it says before others.
const CLIENTS: [&str; 3] = ["invalid argument ", "template parsing error: ", "You cannot attach to a "];

/// Says an error as `main` does when it ends the tool: one line, whatever the causes contain; then the hint. `dock` asks
/// for docker's words by what it wants before them.
pub fn report(tool: &str, error: &anyhow::Error) {
    let line = joined(error).replace(['\n', '\r'], " ");
    say(&match std::env::var("DOCK_ERROR_PREFIX") {
        Err(_) => format!("{tool}: {line}"),
        // What docker's client finds, its daemon has no part in.
        Ok(_) if CLIENTS.iter().any(|start| line.starts_with(start)) => line,
        // The tool before this one in the pipe has said why.
        Ok(_) if line.starts_with("no ") && line.ends_with(" record on <stdin>") => return,
        Ok(prefix) if code_of(error) == Some(exit::USAGE) => prefix.replace("Error response from daemon: ", "") + &line,
        Ok(prefix) => prefix + &line,
    });
    if let Some(hint) = error.chain().find_map(|cause| cause.downcast_ref::<Failure>()?.hint.as_ref()) {
        say(&format!("hint: {hint}"));
    }
}

/// Two lines: what was wrong, and where to read more, which `dock` says itself. Never the whole help.
pub(crate) fn print_usage_error(tool: &str, error: &clap::Error) {
    let text = error.render().to_string();
    let what: Vec<&str> = text
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"))
        .filter(|l| !l.is_empty())
        .collect();
    let what = what.join(" ").replace(" tip: ", "; ");
    report(tool, &usage(what.strip_prefix("error: ").unwrap_or(&what)));
    if std::env::var_os("DOCK_ERROR_PREFIX").is_none() {
        say(&format!("Try '{tool} --help'."));
    }
}

/// One line for whoever looks on. When nobody reads stderr any more there is nowhere to report that: `eprintln!` would
/// end the process in the middle of its work.
pub fn say(line: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_said_once() {
        let denied = || std::io::Error::from_raw_os_error(13);
        let said = anyhow::Error::new(denied()).context(format!("openat(\"x\"): {}", denied())).context("img");
        assert_eq!(joined(&said), format!("img: openat(\"x\"): {}", denied()));
        assert_eq!(joined(&anyhow::Error::new(denied()).context("img")), format!("img: {}", denied()));
    }
}

//! Environment variables as docker's options and files give them.

use crate::config::set_env;
use std::io;
use std::path::{Path, PathBuf};

/// Why an assignment is none; docker's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvError {
    /// Nothing before the `=`.
    #[error("invalid environment variable: {0}")]
    Invalid(String),
    /// The same in a file.
    #[error("no variable name on line '{0}'")]
    NoName(String),
    /// A blank in a name, in a file.
    #[error("variable '{0}' contains whitespaces")]
    Blank(String),
}

/// Why a file of assignments is none; docker's words, and Go's.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("open {}: {}", .0.display(), match .1.kind() { io::ErrorKind::NotFound => "no such file or directory".into(), _ => .1.to_string() })]
    Open(PathBuf, io::Error),
    /// A line is not UTF-8.
    #[error("invalid env file ({}): invalid utf8 bytes at line {}", .0.display(), .1)]
    NotText(PathBuf, usize),
    /// A line is no assignment.
    #[error("invalid env file ({}): {}", .0.display(), .1)]
    Line(PathBuf, EnvError),
}

/// Whether an assignment names something.
pub fn check(assignment: &str) -> Result<(), EnvError> {
    let names = !assignment.is_empty() && !assignment.starts_with('=');
    if names { Ok(()) } else { Err(EnvError::Invalid(assignment.into())) }
}

/// Sets `NAME=value`. `NAME` alone takes the value that `outer` has for it; where that has none, the variable
/// goes.
pub fn assign(env: &mut Vec<String>, assignment: &str, outer: impl Fn(&str) -> Option<String>) -> Result<(), EnvError> {
    check(assignment)?;
    if assignment.contains('=') {
        set_env(env, assignment);
        return Ok(());
    }
    match outer(assignment) {
        Some(value) => set_env(env, &format!("{assignment}={value}")),
        None => env.retain(|old| old.split('=').next() != Some(assignment)),
    }
    Ok(())
}

/// Reads [`of_file`].
pub fn read_file(path: &Path, outer: impl Fn(&str) -> Option<String>) -> Result<Vec<String>, FileError> {
    let bytes = std::fs::read(path).map_err(|cause| FileError::Open(path.into(), cause))?;
    if let Some(bad) = bytes.split(|b| *b == b'\n').position(|line| std::str::from_utf8(line).is_err()) {
        return Err(FileError::NotText(path.into(), bad + 1));
    }
    of_file(&String::from_utf8_lossy(&bytes), outer).map_err(|why| FileError::Line(path.into(), why))
}

/// The assignments of an `--env-file`, one a line; `#` starts a comment line. A name alone that `outer` does not
/// have is left out.
fn of_file(text: &str, outer: impl Fn(&str) -> Option<String>) -> Result<Vec<String>, EnvError> {
    let mut assignments = Vec::new();
    for line in text.trim_start_matches('\u{feff}').lines().map(str::trim_start) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let name = line.split('=').next().unwrap_or(line);
        if name.is_empty() {
            return Err(EnvError::NoName(line.into()));
        }
        if name.contains(char::is_whitespace) {
            return Err(EnvError::Blank(name.into()));
        }
        if line.contains('=') || outer(name).is_some() {
            assignments.push(line.into());
        }
    }
    Ok(assignments)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outer(name: &str) -> Option<String> {
        (name == "SET").then(|| "outer".into())
    }

    #[test]
    fn the_last_one_wins_and_a_bare_name_is_the_callers() {
        let mut env = vec!["A=1".to_owned(), "GONE=1".into()];
        for assignment in ["A=2", "B=x=y", "SET", "GONE"] {
            assign(&mut env, assignment, outer).unwrap();
        }
        assert_eq!(env, ["A=2", "B=x=y", "SET=outer"]);
        assert!(assign(&mut env, "=x", outer).is_err() && assign(&mut env, "", outer).is_err());
    }

    #[test]
    fn a_file_is_read_as_docker_reads_it() {
        let text = "\u{feff}# no\n\n  A=1 # yes\nSET\nUNSET\nB=";
        assert_eq!(of_file(text, outer).unwrap(), ["A=1 # yes", "SET", "B="]);
        assert!(of_file("=x", outer).is_err() && of_file("a b=x", outer).is_err());
    }
}

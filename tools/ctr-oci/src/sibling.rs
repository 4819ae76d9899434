//! The tools that lie beside this one.

use anyhow::Context;
use std::path::PathBuf;
use std::process::Command;

/// A command line of the sibling. Standard descriptors, and those that are to be preserved, are passed on as they are.
pub fn command(name: &str) -> anyhow::Result<Command> {
    Ok(Command::new(path(name)?))
}

/// A command line for the log, without what may be a secret.
pub fn shown(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    for word in command.get_args().map(|word| word.to_string_lossy().into_owned()) {
        let value_of = words.last().is_some_and(|last| last == "--env").then(|| word.split_once('=')).flatten();
        words.push(value_of.map_or(word.clone(), |(name, _)| format!("{name}=...")));
    }
    format!("run {words:?}")
}

fn path(name: &str) -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("/proc/self/exe")?;
    Ok(own.with_file_name(name))
}

/// What a sibling said in its log: the error, if there is one, and notes.
pub fn said(log: &str, name: &str) -> (Option<String>, Vec<String>) {
    let (mut error, mut notes) = (None, Vec::new());
    for line in log.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": ")) {
        match line.strip_prefix("note: ") {
            Some(note) => notes.push(note.to_owned()),
            None => error = Some(line.to_owned()),
        }
    }
    (error, notes)
}

/// The words by which dockerd and podman tell 127 and 126 from other errors, added where ours are different.
pub fn in_words_of_runc(error: &str, code: Option<i32>) -> String {
    let words = match code {
        Some(127) if error.contains("not found in the container's PATH") => "executable file not found in $PATH",
        Some(127) => "no such file or directory",
        Some(126) => "permission denied",
        _ => return error.to_owned(),
    };
    if error.to_lowercase().contains(words) { error.to_owned() } else { format!("{error}: {words}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_told_from_notes() {
        let log = "ctr-spawn: note: less\nctr-spawn: exec: x: not found in the container's PATH\nhint: y\n";
        let (error, notes) = said(log, "ctr-spawn");
        assert_eq!(notes, ["less"]);
        let error = in_words_of_runc(&error.unwrap(), Some(127));
        assert_eq!(error, "exec: x: not found in the container's PATH: executable file not found in $PATH");
        assert_eq!(in_words_of_runc("x", Some(125)), "x");
    }
}

//! Git repositories as contexts and as sources of ADD: the git program fetches one commit and checks it out.
//!
//! ```sh
//! git init -q DIR; git -C DIR fetch -q --depth 1 URL REF; git -C DIR checkout -q FETCH_HEAD
//! ```

use crate::siblings::Siblings;
use anyhow::{Context, bail};
use std::path::Path;
use std::process::{Command, Stdio};

/// `URL#REF:DIRECTORY`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    pub url: String,
    /// A branch, a tag or a commit; empty is what the other side has as HEAD.
    reference: String,
    /// In the checked-out tree; empty is all of it.
    pub directory: String,
}

/// What was checked out.
#[derive(Debug)]
pub struct Commit {
    id: String,
    /// Of its committer, in seconds since 1970.
    pub time: i64,
}

impl Repository {
    /// Docker's rule of what is a git URL: by its scheme, or http(s) whose path ends in `.git`.
    pub fn of(word: &str) -> Option<Self> {
        let (url, fragment) = word.split_once('#').unwrap_or((word, ""));
        let is_http = url.starts_with("http://") || url.starts_with("https://");
        let by_scheme = ["git://", "ssh://", "git@", "github.com/"].iter().any(|start| url.starts_with(start));
        let is_repository = by_scheme || (is_http && url.strip_suffix(".git").is_some());
        if !is_repository {
            return None;
        }
        let url = if url.starts_with("github.com/") { format!("https://{url}") } else { url.to_owned() };
        let (reference, directory) = fragment.split_once(':').unwrap_or((fragment, ""));
        Some(Self { url, reference: reference.into(), directory: directory.trim_matches('/').into() })
    }
}

impl Commit {
    /// `--checksum`: the commit, or how it starts.
    pub fn check(&self, wanted: Option<&str>) -> anyhow::Result<()> {
        match wanted {
            Some(wanted) if wanted.len() < 7 || !self.id.starts_with(wanted) => {
                bail!("--checksum={wanted}: the commit is {}", self.id)
            }
            _ => Ok(()),
        }
    }
}

/// Checks one commit out into `dir`, which is not there yet, without `.git` unless it is asked for.
pub fn fetch(repository: &Repository, dir: &Path, keep_git: bool, siblings: &Siblings) -> anyhow::Result<Commit> {
    let Repository { url, reference, .. } = repository;
    // git would take it for an option.
    if reference.starts_with('-') {
        bail!("{url}#{reference}: not a reference");
    }
    let git = |args: &[&str]| run(args, dir, siblings).with_context(|| url.clone());
    std::fs::create_dir(dir).with_context(|| dir.display().to_string())?;
    // A mode of files that does not depend on whose shell this is.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    git(&["init", "--quiet"])?;
    let wanted = if reference.is_empty() { "HEAD" } else { reference };
    if git(&["fetch", "--quiet", "--depth=1", "--no-tags", "--", url, wanted]).is_ok() {
        git(&["checkout", "--quiet", "--detach", "FETCH_HEAD"])?;
    } else {
        // Not every server gives a commit that is no tip: then everything is fetched to find it.
        git(&["fetch", "--quiet", "--", url, "+refs/*:refs/fetched/*"])?;
        let id = git(&["rev-parse", "--verify", "--quiet", &format!("{wanted}^{{commit}}")])
            .with_context(|| format!("{wanted}: no such branch, tag or commit"))?;
        git(&["checkout", "--quiet", "--detach", id.trim()])?;
    }
    git(&["submodule", "--quiet", "update", "--init", "--recursive", "--depth=1"])?;
    let line = git(&["log", "-1", "--format=%H %ct"])?;
    let (id, time) = line.trim().split_once(' ').context("git log: no commit")?;
    let commit = Commit { id: id.into(), time: time.parse()? };
    if !keep_git {
        std::fs::remove_dir_all(dir.join(".git")).context(".git: remove")?;
    }
    Ok(commit)
}

/// No configuration of this machine or user, no question on a terminal, no program from the repository.
fn run(args: &[&str], dir: &Path, siblings: &Siblings) -> anyhow::Result<String> {
    let mut command = Command::new("git");
    command.env_clear().envs(siblings.passed()).current_dir(dir).stdin(Stdio::null());
    command.envs([("GIT_CONFIG_NOSYSTEM", "1"), ("GIT_CONFIG_GLOBAL", "/dev/null"), ("GIT_TERMINAL_PROMPT", "0")]);
    command.env("GIT_ALLOW_PROTOCOL", "git:http:https:ssh").env("GIT_SSH_COMMAND", "ssh -o BatchMode=yes");
    // Whoever has the keys of this user may fetch what they open.
    command.envs(std::env::var_os("SSH_AUTH_SOCK").map(|socket| ("SSH_AUTH_SOCK", socket)));
    for setting in ["core.hooksPath=/dev/null", "advice.detachedHead=false", "init.defaultBranch=main"] {
        command.args(["-c", setting]);
    }
    let output = command.args(args).output().context("git: execvp: a git context needs the git program")?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        bail!("git {}: {}", args[0], text.lines().next_back().unwrap_or("failed"));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_repository() {
        let parts = |word: &str| Repository::of(word).map(|r| (r.url, r.reference, r.directory));
        for (word, url, reference, directory) in [
            ("https://h/r.git", "https://h/r.git", "", ""),
            ("git://h/r#v1:a/b", "git://h/r", "v1", "a/b"),
            ("git@h:o/r.git#:d/", "git@h:o/r.git", "", "d"),
            ("github.com/o/r#main", "https://github.com/o/r", "main", ""),
        ] {
            assert_eq!(parts(word), Some((url.into(), reference.into(), directory.into())), "{word}");
        }
        for word in ["https://h/r.tar.gz", "./r.git", "r.git", "dir", "file:///r.git", "ext::sh -c x"] {
            assert_eq!(parts(word), None, "{word}");
        }
    }
}

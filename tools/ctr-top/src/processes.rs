//! The host's ps(1), and of what it prints the lines of the container's processes: docker's way, which gives
//! every column that ps knows.

use anyhow::{Context, bail};
use std::process::Command;

pub fn listing(first: i32, options: &[String]) -> anyhow::Result<String> {
    let usual = ["-ef".to_owned()];
    let options = if options.is_empty() { &usual[..] } else { options };
    let output = Command::new("ps").args(options).output().context("ps")?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        bail!("ps: {}", why.lines().next().unwrap_or("failed"));
    }
    // Asked after ps has looked: who has ended since is not listed, who has come since is not there.
    let wanted = linux_sandbox::processes_of(first);
    select(&String::from_utf8_lossy(&output.stdout), |pid| wanted.contains(&pid))
}

/// The heading, and the lines whose PID is wanted.
fn select(listing: &str, wanted: impl Fn(i32) -> bool) -> anyhow::Result<String> {
    let heading = listing.lines().next().unwrap_or_default();
    let column =
        heading.split_whitespace().position(|word| word == "PID").context("Couldn't find PID field in ps output")?;
    let pid = |line: &&str| line.split_whitespace().nth(column).and_then(|word| word.parse().ok());
    let lines = listing.lines().skip(1).filter(|line| pid(line).is_some_and(&wanted));
    Ok(std::iter::once(heading).chain(lines).fold(String::new(), |text, line| text + line + "\n"))
}

#[cfg(test)]
mod tests {
    use super::select;

    #[test]
    fn lines_are_chosen_by_the_column_pid() {
        let listing = "UID  PID PPID CMD\nroot 10  1    sh 12\nroot 12  10   sleep 10\nroot x\n";
        assert_eq!(select(listing, |pid| pid == 12).unwrap(), "UID  PID PPID CMD\nroot 12  10   sleep 10\n");
        assert!(select("UID CMD\n", |_| true).is_err());
    }
}

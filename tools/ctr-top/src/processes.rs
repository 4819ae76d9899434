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
    let columns = heading.split_whitespace().count();
    let rows: Vec<_> = std::iter::once(heading).chain(lines).map(|line| cells(line, columns)).collect();
    Ok(aligned(&rows))
}

/// The words of a line; the last column takes all that are left.
fn cells(line: &str, columns: usize) -> Vec<String> {
    let mut words = line.split_whitespace().map(str::to_owned);
    let mut cells: Vec<String> = words.by_ref().take(columns - 1).collect();
    cells.push(words.collect::<Vec<_>>().join(" "));
    cells
}

/// Docker's columns: as wide as the widest cell and three spaces, at least 20.
fn aligned(rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count() + 3).max().unwrap_or(0).max(20)
    };
    let last = rows.first().map_or(0, |row| row.len() - 1);
    let widths: Vec<usize> = (0..last).map(width).collect();
    let mut text = String::new();
    for row in rows {
        for (cell, width) in row.iter().zip(&widths) {
            text.extend([cell.as_str(), &" ".repeat(width.saturating_sub(cell.chars().count()))]);
        }
        text.extend(row.last().map(String::as_str).into_iter().chain(["\n"]));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{aligned, cells, select};

    #[test]
    fn lines_are_chosen_by_the_column_pid() {
        let listing = "UID  PID PPID CMD\nroot 10  1    sh 12\nroot 12  10   sleep 10\nroot x\n";
        let row = |uid, pid, ppid| format!("{uid:20}{pid:20}{ppid:20}");
        let want = format!("{}CMD\n{}sleep 10\n", row("UID", "PID", "PPID"), row("root", "12", "10"));
        assert_eq!(select(listing, |pid| pid == 12).unwrap(), want);
        let wide = aligned(&[cells("A B", 2), cells("eighteen-letters-x  b  c", 2)]);
        assert_eq!(wide, format!("{:21}B\n{:21}b c\n", "A", "eighteen-letters-x"));
        assert!(select("UID CMD\n", |_| true).is_err());
    }
}

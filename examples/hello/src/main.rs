//! The demo's container: greets, then says what a process in a container can see of the machine.
//! Everything comes from procfs and three system calls' files, so that the same lines run anywhere.

use std::fs;
use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    let report = format!(
        "Hello from a container that no daemon runs.\n\n\
         process ID   {}\n\
         host name    {}\n\
         user         {}\n\
         mounts       {}\n\
         processes    {}\n",
        std::process::id(),
        line("/proc/sys/kernel/hostname"),
        user(),
        list(&mounts()),
        list(&processes()),
    );
    match std::io::stdout().write_all(report.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn line(path: &str) -> String {
    fs::read_to_string(path).map_or_else(|error| format!("({path}: {error})"), |text| text.trim().to_owned())
}

/// The effective IDs, and who they are outside when a user namespace maps them.
fn user() -> String {
    let status = line("/proc/self/status");
    let id = |name: &str| {
        let fields = status.lines().find_map(|line| line.strip_prefix(name));
        fields.and_then(|fields| fields.split_whitespace().nth(1)).unwrap_or("?").to_owned()
    };
    let map = line("/proc/self/uid_map").split_whitespace().collect::<Vec<_>>().join(" ");
    format!("uid {} gid {} (uid_map {map})", id("Uid:"), id("Gid:"))
}

/// Mount points and file system types, in mount order.
fn mounts() -> Vec<String> {
    line("/proc/self/mounts")
        .lines()
        .filter_map(|mount| {
            let mut fields = mount.split(' ').skip(1);
            Some(format!("{} ({})", fields.next()?, fields.next()?))
        })
        .collect()
}

/// The processes that procfs shows, which in a new PID namespace are its own only.
fn processes() -> Vec<String> {
    let Ok(entries) = fs::read_dir("/proc") else { return vec!["(no /proc)".into()] };
    let mut pids: Vec<u32> = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    pids.iter().map(|pid| format!("{pid} {}", line(&format!("/proc/{pid}/comm")))).collect()
}

/// One a line, aligned with the first.
fn list(items: &[String]) -> String {
    items.join("\n             ")
}

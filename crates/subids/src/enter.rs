//! A user namespace with a mapping. Who is in the new namespace has no right to map what is outside, so a process
//! that stays behind runs the two helpers.

use crate::{Error, Mapping, Range, Result};
use rustix::thread::UnshareFlags;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where they are: not by PATH, which the user may have changed for other reasons.
const PLACES: [&str; 4] = ["/usr/bin", "/bin", "/usr/local/bin", "/run/wrappers/bin"];

/// newuidmap(1) and newgidmap(1).
pub fn helpers() -> Result<[PathBuf; 2]> {
    let find = |name: &str| {
        let mut places = PLACES.iter().map(|place| Path::new(place).join(name));
        let none = || Error::Helper(format!("{name}: not on this host: it comes with the package uidmap"));
        places.find(|path| path.exists()).ok_or_else(none)
    };
    Ok([find("newuidmap")?, find("newgidmap")?])
}

/// Waits for the word that the namespace is there, then maps. Its arguments: our process ID, and program and numbers
/// of each map.
const SCRIPT: &str = r#"read -r go && "$2" "$1" $3 && "$4" "$1" $5"#;

pub fn namespace(mapping: &Mapping) -> Result<()> {
    let [users, groups] = helpers()?;
    let own = std::process::id().to_string();
    let mut helper = Command::new("/bin/sh");
    helper.args(["-c", SCRIPT, "sh", &own]).arg(users).arg(words(&mapping.users));
    helper.arg(groups).arg(words(&mapping.groups));
    let io = |cause| Error::Io("/bin/sh".into(), cause);
    let mut helper = helper.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().map_err(io)?;
    #[expect(deprecated, reason = "what is unsafe about it is CLONE_FILES, which this is not")]
    let made = rustix::thread::unshare(UnshareFlags::NEWUSER);
    // Without the word it ends, and does nothing.
    let word = if made.is_ok() { "go\n" } else { "" };
    let told = helper.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(word.as_bytes()));
    let output = helper.wait_with_output().map_err(io)?;
    made.map_err(|cause| {
        // Without the number that Rust adds.
        let cause = cause.to_string();
        let cause = cause.split(" (os error").next().unwrap_or_default();
        Error::Unshare(crate::obstacle().map_or_else(|| cause.to_owned(), |why| format!("{cause}: {why}")))
    })?;
    told.or_else(|cause| if cause.kind() == ErrorKind::BrokenPipe { Ok(()) } else { Err(io(cause)) })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.lines().next().unwrap_or("newuidmap: failed");
    Err(Error::Helper(crate::powerless().map_or_else(|| said.to_owned(), |why| format!("{said}: {why}"))))
}

fn words(map: &[Range]) -> String {
    let line = |range: &Range| format!("{} {} {}", range.inside, range.outside, range.count);
    map.iter().map(line).collect::<Vec<_>>().join(" ")
}

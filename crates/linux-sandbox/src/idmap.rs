//! `user_namespaces(7)`: which user outside is which user inside.

use crate::error::{Call, Error, Result};
use crate::steps::{Mechanism, Scene};
use rustix::fs::{Gid, Uid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use serde::Serialize;
use std::fmt::Write as _;

/// `count` IDs from `inside` on are the IDs from `outside` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct IdRange {
    /// First ID in the container.
    pub inside: u32,
    /// First ID on the host.
    pub outside: u32,
    /// How many.
    pub count: u32,
}

/// Writes the two maps of the process that waits. Without root the kernel takes one ID each, and only after
/// `setgroups` has been given up (CVE-2014-8989).
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IdMap {
    /// For `/proc/PID/uid_map`.
    pub users: Vec<IdRange>,
    /// For `/proc/PID/gid_map`.
    pub groups: Vec<IdRange>,
    /// Writes `deny` to `/proc/PID/setgroups` first.
    pub deny_setgroups: bool,
    /// More than one ID without root: newuidmap(1) and newgidmap(1) write the maps, from the ranges that
    /// subuid(5) and subgid(5) give to this user.
    #[serde(rename = "byHelpers", skip_serializing_if = "std::ops::Not::not")]
    pub by_helpers: bool,
}

pub(crate) fn text(map: &[IdRange]) -> String {
    map.iter().fold(String::new(), |mut text, range| {
        let _ = writeln!(text, "{} {} {}", range.inside, range.outside, range.count);
        text
    })
}

fn words(map: &[IdRange]) -> Vec<String> {
    map.iter().flat_map(|range| [range.inside, range.outside, range.count]).map(|number| number.to_string()).collect()
}

/// A set-user-ID program of the host's that checks what this user may map.
fn help(name: &str, pid: i32, map: &[IdRange]) -> Result<()> {
    let line = || format!("{name} {pid} {}", words(map).join(" "));
    let output = std::process::Command::new(name).arg(pid.to_string()).args(words(map)).output();
    let output = match output {
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => {
            return Err(Error::refused(format!("{name}: not on this host: it comes with the package uidmap")));
        }
        other => other.call(line)?,
    };
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Error::refused(format!("{}: {}", line(), said.lines().next().unwrap_or("failed"))))
}

impl IdMap {
    fn files(&self) -> impl Iterator<Item = (&'static str, String)> {
        let deny = self.deny_setgroups.then(|| ("setgroups", "deny\n".to_owned()));
        deny.into_iter().chain([("uid_map", text(&self.users)), ("gid_map", text(&self.groups))])
    }
}

impl Mechanism for IdMap {
    fn shell(&self) -> String {
        if self.by_helpers {
            let line = |name: &str, map: &[IdRange]| format!("{name} $pid {}", words(map).join(" "));
            return crate::steps::all([line("newuidmap", &self.users), line("newgidmap", &self.groups)]);
        }
        crate::steps::all(self.files().map(|(file, text)| format!("echo '{}' >/proc/$pid/{file}", text.trim_end())))
    }

    fn run(&self, scene: &mut Scene) -> Result<()> {
        let pid = scene.pid.map_or(0, |pid| pid.as_raw_nonzero().get());
        if self.by_helpers {
            return help("newuidmap", pid, &self.users).and_then(|()| help("newgidmap", pid, &self.groups));
        }
        for (file, text) in self.files() {
            let path = format!("/proc/{pid}/{file}");
            std::fs::write(&path, &text).call(|| format!("write({path:?}, {:?})", text.trim_end()))?;
        }
        Ok(())
    }
}

/// Becomes user 0 of the new user namespace. Root of the host has no ID in there, and who has none can make no
/// file.
#[derive(Debug, Serialize)]
pub struct NamespaceRoot {}

impl Mechanism for NamespaceRoot {
    fn shell(&self) -> String {
        "exec setpriv --clear-groups --regid 0 --reuid 0 sh".into()
    }

    fn run(&self, _: &mut Scene) -> Result<()> {
        set_thread_groups(&[]).call(|| "setgroups([])".into())?;
        set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT).call(|| "setresgid(0)".into())?;
        set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT).call(|| "setresuid(0)".into())
    }
}

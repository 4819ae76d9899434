//! Whose files one may make. Root of the machine: everybody's. An ordinary user: his own, and with ranges of his in
//! `/etc/subuid` those of a user namespace, in which he is root: `user_namespaces(7)`, newuidmap(1), subuid(5).

use anyhow::{Context, bail};
use layer_tar::Owners;
use rustix::thread::UnshareFlags;
use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use toolkit::WithHint;

/// The IDs of a user namespace: first inside, first outside, how many.
pub struct Map(Vec<[u32; 3]>);

/// The users of the user namespace that we are in.
pub fn users() -> anyhow::Result<Map> {
    Map::read("/proc/self/uid_map")
}

/// Its groups.
pub fn groups() -> anyhow::Result<Map> {
    Map::read("/proc/self/gid_map")
}

impl Map {
    fn read(file: &str) -> anyhow::Result<Self> {
        let text = fs::read_to_string(file).context(file.to_owned())?;
        let line = |line: &str| -> Option<[u32; 3]> {
            line.split_whitespace().map(|word| word.parse().ok()).collect::<Option<Vec<_>>>()?.try_into().ok()
        };
        text.lines().map(line).collect::<Option<_>>().map(Self).with_context(|| format!("{file}: malformed"))
    }

    /// The first user namespace of the machine.
    pub fn is_everything(&self) -> bool {
        matches!(self.0[..], [[0, 0, u32::MAX]])
    }

    /// An ID beyond the map cannot own a file.
    pub fn must_have(&self, id: u32, what: &str) -> anyhow::Result<()> {
        if self.0.iter().any(|[inside, _, count]| id.checked_sub(*inside).is_some_and(|at| at < *count)) {
            return Ok(());
        }
        let have: u64 = self.0.iter().map(|[_, _, count]| u64::from(*count)).sum();
        Err(anyhow::anyhow!("{what} ID {id} owns files in it, and there are {have} {what} IDs here"))
            .hint(|| format!("a larger range in /etc/sub{}id (usermod(8)), or --owners mine", &what[..1]))
    }

    /// As a runtime configuration has it.
    pub fn json(&self) -> Value {
        let range =
            |[inside, outside, count]: &[u32; 3]| json!({ "containerID": inside, "hostID": outside, "size": count });
        self.0.iter().map(range).collect()
    }
}

/// As who we are may.
pub fn owners() -> anyhow::Result<Owners> {
    Ok(match (rustix::process::geteuid().is_root(), users()?.is_everything()) {
        (true, true) => Owners::Keep,
        (true, false) => Owners::Mapped,
        (false, _) => Owners::Mine,
    })
}

/// Becomes root of a new user namespace with the caller as its user 0, and his ranges from 1 on. The maps are
/// written from outside, by the set-uid programs that know who may have which range.
pub fn become_root_of_own() -> anyhow::Result<()> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let (users, groups) = (range("/etc/subuid", uid)?, range("/etc/subgid", uid)?);
    let mut helper = Command::new("/bin/sh")
        .args([
            "-c",
            r#"read -r go && newuidmap "$1" 0 "$2" 1 1 "$4" "$5" && newgidmap "$1" 0 "$3" 1 1 "$6" "$7""#,
            "sh",
        ])
        .args([std::process::id(), uid, gid, users.0, users.1, groups.0, groups.1].map(|number| number.to_string()))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .context("/bin/sh")?;
    #[expect(deprecated, reason = "what is unsafe about it is CLONE_FILES, which this is not")]
    rustix::thread::unshare(UnshareFlags::NEWUSER).context("unshare(CLONE_NEWUSER)").hint(|| {
        "does this machine let ordinary users have user namespaces? (sysctl user.max_user_namespaces)".into()
    })?;
    let go = helper.stdin.take().map(|mut stdin| stdin.write_all(b"go\n"));
    go.transpose().context("/bin/sh")?;
    if !helper.wait().context("/bin/sh")?.success() {
        bail!("newuidmap: the ranges of /etc/subuid and /etc/subgid could not be mapped");
    }
    Ok(())
}

/// The user's first range: `NAME:FIRST:COUNT`, the name or the number of the user.
fn range(file: &str, uid: u32) -> anyhow::Result<(u32, u32)> {
    let text = fs::read_to_string(file).context(file.to_owned())?;
    let name = name_of(uid);
    let found = text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let who = fields.next()?;
        let mine = Some(who) == name.as_deref() || who.parse() == Ok(uid);
        let numbers = (fields.next()?.trim().parse().ok()?, fields.next()?.trim().parse().ok()?);
        mine.then_some(numbers)
    });
    found
        .with_context(|| format!("{file}: no range for user {}", name.unwrap_or_else(|| uid.to_string())))
        .hint(|| "usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER, or --owners mine".into())
}

fn name_of(uid: u32) -> Option<String> {
    let passwd = fs::read_to_string("/etc/passwd").ok()?;
    let mut lines = passwd.lines().map(|line| line.split(':'));
    lines.find_map(|mut fields| {
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

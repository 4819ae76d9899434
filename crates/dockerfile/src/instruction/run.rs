//! `RUN`: a command, a script, and what it has beside the image.

use super::flags::{flag, flags};
use super::{Command, command};
use crate::mount::Mount;
use crate::parse::Statement;
use crate::words::{self, Lookup};
use anyhow::bail;

/// `RUN`, with what the command has beside the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// What is executed.
    pub command: Command,
    /// A here-document that starts with `#!` is a script of its own: its name and text.
    pub script: Option<(String, String)>,
    /// Each `--mount`, as written until [`Run::mounts`].
    pub mounts: Vec<String>,
    /// `--network`
    pub network: Network,
    /// `--security`
    pub security: Security,
}

/// Which network a RUN has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Network {
    /// That of the build.
    #[default]
    Default,
    /// Loopback only.
    None,
    /// The host's.
    Host,
}

/// How a RUN is isolated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Security {
    /// As any container is.
    #[default]
    Sandbox,
    /// With all rights; the caller must have allowed it.
    Insecure,
}

impl Run {
    /// The mounts, with variables put in.
    pub fn mounts(&self, escape: char, lookup: Lookup<'_>) -> anyhow::Result<Vec<Mount>> {
        self.mounts.iter().map(|text| Mount::parse(text, escape, lookup)).collect()
    }
}

/// A single here-document is the command itself; several, or a command before it, are put together again for
/// the shell to read.
pub(super) fn run(s: &Statement, escape: char) -> anyhow::Result<Run> {
    let network = match flag(s, "network").as_deref() {
        None | Some("default") => Network::Default,
        Some("none") => Network::None,
        Some("host") => Network::Host,
        Some(other) => bail!("RUN --network={other}: want default, none or host"),
    };
    let security = match flag(s, "security").as_deref() {
        None | Some("sandbox") => Security::Sandbox,
        Some("insecure") => Security::Insecure,
        Some(other) => bail!("RUN --security={other}: want sandbox or insecure"),
    };
    let mounts = flags(s, "mount");
    // What has variables is checked when they are known.
    for text in mounts.iter().filter(|text| !text.contains('$')) {
        Mount::parse(text, escape, &|_| None)?;
    }
    let (command, script) = run_command(s)?;
    Ok(Run { command, script, mounts, network, security })
}

fn run_command(s: &Statement) -> anyhow::Result<(Command, Option<(String, String)>)> {
    let Some(first) = s.heredocs.first() else { return Ok((command(s)?, None)) };
    let alone = s.heredocs.len() == 1 && s.text.starts_with("<<") && words::first(&s.text, '\\').1.is_empty();
    if alone && first.content.starts_with("#!") {
        let command = Command::Exec(vec![format!("/dev/pipes/{}", first.name)]);
        return Ok((command, Some((first.name.clone(), first.content.clone()))));
    }
    if alone {
        return Ok((Command::Shell(first.content.clone()), None));
    }
    let mut text = s.text.clone();
    for document in &s.heredocs {
        text.push('\n');
        text.push_str(&document.content);
        text.push_str(&document.name);
    }
    Ok((Command::Shell(text), None))
}

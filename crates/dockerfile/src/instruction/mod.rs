//! Statements to typed instructions, and which of their words are expanded. A flag that nobody knows is an error with
//! its line, never skipped.

mod copy;
mod expand;
mod flags;
mod healthcheck;
mod pairs;
mod run;
mod slip;
#[cfg(test)]
mod tests;

pub use copy::Copy;
pub use healthcheck::{Healthcheck, duration};
pub use run::{Network, Run, Security};

use crate::parse::Statement;
use crate::words;
use anyhow::bail;
use copy::copy;
use flags::{check_flags, flag};
use healthcheck::healthcheck;
use pairs::{arg, list, pairs};
use run::run;
use slip::distance;

/// Every instruction of the Dockerfile reference.
const NAMES: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// What one statement asks for. Words are as written until [`Instruction::expanded`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the instruction of the Dockerfile reference")]
pub enum Instruction {
    From { image: String, platform: Option<String>, name: Option<String> },
    Arg(Vec<(String, Option<String>)>),
    Env(Vec<(String, String)>),
    Label(Vec<(String, String)>),
    Expose(Vec<String>),
    Volume(Vec<String>),
    Workdir(String),
    User(String),
    StopSignal(String),
    Maintainer(String),
    Cmd(Command),
    Entrypoint(Command),
    Shell(Vec<String>),
    Healthcheck(Healthcheck),
    Onbuild(String),
    Run(Run),
    Copy(Copy),
}

/// `["a","b"]` is executed as it is; anything else goes to the shell of SHELL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// The words of the array.
    Exec(Vec<String>),
    /// A line for the shell.
    Shell(String),
}

impl Instruction {
    /// Gives a statement its meaning.
    pub fn of(statement: &Statement, escape: char) -> anyhow::Result<Self> {
        let s = statement;
        if !NAMES.contains(&s.name.as_str()) {
            return Err(unknown(&s.name));
        }
        if s.text.is_empty() {
            bail!("{} needs at least one argument", s.name);
        }
        let allowed: &[&str] = match s.name.as_str() {
            "FROM" => &["platform"],
            "RUN" => &["mount", "network", "security"],
            "COPY" => &["from", "chown", "chmod", "link", "parents", "exclude"],
            "ADD" => &["chown", "chmod", "link", "exclude", "checksum", "keep-git-dir", "unpack"],
            "HEALTHCHECK" => &["interval", "timeout", "start-period", "start-interval", "retries"],
            _ => &[],
        };
        check_flags(s, allowed)?;
        let one = || Ok::<_, anyhow::Error>(s.text.clone());
        Ok(match s.name.as_str() {
            "FROM" => from(s)?,
            "ARG" => Self::Arg(words::split(&s.text, escape).iter().map(|w| arg(w)).collect::<anyhow::Result<_>>()?),
            "ENV" => Self::Env(pairs(s, escape)?),
            "LABEL" => Self::Label(pairs(s, escape)?),
            "EXPOSE" => Self::Expose(s.text.split_whitespace().map(Into::into).collect()),
            "VOLUME" => Self::Volume(list(s)?),
            "WORKDIR" => Self::Workdir(one()?),
            "USER" => Self::User(one()?),
            "STOPSIGNAL" => Self::StopSignal(one()?),
            "MAINTAINER" => Self::Maintainer(one()?),
            "CMD" => Self::Cmd(command(s)?),
            "ENTRYPOINT" => Self::Entrypoint(command(s)?),
            "SHELL" => match s.json()? {
                Some(words) if !words.is_empty() => Self::Shell(words),
                _ => bail!("SHELL wants a JSON array: SHELL [\"/bin/bash\", \"-c\"]"),
            },
            "HEALTHCHECK" => Self::Healthcheck(healthcheck(s)?),
            "ONBUILD" => onbuild(s, escape)?,
            "RUN" => Self::Run(run(s, escape)?),
            _ => Self::Copy(copy(s, escape)?),
        })
    }
}

/// The nearest instruction, when it is near enough to be a slip of the finger.
fn unknown(name: &str) -> anyhow::Error {
    let near = NAMES.iter().map(|known| (distance(name, known), known)).min();
    match near {
        Some((far, known)) if far <= 2 => anyhow::anyhow!("unknown instruction {name:?}: did you mean {known}?"),
        _ => anyhow::anyhow!("unknown instruction {name:?}"),
    }
}

/// `FROM image [AS name]`
fn from(s: &Statement) -> anyhow::Result<Instruction> {
    let words: Vec<&str> = s.text.split_whitespace().collect();
    let (image, name) = match words[..] {
        [image] => (image, None),
        [image, by, name] if by.eq_ignore_ascii_case("as") => (image, Some(name.to_ascii_lowercase())),
        _ => bail!("FROM wants an image, or: IMAGE AS NAME"),
    };
    if let Some(name) = &name {
        let rest = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b);
        if !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.bytes().all(rest) {
            bail!("{name:?} is not a stage name: a letter, then letters, digits, - _ .");
        }
    }
    Ok(Instruction::From { image: image.into(), platform: flag(s, "platform"), name })
}

fn command(s: &Statement) -> anyhow::Result<Command> {
    Ok(s.json()?.map_or_else(|| Command::Shell(s.text.clone()), Command::Exec))
}

fn onbuild(s: &Statement, escape: char) -> anyhow::Result<Instruction> {
    let inner = Statement::from_line(&s.text, s.line, escape)?;
    match inner.name.as_str() {
        "ONBUILD" | "FROM" | "MAINTAINER" => bail!("{} is not allowed after ONBUILD", inner.name),
        _ => {}
    }
    Instruction::of(&Statement { heredocs: s.heredocs.clone(), ..inner }, escape)?;
    // The trigger is read again in another file: with its here-documents.
    let documents = s.heredocs.iter().map(|document| format!("\n{}{}", document.content, document.name));
    Ok(Instruction::Onbuild(s.text.clone() + &documents.collect::<String>()))
}

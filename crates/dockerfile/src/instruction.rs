//! Statements to typed instructions, and which of their words are expanded. A flag that nobody knows is an error with
//! its line, never skipped.

use crate::mount::Mount;
use crate::parse::{Flag, Heredoc, Statement, json};
use crate::words::{self, Lookup};
use anyhow::{Context, bail};

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

/// `COPY` or `ADD`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the instruction")]
pub struct Copy {
    /// ADD unpacks local archives and fetches.
    pub add: bool,
    /// A stage, an image or a named context.
    pub from: Option<String>,
    /// `user:group`, names or numbers.
    pub chown: Option<String>,
    /// Octal or symbolic, once its variables are put in.
    pub chmod: Option<String>,
    /// The layer does not look at what is below it.
    pub link: bool,
    /// Sources keep their directories, from `/./` on.
    pub parents: bool,
    /// Patterns of what is left out.
    pub exclude: Vec<String>,
    /// What a fetched file must hash to.
    pub checksum: Option<String>,
    /// Of a git repository, keep `.git`.
    pub keep_git_dir: bool,
    /// Whether archives are unpacked; when unsaid, local ones are and fetched ones are not.
    pub unpack: Option<bool>,
    /// Paths, patterns, URLs.
    pub sources: Vec<String>,
    /// Files whose content stands in the Dockerfile itself.
    pub inline: Vec<Heredoc>,
    /// A directory when it ends in a slash.
    pub destination: String,
}

/// Nanoseconds, as docker stores them; 0 is "inherit".
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Healthcheck {
    /// `NONE`, or `CMD` and words, or `CMD-SHELL` and a line.
    pub test: Vec<String>,
    /// Between two probes.
    pub interval: u64,
    /// Of one probe.
    pub timeout: u64,
    /// In which failures do not count.
    pub start_period: u64,
    /// Between probes in the start period.
    pub start_interval: u64,
    /// Failures in a row that make it unhealthy.
    pub retries: u64,
}

impl Run {
    /// The mounts, with variables put in.
    pub fn mounts(&self, escape: char, lookup: Lookup<'_>) -> anyhow::Result<Vec<Mount>> {
        self.mounts.iter().map(|text| Mount::parse(text, escape, lookup)).collect()
    }
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

    /// Puts variables in, where the builder does that: not in RUN, CMD, ENTRYPOINT, whose shell does it.
    pub fn expanded(&self, escape: char, lookup: Lookup<'_>) -> anyhow::Result<Self> {
        let word = |w: &String| words::expand(w, escape, lookup);
        let maybe = |w: &Option<String>| w.as_ref().map(word).transpose();
        let all = |list: &[String]| list.iter().map(word).collect::<anyhow::Result<Vec<_>>>();
        let both = |list: &[(String, String)]| -> anyhow::Result<Vec<_>> {
            list.iter().map(|(name, value)| Ok((word(name)?, word(value)?))).collect()
        };
        Ok(match self {
            Self::From { image, platform, name } => {
                Self::From { image: word(image)?, platform: maybe(platform)?, name: name.clone() }
            }
            Self::Arg(list) => {
                Self::Arg(list.iter().map(|(n, v)| Ok((word(n)?, maybe(v)?))).collect::<anyhow::Result<_>>()?)
            }
            Self::Env(list) => Self::Env(both(list)?),
            Self::Label(list) => Self::Label(both(list)?),
            Self::Expose(list) => {
                Self::Expose(all(list)?.iter().flat_map(|w| w.split_whitespace()).map(Into::into).collect())
            }
            Self::Volume(list) => Self::Volume(all(list)?),
            Self::Workdir(text) => Self::Workdir(word(text)?),
            Self::User(text) => Self::User(word(text)?),
            Self::StopSignal(text) => Self::StopSignal(word(text)?),
            Self::Copy(copy) => {
                let inline = copy.inline.iter().map(|document| {
                    let mut document = document.clone();
                    if document.expand {
                        document.content = words::expand_text(&document.content, escape, lookup)?;
                    }
                    Ok(document)
                });
                Self::Copy(Copy {
                    chown: maybe(&copy.chown)?,
                    chmod: maybe(&copy.chmod)?,
                    exclude: all(&copy.exclude)?,
                    checksum: maybe(&copy.checksum)?,
                    sources: all(&copy.sources)?,
                    destination: word(&copy.destination)?,
                    inline: inline.collect::<anyhow::Result<_>>()?,
                    ..copy.clone()
                })
            }
            other => other.clone(),
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

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().take(64).enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, y) in b.chars().enumerate() {
            let change = corner + usize::from(x != y);
            corner = row[j + 1];
            row[j + 1] = change.min(corner + 1).min(row[j] + 1);
        }
    }
    row[row.len() - 1]
}

/// Those that may stand without a value, and those that may stand more than once.
const SWITCHES: [&str; 4] = ["link", "parents", "keep-git-dir", "unpack"];
const LISTS: [&str; 2] = ["mount", "exclude"];

fn check_flags(s: &Statement, allowed: &[&str]) -> anyhow::Result<()> {
    for (index, Flag { name, value }) in s.flags.iter().enumerate() {
        let name = name.as_str();
        if !allowed.contains(&name) {
            let near = allowed.iter().map(|known| (distance(name, known), known)).min();
            match near {
                Some((far, known)) if far <= 2 => bail!("{} has no flag --{name}: did you mean --{known}?", s.name),
                _ => bail!("{} has no flag --{name}", s.name),
            }
        }
        if value.is_none() && !SWITCHES.contains(&name) {
            bail!("{} --{name} needs a value: --{name}=…", s.name);
        }
        if !LISTS.contains(&name) && s.flags[..index].iter().any(|other| other.name == name) {
            bail!("{} --{name} stands twice", s.name);
        }
    }
    Ok(())
}

fn flag(s: &Statement, name: &str) -> Option<String> {
    s.flags.iter().find(|flag| flag.name == name).and_then(|flag| flag.value.clone())
}

/// All values of a flag, in order.
fn flags(s: &Statement, name: &str) -> Vec<String> {
    s.flags.iter().filter(|flag| flag.name == name).filter_map(|flag| flag.value.clone()).collect()
}

/// `--link`, `--link=true`, `--link=false`; none when it does not stand there.
fn switch(s: &Statement, name: &str) -> anyhow::Result<Option<bool>> {
    let Some(found) = s.flags.iter().find(|flag| flag.name == name) else { return Ok(None) };
    match found.value.as_deref() {
        None | Some("true" | "1" | "t" | "T" | "TRUE" | "True") => Ok(Some(true)),
        Some("false" | "0" | "f" | "F" | "FALSE" | "False") => Ok(Some(false)),
        Some(other) => bail!("{} --{name}={other}: want true or false", s.name),
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

fn arg(word: &str) -> anyhow::Result<(String, Option<String>)> {
    let (name, value) = match word.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (word, None),
    };
    if name.is_empty() {
        bail!("ARG {word}: the name is empty");
    }
    Ok((name.into(), value))
}

/// `k=v k2="v 2"`, or the old form `k the rest of the line`. The words keep their quotes.
fn pairs(s: &Statement, escape: char) -> anyhow::Result<Vec<(String, String)>> {
    let words = words::split(&s.text, escape);
    let first = words.first().context("no words")?;
    if !first.contains('=') {
        let (name, rest) = s
            .text
            .split_once(char::is_whitespace)
            .with_context(|| format!("{} {first}: want {0} NAME=VALUE", s.name))?;
        return Ok(vec![(name.into(), rest.trim().into())]);
    }
    let pair = |word: &String| match word.split_once('=') {
        Some(("", _)) => bail!("{} {word}: the name is empty", s.name),
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None => bail!("{}: no = in {word:?}: want NAME=VALUE", s.name),
    };
    words.iter().map(pair).collect()
}

/// A JSON array or words.
fn list(s: &Statement) -> anyhow::Result<Vec<String>> {
    let words = s.json()?.unwrap_or_else(|| s.text.split_whitespace().map(Into::into).collect());
    if words.is_empty() || words.iter().any(String::is_empty) {
        bail!("{} has an empty argument", s.name);
    }
    Ok(words)
}

fn command(s: &Statement) -> anyhow::Result<Command> {
    Ok(s.json()?.map_or_else(|| Command::Shell(s.text.clone()), Command::Exec))
}

/// A single here-document is the command itself; several, or a command before it, are put together again for
/// the shell to read.
fn run(s: &Statement, escape: char) -> anyhow::Result<Run> {
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

fn copy(s: &Statement, escape: char) -> anyhow::Result<Copy> {
    let mut words = match s.json()? {
        Some(words) => words,
        None if s.heredocs.is_empty() => s.text.split_whitespace().map(Into::into).collect(),
        None => words::split(&s.text, escape),
    };
    let destination = words.pop().unwrap_or_default();
    if words.is_empty() {
        bail!("{} needs at least one source and a destination", s.name);
    }
    let before = words.len();
    if !s.heredocs.is_empty() {
        words.retain(|word| !word.starts_with("<<"));
    }
    if before - words.len() != s.heredocs.len() {
        bail!("{}: the destination cannot be a here-document", s.name);
    }
    let add = s.name == "ADD";
    if before > 1 && !is_directory_form(&destination) {
        bail!("{} has more than one source: the destination {destination:?} must end with /", s.name);
    }
    Ok(Copy {
        add,
        from: flag(s, "from"),
        chown: flag(s, "chown"),
        chmod: flag(s, "chmod"),
        link: switch(s, "link")?.unwrap_or(false),
        parents: switch(s, "parents")?.unwrap_or(false),
        exclude: flags(s, "exclude"),
        checksum: flag(s, "checksum"),
        keep_git_dir: switch(s, "keep-git-dir")?.unwrap_or(false),
        unpack: switch(s, "unpack")?,
        sources: words,
        inline: s.heredocs.clone(),
        destination,
    })
}

/// `.`, `..` and what ends in a slash; a variable may turn out to.
fn is_directory_form(destination: &str) -> bool {
    destination.ends_with('/')
        || matches!(destination, "." | "..")
        || destination.ends_with("/.")
        || destination.contains('$')
}

fn healthcheck(s: &Statement) -> anyhow::Result<Healthcheck> {
    let (kind, rest) = s.text.split_once(char::is_whitespace).unwrap_or((&s.text, ""));
    if kind.eq_ignore_ascii_case("none") {
        if !rest.is_empty() || !s.flags.is_empty() {
            bail!("HEALTHCHECK NONE takes nothing else");
        }
        return Ok(Healthcheck { test: vec!["NONE".into()], ..Healthcheck::default() });
    }
    if !kind.eq_ignore_ascii_case("cmd") {
        bail!("HEALTHCHECK wants NONE or CMD, not {kind:?}");
    }
    let rest = rest.trim();
    let test = match json(rest)? {
        Some(words) => [vec!["CMD".to_owned()], words].concat(),
        None if rest.is_empty() => bail!("HEALTHCHECK CMD needs a command"),
        None => vec!["CMD-SHELL".into(), rest.into()],
    };
    let time = |name: &str| -> anyhow::Result<u64> {
        let Some(text) = flag(s, name) else { return Ok(0) };
        let nanos =
            duration(&text).with_context(|| format!("HEALTHCHECK --{name}={text}: not a duration like 1m30s"))?;
        if nanos != 0 && nanos < 1_000_000 {
            bail!("HEALTHCHECK --{name}={text}: less than 1ms");
        }
        Ok(nanos)
    };
    let retries = match flag(s, "retries") {
        Some(text) => text.parse().with_context(|| format!("HEALTHCHECK --retries={text}"))?,
        None => 0,
    };
    Ok(Healthcheck {
        test,
        interval: time("interval")?,
        timeout: time("timeout")?,
        start_period: time("start-period")?,
        start_interval: time("start-interval")?,
        retries,
    })
}

/// Go's duration, `1h2m3.5s` or `100ms`, in nanoseconds.
pub fn duration(text: &str) -> Option<u64> {
    if text == "0" {
        return Some(0);
    }
    let (mut rest, mut total) = (text, 0f64);
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (value, tail) = rest.split_at(number);
        let end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let scale = match unit {
            "ns" => 1.0,
            "us" | "µs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return None,
        };
        total += value.parse::<f64>().ok()? * scale;
        rest = tail;
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked against the range")]
    (!text.is_empty() && total < 9e18).then_some(total.round() as u64)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::parse;

    fn instruction(text: &str) -> anyhow::Result<Instruction> {
        let file = parse(text.as_bytes(), "Dockerfile").unwrap();
        Instruction::of(&file.statements[0], file.escape)
    }

    fn pairs_of(text: &str) -> Vec<(String, String)> {
        let lookup = |name: &str| (name == "x").then(|| "X".to_owned());
        match instruction(text).unwrap().expanded('\\', &lookup).unwrap() {
            Instruction::Env(list) | Instruction::Label(list) => list,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn names_and_values() {
        let one = |a: &str, b: &str| vec![(a.to_owned(), b.to_owned())];
        assert_eq!(pairs_of("ENV a=b"), one("a", "b"));
        assert_eq!(pairs_of("ENV a b  c"), one("a", "b  c"));
        assert_eq!(pairs_of("ENV a=\"b c\""), one("a", "b c"));
        assert_eq!(pairs_of("ENV a=b\\ c"), one("a", "b c"));
        assert_eq!(pairs_of("ENV a='$x'"), one("a", "$x"));
        assert_eq!(pairs_of("LABEL \"a b\"=$x"), one("a b", "X"));
        assert_eq!(pairs_of("ENV a=1 b=${x:-2} c="), [one("a", "1"), one("b", "X"), one("c", "")].concat());
    }

    #[test]
    fn mistakes_are_named() {
        for (text, want) in [
            ("RUNN x", "unknown instruction \"RUNN\": did you mean RUN?"),
            ("CPOY a b", "did you mean COPY?"),
            ("WHATEVER x", "unknown instruction \"WHATEVER\""),
            ("RUN", "RUN needs at least one argument"),
            ("RUN --mount=type=cache y", "--mount=type=cache: needs target=PATH"),
            ("RUN --network=no y", "RUN --network=no: want default, none or host"),
            ("RUN --security=x y", "want sandbox or insecure"),
            ("COPY --link=x a b", "COPY --link=x: want true or false"),
            ("COPY --form=a a b", "COPY has no flag --form: did you mean --from?"),
            ("COPY --checksum=a a b", "COPY has no flag --checksum"),
            ("ADD --from=a a b", "ADD has no flag --from"),
            ("COPY --from a b", "COPY --from needs a value"),
            ("COPY --from=a --from=b a b", "stands twice"),
            ("COPY a", "at least one source"),
            ("COPY a b c", "must end with /"),
            ("ENV a", "want ENV NAME=VALUE"),
            ("ENV a=b c", "no = in \"c\""),
            ("FROM a b", "FROM wants"),
            ("FROM a AS 1", "not a stage name"),
            ("SHELL sh -c", "JSON array"),
            ("CMD [\"a\", 1]", "1 in a JSON array: it holds strings only"),
            ("HEALTHCHECK CMD [[]]", "[] in a JSON array"),
            ("HEALTHCHECK --interval=5 CMD x", "not a duration"),
            ("HEALTHCHECK what", "NONE or CMD"),
            ("ONBUILD FROM x", "not allowed after ONBUILD"),
            ("ONBUILD RUNN x", "unknown instruction"),
        ] {
            let error = format!("{:#}", instruction(text).unwrap_err());
            assert!(error.contains(want), "{text}: {error}");
        }
    }

    #[test]
    fn healthchecks() {
        let Instruction::Healthcheck(check) =
            instruction("HEALTHCHECK --interval=1m30s --retries=4 CMD [\"a\"]").unwrap()
        else {
            panic!()
        };
        assert_eq!((check.test, check.interval, check.retries), (vec!["CMD".into(), "a".into()], 90_000_000_000, 4));
        for (text, want) in
            [("1.5s", Some(1_500_000_000)), ("100ms", Some(100_000_000)), ("5", None), ("", None), ("s", None)]
        {
            assert_eq!(duration(text), want, "{text}");
        }
    }

    #[test]
    fn run_documents() {
        let run = |text: &str| match instruction(text).unwrap() {
            Instruction::Run(run) => run,
            other => panic!("{other:?}"),
        };
        assert_eq!(run("RUN <<E\na\nb\nE\n").command, Command::Shell("a\nb\n".into()));
        assert_eq!(run("RUN cat <<E >x\na\nE\n").command, Command::Shell("cat <<E >x\na\nE".into()));
        assert_eq!(run("RUN <<E\n#!/x\nE\n").script, Some(("E".into(), "#!/x\n".into())));
        let run_with = run("RUN --mount=type=cache,target=/a --mount=target=/b --network=none x");
        assert_eq!((run_with.mounts.len(), run_with.network), (2, Network::None));
        assert_eq!(run("RUN [\"a\", \"b\"]").command, Command::Exec(vec!["a".into(), "b".into()]));
        assert_eq!(run("RUN [ -f x ]").command, Command::Shell("[ -f x ]".into()));
    }
}

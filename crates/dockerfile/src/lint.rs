//! What is allowed and still no good idea, by the names of BuildKit's build checks (docs: "Build checks").

use crate::instruction::Instruction;
use crate::parse::{File, Statement};
use crate::words;
use crate::{Command, Graph, Ignore, PROXY_ARGS};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// BuildKit's name for it, `JSONArgsRecommended`.
    pub rule: &'static str,
    /// Of the statement, from 1.
    pub line: usize,
    /// A sentence.
    pub message: String,
}

/// The names in the environment of an image; none when it is not here.
pub type ImageEnv<'a> = &'a dyn Fn(&str) -> Option<Vec<String>>;

/// Experimental in BuildKit: `# check=experimental=InvalidDefinitionDescription`.
const DESCRIPTION: &str = "InvalidDefinitionDescription";

/// What a lint knows beside the file.
#[derive(Default)]
pub struct Around<'a> {
    /// Of base images.
    pub image_env: Option<ImageEnv<'a>>,
    /// Of the context.
    pub ignore: Option<&'a Ignore>,
}

impl std::fmt::Debug for Around<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Around").field("ignore", &self.ignore).finish_non_exhaustive()
    }
}

/// `# check=skip=A,B;error=true`
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    skip: Vec<String>,
    /// Rules that count only when they are asked for.
    experimental: Vec<String>,
    /// A finding fails the build.
    pub error: bool,
}

impl Policy {
    /// Reads the directive; words that it does not know are for later versions.
    pub fn parse(text: &str) -> Self {
        let mut policy = Self::default();
        let list = |rules: &str| rules.split(',').map(|rule| rule.trim().to_owned()).collect();
        for part in text.split(';') {
            match part.trim().split_once('=') {
                Some(("skip", rules)) => policy.skip = list(rules),
                Some(("experimental", rules)) => policy.experimental = list(rules),
                Some(("error", value)) => policy.error = value.trim().eq_ignore_ascii_case("true"),
                _ => {}
            }
        }
        policy
    }

    fn skips(&self, rule: &str) -> bool {
        let names = |list: &[String]| list.iter().any(|own| own == "all" || own.eq_ignore_ascii_case(rule));
        names(&self.skip) || rule == DESCRIPTION && !names(&self.experimental)
    }
}

/// All findings, in the order of the file, without those that the file's own policy skips.
pub fn lint(file: &File, graph: &Graph, around: &Around<'_>) -> Vec<Finding> {
    let mut found = Findings::default();
    for line in &file.empty_continuations {
        found.add("NoEmptyContinuation", *line, "Empty continuation line".into());
    }
    casing(file, &mut found);
    descriptions(file, &mut found);
    let mut stages = Stages::new(file, graph, around);
    for statement in &file.statements {
        if let Ok(instruction) = Instruction::of(statement, file.escape) {
            stages.statement(statement, &instruction, &mut found);
        }
    }
    let policy = file.check.as_deref().map(Policy::parse).unwrap_or_default();
    let mut list = found.0;
    list.retain(|finding| !policy.skips(finding.rule));
    list.sort_by_key(|finding| finding.line);
    list
}

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, rule: &'static str, line: usize, message: String) {
        self.0.push(Finding { rule, line, message });
    }
}

/// Capitals or small letters: what most instructions have, all should have.
fn casing(file: &File, found: &mut Findings) {
    let is_lower = |s: &&Statement| s.written.chars().all(|c| !c.is_ascii_uppercase());
    let lower = file.statements.iter().filter(is_lower).count();
    let majority = if lower * 2 > file.statements.len() { "lowercase" } else { "uppercase" };
    for statement in &file.statements {
        let wanted = if majority == "lowercase" { statement.name.to_ascii_lowercase() } else { statement.name.clone() };
        if statement.written != wanted {
            found.add(
                "ConsistentInstructionCasing",
                statement.line,
                format!("Command '{}' should match the case of the command majority ({majority})", statement.written),
            );
        }
        if statement.name == "FROM" {
            let words: Vec<&str> = statement.text.split_whitespace().collect();
            let [_, by, name] = words[..] else { continue };
            let upper = |word: &str| word.chars().all(|c| c.is_ascii_uppercase());
            if upper(by) != upper(&statement.written) {
                let message = format!("'{by}' and '{}' keywords' casing do not match", statement.written);
                found.add("FromAsCasing", statement.line, message);
            }
            if name.chars().any(|c| c.is_ascii_uppercase()) {
                let message = format!("Stage name '{name}' should be lowercase");
                found.add("StageNameCasing", statement.line, message);
            }
        }
    }
}

/// A comment right above a stage or an argument is taken for its description, and then starts with its name.
fn descriptions(file: &File, found: &mut Findings) {
    for statement in &file.statements {
        let Some(comment) = &statement.comment else { continue };
        let names: Vec<String> = match Instruction::of(statement, file.escape) {
            Ok(Instruction::Arg(list)) => list.into_iter().map(|(name, _)| name).collect(),
            Ok(Instruction::From { name: Some(name), .. }) => vec![name],
            _ => continue,
        };
        let first = comment.split(' ').next().unwrap_or_default();
        if !names.iter().any(|name| name == first) {
            let name = if let [only] = &names[..] { only } else { "<arg_key>" };
            let message =
                format!("Comment for {} should follow the format: `# {name} <description>`", statement.written);
            found.add(DESCRIPTION, statement.line, message);
        }
    }
}

/// What has been seen so far of the file and of the stage.
struct Stages<'a> {
    file: &'a File,
    graph: &'a Graph,
    around: &'a Around<'a>,
    globals: BTreeMap<String, Option<String>>,
    names: BTreeSet<String>,
    /// Index of the stage that we are in.
    stage: Option<usize>,
    /// What is set in each stage; none where the image, and so its environment, is not known.
    set: Vec<Option<BTreeSet<String>>>,
    /// Of this stage: its SHELL was chosen, its WORKDIR is absolute; the last line of what counts only once.
    shell: bool,
    absolute: Vec<bool>,
    once: BTreeMap<&'static str, usize>,
}

const PLATFORM: [&str; 8] = [
    "TARGETPLATFORM",
    "TARGETOS",
    "TARGETARCH",
    "TARGETVARIANT",
    "BUILDPLATFORM",
    "BUILDOS",
    "BUILDARCH",
    "BUILDVARIANT",
];

impl<'a> Stages<'a> {
    fn new(file: &'a File, graph: &'a Graph, around: &'a Around<'a>) -> Self {
        Self {
            file,
            graph,
            around,
            globals: BTreeMap::new(),
            names: BTreeSet::new(),
            stage: None,
            set: Vec::new(),
            shell: false,
            absolute: Vec::new(),
            once: BTreeMap::new(),
        }
    }

    fn statement(&mut self, statement: &Statement, instruction: &Instruction, found: &mut Findings) {
        let line = statement.line;
        if let Instruction::From { image, platform, name } = instruction {
            self.from(line, image, platform.as_deref(), name.as_deref(), found);
            return;
        }
        if self.stage.is_none() {
            if let Instruction::Arg(list) = instruction {
                self.globals.extend(list.iter().cloned());
            }
        } else {
            self.undefined(line, instruction, found);
        }
        secrets(line, instruction, found);
        legacy(statement, found);
        match instruction {
            Instruction::Maintainer(_) => found.add(
                "MaintainerDeprecated",
                line,
                "Maintainer instruction is deprecated in favor of using label".into(),
            ),
            Instruction::Shell(_) => self.shell = true,
            Instruction::Cmd(command) => self.command("CMD", line, command, found),
            Instruction::Entrypoint(command) => self.command("ENTRYPOINT", line, command, found),
            Instruction::Healthcheck(_) => self.only_the_last("HEALTHCHECK", line, found),
            Instruction::Workdir(path) => self.workdir(line, path, found),
            Instruction::Expose(list) => expose(line, list, found),
            Instruction::Copy(copy) if copy.from.is_none() => {
                let Some(ignore) = self.around.ignore else { return };
                let plain = |source: &&String| !source.contains(['*', '?', '[', '$', ':']);
                for source in copy.sources.iter().filter(plain) {
                    let path = crate::ignore::clean(source);
                    if path != "." && ignore.excludes(&path) {
                        let verb = if copy.add { "Add" } else { "Copy" };
                        let message = format!("Attempting to {verb} file \"{path}\" that is excluded by .dockerignore");
                        found.add("CopyIgnoredFile", line, message);
                    }
                }
            }
            _ => {}
        }
    }

    fn from(&mut self, line: usize, image: &str, platform: Option<&str>, name: Option<&str>, found: &mut Findings) {
        let known = |name: &str| self.globals.contains_key(name) || PLATFORM.contains(&name);
        for unknown in variables(image, self.file.escape).into_iter().filter(|name| !known(name)) {
            found.add("UndefinedArgInFrom", line, format!("FROM argument '{unknown}' is not declared"));
        }
        let default = |name: &str| self.globals.get(name).cloned().flatten();
        let with_defaults = words::expand(image, self.file.escape, &default).unwrap_or_default();
        let invalid = with_defaults.is_empty() || with_defaults.ends_with([':', '/', '@']);
        if invalid && variables(image, self.file.escape).iter().all(|name| self.globals.contains_key(name)) {
            let message = format!("Default value for ARG {image} results in empty or invalid base image name");
            found.add("InvalidDefaultArgInFrom", line, message);
        }
        match platform {
            Some(word @ ("$TARGETPLATFORM" | "${TARGETPLATFORM}")) => found.add(
                "RedundantTargetPlatform",
                line,
                format!("Setting platform to predefined {word} in FROM is redundant as this is the default behavior"),
            ),
            Some(constant) if !constant.contains('$') => found.add(
                "FromPlatformFlagConstDisallowed",
                line,
                format!("FROM --platform flag should not use constant value \"{constant}\""),
            ),
            _ => {}
        }
        if let Some(name) = name {
            if matches!(name, "scratch" | "context") {
                let message = format!("Stage name should not use the same name as reserved stage \"{name}\"");
                found.add("ReservedStageName", line, message);
            }
            if !self.names.insert(name.to_owned()) {
                let message = format!("Duplicate stage name \"{name}\", stage names should be unique");
                found.add("DuplicateStageName", line, message);
            }
        }
        let index = self.stage.map_or(0, |stage| stage + 1);
        self.stage = Some(index);
        (self.shell, self.once) = (false, BTreeMap::new());
        let (set, absolute) = self.inherited(index);
        self.set.push(set);
        self.absolute.push(absolute);
    }

    /// What a stage finds set, and whether it starts in a directory of its own choice.
    fn inherited(&self, index: usize) -> (Option<BTreeSet<String>>, bool) {
        let path = || BTreeSet::from(["PATH".to_owned()]);
        match self.graph.stages.get(index).map(|stage| &stage.base) {
            Some(crate::Base::Scratch) => (Some(path()), false),
            Some(crate::Base::Stage(earlier)) => {
                (self.set.get(*earlier).cloned().flatten(), self.absolute.get(*earlier).copied().unwrap_or(false))
            }
            Some(crate::Base::Image(name)) => {
                let env = self.around.image_env.and_then(|env| env(name));
                (env.map(|names| names.into_iter().chain(path()).collect()), false)
            }
            _ => (None, false),
        }
    }

    /// `$x` that nothing has set. An ARG or ENV is set from its own line on, not in it.
    fn undefined(&mut self, line: usize, instruction: &Instruction, found: &mut Findings) {
        let used = RefCell::new(Vec::new());
        let note = |name: &str| {
            used.borrow_mut().push(name.to_owned());
            Some("x".to_owned())
        };
        let readable = instruction.expanded(self.file.escape, &note).is_ok();
        let Some(Some(set)) = self.stage.and_then(|stage| self.set.get_mut(stage)) else { return };
        let arg_names: BTreeSet<&String> = match instruction {
            Instruction::Arg(list) => list.iter().map(|(name, _)| name).collect(),
            _ => BTreeSet::new(),
        };
        let mut told = BTreeSet::new();
        for name in used.into_inner() {
            let known = set.contains(&name) || PROXY_ARGS.contains(&name.as_str()) || arg_names.contains(&name);
            if !known && readable && told.insert(name.clone()) {
                let near = set.iter().find(|known| known.eq_ignore_ascii_case(&name));
                let hint = near.map(|near| format!(" (did you mean ${near}?)")).unwrap_or_default();
                found.add("UndefinedVar", line, format!("Usage of undefined variable '${name}'{hint}"));
            }
        }
        match instruction {
            Instruction::Arg(list) => set.extend(list.iter().map(|(name, _)| name.clone())),
            Instruction::Env(list) => set.extend(list.iter().map(|(name, _)| name.clone())),
            _ => {}
        }
    }

    fn command(&mut self, name: &'static str, line: usize, command: &Command, found: &mut Findings) {
        self.only_the_last(name, line, found);
        if matches!(command, Command::Shell(_)) && !self.shell {
            let message =
                format!("JSON arguments recommended for {name} to prevent unintended behavior related to OS signals");
            found.add("JSONArgsRecommended", line, message);
        }
    }

    fn only_the_last(&mut self, name: &'static str, line: usize, found: &mut Findings) {
        if let Some(earlier) = self.once.insert(name, line) {
            let message = format!(
                "Multiple {name} instructions should not be used in the same stage because only the last one will be used"
            );
            found.add("MultipleInstructionsDisallowed", earlier, message);
        }
    }

    fn workdir(&mut self, line: usize, path: &str, found: &mut Findings) {
        let Some(absolute) = self.stage.and_then(|stage| self.absolute.get_mut(stage)) else { return };
        let relative = !path.starts_with(['/', '$']);
        if relative && !*absolute {
            let message = format!("Relative workdir \"{path}\" can have unexpected results if the base image changes");
            found.add("WorkdirRelativePath", line, message);
        }
        *absolute |= !relative;
    }
}

/// The variables of a word.
fn variables(word: &str, escape: char) -> Vec<String> {
    let used = RefCell::new(Vec::new());
    let note = |name: &str| {
        used.borrow_mut().push(name.to_owned());
        None
    };
    let _ = words::expand(word, escape, &note);
    used.into_inner()
}

fn secrets(line: usize, instruction: &Instruction, found: &mut Findings) {
    let (kind, names): (_, Vec<&String>) = match instruction {
        Instruction::Arg(list) => ("ARG", list.iter().map(|(name, _)| name).collect()),
        Instruction::Env(list) => ("ENV", list.iter().map(|(name, _)| name).collect()),
        _ => return,
    };
    for name in names.into_iter().filter(|name| is_secret(name)) {
        let message = format!("Do not use ARG or ENV instructions for sensitive data ({kind} \"{name}\")");
        found.add("SecretsUsedInArgOrEnv", line, message);
    }
}

/// A word of the name, between underscores, says that the value is to be kept.
fn is_secret(name: &str) -> bool {
    const SECRET: [&str; 10] =
        ["apikey", "auth", "credential", "credentials", "key", "password", "pword", "passwd", "secret", "token"];
    let lower = name.to_ascii_lowercase();
    let mut words = lower.split('_');
    words.clone().any(|word| SECRET.contains(&word)) && !words.any(|word| word == "public")
}

fn legacy(statement: &Statement, found: &mut Findings) {
    let name = statement.name.as_str();
    let first = statement.text.split_whitespace().next().unwrap_or_default();
    if matches!(name, "ENV" | "LABEL") && !first.contains('=') {
        let message = format!("\"{name} key=value\" should be used instead of legacy \"{name} key value\" format");
        found.add("LegacyKeyValueFormat", statement.line, message);
    }
}

fn expose(line: usize, list: &[String], found: &mut Findings) {
    for port in list {
        let (number, protocol) = port.split_once('/').unwrap_or((port, ""));
        if number.contains(':') {
            let message =
                format!("EXPOSE instruction should not define an IP address or host-port mapping, found '{port}'");
            found.add("ExposeInvalidFormat", line, message);
        }
        if protocol.chars().any(|c| c.is_ascii_uppercase()) {
            let message = format!("Defined protocol '{protocol}' in EXPOSE instruction should be lowercase");
            found.add("ExposeProtoCasing", line, message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &str) -> Vec<(usize, &'static str)> {
        let file = crate::parse(text.as_bytes(), "Dockerfile").unwrap();
        let empty = BTreeMap::new();
        let platform = PLATFORM.iter().map(|name| ((*name).to_owned(), "linux/amd64".to_owned())).collect();
        let graph = Graph::of(&file, &empty, &platform, Vec::new()).unwrap();
        let env = |_: &str| Some(vec!["LANG".to_owned()]);
        let ignore = Ignore::parse("*.log\n").unwrap();
        let around = Around { image_env: Some(&env), ignore: Some(&ignore) };
        lint(&file, &graph, &around).into_iter().map(|finding| (finding.line, finding.rule)).collect()
    }

    #[test]
    fn each_rule_finds_its_own_and_nothing_else() {
        type Case<'a> = (&'a str, &'a [(usize, &'a str)]);
        let table: [Case<'_>; 34] = [
            ("FROM a\nCMD [\"x\"]", &[]),
            ("FROM a\nCMD x", &[(2, "JSONArgsRecommended")]),
            ("FROM a\nENTRYPOINT x", &[(2, "JSONArgsRecommended")]),
            ("FROM a\nSHELL [\"bash\"]\nCMD x", &[]),
            ("FROM a AS B", &[(1, "StageNameCasing")]),
            ("FROM a as b", &[(1, "FromAsCasing")]),
            ("from a as b", &[]),
            ("FROM a\nRUN a \\\n\n b", &[(3, "NoEmptyContinuation")]),
            ("FROM a\nRUN a\nrun b", &[(3, "ConsistentInstructionCasing")]),
            ("FROM a\nRun a\nRUN b", &[(2, "ConsistentInstructionCasing")]),
            ("FROM a AS b\nFROM c AS b", &[(2, "DuplicateStageName")]),
            ("FROM a AS scratch", &[(1, "ReservedStageName")]),
            ("FROM a\nMAINTAINER me", &[(2, "MaintainerDeprecated")]),
            ("FROM a:$V", &[(1, "UndefinedArgInFrom")]),
            ("ARG V=1\nFROM a:$V", &[]),
            ("ARG V\nFROM a:$V", &[(2, "InvalidDefaultArgInFrom")]),
            ("ARG V\nFROM a:${V:-1}", &[]),
            ("FROM a\nWORKDIR x", &[(2, "WorkdirRelativePath")]),
            ("FROM a\nWORKDIR /y\nWORKDIR x", &[]),
            ("FROM a\nCOPY $x /", &[(2, "UndefinedVar")]),
            ("FROM a\nARG x\nENV y=$x z=$LANG p=$PATH\nCOPY $y /", &[]),
            ("FROM a AS b\nENV y=1\nFROM b\nCOPY $y /", &[]),
            ("FROM a\nCMD [\"x\"]\nCMD [\"y\"]", &[(2, "MultipleInstructionsDisallowed")]),
            ("FROM a\nENV x y", &[(2, "LegacyKeyValueFormat")]),
            ("FROM --platform=$TARGETPLATFORM a", &[(1, "RedundantTargetPlatform")]),
            ("FROM --platform=linux/arm64 a", &[(1, "FromPlatformFlagConstDisallowed")]),
            ("FROM --platform=$BUILDPLATFORM a", &[]),
            ("FROM a\nARG DB_PASSWORD\nENV PUBLIC_KEY=1 MONKEY=1", &[(2, "SecretsUsedInArgOrEnv")]),
            ("FROM a\nCOPY x.log /", &[(2, "CopyIgnoredFile")]),
            ("FROM a\nEXPOSE 80/TCP", &[(2, "ExposeProtoCasing")]),
            ("FROM a\nEXPOSE 1:80", &[(2, "ExposeInvalidFormat")]),
            ("FROM a\n# of what\nARG x", &[]),
            (
                "# check=experimental=all\n# why not\nFROM a AS b\n# x is it\nARG x\n# y\n\nARG x\n# z\nARG x y\n# z\n#\nARG x\n# z\nRUN y",
                &[(3, "InvalidDefinitionDescription"), (10, "InvalidDefinitionDescription")],
            ),
            (
                "# check=skip=JSONArgsRecommended,UndefinedVar\nFROM a\nCMD x $y\nWORKDIR x",
                &[(4, "WorkdirRelativePath")],
            ),
        ];
        for (text, want) in table {
            assert_eq!(rules(text), want, "{text:?}");
        }
    }

    #[test]
    fn the_policy_stands_in_the_file() {
        let policy = Policy::parse("skip=A, B;error=true");
        assert!(policy.error && policy.skips("a") && policy.skips("B") && !policy.skips("C"));
        assert!(Policy::parse("skip=all").skips("C") && !Policy::parse("skip=all").error);
    }
}

//! The stages of a file, what each starts from, and which of them the target needs.

use crate::instruction::Instruction;
use crate::mount::Mount;
use crate::parse::{File, Statement, at};
use anyhow::{Context, bail};
use std::collections::BTreeMap;

/// From one FROM to the next.
#[derive(Debug)]
pub struct Stage {
    /// Of `AS`, in small letters.
    pub name: Option<String>,
    /// Of its FROM.
    pub line: usize,
    /// Its FROM, for messages.
    pub original: String,
    /// What it starts from.
    pub base: Base,
    /// `--platform`, with variables put in.
    pub platform: Option<String>,
    /// In order.
    pub steps: Vec<Step>,
}

/// What FROM, COPY --from and a mount's from name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Base {
    /// Nothing.
    Scratch,
    /// An earlier stage.
    Stage(usize),
    /// An image by its reference.
    Image(String),
    /// A named context of the command line.
    Context(String),
}

/// One instruction of a stage.
#[derive(Debug, Clone)]
pub struct Step {
    /// Where it starts, from 1.
    pub line: usize,
    /// In one line, for progress and messages.
    pub original: String,
    /// As written.
    pub instruction: Instruction,
}

impl Step {
    /// Whether it is more than a fact about the image.
    pub fn makes_files(&self) -> bool {
        matches!(self.instruction, Instruction::Run(_) | Instruction::Copy(_) | Instruction::Workdir(_))
    }
}

/// The whole file, understood.
#[derive(Debug)]
pub struct Graph {
    /// The name of the Dockerfile for messages.
    pub file: String,
    /// The escape character.
    pub escape: char,
    /// In the order of the file.
    pub stages: Vec<Stage>,
    /// The named contexts of the command line: they come before stages and images.
    pub contexts: Vec<String>,
    /// ARG before the first FROM: seen by FROM, and by an `ARG name` without a value.
    pub globals: BTreeMap<String, String>,
}

impl Graph {
    /// `args` and `contexts` are those of the command line, `platform` the TARGET… and BUILD… arguments.
    pub fn of(
        file: &File,
        args: &BTreeMap<String, String>,
        platform: &BTreeMap<String, String>,
        contexts: Vec<String>,
    ) -> anyhow::Result<Self> {
        let mut graph = Self {
            file: file.name.clone(),
            escape: file.escape,
            stages: Vec::new(),
            contexts,
            globals: BTreeMap::new(),
        };
        for statement in &file.statements {
            at(graph.add(statement, args, platform), &file.name, statement.line)?;
        }
        if graph.stages.is_empty() {
            bail!("{}: no FROM: a Dockerfile needs at least one stage", graph.file);
        }
        Ok(graph)
    }

    fn add(
        &mut self,
        statement: &Statement,
        args: &BTreeMap<String, String>,
        platform: &BTreeMap<String, String>,
    ) -> anyhow::Result<()> {
        let instruction = Instruction::of(statement, self.escape)?;
        let globals = self.globals.clone();
        let lookup = |name: &str| globals.get(name).or_else(|| platform.get(name)).cloned();
        match (instruction, self.stages.last_mut()) {
            (from @ Instruction::From { .. }, _) => {
                let Instruction::From { image, platform, name } = from.expanded(self.escape, &lookup)? else {
                    bail!("FROM");
                };
                if image.is_empty() {
                    bail!("FROM: the image name is empty once its variables are put in");
                }
                let base = match image.as_str() {
                    word if self.is_context(word) => Base::Context(word.into()),
                    "scratch" => Base::Scratch,
                    // A number is an image here, unlike in COPY --from.
                    word => self.named(word).map_or_else(|| Base::Image(word.into()), Base::Stage),
                };
                self.stages.push(Stage {
                    name,
                    line: statement.line,
                    original: statement.original.clone(),
                    base,
                    platform,
                    steps: Vec::new(),
                });
            }
            (Instruction::Arg(list), None) => {
                for (name, default) in list {
                    let default = default.map(|word| crate::words::expand(&word, self.escape, &lookup)).transpose()?;
                    if let Some(value) = args.get(&name).cloned().or(default) {
                        self.globals.insert(name, value);
                    }
                }
            }
            (_, None) => bail!("{} before the first FROM: only ARG may stand there", statement.name),
            (instruction, Some(stage)) => {
                stage.steps.push(Step { line: statement.line, original: statement.original.clone(), instruction });
            }
        }
        Ok(())
    }

    fn is_context(&self, word: &str) -> bool {
        self.contexts.iter().any(|name| name == word)
    }

    fn named(&self, name: &str) -> Option<usize> {
        self.named_before(name, self.stages.len())
    }

    /// Of two stages with one name the later one counts.
    fn named_before(&self, name: &str, stage: usize) -> Option<usize> {
        let name = name.to_ascii_lowercase();
        self.stages[..stage].iter().rposition(|stage| stage.name.as_deref() == Some(&name))
    }

    /// What `COPY --from=word` of a stage means: a named context, an earlier stage by name or number, else an image.
    pub fn source(&self, word: &str, stage: usize) -> anyhow::Result<Base> {
        if self.is_context(word) {
            return Ok(Base::Context(word.into()));
        }
        if word == "scratch" {
            bail!("--from=scratch: there is nothing in it");
        }
        if let Some(index) = self.named_before(word, stage) {
            return Ok(Base::Stage(index));
        }
        let found = self.named(word).or_else(|| word.parse().ok().filter(|_| word.bytes().all(|b| b.is_ascii_digit())));
        match found {
            Some(index) if index < stage => Ok(Base::Stage(index)),
            Some(_) if self.named(word).is_none() => bail!("--from={word}: there is no earlier stage {word}"),
            Some(index) if index == stage => bail!("--from={word}: a stage cannot copy from itself"),
            Some(_) => bail!("--from={word}: that stage comes later"),
            None => Ok(Base::Image(word.into())),
        }
    }

    /// What an instruction of a stage takes files from, beside the context and the stage itself.
    pub fn sources(&self, stage: usize, instruction: &Instruction) -> anyhow::Result<Vec<Base>> {
        sources_of(instruction).iter().map(|from| self.source(from, stage)).collect()
    }

    /// The stage of `--target`, by default the last one.
    pub fn target(&self, wanted: Option<&str>) -> anyhow::Result<usize> {
        let Some(wanted) = wanted else { return Ok(self.stages.len() - 1) };
        let number = || wanted.parse().ok().filter(|index| *index < self.stages.len());
        self.named(wanted).or_else(number).with_context(|| {
            let name = |(at, stage): (usize, &Stage)| stage.name.clone().unwrap_or_else(|| at.to_string());
            let names: Vec<String> = self.stages.iter().enumerate().map(name).collect();
            format!("--target {wanted}: no such stage; the file has: {}", names.join(", "))
        })
    }

    /// The stages that the target is made of, in the order of the file. Every COPY --from is checked, also in
    /// stages that are left out.
    pub fn needed(&self, target: usize) -> anyhow::Result<Vec<usize>> {
        let mut needed = vec![false; self.stages.len()];
        needed[target] = true;
        for index in (0..self.stages.len()).rev() {
            let stage = &self.stages[index];
            let mut sources = vec![stage.base.clone()];
            for step in &stage.steps {
                sources.extend(at(self.sources(index, &step.instruction), &self.file, step.line)?);
            }
            if needed[index] {
                for source in sources {
                    if let Base::Stage(earlier) = source {
                        needed[earlier] = true;
                    }
                }
            }
        }
        Ok((0..self.stages.len()).filter(|index| needed[*index]).collect())
    }
}

/// The words of `--from` and of mounts' `from`.
fn sources_of(instruction: &Instruction) -> Vec<String> {
    match instruction {
        Instruction::Copy(copy) => copy.from.iter().cloned().collect(),
        Instruction::Run(run) => run.mounts.iter().filter_map(|text| Mount::from_of(text)).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::parse;

    fn graph(text: &str) -> anyhow::Result<Graph> {
        let args = BTreeMap::from([("V".to_owned(), "9".to_owned())]);
        Graph::of(&parse(text.as_bytes(), "Dockerfile")?, &args, &BTreeMap::new(), Vec::new())
    }

    #[test]
    fn only_what_the_target_needs() {
        let text =
            "FROM a AS one\nFROM b AS two\nCOPY --from=one /x /\nFROM one AS three\nFROM scratch\nCOPY --from=1 /x /\n";
        let graph = graph(text).unwrap();
        assert_eq!(graph.needed(graph.target(None).unwrap()).unwrap(), [0, 1, 3]);
        assert_eq!(graph.needed(graph.target(Some("Three")).unwrap()).unwrap(), [0, 2]);
        assert_eq!(graph.needed(graph.target(Some("0")).unwrap()).unwrap(), [0]);
        assert!(graph.target(Some("none")).unwrap_err().to_string().contains("one, two, three"));
    }

    #[test]
    fn arguments_before_from() {
        let graph = graph("ARG V=1 W=2\nARG X=$V-$W\nFROM a:$X AS b\nFROM b\n").unwrap();
        assert_eq!(graph.stages[0].base, Base::Image("a:9-2".into()));
        assert_eq!(graph.stages[1].base, Base::Stage(0));
    }

    #[test]
    fn of_two_stages_with_one_name_the_later_one_counts() {
        let graph = graph("FROM a AS x\nFROM b AS X\nCOPY --from=x c d\nFROM x\n").unwrap();
        assert_eq!(graph.stages[2].base, Base::Stage(1));
        assert_eq!(graph.source("x", 1).unwrap(), Base::Stage(0), "its own name is the earlier one's");
        assert_eq!(graph.target(Some("x")).unwrap(), 1);
    }

    #[test]
    fn mistakes() {
        for (text, want) in [
            ("RUN x", "Dockerfile:1: RUN before the first FROM"),
            ("", "no FROM"),
            ("FROM $none", "Dockerfile:1: FROM: the image name is empty"),
            ("FROM a\nCOPY --from=0 a b", "Dockerfile:2: --from=0: there is no earlier stage 0"),
            ("FROM a\nCOPY --from=scratch a b", "Dockerfile:2: --from=scratch: there is nothing in it"),
            ("FROM a AS x\nCOPY --from=x a b", "copy from itself"),
            ("FROM a\nCOPY --from=x a b\nFROM b AS x", "comes later"),
        ] {
            let error = graph(text).and_then(|graph| graph.needed(graph.target(None)?)).unwrap_err();
            assert!(format!("{error:#}").contains(want), "{text}: {error:#}");
        }
    }

    /// Whatever the bytes are, the answer is a graph or an error.
    #[test]
    fn no_bytes_make_it_panic() {
        let seed = "# escape=`\n# syntax=x\nARG A=${B:-1}\nFROM a:$A AS b\nENV c=\"d e\" f='g' h=${c##*/}\nCOPY --from=b --chown=1:2 [\"x\", \"y/\"]\n\
            RUN <<-E cat && 3<<'F'\n\tx\n\tE\ny\nF\nHEALTHCHECK --interval=1m30s --retries=3 CMD x\nEXPOSE 1-9/udp\nONBUILD ADD a b\nLABEL ä=${x//a/b}\\\n# c\n d=e\n";
        let mut state = 1u64;
        let mut random = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 33).unwrap() % below
        };
        let alphabet = b"\\`$'\"{}[]<>#-=:/%?+*, \n\t\r\0aA1\xc3\xff";
        for _ in 0..20_000 {
            let mut bytes = seed.as_bytes().to_vec();
            for _ in 0..=random(8) {
                let at = random(bytes.len());
                match random(3) {
                    0 => bytes[at] = alphabet[random(alphabet.len())],
                    1 => bytes.insert(at, alphabet[random(alphabet.len())]),
                    _ => drop(bytes.drain(at..(at + random(20)).min(bytes.len()))),
                }
            }
            let args = BTreeMap::new();
            if let Ok(graph) = parse(&bytes, "Dockerfile").and_then(|file| Graph::of(&file, &args, &args, Vec::new())) {
                let _ = graph.needed(graph.stages.len() - 1);
                for step in graph.stages.iter().flat_map(|stage| &stage.steps) {
                    let _ = step.instruction.expanded(graph.escape, &|name| Some(name.to_lowercase()));
                }
            }
        }
    }
}

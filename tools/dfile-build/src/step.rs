//! One instruction: its variables put in, and what it does to the state. RUN and COPY have files of their own.

use crate::below::{Below, Kind as Place};
use crate::board::lock;
use crate::builder::Builder;
use crate::copy;
use crate::siblings;
use crate::state::State;
use anyhow::bail;
use dockerfile::{Instruction, PROXY_ARGS, Step, words};
use layer_tar::write::TarWriter;
use layer_tar::{Meta, Time};
use serde_json::json;
use std::io::Write;
use std::path::Path;

impl Builder<'_> {
    pub fn step(&mut self, state: &mut State, step: &Step, stage: usize) -> anyhow::Result<()> {
        if let Instruction::Arg(list) = &step.instruction {
            return self.args(state, list);
        }
        let snapshot = state.clone();
        let lookup = |name: &str| snapshot.lookup(name);
        let instruction = step.instruction.expanded(self.variant.graph.escape, &lookup)?;
        match &instruction {
            Instruction::Run(run) => self.run(state, run, &step.original, stage),
            Instruction::Copy(copy) => self.copy(state, copy, stage),
            Instruction::Workdir(_) => self.workdir(state, &instruction),
            Instruction::Onbuild(_) => {
                // As in BuildKit, without a line in the history.
                state.config.apply(&instruction)?;
                state.stale = true;
                Ok(())
            }
            other => {
                let line = state.config.apply(other)?;
                if let Instruction::Cmd(_) = other {
                    // As BuildKit does; it means something on Windows only.
                    state.config.members.insert("ArgsEscaped".into(), true.into());
                }
                if let Instruction::Env(list) = other {
                    state.values.retain(|name, _| !list.iter().any(|(own, _)| own == name));
                }
                state.note(&line);
                Ok(())
            }
        }
    }

    /// The command line beats the default; without a default, an ARG before the first FROM counts. Each sees those
    /// before it. The history has the values, as BuildKit's.
    fn args(&mut self, state: &mut State, list: &[(String, Option<String>)]) -> anyhow::Result<()> {
        let mut line = "ARG".to_owned();
        for (name, default) in list {
            let snapshot = state.clone();
            let expand =
                |text: &String| words::expand(text, self.variant.graph.escape, &|name: &str| snapshot.lookup(name));
            let name = expand(name)?;
            let given = self.build.wishes.build_args.get(&name);
            if given.is_some() {
                lock(&self.shared.used_args).insert(name.clone());
            }
            let outer = || self.variant.graph.globals.get(&name).or_else(|| self.variant.args.get(&name)).cloned();
            let value = match (given, default) {
                (Some(given), _) => Some(given.clone()),
                (None, Some(default)) => Some(expand(default)?),
                (None, None) => outer(),
            };
            line.push(' ');
            line.push_str(&name);
            if let Some(value) = value {
                line.push('=');
                line.push_str(&value);
                state.values.insert(name.clone(), value);
            }
            if !state.args.contains(&name) {
                state.args.push(name);
            }
        }
        state.note(&line);
        Ok(())
    }

    /// Build arguments that RUN sees although nobody declared them.
    pub fn proxies(&mut self) -> Vec<(String, String)> {
        let found: Vec<_> =
            self.build.wishes.build_args.iter().filter(|(name, _)| PROXY_ARGS.contains(&name.as_str())).collect();
        lock(&self.shared.used_args).extend(found.iter().map(|(name, _)| (*name).clone()));
        found.into_iter().map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// WORKDIR makes its directory, when it is not there.
    fn workdir(&mut self, state: &mut State, instruction: &Instruction) -> anyhow::Result<()> {
        let line = state.config.apply(instruction)?;
        let path = state.config.working_dir().to_owned();
        let key = self.key(state, &json!(["workdir", path]));
        let parent = state.image.clone();
        if let Some(image) = self.believe(state, &key, true) {
            self.progress.cached();
            // The parent itself: the directory was there.
            if parent.as_ref().is_some_and(|parent| parent.digest == image.digest) {
                state.note(&line);
            } else {
                state.image = Some(image);
                state.pending.clear();
                state.stale = false;
            }
            return Ok(());
        }
        self.prove()?;
        let mut below = self.take_below(state)?;
        let resolved = below.resolve(Path::new(&path))?;
        match below.kind(&resolved)? {
            Some(Place::Directory) => {
                if let Some(parent) = &parent {
                    self.build.layout.pin(key.as_str(), parent)?;
                }
                state.note(&line);
            }
            Some(_) => bail!("WORKDIR {path}: is not a directory in the image"),
            None => {
                let owner = match state.config.user() {
                    "" => (0, 0),
                    user => copy::owner(user, &mut below).unwrap_or((0, 0)),
                };
                let mut command = self.append(state, Some(&json!({"created_by": line})), &key)?;
                let latest = self.latest();
                let record = siblings::fed(command.args(["--layer", "-"]), |pipe| {
                    make_directories(&mut below, &resolved, owner, latest, pipe)
                })?;
                state.advance(record)?;
            }
        }
        self.keep_below(state, below)?;
        self.progress.done();
        Ok(())
    }
}

fn make_directories(
    below: &mut Below,
    path: &Path,
    (uid, gid): (u32, u32),
    latest: Option<i64>,
    to: impl Write,
) -> anyhow::Result<()> {
    let mut tar = TarWriter::new(to, latest);
    let meta = Meta { mode: 0o755, uid, gid, mtime: Time::at(latest.unwrap_or(0)), ..Meta::default() };
    let mut missing = Vec::new();
    for above in path.ancestors() {
        if below.kind(above)?.is_some() {
            break;
        }
        missing.push(above);
    }
    missing.reverse();
    for directory in missing {
        tar.directory(directory, &meta)?;
        below.put(directory, Place::Directory)?;
    }
    tar.finish()?;
    Ok(())
}

//! One stage after the other, one instruction after the other. A step that makes files asks the cache, else
//! makes an image with one more layer; what only changes the configuration waits for the next layer or the end.

use crate::below::{Below, Kind as Place};
use crate::board::{Board, Cancelled, lock};
use crate::cache::{self, Damaged, Key, Made};
use crate::config::Config;
use crate::context::Named;
use crate::copy;
use crate::copying::Found;
use crate::elsewhere::Source;
use crate::progress::Progress;
use crate::running::Running;
use crate::scratch::Scratch;
use crate::siblings::{self, Siblings};
use crate::source::Root;
use anyhow::{Context, bail};
use bundle::Layers;
use dockerfile::{Base, Graph, Instruction, PROXY_ARGS, Step};
use dockerfile::{at, parse, words};
use layer_tar::write::TarWriter;
use layer_tar::{Meta, Time};
use oci_layout::Layout;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::panic::resume_unwind;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use wire::{Descriptor, Image, Platform, Record};

/// What BuildKit writes into each line of a history; scanners know it by that.
const HISTORY_COMMENT: &str = "buildkit.dockerfile.v0";

/// What stays the same for a whole build.
#[derive(Debug)]
pub struct Builder<'a> {
    pub graph: &'a Graph,
    pub siblings: &'a Siblings,
    pub layout: &'a Layout,
    pub context: Arc<Root>,
    /// `--build-arg`
    pub args: &'a BTreeMap<String, String>,
    /// TARGET… and BUILD… arguments.
    pub platform_args: &'a BTreeMap<String, String>,
    pub running: &'a Running,
    pub progress: Progress,
    pub caching: &'a cache::Options,
    /// Caches that are kept elsewhere.
    pub elsewhere: &'a [Source],
    /// `SOURCE_DATE_EPOCH`
    pub latest: Option<i64>,
    pub shared: Arc<Shared>,
    /// Of the stage.
    pub no_cache: bool,
    pub number: usize,
    below: Below,
    /// The image that the cache gave last, not looked at yet.
    unproven: Option<Descriptor>,
    /// Each image of the cache is looked at before it is taken.
    careful: bool,
    /// Only the cache is asked.
    pub looks_only: bool,
    /// Steps of the stage that are done.
    passed: usize,
    pub scratch: &'a Scratch,
    /// `--build-context`
    pub contexts: &'a BTreeMap<String, Named>,
    /// `--platform`
    pub platform: Option<Platform>,
    /// Before the name of each stage, where several platforms are built.
    pub head: String,
}

/// What the stages share.
#[derive(Debug, Default)]
pub struct Shared {
    pub board: Board,
    pub trees: Mutex<HashMap<String, Arc<Root>>>,
    pub used_args: Mutex<BTreeSet<String>>,
    /// Names that were pulled anew.
    pulled: Mutex<BTreeSet<String>>,
    /// Of steps that copied what is below them.
    pub copied: Mutex<Vec<Value>>,
    /// Cache keys of this build.
    pub keys: Mutex<BTreeSet<String>>,
}

/// Where a stage stands.
#[derive(Debug, Clone)]
pub struct State {
    /// The image so far; none before the first layer of `FROM scratch`.
    pub image: Option<Descriptor>,
    pub config: Config,
    /// History entries that no image has yet.
    pub pending: Vec<Value>,
    /// ARGs in scope, in the order of their first declaration.
    pub args: Vec<String>,
    /// The values that ARGs gave and no later ENV replaced.
    pub values: BTreeMap<String, String>,
    pub platform: Option<Platform>,
    /// The configuration has changed, and no line of the history says so.
    pub stale: bool,
}

impl State {
    /// Before anything.
    pub fn nothing() -> Self {
        Self {
            image: None,
            config: Config::default(),
            pending: Vec::new(),
            args: Vec::new(),
            values: BTreeMap::new(),
            platform: None,
            stale: false,
        }
    }

    /// Of ENV and ARG the later one counts.
    pub fn lookup(&self, name: &str) -> Option<String> {
        let env = || self.config.env().into_iter().find(|(own, _)| own == name).map(|(_, value)| value);
        self.values.get(name).cloned().or_else(env)
    }

    /// ARGs as the history of a RUN has them: an unset one is empty.
    pub fn declared(&self) -> Vec<(String, String)> {
        self.args.iter().map(|name| (name.clone(), self.lookup(name).unwrap_or_default())).collect()
    }

    /// The variables of a command: the image's, and on top of them the ARGs.
    pub fn environment(&self) -> Vec<(String, String)> {
        let mut all = self.config.env();
        for (name, value) in &self.values {
            match all.iter_mut().find(|(own, _)| own == name) {
                Some(entry) => entry.1.clone_from(value),
                None => all.push((name.clone(), value.clone())),
            }
        }
        all
    }

    /// A change of the configuration alone.
    fn note(&mut self, line: &str) {
        self.pending.push(json!({"created_by": line, "empty_layer": true}));
    }

    /// The record of a new image: the state is now that image.
    pub fn advance(&mut self, record: Record) -> anyhow::Result<()> {
        let Record::Image(image) = record else { bail!("img-append: not an image record") };
        self.image = Some(image.descriptor);
        self.pending.clear();
        self.stale = false;
        Ok(())
    }

    fn parent(&self) -> String {
        self.image.as_ref().map_or_else(|| "scratch".into(), |image| image.digest.to_string())
    }
}

impl<'a> Builder<'a> {
    #[expect(clippy::too_many_arguments, reason = "each is one fact about the build")]
    pub fn new(
        graph: &'a Graph,
        siblings: &'a Siblings,
        layout: &'a Layout,
        context: Arc<Root>,
        args: &'a BTreeMap<String, String>,
        platform_args: &'a BTreeMap<String, String>,
        running: &'a Running,
        progress: Progress,
        caching: &'a cache::Options,
        elsewhere: &'a [Source],
        latest: Option<i64>,
        scratch: &'a Scratch,
        contexts: &'a BTreeMap<String, Named>,
        platform: Option<Platform>,
    ) -> Self {
        Self {
            graph,
            siblings,
            layout,
            context,
            args,
            platform_args,
            running,
            progress,
            caching,
            elsewhere,
            latest,
            shared: Arc::default(),
            no_cache: caching.no_cache,
            number: 0,
            below: Below::default(),
            unproven: None,
            careful: false,
            looks_only: false,
            passed: 0,
            scratch,
            contexts,
            platform,
            head: String::new(),
        }
    }

    /// The same for one stage.
    fn of_stage(&self, index: usize) -> Self {
        Self {
            context: Arc::clone(&self.context),
            progress: self.progress.clone(),
            shared: Arc::clone(&self.shared),
            no_cache: self.caching.is_off(self.graph.stages[index].name.as_deref(), index),
            number: index,
            below: Below::default(),
            unproven: None,
            platform: self.platform.clone(),
            head: self.head.clone(),
            ..*self
        }
    }

    /// Builds the stages that the target needs; the answer is the target's image.
    pub fn build(&mut self, target: usize, labels: &[(String, String)]) -> anyhow::Result<Descriptor> {
        match &self.graph.needed(target)?[..] {
            [only] => self.of_stage(*only).whole(*only)?,
            several => self.side_by_side(several)?,
        }
        if !labels.is_empty() {
            // As in BuildKit, without a line in the history.
            let mut state = self.shared.board.wait(target)?;
            state.config.apply(&Instruction::Label(labels.to_vec()))?;
            state.stale = true;
            self.shared.board.put(target, state);
        }
        self.image_of(target)
    }

    /// A thread for each stage; of the errors the one that came first.
    fn side_by_side(&self, stages: &[usize]) -> anyhow::Result<()> {
        let results: Vec<_> = thread::scope(|scope| {
            let start = |index: &usize| {
                let (mut builder, index) = (self.of_stage(*index), *index);
                scope.spawn(move || builder.whole(index))
            };
            let threads: Vec<_> = stages.iter().map(start).collect();
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
        });
        let mut errors: Vec<anyhow::Error> = results.into_iter().filter_map(Result::err).collect();
        errors.sort_by_key(anyhow::Error::is::<Cancelled>);
        match errors.into_iter().next() {
            Some(first) => Err(first),
            None => Ok(()),
        }
    }

    fn whole(&mut self, index: usize) -> anyhow::Result<()> {
        let mut built = self.stage(index);
        if built.as_ref().is_err_and(anyhow::Error::is::<Damaged>) {
            self.progress.words("note: the cache is damaged: what is not whole in it is built again");
            self.careful = true;
            built = self.stage(index);
        }
        match built {
            Ok(state) => {
                self.shared.board.put(index, state);
                Ok(())
            }
            Err(error) => {
                self.shared.board.fail();
                Err(error)
            }
        }
    }

    fn stage(&mut self, index: usize) -> anyhow::Result<State> {
        let graph = self.graph;
        let stage = &graph.stages[index];
        let name = match (&stage.name, graph.stages.len()) {
            (Some(name), _) => format!("{}{name} ", self.head),
            (None, 1) => self.head.clone(),
            (None, _) => format!("{}stage-{index} ", self.head),
        };
        let total = 1 + stage.steps.iter().filter(|step| step.makes_files()).count();
        self.progress.begin(&format!("[{name}1/{total}] {}", stage.original));
        let mut state = at(self.start(&stage.base, stage.platform.as_deref()), &graph.file, stage.line)?;
        let triggers = at(Self::triggers(&mut state, stage.line), &graph.file, stage.line)?;
        let mut number = 1;
        for (done, step) in triggers.iter().chain(&stage.steps).enumerate() {
            self.passed = done.saturating_sub(triggers.len());
            if step.makes_files() {
                number += 1;
                self.progress.begin(&format!("[{name}{number}/{}] {}", total.max(number), step.original));
            }
            self.shared.board.go_on()?;
            if let Err(error) = self.step(&mut state, step, index) {
                if error.is::<Cancelled>() || error.is::<Damaged>() {
                    return Err(error);
                }
                self.progress.failed(&format!("{error:#}"));
                return at(Err(error), &graph.file, step.line);
            }
        }
        if !self.looks_only {
            self.prove()?;
        }
        self.passed = stage.steps.len();
        Ok(state)
    }

    /// How many steps of each stage the cache has, from the first on. Nothing is made, fetched or written.
    pub fn cached_steps(&mut self, stages: &[usize]) -> HashMap<usize, usize> {
        let count = |index: &usize| {
            let mut builder = self.of_stage(*index);
            (builder.looks_only, builder.careful) = (true, true);
            if let Ok(state) = builder.stage(*index) {
                self.shared.board.put(*index, state);
            }
            (*index, builder.passed)
        };
        stages.iter().map(count).collect()
    }

    /// Asked before anything is made or fetched.
    pub fn may_make(&self) -> anyhow::Result<()> {
        if self.looks_only {
            bail!("not in the cache");
        }
        Ok(())
    }

    /// Another stage at its end.
    fn built(&self, stage: usize) -> anyhow::Result<State> {
        let ready = self.shared.board.built(stage);
        if ready.is_none() {
            self.may_make()?;
        }
        ready.map_or_else(|| self.shared.board.wait(stage), Ok)
    }

    /// FROM.
    fn start(&mut self, base: &Base, platform: Option<&str>) -> anyhow::Result<State> {
        let platform = platform.map(str::parse::<Platform>).transpose()?.or_else(|| self.platform.clone());
        let mut state = State { config: Config::scratch(), platform, ..State::nothing() };
        match base {
            Base::Scratch => self.progress.cached(),
            Base::Stage(earlier) => {
                state = self.built(*earlier)?;
                state.config.begin_stage();
                self.progress.cached();
            }
            Base::Image(name) => {
                let was_there = !self.caching.pull && self.layout.find(name).is_ok();
                let image = self.base_image(name, state.platform.as_ref())?;
                if was_there {
                    self.progress.cached();
                } else {
                    self.progress.done();
                }
                state.config = Config::of_image(&image.config);
                state.image = Some(image.descriptor);
            }
            Base::Context(name) => {
                let Found::Image(image) = self.named(name)? else {
                    bail!("{name}: a directory is no base: COPY --from={name} takes files of it");
                };
                state.config = Config::of_image(&image.config);
                state.image = Some(image.descriptor);
            }
        }
        Ok(state)
    }

    /// From the store when it is there, else pulled.
    pub fn base_image(&self, name: &str, platform: Option<&Platform>) -> anyhow::Result<oci_layout::OpenImage> {
        let what = format!("{name} {}", platform.map(ToString::to_string).unwrap_or_default());
        let turn = self.shared.board.turn(&what);
        let _mine = lock(&turn);
        let is_new = lock(&self.shared.pulled).contains(&what);
        // An image for another machine is kept beside the name, which stays this machine's.
        let pin = platform.filter(|platform| !platform.accepts(&Platform::host())).map(|_| cache::base(&what));
        let pinned = || self.layout.pinned(pin.as_deref()?).ok().flatten();
        let found = self.layout.find(name).and_then(|found| self.layout.open_image(&found, platform));
        let stored = found.or_else(|error| match pinned() {
            Some(found) => self.layout.open_image(&found, platform),
            None => Err(error),
        });
        if let Ok(image) = stored
            && (is_new || !self.caching.pull)
        {
            return Ok(image);
        }
        self.may_make()?;
        let mut command = self.siblings.on_layout("img-pull");
        if let Some(platform) = platform {
            command.arg("--platform").arg(platform.to_string());
        }
        if let Some(key) = &pin {
            command.arg("--pin").arg(key);
        }
        let Record::Image(image) = siblings::transform(command.arg("--").arg(name), None)? else {
            bail!("img-pull: not an image record");
        };
        lock(&self.shared.pulled).insert(what);
        Ok(self.layout.open_image(&image.descriptor, platform)?)
    }

    /// ONBUILD of the base runs as if it stood after FROM. Each trigger is a file of its own.
    fn triggers(state: &mut State, line: usize) -> anyhow::Result<Vec<Step>> {
        let mut steps = Vec::new();
        for text in state.config.take_onbuild() {
            let file = parse(text.as_bytes(), "ONBUILD")?;
            for statement in file.statements {
                let instruction = Instruction::of(&statement, file.escape)?;
                steps.push(Step { line, original: statement.original, instruction });
            }
        }
        Ok(steps)
    }

    fn step(&mut self, state: &mut State, step: &Step, stage: usize) -> anyhow::Result<()> {
        if let Instruction::Arg(list) = &step.instruction {
            return self.args(state, list);
        }
        let snapshot = state.clone();
        let lookup = |name: &str| snapshot.lookup(name);
        let instruction = step.instruction.expanded(self.graph.escape, &lookup)?;
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
            let expand = |text: &String| words::expand(text, self.graph.escape, &|name: &str| snapshot.lookup(name));
            let name = expand(name)?;
            let given = self.args.get(&name);
            if given.is_some() {
                lock(&self.shared.used_args).insert(name.clone());
            }
            let outer = || self.graph.globals.get(&name).or_else(|| self.platform_args.get(&name)).cloned();
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
        let found: Vec<_> = self.args.iter().filter(|(name, _)| PROXY_ARGS.contains(&name.as_str())).collect();
        lock(&self.shared.used_args).extend(found.iter().map(|(name, _)| (*name).clone()));
        found.into_iter().map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// The key of a step: everything before it, and `inputs`.
    pub fn key(&self, state: &State, inputs: &Value) -> Key {
        let key = Key::of(&json!({
            "parent": state.parent(),
            "config": state.config.members,
            "author": state.config.author,
            "pending": state.pending,
            "platform": state.platform.clone().unwrap_or_else(Platform::host).to_string(),
            "epoch": self.latest,
            "step": inputs,
        }));
        lock(&self.shared.keys).insert(key.as_str().into());
        key
    }

    /// The image of a key, ours or from elsewhere.
    fn find(&self, state: &State, key: &Key, or_parent: bool) -> Option<Descriptor> {
        if let Some(image) = cache::find(self.layout, key, !self.looks_only) {
            self.note_use(key);
            return Some(image);
        }
        let made = Made { parent: state.image.as_ref(), config: &state.config.members, or_parent };
        let from = |source| cache::find_elsewhere(self.layout, self.siblings, source, key, &made).ok();
        self.elsewhere.iter().find_map(from)
    }

    /// For dfile-cache(1) only.
    pub fn note_use(&self, key: &Key) {
        if !self.looks_only {
            let _ = self.layout.note_use(key.as_str());
        }
    }

    /// The same without a look at the image: of a row of cached steps only the last is proven, for it has the layers
    /// of all. So the time of a cached build grows with its steps and not with their square.
    fn believe(&mut self, state: &State, key: &Key, or_parent: bool) -> Option<Descriptor> {
        if self.no_cache {
            return None;
        }
        let known = if self.careful { None } else { cache::known(self.layout, key) };
        if known.is_some() {
            self.note_use(key);
            self.unproven.clone_from(&known);
            return known;
        }
        let found = self.find(state, key, or_parent);
        if found.is_some() {
            self.unproven = None;
        }
        found
    }

    /// Before anything is made of the image so far, and at the end of a stage.
    fn prove(&mut self) -> anyhow::Result<()> {
        match self.unproven.take() {
            Some(image) if !cache::is_whole(self.layout, &image, !self.looks_only) => bail!(Damaged),
            _ => self.may_make(),
        }
    }

    /// Takes the step from the cache when it can.
    pub fn take_cached(&mut self, state: &mut State, key: &Key) -> anyhow::Result<bool> {
        let Some(image) = self.believe(state, key, false) else {
            self.prove()?;
            return Ok(false);
        };
        state.image = Some(image);
        state.pending.clear();
        state.stale = false;
        self.progress.cached();
        Ok(true)
    }

    /// `img-append` on the image so far, ready for the layer.
    pub fn append(&self, state: &State, entry: Option<&Value>, key: &Key) -> anyhow::Result<Command> {
        let mut history: Vec<Value> = state.pending.iter().chain(entry).cloned().collect();
        for entry in &mut history {
            entry["comment"] = HISTORY_COMMENT.into();
        }
        let mut change = json!({"config": state.config.members, "history": history});
        if let Some(author) = &state.config.author {
            change["author"] = author.as_str().into();
        }
        let mut command = self.siblings.on_layout("img-append");
        match &state.image {
            Some(image) => command.arg("--base").arg(image.digest.to_string()),
            None => command.args(["--base", "scratch"]),
        };
        if let (None, Some(platform)) = (&state.image, &state.platform) {
            command.arg("--platform").arg(platform.to_string());
        }
        let change = change.to_string();
        // The kernel takes no single argument of 128 KiB (execve(2), MAX_ARG_STRLEN).
        if change.len() > 100_000 {
            bail!("the configuration of the image is longer than 100000 bytes");
        }
        command.args(["--change-json", &change, "--pin", key.as_str()]);
        Ok(command)
    }

    /// The image of a built stage: what is pending becomes one more image, without a layer.
    pub fn image_of(&mut self, stage: usize) -> anyhow::Result<Descriptor> {
        let turn = self.shared.board.turn(&format!("stage {stage}"));
        let _mine = lock(&turn);
        let mut state = self.built(stage)?;
        let changed = state.stale || !state.pending.is_empty() || state.image.is_none();
        if changed {
            let key = self.key(&state, &json!("end"));
            let found = if self.no_cache { None } else { self.find(&state, &key, false) };
            if let Some(image) = found {
                state.image = Some(image);
            } else {
                self.may_make()?;
                let record = siblings::transform(&mut self.append(&state, None, &key)?, None)?;
                state.advance(record)?;
            }
            state.pending.clear();
            state.stale = false;
            self.shared.board.put(stage, state.clone());
        }
        state.image.context("no image")
    }

    pub fn record(&self, state: &State) -> anyhow::Result<Record> {
        let descriptor = state.image.clone().context("the image is empty")?;
        let layout = self.layout.path().to_owned().into();
        Ok(Image { layout, reference: None, descriptor, rest: serde_json::Map::new() }.into())
    }

    /// What the image holds, read once and then kept up to date by what is written.
    pub fn take_below(&mut self, state: &State) -> anyhow::Result<Below> {
        match &state.image {
            None => Ok(Below::default()),
            Some(image) => {
                let (below, store) = (std::mem::take(&mut self.below), Layers::new(self.siblings.root()));
                below.reach(self.layout, &store, &self.layout.open_image(image, None)?)
            }
        }
    }

    pub fn keep_below(&mut self, state: &State, mut below: Below) -> anyhow::Result<()> {
        if let Some(image) = &state.image {
            below.written(&self.layout.open_image(image, None)?);
            self.below = below;
        }
        Ok(())
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
                    self.layout.pin(key.as_str(), parent)?;
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
                let latest = self.latest;
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
    to: impl std::io::Write,
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

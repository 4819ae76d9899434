//! COPY and ADD as steps: sources found where the instruction says, a key for the cache, and `img-append` fed with
//! the layer. With `--link` the layer is made once, on nothing, and put on every base by its digest.

use crate::below::Below;
use crate::cache::{self, Key};
use crate::config::absolute;
use crate::copy::{self, Plan, Taken};
use crate::siblings;
use crate::source::{Root, Wanted};
use crate::step::{Builder, State};
use anyhow::{Context, bail};
use dockerfile::{Base, Copy, Ignore, Mode};
use serde_json::{Map, Value, json};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use wire::{Descriptor, Layer};

impl Builder<'_> {
    pub(crate) fn copy(&mut self, state: &mut State, copy: &Copy, stage: usize) -> anyhow::Result<()> {
        let word = if copy.add { "ADD" } else { "COPY" };
        let root = match &copy.from {
            Some(from) => self.tree(from, stage)?,
            None => Arc::clone(&self.context),
        };
        let sources = self.sources(copy, &root, word)?;
        let destination = directory_kept(state.config.working_dir(), &copy.destination);
        if sources.len() + copy.inline.len() > 1 && !destination.ends_with('/') && copy.sources.len() > 1 {
            bail!("{word}: more than one source: the destination {destination:?} must end with /");
        }
        let mode = copy.chmod.as_deref().map(Mode::parse).transpose()?;
        let inline: Vec<_> = copy.inline.iter().map(|d| (d.name.clone(), d.content.clone())).collect();
        let digests = sources
            .iter()
            .map(|taken| Ok(json!([taken.root.digest(&taken.source)?, taken.unpack])))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let inputs = json!([word, digests, inline, destination, copy.chown, copy.chmod, copy.link]);
        let key = self.key(state, &inputs);
        if self.take_cached(state, &key) {
            return Ok(());
        }
        let mut below = match copy.chown.as_deref() {
            Some(spec) if !copy::is_number(spec) => self.take_below(state)?,
            _ if !copy.link => self.take_below(state)?,
            _ => Below::default(),
        };
        let owner = copy.chown.as_deref().map(|spec| copy::owner(spec, &below)).transpose()?;
        let entry = json!({"created_by": history(copy, word)});
        let plan = Plan { sources, inline, destination, owner, mode };
        let latest = self.latest;
        let mut append = self.append(state, Some(&entry), &key)?;
        let record = if copy.link {
            let layer = self.linked(&plan, &inputs, &entry)?;
            siblings::transform(append.args(["--layers-from", "-"]), Some(&layer.into()))
        } else {
            siblings::fed(append.args(["--layer", "-"]), |pipe| copy::write(&plan, &mut below, pipe, latest))
        };
        state.advance(record.with_context(|| word.to_owned())?)?;
        if !copy.link {
            self.keep_below(state, below)?;
        }
        self.progress.done();
        Ok(())
    }

    /// Everything that the words of an instruction name.
    fn sources(&mut self, copy: &Copy, root: &Arc<Root>, word: &str) -> anyhow::Result<Vec<Taken>> {
        let wanted = Wanted { exclude: Ignore::of(&copy.exclude)?, parents: copy.parents };
        let unpack = copy.unpack.unwrap_or(copy.add);
        let mut sources = Vec::new();
        for name in &copy.sources {
            let found = root.find(name, &wanted).with_context(|| word.to_owned())?;
            if found.is_empty() {
                self.progress.note(&format!("warning: {word} {name}: nothing there to copy"));
            }
            sources.extend(found.into_iter().map(|source| Taken { root: Arc::clone(root), source, unpack }));
        }
        Ok(sources)
    }

    /// The layer of a copy that does not look at what is below it. It is kept as an image of its own, so that
    /// another base takes it as it is.
    fn linked(&mut self, plan: &Plan, inputs: &Value, entry: &Value) -> anyhow::Result<Layer> {
        let key = Key::of(&json!(["link", inputs, plan.owner, self.latest]));
        let mut kept = State::nothing();
        kept.image = if self.no_cache { None } else { cache::find(self.layout, &key) };
        if kept.image.is_none() {
            let latest = self.latest;
            let mut append = self.append(&kept, Some(entry), &key)?;
            let write = |pipe: &mut dyn Write| copy::write(plan, &mut Below::default(), pipe, latest);
            kept.advance(siblings::fed(append.args(["--layer", "-"]), write)?)?;
        }
        let descriptor = kept.image.context("no image")?;
        let image = self.layout.open_image(&descriptor, None)?;
        let ([layer], [diff_id]) = (&image.manifest.layers[..], &image.diff_ids[..]) else { bail!("not one layer") };
        Ok(Layer {
            layout: self.layout.path().to_owned().into(),
            descriptor: layer.clone(),
            diff_id: diff_id.clone(),
            rest: Map::new(),
        })
    }

    /// The tree of a stage, an image or a named context.
    pub(crate) fn tree(&mut self, from: &str, stage: usize) -> anyhow::Result<Arc<Root>> {
        let descriptor = match self.graph.source(from, stage)? {
            Base::Stage(earlier) => self.image_of(earlier)?,
            Base::Image(name) => self.base_image(&name, None)?.descriptor,
            Base::Scratch => bail!("--from=scratch"),
            Base::Context(name) => bail!("{name}: named contexts are not supported yet"),
        };
        self.unpacked(descriptor)
    }

    /// An image as a directory, made once a build.
    fn unpacked(&mut self, image: Descriptor) -> anyhow::Result<Arc<Root>> {
        let key = image.digest.to_string();
        if let Some(root) = self.trees.get(&key) {
            return Ok(Arc::clone(root));
        }
        let number = self.trees.len();
        let bundle = self.scratch()?.join(number.to_string());
        let state = State { image: Some(image), ..State::nothing() };
        let mut command = self.siblings.on_layout("img-unpack");
        siblings::transform(command.arg("--flat").arg(&bundle), Some(&self.record(&state)?))?;
        let root = Arc::new(Root::open(&bundle.join("rootfs"), Ignore::default(), true)?);
        self.trees.insert(key, Arc::clone(&root));
        Ok(root)
    }

    /// A directory of this build, gone at its end.
    fn scratch(&mut self) -> anyhow::Result<&Path> {
        if self.scratch.is_none() {
            let cache = self.siblings.root().join("cache");
            crate::run::private_dir(&cache)?;
            let dir = tempfile::Builder::new().prefix("build-").tempdir_in(&cache);
            self.scratch = Some(dir.with_context(|| format!("{}: mkdtemp", cache.display()))?);
        }
        Ok(self.scratch.as_ref().context("no directory")?.path())
    }
}

/// The destination as an absolute path that still ends with a slash when it names a directory.
fn directory_kept(working_dir: &str, destination: &str) -> String {
    let path = absolute(working_dir, destination);
    let is_directory = destination.is_empty()
        || destination.ends_with('/')
        || matches!(destination.rsplit('/').next(), Some("." | ".."));
    if is_directory && path != "/" { format!("{path}/") } else { path }
}

/// The line in the history, in BuildKit's words: it leaves out --link and --exclude.
fn history(copy: &Copy, word: &str) -> String {
    let mut line = word.to_owned();
    if copy.parents {
        line.push_str(" --parents");
    }
    if let Some(owner) = &copy.chown {
        line.push_str(" --chown=");
        line.push_str(owner);
    }
    if let Some(mode) = &copy.chmod {
        line.push_str(" --chmod=");
        line.push_str(mode);
    }
    let inline = copy.inline.iter().map(|document| format!("<<{}", document.name));
    for source in copy.sources.iter().cloned().chain(inline) {
        line.push(' ');
        line.push_str(&source);
    }
    format!("{line} {} # buildkit", copy.destination)
}

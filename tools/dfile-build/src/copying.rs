//! COPY and ADD as steps: sources found where the instruction says, a key for the cache, and `img-append` fed with
//! the layer. With `--link` the layer is made once, on nothing, and put on every base by its digest.

use crate::below::Below;
use crate::board::lock;
use crate::builder::Builder;
use crate::cache::{self, Key};
use crate::context::{self, Named};
use crate::copy::{self, Plan, Taken};
use crate::git::{self, Repository};
use crate::siblings;
use crate::source::{Root, Wanted};
use crate::state::State;
use crate::web::Page;
use anyhow::{Context, bail};
use dockerfile::{Base, Copy, Ignore, Mode, absolute};
use layer_tar::Time;
use oci_layout::{Layout, OpenImage};
use serde_json::{Map, Value, json};
use std::io::Write;
use std::sync::Arc;
use wire::Descriptor;

/// What a word of an instruction names.
enum Origin {
    Tree(Taken),
    /// Fetched only for a new layer.
    Web(Page),
}

impl Origin {
    fn key(&self, copy: &Copy) -> anyhow::Result<Value> {
        Ok(match self {
            Self::Tree(taken) => json!([taken.root.digest(&taken.source)?, taken.unpack]),
            Self::Web(page) => json!([page.key(), copy.unpack, copy.exclude]),
        })
    }
}

/// A named context.
pub(crate) enum Found {
    Tree(Arc<Root>),
    Image(Box<OpenImage>),
}

/// A tree as `--from` names it. An image is not unpacked before somebody needs a file of it.
pub(crate) enum Tree {
    Open(Arc<Root>),
    Packed(Box<Descriptor>),
}

impl Builder<'_> {
    pub(crate) fn copy(&mut self, state: &mut State, copy: &Copy, stage: usize) -> anyhow::Result<()> {
        let word = if copy.add { "ADD" } else { "COPY" };
        let tree = match &copy.from {
            Some(from) => self.tree(from, stage)?,
            None => Tree::Open(Arc::clone(&self.build.context)),
        };
        let destination = directory_kept(state.config.working_dir(), &copy.destination);
        let inline: Vec<_> = copy.inline.iter().map(|d| (d.name.clone(), d.content.clone())).collect();
        let how = json!([word, inline, destination, copy.chown, copy.chmod, copy.link]);
        let by_image = self.key_by_image(state, copy, &tree, &how);
        if let Some(key) = &by_image
            && self.take_cached(state, key)?
        {
            return Ok(());
        }
        let root = self.opened(&tree)?;
        let sources = self.sources(copy, &root, word)?;
        if sources.len() + copy.inline.len() > 1 && !destination.ends_with('/') && copy.sources.len() > 1 {
            bail!("{word}: more than one source: the destination {destination:?} must end with /");
        }
        let mode = copy.chmod.as_deref().map(Mode::parse).transpose()?;
        let digests = sources.iter().map(|source| source.key(copy)).collect::<anyhow::Result<Vec<_>>>()?;
        let inputs = json!([digests, how]);
        let key = self.key(state, &inputs);
        if self.take_cached(state, &key)? {
            return self.pin_also(by_image.as_ref(), &key);
        }
        let mut below = match copy.chown.as_deref() {
            Some(spec) if !copy::is_number(spec) => self.take_below(state)?,
            _ if !copy.link => self.take_below(state)?,
            _ => Below::default(),
        };
        let owner = copy.chown.as_deref().map(|spec| copy::owner(spec, &mut below)).transpose()?;
        let entry = json!({"created_by": history(copy, word)});
        let sources = self.taken(copy, sources)?;
        let plan = Plan { sources, inline, destination, owner, mode };
        let latest = self.latest();
        let mut append = self.append(state, Some(&entry), &key)?;
        let record = if copy.link {
            let layer = self.linked(plan, &inputs, &entry)?;
            siblings::transform(append.args(["--layers-from", "-"]), Some(&layer.into()))
        } else {
            siblings::fed(append.args(["--layer", "-"]), |pipe| copy::write(plan, &mut below, pipe, latest))
        };
        state.advance(record.with_context(|| word.to_owned())?)?;
        if !copy.link {
            self.keep_below(state, below)?;
        }
        self.pin_also(by_image.as_ref(), &key)?;
        self.progress.done();
        Ok(())
    }

    /// The same image has the same files: a key that needs none of them. What the files themselves say comes second,
    /// for an image that is another one and brings the same files.
    fn key_by_image(&self, state: &State, copy: &Copy, tree: &Tree, how: &Value) -> Option<Key> {
        let Tree::Packed(image) = tree else { return None };
        Some(self.key(state, &json!([image.digest, copy.sources, copy.exclude, copy.parents, copy.unpack, how])))
    }

    /// A second key of what a key stands for.
    pub(crate) fn pin_also(&self, also: Option<&Key>, key: &Key) -> anyhow::Result<()> {
        match also {
            Some(also) if !self.looks_only => cache::pin_also(&self.build.layout, also, key),
            _ => Ok(()),
        }
    }

    /// Everything that the words of an instruction name.
    fn sources(&mut self, copy: &Copy, root: &Arc<Root>, word: &str) -> anyhow::Result<Vec<Origin>> {
        let wanted = Wanted { exclude: Ignore::of(&copy.exclude)?, parents: copy.parents };
        let unpack = copy.unpack.unwrap_or(copy.add);
        let mut sources = Vec::new();
        for name in &copy.sources {
            let repository = Repository::of(name).filter(|_| copy.add && !name.starts_with("github.com/"));
            if let Some(repository) = repository {
                sources.extend(self.repository(copy, &repository, &wanted)?.into_iter().map(Origin::Tree));
                continue;
            }
            if copy.add && (name.starts_with("http://") || name.starts_with("https://")) {
                self.may_make()?;
                sources.push(Origin::Web(self.page(copy, name)?));
                continue;
            }
            if copy.checksum.is_some() {
                bail!("ADD --checksum is for sources from the network, and {name} is none");
            }
            let found = root.find(name, &wanted).with_context(|| word.to_owned())?;
            if found.is_empty() {
                self.progress.note(&format!("warning: {word} {name}: nothing there to copy"));
            }
            let taken = found.into_iter().map(|source| Taken { root: Arc::clone(root), source, unpack });
            sources.extend(taken.map(Origin::Tree));
        }
        Ok(sources)
    }

    /// All of it as files.
    fn taken(&self, copy: &Copy, sources: Vec<Origin>) -> anyhow::Result<Vec<Taken>> {
        let wanted = Wanted { exclude: Ignore::of(&copy.exclude)?, parents: copy.parents };
        let mut taken = Vec::new();
        for source in sources {
            match source {
                Origin::Tree(one) => taken.push(one),
                Origin::Web(page) => taken.extend(self.download(copy, &page, &wanted)?),
            }
        }
        Ok(taken)
    }

    /// What is in a git repository; its files have the time of the commit.
    fn repository(&self, copy: &Copy, repository: &Repository, wanted: &Wanted) -> anyhow::Result<Vec<Taken>> {
        self.may_make()?;
        let dir = self.build.scratch.path()?;
        let commit = git::fetch(repository, &dir, copy.keep_git_dir, &self.build.siblings)?;
        commit.check(copy.checksum.as_deref()).with_context(|| repository.url.clone())?;
        let mut root = Root::open(&dir, Ignore::default(), false)?;
        if !repository.directory.is_empty() {
            root = root.directory(&repository.directory).with_context(|| repository.url.clone())?;
        }
        let root = Arc::new(root);
        let mut found = root.find(".", wanted)?;
        for entry in found.iter_mut().flat_map(|source| &mut source.entries) {
            entry.mtime = Time::at(commit.time);
        }
        Ok(found.into_iter().map(|source| Taken { root: Arc::clone(&root), source, unpack: false }).collect())
    }

    /// The layer of a copy that does not look at what is below it. It is kept as an image of its own, so that
    /// another base takes it as it is.
    fn linked(&mut self, plan: Plan, inputs: &Value, entry: &Value) -> anyhow::Result<wire::Layer> {
        let key = Key::of(&json!(["link", inputs, plan.owner, self.latest()]));
        let mut kept = State::nothing();
        kept.image = if self.no_cache { None } else { cache::find(&self.build.layout, &key, !self.looks_only) };
        self.note_use(&key);
        if kept.image.is_none() {
            let latest = self.latest();
            let mut append = self.append(&kept, Some(entry), &key)?;
            let write = |pipe: &mut dyn Write| copy::write(plan, &mut Below::default(), pipe, latest);
            kept.advance(siblings::fed(append.args(["--layer", "-"]), write)?)?;
        }
        let descriptor = kept.image.context("no image")?;
        let image = self.build.layout.open_image(&descriptor, None)?;
        let ([layer], [diff_id]) = (&image.manifest.layers[..], &image.diff_ids[..]) else { bail!("not one layer") };
        Ok(wire::Layer {
            layout: self.build.layout.path().to_owned().into(),
            descriptor: layer.clone(),
            diff_id: diff_id.clone(),
            rest: Map::new(),
        })
    }

    /// A stage, an image or a named context, as `--from` names it.
    pub(crate) fn tree(&mut self, from: &str, stage: usize) -> anyhow::Result<Tree> {
        let image = match self.variant.graph.source(from, stage)? {
            Base::Stage(earlier) => self.image_of(earlier)?,
            Base::Image(name) => self.base_image(&name, self.variant.platform.as_ref())?.descriptor,
            Base::Scratch => bail!("--from=scratch"),
            Base::Context(name) => match self.named(&name)? {
                Found::Tree(root) => return Ok(Tree::Open(root)),
                Found::Image(image) => image.descriptor,
            },
        };
        Ok(Tree::Packed(Box::new(image)))
    }

    /// The files themselves.
    pub(crate) fn opened(&mut self, tree: &Tree) -> anyhow::Result<Arc<Root>> {
        match tree {
            Tree::Open(root) => Ok(Arc::clone(root)),
            Tree::Packed(image) => self.unpacked((**image).clone()),
        }
    }

    /// What a named context turns out to be.
    pub(crate) fn named(&mut self, name: &str) -> anyhow::Result<Found> {
        let contexts = &self.build.wishes.contexts;
        let place = contexts.get(name).with_context(|| format!("{name}: no such context"))?;
        let platform = self.variant.platform.clone();
        match place {
            Named::Image(image) => Ok(Found::Image(Box::new(self.base_image(image, platform.as_ref())?))),
            Named::Layout { dir, image } => {
                self.may_make()?;
                let from = Layout::open(dir).with_context(|| name.to_owned())?;
                let image = context::bring(&from, image.as_deref(), &self.build.layout, platform.as_ref())?;
                Ok(Found::Image(Box::new(image)))
            }
            Named::Place(place) => {
                let turn = self.shared.board.turn(&format!("context {name}"));
                let _mine = lock(&turn);
                if let Some(root) = lock(&self.shared.trees).get(name) {
                    return Ok(Found::Tree(Arc::clone(root)));
                }
                if !matches!(place, context::Place::Directory(_)) {
                    self.may_make()?;
                }
                let keep_git_dir = self.build.wishes.builtin.keep_git_dir;
                let opened = context::open(place, keep_git_dir, &self.build.scratch, &self.build.siblings)
                    .with_context(|| name.to_owned())?;
                let ignore = opened.ignore(None)?;
                let root = Arc::new(opened.root.ignoring(ignore));
                lock(&self.shared.trees).insert(name.to_owned(), Arc::clone(&root));
                Ok(Found::Tree(root))
            }
        }
    }

    /// An image as a directory, made once a build.
    fn unpacked(&mut self, image: Descriptor) -> anyhow::Result<Arc<Root>> {
        let key = image.digest.to_string();
        let turn = self.shared.board.turn(&key);
        let _mine = lock(&turn);
        if let Some(root) = lock(&self.shared.trees).get(&key) {
            return Ok(Arc::clone(root));
        }
        self.may_make()?;
        let bundle = self.build.scratch.path()?;
        let state = State { image: Some(image), ..State::nothing() };
        let mut command = self.build.siblings.on_layout("img-unpack");
        siblings::transform(command.arg("--flat").arg(&bundle), Some(&self.record(&state)?))?;
        let root = Arc::new(Root::open(&bundle.join("rootfs"), Ignore::default(), true)?);
        lock(&self.shared.trees).insert(key, Arc::clone(&root));
        Ok(root)
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

//! COPY and ADD: sources found, places in the image decided, and one deterministic layer written.

use crate::archive;
use crate::below::{Below, Kind as Place};
use crate::source::{Entry, Root, Source};
use anyhow::{Context, bail};
use dockerfile::Mode;
use layer_tar::write::TarWriter;
use layer_tar::{Kind, Meta, Time};
use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What one COPY or ADD puts into the image.
#[derive(Debug)]
pub struct Plan {
    pub sources: Vec<Taken>,
    /// Here-documents: name and content.
    pub inline: Vec<(String, String)>,
    /// Absolute, without links put in; a trailing slash is kept.
    pub destination: String,
    pub owner: Option<(u32, u32)>,
    /// Of files and copied directories, instead of their own.
    pub mode: Option<Mode>,
}

/// One source, and where it is read.
#[derive(Debug)]
pub struct Taken {
    pub root: Arc<Root>,
    pub source: Source,
    /// An archive is not copied: what is in it is.
    pub unpack: bool,
}

/// The owner of `--chown`: names by the image's own passwd and group; a number without a group is its own group.
pub fn owner(spec: &str, below: &mut Below) -> anyhow::Result<(u32, u32)> {
    if let Ok(id) = spec.parse::<u32>()
        && spec.bytes().all(|b| b.is_ascii_digit())
    {
        return Ok((id, id));
    }
    let [passwd, group] = below.users()?;
    let user =
        bundle::users::resolve(spec, passwd.as_deref(), group.as_deref()).with_context(|| format!("--chown={spec}"))?;
    Ok((user.uid, user.gid))
}

/// Whether `--chown` means the same in every image.
pub fn is_number(spec: &str) -> bool {
    spec.split(':').all(|id| !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit()))
}

/// Writes the layer of a plan and enters it in `below`. What is written is forgotten: of a large tree not every path is
/// in memory twice.
pub fn write(mut plan: Plan, below: &mut Below, to: impl Write, latest: Option<i64>) -> anyhow::Result<()> {
    let newest = plan.sources.iter().flat_map(|taken| &taken.source.entries).map(|entry| entry.mtime).max();
    let mut layer = Layer {
        tar: TarWriter::new(to, latest),
        below,
        owner: plan.owner,
        mode: plan.mode.clone(),
        made: newest.unwrap_or(Time::at(latest.unwrap_or(0))),
        written: None,
        shared: HashMap::new(),
    };
    let (top, items) = places(&plan, layer.below)?;
    if items.iter().any(|item| matches!(item, Item::Archive(_))) {
        layer.written = Some(HashSet::new());
    }
    for item in items {
        let path = plan.path(&top, item);
        match item {
            Item::Entry(number, at) => {
                let Taken { root, source, .. } = &mut plan.sources[number as usize];
                let entry = &mut source.entries[at as usize];
                layer.entry(&path, entry, root, number, path == top.at)?;
                entry.path = Box::from(Path::new(""));
            }
            Item::Inline(number) => layer.inline(&path, &plan.inline[number as usize].1)?,
            Item::Archive(number) => {
                let Taken { root, source, .. } = &plan.sources[number as usize];
                archive::unpack(&mut layer, root, &source.entries[0], &path)?;
            }
        }
    }
    layer.tar.finish()?;
    Ok(())
}

/// Something to write, by its number in the plan: where it goes is worked out when it is its turn.
#[derive(Clone, Copy)]
enum Item {
    /// An entry of a source.
    Entry(u32, u32),
    Inline(u32),
    Archive(u32),
}

/// The destination in the image, without links.
struct Top {
    at: PathBuf,
    /// It is a directory, or to be one: files go into it.
    into: bool,
}

impl Plan {
    fn path(&self, top: &Top, item: Item) -> PathBuf {
        let named = |name: &OsStr| if top.into { top.at.join(name) } else { top.at.clone() };
        match item {
            Item::Archive(_) => top.at.clone(),
            Item::Inline(number) => named(OsStr::new(&self.inline[number as usize].0)),
            Item::Entry(number, at) => {
                let source = &self.sources[number as usize].source;
                match source.kind() {
                    // Joined with nothing it would end with a slash.
                    Kind::Directory if at == 0 => top.at.clone(),
                    Kind::Directory => top.at.join(source.below(&source.entries[at as usize])),
                    _ => named(&source.name),
                }
            }
        }
    }

    fn is_directory(&self, item: Item) -> bool {
        match item {
            Item::Entry(number, at) => {
                self.sources[number as usize].source.entries[at as usize].kind == Kind::Directory
            }
            _ => false,
        }
    }
}

/// Where each file goes, each place once: a later source replaces an earlier one, as in docker.
fn places(plan: &Plan, below: &mut Below) -> anyhow::Result<(Top, Vec<Item>)> {
    let at = below.resolve(Path::new(&plan.destination))?;
    let there = below.kind(&at)?;
    let into = plan.destination.ends_with('/') || there == Some(Place::Directory);
    let files = plan.sources.iter().filter(|taken| taken.source.kind() != Kind::Directory).count();
    if !into && (plan.sources.len() > 1 || files + plan.inline.len() > 1) {
        bail!("several sources: the destination {:?} must end with / or be a directory", plan.destination);
    }
    let top = Top { at, into };
    // One source has each path once.
    let index = (plan.sources.len() + plan.inline.len() > 1).then(HashMap::new);
    let mut items = Places { plan, top, list: Vec::new(), index };
    for (number, Taken { root, source, unpack }) in (0..).zip(&plan.sources) {
        let is_directory = source.kind() == Kind::Directory;
        if is_directory && there == Some(Place::Other) {
            bail!("{}: is not a directory: cannot copy a directory there", plan.destination);
        }
        if *unpack && source.kind() == Kind::File && archive::is_one(root.read(&source.entries[0].path)?)? {
            items.list.push(Item::Archive(number));
            continue;
        }
        for (at, entry) in (0..).zip(&source.entries) {
            items.put(Item::Entry(number, at))?;
            if at > 0 && entry.kind == Kind::Directory {
                let path = plan.path(&items.top, Item::Entry(number, at));
                if matches!(below.kind(&path)?, Some(Place::Link | Place::Other)) {
                    bail!("/{}: is not a directory in the image: cannot copy a directory there", path.display());
                }
            }
        }
    }
    for (number, _) in (0..).zip(&plan.inline) {
        items.put(Item::Inline(number))?;
    }
    for item in items.list.iter().filter(|item| !matches!(item, Item::Archive(_)) && !plan.is_directory(**item)) {
        let path = plan.path(&items.top, *item);
        if below.kind(&path)? == Some(Place::Directory) {
            bail!("/{}: is a directory in the image: cannot copy a file there", path.display());
        }
    }
    Ok((items.top, items.list))
}

struct Places<'a> {
    plan: &'a Plan,
    top: Top,
    list: Vec<Item>,
    /// Where in the list what goes to a path is.
    index: Option<HashMap<PathBuf, usize>>,
}

impl Places<'_> {
    fn put(&mut self, item: Item) -> anyhow::Result<()> {
        if let Some(index) = &mut self.index {
            let path = self.plan.path(&self.top, item);
            if let Some(&at) = index.get(&path) {
                if self.plan.is_directory(self.list[at]) != self.plan.is_directory(item) {
                    bail!("/{}: one source has a directory there and another a file", path.display());
                }
                self.list[at] = item;
                return Ok(());
            }
            index.insert(path, self.list.len());
        }
        self.list.push(item);
        Ok(())
    }
}

/// A layer being written, with what is below it.
pub struct Layer<'a, W: Write> {
    pub tar: TarWriter<W>,
    pub below: &'a mut Below,
    pub owner: Option<(u32, u32)>,
    mode: Option<Mode>,
    /// The time of directories that no source has.
    made: Time,
    /// The paths of this layer, where there is an archive that may bring one of them again.
    pub written: Option<HashSet<PathBuf>>,
    /// Names of one file are one file again, within a source.
    shared: HashMap<(u32, (u64, u64)), PathBuf>,
}

impl<W: Write> Layer<'_, W> {
    /// A directory that must be there: made, with those above it, where it is not.
    pub fn directory(&mut self, path: &Path) -> anyhow::Result<()> {
        match self.below.kind(path)? {
            Some(Place::Directory) => return Ok(()),
            Some(_) => bail!("/{}: is not a directory in the image", path.display()),
            None => {}
        }
        if let Some(parent) = path.parent() {
            self.directory(parent)?;
        }
        let (uid, gid) = self.owner.unwrap_or((0, 0));
        let meta = Meta { mode: 0o755, uid, gid, mtime: self.made, ..Meta::default() };
        self.tar.directory(path, &meta)?;
        self.remember(path);
        self.below.put(path, Place::Directory)
    }

    /// Whether nobody brought the path before.
    pub fn remember(&mut self, path: &Path) -> bool {
        self.written.as_mut().is_none_or(|written| written.insert(path.to_owned()))
    }

    fn entry(&mut self, path: &Path, entry: &Entry, root: &Root, source: u32, is_top: bool) -> anyhow::Result<()> {
        if is_top && entry.kind == Kind::Directory {
            return self.directory(path);
        }
        if let Some(parent) = path.parent() {
            self.directory(parent)?;
        }
        let mut meta = entry.meta();
        if let Some((uid, gid)) = self.owner {
            (meta.uid, meta.gid) = (uid, gid);
        }
        if let Some(mode) = &self.mode {
            meta.mode = mode.of(meta.mode, entry.kind == Kind::Directory);
        }
        self.remember(path);
        match entry.kind {
            Kind::Directory => self.tar.directory(path, &meta)?,
            Kind::Symlink => {
                meta.mode = 0o777;
                self.tar.symlink(path, &meta, entry.target())?;
                let target = PathBuf::from(OsStr::from_bytes(entry.target()));
                return self.below.put_link(path, target);
            }
            Kind::File => {
                let known = entry.shared().and_then(|inode| self.shared.get(&(source, inode)));
                if let Some(first) = known {
                    self.tar.hard_link(path, &meta, first)?;
                } else {
                    let file = root.read(&entry.path)?;
                    self.tar.file(path, &meta, entry.size, file)?;
                    entry.shared().map(|inode| self.shared.insert((source, inode), path.to_owned()));
                }
            }
            Kind::Fifo => self.tar.fifo(path, &meta)?,
            Kind::Char => self.tar.char_device(path, &meta, entry.device())?,
            Kind::Block => self.tar.block_device(path, &meta, entry.device())?,
            Kind::Socket => return Ok(()),
        }
        self.below.put(path, if entry.kind == Kind::Directory { Place::Directory } else { Place::Other })
    }

    fn inline(&mut self, path: &Path, content: &str) -> anyhow::Result<()> {
        if let Some(parent) = path.parent() {
            self.directory(parent)?;
        }
        let (uid, gid) = self.owner.unwrap_or((0, 0));
        let meta = Meta {
            mode: self.mode.as_ref().map_or(0o644, |mode| mode.of(0o644, false)),
            uid,
            gid,
            mtime: self.made,
            ..Meta::default()
        };
        self.tar.file(path, &meta, content.len() as u64, content.as_bytes())?;
        self.below.put(path, Place::Other)
    }
}

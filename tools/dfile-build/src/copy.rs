//! COPY and ADD: sources found, places in the image decided, and one deterministic layer written.

use crate::archive;
use crate::below::{Below, Kind as Place};
use crate::source::{Entry, Root, Source};
use anyhow::{Context, bail};
use dockerfile::Mode;
use layer_tar::write::TarWriter;
use layer_tar::{Kind, Meta, Time};
use std::collections::{HashMap, HashSet};
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

/// Writes the layer of a plan and enters it in `below`.
pub fn write(plan: &Plan, below: &mut Below, to: impl Write, latest: Option<i64>) -> anyhow::Result<()> {
    let newest = plan.sources.iter().flat_map(|taken| &taken.source.entries).map(|entry| entry.meta.mtime).max();
    let mut layer = Layer {
        tar: TarWriter::new(to, latest),
        below,
        owner: plan.owner,
        mode: plan.mode.clone(),
        made: newest.unwrap_or(Time::at(latest.unwrap_or(0))),
        written: HashSet::new(),
        shared: HashMap::new(),
    };
    let items = places(plan, layer.below)?;
    for (path, item) in &items {
        match item {
            Item::Entry(entry, root, number) => layer.entry(path, entry, root, *number)?,
            Item::Inline(content) => layer.inline(path, content)?,
            Item::Archive(entry, root) => archive::unpack(&mut layer, root, entry, path)?,
        }
    }
    layer.tar.finish()?;
    Ok(())
}

enum Item<'a> {
    /// With the number of the source that it is of.
    Entry(&'a Entry, &'a Root, usize),
    Inline(&'a str),
    Archive(&'a Entry, &'a Root),
}

impl Item<'_> {
    fn is_directory(&self) -> bool {
        matches!(self, Item::Entry(entry, ..) if entry.kind == Kind::Directory)
    }
}

/// Where each file goes, each place once: a later source replaces an earlier one, as in docker.
fn places<'a>(plan: &'a Plan, below: &mut Below) -> anyhow::Result<Vec<(PathBuf, Item<'a>)>> {
    let resolved = below.resolve(Path::new(&plan.destination))?;
    let there = below.kind(&resolved)?;
    let into = plan.destination.ends_with('/') || there == Some(Place::Directory);
    let files = plan.sources.iter().filter(|taken| taken.source.entries[0].kind != Kind::Directory).count();
    if !into && (plan.sources.len() > 1 || files + plan.inline.len() > 1) {
        bail!("several sources: the destination {:?} must end with / or be a directory", plan.destination);
    }
    let mut items = Places::default();
    for (number, Taken { root, source, unpack }) in plan.sources.iter().enumerate() {
        let first = &source.entries[0];
        let target = if into { resolved.join(&source.name) } else { resolved.clone() };
        if first.kind == Kind::Directory {
            if there == Some(Place::Other) {
                bail!("{}: is not a directory: cannot copy a directory there", plan.destination);
            }
            items.put(resolved.clone(), Item::Entry(first, root, number))?;
            for entry in &source.entries[1..] {
                let path = resolved.join(&entry.below);
                if entry.kind == Kind::Directory && matches!(below.kind(&path)?, Some(Place::Link | Place::Other)) {
                    bail!("/{}: is not a directory in the image: cannot copy a directory there", path.display());
                }
                items.put(path, Item::Entry(entry, root, number))?;
            }
        } else if *unpack && first.kind == Kind::File && archive::is_one(root.read(&first.path)?)? {
            items.list.push((resolved.clone(), Item::Archive(first, root)));
        } else {
            items.put(target, Item::Entry(first, root, number))?;
        }
    }
    for (name, content) in &plan.inline {
        let target = if into { resolved.join(name) } else { resolved.clone() };
        items.put(target, Item::Inline(content))?;
    }
    for (path, item) in &items.list {
        let not_archive = !matches!(item, Item::Archive(..));
        if not_archive && !item.is_directory() && below.kind(path)? == Some(Place::Directory) {
            bail!("/{}: is a directory in the image: cannot copy a file there", path.display());
        }
    }
    Ok(items.list)
}

#[derive(Default)]
struct Places<'a> {
    list: Vec<(PathBuf, Item<'a>)>,
    index: HashMap<PathBuf, usize>,
}

impl<'a> Places<'a> {
    fn put(&mut self, path: PathBuf, item: Item<'a>) -> anyhow::Result<()> {
        match self.index.get(&path) {
            Some(&at) if self.list[at].1.is_directory() != item.is_directory() => {
                bail!("/{}: one source has a directory there and another a file", path.display());
            }
            Some(&at) => self.list[at].1 = item,
            None => {
                self.index.insert(path.clone(), self.list.len());
                self.list.push((path, item));
            }
        }
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
    pub written: HashSet<PathBuf>,
    /// Names of one file are one file again, within a source.
    shared: HashMap<(usize, (u64, u64)), PathBuf>,
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
        self.written.insert(path.to_owned());
        self.below.put(path, Place::Directory)
    }

    fn entry(&mut self, path: &Path, entry: &Entry, root: &Root, source: usize) -> anyhow::Result<()> {
        if entry.below.as_os_str().is_empty() && entry.kind == Kind::Directory {
            return self.directory(path);
        }
        if let Some(parent) = path.parent() {
            self.directory(parent)?;
        }
        let mut meta = entry.meta.clone();
        if let Some((uid, gid)) = self.owner {
            (meta.uid, meta.gid) = (uid, gid);
        }
        if let Some(mode) = &self.mode {
            meta.mode = mode.of(meta.mode, entry.kind == Kind::Directory);
        }
        self.written.insert(path.to_owned());
        match entry.kind {
            Kind::Directory => self.tar.directory(path, &meta)?,
            Kind::Symlink => {
                meta.mode = 0o777;
                self.tar.symlink(path, &meta, &entry.target)?;
                let target = PathBuf::from(std::ffi::OsStr::from_bytes(&entry.target));
                return self.below.put_link(path, target);
            }
            Kind::File => {
                let known = entry.shared.and_then(|inode| self.shared.get(&(source, inode)));
                if let Some(first) = known {
                    self.tar.hard_link(path, &meta, first)?;
                } else {
                    let file = root.read(&entry.path)?;
                    self.tar.file(path, &meta, entry.size, file)?;
                    entry.shared.map(|inode| self.shared.insert((source, inode), path.to_owned()));
                }
            }
            Kind::Fifo => self.tar.fifo(path, &meta)?,
            Kind::Char => self.tar.char_device(path, &meta, entry.device)?,
            Kind::Block => self.tar.block_device(path, &meta, entry.device)?,
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

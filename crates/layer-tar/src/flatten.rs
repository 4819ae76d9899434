//! Layers become one flat tar without a tree on disk: the first reading finds out what stays, the second copies it.

use crate::apply::{inside, is_overlay, refused};
use crate::read::{Entry, TarReader, Type};
use crate::root::DEEPEST;
use crate::stack::components;
use crate::write::{Device, TarWriter};
use crate::{Error, Kind, Meta, OPAQUE_NAME, Result, WHITEOUT_PREFIX};
use rustix::io::Errno;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

const MOST_LINKS: u32 = 40;
const ROOT: usize = 0;

/// Layers put over each other without a disk: the names are kept in memory, the content is read a second time.
/// First [`add`](Flat::add) every layer, the lowest first; then [`writer`](Flat::writer), and every layer again.
#[derive(Debug, Default)]
pub struct Flat {
    dirs: Vec<Dir>,
    nodes: Vec<Node>,
    layer: usize,
}

#[derive(Debug)]
struct Dir {
    meta: Meta,
    names: BTreeMap<OsString, Name>,
}

#[derive(Debug, Clone, Copy)]
struct Name {
    is: Is,
    /// The layer that made it: its whiteouts leave it alone.
    layer: usize,
    /// Whether an entry named it, or it was only on the way to one.
    made: bool,
}

#[derive(Debug, Clone, Copy)]
enum Is {
    Dir(usize),
    Node(usize),
}

#[derive(Debug)]
struct Node {
    kind: Kind,
    meta: Meta,
    link: Vec<u8>,
    device: Device,
    /// Which entry of which layer has the content.
    source: (usize, u64),
}

fn implied() -> Dir {
    Dir { meta: Meta { mode: 0o755, ..Meta::default() }, names: BTreeMap::new() }
}

impl Flat {
    /// An empty tree.
    pub fn new() -> Self {
        Self { dirs: vec![implied()], ..Self::default() }
    }

    /// Puts the next layer over what is there.
    pub fn add(&mut self, tar: impl Read) -> Result<()> {
        let mut reader = TarReader::new(tar);
        let mut at = 0;
        while let Some(entry) = reader.next()? {
            self.place(entry, at)?;
            at += 1;
        }
        self.layer += 1;
        reader.drain()
    }

    fn place(&mut self, entry: Entry, at: u64) -> Result<()> {
        let path = inside(&entry.path, &entry.path)?;
        let mut meta = entry.meta.clone();
        meta.xattrs.retain(|name, _| !is_overlay(name));
        let Some(name) = path.file_name() else {
            if entry.kind != Type::Node(Kind::Directory) {
                return Err(refused(&entry, "the root is not a directory"));
            }
            self.dirs[ROOT].meta = meta;
            return Ok(());
        };
        let above = path.parent().unwrap_or(Path::new(""));
        let hides = |prefix: &[u8]| above.components().any(|part| part.as_os_str().as_bytes().starts_with(prefix));
        if hides(b".wh..wh.") {
            return Ok(());
        }
        if hides(WHITEOUT_PREFIX) {
            return Err(refused(&entry, "a path below a whiteout"));
        }
        // Aufs's own names mean nothing in a layer, not even a directory for them.
        if name.as_bytes().starts_with(b".wh..wh.") && name != OsStr::from_bytes(OPAQUE_NAME) {
            return Ok(());
        }
        let parent = self.make(above)?;
        if let Some(hidden) = name.as_bytes().strip_prefix(WHITEOUT_PREFIX) {
            match hidden {
                _ if name == OsStr::from_bytes(OPAQUE_NAME) => self.empty(parent),
                b"" | b"." | b".." => return Err(refused(&entry, "a whiteout of no name")),
                _ => self.remove(parent, OsStr::from_bytes(hidden)),
            }
            return Ok(());
        }
        let is = match entry.kind {
            Type::HardLink => Is::Node(self.link_target(&entry)?),
            Type::Node(Kind::Directory) => {
                if let Some(Is::Dir(dir)) = self.dirs[parent].names.get(name).map(|name| name.is) {
                    self.dirs[dir].meta = meta;
                    Is::Dir(dir)
                } else {
                    self.dirs.push(Dir { meta, names: BTreeMap::new() });
                    Is::Dir(self.dirs.len() - 1)
                }
            }
            Type::Node(Kind::Char) if entry.device == (Device { major: 0, minor: 0 }) => {
                return Err(refused(&entry, "a character device 0:0, which means a whiteout"));
            }
            Type::Node(kind) => {
                let (link, device) = (entry.link, entry.device);
                self.nodes.push(Node { kind, meta, link, device, source: (self.layer, at) });
                Is::Node(self.nodes.len() - 1)
            }
        };
        let layer = self.layer;
        self.dirs[parent].names.insert(name.to_owned(), Name { is, layer, made: true });
        Ok(())
    }

    fn link_target(&self, entry: &Entry) -> Result<usize> {
        let target = inside(Path::new(OsStr::from_bytes(&entry.link)), &entry.path)?;
        let name = target.file_name().ok_or_else(|| refused(entry, "a hard link to the root directory"))?;
        let dir = self.find(target.parent().unwrap_or(Path::new("")))?;
        match dir.and_then(|dir| self.dirs[dir].names.get(name)) {
            Some(Name { is: Is::Node(node), .. }) => Ok(*node),
            Some(_) => Err(refused(entry, "a hard link to something that is not a file")),
            None => Err(Error::call("linkat", target)(Errno::NOENT)),
        }
    }

    /// The directory that a path leads to, links followed inside the root, made when it is missing.
    fn make(&mut self, path: &Path) -> Result<usize> {
        loop {
            match self.step(path)? {
                Step::There(dir) => return Ok(dir),
                Step::Missing(parent, name) => {
                    self.dirs.push(implied());
                    let is = Is::Dir(self.dirs.len() - 1);
                    let layer = self.layer;
                    self.dirs[parent].names.insert(name, Name { is, layer, made: false });
                }
            }
        }
    }

    fn find(&self, path: &Path) -> Result<Option<usize>> {
        match self.step(path)? {
            Step::There(dir) => Ok(Some(dir)),
            Step::Missing(..) => Ok(None),
        }
    }

    fn step(&self, path: &Path) -> Result<Step> {
        let mut left = components(path.as_os_str().as_bytes());
        let mut trail = vec![ROOT];
        let mut links = 0;
        while let Some(name) = left.pop_front() {
            if name == ".." {
                trail.truncate((trail.len() - 1).max(1));
                continue;
            }
            let here = trail.last().copied().unwrap_or(ROOT);
            match self.dirs[here].names.get(&name).map(|name| name.is) {
                // A tree that no disk may have: links make it deeper than any path, and every step through it slower.
                _ if trail.len() + left.len() > DEEPEST => return Err(Error::call("openat", path)(Errno::NAMETOOLONG)),
                None => return Ok(Step::Missing(here, name)),
                Some(Is::Dir(dir)) => trail.push(dir),
                Some(Is::Node(node)) => {
                    let node = &self.nodes[node];
                    links += 1;
                    if node.kind != Kind::Symlink {
                        return Err(Error::call("openat", path)(Errno::NOTDIR));
                    }
                    if links > MOST_LINKS {
                        return Err(Error::call("openat", path)(Errno::LOOP));
                    }
                    if node.link.starts_with(b"/") {
                        trail.truncate(1);
                    }
                    for name in components(&node.link).into_iter().rev() {
                        left.push_front(name);
                    }
                }
            }
        }
        Ok(Step::There(trail.last().copied().unwrap_or(ROOT)))
    }

    /// A whiteout: what this layer made stays, with the directories that lead to it.
    fn remove(&mut self, parent: usize, name: &OsStr) {
        let Some(found) = self.dirs[parent].names.get(name).copied() else { return };
        let stays = found.made && found.layer == self.layer;
        if let Is::Dir(dir) = found.is {
            self.empty(dir);
            if !stays && self.dirs[dir].names.is_empty() {
                self.dirs[parent].names.remove(name);
            }
        } else if !stays {
            self.dirs[parent].names.remove(name);
        }
    }

    fn empty(&mut self, dir: usize) {
        let names: Vec<OsString> = self.dirs[dir].names.keys().cloned().collect();
        for name in names {
            self.remove(dir, &name);
        }
    }

    /// Writes everything that has no content, and gets ready for the second reading.
    pub fn writer<W: Write>(self, to: W, latest: Option<i64>) -> Result<FlatWriter<W>> {
        let mut tar = TarWriter::new(to, latest);
        let mut names: BTreeMap<usize, Vec<PathBuf>> = BTreeMap::new();
        let mut queue = vec![(PathBuf::new(), ROOT)];
        while let Some((path, dir)) = queue.pop() {
            let dir = &self.dirs[dir];
            tar.directory(&path, &dir.meta)?;
            for (name, found) in dir.names.iter().rev() {
                match found.is {
                    Is::Dir(dir) => queue.push((path.join(name), dir)),
                    Is::Node(node) => names.entry(node).or_default().push(path.join(name)),
                }
            }
        }
        let mut content = HashMap::new();
        for (at, mut paths) in names {
            paths.sort();
            let node = &self.nodes[at];
            if node.kind == Kind::File {
                content.insert(node.source, (at, paths));
                continue;
            }
            let (first, others) = paths.split_first().map_or((Path::new(""), &[][..]), |(f, o)| (f.as_path(), o));
            match node.kind {
                Kind::Symlink => tar.symlink(first, &node.meta, &node.link)?,
                Kind::Char => tar.char_device(first, &node.meta, node.device)?,
                Kind::Block => tar.block_device(first, &node.meta, node.device)?,
                _ => tar.fifo(first, &node.meta)?,
            }
            for other in others {
                tar.hard_link(other, &node.meta, first)?;
            }
        }
        Ok(FlatWriter { tar, nodes: self.nodes, content, layer: 0 })
    }
}

enum Step {
    There(usize),
    Missing(usize, OsString),
}

/// The second reading: files are written as they come by.
#[derive(Debug)]
pub struct FlatWriter<W: Write> {
    tar: TarWriter<W>,
    nodes: Vec<Node>,
    content: HashMap<(usize, u64), (usize, Vec<PathBuf>)>,
    layer: usize,
}

impl<W: Write> FlatWriter<W> {
    /// The same layers as before, in the same order.
    pub fn add(&mut self, tar: impl Read) -> Result<()> {
        let mut reader = TarReader::new(tar);
        let mut at = 0;
        while let Some(entry) = reader.next()? {
            if let Some((node, paths)) = self.content.remove(&(self.layer, at)) {
                let meta = &self.nodes[node].meta;
                let content =
                    Content { reader: &mut reader, sparse: entry.sparse.map(VecDeque::from), at: 0, size: entry.size };
                let first = paths.first().map_or(Path::new(""), |path| path.as_path());
                self.tar.file(first, meta, entry.size, content)?;
                for other in paths.iter().skip(1) {
                    self.tar.hard_link(other, meta, first)?;
                }
            }
            at += 1;
        }
        self.layer += 1;
        reader.drain()
    }

    /// Writes the end of the tar and gives the sink back.
    pub fn finish(self) -> Result<W> {
        self.tar.finish()
    }
}

/// The content of an entry, the holes of a sparse one filled in.
struct Content<'a, R> {
    reader: &'a mut TarReader<R>,
    /// The pieces that are not passed yet.
    sparse: Option<VecDeque<(u64, u64)>>,
    at: u64,
    size: u64,
}

impl<R: Read> Read for Content<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut most = usize::try_from(self.size - self.at).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let hole = |until: u64| usize::try_from(until).unwrap_or(usize::MAX);
        if let Some(pieces) = &mut self.sparse {
            let here = self.at;
            while pieces.front().is_some_and(|(offset, length)| offset + length <= here) {
                pieces.pop_front();
            }
            match pieces.front() {
                Some((offset, length)) if here >= *offset => most = most.min(hole(offset + length - here)),
                other => {
                    most = most.min(hole(other.map_or(self.size, |(offset, _)| *offset) - here));
                    buffer[..most].fill(0);
                    self.at += most as u64;
                    return Ok(most);
                }
            }
        }
        let piece = self.reader.piece()?;
        let length = piece.len().min(most);
        buffer[..length].copy_from_slice(&piece[..length]);
        self.reader.consume(length);
        self.at += length as u64;
        Ok(length)
    }
}

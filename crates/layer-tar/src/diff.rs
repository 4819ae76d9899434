//! What changed between two trees, or in the upper directory of an overlay, in the order of a layer.

use crate::glance::Glance;
use crate::node::{Kind, Meta, Xattrs};
use crate::stack::{Merged, Node, has_xattr, is_opaque};
use crate::write::{Device, TarWriter};
use crate::{Error, Result, Stack, WHITEOUT_PREFIX};
use rustix::fd::AsFd;
use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::fmt;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What happened to a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// It is new.
    Added,
    /// It, or something below it, is different.
    Changed,
    /// It is gone, with everything below it.
    Deleted,
}

impl fmt::Display for ChangeKind {
    /// Docker's letters.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Added => "A",
            Self::Changed => "C",
            Self::Deleted => "D",
        })
    }
}

/// One line of `docker diff`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What happened.
    pub kind: ChangeKind,
    /// Relative to the root.
    pub path: PathBuf,
}

/// Takes what a comparison finds: sorted, each path once, directories before what is in them.
///
/// `Send`, because a comparison may go on in a thread of its own.
pub trait Sink: Send {
    /// Something is new or different. Directories come also when only something in them is.
    fn put(&mut self, kind: ChangeKind, path: &Path, node: &Node) -> Result<()>;
    /// A name of the lower tree is gone.
    fn delete(&mut self, path: &Path) -> Result<()>;
    /// Of a directory, just put, nothing of the lower tree is left, but for what comes next.
    fn empty(&mut self, path: &Path) -> Result<()>;
    /// Whether [`empty`](Self::empty) is understood. Otherwise what is gone of such a directory is told name by name.
    fn takes_empty(&self) -> bool {
        true
    }
    /// Whether [`copied`](Self::copied) is of interest: finding out means reading files.
    fn counts_copies(&self) -> bool {
        false
    }
    /// A file, put next, has the content that it had below: only what it says of itself is different.
    fn copied(&mut self, path: &Path, below: &Node, now: &Node) {
        let _ = (path, below, now);
    }
}

/// What of a file is not its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Attribute {
    /// User and group.
    Owner,
    /// Permissions.
    Mode,
    /// The time of the last change.
    Time,
    /// The number of its names.
    Link,
}

/// Files that a layer holds again although only their owner, mode or time is new: an overlay mount copies a file
/// whole before it changes anything of it (overlay in the kernel's Documentation/filesystems, "Non-directories").
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Copied {
    /// How many.
    pub files: u64,
    /// Their sizes, in bytes.
    pub bytes: u64,
    /// One of them, relative to the root: the largest.
    pub path: PathBuf,
    /// What is new of them.
    pub changed: BTreeSet<Attribute>,
    largest: u64,
}

impl Copied {
    fn add(&mut self, path: &Path, below: &Node, now: &Node) {
        let size = u64::try_from(now.stat.st_size).unwrap_or(0);
        let is_link = now.stat.st_nlink > below.stat.st_nlink;
        let (below, now) = (Meta::of(&below.stat), Meta::of(&now.stat));
        self.files += 1;
        self.bytes += size;
        let news = [
            (Attribute::Owner, (below.uid, below.gid) != (now.uid, now.gid)),
            (Attribute::Mode, below.mode != now.mode),
            (Attribute::Time, below.mtime != now.mtime),
            (Attribute::Link, is_link),
        ];
        self.changed.extend(news.into_iter().filter(|(_, is)| *is).map(|(what, _)| what));
        if size > self.largest {
            self.largest = size;
            path.clone_into(&mut self.path);
        }
    }
}

/// What counts.
#[derive(Debug, Clone, Default)]
pub struct Compare {
    /// Read files whose size and time are equal: slower, and sure. Otherwise they count as equal.
    pub content: bool,
    /// Paths to leave out, with everything below them, relative to the root.
    pub exclude: Vec<PathBuf>,
    /// What is written is a copy, not a layer: a name that begins with `.wh.` is a name as any other.
    pub any_name: bool,
}

/// Compares two whole trees. Without a lower one, everything in the upper one is new.
///
/// Two files are the same when type, mode, owner, size, time to the nanosecond, link count and extended
/// attributes are equal; a link when its target is equal too; a device when its number is.
pub fn diff_trees(lower: Option<&Stack>, upper: &Stack, compare: &Compare, sink: &mut dyn Sink) -> Result<()> {
    let below = lower.map(Stack::root).transpose()?;
    let content = compare.content;
    let root = upper.root()?;
    let walk = |glance| {
        let mut walk = Walk { lower, upper, compare, sink, open: Vec::new(), root_time: true, content, glance };
        walk.directory(Path::new(""), below.as_ref(), root, false)
    };
    if lower.is_some() && !content { Glance::with(|glance| walk(Some(glance))) } else { walk(None) }
}

/// Lists the changes that an overlay mount left in its upper directory. The work is proportional to what changed:
/// the lower layers are only asked about the names that the upper directory has.
pub fn diff_overlay(lower: &Stack, upper: &Stack, compare: &Compare, sink: &mut dyn Sink) -> Result<()> {
    let below = lower.root()?;
    let (root_time, content, glance) = (false, true, None);
    let mut walk = Walk { lower: Some(lower), upper, compare, sink, open: Vec::new(), root_time, content, glance };
    walk.directory(Path::new(""), Some(&below), upper.root()?, true)
}

struct Walk<'a> {
    lower: Option<&'a Stack>,
    upper: &'a Stack,
    compare: &'a Compare,
    sink: &'a mut dyn Sink,
    /// The directories that we are in, and whether they have been put.
    open: Vec<Open>,
    /// Whether the time of the root counts. That of an upper directory changes with the first name made in it,
    /// and no layer of docker's tells it.
    root_time: bool,
    /// Whether files that look equal are read. A file in an upper directory was written, and what wrote it may set
    /// its time: packages of many kinds do, to the same time in every version.
    content: bool,
    /// When a look at the inodes is enough.
    glance: Option<Glance>,
}

struct Open {
    path: PathBuf,
    node: Node,
    kind: ChangeKind,
    put: bool,
    empty: bool,
}

impl Walk<'_> {
    fn directory(&mut self, path: &Path, below: Option<&Node>, node: Node, overlay: bool) -> Result<()> {
        let opaque = overlay && is_opaque(node.fd.as_fd(), self.upper.uses_userxattr());
        let lower_dir = below.and_then(|below| below.merged.clone());
        if overlay {
            self.refuse_references(&node, path)?;
        }
        let same = below.is_some_and(|below| below.kind() == Kind::Directory) && self.same(below, &node, path)?;
        let kind = if below.is_some() { ChangeKind::Changed } else { ChangeKind::Added };
        let merged = node.merged.clone();
        let hidden = opaque && lower_dir.is_some();
        let empty = hidden && self.sink.takes_empty();
        // Unlike other parents, the root of a layer goes without saying.
        let put = same && !empty && path.as_os_str().is_empty();
        self.open.push(Open { path: path.to_owned(), node, kind, put, empty });
        if !same || empty {
            self.put_open()?;
        }
        if let Some(merged) = merged {
            // What was below an opaque directory is not the lower side of anything in it; or it is compared as any tree is.
            let lower_dir = lower_dir.filter(|_| !empty);
            self.children(path, lower_dir.as_ref(), &merged, overlay && (empty || !hidden))?;
        }
        self.open.pop();
        Ok(())
    }

    fn children(&mut self, path: &Path, lower: Option<&Arc<Merged>>, upper: &Arc<Merged>, overlay: bool) -> Result<()> {
        let names = if overlay {
            upper.names(path)?.into_iter().collect()
        } else {
            let mut names = upper.names(path)?;
            if let Some(lower) = lower {
                names.extend(lower.names(path)?);
            }
            names
        };
        let names = match (&self.glance, lower) {
            (Some(glance), Some(lower)) if !overlay => glance.rest(lower, upper, names),
            _ => names.into_iter().collect(),
        };
        for name in names {
            let at = path.join(&name);
            if self.compare.exclude.contains(&at) {
                continue;
            }
            self.name(&name, at, lower.map(Arc::as_ref), upper, overlay)?;
        }
        Ok(())
    }

    fn name(&mut self, name: &OsStr, at: PathBuf, lower: Option<&Merged>, upper: &Merged, overlay: bool) -> Result<()> {
        let below = match (lower, self.lower) {
            (Some(dir), Some(stack)) => stack.child(dir, name, &at)?.filter(|node| node.kind() != Kind::Socket),
            _ => None,
        };
        let node = self.upper.child(upper, name, &at)?.filter(|node| node.kind() != Kind::Socket);
        let Some(node) = node else {
            // A whiteout of something that never was below: made and removed above.
            return if below.is_some() { self.delete(&at) } else { Ok(()) };
        };
        if name.as_bytes().starts_with(WHITEOUT_PREFIX) && !self.compare.any_name {
            let reason = "a name that begins with .wh. means a whiteout in a layer".into();
            return Err(Error::Unsayable { path: at, reason });
        }
        if node.kind() == Kind::Directory {
            return self.directory(&at, below.as_ref(), node, overlay);
        }
        if overlay {
            self.refuse_references(&node, &at)?;
        }
        if below.is_some() && self.same(below.as_ref(), &node, &at)? {
            return Ok(());
        }
        self.put_open()?;
        if let (Some(below), true) = (&below, self.sink.counts_copies()) {
            self.count_copy(below, &node, &at)?;
        }
        let kind = if below.is_some() { ChangeKind::Changed } else { ChangeKind::Added };
        self.sink.put(kind, &at, &node)
    }

    /// Content of another size, and there is nothing to read.
    fn count_copy(&mut self, below: &Node, node: &Node, at: &Path) -> Result<()> {
        let files = below.kind() == Kind::File && node.kind() == Kind::File;
        let size = node.stat.st_size;
        if files && size > 0 && below.stat.st_size == size && same_content(below, node, at)? {
            self.sink.copied(at, below, node);
        }
        Ok(())
    }

    fn delete(&mut self, at: &Path) -> Result<()> {
        self.put_open()?;
        self.sink.delete(at)
    }

    /// What comes below a directory comes after it, for its owner and mode.
    fn put_open(&mut self) -> Result<()> {
        for dir in self.open.iter_mut().filter(|dir| !dir.put) {
            dir.put = true;
            self.sink.put(dir.kind, &dir.path, &dir.node)?;
            if dir.empty {
                self.sink.empty(&dir.path)?;
            }
        }
        Ok(())
    }

    /// An inode that only refers to content elsewhere is not the content.
    fn refuse_references(&self, node: &Node, path: &Path) -> Result<()> {
        let space = if self.upper.uses_userxattr() { "user" } else { "trusted" };
        for mark in ["redirect", "metacopy"] {
            if has_xattr(node.fd.as_fd(), &format!("{space}.overlay.{mark}")) {
                let reason = format!("overlay attribute {mark:?}: mount without redirect_dir and metacopy");
                return Err(Error::Unsayable { path: path.to_owned(), reason });
            }
        }
        Ok(())
    }

    fn same(&self, below: Option<&Node>, node: &Node, at: &Path) -> Result<bool> {
        let Some(below) = below else { return Ok(false) };
        let (old, new) = (&below.stat, &node.stat);
        let kind = node.kind();
        if below.kind() != kind {
            return Ok(false);
        }
        let mut meta = (below.meta(at)?, node.meta(at)?);
        drop_overlay(&mut meta.0.xattrs);
        drop_overlay(&mut meta.1.xattrs);
        if !self.root_time && at.as_os_str().is_empty() {
            meta.0.mtime = meta.1.mtime;
        }
        if meta.0 != meta.1 {
            return Ok(false);
        }
        if kind != Kind::Directory && old.st_nlink != new.st_nlink {
            return Ok(false);
        }
        Ok(match kind {
            Kind::File => old.st_size == new.st_size && (!self.content || same_content(below, node, at)?),
            Kind::Symlink => below.link(at)? == node.link(at)?,
            Kind::Char | Kind::Block => old.st_rdev == new.st_rdev,
            _ => true,
        })
    }
}

fn same_content(below: &Node, node: &Node, at: &Path) -> Result<bool> {
    use std::io::{BufRead, BufReader};
    let mut old = BufReader::with_capacity(64 * 1024, below.open(at)?);
    let mut new = BufReader::with_capacity(64 * 1024, node.open(at)?);
    loop {
        let (left, right) = (old.fill_buf()?, new.fill_buf()?);
        let length = left.len().min(right.len());
        if length == 0 {
            return Ok(left.len() == right.len());
        }
        if left[..length] != right[..length] {
            return Ok(false);
        }
        old.consume(length);
        new.consume(length);
    }
}

fn drop_overlay(xattrs: &mut Xattrs) {
    xattrs.retain(|name, _| !name.starts_with(b"trusted.overlay.") && !name.starts_with(b"user.overlay."));
}

/// Collects the lines of `docker diff`; the root itself is not one of them.
#[derive(Debug, Default)]
pub struct ChangeList(pub Vec<Change>);

impl Sink for ChangeList {
    fn put(&mut self, kind: ChangeKind, path: &Path, _: &Node) -> Result<()> {
        if !path.as_os_str().is_empty() {
            self.0.push(Change { kind, path: path.to_owned() });
        }
        Ok(())
    }

    fn delete(&mut self, path: &Path) -> Result<()> {
        self.0.push(Change { kind: ChangeKind::Deleted, path: path.to_owned() });
        Ok(())
    }

    fn empty(&mut self, _: &Path) -> Result<()> {
        Ok(())
    }

    fn takes_empty(&self) -> bool {
        false
    }
}

/// Writes the changes as a layer.
#[derive(Debug)]
pub struct LayerWriter<W: Write> {
    tar: TarWriter<W>,
    /// Files with several names, by inode: the first name has the content.
    links: HashMap<(u64, u64), PathBuf>,
    /// None when nobody asks.
    copied: Option<Copied>,
}

impl<W: Write> LayerWriter<W> {
    /// A layer to `to`; times later than `latest` become `latest`.
    pub fn new(to: W, latest: Option<i64>) -> Self {
        Self { tar: TarWriter::new(to, latest), links: HashMap::new(), copied: None }
    }

    /// Counts the files that have their old content.
    #[must_use]
    pub fn counting_copies(self) -> Self {
        Self { copied: Some(Copied::default()), ..self }
    }

    /// What was counted.
    pub fn copied(&self) -> Option<&Copied> {
        self.copied.as_ref()
    }

    /// Writes the end of the layer and gives the sink back.
    pub fn finish(self) -> Result<W> {
        self.tar.finish()
    }
}

impl<W: Write + Send> Sink for LayerWriter<W> {
    #[allow(clippy::cast_sign_loss, reason = "a size is never negative")]
    fn put(&mut self, _: ChangeKind, path: &Path, node: &Node) -> Result<()> {
        let meta = node.meta(path)?;
        let stat = &node.stat;
        if stat.st_nlink > 1 && node.kind() != Kind::Directory {
            let inode = (stat.st_dev, stat.st_ino);
            if let Some(first) = self.links.get(&inode) {
                return self.tar.hard_link(path, &meta, first);
            }
            self.links.insert(inode, path.to_owned());
        }
        let device = Device { major: rustix::fs::major(stat.st_rdev), minor: rustix::fs::minor(stat.st_rdev) };
        match node.kind() {
            Kind::Directory => self.tar.directory(path, &meta),
            Kind::File => self.tar.file(path, &meta, stat.st_size as u64, node.open(path)?),
            Kind::Symlink => self.tar.symlink(path, &meta, &node.link(path)?),
            Kind::Char => self.tar.char_device(path, &meta, device),
            Kind::Block => self.tar.block_device(path, &meta, device),
            Kind::Fifo => self.tar.fifo(path, &meta),
            Kind::Socket => Ok(()),
        }
    }

    fn delete(&mut self, path: &Path) -> Result<()> {
        self.tar.whiteout(path)
    }

    fn empty(&mut self, path: &Path) -> Result<()> {
        self.tar.opaque(path)
    }

    fn counts_copies(&self) -> bool {
        self.copied.is_some()
    }

    fn copied(&mut self, path: &Path, below: &Node, now: &Node) {
        if let Some(copied) = &mut self.copied {
            copied.add(path, below, now);
        }
    }
}

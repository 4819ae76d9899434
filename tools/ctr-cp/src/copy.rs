//! What is copied, where it comes to be by docker's rules, and the copy itself.

use crate::container::Tree;
use crate::place::Ending;
use anyhow::{Context, bail};
use layer_tar::{
    ChangeKind, Found, Kind, LayerWriter, Node, Options, Owners, Sink, Stack, Target, apply, codec, put_subtree,
};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use std::ffi::OsString;
use std::io::{self, BufWriter, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// One file, or one directory with everything below it.
#[derive(Debug)]
pub struct Source {
    /// The tree that it is in, by a path of the host.
    tree: PathBuf,
    /// In the tree; no link in it.
    path: PathBuf,
    directory: bool,
    /// What it is called where it comes to be.
    name: OsString,
    contents: bool,
}

impl Source {
    pub fn in_container(tree: &Tree, path: &str, follow: bool) -> anyhow::Result<Self> {
        let ending = Ending::of(path);
        let stack = Stack::open(&[tree.path()])?;
        let found = if follow || ending.directory { stack.resolve(path)? } else { stack.resolve_link(path)? };
        let Some(found) = found.filter(|found| !ending.directory || found.kind == Kind::Directory) else {
            bail!("Could not find the file {path} in container {}", tree.name);
        };
        Ok(Self::new(tree.path(), &found, path, ending))
    }

    /// The host's links are the host's: the path is resolved as the kernel does it, up to its last name.
    pub fn on_host(path: &str, follow: bool) -> anyhow::Result<Self> {
        let ending = Ending::of(path);
        let lstat = |cause| anyhow::anyhow!("lstat {path}: {}", in_words(&cause));
        let whole = Path::new(path);
        let (tree, name) = match whole.file_name() {
            Some(name) if !follow && !ending.directory => {
                let above = whole.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
                (above.canonicalize().map_err(lstat)?, Some(name.to_owned()))
            }
            _ => match whole.canonicalize().map_err(lstat)? {
                file if !file.is_dir() && ending.directory => bail!("stat {path}: not a directory"),
                dir if dir.is_dir() => (dir, None),
                file => (file.parent().unwrap_or(&file).to_owned(), file.file_name().map(Into::into)),
            },
        };
        let stack = Stack::open(std::slice::from_ref(&tree))?;
        let found = stack.resolve_link(PathBuf::from(name.unwrap_or_default()))?;
        let found = found.with_context(|| format!("lstat {path}: no such file or directory"))?;
        Ok(Self::new(tree, &found, path, ending))
    }

    fn new(tree: PathBuf, found: &Found, asked: &str, ending: Ending) -> Self {
        let name: OsString =
            Path::new(asked).file_name().or(found.path.file_name()).map(Into::into).unwrap_or_default();
        let contents = ending.contents || name.is_empty();
        Self { tree, path: found.path.clone(), directory: found.kind == Kind::Directory, name, contents }
    }

    fn write(&self, name: &Path, sink: &mut dyn Sink) -> layer_tar::Result<()> {
        put_subtree(&Stack::open(std::slice::from_ref(&self.tree))?, &self.path, name, sink).map(drop)
    }
}

/// Where something is to be, as far as it exists.
#[derive(Debug)]
pub struct Destination {
    /// What is there already: whether that is a directory.
    there: Option<bool>,
    /// The directory itself, or the one above.
    dir: Option<OwnedFd>,
    /// The last name.
    name: OsString,
    slash: bool,
    /// What to say when there is not even the directory above.
    missing: String,
}

/// A directory, and the name that the source gets in it; no name for its content alone.
pub struct Chosen<'a> {
    dir: &'a OwnedFd,
    name: PathBuf,
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

impl Destination {
    pub fn local(path: &str) -> Self {
        // What is there is written behind the links that lead to it.
        let whole = Path::new(path).canonicalize().unwrap_or_else(|_| path.into());
        let whole = whole.as_path();
        let there = std::fs::metadata(whole).ok().map(|found| found.is_dir());
        let above = whole.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let dir = openat(CWD, if there == Some(true) { whole } else { above }, DIRECTORY, Mode::empty()).ok();
        let shown = std::path::absolute(above).unwrap_or_else(|_| above.to_owned());
        let missing = format!("invalid output path: directory {:?} does not exist", shown.display().to_string());
        let name = whole.file_name().unwrap_or_default().to_owned();
        Self { there, dir, name, slash: Ending::of(path).directory, missing }
    }

    pub fn in_container(tree: &Tree, path: &str) -> anyhow::Result<Self> {
        let stack = Stack::open(&[tree.path()])?;
        let whole = Path::new(path);
        let above = whole.parent().unwrap_or(Path::new("/"));
        let found = stack.resolve(whole)?;
        let there = found.as_ref().map(|found| found.kind == Kind::Directory);
        // A file is written by its own name, behind the links that lead to it.
        let (above, name) = match &found {
            Some(found) => (found.path.parent().unwrap_or(Path::new("")).to_owned(), found.path.file_name()),
            None => (stack.resolve(above)?.map_or_else(|| above.to_owned(), |found| found.path), whole.file_name()),
        };
        let at = match &found {
            Some(found) if there == Some(true) => &found.path,
            _ => &above,
        };
        tree.check_writable(at)?;
        let name = name.unwrap_or_default().to_owned();
        let missing =
            format!("Could not find the file {} in container {}", whole.parent().unwrap_or(whole).display(), tree.name);
        Ok(Self { there, dir: enter(tree, at), name, slash: Ending::of(path).directory, missing })
    }

    /// Docker's rules (docker cp, "Description").
    pub fn choose(&self, source: &Source) -> anyhow::Result<Chosen<'_>> {
        let Some(dir) = &self.dir else { bail!("{}", self.missing) };
        let name = match self.there {
            Some(true) if source.contents => PathBuf::new(),
            Some(true) => PathBuf::from(&source.name),
            Some(false) if source.directory => bail!("cannot copy directory"),
            Some(false) if self.slash => bail!("not a directory"),
            None if !source.directory && self.slash => bail!("no such directory"),
            _ => PathBuf::from(&self.name),
        };
        Ok(Chosen { dir, name })
    }
}

/// A directory below the root, which no link leads out of: not even one that is exchanged right now.
fn enter(tree: &Tree, path: &Path) -> Option<OwnedFd> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    openat2(tree.root(), path, DIRECTORY, Mode::empty(), resolve).ok()
}

/// Writes the source as a tar.
pub fn to_stream(source: &Source, to: impl Write + Send) -> anyhow::Result<()> {
    let name = if source.contents { PathBuf::new() } else { PathBuf::from(&source.name) };
    let mut layer = LayerWriter::new(BufWriter::with_capacity(1 << 20, to), None);
    source.write(&name, &mut layer)?;
    layer.finish()?.flush().context("<stdout>")
}

/// Extracts the tar of stdin into a directory of the container; gives the bytes of the tar.
pub fn from_stream(to: &Destination, shown: &str) -> anyhow::Result<u64> {
    let (Some(true), Some(dir)) = (to.there, &to.dir) else { bail!("destination {shown:?} must be a directory") };
    let mut counted = Counted { from: codec::decoder(io::stdin()).context("<stdin>")?, bytes: 0 };
    apply(&mut counted, dir.as_fd(), &options(Owners::possible()?))?;
    Ok(counted.bytes)
}

/// Copies by way of a tar, which the reader trusts no more than one from elsewhere; gives its bytes.
pub fn copy(source: &Source, to: &Chosen<'_>, owners: Owners) -> anyhow::Result<u64> {
    let (from, into) = io::pipe()?;
    let there = PathBuf::from(format!("/proc/self/fd/{}", to.dir.as_raw_fd()));
    std::thread::scope(|scope| {
        let writer = scope.spawn(move || -> layer_tar::Result<()> {
            let layer = LayerWriter::new(BufWriter::with_capacity(1 << 18, into), None);
            let mut careful = Careful { layer, there: Stack::open(&[there])? };
            source.write(&to.name, &mut careful)?;
            Ok(careful.layer.finish()?.flush()?)
        });
        let mut counted = Counted { from, bytes: 0 };
        let applied = apply(&mut counted, to.dir.as_fd(), &options(owners));
        drop(counted.from);
        let Ok(written) = writer.join() else { bail!("the copy was broken off") };
        // The end of a pipe is not the cause when its other end has one.
        match (written, applied) {
            (Err(layer_tar::Error::Stream(cause)), Err(applied)) if cause.kind() == io::ErrorKind::BrokenPipe => {
                Err(applied.into())
            }
            (Err(written), _) => Err(plain(written)),
            (Ok(()), applied) => Ok(applied.map(|_| counted.bytes)?),
        }
    })
}

/// Docker's words stand alone.
fn plain(error: layer_tar::Error) -> anyhow::Error {
    match error {
        layer_tar::Error::Unsayable { reason, .. } if reason.starts_with("cannot overwrite") => anyhow::anyhow!(reason),
        other => other.into(),
    }
}

fn options(owners: Owners) -> Options<'static> {
    Options { owners, target: Target::Copy, umask_is_zero: false, selinux: false }
}

/// A layer may replace a directory by a file; a copy may not.
struct Careful<W: Write> {
    layer: LayerWriter<W>,
    there: Stack,
}

impl<W: Write + Send> Sink for Careful<W> {
    fn put(&mut self, kind: ChangeKind, path: &Path, node: &Node) -> layer_tar::Result<()> {
        let is_directory = |kind: Kind| kind == Kind::Directory;
        match self.there.resolve_link(path)? {
            Some(old) if is_directory(old.kind) != is_directory(node.kind()) => {
                let (old, new) = if is_directory(old.kind) {
                    ("directory", "non-directory")
                } else {
                    ("non-directory", "directory")
                };
                let reason = format!("cannot overwrite {old} {:?} with {new}", path.display().to_string());
                Err(layer_tar::Error::Unsayable { path: path.to_owned(), reason })
            }
            _ => self.layer.put(kind, path, node),
        }
    }

    fn delete(&mut self, path: &Path) -> layer_tar::Result<()> {
        self.layer.delete(path)
    }

    fn empty(&mut self, path: &Path) -> layer_tar::Result<()> {
        self.layer.empty(path)
    }
}

struct Counted<R> {
    from: R,
    bytes: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(buffer)?;
        self.bytes += count as u64;
        Ok(count)
    }
}

/// Without the number that Rust adds.
fn in_words(cause: &io::Error) -> String {
    match cause.kind() {
        io::ErrorKind::NotFound => "no such file or directory".into(),
        io::ErrorKind::PermissionDenied => "permission denied".into(),
        io::ErrorKind::NotADirectory => "not a directory".into(),
        _ => cause.to_string(),
    }
}

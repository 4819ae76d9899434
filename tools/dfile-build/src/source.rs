//! Where COPY reads: a directory by its descriptor. Every look-up is one `openat2` that cannot leave it
//! (openat2(2), `RESOLVE_IN_ROOT`); links met inside a copied directory are copied as links.

use anyhow::{Context, bail};
use dockerfile::ignore::has_wildcard;
use dockerfile::{Ignore, Pattern};
use layer_tar::{Kind, Meta, Time, Xattrs};
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::{Dir, FileType, Mode, OFlags, ResolveFlags, Stat};
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

const DEEPEST: usize = 512;
const MOST_ENTRIES: usize = 4_000_000;

/// A tree to copy from.
#[derive(Debug)]
pub struct Root {
    fd: OwnedFd,
    real: PathBuf,
    ignore: Ignore,
    /// Files of an image keep their owner and attributes; those of the context belong to root.
    keep_owner: bool,
    /// Digests of contents by device, inode, size and change time: no file is read twice for its digest.
    digests: Mutex<HashMap<Inode, [u8; 32]>>,
}

/// Device, inode, size, and the time of the last change in two parts.
type Inode = (u64, u64, i64, i64, u64);

/// One thing to copy.
#[derive(Debug)]
pub struct Entry {
    /// Relative to the source that was named; empty for itself.
    pub below: PathBuf,
    /// Relative to the root, without links.
    pub path: PathBuf,
    pub kind: Kind,
    pub meta: Meta,
    pub size: u64,
    /// Of a symbolic link.
    pub target: Vec<u8>,
    pub device: layer_tar::write::Device,
    /// Device and inode of a file with several names.
    pub shared: Option<(u64, u64)>,
}

/// A source with everything below it.
#[derive(Debug)]
pub struct Source {
    /// The last component of what was named.
    pub name: std::ffi::OsString,
    /// The first is the source itself.
    pub entries: Vec<Entry>,
}

/// What an instruction wants of what its words name.
#[derive(Debug, Default)]
pub struct Wanted {
    /// `--exclude`: by paths below the source, or the name of a file that is one.
    pub exclude: Ignore,
    /// `--parents`
    pub parents: bool,
}

/// The same, for one source; paths are relative to it.
struct Within<'a> {
    exclude: &'a Ignore,
    include: Option<Include>,
}

struct Include {
    pattern: Pattern,
    /// The first components, which are no patterns: other directories need no look inside.
    fixed: PathBuf,
}

impl Within<'_> {
    fn takes(&self, below: &Path) -> bool {
        let text = below.to_string_lossy();
        !self.exclude.excludes(&text) && self.include.as_ref().is_none_or(|i| i.pattern.matches_or_above(&text))
    }

    /// Whether something in a directory that is not wanted itself may be.
    fn may_take_below(&self, directory: &Path) -> bool {
        let on_the_way =
            |include: &Include| directory.starts_with(&include.fixed) || include.fixed.starts_with(directory);
        let included = self.include.as_ref().is_none_or(on_the_way);
        let excluded = self.exclude.excludes(&directory.to_string_lossy()) && !self.exclude.may_return_below();
        included && !excluded
    }
}

impl Root {
    pub fn open(path: &Path, ignore: Ignore, keep_owner: bool) -> anyhow::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty()).with_context(|| format!("{}: open", path.display()))?;
        let real = real_path(&fd)?;
        Ok(Self { fd, real, ignore, keep_owner, digests: Mutex::default() })
    }

    /// The same tree without what a `.dockerignore` leaves out.
    pub fn ignoring(self, ignore: Ignore) -> Self {
        Self { ignore, ..self }
    }

    /// A directory of the tree as a tree of its own. No link on the way may lead out of it (CVE-2026-33748).
    pub fn directory(&self, path: &str) -> anyhow::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let how = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let fd = rustix::fs::openat2(&self.fd, path, flags, Mode::empty(), how).with_context(|| path.to_owned())?;
        let real = real_path(&fd)?;
        Ok(Self { fd, real, ignore: Ignore::default(), keep_owner: self.keep_owner, digests: Mutex::default() })
    }

    /// A small file for us to read, none when it is not there. Links are followed inside the tree.
    pub fn text(&self, path: &str, longest: u64) -> anyhow::Result<Option<Vec<u8>>> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let how = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let file: File = match rustix::fs::openat2(&self.fd, path, flags, Mode::empty(), how) {
            Ok(fd) => fd.into(),
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(None),
            Err(error) => return Err(error).with_context(|| path.to_owned()),
        };
        let mut text = Vec::new();
        file.take(longest + 1).read_to_end(&mut text).with_context(|| path.to_owned())?;
        if text.len() as u64 > longest {
            bail!("{path}: longer than {longest} bytes");
        }
        Ok(Some(text))
    }

    /// The sources that a word names: a path, or a pattern for several.
    pub fn find(&self, word: &str, wanted: &Wanted) -> anyhow::Result<Vec<Source>> {
        if wanted.parents {
            return self.find_with_parents(word, wanted);
        }
        let cleaned = dockerfile::ignore::clean(word);
        let everything = Within { exclude: &wanted.exclude, include: None };
        let mut found = Vec::new();
        if has_wildcard(&cleaned) {
            for name in self.names(word, &cleaned)? {
                found.push(self.source(&name, &name, &everything)?);
            }
        } else {
            found.push(self.source(&cleaned, word, &everything)?);
        }
        // Of a directory the exclusion has been at work inside; a file is excluded by its own name.
        found.retain(|source| {
            source.entries[0].kind == Kind::Directory || !wanted.exclude.excludes(&source.name.to_string_lossy())
        });
        Ok(found)
    }

    /// COPY --parents: what matches comes with the directories between it and the `/./` of the word, or the root.
    fn find_with_parents(&self, word: &str, wanted: &Wanted) -> anyhow::Result<Vec<Source>> {
        let (above, text) = word.split_once("/./").unwrap_or(("", word));
        let (above, text) = (dockerfile::ignore::clean(above), dockerfile::ignore::clean(text));
        let Some(pattern) = Pattern::new(&text, true) else { bail!("{word}: bad pattern") };
        let fixed = text.split('/').take_while(|part| !has_wildcard(part) && !part.contains('\\')).collect();
        let include = (text != ".").then_some(Include { pattern, fixed });
        let within = Within { exclude: &wanted.exclude, include };
        let roots = if has_wildcard(&above) { self.names(word, &above)? } else { vec![above.clone()] };
        let mut found = Vec::new();
        for root in roots {
            let source = self.source(&root, word, &within)?;
            if source.entries[0].kind != Kind::Directory {
                bail!("{word}: {root} is not a directory");
            }
            if within.include.is_none() || source.entries.len() > 1 {
                found.push(source);
            }
        }
        if found.is_empty() && !has_wildcard(word) && !self.may_be_excluded(&above, &text, wanted) {
            bail!("{word}: not found in {}", self.real.display());
        }
        Ok(found)
    }

    /// Whether a path is there, and only the exclusions of the instruction keep it from being copied.
    fn may_be_excluded(&self, above: &str, below: &str, wanted: &Wanted) -> bool {
        let there = self.at(&Path::new(above).join(below), OFlags::NOFOLLOW).is_ok();
        there && wanted.exclude.excludes(below)
    }

    /// The paths that match a pattern (Go's `filepath.Match`, component by component).
    fn names(&self, word: &str, cleaned: &str) -> anyhow::Result<Vec<String>> {
        let mut names = vec![String::new()];
        for part in cleaned.split('/') {
            let Some(pattern) = Pattern::new(part, false) else { bail!("{word}: bad pattern") };
            let mut next = Vec::new();
            for above in names {
                let join = |name: &str| if above.is_empty() { name.to_owned() } else { format!("{above}/{name}") };
                if has_wildcard(part) {
                    let Ok(directory) = self.at(Path::new(&above), OFlags::DIRECTORY) else { continue };
                    next.extend(
                        list(&directory)?.iter().filter_map(|n| n.to_str()).filter(|n| pattern.matches(n)).map(join),
                    );
                } else if self.at(Path::new(&join(part)), OFlags::empty()).is_ok() {
                    next.push(join(part));
                }
            }
            names = next;
        }
        names.retain(|name| !self.ignore.excludes(name));
        Ok(names)
    }

    /// The source at a path, without patterns.
    pub fn one(&self, path: &str) -> anyhow::Result<Source> {
        let cleaned = dockerfile::ignore::clean(path);
        let nothing = Ignore::default();
        let everything = Within { exclude: &nothing, include: None };
        self.source(if cleaned == "." { "" } else { &cleaned }, if path.is_empty() { "/" } else { path }, &everything)
    }

    /// What stands at a path, by descriptor; a link there leads to a place in the tree or nowhere.
    pub fn open_at(&self, path: &str) -> anyhow::Result<OwnedFd> {
        let cleaned = dockerfile::ignore::clean(path);
        self.at(Path::new(if cleaned == "." { "" } else { &cleaned }), OFlags::empty())
            .with_context(|| format!("{path}: not found in {}", self.real.display()))
    }

    /// Where the tree is.
    pub fn path(&self) -> &Path {
        &self.real
    }

    fn at(&self, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let how = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        rustix::fs::openat2(&self.fd, path, OFlags::PATH | OFlags::CLOEXEC | flags, Mode::empty(), how)
    }

    /// Links on the way and at the end are followed, inside the root; what `.dockerignore` leaves out is not there.
    fn source(&self, path: &str, shown: &str, within: &Within<'_>) -> anyhow::Result<Source> {
        let missing = || format!("{shown}: not found in {}", self.real.display());
        let fd = self.at(Path::new(path), OFlags::empty()).with_context(missing)?;
        let real = real_path(&fd)?;
        let real =
            real.strip_prefix(&self.real).ok().with_context(|| format!("{shown}: leaves the context"))?.to_owned();
        let stat = rustix::fs::fstat(&fd)?;
        let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if !real.as_os_str().is_empty() && self.left_out(&real) && !(is_directory && self.ignore.may_return_below()) {
            bail!("{shown}: not found: .dockerignore excludes it");
        }
        let name = Path::new(path).file_name().unwrap_or_default().to_owned();
        let mut entries = vec![self.entry(&fd, PathBuf::new(), real.clone(), &stat)?];
        if is_directory {
            self.walk(&fd, Path::new(""), &real, &mut entries, within, 0)?;
        }
        Ok(Source { name, entries })
    }

    fn left_out(&self, path: &Path) -> bool {
        self.ignore.excludes(&path.to_string_lossy())
    }

    fn walk(
        &self,
        directory: &OwnedFd,
        below: &Path,
        path: &Path,
        entries: &mut Vec<Entry>,
        within: &Within<'_>,
        depth: usize,
    ) -> anyhow::Result<()> {
        if depth > DEEPEST || entries.len() > MOST_ENTRIES {
            bail!("{}: too deep, or too many files", path.display());
        }
        for name in list(directory)? {
            let (below, path) = (below.join(&name), path.join(&name));
            let ignored = self.left_out(&path);
            let out = ignored || !within.takes(&below);
            if (ignored && !self.ignore.may_return_below()) || (out && !within.may_take_below(&below)) {
                continue;
            }
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let fd = rustix::fs::openat(directory, &name, flags, Mode::empty())
                .with_context(|| format!("{}: openat", path.display()))?;
            let stat = rustix::fs::fstat(&fd)?;
            let kind = FileType::from_raw_mode(stat.st_mode);
            if kind == FileType::Socket || (out && kind != FileType::Directory) {
                continue;
            }
            let at = entries.len();
            entries.push(self.entry(&fd, below.clone(), path.clone(), &stat)?);
            if kind == FileType::Directory {
                self.walk(&fd, &below, &path, entries, within, depth + 1)?;
                // A directory that is not wanted itself is there only for what is wanted below it.
                if out && entries.len() == at + 1 {
                    entries.pop();
                }
            }
        }
        Ok(())
    }

    fn entry(&self, fd: &OwnedFd, below: PathBuf, path: PathBuf, stat: &Stat) -> anyhow::Result<Entry> {
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Kind::Directory,
            FileType::Symlink => Kind::Symlink,
            FileType::RegularFile => Kind::File,
            FileType::Fifo => Kind::Fifo,
            FileType::CharacterDevice => Kind::Char,
            FileType::BlockDevice => Kind::Block,
            _ => Kind::Socket,
        };
        if path.iter().any(|part| part.as_bytes().starts_with(layer_tar::WHITEOUT_PREFIX)) {
            bail!("{}: a layer cannot hold a name that starts with .wh.", path.display());
        }
        let target = match kind {
            Kind::Symlink => rustix::fs::readlinkat(fd, "", Vec::new())?.into_bytes(),
            _ => Vec::new(),
        };
        let keep = self.keep_owner;
        #[expect(clippy::cast_possible_truncation, reason = "the kernel gives 0..1e9")]
        let mtime = Time { seconds: stat.st_mtime, nanos: stat.st_mtime_nsec as u32 };
        let meta = Meta {
            mode: stat.st_mode & 0o7777,
            uid: if keep { stat.st_uid } else { 0 },
            gid: if keep { stat.st_gid } else { 0 },
            mtime,
            xattrs: if keep && kind == Kind::File { capability(fd) } else { Xattrs::new() },
        };
        Ok(Entry {
            below,
            path,
            kind,
            meta,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            target,
            device: layer_tar::write::Device {
                major: rustix::fs::major(stat.st_rdev),
                minor: rustix::fs::minor(stat.st_rdev),
            },
            shared: (kind == Kind::File && stat.st_nlink > 1).then_some((stat.st_dev, stat.st_ino)),
        })
    }

    /// The content of a file that was found. It is looked up again from the root, without links: whoever swaps a
    /// directory for a link meanwhile gets an error, not another file.
    pub fn read(&self, path: &Path) -> anyhow::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let fd = rustix::fs::openat2(&self.fd, path, flags, Mode::empty(), how)
            .with_context(|| format!("openat2({}, {})", self.real.display(), path.display()))?;
        if FileType::from_raw_mode(rustix::fs::fstat(&fd)?.st_mode) != FileType::RegularFile {
            bail!("{}: is not a regular file any more", path.display());
        }
        Ok(fd.into())
    }

    /// The digest of everything that a copy takes from a source. Times are not part of it, as in docker.
    pub fn digest(&self, source: &Source) -> anyhow::Result<String> {
        let mut hash = Sha256::new();
        hash.update(source.name.as_bytes());
        for entry in &source.entries {
            let Meta { mode, uid, gid, xattrs, .. } = &entry.meta;
            let line =
                format!("\0{:?}\0{mode:o}\0{uid}\0{gid}\0{}\0{xattrs:?}\0{:?}\0", entry.kind, entry.size, entry.device);
            hash.update(entry.below.as_os_str().as_bytes());
            hash.update(line.as_bytes());
            hash.update(&entry.target);
            if entry.kind == Kind::File {
                hash.update(self.content_digest(entry)?);
            }
            hash.update(b"\n");
        }
        Ok(hex(&hash.finalize()))
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Inode, [u8; 32]>> {
        self.digests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn content_digest(&self, entry: &Entry) -> anyhow::Result<[u8; 32]> {
        let mut file = self.read(&entry.path)?;
        let stat = rustix::fs::fstat(&file)?;
        let inode = (stat.st_dev, stat.st_ino, stat.st_size, stat.st_ctime, stat.st_ctime_nsec);
        if let Some(known) = self.known().get(&inode) {
            return Ok(*known);
        }
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 256 * 1024];
        loop {
            match file.read(&mut buffer) {
                Ok(0) => {
                    let digest = hash.finalize().into();
                    self.known().insert(inode, digest);
                    return Ok(digest);
                }
                Ok(count) => hash.update(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error).with_context(|| entry.path.display().to_string()),
            }
        }
    }
}

pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// `security.capability` is the one attribute that a program needs to work.
fn capability(fd: &OwnedFd) -> Xattrs {
    let mut value = [0; 64];
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    match rustix::fs::getxattr(path, "security.capability", &mut value[..]) {
        Ok(size) => Xattrs::from([(b"security.capability".to_vec(), value[..size].to_vec())]),
        Err(_) => Xattrs::new(),
    }
}

fn real_path(fd: &OwnedFd) -> anyhow::Result<PathBuf> {
    let path = rustix::fs::readlink(format!("/proc/self/fd/{}", fd.as_raw_fd()), Vec::new())?;
    Ok(PathBuf::from(std::ffi::OsString::from_vec(path.into_bytes())))
}

/// The names in a directory, sorted.
fn list(directory: impl AsFd) -> anyhow::Result<Vec<std::ffi::OsString>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(directory, ".", flags, Mode::empty())?;
    let mut names = Vec::new();
    for entry in Dir::new(fd)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") {
            names.push(OsStr::from_bytes(name).to_owned());
        }
    }
    names.sort();
    Ok(names)
}

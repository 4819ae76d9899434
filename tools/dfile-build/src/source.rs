//! Where COPY reads: a directory by its descriptor. Every look-up is one `openat2` that cannot leave it
//! (openat2(2), `RESOLVE_IN_ROOT`); links met inside a copied directory are copied as links.

mod digest;
mod find;
mod walk;

pub use find::Wanted;
pub use walk::{Entry, Source};

use anyhow::{Context, bail};
use digest::Digests;
use dockerfile::Ignore;
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::{Dir, FileType, Mode, OFlags, ResolveFlags, Stat};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// A tree to copy from.
#[derive(Debug)]
pub struct Root {
    fd: OwnedFd,
    real: PathBuf,
    ignore: Ignore,
    /// Files of an image keep their owner and attributes; those of the context belong to root.
    keep_owner: bool,
    digests: Mutex<Digests>,
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

    /// The content of a file that was found. It is looked up again from the root, without links: whoever swaps a
    /// directory for a link meanwhile gets an error, not another file.
    pub fn read(&self, path: &Path) -> anyhow::Result<File> {
        self.open_file(path).map(|(file, _)| file)
    }

    fn open_file(&self, path: &Path) -> anyhow::Result<(File, Stat)> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let fd = rustix::fs::openat2(&self.fd, path, flags, Mode::empty(), how)
            .with_context(|| format!("openat2({}, {})", self.real.display(), path.display()))?;
        let stat = rustix::fs::fstat(&fd)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            bail!("{}: is not a regular file any more", path.display());
        }
        Ok((fd.into(), stat))
    }
}

fn real_path(fd: &OwnedFd) -> anyhow::Result<PathBuf> {
    let path = rustix::fs::readlink(format!("/proc/self/fd/{}", fd.as_raw_fd()), Vec::new())?;
    Ok(PathBuf::from(OsString::from_vec(path.into_bytes())))
}

/// The names in a directory, sorted.
fn list(directory: impl AsFd) -> anyhow::Result<Vec<OsString>> {
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

//! A source with everything below it, in few bytes: of a large tree every entry is in memory.

use super::find::Within;
use super::{Root, list, real_path};
use anyhow::{Context, bail};
use layer_tar::write::Device;
use layer_tar::{Kind, Meta, Time, Xattrs};
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

const DEEPEST: usize = 512;
const MOST_ENTRIES: usize = 4_000_000;

/// A source with everything below it.
#[derive(Debug)]
pub struct Source {
    /// The last component of what was named.
    pub name: OsString,
    /// The first is the source itself.
    pub entries: Vec<Entry>,
    /// How many bytes of each path are the source's own.
    own: usize,
}

/// One thing to copy.
#[derive(Debug)]
pub struct Entry {
    /// Relative to the root, without links.
    pub path: Box<Path>,
    pub size: u64,
    pub mtime: Time,
    pub mode: u32,
    uid: u32,
    gid: u32,
    pub kind: Kind,
    /// What few entries have.
    more: Option<Box<More>>,
}

#[derive(Debug)]
struct More {
    xattrs: Xattrs,
    target: Vec<u8>,
    device: (u32, u32),
    shared: Option<(u64, u64)>,
}

impl Source {
    pub fn kind(&self) -> Kind {
        self.entries[0].kind
    }

    /// The path of an entry relative to the source that was named; empty for itself.
    pub fn below<'a>(&self, entry: &'a Entry) -> &'a Path {
        let path = entry.path.as_os_str().as_bytes();
        let rest = path.get(self.own..).unwrap_or_default();
        Path::new(std::ffi::OsStr::from_bytes(rest.strip_prefix(b"/").unwrap_or(rest)))
    }
}

impl Entry {
    pub fn meta(&self) -> Meta {
        let xattrs = self.more.as_ref().map(|more| more.xattrs.clone()).unwrap_or_default();
        Meta { mode: self.mode, uid: self.uid, gid: self.gid, mtime: self.mtime, xattrs }
    }

    /// Of a symbolic link.
    pub fn target(&self) -> &[u8] {
        self.more.as_ref().map(|more| &more.target[..]).unwrap_or_default()
    }

    pub fn device(&self) -> Device {
        let (major, minor) = self.more.as_ref().map(|more| more.device).unwrap_or_default();
        Device { major, minor }
    }

    /// Device and inode of a file with several names.
    pub fn shared(&self) -> Option<(u64, u64)> {
        self.more.as_ref()?.shared
    }
}

impl Root {
    /// Links on the way and at the end are followed, inside the root; what `.dockerignore` leaves out is not there.
    pub(super) fn source(&self, path: &str, shown: &str, within: &Within<'_>) -> anyhow::Result<Source> {
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
        let mut entries = vec![self.entry(Some(&fd), &real, &stat)?];
        if is_directory {
            self.walk(&fd, Path::new(""), &real, &mut entries, within, 0)?;
        }
        Ok(Source { name, entries, own: real.as_os_str().len() })
    }

    pub(super) fn left_out(&self, path: &Path) -> bool {
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
            let (fd, stat) = self.look(directory, &name).with_context(|| path.display().to_string())?;
            let kind = FileType::from_raw_mode(stat.st_mode);
            if kind == FileType::Socket || (out && kind != FileType::Directory) {
                continue;
            }
            let at = entries.len();
            entries.push(self.entry(fd.as_ref(), &path, &stat)?);
            if let (FileType::Directory, Some(fd)) = (kind, fd) {
                self.walk(&fd, &below, &path, entries, within, depth + 1)?;
                // A directory that is not wanted itself is there only for what is wanted below it.
                if out && entries.len() == at + 1 {
                    entries.pop();
                }
            }
        }
        Ok(())
    }

    /// What a name in a directory is. Of most files that is all there is to ask now; the rest is held, too.
    fn look(&self, directory: &OwnedFd, name: &OsStr) -> rustix::io::Result<(Option<OwnedFd>, Stat)> {
        let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile && !self.keep_owner {
            return Ok((None, stat));
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(directory, name, flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&fd)?;
        Ok((Some(fd), stat))
    }

    fn entry(&self, fd: Option<&OwnedFd>, path: &Path, stat: &Stat) -> anyhow::Result<Entry> {
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
        let keep = self.keep_owner;
        let plain = More { xattrs: Xattrs::new(), target: Vec::new(), device: (0, 0), shared: None };
        let more = match kind {
            Kind::Symlink => {
                let target = fd.map(|fd| rustix::fs::readlinkat(fd, "", Vec::new())).transpose()?;
                Some(More { target: target.unwrap_or_default().into_bytes(), ..plain })
            }
            Kind::Char | Kind::Block => {
                let device = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
                Some(More { device, ..plain })
            }
            Kind::File => {
                let xattrs = fd.filter(|_| keep).map_or_else(Xattrs::new, capability);
                let shared = (stat.st_nlink > 1).then_some((stat.st_dev, stat.st_ino));
                (shared.is_some() || !xattrs.is_empty()).then_some(More { xattrs, shared, ..plain })
            }
            _ => None,
        };
        #[expect(clippy::cast_possible_truncation, reason = "the kernel gives 0..1e9")]
        let mtime = Time { seconds: stat.st_mtime, nanos: stat.st_mtime_nsec as u32 };
        Ok(Entry {
            path: path.into(),
            size: u64::try_from(stat.st_size).unwrap_or(0),
            mtime,
            mode: stat.st_mode & 0o7777,
            uid: if keep { stat.st_uid } else { 0 },
            gid: if keep { stat.st_gid } else { 0 },
            kind,
            more: more.map(Box::new),
        })
    }
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

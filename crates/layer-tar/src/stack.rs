//! Directories one over the other, read as overlayfs shows them, with its whiteouts, opaque marks and links.

use crate::node::{Kind, Meta, proc_path, read_xattrs};
use crate::{Error, Result};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::collections::{BTreeSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// As many symbolic links as the kernel follows in one path.
const MOST_LINKS: u32 = 40;
/// Whoever keeps more of one path than this is not a file system.
const MOST_COMPONENTS: usize = 4096;

/// A read-only view of directories that lie above each other as overlayfs would mount them: whiteouts and
/// opaque marks honoured, nothing mounted, no privilege needed. One plain directory is a stack of one.
#[derive(Debug)]
pub struct Stack {
    root: Arc<Merged>,
    userxattr: bool,
}

/// One directory of the view: the same directory of each layer that takes part in it, topmost first.
#[derive(Debug)]
pub(crate) struct Merged {
    layers: Vec<OwnedFd>,
}

/// What a path leads to.
#[derive(Debug, Clone)]
pub struct Found {
    /// The path without symbolic links, relative to the root; empty for the root itself.
    pub path: PathBuf,
    /// What is there.
    pub kind: Kind,
    /// Its size in bytes.
    pub size: u64,
    /// Mode, owner, time; the extended attributes are not read.
    pub metadata: Meta,
}

/// A name in a merged directory, held open.
#[derive(Debug)]
pub struct Node {
    /// Of the topmost layer that has it.
    pub(crate) stat: Stat,
    /// `O_PATH`, the last component not followed.
    pub(crate) fd: OwnedFd,
    /// When it is a directory.
    pub(crate) merged: Option<Arc<Merged>>,
}

impl Node {
    /// What is there.
    pub fn kind(&self) -> Kind {
        Kind::of(&self.stat)
    }

    pub(crate) fn meta(&self, shown: &Path) -> Result<Meta> {
        let mut meta = Meta::of(&self.stat);
        meta.xattrs = read_xattrs(self.fd.as_fd(), shown)?;
        Ok(meta)
    }

    pub(crate) fn link(&self, shown: &Path) -> Result<Vec<u8>> {
        let target = rustix::fs::readlinkat(&self.fd, "", Vec::new()).map_err(Error::call("readlinkat", shown))?;
        Ok(target.into_bytes())
    }

    /// Opens a regular file for reading: the inode that was looked at, not its name again.
    pub(crate) fn open(&self, shown: &Path) -> Result<File> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let fd = rustix::fs::openat(CWD, proc_path(self.fd.as_fd()), flags, Mode::empty())
            .map_err(Error::call("openat", shown))?;
        Ok(fd.into())
    }
}

impl Merged {
    /// The directory, when only one layer takes part in it.
    pub(crate) fn only(&self) -> Option<BorrowedFd<'_>> {
        match &self.layers[..] {
            [only] => Some(only.as_fd()),
            _ => None,
        }
    }

    /// Every name that a layer of the directory has; [`Stack::child`] knows which of them are there.
    pub(crate) fn names(&self, at: &Path) -> Result<BTreeSet<OsString>> {
        let mut names = BTreeSet::new();
        for layer in &self.layers {
            names.extend(read_names(layer.as_fd(), at)?);
        }
        Ok(names)
    }
}

impl Stack {
    /// Opens the root directories, the topmost first.
    pub fn open(dirs: &[PathBuf]) -> Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = |dir: &PathBuf| {
            rustix::fs::openat(CWD, dir, flags, Mode::empty()).map_err(Error::call("openat", dir.as_path()))
        };
        let layers = dirs.iter().map(open).collect::<Result<_>>()?;
        Ok(Self { root: Arc::new(Merged { layers }), userxattr: false })
    }

    /// Whether opaque marks are `user.overlay.opaque`, as an ordinary user makes them, and not `trusted.overlay.opaque`.
    #[must_use]
    pub fn userxattr(mut self, userxattr: bool) -> Self {
        self.userxattr = userxattr;
        self
    }

    /// The same view of one directory in it, found as [`resolve`](Self::resolve) does; none when there is none.
    pub fn directory(&self, path: impl AsRef<Path>) -> Result<Option<Self>> {
        let node = self.walk(path.as_ref(), true)?;
        Ok(node.and_then(|(_, node)| node.merged).map(|root| Self { root, userxattr: self.userxattr }))
    }

    /// Follows a path, and every symbolic link on it, inside the root: `..` and absolute links end there.
    /// None when nothing is there, or a link leads nowhere.
    pub fn resolve(&self, path: impl AsRef<Path>) -> Result<Option<Found>> {
        Ok(self.walk(path.as_ref(), true)?.map(|(path, node)| found(path, &node)))
    }

    /// As [`resolve`](Self::resolve), but a symbolic link at the end of the path is the answer itself.
    pub fn resolve_link(&self, path: impl AsRef<Path>) -> Result<Option<Found>> {
        Ok(self.walk(path.as_ref(), false)?.map(|(path, node)| found(path, &node)))
    }

    /// The whole content of a regular file, found as [`resolve`](Self::resolve) does. None when there is none
    /// or it is something else; longer than `cap` is an error.
    pub fn read_file(&self, path: impl AsRef<Path>, cap: u64) -> Result<Option<Vec<u8>>> {
        let Some((path, node)) = self.walk(path.as_ref(), true)? else { return Ok(None) };
        if node.kind() != Kind::File {
            return Ok(None);
        }
        let mut content = Vec::new();
        node.open(&path)?.take(cap + 1).read_to_end(&mut content)?;
        if content.len() as u64 > cap {
            return Err(Error::Unsayable { path, reason: format!("larger than {cap} bytes") });
        }
        Ok(Some(content))
    }

    /// The target of a symbolic link at the end of the path; None when there is none.
    pub fn read_link(&self, path: impl AsRef<Path>) -> Result<Option<PathBuf>> {
        match self.walk(path.as_ref(), false)? {
            Some((path, node)) if node.kind() == Kind::Symlink => {
                Ok(Some(OsString::from_vec(node.link(&path)?).into()))
            }
            _ => Ok(None),
        }
    }

    /// The names in a directory, sorted; empty when the path leads to none.
    pub fn list(&self, path: impl AsRef<Path>) -> Result<Vec<OsString>> {
        match self.walk(path.as_ref(), true)? {
            Some((path, Node { merged: Some(merged), .. })) => {
                let mut names = Vec::new();
                for name in merged.names(&path)? {
                    if self.child(&merged, &name, &path.join(&name))?.is_some() {
                        names.push(name);
                    }
                }
                Ok(names)
            }
            _ => Ok(Vec::new()),
        }
    }

    /// Follows a path as far as there is something: where that is, without symbolic links, and the names that are left.
    pub(crate) fn reach(&self, path: &Path) -> Result<(PathBuf, VecDeque<OsString>)> {
        let mut left: VecDeque<OsString> = components(path.as_os_str().as_bytes());
        let mut trail: Vec<(OsString, Arc<Merged>)> = Vec::new();
        let mut links = 0;
        while let Some(name) = left.pop_front() {
            if name == ".." {
                trail.pop();
                continue;
            }
            let here = trail.last().map_or(&self.root, |(_, merged)| merged);
            let Some(node) = self.child(here, &name, path)? else {
                left.push_front(name);
                break;
            };
            match (node.kind(), node.merged.as_ref()) {
                (_, Some(merged)) => trail.push((name, Arc::clone(merged))),
                (Kind::Symlink, None) => {
                    links += 1;
                    let target = node.link(path)?;
                    if links > MOST_LINKS || left.len() > MOST_COMPONENTS {
                        return Err(Error::call("openat", path)(Errno::LOOP));
                    }
                    if target.starts_with(b"/") {
                        trail.clear();
                    }
                    for name in components(&target).into_iter().rev() {
                        left.push_front(name);
                    }
                }
                _ => return Err(Error::call("mkdirat", join(&trail, Some(&name)))(Errno::NOTDIR)),
            }
        }
        Ok((join(&trail, None), left))
    }

    /// The directory without its topmost layer, which has it; nothing when no other layer has it.
    pub(crate) fn below(&self, path: &Path) -> Result<Option<Merged>> {
        let Some((_, Node { merged: Some(merged), .. })) = self.walk(path, true)? else { return Ok(None) };
        let Some(layers) = merged.layers.get(1..).filter(|layers| !layers.is_empty()) else { return Ok(None) };
        let layers =
            layers.iter().map(|fd| rustix::io::fcntl_dupfd_cloexec(fd, 0)).collect::<std::result::Result<_, _>>();
        Ok(Some(Merged { layers: layers.map_err(Error::call("fcntl", path))? }))
    }

    /// The directory when only the topmost layer has it, or it is opaque there.
    pub(crate) fn single(&self, path: &Path) -> Result<Option<OwnedFd>> {
        let Some((_, Node { fd, merged: Some(merged), .. })) = self.walk(path, false)? else { return Ok(None) };
        let layers = self.root.layers.len();
        Ok((merged.layers.len() == 1 && (layers == 1 || !path.as_os_str().is_empty())).then_some(fd))
    }

    pub(crate) fn root(&self) -> Result<Node> {
        let empty = Path::new(".");
        let top = self
            .root
            .layers
            .first()
            .ok_or_else(|| Error::Unsayable { path: empty.into(), reason: "a stack of no layers".into() })?;
        let fd = rustix::io::fcntl_dupfd_cloexec(top, 0).map_err(Error::call("fcntl", empty))?;
        let stat = rustix::fs::fstat(&fd).map_err(Error::call("fstat", empty))?;
        Ok(Node { stat, fd, merged: Some(Arc::clone(&self.root)) })
    }

    /// Component by component, each opened from its parent's descriptor: `..` is a step back on our own list, so
    /// nothing ever leads above the root.
    pub(crate) fn walk(&self, path: &Path, follow_last: bool) -> Result<Option<(PathBuf, Node)>> {
        let mut left: VecDeque<OsString> = components(path.as_os_str().as_bytes());
        let mut trail: Vec<(OsString, Arc<Merged>)> = Vec::new();
        let mut last: Option<Node> = None;
        let mut links = 0;
        while let Some(name) = left.pop_front() {
            if last.as_ref().is_some_and(|node| node.merged.is_none()) {
                return Ok(None);
            }
            if name == ".." {
                trail.pop();
                last = None;
                continue;
            }
            let here = trail.last().map_or(&self.root, |(_, merged)| merged);
            let at = join(&trail, Some(&name));
            let Some(node) = self.child(here, &name, &at)? else { return Ok(None) };
            if node.kind() == Kind::Symlink && (follow_last || !left.is_empty()) {
                links += 1;
                let target = node.link(&at)?;
                if links > MOST_LINKS || left.len() > MOST_COMPONENTS {
                    return Err(Error::call("openat", at)(Errno::LOOP));
                }
                if target.starts_with(b"/") {
                    trail.clear();
                }
                for name in components(&target).into_iter().rev() {
                    left.push_front(name);
                }
                last = None;
                continue;
            }
            match &node.merged {
                Some(merged) => trail.push((name, Arc::clone(merged))),
                None if left.is_empty() => return Ok(Some((at, node))),
                None => return Ok(None),
            }
            last = Some(node);
        }
        let path = join(&trail, None);
        match (last, trail.pop()) {
            (Some(node), _) => Ok(Some((path, node))),
            (None, None) => Ok(Some((path, self.root()?))),
            // The path ended in `..` or in a link to a directory above: look the directory up once more.
            (None, Some((name, _))) => {
                let here = trail.last().map_or(&self.root, |(_, merged)| merged);
                Ok(self.child(here, &name, &path)?.map(|node| (path, node)))
            }
        }
    }

    /// Looks a name up in each layer from the top, as overlayfs does: a whiteout or anything but a directory ends
    /// the search, a directory collects the directories below it until one is opaque.
    pub(crate) fn child(&self, parent: &Merged, name: &OsStr, at: &Path) -> Result<Option<Node>> {
        let mut top: Option<Node> = None;
        let mut layers = Vec::new();
        for layer in &parent.layers {
            let fd =
                match rustix::fs::openat(layer, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
                {
                    Ok(fd) => fd,
                    Err(Errno::NOENT) => continue,
                    Err(errno) => return Err(Error::call("openat", at)(errno)),
                };
            let stat = rustix::fs::fstat(&fd).map_err(Error::call("fstat", at))?;
            if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                if top.is_none() && !is_whiteout(&stat) {
                    top = Some(Node { stat, fd, merged: None });
                }
                break;
            }
            let again = rustix::io::fcntl_dupfd_cloexec(&fd, 0).map_err(Error::call("fcntl", at))?;
            let opaque = is_opaque(fd.as_fd(), self.userxattr);
            layers.push(again);
            if top.is_none() {
                top = Some(Node { stat, fd, merged: None });
            }
            if opaque {
                break;
            }
        }
        if let Some(node) = top.as_mut().filter(|_| !layers.is_empty()) {
            node.merged = Some(Arc::new(Merged { layers }));
        }
        Ok(top)
    }

    pub(crate) fn uses_userxattr(&self) -> bool {
        self.userxattr
    }
}

pub(crate) fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

pub(crate) fn is_opaque(fd: BorrowedFd<'_>, userxattr: bool) -> bool {
    let name = if userxattr { "user.overlay.opaque" } else { "trusted.overlay.opaque" };
    let mut value = [0u8; 8];
    let result = rustix::fs::getxattr(proc_path(fd), name, &mut value[..]);
    matches!(result, Ok(1) if value[0] == b'y')
}

pub(crate) fn has_xattr(fd: BorrowedFd<'_>, name: &str) -> bool {
    rustix::fs::getxattr(proc_path(fd), name, &mut [0u8; 4096][..]).is_ok_and(|_| true)
}

/// The names in a directory of which we hold an `O_PATH` descriptor, without `.` and `..`.
pub(crate) fn read_names(dir: BorrowedFd<'_>, at: &Path) -> Result<Vec<OsString>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let fd = rustix::fs::openat(dir, ".", flags, Mode::empty()).map_err(Error::call("openat", at))?;
    let mut names = Vec::new();
    for entry in Dir::new(fd).map_err(Error::call("getdents64", at))? {
        let entry = entry.map_err(Error::call("getdents64", at))?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(OsString::from_vec(name.to_vec()));
        }
    }
    Ok(names)
}

pub(crate) fn stat_at(dir: BorrowedFd<'_>, name: &OsStr, at: &Path) -> Result<Option<Stat>> {
    match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(Error::call("fstatat", at)(errno)),
    }
}

/// The components of a path, without empty ones and `.`.
pub(crate) fn components(path: &[u8]) -> VecDeque<OsString> {
    path.split(|byte| *byte == b'/')
        .filter(|name| !name.is_empty() && *name != b".")
        .map(|name| OsStr::from_bytes(name).to_owned())
        .collect()
}

fn join(trail: &[(OsString, Arc<Merged>)], name: Option<&OsStr>) -> PathBuf {
    trail.iter().map(|(name, _)| name.as_os_str()).chain(name).collect()
}

#[allow(clippy::cast_sign_loss, reason = "a size is never negative")]
fn found(path: PathBuf, node: &Node) -> Found {
    Found { path, kind: node.kind(), size: node.stat.st_size as u64, metadata: Meta::of(&node.stat) }
}

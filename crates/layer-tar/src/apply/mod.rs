//! Applies one layer to a directory: each entry of the tar, in its order, becomes a node below the root and nowhere
//! else. `place` is the table of contents: the parent is found or made inside the root (parents), the name gets its
//! node (nodes, links) with owner, mode, attributes and time (meta), and `.wh.` names remove or hide (whiteouts).
//! OCI image-spec layer.md, "Applying Changesets".

mod links;
mod meta;
mod nodes;
mod parents;
mod whiteouts;

pub(crate) use meta::{gid, is_overlay, set_time, set_xattrs, timestamps, uid};
pub use whiteouts::drop_void_whiteouts;

use crate::finish::Finisher;
use crate::node::proc_path;
use crate::read::{Entry, TarReader, Type};
use crate::root::DirFd;
use crate::stack::read_names;
use crate::{Error, Kind, Result, Stack, Time, WHITEOUT_PREFIX};
use meta::{meta_of, set_directory};
use rustix::fd::BorrowedFd;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::thread;

/// Who will own what is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owners {
    /// Whom the layer says; takes root, or a user namespace with enough IDs.
    Keep,
    /// Whom the layer says, in a user namespace: devices, which are not the namespace's to make, are left out.
    Mapped,
    /// The caller: everything, with what an ordinary user may not make left out and counted in [`Loss`].
    Mine,
}

impl Owners {
    /// All that this process may give: root of the machine everything, root of a user namespace what is in there.
    pub fn possible() -> std::io::Result<Self> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self::Mine);
        }
        // user_namespaces(7): in the first one every ID is itself.
        let map = std::fs::read_to_string("/proc/self/uid_map")?;
        let everything = map.split_whitespace().eq(["0", "0", "4294967295"]);
        Ok(if everything { Self::Keep } else { Self::Mapped })
    }
}

/// What the directory is that a layer is applied to.
#[derive(Debug, Clone, Copy)]
pub enum Target<'a> {
    /// A complete tree: the layers below are in it already, whiteouts remove from it.
    Tree,
    /// A tree that gets a copy of files, not a layer: a name that begins with `.wh.` is a name as any other.
    Copy,
    /// A directory of this layer alone, to become the lower directory of an overlay mount: whiteouts become
    /// character devices 0:0, opaque marks an extended attribute.
    OverlayDir {
        /// Marks are `user.overlay.opaque`, for overlay mounts with `userxattr`.
        userxattr: bool,
        /// The layers below, topmost first; none when they are not there yet. Few layers ask: one that leaves
        /// parent directories out, or links to a file below. They get [`Error::NeedsLower`], and a second try.
        lower: Option<&'a [PathBuf]>,
    },
}

/// How to apply a layer.
#[derive(Debug, Clone, Copy)]
pub struct Options<'a> {
    /// Who will own what is written.
    pub owners: Owners,
    /// What the directory is.
    pub target: Target<'a>,
    /// The caller has set the process's umask to 0, so that a file has its mode from its creation on. Otherwise
    /// every file costs one more system call.
    pub umask_is_zero: bool,
    /// Keep the `SELinux` labels that the layer has, instead of those that this machine's policy gives.
    pub selinux: bool,
}

/// What could not be kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Loss {
    /// Device nodes that only root can make.
    pub devices: u64,
    /// Extended attributes that the file system or the kernel did not take.
    pub xattrs: u64,
    /// Files that somebody else than root should own, and the caller does.
    pub owners: u64,
}

/// What was done.
#[derive(Debug, Clone, Default)]
pub struct Applied {
    /// How many entries the layer has.
    pub entries: u64,
    /// Whether one of them was the root directory itself.
    pub root_entry: bool,
    /// What could not be kept.
    pub loss: Loss,
    /// In an overlay directory: the directories that hold whiteouts, for [`drop_void_whiteouts`].
    pub whiteouts: BTreeSet<PathBuf>,
}

/// Reads one uncompressed layer to the end of its stream and applies it to the directory `root`.
pub fn apply(tar: impl Read, root: BorrowedFd<'_>, options: &Options<'_>) -> Result<Applied> {
    let mut reader = TarReader::new(tar);
    thread::scope(|scope| {
        let mut job = Job::new(root, options, Finisher::start(scope))?;
        let placed = job.place_all(&mut reader);
        let (finisher, mut applied) = (job.finisher, job.applied);
        // An error of the other thread is why this one could not go on.
        let loss = finisher.end()?;
        placed?;
        applied.loss.xattrs += loss.xattrs;
        Ok(applied)
    })
}

/// Gives the directory `to` the mode, owner, attributes and time of the directory `from`: for a layer without
/// an entry for the root.
pub fn copy_root(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<()> {
    let meta = meta_of(from, Path::new("."))?;
    set_directory(to, &meta, &mut Loss::default(), Path::new("."))
}

/// What a directory gets when everything in it is written.
#[derive(Debug, Clone, Copy)]
struct Ending {
    mtime: Time,
    /// Only when it had to be widened so that its owner may write in it.
    mode: Option<u32>,
}

struct Parent {
    dir: DirFd,
    /// New files take the directory's group, so it has to be set.
    setgid: bool,
}

struct Job<'a> {
    root: BorrowedFd<'a>,
    options: &'a Options<'a>,
    me: (u32, u32),
    /// The parent of the last entry, by the name that the archive has for it.
    last: Option<(PathBuf, Rc<Parent>)>,
    endings: BTreeMap<PathBuf, Ending>,
    /// What this layer made, so that its whiteouts leave it alone; none when there is nothing below.
    made: Option<HashSet<PathBuf>>,
    /// This layer above the ones below it, to find where a parent directory really is.
    view: Option<Stack>,
    /// Device nodes that were not made.
    lost: HashSet<PathBuf>,
    /// What is here only because a hard link leads to something below: to whiteouts it is below still.
    copied: BTreeSet<PathBuf>,
    copying: bool,
    finisher: Finisher<'a>,
    applied: Applied,
}

impl<'a> Job<'a> {
    fn new(root: BorrowedFd<'a>, options: &'a Options<'a>, finisher: Finisher<'a>) -> Result<Self> {
        let (made, view) = match options.target {
            Target::Tree => ((!read_names(root, Path::new("."))?.is_empty()).then(HashSet::new), None),
            Target::Copy | Target::OverlayDir { lower: None, .. } => (None, None),
            Target::OverlayDir { lower: Some(lower), userxattr } => {
                let dirs: Vec<PathBuf> =
                    [PathBuf::from(proc_path(root))].into_iter().chain(lower.iter().cloned()).collect();
                (None, Some(Stack::open(&dirs)?.userxattr(userxattr)))
            }
        };
        let me = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        Ok(Self {
            root,
            options,
            me,
            last: None,
            endings: BTreeMap::new(),
            made,
            view,
            lost: HashSet::new(),
            copied: BTreeSet::new(),
            copying: false,
            finisher,
            applied: Applied::default(),
        })
    }

    fn place_all(&mut self, reader: &mut TarReader<impl Read>) -> Result<()> {
        while let Some(entry) = reader.next()? {
            self.applied.entries += 1;
            self.applied.loss.xattrs += entry.unreadable;
            self.place(&entry, reader)?;
        }
        self.finish_directories()?;
        reader.drain()
    }

    fn place(&mut self, entry: &Entry, content: &mut TarReader<impl Read>) -> Result<()> {
        let path = inside(&entry.path, &entry.path)?;
        let Some(name) = path.file_name() else {
            return self.place_root(entry);
        };
        let above = path.parent().unwrap_or(Path::new(""));
        let is_layer = !matches!(self.options.target, Target::Copy);
        if is_layer && above.components().any(|part| part.as_os_str().as_bytes().starts_with(WHITEOUT_PREFIX)) {
            // What aufs keeps for itself in names of this form means nothing in a layer.
            if above.components().any(|part| part.as_os_str().as_bytes().starts_with(b".wh..wh.")) {
                return Ok(());
            }
            return Err(refused(entry, "a path below a whiteout"));
        }
        if let Some(hidden) = name.as_bytes().strip_prefix(WHITEOUT_PREFIX).filter(|_| is_layer) {
            return self.place_whiteout(entry, above, name, OsStr::from_bytes(hidden));
        }
        let parent = self.parent(above)?;
        let at = parent.dir.path.join(name);
        match entry.kind {
            Type::HardLink => self.place_link(entry, &parent, name, &at)?,
            Type::Node(Kind::Directory) => self.place_directory(entry, &parent, name, &at)?,
            Type::Node(Kind::File) => self.place_file(entry, &parent, name, &at, content)?,
            Type::Node(Kind::Symlink) => {
                let target = OsStr::from_bytes(&entry.link);
                self.create("symlinkat", &parent, name, &at, |fd| rustix::fs::symlinkat(target, fd, name))?;
                self.finish_node(entry, Kind::Symlink, &parent, name, &at)?;
            }
            Type::Node(kind) => self.place_special(entry, kind, &parent, name, &at)?,
        }
        if let Some(made) = &mut self.made {
            made.insert(at);
        }
        Ok(())
    }

    /// The root of a file system is a directory, whatever a layer says (CVE-2021-29136).
    fn place_root(&mut self, entry: &Entry) -> Result<()> {
        if entry.kind != Type::Node(Kind::Directory) {
            return Err(refused(entry, "the root is not a directory"));
        }
        self.applied.root_entry = true;
        let meta = self.owned(&entry.meta);
        let root = self.root;
        self.clear_xattrs(root, Path::new("."), &meta.xattrs)?;
        self.finish_directory(root, &meta, PathBuf::new())
    }
}

/// The path inside the root, without `.` and `..`; one that leads out is refused.
pub(crate) fn inside(path: &Path, shown: &Path) -> Result<PathBuf> {
    let mut clean: Vec<OsString> = Vec::new();
    for name in path.as_os_str().as_bytes().split(|byte| *byte == b'/') {
        match name {
            b"" | b"." => {}
            b".." => {
                if clean.pop().is_none() {
                    let reason = format!("{} leads out of the root", path.display());
                    return Err(Error::Refused { path: shown.to_owned(), reason });
                }
            }
            name => clean.push(OsString::from_vec(name.to_vec())),
        }
    }
    Ok(clean.into_iter().collect())
}

pub(crate) fn refused(entry: &Entry, reason: &str) -> Error {
    Error::Refused { path: entry.path.clone(), reason: reason.into() }
}

use crate::finish::{Finisher, SMALL, Unfinished, finish};
use crate::node::{SELINUX, proc_path, read_xattrs};
use crate::read::{Entry, TarReader, Type};
use crate::root::{DirFd, empty_except, fstat, open_plain, remove_all, remove_except, walk};
use crate::stack::{Merged, is_whiteout, read_names, stat_at};
use crate::{Error, Kind, Meta, OPAQUE_NAME, Result, Stack, Time, WHITEOUT_PREFIX, Xattrs};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};
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

/// What the directory is that a layer is applied to.
#[derive(Debug, Clone, Copy)]
pub enum Target<'a> {
    /// A complete tree: the layers below are in it already, whiteouts remove from it.
    Tree,
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

/// Takes whiteouts away that hide nothing. In a directory that only one layer has, the kernel lists them as names (it
/// hides them where it merges): `dirs` are those of the layer `top`, `lower` the layers below it, topmost first.
pub fn drop_void_whiteouts(top: &Path, lower: &[PathBuf], userxattr: bool, dirs: &BTreeSet<PathBuf>) -> Result<()> {
    let layers: Vec<PathBuf> = [top.to_owned()].into_iter().chain(lower.iter().cloned()).collect();
    let view = Stack::open(&layers)?.userxattr(userxattr);
    for path in dirs {
        let Some(merged) = view.single(path)? else { continue };
        let before = Meta::of(&fstat(merged.as_fd(), path)?);
        let narrow = userxattr && before.mode & 0o700 != 0o700;
        if narrow {
            chmod(merged.as_fd(), before.mode | 0o700, path)?;
        }
        for name in read_names(merged.as_fd(), path)? {
            let at = path.join(&name);
            if stat_at(merged.as_fd(), &name, &at)?.is_some_and(|stat| is_whiteout(&stat)) {
                rustix::fs::unlinkat(&merged, &name, AtFlags::empty()).map_err(Error::call("unlinkat", &at))?;
            }
        }
        set_time(merged.as_fd(), before.mtime, path)?;
        if narrow {
            chmod(merged.as_fd(), before.mode, path)?;
        }
    }
    Ok(())
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
            Target::OverlayDir { lower: None, .. } => (None, None),
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
        if above.components().any(|part| part.as_os_str().as_bytes().starts_with(WHITEOUT_PREFIX)) {
            // What aufs keeps for itself in names of this form means nothing in a layer.
            if above.components().any(|part| part.as_os_str().as_bytes().starts_with(b".wh..wh.")) {
                return Ok(());
            }
            return Err(refused(entry, "a path below a whiteout"));
        }
        if let Some(hidden) = name.as_bytes().strip_prefix(WHITEOUT_PREFIX) {
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

    fn place_directory(&mut self, entry: &Entry, parent: &Parent, name: &OsStr, at: &Path) -> Result<()> {
        let mut replaced = None;
        let mode = Mode::from_raw_mode(entry.meta.mode & 0o777 | 0o700);
        match rustix::fs::mkdirat(&parent.dir.fd, name, mode) {
            Ok(()) => {}
            Err(Errno::EXIST) => {
                replaced = stat_at(parent.dir.fd.as_fd(), name, at)?;
                if replaced.as_ref().map(Kind::of) != Some(Kind::Directory) {
                    self.remove(parent, name, at)?;
                    rustix::fs::mkdirat(&parent.dir.fd, name, mode).map_err(Error::call("mkdirat", at))?;
                }
            }
            Err(errno) => return Err(Error::call("mkdirat", at)(errno)),
        }
        let fd = open_nofollow(parent.dir.fd.as_fd(), name, OFlags::DIRECTORY, at)?;
        self.copied.remove(at);
        let meta = self.owned(&entry.meta);
        match replaced {
            Some(stat) if Kind::of(&stat) == Kind::Directory => self.clear_xattrs(fd.as_fd(), at, &meta.xattrs)?,
            Some(stat) if is_whiteout(&stat) => mark_opaque(fd.as_fd(), self.options.target, at)?,
            _ => {}
        }
        self.finish_directory(fd.as_fd(), &meta, at.to_owned())
    }

    fn finish_directory(&mut self, fd: BorrowedFd<'_>, meta: &Meta, at: PathBuf) -> Result<()> {
        set_directory(fd, meta, &mut self.applied.loss, &at)?;
        let narrow = self.options.owners == Owners::Mine && meta.mode & 0o700 != 0o700;
        if narrow {
            chmod(fd, meta.mode | 0o700, &at)?;
        }
        self.endings.insert(at, Ending { mtime: meta.mtime, mode: narrow.then_some(meta.mode) });
        Ok(())
    }

    fn place_file(
        &mut self,
        entry: &Entry,
        parent: &Parent,
        name: &OsStr,
        at: &Path,
        content: &mut TarReader<impl Read>,
    ) -> Result<()> {
        let meta = self.owned(&entry.meta);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(meta.mode & 0o777);
        let fd = self.create("openat", parent, name, at, |dir| rustix::fs::openat(dir, name, flags, mode))?;
        let chown = parent.setgid || (meta.uid, meta.gid) != self.me;
        let chmod = !self.options.umask_is_zero || meta.mode & 0o7000 != 0;
        let mut file = Unfinished { fd, at: at.to_owned(), content: Vec::new(), meta, chown, chmod };
        match &entry.sparse {
            None if entry.size <= SMALL => {
                file.content = content.whole()?;
                return if self.finisher.push(file) { Ok(()) } else { Err(io::Error::other("no finisher").into()) };
            }
            None => write_pieces(file.fd.as_fd(), content, u64::MAX, at)?,
            Some(pieces) => {
                rustix::fs::ftruncate(&file.fd, entry.size).map_err(Error::call("ftruncate", at))?;
                for (offset, length) in pieces {
                    let to = rustix::fs::SeekFrom::Start(*offset);
                    rustix::fs::seek(&file.fd, to).map_err(Error::call("lseek", at))?;
                    write_pieces(file.fd.as_fd(), content, *length, at)?;
                }
            }
        }
        finish(&file, &mut self.applied.loss)
    }

    fn place_special(&mut self, entry: &Entry, kind: Kind, parent: &Parent, name: &OsStr, at: &Path) -> Result<()> {
        let device = matches!(kind, Kind::Char | Kind::Block);
        let whiteout = kind == Kind::Char && entry.device == crate::write::Device { major: 0, minor: 0 };
        if device && self.options.owners != Owners::Keep && !whiteout {
            self.applied.loss.devices += 1;
            self.lost.insert(at.to_owned());
            return Ok(());
        }
        let file_type = match kind {
            Kind::Char => FileType::CharacterDevice,
            Kind::Block => FileType::BlockDevice,
            _ => FileType::Fifo,
        };
        let number = rustix::fs::makedev(entry.device.major, entry.device.minor);
        // On disk it would be a whiteout, and hide what the layers below have.
        if kind == Kind::Char && number == 0 {
            return Err(refused(entry, "a character device 0:0, which means a whiteout"));
        }
        let mode = Mode::from_raw_mode(entry.meta.mode & 0o777);
        let number = if device { number } else { 0 };
        self.create("mknodat", parent, name, at, |fd| rustix::fs::mknodat(fd, name, file_type, mode, number))?;
        self.finish_node(entry, kind, parent, name, at)
    }

    /// Owner, mode, attributes and time of what cannot be opened for writing: the inode is held by `O_PATH`.
    fn finish_node(&mut self, entry: &Entry, kind: Kind, parent: &Parent, name: &OsStr, at: &Path) -> Result<()> {
        let meta = self.owned(&entry.meta);
        self.finish_special(&meta, kind, parent, name, at)
    }

    fn finish_special(&mut self, meta: &Meta, kind: Kind, parent: &Parent, name: &OsStr, at: &Path) -> Result<()> {
        if kind == Kind::Symlink && meta.xattrs.is_empty() {
            if parent.setgid || (meta.uid, meta.gid) != self.me {
                rustix::fs::chownat(
                    &parent.dir.fd,
                    name,
                    Some(uid(meta.uid)),
                    Some(gid(meta.gid)),
                    AtFlags::SYMLINK_NOFOLLOW,
                )
                .map_err(Error::call("fchownat", at))?;
            }
            return rustix::fs::utimensat(&parent.dir.fd, name, &timestamps(meta.mtime), AtFlags::SYMLINK_NOFOLLOW)
                .map_err(Error::call("utimensat", at));
        }
        let fd = open_nofollow(parent.dir.fd.as_fd(), name, OFlags::empty(), at)?;
        chown(fd.as_fd(), meta, at)?;
        if kind != Kind::Symlink {
            chmod(fd.as_fd(), meta.mode, at)?;
        }
        set_xattrs(fd.as_fd(), &meta.xattrs, &mut self.applied.loss, at)?;
        set_time(fd.as_fd(), meta.mtime, at)
    }

    /// The target is found by the same walk as everything else (CVE-2026-50163), and is the name itself, never
    /// what a symbolic link of that name points to.
    fn place_link(&mut self, entry: &Entry, parent: &Parent, name: &OsStr, at: &Path) -> Result<()> {
        let target = inside(Path::new(OsStr::from_bytes(&entry.link)), &entry.path)?;
        let Some(target_name) = target.file_name() else {
            return Err(refused(entry, "a hard link to the root directory"));
        };
        let above = target.parent().unwrap_or(Path::new(""));
        if self.lost.contains(&target) {
            return Ok(());
        }
        let missing = |path: &Path| Error::call("linkat", path)(Errno::NOENT);
        let from = match self.find(above)? {
            Some(from) if stat_at(from.fd.as_fd(), target_name, &target)?.is_some() => from,
            _ => match self.options.target {
                Target::Tree => return Err(missing(&target)),
                Target::OverlayDir { .. } => self.copy_up(above, target_name, &target)?,
            },
        };
        let real = from.path.join(target_name);
        let stat = stat_at(from.fd.as_fd(), target_name, &real)?.ok_or_else(|| missing(&real))?;
        if Kind::of(&stat) == Kind::Directory || is_whiteout(&stat) {
            return Err(refused(entry, "a hard link to something that is not a file"));
        }
        if real == at {
            return Err(refused(entry, "a hard link to itself"));
        }
        self.create("linkat", parent, name, at, |fd| {
            rustix::fs::linkat(&from.fd, target_name, fd, name, AtFlags::empty())
        })
    }

    /// Brings a file of the layers below into this one, as overlayfs does before it links.
    fn copy_up(&mut self, above: &Path, name: &OsStr, target: &Path) -> Result<DirFd> {
        let view = self.view.as_ref().ok_or_else(|| Error::NeedsLower { path: target.to_owned() })?;
        let gone = || Error::call("linkat", target)(Errno::NOENT);
        let (real, node) = view.walk(target, false)?.ok_or_else(gone)?;
        let mut meta = node.meta(&real)?;
        meta.xattrs.retain(|name, _| !is_overlay(name));
        self.copying = true;
        let parent = self.parent(above);
        self.copying = false;
        let parent = parent?;
        self.copied.insert(parent.dir.path.join(name));
        let number = node.stat.st_rdev;
        match node.kind() {
            Kind::File => {}
            Kind::Symlink => {
                let link = node.link(&real)?;
                rustix::fs::symlinkat(&link[..], &parent.dir.fd, name).map_err(Error::call("symlinkat", &real))?;
                self.finish_special(&meta, Kind::Symlink, &parent, name, &real)?;
                return Ok(parent.dir.clone());
            }
            Kind::Char | Kind::Block | Kind::Fifo => {
                let mode = Mode::from_raw_mode(meta.mode);
                let file_type = FileType::from_raw_mode(node.stat.st_mode);
                rustix::fs::mknodat(&parent.dir.fd, name, file_type, mode, number)
                    .map_err(Error::call("mknodat", &real))?;
                self.finish_special(&meta, node.kind(), &parent, name, &real)?;
                return Ok(parent.dir.clone());
            }
            Kind::Directory | Kind::Socket => {
                let reason = "a hard link to something below that is not a file".into();
                return Err(Error::Refused { path: target.to_owned(), reason });
            }
        }
        let mut from = node.open(&real)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&parent.dir.fd, name, flags, Mode::from_raw_mode(0o600))
            .map_err(Error::call("openat", &real))?;
        let mut to = std::fs::File::from(fd);
        io::copy(&mut from, &mut to).map_err(|source| Error::Call {
            call: "copy_file_range",
            path: real.clone(),
            source,
        })?;
        chown(to.as_fd(), &meta, &real)?;
        rustix::fs::fchmod(&to, Mode::from_raw_mode(meta.mode)).map_err(Error::call("fchmod", &real))?;
        set_xattrs(to.as_fd(), &meta.xattrs, &mut self.applied.loss, &real)?;
        set_time(to.as_fd(), meta.mtime, &real)?;
        Ok(parent.dir.clone())
    }

    fn place_whiteout(&mut self, entry: &Entry, above: &Path, name: &OsStr, hidden: &OsStr) -> Result<()> {
        if name == OsStr::from_bytes(OPAQUE_NAME) {
            let dir = self.parent(above)?.dir.clone();
            self.uncopy(&dir.path)?;
            return match self.options.target {
                Target::Tree => match &mut self.made {
                    Some(made) => {
                        self.last = None;
                        made.insert(dir.path.clone());
                        empty_except(dir.fd.as_fd(), &dir.path, &|path| made.contains(path), 0)
                    }
                    None => Ok(()),
                },
                Target::OverlayDir { .. } => mark_opaque(dir.fd.as_fd(), self.options.target, &dir.path),
            };
        }
        // Other names of this form are aufs's own, and mean nothing in a layer.
        if hidden.as_bytes().starts_with(WHITEOUT_PREFIX) {
            return Ok(());
        }
        if matches!(hidden.as_bytes(), b"" | b"." | b"..") {
            return Err(refused(entry, "a whiteout of no name"));
        }
        let parent = self.parent(above)?;
        let at = parent.dir.path.join(hidden);
        self.uncopy(&at)?;
        match self.options.target {
            Target::Tree => match &mut self.made {
                Some(made) => {
                    self.last = None;
                    made.insert(parent.dir.path.clone());
                    remove_except(parent.dir.fd.as_fd(), hidden, &at, &|path| made.contains(path), 0)
                }
                None => Ok(()),
            },
            Target::OverlayDir { .. } => {
                let kind = stat_at(parent.dir.fd.as_fd(), hidden, &at)?.map(|stat| Kind::of(&stat));
                match kind {
                    Some(Kind::Directory) => {
                        let fd = open_nofollow(parent.dir.fd.as_fd(), hidden, OFlags::DIRECTORY, &at)?;
                        mark_opaque(fd.as_fd(), self.options.target, &at)
                    }
                    Some(_) => Ok(()),
                    None => {
                        self.applied.whiteouts.insert(parent.dir.path.clone());
                        let mode = Mode::empty();
                        rustix::fs::mknodat(&parent.dir.fd, hidden, FileType::CharacterDevice, mode, 0)
                            .map_err(Error::call("mknodat", &at))?;
                        rustix::fs::utimensat(
                            &parent.dir.fd,
                            hidden,
                            &timestamps(Time::default()),
                            AtFlags::SYMLINK_NOFOLLOW,
                        )
                        .map_err(Error::call("utimensat", &at))
                    }
                }
            }
        }
    }

    /// Takes away what was copied up to this path, or below it.
    fn uncopy(&mut self, at: &Path) -> Result<()> {
        let gone: Vec<PathBuf> = from(&self.copied, at).cloned().collect();
        // Files before the directories that were made for them.
        for path in gone.iter().rev() {
            let above = path.parent().unwrap_or(Path::new(""));
            if let (Some(dir), Some(name)) = (open_plain(self.root, above), path.file_name()) {
                remove_all(dir.as_fd(), name, path, 0)?;
            }
            self.copied.remove(path);
            self.endings.remove(path);
            self.last = None;
        }
        Ok(())
    }

    /// Creates a name that must be new. What stands there goes first, and then it must still be new: nothing is
    /// ever written through a name that was there before.
    fn create<T>(
        &mut self,
        call: &'static str,
        parent: &Parent,
        name: &OsStr,
        at: &Path,
        create: impl Fn(BorrowedFd<'_>) -> rustix::io::Result<T>,
    ) -> Result<T> {
        match create(parent.dir.fd.as_fd()) {
            Err(Errno::EXIST) => {
                self.remove(parent, name, at)?;
                create(parent.dir.fd.as_fd()).map_err(Error::call(call, at))
            }
            other => other.map_err(Error::call(call, at)),
        }
    }

    fn remove(&mut self, parent: &Parent, name: &OsStr, at: &Path) -> Result<()> {
        self.last = None;
        while let Some((path, _)) = self.endings.range(at.to_owned()..).next().filter(|(path, _)| path.starts_with(at))
        {
            let path = path.clone();
            self.endings.remove(&path);
        }
        for paths in [&mut self.copied, &mut self.applied.whiteouts] {
            for path in from(paths, at).cloned().collect::<Vec<_>>() {
                paths.remove(&path);
            }
        }
        remove_all(parent.dir.fd.as_fd(), name, at, 0)
    }

    /// The directory of an existing path, symbolic links followed inside the root.
    fn find(&self, path: &Path) -> Result<Option<DirFd>> {
        match open_plain(self.root, path) {
            Some(fd) => Ok(Some(DirFd { path: path.to_owned(), fd: Rc::new(fd) })),
            None => match self.options.target {
                Target::Tree => walk(self.root, path, None),
                // Only the view knows where a link of the layers below leads.
                Target::OverlayDir { .. } => match &self.view {
                    Some(view) => Ok(view.resolve(path)?.and_then(|found| {
                        Some(DirFd { fd: Rc::new(open_plain(self.root, &found.path)?), path: found.path })
                    })),
                    None => Ok(None),
                },
            },
        }
    }

    /// The directory in which an entry will be, made when it is missing.
    fn parent(&mut self, path: &Path) -> Result<Rc<Parent>> {
        if let Some((asked, parent)) = &self.last
            && asked == path
            && self.copied.is_empty()
        {
            return Ok(Rc::clone(parent));
        }
        let dir = match open_plain(self.root, path) {
            Some(fd) => DirFd { path: path.to_owned(), fd: Rc::new(fd) },
            None => self.make_parent(path)?,
        };
        if !self.copying && !self.copied.is_empty() {
            for path in dir.path.ancestors() {
                self.copied.remove(path);
            }
        }
        let stat = fstat(dir.fd.as_fd(), &dir.path)?;
        let setgid = stat.st_mode & 0o2000 != 0;
        if !self.endings.contains_key(&dir.path) {
            let meta = Meta::of(&stat);
            let narrow = self.options.owners == Owners::Mine && meta.mode & 0o700 != 0o700;
            if narrow {
                chmod(dir.fd.as_fd(), meta.mode | 0o700, &dir.path)?;
            }
            self.endings.insert(dir.path.clone(), Ending { mtime: meta.mtime, mode: narrow.then_some(meta.mode) });
        }
        let parent = Rc::new(Parent { dir, setgid });
        self.last = Some((path.to_owned(), Rc::clone(&parent)));
        Ok(parent)
    }

    fn make_parent(&mut self, path: &Path) -> Result<DirFd> {
        let path = match (self.options.target, &self.view) {
            (Target::Tree, _) => path.to_owned(),
            (_, Some(view)) => real_parent(view, path)?,
            (_, None) => return Err(Error::NeedsLower { path: path.to_owned() }),
        };
        let mine = self.options.owners == Owners::Mine;
        let target = self.options.target;
        let mut below = self.view.as_ref().map(|view| Below { view, last: None });
        let (endings, loss) = (&mut self.endings, &mut self.applied.loss);
        let mut copied = self.copying.then_some(&mut self.copied);
        let mut make = |dir: BorrowedFd<'_>, name: &OsStr, at: &Path| -> Result<()> {
            let above = at.parent().unwrap_or(Path::new(""));
            if !endings.contains_key(above) {
                let mtime = Meta::of(&fstat(dir, above)?).mtime;
                endings.insert(above.to_owned(), Ending { mtime, mode: None });
            }
            let hidden = stat_at(dir, name, at)?.is_some();
            if hidden {
                rustix::fs::unlinkat(dir, name, AtFlags::empty()).map_err(Error::call("unlinkat", at))?;
            }
            rustix::fs::mkdirat(dir, name, Mode::from_raw_mode(0o755)).map_err(Error::call("mkdirat", at))?;
            let fd = open_nofollow(dir, name, OFlags::DIRECTORY, at)?;
            let mut meta = Meta::of(&fstat(fd.as_fd(), at)?);
            (meta.mode, meta.mtime) = (0o755, Time::default());
            if hidden {
                mark_opaque(fd.as_fd(), target, at)?;
                below = None;
            } else if let Some(below) = &mut below {
                // The new directory lies above the one below: it takes over how that one looks.
                meta = below.meta(at)?.unwrap_or(meta);
            }
            set_directory(fd.as_fd(), &meta, loss, at)?;
            let narrow = mine && meta.mode & 0o700 != 0o700;
            if narrow {
                chmod(fd.as_fd(), meta.mode | 0o700, at)?;
            }
            endings.insert(at.to_owned(), Ending { mtime: meta.mtime, mode: narrow.then_some(meta.mode) });
            if let Some(copied) = &mut copied {
                copied.insert(at.to_owned());
            }
            Ok(())
        };
        walk(self.root, &path, Some(&mut make))?.ok_or_else(|| Error::call("openat", path)(Errno::NOENT))
    }

    /// What a layer says about owners and attributes, less what the caller may not set.
    fn owned(&mut self, meta: &Meta) -> Meta {
        let mut meta = meta.clone();
        // An image cannot be allowed to say how the overlay above it looks.
        let mine = self.options.owners == Owners::Mine;
        if !self.options.selinux {
            meta.xattrs.remove(SELINUX);
        }
        let before = meta.xattrs.len();
        meta.xattrs.retain(|name, _| !(is_overlay(name) || mine && is_privileged(name)));
        self.applied.loss.xattrs += (before - meta.xattrs.len()) as u64;
        if mine {
            self.applied.loss.owners += u64::from((meta.uid, meta.gid) != (0, 0));
            (meta.uid, meta.gid) = self.me;
        }
        meta
    }

    /// An entry says all attributes that its directory has: those of the layers below go.
    fn clear_xattrs(&self, fd: BorrowedFd<'_>, at: &Path, keep: &Xattrs) -> Result<()> {
        if self.made.is_none() && self.view.is_none() {
            return Ok(());
        }
        for name in read_xattrs(fd, at)?.into_keys().filter(|name| !keep.contains_key(name)) {
            if !is_overlay(&name) {
                let _ = rustix::fs::removexattr(proc_path(fd), &name[..]);
            }
        }
        Ok(())
    }

    /// Writing in a directory changes its time, so the times of directories come last, the deepest first.
    fn finish_directories(&mut self) -> Result<()> {
        for (path, ending) in std::mem::take(&mut self.endings).into_iter().rev() {
            let Some(fd) = open_plain(self.root, &path) else { continue };
            set_time(fd.as_fd(), ending.mtime, &path)?;
            if let Some(mode) = ending.mode {
                chmod(fd.as_fd(), mode, &path)?;
            }
        }
        Ok(())
    }
}

fn mark_opaque(fd: BorrowedFd<'_>, target: Target<'_>, at: &Path) -> Result<()> {
    let Target::OverlayDir { userxattr, .. } = target else { return Ok(()) };
    let name = if userxattr { "user.overlay.opaque" } else { "trusted.overlay.opaque" };
    rustix::fs::setxattr(proc_path(fd), name, b"y", XattrFlags::empty()).map_err(Error::call("setxattr", at))
}

/// A path and all below it, as far as the set has them: paths are sorted by their components.
fn from<'a>(paths: &'a BTreeSet<PathBuf>, at: &'a Path) -> impl Iterator<Item = &'a PathBuf> {
    paths.range(at.to_owned()..).take_while(move |path| path.starts_with(at))
}

/// Where a path leads in the view, whether all of it is there yet or not.
fn real_parent(view: &Stack, path: &Path) -> Result<PathBuf> {
    let mut path = path.to_owned();
    // What is missing may be followed by a way back, to where there is something again.
    for _ in 0..=40 {
        let (real, left) = view.reach(&path)?;
        let back = left.iter().any(|name| name == "..");
        path = clamped(&left.iter().fold(real, |path, name| path.join(name)));
        if !back {
            return Ok(path);
        }
    }
    Err(Error::call("openat", path)(Errno::LOOP))
}

/// The path without `.` and `..`; where it would lead above the root, it stays there, as links do.
fn clamped(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => drop(clean.pop()),
            _ => {}
        }
    }
    clean
}

/// What the layers below have of the directory that was made last. Implied parents are made one in the other, so each
/// is looked up in the one before, and not from the root.
struct Below<'a> {
    view: &'a Stack,
    last: Option<(PathBuf, Option<Rc<Merged>>)>,
}

impl Below<'_> {
    /// How the directory looked before this layer put an empty one of its own over it.
    fn meta(&mut self, at: &Path) -> Result<Option<Meta>> {
        let above = at.parent().unwrap_or(Path::new(""));
        let lower = match self.last.take() {
            Some((last, lower)) if last == above => lower,
            _ => self.view.below(above)?.map(Rc::new),
        };
        let name = at.file_name().unwrap_or_default();
        let node = match lower {
            Some(lower) => self.view.child(&lower, name, at)?.filter(|node| node.kind() == Kind::Directory),
            None => None,
        };
        self.last = Some((at.to_owned(), node.as_ref().and_then(|node| node.merged.clone())));
        let meta = node.map(|node| node.meta(at)).transpose()?;
        Ok(meta.map(|mut meta| {
            meta.xattrs.retain(|name, _| !is_overlay(name));
            meta
        }))
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

pub(crate) fn is_overlay(name: &[u8]) -> bool {
    name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.")
}

fn is_privileged(name: &[u8]) -> bool {
    name.starts_with(b"security.") || name.starts_with(b"trusted.")
}

fn write_pieces(fd: BorrowedFd<'_>, content: &mut TarReader<impl Read>, mut most: u64, at: &Path) -> Result<()> {
    while most > 0 {
        let piece = content.piece()?;
        if piece.is_empty() {
            return Ok(());
        }
        let length = usize::try_from(most).unwrap_or(usize::MAX).min(piece.len());
        let written = match rustix::io::write(fd, &piece[..length]) {
            Ok(written) => written,
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(Error::call("write", at)(errno)),
        };
        content.consume(written);
        most -= written as u64;
    }
    Ok(())
}

fn open_nofollow(dir: BorrowedFd<'_>, name: &OsStr, more: OFlags, at: &Path) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC | more;
    rustix::fs::openat(dir, name, flags, Mode::empty()).map_err(Error::call("openat", at))
}

fn meta_of(fd: BorrowedFd<'_>, at: &Path) -> Result<Meta> {
    let mut meta = Meta::of(&fstat(fd, at)?);
    meta.xattrs = read_xattrs(fd, at)?;
    meta.xattrs.retain(|name, _| !is_overlay(name));
    Ok(meta)
}

/// Owner, then mode, then attributes, then time: each may undo a later one if it came after it.
fn set_directory(fd: BorrowedFd<'_>, meta: &Meta, loss: &mut Loss, at: &Path) -> Result<()> {
    let now = Meta::of(&fstat(fd, at)?);
    if (now.uid, now.gid) != (meta.uid, meta.gid) {
        chown(fd, meta, at)?;
    }
    if now.mode != meta.mode || (now.uid, now.gid) != (meta.uid, meta.gid) {
        chmod(fd, meta.mode, at)?;
    }
    set_xattrs(fd, &meta.xattrs, loss, at)?;
    set_time(fd, meta.mtime, at)
}

fn chown(fd: BorrowedFd<'_>, meta: &Meta, at: &Path) -> Result<()> {
    rustix::fs::chownat(fd, "", Some(uid(meta.uid)), Some(gid(meta.gid)), AtFlags::EMPTY_PATH)
        .map_err(Error::call("fchownat", at))
}

fn chmod(fd: BorrowedFd<'_>, mode: u32, at: &Path) -> Result<()> {
    rustix::fs::chmodat(CWD, proc_path(fd), Mode::from_raw_mode(mode), AtFlags::empty())
        .map_err(Error::call("fchmodat", at))
}

pub(crate) fn set_time(fd: BorrowedFd<'_>, time: Time, at: &Path) -> Result<()> {
    rustix::fs::utimensat(fd, "", &timestamps(time), AtFlags::EMPTY_PATH).map_err(Error::call("utimensat", at))
}

/// What the file system or the kernel will not take is counted, and the rest is kept.
pub(crate) fn set_xattrs(fd: BorrowedFd<'_>, xattrs: &Xattrs, loss: &mut Loss, at: &Path) -> Result<()> {
    for (name, value) in xattrs {
        match rustix::fs::setxattr(proc_path(fd), &name[..], value, XattrFlags::empty()) {
            Ok(()) => {}
            Err(Errno::OPNOTSUPP | Errno::PERM) => loss.xattrs += 1,
            Err(errno) => return Err(Error::call("setxattr", at)(errno)),
        }
    }
    Ok(())
}

pub(crate) fn timestamps(time: Time) -> Timestamps {
    let time = Timespec { tv_sec: time.seconds, tv_nsec: time.nanos.into() };
    Timestamps { last_access: time, last_modification: time }
}

pub(crate) fn uid(id: u32) -> Uid {
    Uid::from_raw(id)
}

pub(crate) fn gid(id: u32) -> Gid {
    Gid::from_raw(id)
}

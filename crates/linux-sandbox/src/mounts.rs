//! `mount_namespaces(7)` through the mount API of Linux 5.2: a mount is made first and put in its place by
//! descriptor afterwards, so that no path is looked up twice.

use crate::copy_up;
use crate::error::{Call, Error, Result};
use crate::steps::{Mechanism, Scene, all, in_rootfs, quote};
use crate::sys;
use crate::walk::{self, Links};
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, PROC_SUPER_MAGIC, ResolveFlags, StatxAttributes, StatxFlags, fstat, fstatfs,
    open, openat, openat2, readlinkat, statat, statx,
};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
    fsconfig_set_fd, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount, move_mount, open_tree,
};
use serde::Serialize;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// What holds for a mount whatever file system it shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Attributes(u64);

impl Attributes {
    /// Nothing may be written.
    pub const READ_ONLY: Self = Self(1);
    /// Set-user-ID bits and file capabilities do nothing.
    pub const NOSUID: Self = Self(2);
    /// Device nodes do nothing.
    pub const NODEV: Self = Self(4);
    /// Nothing can be executed.
    pub const NOEXEC: Self = Self(8);

    const WORDS: [(&'static str, u64); 8] = [
        ("ro", 1),
        ("nosuid", 2),
        ("nodev", 4),
        ("noexec", 8),
        ("noatime", 0x10),
        ("strictatime", 0x20),
        ("nodiratime", 0x80),
        ("nosymfollow", 0x20_0000),
    ];

    const OPPOSITES: [(&'static str, u64); 7] = [
        ("rw", 1),
        ("suid", 2),
        ("dev", 4),
        ("exec", 8),
        ("atime", 0x10),
        ("diratime", 0x80),
        ("symfollow", 0x20_0000),
    ];

    /// Both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
    fn is_empty(&self) -> bool {
        self.0 == 0
    }

    fn flags(self) -> MountAttrFlags {
        MountAttrFlags::from_bits_retain(u32::try_from(self.0).unwrap_or(0))
    }

    fn words<'a>(self) -> impl Iterator<Item = &'a str> {
        Self::WORDS.iter().filter(move |(_, bit)| self.0 & bit != 0).map(|(word, _)| *word)
    }
}

/// Options that say what is so anyhow, or what only remounting knows.
const USUAL: [&str; 21] = [
    "defaults",
    "suid",
    "dev",
    "exec",
    "atime",
    "diratime",
    "relatime",
    "async",
    "symfollow",
    "nostrictatime",
    "norelatime",
    "silent",
    "loud",
    "iversion",
    "noiversion",
    "acl",
    "noacl",
    "nomand",
    "nolazytime",
    "remount",
    "rrelatime",
];

/// Whether mounts and unmounts are passed to and from other mount namespaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Propagation {
    /// Neither way.
    Private,
    /// In, not out.
    Slave,
    /// Both ways.
    Shared,
    /// Neither, and it cannot be bound.
    Unbindable,
}

impl Propagation {
    pub(crate) fn flag(self) -> u64 {
        match self {
            Self::Private => libc::MS_PRIVATE,
            Self::Slave => libc::MS_SLAVE,
            Self::Shared => libc::MS_SHARED,
            Self::Unbindable => libc::MS_UNBINDABLE,
        }
    }

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Private => "private",
            Self::Slave => "slave",
            Self::Shared => "shared",
            Self::Unbindable => "unbindable",
        }
    }
}

/// A mount as fstab(5) and mount(8) write it, sorted into what the kernel wants apart.
#[derive(Debug, Clone, Default)]
pub struct Mount {
    /// `bind` or `rbind` was among the options.
    pub bind: bool,
    /// `rbind`.
    pub recursive: bool,
    /// The attributes of the mount.
    pub attributes: Attributes,
    /// `rro`, `rnosuid`, …: attributes of this mount and of those below it.
    pub recursive_attributes: Attributes,
    /// `rrw`, `rsuid`, …: the same taken away.
    pub recursive_clear: Attributes,
    /// `rprivate`, `rslave`, …
    pub propagation: Option<Propagation>,
    /// `tmpcopyup`: a tmpfs starts with what the image has there.
    pub copy_up: bool,
    /// `idmap` (false) or `ridmap` (true).
    pub idmap: Option<bool>,
    /// What is left for the file system: `size=64m`, `gid=5`.
    pub options: Vec<String>,
}

impl Mount {
    /// Sorts the options. Words that are already so by default (`rw`, `relatime`, …) disappear.
    pub fn parse<'a>(words: impl IntoIterator<Item = &'a str>) -> Self {
        let mut mount = Self::default();
        for word in words {
            match word {
                "bind" => mount.bind = true,
                "rbind" => (mount.bind, mount.recursive) = (true, true),
                "tmpcopyup" => mount.copy_up = true,
                "idmap" => mount.idmap = Some(false),
                "ridmap" => mount.idmap = Some(true),
                "private" | "rprivate" => mount.propagation = Some(Propagation::Private),
                "slave" | "rslave" => mount.propagation = Some(Propagation::Slave),
                "shared" | "rshared" => mount.propagation = Some(Propagation::Shared),
                "unbindable" | "runbindable" => mount.propagation = Some(Propagation::Unbindable),
                "rw" => mount.attributes.0 &= !1,
                word if USUAL.contains(&word) => {}
                word => {
                    let bit = |word: &str, list: &[(&str, u64)]| Some(list.iter().find(|(known, _)| *known == word)?.1);
                    let below = word.strip_prefix('r').unwrap_or_default();
                    if let Some(bit) = bit(word, &Attributes::WORDS) {
                        mount.attributes.0 |= bit;
                    } else if let Some(bit) = bit(below, &Attributes::WORDS) {
                        mount.recursive_attributes.0 |= bit;
                        mount.recursive_clear.0 &= !bit;
                    } else if let Some(bit) = bit(below, &Attributes::OPPOSITES) {
                        mount.recursive_clear.0 |= bit;
                        mount.recursive_attributes.0 &= !bit;
                    } else {
                        mount.options.push(word.to_owned());
                    }
                }
            }
        }
        mount
    }
}

/// The new mount namespace is a copy of the host's, and the copies still tell each other of mounts.
#[derive(Debug, Serialize)]
pub struct PropagationStep {
    /// `Private`, unless a bind mount shall still hear of the host's mounts.
    pub propagation: Propagation,
    /// The root directory. When mounts shall reach the host, too, it must be the one place where they do not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub except: Option<PathBuf>,
}

/// The mount in which a directory lies.
fn mount_of(dir: &Path) -> Result<OwnedFd> {
    let dir = std::fs::canonicalize(dir).call(|| format!("realpath({dir:?})"))?;
    for above in dir.ancestors() {
        let line = || format!("statx({above:?})");
        let fd = open(above, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).call(line)?;
        let found = statx(&fd, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS).call(line)?;
        if found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) {
            return Ok(fd);
        }
    }
    Err(Error::refused(format!("{}: lies in no mount", dir.display())))
}

impl Mechanism for PropagationStep {
    fn shell(&self) -> String {
        match &self.except {
            Some(dir) => {
                format!("mount --make-private \"$(findmnt -n -o TARGET -T {})\"", quote(&dir.to_string_lossy()))
            }
            None => format!("mount --make-r{} /", self.propagation.word()),
        }
    }

    fn run(&self, scene: &mut Scene) -> Result<()> {
        if let Some(dir) = &self.except {
            scene.shared = true;
            let mount = mount_of(dir)?;
            return sys::mount_setattr(&mount, false, 0, libc::MS_PRIVATE)
                .call(|| format!("mount_setattr(<mount of {dir:?}>, private)"));
        }
        let root = open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).call(|| "open(\"/\")".into())?;
        sys::mount_setattr(&root, true, 0, self.propagation.flag()).call(|| "mount_setattr(\"/\", propagation)".into())
    }
}

/// overlay as the container's root: the image's layers below, the container's changes above. It is made inside
/// the container's own mount namespace, so it goes when the container goes.
#[derive(Debug, Serialize)]
pub struct OverlayRoot {
    /// The layers, topmost first.
    pub lower: Vec<PathBuf>,
    /// Where changes go.
    pub upper: PathBuf,
    /// overlayfs's own scratch directory.
    pub work: PathBuf,
    /// The empty directory on which it is mounted.
    pub target: PathBuf,
    /// Marks are `user.overlay.*`: all that an ordinary user can write.
    pub userxattr: bool,
    /// Attributes of the mount.
    pub attributes: Attributes,
}

/// The longest string that fsconfig(2) takes, with its NUL.
const FSCONFIG_STRING: usize = 256;
/// The longest text that mount(2) takes: a page, with its NUL.
const MOUNT_DATA: usize = 4096;

impl OverlayRoot {
    /// Options without a path. What they turn off would write marks into the upper directory that belong to no
    /// image layer. `volatile` because unmounting would otherwise sync the whole file system below.
    fn plain(&self) -> Vec<&'static str> {
        let mut options = vec!["index=off", "metacopy=off"];
        if self.userxattr {
            options.push("userxattr");
        } else {
            options.push("redirect_dir=off");
        }
        options.push("volatile");
        options
    }

    fn layers(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        let lower = self.lower.iter().map(|layer| ("lowerdir+", layer.as_path()));
        lower.chain([("upperdir", self.upper.as_path()), ("workdir", self.work.as_path())])
    }

    /// The marker that overlayfs leaves while a volatile mount is in use, so that a crash of the machine is noticed.
    fn dirty(&self) -> PathBuf {
        self.work.join("work/incompat/volatile/dirty")
    }

    fn forget_volatile(&self) {
        let dirty = self.dirty();
        // overlayfs makes these directories without any permission, which stops everybody but root.
        let above: Vec<&Path> = dirty.ancestors().skip(1).take(3).collect();
        for dir in above.iter().rev() {
            let _ = std::fs::set_permissions(dir, PermissionsExt::from_mode(0o700));
        }
        let _ = std::fs::remove_file(&dirty);
        for dir in &above[..2] {
            let _ = std::fs::remove_dir(dir);
        }
    }

    /// Removes the marker of a container that was killed; says so when the machine went down with it.
    fn recover(&self, scene: &Scene) {
        let Ok(marked) = std::fs::symlink_metadata(self.dirty()).and_then(|found| found.modified()) else { return };
        let up = std::time::Duration::from_secs(rustix::system::sysinfo().uptime.cast_unsigned());
        if std::time::SystemTime::now().checked_sub(up).is_some_and(|boot| marked < boot) {
            scene.note(&format!(
                "{}: the machine went down while this container ran; its last changes may be lost",
                self.upper.display()
            ));
        }
        self.forget_volatile();
    }

    fn new_api(&self) -> Result<OwnedFd> {
        let fs = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).call(|| "fsopen(\"overlay\")".into())?;
        for option in self.plain() {
            set(&fs, option).map_err(|errno| context(&fs, &format!("fsconfig(overlay, {option:?})"), errno))?;
        }
        for (key, path) in self.layers() {
            let line = || format!("fsconfig(overlay, {key:?}, {path:?})");
            let done = if path.as_os_str().len() < FSCONFIG_STRING {
                fsconfig_set_string(&fs, key, path)
            } else {
                let dir = open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
                    .call(|| format!("open({path:?})"))?;
                fsconfig_set_fd(&fs, key, &dir)
            };
            done.map_err(|errno| context(&fs, &line(), errno))?;
        }
        fsconfig_create(&fs).map_err(|errno| context(&fs, "fsconfig(overlay, create)", errno))?;
        fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, self.attributes.flags()).call(|| "fsmount(overlay)".into())
    }

    /// Before Linux 6.5 there is no `lowerdir+`, and a list in one string is longer than fsconfig takes. mount(2) takes a
    /// page: what is longer is named by descriptors.
    fn old_api(&self) -> Result<OwnedFd> {
        let mut dirs = Vec::new();
        let mut data = self.data(&self.lower);
        if data.len() >= MOUNT_DATA {
            for layer in &self.lower {
                let dir = open(layer, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
                dirs.push(dir.call(|| format!("open({layer:?})"))?);
            }
            let names = dirs.iter().map(|dir| format!("/proc/self/fd/{}", dir.as_raw_fd()).into());
            data = self.data(&names.collect::<Vec<_>>());
        }
        let flags = [(1, MountFlags::RDONLY), (2, MountFlags::NOSUID), (4, MountFlags::NODEV), (8, MountFlags::NOEXEC)]
            .into_iter()
            .filter(|(bit, _)| self.attributes.0 & bit != 0)
            .fold(MountFlags::empty(), |all, (_, flag)| all | flag);
        let data = std::ffi::CString::new(data).map_err(|_| Error::refused("overlay: a path contains NUL"))?;
        mount("overlay", &self.target, "overlay", flags, Some(data.as_c_str()))
            .call(|| format!("mount(\"overlay\", {:?}, {data:?})", self.target))?;
        open(&self.target, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .call(|| format!("open({:?})", self.target))
    }

    fn data(&self, lower: &[PathBuf]) -> String {
        let escape =
            |path: &PathBuf| path.to_string_lossy().replace('\\', r"\\").replace(':', r"\:").replace(',', r"\,");
        let lower: Vec<String> = lower.iter().map(escape).collect();
        let (upper, work) = (escape(&self.upper), escape(&self.work));
        format!("{},lowerdir={},upperdir={upper},workdir={work}", self.plain().join(","), lower.join(":"))
    }
}

impl Mechanism for OverlayRoot {
    fn shell(&self) -> String {
        let target = quote(&self.target.to_string_lossy());
        let words: Vec<&str> = self.attributes.words().collect();
        let attributes = if words.is_empty() { String::new() } else { format!("{},", words.join(",")) };
        format!("rootfs={target}; mount -t overlay -o {attributes}{} overlay $rootfs", quote(&self.data(&self.lower)))
    }

    fn run(&self, scene: &mut Scene) -> Result<()> {
        self.recover(scene);
        let root = match self.new_api() {
            Ok(fd) => {
                attach_to_path(&fd, &self.target)?;
                fd
            }
            // An old kernel collects what it does not know, and refuses it in the end.
            Err(error @ Error::Call { errno: libc::EINVAL, .. }) => self.old_api().map_err(|_| error)?,
            Err(error) => return Err(error),
        };
        scene.root = Some(root);
        Ok(())
    }

    fn undo(&self) {
        self.forget_volatile();
    }
}

/// A directory that holds the whole tree, as the container's root.
#[derive(Debug, Serialize)]
pub struct TreeRoot {
    /// The directory.
    pub path: PathBuf,
    /// Attributes of the mount.
    pub attributes: Attributes,
}

impl Mechanism for TreeRoot {
    fn shell(&self) -> String {
        let path = quote(&self.path.to_string_lossy());
        let words: Vec<&str> = self.attributes.words().collect();
        let remount = if words.is_empty() {
            String::new()
        } else {
            format!(" && mount -o remount,bind,{} $rootfs", words.join(","))
        };
        format!("rootfs={path}; mount --rbind $rootfs $rootfs{remount}")
    }

    fn run(&self, scene: &mut Scene) -> Result<()> {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
        let fd = open_tree(CWD, &self.path, flags).call(|| format!("open_tree({:?})", self.path))?;
        if self.attributes != Attributes::default() {
            sys::mount_setattr(&fd, false, self.attributes.0, 0).call(|| "mount_setattr(<rootfs>)".into())?;
        }
        if scene.shared {
            sys::mount_setattr(&fd, true, 0, libc::MS_PRIVATE).call(|| "mount_setattr(<rootfs>, private)".into())?;
        }
        attach_to_path(&fd, &self.path)?;
        scene.root = Some(fd);
        Ok(())
    }
}

/// A new file system: proc, sysfs, tmpfs, devpts, mqueue, cgroup2.
#[derive(Debug, Serialize)]
pub struct Filesystem {
    /// Its type.
    pub kind: String,
    /// What stands in the first column of /proc/mounts.
    pub source: String,
    /// Where, below the root.
    pub target: PathBuf,
    /// The file system's own options.
    pub options: Vec<String>,
    /// Attributes of the mount.
    pub attributes: Attributes,
    /// It starts with what the image has there.
    #[serde(rename = "copyUp", skip_serializing_if = "std::ops::Not::not")]
    pub copy_up: bool,
}

impl Filesystem {
    /// proc, sys and dev are where later steps and the container itself trust what they find: a symbolic link
    /// in the image must not lead them elsewhere (CVE-2019-19921, CVE-2023-27561, CVE-2026-41579).
    fn links(&self) -> Links {
        let kernels = self.kind != "tmpfs" || ["/dev", "/proc", "/sys"].iter().any(|top| self.target.starts_with(top));
        if kernels { Links::Refused } else { Links::InRoot }
    }
}

impl Mechanism for Filesystem {
    fn shell(&self) -> String {
        let words: Vec<&str> = self.attributes.words().chain(self.options.iter().map(String::as_str)).collect();
        let options = if words.is_empty() { String::new() } else { format!(" -o {}", quote(&words.join(","))) };
        let target = in_rootfs(&self.target);
        let mount = format!("mkdir -p {target} && mount -t {}{options} {} {target}", self.kind, quote(&self.source));
        if !self.copy_up {
            return mount;
        }
        format!("cp -a {target} $rootfs.copy && {mount} && cp -a $rootfs.copy/. {target} && rm -r $rootfs.copy")
    }

    fn run(&self, scene: &mut Scene) -> Result<()> {
        let fd = new_filesystem(&self.kind, &self.source, &self.options, self.attributes)?;
        let target = walk::make_dirs(scene.root()?, &self.target, self.links())?;
        if self.copy_up {
            copy_up::copy(&target, &fd)?;
        }
        attach(&fd, &target).call(|| format!("move_mount(<{}>, <rootfs>{})", self.kind, self.target.display()))?;
        if self.kind == "proc" {
            scene.procfs = Some(fd);
        }
        Ok(())
    }
}

/// Something of the host's at a place in the container.
#[derive(Debug, Default, Serialize)]
pub struct Bind {
    /// On the host. What stands behind a `/./` has been made by others: it is looked up below what stands before it,
    /// and no link in there leads out.
    pub source: PathBuf,
    /// Below the root.
    pub target: PathBuf,
    /// With the mounts below it.
    pub recursive: bool,
    /// Attributes of the mount.
    pub attributes: Attributes,
    /// Attributes of the mount and of those below it.
    #[serde(rename = "recursiveAttributes", skip_serializing_if = "Attributes::is_empty")]
    pub recursive_attributes: Attributes,
    /// The same taken away.
    #[serde(rename = "recursiveClear", skip_serializing_if = "Attributes::is_empty")]
    pub recursive_clear: Attributes,
    /// When it shall not be private.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub propagation: Option<Propagation>,
    /// Which of the [`crate::IdmappedSources`] it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idmapped: Option<usize>,
    /// Which of the [`crate::BorrowedSources`] it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub borrowed: Option<usize>,
    /// What the source is, when it is a descriptor of another process.
    #[serde(skip)]
    pub held: Option<Held>,
}

/// A descriptor of another process (`/proc/PID/fd/N`), looked up while that is still allowed: from a user namespace
/// beside the other's it is not.
#[derive(Debug, Clone)]
pub struct Held {
    path: PathBuf,
    which: (u64, u64),
}

impl Held {
    /// `None` when the source is no such path, or leads nowhere.
    pub fn of(source: &Path) -> Option<Self> {
        let mut parts = source.strip_prefix("/proc").ok()?.iter();
        let number = |part: &std::ffi::OsStr| part.to_str().is_some_and(|text| text.parse::<u32>().is_ok());
        let is_one = number(parts.next()?) && parts.next()? == "fd" && number(parts.next()?) && parts.next().is_none();
        if is_one { Self::look(source).ok() } else { None }
    }

    fn look(source: &Path) -> Result<Self> {
        let line = || format!("open({source:?})");
        let theirs = open(source, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).call(line)?;
        let path = readlinkat(CWD, source, Vec::new()).call(|| format!("readlink({source:?})"))?;
        let found = fstat(&theirs).call(line)?;
        Ok(Self { path: OsString::from_vec(path.into_bytes()).into(), which: (found.st_dev, found.st_ino) })
    }
}

/// The mount at a path of the host, as one that is nowhere yet.
pub(crate) fn clone_from(source: &Path, held: Option<&Held>, flags: OpenTreeFlags) -> Result<OwnedFd> {
    let line = || format!("open_tree({source:?})");
    if let Some((top, below)) = boundary(source) {
        let top = open(top, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .call(|| format!("open({top:?})"))?;
        let what = walk::beneath(&top, below).call(|| format!("openat2({source:?}, RESOLVE_BENEATH)"))?;
        return open_tree(what, "", flags | OpenTreeFlags::AT_EMPTY_PATH).call(line);
    }
    match open_tree(CWD, source, flags) {
        Err(Errno::INVAL | Errno::ACCESS) if source.starts_with("/proc") => {
            here(source, held).and_then(|fd| open_tree(fd, "", flags | OpenTreeFlags::AT_EMPTY_PATH).call(line))
        }
        other => other.call(line),
    }
}

/// The source is a descriptor of the process that asks (`/proc/PID/fd/N`), and so a mount of its namespace, which
/// cannot be cloned into ours. Its path leads to the same thing here, or to an error: nobody can put something else
/// in its place meanwhile.
fn here(source: &Path, held: Option<&Held>) -> Result<OwnedFd> {
    let Held { path, which } = held.map_or_else(|| Held::look(source), |held| Ok(held.clone()))?;
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let ours = openat2(CWD, &path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve)
        .call(|| format!("openat2({path:?})"))?;
    let found = fstat(&ours).call(|| format!("fstat({path:?})"))?;
    if (found.st_dev, found.st_ino) != which {
        return Err(Error::refused(format!("{path:?}: is not what {source:?} shows any more")));
    }
    Ok(ours)
}

/// What stands before and behind the `/./` of a path, the mark that rsync(1) has for this too.
fn boundary(path: &Path) -> Option<(&Path, &Path)> {
    let bytes = path.as_os_str().as_bytes();
    let at = bytes.windows(3).position(|three| three == b"/./")?;
    let part = |bytes| Path::new(OsStr::from_bytes(bytes));
    Some((part(&bytes[..at.max(1)]), part(&bytes[at + 3..])))
}

impl Mechanism for Bind {
    fn shell(&self) -> String {
        let target = in_rootfs(&self.target);
        let source = match (self.idmapped, self.borrowed) {
            (Some(at), _) => format!("idmapped{at}"),
            (_, Some(at)) => format!("borrowed{at}"),
            _ => quote(&self.source.to_string_lossy()),
        };
        let how = if self.recursive { "--rbind" } else { "--bind" };
        let make = if self.source.is_dir() { "mkdir -p" } else { "touch" };
        let mut lines = vec![format!("{make} {target}"), format!("mount {how} {source} {target}")];
        let words: Vec<&str> = self.attributes.words().collect();
        if !words.is_empty() {
            lines.push(format!("mount -o remount,bind,{} {target}", words.join(",")));
        }
        let below: Vec<String> = self.recursive_attributes.words().map(|word| format!("{word}=recursive")).collect();
        if !below.is_empty() {
            lines.push(format!("mount -o remount,bind,{} {target}", below.join(",")));
        }
        lines.extend(self.propagation.map(|kind| format!("mount --make-r{} {target}", kind.word())));
        all(lines)
    }

    fn run(&self, scene: &mut Scene) -> Result<()> {
        let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        if self.recursive {
            flags |= OpenTreeFlags::AT_RECURSIVE;
        }
        let taken = match (self.idmapped, self.borrowed) {
            (Some(at), _) => Some(scene.idmapped.get(at)),
            (_, Some(at)) => Some(scene.borrowed.get(at)),
            _ => None,
        };
        let fd = match taken {
            Some(mount) => {
                let mount = mount.ok_or_else(|| Error::refused("no such source of a mount"))?;
                mount.try_clone().call(|| "dup(<mount>)".into())?
            }
            None => clone_from(&self.source, self.held.as_ref(), flags)?,
        };
        if scene.shared && !matches!(self.propagation, Some(Propagation::Shared | Propagation::Slave)) {
            sys::mount_setattr(&fd, true, 0, libc::MS_PRIVATE).call(|| format!("mount_setattr({:?})", self.source))?;
        }
        let propagation = self.propagation.map_or(0, Propagation::flag);
        if self.attributes != Attributes::default() || propagation != 0 {
            sys::mount_setattr(&fd, self.recursive, self.attributes.0, propagation)
                .call(|| format!("mount_setattr({:?})", self.source))?;
        }
        let (below, clear) = (self.recursive_attributes.0, self.recursive_clear.0);
        if below | clear != 0 {
            sys::mount_change(&fd, true, below, clear, 0)
                .call(|| format!("mount_setattr({:?}, AT_RECURSIVE)", self.source))?;
        }
        let root = scene.root()?;
        let target = if kind_of(&fd)? == FileType::Directory {
            walk::make_dirs(root, &self.target, Links::InRoot)?
        } else {
            walk::make_file(root, &self.target, Links::InRoot)?
        };
        self.leaves_proc_alone(&fd, &target)?;
        attach(&fd, &target).call(|| format!("move_mount({:?}, <rootfs>{})", self.source, self.target.display()))
    }
}

/// What lxcfs, and nobody else, may answer in the kernel's place.
const OF_PROC: [&str; 11] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/net/dev",
    "/proc/slabinfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/sys/crypto/fips_enabled",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/uptime",
];

impl Bind {
    /// A volume somewhere in /proc would answer for the kernel (CVE-2019-16884). Looked at where the path led: a
    /// link of the image may lead there, too.
    fn leaves_proc_alone(&self, source: &OwnedFd, target: &OwnedFd) -> Result<()> {
        let is_proc = |fd: &OwnedFd| fstatfs(fd).is_ok_and(|found| found.f_type == PROC_SUPER_MAGIC);
        if is_proc(target) && !is_proc(source) && !OF_PROC.iter().any(|path| self.target == Path::new(path)) {
            return Err(Error::refused(format!("{}: lies in the container's /proc", self.target.display())));
        }
        Ok(())
    }
}

/// The root itself becomes read-only, after everything that had to be made in it.
#[derive(Debug, Serialize)]
pub struct ReadOnlyRoot {}

impl Mechanism for ReadOnlyRoot {
    fn shell(&self) -> String {
        "mount -o remount,bind,ro $rootfs".into()
    }

    fn run(&self, scene: &mut Scene) -> Result<()> {
        sys::mount_setattr(scene.root()?, false, Attributes::READ_ONLY.0, 0)
            .call(|| "mount_setattr(<rootfs>, ro)".into())
    }
}

/// A mount that is nowhere yet.
pub(crate) fn new_filesystem(kind: &str, source: &str, options: &[String], attributes: Attributes) -> Result<OwnedFd> {
    let fs = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).call(|| format!("fsopen({kind:?})"))?;
    fsconfig_set_string(&fs, "source", source).call(|| format!("fsconfig({kind}, \"source\", {source:?})"))?;
    for option in options {
        set(&fs, option).map_err(|errno| context(&fs, &format!("fsconfig({kind}, {option:?})"), errno))?;
    }
    fsconfig_create(&fs).map_err(|errno| context(&fs, &format!("fsconfig({kind}, create)"), errno))?;
    fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, attributes.flags()).call(|| format!("fsmount({kind})"))
}

fn set(fs: &OwnedFd, option: &str) -> rustix::io::Result<()> {
    match option.split_once('=') {
        Some((key, value)) => fsconfig_set_string(fs, key, value),
        None => fsconfig_set_flag(fs, option),
    }
}

/// The kernel keeps a sentence of its own in the descriptor of a file system that could not be made.
fn context(fs: &OwnedFd, call: &str, errno: Errno) -> Error {
    let mut buffer = [0; 256];
    let said =
        rustix::io::read(fs, &mut buffer).ok().and_then(|length| std::str::from_utf8(buffer.get(2..length)?).ok());
    let call = said.map_or(call.to_owned(), |said| format!("{call} ({})", said.trim_end()));
    Error::Call { call, errno: errno.raw_os_error() }
}

/// Puts a mount on what `target` is, by descriptor on both sides.
pub(crate) fn attach(fd: impl AsFd, target: impl AsFd) -> rustix::io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(fd, "", target, "", flags)
}

/// Puts a mount on a directory of the host's that we chose ourselves.
fn attach_to_path(fd: impl AsFd, target: &Path) -> Result<()> {
    let dir = openat(CWD, target, OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
        .call(|| format!("open({target:?})"))?;
    attach(fd, &dir).call(|| format!("move_mount(<rootfs>, {target:?})"))
}

/// A second mount of what `fd` shows.
pub(crate) fn clone_of(fd: impl AsFd) -> rustix::io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    open_tree(fd, "", flags)
}

pub(crate) fn set_attributes(fd: impl AsFd, recursive: bool, attributes: Attributes) -> rustix::io::Result<()> {
    sys::mount_setattr(fd, recursive, attributes.0, 0)
}

pub(crate) fn kind_of(fd: impl AsFd) -> Result<FileType> {
    let found = statat(fd, "", AtFlags::EMPTY_PATH).call(|| "fstat(<mount>)".into())?;
    Ok(FileType::from_raw_mode(found.st_mode))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_parted_at_its_boundary() {
        let parts =
            |path| boundary(Path::new(path)).map(|(top, below)| (top.to_str().unwrap(), below.to_str().unwrap()));
        assert_eq!(parts("/a/b/./c/d"), Some(("/a/b", "c/d")));
        assert_eq!(parts("/./etc"), Some(("/", "etc")));
        assert_eq!(parts("/a/./b/./c"), Some(("/a", "b/./c")));
        assert_eq!((parts("/a/.b/c"), parts("/a/b/."), parts("./a")), (None, None, None));
    }

    #[test]
    fn options_are_sorted() {
        let mount = Mount::parse(["nosuid", "noexec", "ro", "rbind", "rslave", "size=1m", "mode=755", "relatime"]);
        assert!(mount.bind && mount.recursive);
        assert_eq!(mount.attributes.words().collect::<Vec<_>>(), ["ro", "nosuid", "noexec"]);
        assert_eq!(mount.propagation, Some(Propagation::Slave));
        assert_eq!(mount.options, ["size=1m", "mode=755"]);
    }
}

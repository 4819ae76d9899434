//! Files and directories of the host's, bound into the container.

use super::{Attributes, Propagation, attach, kind_of};
use crate::error::{Call, Error, Result};
use crate::steps::{Mechanism, Scene, all, in_rootfs, quote};
use crate::sys;
use crate::walk::{self, Links};
use rustix::fd::OwnedFd;
use rustix::fs::{
    CWD, FileType, Mode, OFlags, PROC_SUPER_MAGIC, ResolveFlags, fstat, fstatfs, open, openat2, readlinkat,
};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};
use serde::Serialize;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

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
        // Where later steps trust what they find, no link of the image leads elsewhere (CVE-2019-19921).
        let kernels = ["/proc", "/sys"].iter().any(|place| self.target == Path::new(place));
        let links = if kernels { Links::Refused } else { Links::InRoot };
        let target = if kind_of(&fd)? == FileType::Directory {
            walk::make_dirs(root, &self.target, links)?
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
}

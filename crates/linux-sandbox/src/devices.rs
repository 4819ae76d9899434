//! Device nodes: made with mknod(2), or, where that is not allowed, bound from the host's.

use crate::error::{Call, Error, Result};
use crate::mounts::attach;
use crate::steps::{Mechanism, Scene, all, in_rootfs, quote};
use crate::walk::{self, Links, split};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, Uid, chownat, makedev, mknodat, openat, statat, symlinkat,
};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// `c`, `b` or `p` of mknod(1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceKind {
    /// Character device.
    Char,
    /// Block device.
    Block,
    /// FIFO.
    Fifo,
}

/// One node.
#[derive(Debug, Clone, Serialize)]
pub struct Device {
    /// Where, below the root.
    pub path: PathBuf,
    /// What.
    pub kind: DeviceKind,
    /// Driver.
    pub major: u32,
    /// Which one of the driver's.
    pub minor: u32,
    /// Permissions.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// All nodes and the links beside them.
#[derive(Debug, Serialize)]
pub struct Devices {
    /// The nodes.
    pub nodes: Vec<Device>,
    /// Link → target.
    pub links: Vec<(PathBuf, String)>,
    /// Without root: the host's node is bound over an empty file.
    pub bind: bool,
}

impl Device {
    fn number(&self) -> u64 {
        makedev(self.major, self.minor)
    }

    fn file_type(&self) -> FileType {
        match self.kind {
            DeviceKind::Char => FileType::CharacterDevice,
            DeviceKind::Block => FileType::BlockDevice,
            DeviceKind::Fifo => FileType::Fifo,
        }
    }

    /// The host's node: that of the same path, or where another one or none is there, what the kernel calls the device.
    fn host_path(&self) -> PathBuf {
        let same = statat(CWD, &self.path, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|found| found.st_rdev == self.number());
        let class = if self.kind == DeviceKind::Block { "block" } else { "char" };
        let event = format!("/sys/dev/{class}/{}:{}/uevent", self.major, self.minor);
        let text = if same { String::new() } else { std::fs::read_to_string(event).unwrap_or_default() };
        let name = text.lines().find_map(|line| line.strip_prefix("DEVNAME="));
        name.map_or_else(|| self.path.clone(), |name| Path::new("/dev").join(name))
    }

    fn shell(&self, bind: bool) -> String {
        let path = in_rootfs(&self.path);
        if bind {
            return format!("touch {path} && mount --bind {} {path}", quote(&self.host_path().to_string_lossy()));
        }
        let what = match self.kind {
            DeviceKind::Char => format!("c {} {}", self.major, self.minor),
            DeviceKind::Block => format!("b {} {}", self.major, self.minor),
            DeviceKind::Fifo => "p".into(),
        };
        format!("mknod -m {:o} {path} {what}", self.mode)
    }

    /// Makes the node and gives a descriptor of it that is known to be it.
    fn make(&self, dir: &OwnedFd) -> Result<OwnedFd> {
        let (_, name) = split(&self.path)?;
        let line = || format!("mknodat(<rootfs>, {:?})", self.path);
        let mode = Mode::from_raw_mode(self.mode);
        match mknodat(dir, name, self.file_type(), mode, self.number()) {
            // The mode is right at once: the umask is zero while the container is set up.
            Ok(()) if (self.uid, self.gid) == (0, 0) => {}
            Ok(()) => {
                let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
                chownat(dir, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW).call(line)?;
            }
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno).call(line),
        }
        let node = openat(dir, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()).call(line)?;
        self.verify(&node)?;
        Ok(node)
    }

    /// An image may have put a link or another device where a node of ours belongs.
    fn verify(&self, node: impl AsFd) -> Result<()> {
        let found = statat(node, "", AtFlags::EMPTY_PATH).call(|| format!("fstat({:?})", self.path))?;
        let right = FileType::from_raw_mode(found.st_mode) == self.file_type()
            && (self.kind == DeviceKind::Fifo || found.st_rdev == self.number());
        if !right {
            return Err(Error::refused(format!("{}: something else stands there in the image", self.path.display())));
        }
        Ok(())
    }

    fn bind(&self, root: &OwnedFd) -> Result<OwnedFd> {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let path = self.host_path();
        let node = open_tree(CWD, &path, flags).call(|| format!("open_tree({path:?})"))?;
        self.verify(&node)?;
        let target = walk::make_file(root, &self.path, Links::Refused)?;
        attach(&node, &target).call(|| format!("move_mount({:?}, <rootfs>)", self.path))?;
        Ok(node)
    }
}

impl Mechanism for Devices {
    fn shell(&self) -> String {
        let nodes = self.nodes.iter().map(|node| node.shell(self.bind));
        let links = self.links.iter().map(|(path, to)| format!("ln -sf {} {}", quote(to), in_rootfs(path)));
        all(nodes.chain(links))
    }

    fn run(&self, scene: &mut Scene) -> Result<()> {
        let root = scene.root()?;
        let mut null = None;
        for node in &self.nodes {
            let (parent, _) = split(&node.path)?;
            let made = if self.bind && node.kind != DeviceKind::Fifo {
                node.bind(root)?
            } else {
                node.make(&walk::make_dirs(root, parent, Links::Refused)?)?
            };
            if node.path == Path::new("/dev/null") {
                null = Some(made);
            }
        }
        for (path, to) in &self.links {
            let (parent, name) = split(path)?;
            let dir = walk::make_dirs(root, parent, Links::Refused)?;
            match symlinkat(to.as_str(), &dir, name) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno).call(|| format!("symlinkat({to:?}, <rootfs>, {path:?})")),
            }
        }
        scene.null = null;
        Ok(())
    }
}

//! The container's root as an overlay: read-only layers below, one directory for what changes (the kernel's
//! Documentation/filesystems/overlayfs.rst).

use super::{Attributes, attach_to_path, context, set};
use crate::error::{Call, Error, Result};
use crate::steps::{Mechanism, Scene, quote};
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{Mode, OFlags, open};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountFlags, fsconfig_create, fsconfig_set_fd, fsconfig_set_string, fsmount, fsopen,
    mount,
};
use serde::Serialize;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

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
    /// The label that `SELinux` sees on every file in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
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
        if let Some(label) = &self.context {
            let line = format!("fsconfig(overlay, \"context\", {label:?})");
            fsconfig_set_string(&fs, "context", label.as_str()).map_err(|errno| context(&fs, &line, errno))?;
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
        let label = self.context.as_ref().map(|label| format!(",context=\"{label}\"")).unwrap_or_default();
        format!("{}{label},lowerdir={},upperdir={upper},workdir={work}", self.plain().join(","), lower.join(":"))
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

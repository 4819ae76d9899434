//! Reading a file of a root file system that is not mounted yet, and that is hostile.

use crate::{Error, Result};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, fgetxattr, fstat, open, openat, readlinkat, statat};
use rustix::io::Errno;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;

/// No honest passwd or group file is longer.
const LARGEST: u64 = 4 << 20;
/// As the kernel's own limit, `path_resolution(7)`.
const MOST_LINKS: u32 = 40;

/// One directory as overlayfs shows it: the directories that are merged, the topmost first.
pub(crate) type Merged = Rc<Vec<OwnedFd>>;

pub(crate) enum Entry {
    Directory(Merged),
    Link(Vec<u8>),
    Other(Merged),
}

/// The content of a regular file, `path` relative to the root; `None` when there is none. Each name is looked
/// up by directory descriptor without following links; a link is resolved within the root, so neither
/// `/etc/passwd -> /proc/1/environ` nor a FIFO there (CVE-2024-9676) reaches the host. Overlay directories are
/// searched as overlayfs merges them: whiteouts hide, opaque directories end the search.
pub fn read_file(bundle: &wire::Bundle, path: &str) -> Result<Option<Vec<u8>>> {
    read(roots(bundle)?, path)
}

/// The same of a root file system that is one directory.
pub fn read_file_below(root: &Path, path: &str) -> Result<Option<Vec<u8>>> {
    read(vec![directory(root)?], path)
}

fn read(roots: Vec<OwnedFd>, path: &str) -> Result<Option<Vec<u8>>> {
    let io = |cause: Errno| Error::Io(path.into(), cause.into());
    let mut ups: Vec<Merged> = vec![Rc::new(roots)];
    let mut names: Vec<Vec<u8>> = split(path.as_bytes());
    let mut links = 0;
    while let Some(name) = names.pop() {
        let Some(here) = ups.last().cloned() else { return Ok(None) };
        if name == b".." {
            if ups.len() > 1 {
                ups.pop();
            }
            continue;
        }
        match look_up(&here, &name).map_err(io)? {
            None => return Ok(None),
            Some(Entry::Directory(directory)) => ups.push(directory),
            Some(Entry::Link(target)) => {
                links += 1;
                if links > MOST_LINKS {
                    return Err(Error::Rootfs(path.into(), "too many levels of symbolic links"));
                }
                if target.starts_with(b"/") {
                    ups.truncate(1);
                }
                names.extend(split(&target));
            }
            Some(Entry::Other(_)) if !names.is_empty() => return Ok(None),
            Some(Entry::Other(file)) => return content(path, &file[0]).map(Some),
        }
    }
    Err(Error::Rootfs(path.into(), "a directory"))
}

/// What is not there of a path.
pub(crate) struct Missing {
    /// The directories above it, each with its name.
    pub there: Vec<(Vec<u8>, Merged)>,
    /// The names that are not there, in order; at least one.
    pub missing: Vec<Vec<u8>>,
}

/// Walks a path as [`read_file`] does and says what is missing of it; `None` when it is there, or cannot be.
pub(crate) fn missing(roots: &[OwnedFd], path: &Path) -> rustix::io::Result<Option<Missing>> {
    let again = roots.iter().map(OwnedFd::try_clone).collect::<std::io::Result<Vec<_>>>();
    let again = again.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    let mut there: Vec<(Vec<u8>, Merged)> = vec![(Vec::new(), Rc::new(again))];
    let mut names = split(path.as_os_str().as_bytes());
    let mut links = 0;
    while let Some(name) = names.pop() {
        if name == b".." {
            there.truncate(there.len().saturating_sub(1).max(1));
            continue;
        }
        let Some((_, here)) = there.last() else { return Ok(None) };
        match look_up(here, &name)? {
            Some(Entry::Directory(directory)) => there.push((name, directory)),
            Some(Entry::Link(target)) => {
                links += 1;
                if links > MOST_LINKS {
                    return Ok(None);
                }
                if target.starts_with(b"/") {
                    there.truncate(1);
                }
                names.extend(split(&target));
            }
            Some(Entry::Other(_)) => return Ok(None),
            None => {
                names.push(name);
                names.reverse();
                there.remove(0);
                let plain = !names.iter().any(|name| name == b"..");
                return Ok(plain.then_some(Missing { there, missing: names }));
            }
        }
    }
    Ok(None)
}

/// The components, the first one last.
fn split(path: &[u8]) -> Vec<Vec<u8>> {
    path.split(|b| *b == b'/').rev().filter(|name| !matches!(*name, b"" | b".")).map(Into::into).collect()
}

fn directory(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    open(path, flags, Mode::empty()).map_err(|cause| Error::Io(path.into(), cause.into()))
}

pub(crate) fn roots(bundle: &wire::Bundle) -> Result<Vec<OwnedFd>> {
    match &bundle.overlay {
        None => Ok(vec![directory(&bundle.path.as_path().join("rootfs"))?]),
        Some(overlay) => {
            std::iter::once(&overlay.upper).chain(&overlay.lower).map(|path| directory(path.as_path())).collect()
        }
    }
}

pub(crate) fn look_up(merged: &[OwnedFd], name: &[u8]) -> rustix::io::Result<Option<Entry>> {
    let mut found = Vec::new();
    for layer in merged {
        let stat = match statat(layer, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => continue,
            Err(error) => return Err(error),
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                found.push(openat(layer, name, flags, Mode::empty())?);
                if found.last().is_some_and(is_opaque) {
                    break;
                }
            }
            // A whiteout, or a file below the directories of the layers above it.
            FileType::CharacterDevice if stat.st_rdev == 0 => break,
            _ if !found.is_empty() => break,
            FileType::Symlink => {
                return readlinkat(layer, name, Vec::new()).map(|target| Some(Entry::Link(target.into_bytes())));
            }
            _ => {
                // O_NONBLOCK: opening a FIFO must not wait for its other end.
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
                return openat(layer, name, flags, Mode::empty()).map(|fd| Some(Entry::Other(Rc::new(vec![fd]))));
            }
        }
    }
    Ok(Some(found).filter(|found| !found.is_empty()).map(|found| Entry::Directory(Rc::new(found))))
}

fn is_opaque(directory: &OwnedFd) -> bool {
    ["trusted.overlay.opaque", "user.overlay.opaque"].into_iter().any(|name| {
        let mut value = [0; 2];
        fgetxattr(directory, name, &mut value) == Ok(1) && value[0] == b'y'
    })
}

fn content(path: &str, fd: &OwnedFd) -> Result<Vec<u8>> {
    let io = |cause: std::io::Error| Error::Io(path.into(), cause);
    if !FileType::from_raw_mode(fstat(fd).map_err(|cause| io(cause.into()))?.st_mode).is_file() {
        return Err(Error::Rootfs(path.into(), "not a regular file"));
    }
    let mut bytes = Vec::new();
    let file = File::from(fd.try_clone().map_err(io)?);
    file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > LARGEST {
        return Err(Error::Large(path.into(), LARGEST));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, mknodat};
    use std::fs;
    use std::os::unix::fs::symlink;

    fn flat(dir: &Path) -> wire::Bundle {
        fs::create_dir_all(dir.join("rootfs/etc")).unwrap();
        wire::Bundle { path: dir.into(), image: None, overlay: None, rest: serde_json::Map::new() }
    }

    fn overlay(dir: &Path, lower: &[&str]) -> wire::Bundle {
        for name in lower.iter().chain(&["upper", "work"]) {
            fs::create_dir_all(dir.join(name)).unwrap();
        }
        let at = |name: &str| wire::WirePath(dir.join(name));
        let overlay = wire::Overlay {
            lower: lower.iter().map(|name| at(name)).collect(),
            upper: at("upper"),
            work: at("work"),
            userxattr: false,
        };
        wire::Bundle { path: dir.into(), image: None, overlay: Some(overlay), rest: serde_json::Map::new() }
    }

    #[test]
    fn cve_2024_9676_links_stay_inside_and_special_files_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let bundle = flat(dir.path());
        let etc = dir.path().join("rootfs/etc");
        assert_eq!(read_file(&bundle, "etc/passwd").unwrap(), None);
        fs::write(dir.path().join("secret"), "host").unwrap();
        for target in [dir.path().join("secret"), "../../secret".into(), "../../../../../../etc/hostname".into()] {
            symlink(&target, etc.join("passwd")).unwrap();
            assert_eq!(read_file(&bundle, "etc/passwd").unwrap(), None, "{target:?}");
            fs::remove_file(etc.join("passwd")).unwrap();
        }
        fs::create_dir_all(dir.path().join("rootfs/usr/share")).unwrap();
        fs::write(dir.path().join("rootfs/usr/share/p"), "inside").unwrap();
        symlink("/usr/./share/../share/p", etc.join("passwd")).unwrap();
        assert_eq!(read_file(&bundle, "etc/passwd").unwrap().unwrap(), b"inside");
        symlink("loop", etc.join("loop")).unwrap();
        assert!(read_file(&bundle, "etc/loop").is_err());
        mknodat(CWD, etc.join("fifo"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        assert!(read_file(&bundle, "etc/fifo").unwrap_err().to_string().ends_with("not a regular file"));
        assert!(read_file(&bundle, "etc").is_err());
        File::create(etc.join("big")).unwrap().set_len(LARGEST + 1).unwrap();
        assert!(matches!(read_file(&bundle, "etc/big"), Err(Error::Large(..))));
    }

    #[test]
    fn layers_are_merged_as_overlayfs_merges_them() {
        let dir = tempfile::tempdir().unwrap();
        let bundle = overlay(dir.path(), &["top", "bottom"]);
        let put = |name: &str, text: &str| {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let read = || read_file(&bundle, "etc/passwd").unwrap().map(|bytes| String::from_utf8(bytes).unwrap());
        put("bottom/etc/passwd", "bottom");
        put("top/etc/other", "");
        assert_eq!(read().as_deref(), Some("bottom"));
        put("top/etc/passwd", "top");
        assert_eq!(read().as_deref(), Some("top"));
        put("upper/etc/passwd", "upper");
        assert_eq!(read().as_deref(), Some("upper"));
        // A link in one layer to a file of another.
        fs::remove_file(dir.path().join("upper/etc/passwd")).unwrap();
        put("bottom/run/p", "linked");
        symlink("/run/p", dir.path().join("upper/etc/passwd")).unwrap();
        assert_eq!(read().as_deref(), Some("linked"));
        if !rustix::process::geteuid().is_root() {
            return;
        }
        fs::remove_dir_all(dir.path().join("upper/etc")).unwrap();
        let device = |name: &str| {
            let mode = Mode::from_raw_mode(0);
            mknodat(CWD, dir.path().join(name), FileType::CharacterDevice, mode, 0).unwrap();
        };
        device("upper/etc");
        assert_eq!(read(), None);
        fs::remove_file(dir.path().join("upper/etc")).unwrap();
        put("upper/etc/x", "");
        device("upper/etc/passwd");
        assert_eq!(read(), None);
        fs::remove_file(dir.path().join("upper/etc/passwd")).unwrap();
        let opaque = dir.path().join("upper/etc");
        rustix::fs::setxattr(&opaque, "trusted.overlay.opaque", b"y", rustix::fs::XattrFlags::empty()).unwrap();
        assert_eq!(read(), None);
    }
}

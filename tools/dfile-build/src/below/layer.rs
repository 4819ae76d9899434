//! One more layer on top: what the headers of its tar say.

use super::{Below, Directory, Kind, LONGEST_FILE, Node};
use anyhow::bail;
use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

impl Below {
    /// Lays one more layer on top.
    pub fn add_layer(&mut self, tar: impl Read) -> anyhow::Result<()> {
        self.layer += 1;
        let mut archive = tar::Archive::new(tar);
        for entry in archive.entries()? {
            let mut entry = entry?;
            let path = inside(&entry.path()?)?;
            let Some(name) = path.file_name() else { continue };
            if name.as_bytes() == layer_tar::OPAQUE_NAME {
                let layer = self.layer;
                if let Some(directory) = self.directory(path.parent().unwrap_or(Path::new("")))? {
                    forget_lower(directory, layer);
                }
                continue;
            }
            if let Some(hidden) = name.as_bytes().strip_prefix(layer_tar::WHITEOUT_PREFIX) {
                self.hide(path.parent().unwrap_or(Path::new("")), OsStr::from_bytes(hidden))?;
                continue;
            }
            let kind = entry.header().entry_type();
            if kind.is_symlink() {
                let target = entry.link_name()?.map(std::borrow::Cow::into_owned).unwrap_or_default();
                self.put_link(&path, target)?;
            } else if kind.is_dir() {
                self.put(&path, Kind::Directory)?;
            } else {
                self.put(&path, Kind::Other)?;
                self.unread = false;
                let kept = match path.as_os_str().as_bytes() {
                    b"etc/passwd" => Some(&mut self.passwd),
                    b"etc/group" => Some(&mut self.group),
                    _ => None,
                };
                if let Some(kept) = kept.filter(|_| kind.is_file()) {
                    let mut content = Vec::new();
                    entry.by_ref().take(LONGEST_FILE).read_to_end(&mut content)?;
                    *kept = Some(content);
                }
            }
        }
        Ok(())
    }

    /// A whiteout takes what the layers below have; what its own layer brought stays, wherever it stands.
    fn hide(&mut self, parent: &Path, name: &OsStr) -> anyhow::Result<()> {
        let layer = self.layer;
        match self.node(&parent.join(name))? {
            Some((since, node)) if *since < layer => (*since, *node) = (layer, Node::Gone),
            Some((_, Node::Directory(inner))) => forget_lower(inner, layer),
            _ => {}
        }
        Ok(())
    }
}

fn forget_lower(directory: &mut Directory, layer: u32) {
    directory.shows_lower = false;
    directory.entries.retain(|_, (since, node)| {
        if let Node::Directory(inner) = node {
            forget_lower(inner, layer);
        }
        *since == layer
    });
}

/// The path of a tar entry without a leading `/` or `./`; `..` is never taken (CVE-2025-3445 and its many kin).
pub fn inside(path: &Path) -> anyhow::Result<PathBuf> {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => bail!("{}: the path has .. in it", path.display()),
            _ => {}
        }
    }
    Ok(clean)
}

//! What an image holds where COPY is about to write: its directories and links. Layers that a RUN has unpacked are
//! looked into, name by name; of the others the headers are read. Nothing is unpacked for it, so `FROM scratch` builds
//! need no privilege and no second copy on disk.

mod layer;
mod resolve;
mod unpacked;

pub use layer::inside;

use anyhow::{Context, bail};
use bundle::Layers;
use layer_tar::codec;
use oci_layout::{Layout, OpenImage};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use unpacked::{Unpacked, look};
use wire::Digest;

const MOST_ENTRIES: usize = 4_000_000;
/// passwd and group.
const LONGEST_FILE: u64 = 4 << 20;

/// The merged tree of the layers, without content. After a large COPY it has all its names: each takes few bytes.
#[derive(Debug, Default)]
pub struct Below {
    root: Directory,
    /// The lowest layers, where they are unpacked; what is found there is entered in `root`.
    unpacked: Option<Unpacked>,
    layer: u32,
    /// The layers that are in here.
    known: Vec<Digest>,
    entries: usize,
    /// passwd or group was just written, and nobody kept what is in it.
    unread: bool,
    passwd: Option<Vec<u8>>,
    group: Option<Vec<u8>>,
}

#[derive(Debug, Default)]
struct Directory {
    entries: BTreeMap<Box<OsStr>, (u32, Node)>,
    /// A name that is not in `entries` may be in the unpacked layers.
    shows_lower: bool,
}

#[derive(Debug)]
enum Node {
    Directory(Box<Directory>),
    Link(Box<PathBuf>),
    Other,
    /// Nothing is there.
    Gone,
}

/// The layer of what the unpacked ones have.
const UNPACKED: u32 = 0;

/// What stands at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Directory,
    Link,
    Other,
}

impl Below {
    /// Reads the layers of an image that are not known yet, the lowest first. One that does not lie on top of
    /// what is known is read from its beginning.
    pub fn reach(mut self, layout: &Layout, store: &Layers, image: &OpenImage) -> anyhow::Result<Self> {
        let layers = &image.manifest.layers;
        let known = layers.iter().zip(&self.known).take_while(|(layer, known)| layer.digest == **known).count();
        if known < self.known.len() || known == 0 {
            self = Self::default();
            let there;
            (self.unpacked, there) = Unpacked::open(store, image)?;
            self.root.shows_lower = there > 0;
            self.known.extend(layers[..there].iter().map(|layer| layer.digest.clone()));
        }
        for layer in &layers[self.known.len()..] {
            let blob = layout.read(layer)?;
            self.add_layer(codec::decoder(blob)?).with_context(|| format!("layer {}", layer.digest))?;
            self.known.push(layer.digest.clone());
        }
        Ok(self)
    }

    /// What stands at a path, with the real directories above it; none when one of them is not there.
    fn node(&mut self, path: &Path) -> anyhow::Result<Option<&mut (u32, Node)>> {
        let mut at = &mut self.root;
        let mut here = PathBuf::new();
        let mut parts = path.iter().peekable();
        while let Some(part) = parts.next() {
            here.push(part);
            look(self.unpacked.as_ref(), at, &here)?;
            match at.entries.get_mut(part) {
                found if parts.peek().is_none() => return Ok(found),
                Some((_, Node::Directory(directory))) => at = directory,
                _ => break,
            }
        }
        Ok(None)
    }

    /// The content of passwd and group.
    pub fn users(&mut self) -> anyhow::Result<[Option<Vec<u8>>; 2]> {
        for path in ["etc/passwd", "etc/group"] {
            if !matches!(self.node(Path::new(path))?, Some((UNPACKED, Node::Other))) {
                continue;
            }
            let Some(unpacked) = &self.unpacked else { continue };
            let content = unpacked.stack.read_file(path, LONGEST_FILE)?;
            *(if path == "etc/passwd" { &mut self.passwd } else { &mut self.group }) = content;
        }
        Ok([self.passwd.clone(), self.group.clone()])
    }

    /// The layer that was just written with [`put`](Self::put) is the topmost of this image.
    pub fn written(&mut self, image: &OpenImage) {
        if self.unread {
            // Read from the layers when it is asked for again.
            *self = Self::default();
            return;
        }
        self.known = image.manifest.layers.iter().map(|layer| layer.digest.clone()).collect();
        self.layer += 1;
    }

    /// Enters what is written now, so that the next step sees it. A directory keeps what it has.
    pub fn put(&mut self, path: &Path, kind: Kind) -> anyhow::Result<()> {
        self.unread |= matches!(path.as_os_str().as_bytes(), b"etc/passwd" | b"etc/group");
        match kind {
            Kind::Directory => self.insert(path, Node::Directory(Box::default())),
            Kind::Link | Kind::Other => self.insert(path, Node::Other),
        }
    }

    pub fn put_link(&mut self, path: &Path, target: PathBuf) -> anyhow::Result<()> {
        self.insert(path, Node::Link(Box::new(target)))
    }

    fn insert(&mut self, path: &Path, node: Node) -> anyhow::Result<()> {
        self.entries += 1;
        if self.entries > MOST_ENTRIES {
            bail!("more than {MOST_ENTRIES} entries");
        }
        let layer = self.layer;
        let Some(name) = path.file_name() else { return Ok(()) };
        let mut at = &mut self.root;
        let mut here = PathBuf::new();
        for part in path.parent().unwrap_or(Path::new("")) {
            here.push(part);
            look(self.unpacked.as_ref(), at, &here)?;
            let new = || (layer, Node::Directory(Box::default()));
            let (since, below) = at.entries.entry(part.into()).or_insert_with(new);
            if !matches!(below, Node::Directory(_)) {
                *below = Node::Directory(Box::default());
            }
            *since = layer;
            match below {
                Node::Directory(directory) => at = directory,
                _ => bail!("not a directory"),
            }
        }
        look(self.unpacked.as_ref(), at, path)?;
        match (at.entries.get_mut(name), node) {
            (Some((since, Node::Directory(_))), Node::Directory(_)) => *since = layer,
            (_, node) => drop(at.entries.insert(name.into(), (layer, node))),
        }
        Ok(())
    }

    fn directory(&mut self, path: &Path) -> anyhow::Result<Option<&mut Directory>> {
        if path.as_os_str().is_empty() {
            return Ok(Some(&mut self.root));
        }
        Ok(match self.node(path)? {
            Some((_, Node::Directory(directory))) => Some(directory),
            _ => None,
        })
    }

    /// What stands at a path that has no link in it.
    pub fn kind(&mut self, path: &Path) -> anyhow::Result<Option<Kind>> {
        if path.as_os_str().is_empty() {
            return Ok(Some(Kind::Directory));
        }
        Ok(match self.node(path)? {
            Some((_, Node::Directory(_))) => Some(Kind::Directory),
            Some((_, Node::Link(_))) => Some(Kind::Link),
            Some((_, Node::Other)) => Some(Kind::Other),
            Some((_, Node::Gone)) | None => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(entries: &[(&str, Option<&str>)]) -> Below {
        let mut below = Below { layer: 1, ..Below::default() };
        for (path, link) in entries {
            match link {
                Some("") => below.put(Path::new(path), Kind::Other).unwrap(),
                Some(target) => below.put_link(Path::new(path), target.into()).unwrap(),
                None => below.put(Path::new(path), Kind::Directory).unwrap(),
            }
        }
        below
    }

    #[test]
    fn links_stay_inside() {
        let mut below = tree(&[
            ("run", None),
            ("var/run", Some("/run")),
            ("x", Some("../../../etc")),
            ("a/b", Some("../var/run/c")),
            ("loop", Some("loop")),
            ("file", Some("")),
        ]);
        for (path, want) in [
            ("var/run/x", "run/x"),
            ("/var/run/../y", "y"),
            ("x/passwd", "etc/passwd"),
            ("a/b/d", "run/c/d"),
            ("new/dir", "new/dir"),
            ("../..", ""),
        ] {
            assert_eq!(below.resolve(Path::new(path)).unwrap(), Path::new(want), "{path}");
        }
        assert!(below.resolve(Path::new("loop/a")).is_err());
        assert_eq!(below.kind(Path::new("run")).unwrap(), Some(Kind::Directory));
        assert_eq!(below.kind(Path::new("var/run")).unwrap(), Some(Kind::Link));
        assert_eq!(below.kind(Path::new("file")).unwrap(), Some(Kind::Other));
        assert_eq!(below.kind(Path::new("file/x")).unwrap(), None);
        assert_eq!(below.kind(Path::new("")).unwrap(), Some(Kind::Directory));
    }

    #[test]
    fn whiteouts() {
        use layer_tar::{Meta, write::TarWriter};
        let layer = |make: &dyn Fn(&mut TarWriter<Vec<u8>>)| {
            let mut tar = TarWriter::new(Vec::new(), None);
            make(&mut tar);
            tar.finish().unwrap()
        };
        let meta = Meta { mode: 0o755, ..Meta::default() };
        let mut below = Below::default();
        let lower = layer(&|tar| {
            for name in ["d/a", "d/b", "e"] {
                tar.file(Path::new(name), &meta, 1, &b"x"[..]).unwrap();
            }
            tar.file(Path::new("etc/passwd"), &meta, 3, &b"a:b"[..]).unwrap();
        });
        below.add_layer(&lower[..]).unwrap();
        let upper = layer(&|tar| {
            tar.file(Path::new("d/c"), &meta, 1, &b"x"[..]).unwrap();
            tar.opaque(Path::new("d")).unwrap();
            tar.whiteout(Path::new("e")).unwrap();
        });
        below.add_layer(&upper[..]).unwrap();
        let mut there = |path: &str| below.kind(Path::new(path)).unwrap().is_some();
        assert_eq!(["d", "d/a", "d/b", "d/c", "e"].map(&mut there), [true, false, false, true, false]);
        assert_eq!(below.passwd.as_deref(), Some(&b"a:b"[..]));
    }
}

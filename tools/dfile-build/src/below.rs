//! What an image holds where COPY is about to write: its directories and links. Layers that a RUN has unpacked are
//! looked into, name by name; of the others the headers are read. Nothing is unpacked for it, so `FROM scratch` builds
//! need no privilege and no second copy on disk.

use anyhow::{Context, bail};
use bundle::{Claim, Layers};
use layer_tar::{Stack, codec};
use oci_layout::{Layout, OpenImage};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use wire::Digest;

/// The kernel's limit for one path walk (`path_resolution(7)`).
const MOST_LINKS: usize = 40;
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

#[derive(Debug)]
struct Unpacked {
    stack: Stack,
    /// Nobody removes them meanwhile.
    _claim: Claim,
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
            let there = self.open_unpacked(store, image)?;
            self.known.extend(layers[..there].iter().map(|layer| layer.digest.clone()));
        }
        for layer in &layers[self.known.len()..] {
            let blob = layout.read(layer)?;
            self.add_layer(codec::decoder(blob)?).with_context(|| format!("layer {}", layer.digest))?;
            self.known.push(layer.digest.clone());
        }
        Ok(self)
    }

    /// How many layers, from the lowest on, are unpacked as root unpacks them: others mark whiteouts in other ways.
    fn open_unpacked(&mut self, store: &Layers, image: &OpenImage) -> anyhow::Result<usize> {
        let chain = image.chain_ids();
        let is_there = |chain_id: &&Digest| store.dir_of(chain_id).is_dir();
        if !is_all_of_root()
            || chain.len() != image.manifest.layers.len()
            || !chain.first().is_some_and(|id| is_there(&id))
        {
            return Ok(0);
        }
        // First the claim and then the look: what is seen stays.
        let claim = store.claim(store.path(), &chain)?;
        let there = chain.iter().take_while(is_there).count();
        if there > 0 {
            let dirs: Vec<PathBuf> = chain[..there].iter().rev().map(|id| store.dir_of(id)).collect();
            self.unpacked = Some(Unpacked { stack: Stack::open(&dirs)?, _claim: claim });
            self.root.shows_lower = true;
        }
        Ok(there)
    }

    /// Enters what the unpacked layers have at a path, unless something is known of it: from now on it is like what a
    /// header said. The directory above is there, with no link on the way.
    fn look(unpacked: Option<&Unpacked>, directory: &mut Directory, path: &Path) -> anyhow::Result<()> {
        let (Some(unpacked), Some(name)) = (unpacked, path.file_name()) else { return Ok(()) };
        if !directory.shows_lower || directory.entries.contains_key(name) {
            return Ok(());
        }
        let node = match unpacked.stack.resolve_link(path)?.map(|found| found.kind) {
            None => Node::Gone,
            Some(layer_tar::Kind::Directory) => {
                Node::Directory(Box::new(Directory { shows_lower: true, ..Directory::default() }))
            }
            Some(layer_tar::Kind::Symlink) => Node::Link(Box::new(unpacked.stack.read_link(path)?.unwrap_or_default())),
            Some(_) => Node::Other,
        };
        directory.entries.insert(name.into(), (UNPACKED, node));
        Ok(())
    }

    /// What stands at a path, with the real directories above it; none when one of them is not there.
    fn node(&mut self, path: &Path) -> anyhow::Result<Option<&mut (u32, Node)>> {
        let mut at = &mut self.root;
        let mut here = PathBuf::new();
        let mut parts = path.iter().peekable();
        while let Some(part) = parts.next() {
            here.push(part);
            Self::look(self.unpacked.as_ref(), at, &here)?;
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
            Self::look(self.unpacked.as_ref(), at, &here)?;
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
        Self::look(self.unpacked.as_ref(), at, path)?;
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

    /// Follows every link in a path inside the image: `..` and absolute targets end at its root. Components
    /// that are not there stay as they are written. The answer is relative to the root.
    pub fn resolve(&mut self, path: &Path) -> anyhow::Result<PathBuf> {
        let mut todo: Vec<OsString> = components(path);
        let mut done = PathBuf::new();
        let mut links = 0;
        while let Some(part) = todo.pop() {
            if part == ".." {
                done.pop();
                continue;
            }
            done.push(&part);
            if let Some(target) = self.link(&done)? {
                links += 1;
                if links > MOST_LINKS {
                    bail!("{}: too many symbolic links", path.display());
                }
                done.pop();
                if target.is_absolute() {
                    done.clear();
                }
                todo.extend(components(target));
            }
        }
        Ok(done)
    }

    fn link(&mut self, path: &Path) -> anyhow::Result<Option<&Path>> {
        Ok(match self.node(path)? {
            Some((_, Node::Link(target))) => Some(target),
            _ => None,
        })
    }
}

/// Whether we are root of the machine, and no other user of it that only looks like that.
fn is_all_of_root() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    rustix::process::geteuid().is_root() && map.split_whitespace().eq(["0", "0", "4294967295"])
}

/// The components in reverse, ready to be popped.
fn components(path: &Path) -> Vec<OsString> {
    let part = |component: Component<'_>| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    };
    path.components().rev().filter_map(part).collect()
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

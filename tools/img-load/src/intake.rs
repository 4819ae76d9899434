//! One pass over the archive: documents are kept, every other file goes straight into the store under what it
//! hashes to. What is what is only known at the end, because a tar has no order.

use crate::reader::{Entries, Kind};
use anyhow::{Context, bail, ensure};
use oci_layout::Layout;
use std::collections::HashMap;
use std::io::{Read, Write};
use wire::{Algorithm, Descriptor, Digest};

/// The most that a document may have.
pub const LARGEST_DOCUMENT: u64 = 4 << 20;
/// `a -> b -> c`: docker's old archives link once.
const LONGEST_CHAIN: usize = 16;

/// What the archive held.
#[derive(Debug, Default)]
pub struct Archive {
    documents: HashMap<String, Vec<u8>>,
    blobs: HashMap<String, Blob>,
    links: HashMap<String, String>,
}

/// A file that is in the store now.
#[derive(Debug, Clone)]
pub struct Blob {
    pub digest: Digest,
    pub size: u64,
    /// Its first bytes, which tell how a layer is compressed.
    pub start: Vec<u8>,
}

impl Archive {
    /// Reads the whole stream.
    pub fn read(layout: &Layout, from: impl Read) -> anyhow::Result<Self> {
        let mut archive = Self::default();
        let mut entries = Entries::new(from);
        while let Some((path, kind)) = entries.next()? {
            let path = clean(&path)?;
            match kind {
                Kind::File(size) if is_document(&path) => {
                    ensure!(size <= LARGEST_DOCUMENT, "{path}: more than {LARGEST_DOCUMENT} bytes");
                    let mut bytes = Vec::new();
                    entries.content().read_to_end(&mut bytes)?;
                    ensure!(
                        archive.documents.insert(path.clone(), bytes).is_none(),
                        "{path}: stands in the archive twice"
                    );
                }
                // Docker's first archive format had these beside every layer; nothing reads them any more.
                Kind::File(_) if path.ends_with("/VERSION") || path.ends_with("/json") || path == "repositories" => {}
                Kind::File(_) => {
                    let blob = store(layout, &path, &mut entries.content()).with_context(|| path.clone())?;
                    if archive.blobs.get(&path).is_some_and(|there| there.digest != blob.digest) {
                        bail!("{path}: stands in the archive twice, with different bytes");
                    }
                    archive.blobs.insert(path, blob);
                }
                Kind::Symlink(target) => {
                    let dir = path.rsplit_once('/').map_or("", |(dir, _)| dir);
                    archive
                        .links
                        .insert(path.clone(), clean(&format!("{dir}/{target}")).with_context(|| path.clone())?);
                }
                Kind::Hardlink(target) => {
                    archive.links.insert(path.clone(), clean(&target).with_context(|| path.clone())?);
                }
                Kind::Other => {}
            }
        }
        Ok(archive)
    }

    /// `index.json` or `manifest.json`.
    pub fn document(&self, name: &str) -> Option<&[u8]> {
        self.documents.get(name).map(Vec::as_slice)
    }

    /// Everything that it put into the store.
    pub fn digests(&self) -> impl Iterator<Item = &Digest> {
        self.blobs.values().map(|blob| &blob.digest)
    }

    /// The file behind a path of docker's `manifest.json`, through links.
    pub fn blob(&self, path: &str) -> anyhow::Result<&Blob> {
        let mut at = clean(path)?;
        for _ in 0..LONGEST_CHAIN {
            if let Some(blob) = self.blobs.get(&at) {
                return Ok(blob);
            }
            match self.links.get(&at) {
                Some(target) => at.clone_from(target),
                None => bail!("{path}: not in the archive"),
            }
        }
        bail!("{path}: too many links")
    }
}

/// A path of the archive as a key: it is compared, and never opened. `..` may not lead above the top.
fn clean(path: &str) -> anyhow::Result<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop().with_context(|| format!("{path:?}: leads out of the archive"))?),
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}

fn is_document(path: &str) -> bool {
    matches!(path, "index.json" | "manifest.json" | "oci-layout")
}

/// A file below `blobs/` has to hash to its name; any other one is named by what it hashes to.
fn store(layout: &Layout, path: &str, from: &mut impl Read) -> anyhow::Result<Blob> {
    let promised = promised(path)?;
    let mut to = layout.writer_for(promised.as_ref().map_or(Algorithm::Sha256, Digest::algorithm))?;
    let mut start = Vec::new();
    let mut buffer = vec![0; 256 << 10];
    let mut size = 0;
    loop {
        let n = from.read(&mut buffer)?;
        if n == 0 {
            break;
        }
        start.extend_from_slice(&buffer[..n.min(8usize.saturating_sub(start.len()))]);
        size += n as u64;
        to.write_all(&buffer[..n])?;
    }
    let digest = match promised {
        Some(digest) => {
            to.commit(&Descriptor::new("", digest.clone(), size))?;
            digest
        }
        None => to.finish("")?.digest,
    };
    Ok(Blob { digest, size, start })
}

fn promised(path: &str) -> anyhow::Result<Option<Digest>> {
    let Some(name) = path.strip_prefix("blobs/") else { return Ok(None) };
    Ok(Some(name.replacen('/', ":", 1).parse()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside() {
        for (path, key) in [("./a/b", "a/b"), ("/a//b/", "a/b"), ("x/../layer.tar", "layer.tar"), ("", "")] {
            assert_eq!(clean(path).unwrap(), key);
        }
        for bad in ["..", "../x", "a/../../b", "./.."] {
            assert!(clean(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_name_below_blobs_is_a_digest() {
        let hex = "0a".repeat(32);
        assert_eq!(promised(&format!("blobs/sha256/{hex}")).unwrap().unwrap().hex(), hex);
        assert_eq!(promised("abc/layer.tar").unwrap(), None);
        for bad in ["blobs/sha256/x", "blobs/x", "blobs/md5/0a", &format!("blobs/sha256/{hex}/x")] {
            assert!(promised(bad).is_err(), "{bad}");
        }
    }
}

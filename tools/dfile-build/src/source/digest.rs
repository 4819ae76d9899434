//! What a copy takes from a source as one digest. Few files are read twice for it.

use super::{Root, Source, walk::Entry};
use crate::board::lock;
use anyhow::Context;
use layer_tar::{Kind, Meta};
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;

/// Digests of contents by device, inode, size and change time.
pub type Digests = HashMap<Inode, [u8; 32]>;

/// Device, inode, size, and the time of the last change in two parts.
type Inode = (u64, u64, i64, i64, u64);

/// Beyond so many a file is read again: memory does not grow with the tree.
const MOST_REMEMBERED: usize = 7000;

impl Root {
    /// The digest of everything that a copy takes from a source. Times are not part of it, as in docker.
    pub fn digest(&self, source: &Source) -> anyhow::Result<String> {
        let mut hash = Sha256::new();
        // One for all: to clear one for each would cost more than to hash a small file.
        let mut buffer = vec![0; 64 * 1024];
        hash.update(source.name.as_bytes());
        for entry in &source.entries {
            let Meta { mode, uid, gid, xattrs, .. } = entry.meta();
            let line = format!(
                "\0{:?}\0{mode:o}\0{uid}\0{gid}\0{}\0{xattrs:?}\0{:?}\0",
                entry.kind,
                entry.size,
                entry.device()
            );
            hash.update(source.below(entry).as_os_str().as_bytes());
            hash.update(line.as_bytes());
            hash.update(entry.target());
            if entry.kind == Kind::File {
                hash.update(self.content_digest(entry, &mut buffer)?);
            }
            hash.update(b"\n");
        }
        Ok(hex(&hash.finalize()))
    }

    fn content_digest(&self, entry: &Entry, buffer: &mut [u8]) -> anyhow::Result<[u8; 32]> {
        let (mut file, stat) = self.open_file(&entry.path)?;
        let inode = (stat.st_dev, stat.st_ino, stat.st_size, stat.st_ctime, stat.st_ctime_nsec);
        if let Some(known) = lock(&self.digests).get(&inode) {
            return Ok(*known);
        }
        let mut hash = Sha256::new();
        loop {
            match file.read(buffer) {
                Ok(0) => {
                    let digest = hash.finalize().into();
                    let mut digests = lock(&self.digests);
                    if digests.len() < MOST_REMEMBERED {
                        digests.insert(inode, digest);
                    }
                    return Ok(digest);
                }
                Ok(count) => hash.update(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error).with_context(|| entry.path.display().to_string()),
            }
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

//! A whole archive, read for its form alone.

use super::{TarReader, refused};
use crate::Result;
use std::io::Read;

/// Reads a whole archive and finds out whether it is one, by the rules by which [`apply`](crate::apply()) reads it, and
/// whether it ends as one: a stream that was cut must not become a layer. What the names lead to is not judged here.
pub fn check(tar: impl Read) -> Result<Checked> {
    let mut reader = TarReader::new(tar);
    let mut found = Checked::default();
    while let Some(entry) = reader.next()? {
        found.entries += 1;
        found.largest_uid = found.largest_uid.max(entry.meta.uid);
        found.largest_gid = found.largest_gid.max(entry.meta.gid);
    }
    if !reader.closed {
        return Err(refused("", &format!("the tar is cut: no end after {} entries", found.entries)));
    }
    reader.drain()?;
    Ok(found)
}

/// What [`check`] found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Checked {
    /// How many files, directories and whiteouts there are.
    pub entries: u64,
    /// The largest number of a user who owns something.
    pub largest_uid: u32,
    /// The largest number of a group that owns something.
    pub largest_gid: u32,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Meta;
    use crate::write::TarWriter;
    use std::path::Path;

    #[test]
    fn an_archive_that_was_cut_is_none() {
        let mut tar = TarWriter::new(Vec::new(), None);
        for name in ["a", "b"] {
            tar.file(Path::new(name), &Meta::default(), 600, &[b'x'; 600][..]).unwrap();
        }
        let bytes = tar.finish().unwrap();
        assert_eq!(check(&bytes[..]).unwrap().entries, 2);
        assert_eq!(check(&[&bytes[..], &[0; 9000]].concat()[..]).unwrap().entries, 2, "padding after the end");
        for cut in [1, 511, 512, 600, 1024, 1536, 2048, 3072] {
            assert!(check(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        assert!(check(&b"no tar at all, but longer than one block of tar is ".repeat(20)[..]).is_err());
    }
}

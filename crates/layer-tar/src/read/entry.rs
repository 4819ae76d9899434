//! One entry out of its header block and the extensions before it. Where two of them say something else, or a field says
//! what no other reader would understand the same way, the entry is refused.

use super::fields::{number, text};
use super::{BLOCK, Extensions, TarReader, padding, refused};
use crate::sparse::{self, Map, MapReader};
use crate::write::Device;
use crate::{Error, Kind, Meta, Result, Time};
use std::ffi::OsString;
use std::io::Read;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// `PATH_MAX`.
const LONGEST_PATH: usize = 4096;

/// What an entry brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    Node(Kind),
    HardLink,
}

/// One entry, its extensions folded in.
#[derive(Debug)]
pub(crate) struct Entry {
    pub path: PathBuf,
    pub kind: Type,
    pub meta: Meta,
    /// Of the file when it is written out.
    pub size: u64,
    pub link: Vec<u8>,
    pub device: Device,
    /// For GNU sparse files: where the pieces of data lie, as (offset, length).
    pub sparse: Option<Vec<sparse::Piece>>,
    /// Attributes that only the machine which made the archive could read.
    pub unreadable: u64,
}

impl<R: Read> TarReader<R> {
    pub(super) fn entry(&mut self, block: &[u8; BLOCK], extensions: Extensions) -> Result<Entry> {
        let mut pax = extensions.pax.unwrap_or_default();
        let records = pax.sparse.take();
        let named = records.as_ref().and_then(|records| records.name.clone());
        let path = one_of(named.or(pax.path), extensions.long_name, "path")?.unwrap_or_else(|| name_of(block));
        let link = one_of(pax.link, extensions.long_link, "link")?.unwrap_or_else(|| text(&block[157..257]));
        if path.len() > LONGEST_PATH || link.len() > LONGEST_PATH {
            return Err(refused(&path[..path.len().min(100)], "a path longer than 4096 bytes"));
        }
        let bad = |what: &str| refused(&path, what);
        if path.contains(&0) || link.contains(&0) {
            return Err(bad("NUL in a name"));
        }
        let field = |from: usize, to: usize, what: &str| {
            number(&block[from..to]).ok_or_else(|| bad(&format!("malformed {what}")))
        };
        let id = |given: Option<u32>, from: usize, what: &str| match given {
            Some(id) => Ok(id),
            None => u32::try_from(field(from, from + 8, what)?).map_err(|_| bad(&format!("{what} out of range"))),
        };
        // The kernel takes this number for "leave the owner as it is".
        let owners = (id(pax.uid, 108, "uid")?, id(pax.gid, 116, "gid")?);
        if owners.0 == u32::MAX || owners.1 == u32::MAX {
            return Err(bad("owner out of range"));
        }
        let mode = u32::try_from(field(100, 108, "mode")? & 0o7777).map_err(|_| bad("malformed mode"))?;
        let meta = Meta {
            mode,
            uid: owners.0,
            gid: owners.1,
            mtime: match pax.mtime {
                Some(time) => time,
                None => Time::at(field(136, 148, "mtime")?),
            },
            xattrs: pax.xattrs,
        };
        let kind =
            type_of(block[156], &path).ok_or_else(|| bad(&format!("unknown type {:?}", char::from(block[156]))))?;
        let mut device = Device { major: 0, minor: 0 };
        if matches!(kind, Type::Node(Kind::Char | Kind::Block)) {
            let part = |from: usize| {
                u32::try_from(field(from, from + 8, "device number")?).map_err(|_| bad("device number out of range"))
            };
            device = Device { major: part(329)?, minor: part(337)? };
        }
        let stored = match pax.size {
            Some(size) => size,
            None => size_of(block)?,
        };
        // Only files have content. Readers disagree about what a size on another entry means: some skip as many
        // bytes and some do not, so the next header would be at two places.
        if kind != Type::Node(Kind::File) && stored != 0 {
            return Err(bad("content on an entry that is not a file"));
        }
        let (sparse, stored, size) = match (block[156], records) {
            (b'S', None) => self.old_sparse(block, stored, &path)?,
            (0 | b'0' | b'7', Some(records)) if kind == Type::Node(Kind::File) => {
                self.pax_sparse(records, stored, &path)?
            }
            (_, Some(_)) => return Err(bad("a sparse map on an entry that is not a file")),
            _ => (None, stored, stored),
        };
        (self.left, self.padding) = (stored, padding(stored));
        let unreadable = pax.unreadable;
        Ok(Entry { path: OsString::from_vec(path).into(), kind, meta, size, link, device, sparse, unreadable })
    }

    /// GNU's old format: four pieces in the header, twenty-one in each block that follows. Returns the map, how much
    /// is stored, and the size of the file.
    fn old_sparse(&mut self, block: &[u8; BLOCK], stored: u64, path: &[u8]) -> Result<Sparse> {
        let malformed = || refused(path, "malformed sparse map");
        let mut pieces = Vec::new();
        sparse::old_pieces(&block[386..482], &mut pieces).ok_or_else(malformed)?;
        let mut more = block[482] != 0;
        while more {
            let block = self.block()?.ok_or(Error::Cut)?;
            sparse::old_pieces(&block[..504], &mut pieces).ok_or_else(malformed)?;
            more = block[504] != 0;
        }
        let size = number(&block[483..495]).and_then(|n| u64::try_from(n).ok()).ok_or_else(malformed)?;
        sparse::check(&pieces, stored, size).map_err(|what| refused(path, what))?;
        Ok((Some(pieces), stored, size))
    }

    /// The formats of PAX archives. A map in front of the data is part of what is stored.
    fn pax_sparse(&mut self, records: sparse::Records, mut stored: u64, path: &[u8]) -> Result<Sparse> {
        let malformed = || refused(path, "malformed sparse map");
        let (size, map) = records.finish().ok_or_else(malformed)?;
        let pieces = match map {
            Map::Here(pieces) => pieces,
            Map::InFrontOfTheData => {
                let mut map = MapReader::default();
                loop {
                    stored = stored.checked_sub(BLOCK as u64).ok_or_else(malformed)?;
                    let block = self.block()?.ok_or(Error::Cut)?;
                    if map.block(&block).ok_or_else(malformed)? {
                        break map.finish();
                    }
                }
            }
        };
        sparse::check(&pieces, stored, size).map_err(|what| refused(path, what))?;
        Ok((Some(pieces), stored, size))
    }
}

/// What the type flag of a header says.
fn type_of(flag: u8, path: &[u8]) -> Option<Type> {
    Some(match flag {
        // Before POSIX, a directory was a file whose name ends in a slash.
        0 if path.ends_with(b"/") => Type::Node(Kind::Directory),
        0 | b'0' | b'7' | b'S' => Type::Node(Kind::File),
        b'1' => Type::HardLink,
        b'2' => Type::Node(Kind::Symlink),
        b'3' => Type::Node(Kind::Char),
        b'4' => Type::Node(Kind::Block),
        b'5' => Type::Node(Kind::Directory),
        b'6' => Type::Node(Kind::Fifo),
        _ => return None,
    })
}

/// A map, how much of the file is stored, and how large it is.
type Sparse = (Option<Vec<sparse::Piece>>, u64, u64);

fn one_of(pax: Option<Vec<u8>>, gnu: Option<Vec<u8>>, what: &str) -> Result<Option<Vec<u8>>> {
    match (pax, gnu) {
        (Some(pax), Some(gnu)) if pax != gnu => Err(refused(pax, &format!("a PAX and a GNU {what} that differ"))),
        (pax, gnu) => Ok(pax.or(gnu)),
    }
}

fn name_of(block: &[u8; BLOCK]) -> Vec<u8> {
    let name = text(&block[..100]);
    // GNU's magic is "ustar  \0": it has times where POSIX has the front part of a long name.
    // star's trailer is "tar\0": behind a shorter front part it has times, too.
    let end = if &block[508..] == b"tar\0" { 476 } else { 500 };
    let prefix = text(&block[345..end]);
    if &block[257..263] == b"ustar\0" && !prefix.is_empty() { [&prefix[..], b"/", &name].concat() } else { name }
}

pub(super) fn size_of(block: &[u8; BLOCK]) -> Result<u64> {
    number(&block[124..136])
        .and_then(|size| u64::try_from(size).ok())
        .ok_or_else(|| refused(&block[..100], "malformed size"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::write::TarWriter;
    use std::path::Path;

    #[test]
    fn star_has_a_shorter_front_part() {
        let mut tar = TarWriter::new(Vec::new(), None);
        tar.file(Path::new("end"), &Meta::default(), 0, &b""[..]).unwrap();
        let mut bytes = tar.finish().unwrap();
        bytes[345..476].fill(b'd');
        bytes[476..500].copy_from_slice(b"00000000001 00000000001 ");
        bytes[508..512].copy_from_slice(b"tar\0");
        bytes[148..156].fill(b' ');
        let sum: u32 = bytes[..BLOCK].iter().map(|byte| u32::from(*byte)).sum();
        bytes[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        let entry = TarReader::new(&bytes[..]).next().unwrap().unwrap();
        assert_eq!(entry.path, PathBuf::from("d".repeat(131) + "/end"));
    }
}

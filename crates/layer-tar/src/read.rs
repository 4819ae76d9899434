//! Reading tar strictly. Two readers that understand one archive differently are a way to smuggle files past
//! the first one (CVE-2025-62518), so whatever is malformed, doubled or contradictory is an error here and
//! never skipped; and no count or size of the archive is believed before it is checked against a limit.

use crate::acl;
use crate::sparse::{self, Map, MapReader};
use crate::write::Device;
use crate::{Error, Kind, Meta, Result, Time, Xattrs};
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

const BLOCK: usize = 512;
/// Files of a whole distribution with everything installed are about a million.
const MOST_ENTRIES: u64 = 10_000_000;
/// One block of PAX records, or one GNU long name. Go's reader has the same limit.
const LARGEST_EXTENSION: u64 = 1 << 20;
/// `PATH_MAX`.
const LONGEST_PATH: usize = 4096;
/// The kernel's own limits for extended attributes.
const LONGEST_XATTR_NAME: usize = 255;
const LARGEST_XATTR: usize = 64 * 1024;

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

/// Reads entries one after the other; between two calls of `next`, `piece` gives the content.
pub(crate) struct TarReader<R> {
    from: BufReader<R>,
    left: u64,
    padding: u64,
    entries: u64,
    ended: bool,
    /// The end was a block of zeros, not only that of the stream.
    closed: bool,
}

#[derive(Default)]
struct Extensions {
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
    pax: Option<Pax>,
}

#[derive(Default)]
struct Pax {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u32>,
    gid: Option<u32>,
    mtime: Option<Time>,
    xattrs: Xattrs,
    sparse: Option<sparse::Records>,
    unreadable: u64,
}

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

impl<R: Read> TarReader<R> {
    pub fn new(from: R) -> Self {
        Self {
            from: BufReader::with_capacity(256 * 1024, from),
            left: 0,
            padding: 0,
            entries: 0,
            ended: false,
            closed: false,
        }
    }

    /// The next entry, whatever was left of the content of the one before; none at the end of the archive.
    pub fn next(&mut self) -> Result<Option<Entry>> {
        let mut extensions = Extensions::default();
        loop {
            self.skip(self.left + self.padding)?;
            (self.left, self.padding) = (0, 0);
            let Some(block) = self.header()? else {
                if extensions.long_name.is_some() || extensions.long_link.is_some() || extensions.pax.is_some() {
                    return Err(refused("", "an extension header without an entry after it"));
                }
                return Ok(None);
            };
            self.entries += 1;
            if self.entries > MOST_ENTRIES {
                return Err(refused("", &format!("more than {MOST_ENTRIES} entries")));
            }
            match block[156] {
                b'L' => once(&mut extensions.long_name, trim_nul(self.extension(&block)?), "GNU long names")?,
                b'K' => once(&mut extensions.long_link, trim_nul(self.extension(&block)?), "GNU long link names")?,
                b'x' => once(&mut extensions.pax, Pax::parse(&self.extension(&block)?)?, "PAX headers")?,
                b'g' => Pax::parse(&self.extension(&block)?)?.refuse_in_global()?,
                _ => return self.entry(&block, extensions).map(Some),
            }
        }
    }

    /// The next bytes of the content, straight from the buffer; empty at its end.
    pub fn piece(&mut self) -> io::Result<&[u8]> {
        if self.left == 0 {
            return Ok(&[]);
        }
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        let buffer = self.from.fill_buf()?;
        if buffer.is_empty() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, Error::Cut));
        }
        Ok(&buffer[..buffer.len().min(left)])
    }

    /// All that is left of the content; for small files.
    pub fn whole(&mut self) -> io::Result<Vec<u8>> {
        let mut content = Vec::with_capacity(usize::try_from(self.left).unwrap_or(0));
        loop {
            let piece = self.piece()?;
            let length = piece.len();
            if length == 0 {
                return Ok(content);
            }
            content.extend_from_slice(piece);
            self.consume(length);
        }
    }

    /// Says how much of a [`piece`](Self::piece) is used up.
    pub fn consume(&mut self, bytes: usize) {
        self.from.consume(bytes);
        self.left -= bytes as u64;
    }

    /// Reads what stands behind the archive, so that a digest over the whole stream is complete.
    pub fn drain(&mut self) -> Result<()> {
        loop {
            let length = self.from.fill_buf()?.len();
            if length == 0 {
                return Ok(());
            }
            self.from.consume(length);
        }
    }

    fn skip(&mut self, mut bytes: u64) -> Result<()> {
        while bytes > 0 {
            let length = self.from.fill_buf()?.len();
            if length == 0 {
                return Err(Error::Cut);
            }
            let step = usize::try_from(bytes).unwrap_or(usize::MAX).min(length);
            self.from.consume(step);
            bytes -= step as u64;
        }
        Ok(())
    }

    /// One header block with a right checksum; none at the end: two blocks of zeros, or the end of the stream.
    fn header(&mut self) -> Result<Option<[u8; BLOCK]>> {
        if self.ended {
            return Ok(None);
        }
        let block = match self.block()? {
            Some(block) if block != [0; BLOCK] => block,
            None => return Ok(self.end()),
            Some(_) => match self.block()? {
                Some(second) if second != [0; BLOCK] => return Err(refused("", "data after a block of zeros")),
                _ => {
                    self.closed = true;
                    return Ok(self.end());
                }
            },
        };
        let sum = |signed: bool| -> i64 {
            let byte = |(at, byte): (usize, &u8)| match at {
                148..156 => i64::from(b' '),
                _ if signed => i64::from(byte.cast_signed()),
                _ => i64::from(*byte),
            };
            block.iter().enumerate().map(byte).sum()
        };
        let said = number(&block[148..156]);
        if said != Some(sum(false)) && said != Some(sum(true)) {
            return Err(refused(&block[..100], "wrong header checksum: not a tar, or a damaged one"));
        }
        Ok(Some(block))
    }

    fn end(&mut self) -> Option<[u8; BLOCK]> {
        self.ended = true;
        None
    }

    fn block(&mut self) -> Result<Option<[u8; BLOCK]>> {
        if self.from.fill_buf()?.is_empty() {
            return Ok(None);
        }
        let mut block = [0; BLOCK];
        self.exact(&mut block)?;
        Ok(Some(block))
    }

    /// Fills the buffer. What the stream itself says is wrong is not hidden behind "cut".
    fn exact(&mut self, mut buffer: &mut [u8]) -> Result<()> {
        while !buffer.is_empty() {
            let piece = self.from.fill_buf()?;
            let step = piece.len().min(buffer.len());
            if step == 0 {
                return Err(Error::Cut);
            }
            buffer[..step].copy_from_slice(&piece[..step]);
            self.from.consume(step);
            buffer = &mut buffer[step..];
        }
        Ok(())
    }

    fn extension(&mut self, block: &[u8; BLOCK]) -> Result<Vec<u8>> {
        let size = size_of(block)?;
        if size > LARGEST_EXTENSION {
            return Err(refused(&block[..100], &format!("an extension header of {size} bytes")));
        }
        let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
        self.exact(&mut bytes)?;
        self.skip(padding(size))?;
        Ok(bytes)
    }

    fn entry(&mut self, block: &[u8; BLOCK], extensions: Extensions) -> Result<Entry> {
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
        let kind = match block[156] {
            // Before POSIX, a directory was a file whose name ends in a slash.
            0 if path.ends_with(b"/") => Type::Node(Kind::Directory),
            0 | b'0' | b'7' | b'S' => Type::Node(Kind::File),
            b'1' => Type::HardLink,
            b'2' => Type::Node(Kind::Symlink),
            b'3' => Type::Node(Kind::Char),
            b'4' => Type::Node(Kind::Block),
            b'5' => Type::Node(Kind::Directory),
            b'6' => Type::Node(Kind::Fifo),
            other => return Err(bad(&format!("unknown type {:?}", char::from(other)))),
        };
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

/// A map, how much of the file is stored, and how large it is.
type Sparse = (Option<Vec<sparse::Piece>>, u64, u64);

impl Pax {
    /// `LENGTH key=value\n` again and again.
    fn parse(mut bytes: &[u8]) -> Result<Self> {
        let mut pax = Self::default();
        let malformed = || refused("", "malformed PAX record");
        while !bytes.is_empty() {
            let space = bytes.iter().take(20).position(|byte| *byte == b' ').ok_or_else(malformed)?;
            let length: usize = digits(&bytes[..space]).and_then(|n| usize::try_from(n).ok()).ok_or_else(malformed)?;
            if length <= space + 1 || length > bytes.len() || bytes[length - 1] != b'\n' {
                return Err(malformed());
            }
            let body = &bytes[space + 1..length - 1];
            let equals = body.iter().position(|byte| *byte == b'=').ok_or_else(malformed)?;
            pax.set(&body[..equals], &body[equals + 1..])?;
            bytes = &bytes[length..];
        }
        Ok(pax)
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let malformed = || refused("", &format!("malformed PAX {:?}", String::from_utf8_lossy(key)));
        let id = || digits(value).and_then(|n| u32::try_from(n).ok()).ok_or_else(malformed);
        match key {
            // An empty value takes back what a global header said; there is nothing to take back.
            b"path" if !value.is_empty() => self.path = Some(value.to_vec()),
            b"linkpath" if !value.is_empty() => self.link = Some(value.to_vec()),
            b"size" => self.size = Some(digits(value).filter(|n| i64::try_from(*n).is_ok()).ok_or_else(malformed)?),
            b"uid" => self.uid = Some(id()?),
            b"gid" => self.gid = Some(id()?),
            b"mtime" => self.mtime = Some(time(value).ok_or_else(malformed)?),
            b"SCHILY.acl.access" => self.acl(b"system.posix_acl_access", value),
            b"SCHILY.acl.default" => self.acl(b"system.posix_acl_default", value),
            _ => {
                if let Some(key) = key.strip_prefix(b"GNU.sparse.") {
                    self.sparse.get_or_insert_default().set(key, value).ok_or_else(malformed)?;
                } else if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    self.xattr(name.to_vec(), value.to_vec())?;
                } else if let Some(name) = key.strip_prefix(b"LIBARCHIVE.xattr.") {
                    let name = percent_decoded(name).ok_or_else(malformed)?;
                    let value = base64_decoded(value).ok_or_else(malformed)?;
                    // libarchive writes both forms; SCHILY's has the bytes as they are.
                    if !self.xattrs.contains_key(&name) {
                        self.xattr(name, value)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Who archives an ACL as an attribute, too, has the same in it, and more exactly.
    fn acl(&mut self, name: &[u8], text: &[u8]) {
        match acl::from_text(text) {
            _ if text.is_empty() || self.xattrs.contains_key(name) => {}
            // Owner, group and others: the mode has said it.
            Some(value) if name == b"system.posix_acl_access" && value.len() == acl::SHORTEST => {}
            Some(value) => drop(self.xattrs.insert(name.to_vec(), value)),
            None => self.unreadable += 1,
        }
    }

    fn xattr(&mut self, name: Vec<u8>, value: Vec<u8>) -> Result<()> {
        if name.is_empty() || name.len() > LONGEST_XATTR_NAME || name.contains(&0) || value.len() > LARGEST_XATTR {
            return Err(refused("", "an extended attribute beyond the kernel's limits"));
        }
        self.xattrs.insert(name, value);
        Ok(())
    }

    fn refuse_in_global(self) -> Result<()> {
        if self.path.is_some()
            || self.link.is_some()
            || self.size.is_some()
            || self.sparse.is_some()
            || !self.xattrs.is_empty()
        {
            return Err(refused("", "a global PAX header that gives every entry a path, size or attribute"));
        }
        Ok(())
    }
}

fn refused(path: impl AsRef<[u8]>, reason: &str) -> Error {
    let path = text(path.as_ref());
    Error::Refused { path: OsString::from_vec(path).into(), reason: reason.into() }
}

fn once<T>(slot: &mut Option<T>, value: T, what: &str) -> Result<()> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(refused("", &format!("two {what} for one entry"))),
    }
}

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

fn size_of(block: &[u8; BLOCK]) -> Result<u64> {
    number(&block[124..136])
        .and_then(|size| u64::try_from(size).ok())
        .ok_or_else(|| refused(&block[..100], "malformed size"))
}

fn padding(size: u64) -> u64 {
    size.next_multiple_of(BLOCK as u64) - size
}

/// Up to the first NUL.
fn text(field: &[u8]) -> Vec<u8> {
    field.split(|byte| *byte == 0).next().unwrap_or_default().to_vec()
}

fn trim_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    while bytes.last() == Some(&0) {
        bytes.pop();
    }
    bytes
}

/// Octal digits between spaces and NULs, or GNU's base 256 when the top bit is set.
pub(crate) fn number(field: &[u8]) -> Option<i64> {
    if field[0] & 0x80 != 0 {
        let negative = field[0] & 0x40 != 0;
        let first = i128::from(field[0] & 0x7f) - if negative { 0x80 } else { 0 };
        let mut value = first;
        for byte in &field[1..] {
            value = value.checked_mul(256)?.checked_add(i128::from(*byte))?;
        }
        return i64::try_from(value).ok();
    }
    let pad = |byte: &u8| matches!(byte, b' ' | 0);
    let start = field.iter().position(|byte| !pad(byte)).unwrap_or(field.len());
    let rest = &field[start..];
    let end = rest.iter().position(pad).unwrap_or(rest.len());
    if !rest[end..].iter().all(pad) {
        return None;
    }
    rest[..end].iter().try_fold(0i64, |value, byte| match byte {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(i64::from(byte - b'0')),
        _ => None,
    })
}

pub(crate) fn digits(bytes: &[u8]) -> Option<u64> {
    if bytes.is_empty() {
        return None;
    }
    bytes.iter().try_fold(0u64, |value, byte| match byte {
        b'0'..=b'9' => value.checked_mul(10)?.checked_add(u64::from(byte - b'0')),
        _ => None,
    })
}

/// `-12.5`: the fraction counts away from zero; inodes count it forward.
fn time(bytes: &[u8]) -> Option<Time> {
    let (negative, bytes) = bytes.strip_prefix(b"-").map_or((false, bytes), |rest| (true, rest));
    let mut parts = bytes.splitn(2, |byte| *byte == b'.');
    let seconds = i64::try_from(digits(parts.next()?)?).ok()?;
    let fraction = parts.next().unwrap_or(b"0");
    digits(&fraction[..fraction.len().min(9)])?;
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let nanos = fraction.iter().chain(b"000000000").take(9).fold(0, |value, byte| value * 10 + u32::from(byte - b'0'));
    Some(match (negative, nanos) {
        (false, nanos) => Time { seconds, nanos },
        (true, 0) => Time { seconds: -seconds, nanos: 0 },
        (true, nanos) => Time { seconds: -seconds - 1, nanos: 1_000_000_000 - nanos },
    })
}

fn percent_decoded(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut rest = bytes.iter();
    while let Some(byte) = rest.next() {
        if *byte != b'%' {
            out.push(*byte);
            continue;
        }
        let mut hex = || char::from(*rest.next()?).to_digit(16);
        out.push(u8::try_from(hex()? * 16 + hex()?).ok()?);
    }
    Some(out)
}

fn base64_decoded(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let (mut held, mut bits) = (0u32, 0);
    for byte in bytes.iter().filter(|byte| **byte != b'=') {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        held = (held << 6 | u32::from(value)) & 0xffff;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            out.push(u8::try_from(held >> bits & 0xff).ok()?);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::write::TarWriter;
    use std::path::Path;

    #[test]
    fn numbers() {
        for (field, value) in [
            (&b"0000644\0"[..], Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"\0\0\0\0", Some(0)),
            (b"\x80\0\0\0\0\0\x01\0", Some(256)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff", Some(-1)),
            (b"0000648\0", None),
            (b"12 34\0", None),
            (b"-1\0", None),
            (b"\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", None),
        ] {
            assert_eq!(number(field), value, "{field:?}");
        }
    }

    #[test]
    fn times() {
        for (text, seconds, nanos) in [("5", 5, 0), ("5.25", 5, 250_000_000), ("-0.25", -1, 750_000_000), ("-1", -1, 0)]
        {
            assert_eq!(time(text.as_bytes()), Some(Time { seconds, nanos }), "{text}");
        }
        for text in ["", "x", "1.x", "1.5x", "--1", "1.", "99999999999999999999"] {
            assert_eq!(time(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn what_the_writer_writes_is_read_back() {
        let meta = Meta {
            mode: 0o4755,
            uid: 3_000_000,
            gid: 7,
            mtime: Time { seconds: -5, nanos: 5 },
            xattrs: Xattrs::from([(b"user.a".to_vec(), b"\0=\n".to_vec())]),
        };
        let long = PathBuf::from("d/".repeat(90) + "end");
        let mut tar = TarWriter::new(Vec::new(), None);
        tar.file(&long, &meta, 3, &b"abc"[..]).unwrap();
        tar.symlink(Path::new("s"), &Meta::default(), long.to_str().unwrap().as_bytes()).unwrap();
        tar.char_device(Path::new("c"), &Meta::default(), Device { major: 1, minor: 3 }).unwrap();
        let bytes = tar.finish().unwrap();
        let mut reader = TarReader::new(&bytes[..]);
        let file = reader.next().unwrap().unwrap();
        assert_eq!((&file.path, &file.meta, file.size), (&long, &meta, 3));
        assert_eq!(reader.piece().unwrap(), b"abc");
        let link = reader.next().unwrap().unwrap();
        assert_eq!(link.link, long.to_str().unwrap().as_bytes());
        assert_eq!(reader.next().unwrap().unwrap().device, Device { major: 1, minor: 3 });
        assert!(reader.next().unwrap().is_none());
    }

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

    #[test]
    fn malformed_records_are_errors() {
        for block in [
            &b"5 a=b"[..],
            b"7 a=b\n",
            b"x a=b\n",
            b"6 a=b",
            b"4 a\n",
            b"0 \n",
            b"99999999999999999999999 a=b\n",
            b" ",
            b"10 size=x\n",
            b"11 size=-1\n",
            b"27 size=9999999999999999999\n",
            b"11 mtime=x\n",
            b"17 GNU.sparse.a=\n",
            b"24 GNU.sparse.numbytes=1\n",
            b"22 GNU.sparse.map=1,x\n",
            b"20 GNU.sparse.map=1\n",
            b"22 GNU.sparse.major=1\n22 GNU.sparse.major=1\n",
        ] {
            assert!(Pax::parse(block).is_err(), "{:?}", String::from_utf8_lossy(block));
        }
        assert!(Pax::parse(b"6 a=b\n").is_ok());
    }
}

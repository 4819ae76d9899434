//! Reading tar strictly. Two readers that understand one archive differently are a way to smuggle files past
//! the first one (CVE-2025-62518), so whatever is malformed, doubled or contradictory is an error here and
//! never skipped; and no count or size of the archive is believed before it is checked against a limit.

mod check;
mod entry;
mod fields;
mod pax;

pub use check::{Checked, check};
pub(crate) use entry::{Entry, Type};
pub(crate) use fields::{digits, number};

use crate::{Error, Result};
use entry::size_of;
use fields::{text, trim_nul};
use pax::Pax;
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::ffi::OsStringExt;

const BLOCK: usize = 512;
/// Files of a whole distribution with everything installed are about a million.
const MOST_ENTRIES: u64 = 10_000_000;
/// One block of PAX records, or one GNU long name. Go's reader has the same limit.
const LARGEST_EXTENSION: u64 = 1 << 20;

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
}

fn padding(size: u64) -> u64 {
    size.next_multiple_of(BLOCK as u64) - size
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::write::Device;
    use crate::write::TarWriter;
    use crate::{Meta, Time, Xattrs};
    use std::path::{Path, PathBuf};

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
}

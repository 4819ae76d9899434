//! Tar entries from a stream. Only what archives of images are made of: files, links, directories; with PAX and
//! GNU extensions of bounded size. Anything malformed is an error: two readers that skip differently see two
//! different archives.

use anyhow::{Context, bail, ensure};
use std::io::{self, Read};
use tar::{EntryType, Header, PaxExtensions};

const BLOCK: u64 = 512;
/// A name, or a page of PAX records.
const LARGEST_EXTENSION: u64 = 1 << 20;
/// `PATH_MAX`, and all names together: they are remembered until the end.
const LONGEST_NAME: usize = 4096;
const MOST_NAMES: usize = 32 << 20;
/// More than any disk; below it sums do not overflow.
const LARGEST_ENTRY: u64 = 1 << 50;
/// Images have at most some hundred blobs.
const MOST_ENTRIES: usize = 1 << 20;

/// What an entry is.
#[derive(Debug, PartialEq, Eq)]
pub enum Kind {
    /// So many bytes follow.
    File(u64),
    /// A symbolic link; its target is relative to its directory.
    Symlink(String),
    /// A hard link; its target is relative to the archive's top.
    Hardlink(String),
    /// Nothing that an image is made of.
    Other,
}

/// A stream of entries.
#[derive(Debug)]
pub struct Entries<R> {
    from: R,
    /// Bytes of the current entry that nobody has read, then its padding.
    left: u64,
    padding: u64,
    count: usize,
    /// Bytes of all names so far.
    names: usize,
}

#[derive(Default)]
struct Extensions {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
}

impl<R: Read> Entries<R> {
    /// The entries of `from`, which is plain tar.
    pub fn new(from: R) -> Self {
        Self { from, left: 0, padding: 0, count: 0, names: 0 }
    }

    /// The next file, link or other thing; None at the end of the archive. What was left of the one before is
    /// skipped.
    pub fn next(&mut self) -> anyhow::Result<Option<(String, Kind)>> {
        self.skip()?;
        let mut extensions = Extensions::default();
        loop {
            let Some(header) = self.header()? else {
                ensure!(extensions.path.is_none() && extensions.size.is_none(), "tar: ends after an extension header");
                return Ok(None);
            };
            self.count += 1;
            ensure!(self.count <= MOST_ENTRIES, "tar: more than {MOST_ENTRIES} entries");
            let size = header.entry_size().context("tar: size")?;
            match header.entry_type() {
                EntryType::GNULongName => extensions.path = Some(until_nul(self.extension(size)?)),
                EntryType::GNULongLink => extensions.link = Some(until_nul(self.extension(size)?)),
                EntryType::XHeader => self.pax(size, &mut extensions)?,
                EntryType::XGlobalHeader => drop(self.extension(size)?),
                kind => return self.entry(&header, kind, size, extensions).map(Some),
            }
        }
    }

    fn entry(
        &mut self,
        header: &Header,
        kind: EntryType,
        size: u64,
        more: Extensions,
    ) -> anyhow::Result<(String, Kind)> {
        let path = more.path.unwrap_or_else(|| header.path_bytes().into_owned());
        let link = more.link.or_else(|| header.link_name_bytes().map(std::borrow::Cow::into_owned)).unwrap_or_default();
        ensure!(
            path.len() <= LONGEST_NAME && link.len() <= LONGEST_NAME,
            "tar: a name of more than {LONGEST_NAME} bytes"
        );
        self.names += path.len() + link.len();
        ensure!(self.names <= MOST_NAMES, "tar: more than {MOST_NAMES} bytes of names");
        let kind = match kind {
            EntryType::Regular | EntryType::Continuous => Kind::File(more.size.unwrap_or(size)),
            EntryType::Symlink => Kind::Symlink(text(link)?),
            EntryType::Link => Kind::Hardlink(text(link)?),
            EntryType::Directory | EntryType::Char | EntryType::Block | EntryType::Fifo => Kind::Other,
            other => bail!("tar: entry of unknown type {:?}", char::from(other.as_byte())),
        };
        let size = if let Kind::File(size) = kind { size } else { more.size.unwrap_or(size) };
        ensure!(size <= LARGEST_ENTRY, "tar: an entry of {size} bytes");
        self.left = size;
        self.padding = size.next_multiple_of(BLOCK) - size;
        Ok((text(path)?, kind))
    }

    /// The bytes of the file that [`next`](Self::next) gave last.
    pub fn content(&mut self) -> Content<'_, R> {
        Content(self)
    }

    fn header(&mut self) -> anyhow::Result<Option<Header>> {
        let mut header = Header::new_old();
        let mut filled = 0;
        while filled < header.as_bytes().len() {
            let n = retry(|| self.from.read(&mut header.as_mut_bytes()[filled..])).context("tar")?;
            match (n, filled) {
                // Writers that leave out the two empty blocks at the end are many, and harmless.
                (0, 0) if self.count > 0 => return Ok(None),
                (0, _) => bail!("tar: ends in the middle of a header"),
                (n, _) => filled += n,
            }
        }
        if header.as_bytes().iter().all(|byte| *byte == 0) {
            self.drain()?;
            return Ok(None);
        }
        let sum: u32 = header
            .as_bytes()
            .iter()
            .enumerate()
            .map(|(i, b)| if (148..156).contains(&i) { 32 } else { u32::from(*b) })
            .sum();
        ensure!(
            header.cksum().is_ok_and(|cksum| cksum == sum),
            "not a tar archive, or a damaged one: the header's checksum is wrong"
        );
        Ok(Some(header))
    }

    /// A pipe's writer must not die of a reader that has seen enough.
    fn drain(&mut self) -> anyhow::Result<()> {
        io::copy(&mut self.from, &mut io::sink()).context("tar")?;
        Ok(())
    }

    fn extension(&mut self, size: u64) -> anyhow::Result<Vec<u8>> {
        ensure!(size <= LARGEST_EXTENSION, "tar: an extension header of {size} bytes");
        self.left = size;
        self.padding = size.next_multiple_of(BLOCK) - size;
        let mut bytes = Vec::new();
        self.content().read_to_end(&mut bytes).context("tar")?;
        self.skip()?;
        Ok(bytes)
    }

    fn pax(&mut self, size: u64, extensions: &mut Extensions) -> anyhow::Result<()> {
        let page = self.extension(size)?;
        for record in PaxExtensions::new(&page) {
            let record = record.context("tar: malformed PAX header")?;
            match record.key_bytes() {
                b"path" => extensions.path = Some(record.value_bytes().to_vec()),
                b"linkpath" => extensions.link = Some(record.value_bytes().to_vec()),
                b"size" => {
                    extensions.size =
                        Some(record.value().ok().and_then(|v| v.parse().ok()).context("tar: malformed PAX size")?);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn skip(&mut self) -> anyhow::Result<()> {
        let rest = self.left + self.padding;
        let skipped = io::copy(&mut (&mut self.from).take(rest), &mut io::sink()).context("tar")?;
        ensure!(skipped == rest, "tar: ends in the middle of an entry");
        (self.left, self.padding) = (0, 0);
        Ok(())
    }
}

/// Reader of one file; a tar that ends within it is an error.
#[derive(Debug)]
pub struct Content<'a, R>(&'a mut Entries<R>);

impl<R: Read> Read for Content<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let want = usize::try_from(self.0.left).unwrap_or(usize::MAX).min(buffer.len());
        if want == 0 {
            return Ok(0);
        }
        match retry(|| self.0.from.read(&mut buffer[..want]))? {
            0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "tar: ends in the middle of an entry")),
            n => {
                self.0.left -= n as u64;
                Ok(n)
            }
        }
    }
}

fn retry(mut read: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match read() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

fn until_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len()));
    bytes
}

/// Names in archives of images are ASCII by their grammars.
fn text(bytes: Vec<u8>) -> anyhow::Result<String> {
    String::from_utf8(bytes).context("tar: a name that is not UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(kind: EntryType, path: &str, size: u64, content: &[u8]) -> Vec<u8> {
        let mut header = Header::new_ustar();
        header.set_path(path).unwrap();
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_cksum();
        let padding = content.len().next_multiple_of(512) - content.len();
        [header.as_bytes(), content, &vec![0; padding]].concat()
    }

    /// CVE-2025-62518 and its kin: where the two sizes differ, the PAX one is the size, and it is that of the next
    /// file and of nothing else.
    #[test]
    fn the_size_of_pax_wins() {
        let smuggled = entry(EntryType::Regular, "smuggled", 0, b"");
        let tar = [
            entry(EntryType::XHeader, "pax", 12, b"12 size=512\n"),
            entry(EntryType::Regular, "outer", 0, &smuggled),
            entry(EntryType::Regular, "next", 3, b"abc"),
            vec![0; 1024],
        ]
        .concat();
        let mut entries = Entries::new(&tar[..]);
        assert_eq!(entries.next().unwrap(), Some(("outer".into(), Kind::File(512))));
        assert_eq!(entries.next().unwrap(), Some(("next".into(), Kind::File(3))), "its bytes are not read as an entry");
        let mut text = String::new();
        entries.content().read_to_string(&mut text).unwrap();
        assert_eq!(text, "abc");
        assert_eq!(entries.next().unwrap(), None);
    }

    #[test]
    fn sizes_that_nobody_has() {
        let large = entry(EntryType::XHeader, "pax", 2 << 20, b"");
        assert!(Entries::new(&large[..]).next().unwrap_err().to_string().contains("extension header of 2097152"));
        let alone = [entry(EntryType::XHeader, "pax", 12, b"12 size=512\n"), vec![0; 1024]].concat();
        assert!(Entries::new(&alone[..]).next().is_err(), "an extension of nothing");
        // 0.1 MB of gzip, and all of it would be kept (CVE-2025-58183 and its kin).
        let long = [entry(EntryType::GNULongName, "x", 5000, &[b'a'; 5000]), entry(EntryType::Symlink, "x", 0, b"")];
        assert!(Entries::new(&long.concat()[..]).next().unwrap_err().to_string().contains("more than 4096 bytes"));
        let name = entry(EntryType::GNULongName, "x", 4000, &[b'a'; 4000]);
        let many = [name, entry(EntryType::Symlink, "x", 0, b"")].concat().repeat(MOST_NAMES / 4000 + 1);
        let mut entries = Entries::new(&many[..]);
        let error = loop {
            match entries.next() {
                Ok(entry) => assert!(entry.is_some(), "it has all been read"),
                Err(error) => break error.to_string(),
            }
        };
        assert!(error.contains("bytes of names"), "{error}");
    }
}

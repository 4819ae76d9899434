//! Blobs: written under no name until their digest is known, verified whenever they are read.

use crate::LARGEST_DOCUMENT;
use crate::error::{At, Error, Result};
use crate::hash::{Hashed, Hasher};
use crate::layout::{Layout, make_dir, open_file};
use crate::temp::Temp;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use wire::{Algorithm, Descriptor, Digest};

/// Blobs are read and written in pieces of at least this size.
const BUFFER: usize = 256 << 10;

impl Layout {
    /// A blob to be, hashed with sha256 on its way to the disk.
    pub fn writer(&self) -> Result<BlobWriter> {
        self.writer_for(Algorithm::Sha256)
    }

    /// The same with the algorithm of the digest that is expected.
    pub fn writer_for(&self, algorithm: Algorithm) -> Result<BlobWriter> {
        let to = Hashed::with(Sink(self.temp()?), algorithm);
        Ok(BlobWriter { layout: self.clone(), to: BufWriter::with_capacity(BUFFER, to) })
    }

    pub(crate) fn writer_on(&self, temp: Temp, hasher: Hasher, count: u64) -> BlobWriter {
        let to = Hashed::resumed(Sink(temp), hasher, count);
        BlobWriter { layout: self.clone(), to: BufWriter::with_capacity(BUFFER, to) }
    }

    /// A blob from memory.
    pub fn put(&self, media_type: &str, bytes: &[u8]) -> Result<Descriptor> {
        let mut writer = self.writer()?;
        writer.write_all(bytes).at(&self.path().join("blobs"), "write")?;
        writer.finish(media_type)
    }

    /// The same under the digest of a descriptor, by whichever algorithm that is.
    pub fn put_as(&self, descriptor: &Descriptor, bytes: &[u8]) -> Result<()> {
        let mut writer = self.writer_for(descriptor.digest.algorithm())?;
        writer.write_all(bytes).at(&self.path().join("blobs"), "write")?;
        writer.commit(descriptor)
    }

    /// Opens a blob. Its size is checked now and its digest at its end.
    pub fn read(&self, descriptor: &Descriptor) -> Result<BlobReader> {
        let path = self.blob_path(&descriptor.digest);
        let file = match open_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Error::Missing(descriptor.digest.clone()));
            }
            other => other.at(&path, "open")?,
        };
        let found = file.metadata().at(&path, "stat")?.len();
        if found != descriptor.size {
            return Err(Error::Size { digest: descriptor.digest.clone(), expected: descriptor.size, found });
        }
        let verify = Verify {
            hasher: Some(Hasher::new(descriptor.digest.algorithm())),
            file,
            expected: descriptor.digest.clone(),
            size: descriptor.size,
            seen: 0,
            wrong: None,
        };
        // Most blobs that are read are a few hundred bytes of JSON; to clear a whole buffer costs more than to read them.
        let buffer = usize::try_from(descriptor.size).unwrap_or(BUFFER).clamp(1, BUFFER);
        Ok(BlobReader { from: BufReader::with_capacity(buffer, verify) })
    }

    /// A small JSON blob as it is stored, verified.
    pub fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        if descriptor.size > LARGEST_DOCUMENT {
            let what = descriptor.digest.to_string();
            return Err(Error::TooLarge { what, size: descriptor.size, limit: LARGEST_DOCUMENT });
        }
        let mut reader = self.read(descriptor)?;
        let mut bytes = Vec::with_capacity(usize::try_from(descriptor.size).unwrap_or(0));
        match reader.read_to_end(&mut bytes) {
            Ok(_) => Ok(bytes),
            Err(error) => match error.downcast::<Error>() {
                Ok(error) => Err(error),
                Err(error) => Err(error).at(&self.blob_path(&descriptor.digest), "read"),
            },
        }
    }
}

/// A blob that is being written. It becomes visible only by [`commit`](Self::commit) or
/// [`finish`](Self::finish); dropped before, it leaves nothing.
#[derive(Debug)]
pub struct BlobWriter {
    layout: Layout,
    to: BufWriter<Hashed<Sink>>,
}

#[derive(Debug)]
struct Sink(Temp);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.file().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.to.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

impl BlobWriter {
    /// How many bytes have been written, those in the buffer included.
    pub fn count(&self) -> u64 {
        self.to.get_ref().count() + self.to.buffer().len() as u64
    }

    /// Names the blob when its bytes are what was expected, else leaves nothing. A blob that is there already
    /// is replaced by these verified bytes, which mends it if it was damaged.
    pub fn commit(self, expected: &Descriptor) -> Result<()> {
        let (layout, temp, digest, size) = self.close()?;
        if size != expected.size {
            temp.discard();
            return Err(Error::Size { digest: expected.digest.clone(), expected: expected.size, found: size });
        }
        if digest != expected.digest {
            temp.discard();
            return Err(Error::Digest { expected: expected.digest.clone(), found: digest });
        }
        persist(&layout, temp, &digest)
    }

    /// Names the blob by what its bytes hash to.
    pub fn finish(self, media_type: &str) -> Result<Descriptor> {
        let (layout, temp, digest, size) = self.close()?;
        persist(&layout, temp, &digest)?;
        Ok(Descriptor::new(media_type, digest, size))
    }

    fn close(self) -> Result<(Layout, Temp, Digest, u64)> {
        let Self { layout, to } = self;
        let hashed =
            to.into_inner().map_err(io::IntoInnerError::into_error).at(&layout.path().join("blobs"), "write")?;
        let (sink, digest, size) = hashed.finish();
        Ok((layout, sink.0, digest, size))
    }
}

fn persist(layout: &Layout, temp: Temp, digest: &Digest) -> Result<()> {
    let path = layout.blob_path(digest);
    if let Some(dir) = path.parent() {
        make_dir(dir)?;
    }
    temp.persist(&path)
}

/// A blob that is being read, buffered. A read fails at the end when size or digest are not the descriptor's;
/// who stops before the end (a decompressor does) calls [`finish`](Self::finish).
#[derive(Debug)]
pub struct BlobReader {
    from: BufReader<Verify>,
}

#[derive(Debug)]
struct Verify {
    file: File,
    /// Gone once the digest has been compared.
    hasher: Option<Hasher>,
    expected: Digest,
    size: u64,
    seen: u64,
    /// What the bytes hash to instead. Whoever reads on after an error gets it again.
    wrong: Option<Digest>,
}

impl BlobReader {
    /// The descriptor's size, which is the file's too.
    pub fn size(&self) -> u64 {
        self.from.get_ref().size
    }

    /// Reads to the end, for the sake of the digest.
    pub fn finish(mut self) -> io::Result<()> {
        self.drain()
    }

    /// The same without giving up the reader.
    pub fn drain(&mut self) -> io::Result<()> {
        let mut buffer = vec![0; BUFFER];
        while self.from.read(&mut buffer)? > 0 {}
        Ok(())
    }
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.from.read(buffer)
    }
}

impl io::BufRead for BlobReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.from.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.from.consume(amount);
    }
}

impl Read for Verify {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.verdict()?;
        let n = self.file.read(buffer)?;
        self.seen += n as u64;
        if self.seen > self.size || (n == 0 && !buffer.is_empty() && self.seen < self.size) {
            let (digest, expected, found) = (self.expected.clone(), self.size, self.seen);
            return Err(io::Error::new(io::ErrorKind::InvalidData, Error::Size { digest, expected, found }));
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&buffer[..n]);
        }
        // Compared as soon as the last byte is there: a reader that knows the size never asks again.
        if self.seen == self.size
            && let Some(hasher) = self.hasher.take()
        {
            self.wrong = Some(hasher.finish()).filter(|found| *found != self.expected);
            self.verdict()?;
        }
        Ok(n)
    }
}

impl Verify {
    fn verdict(&self) -> io::Result<()> {
        match &self.wrong {
            None => Ok(()),
            Some(found) => {
                let (expected, found) = (self.expected.clone(), found.clone());
                Err(io::Error::new(io::ErrorKind::InvalidData, Error::Digest { expected, found }))
            }
        }
    }
}

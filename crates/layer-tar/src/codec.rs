//! Compression of layers. Reading finds out by itself what it reads; writing gives the same bytes for the
//! same input, whatever the number of processors.

use bzip2::read::MultiBzDecoder;
use flate2::bufread::MultiGzDecoder;
use liblzma::bufread::XzDecoder;
use liblzma::stream::{CONCATENATED, Stream};
use std::collections::VecDeque;
use std::io::{self, BufReader, Cursor, Read, Write};
use std::num::NonZero;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, available_parallelism};

/// How the bytes of a layer are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Plain tar.
    None,
    /// gzip, RFC 1952; one or many members.
    Gzip,
    /// zstd, RFC 8878.
    Zstd,
}

impl Compression {
    /// What the first bytes say; anything unknown is taken for plain tar, whose reader will say what it is not.
    pub fn detect(start: &[u8]) -> Self {
        match start {
            [0x1f, 0x8b, ..] => Self::Gzip,
            // The second: a stream may begin with a frame to skip.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            _ => Self::None,
        }
    }
}

const BUFFER: usize = 256 * 1024;
/// What a .xz file may make us remember: four times what xz -9 needs.
const XZ_MEMORY: u64 = 256 << 20;

/// Takes off what no layer may be compressed with, but people's archives are: xz and bzip2, as their first bytes
/// say. Anything else comes through as it is, for [`decoder`].
pub fn foreign<'a>(from: impl Read + Send + 'a) -> io::Result<Box<dyn Read + Send + 'a>> {
    foreign_within(from, XZ_MEMORY)
}

/// [`foreign`], with as many bytes of memory as an .xz file may ask for.
pub fn foreign_within<'a>(mut from: impl Read + Send + 'a, memory: u64) -> io::Result<Box<dyn Read + Send + 'a>> {
    let mut start = Vec::with_capacity(6);
    from.by_ref().take(6).read_to_end(&mut start)?;
    let (xz, bzip2) = (start.starts_with(b"\xfd7zXZ\0"), start.starts_with(b"BZh"));
    let whole = Cursor::new(start).chain(from);
    if xz {
        let stream = Stream::new_stream_decoder(memory, CONCATENATED)?;
        return Ok(Box::new(XzDecoder::new_stream(BufReader::with_capacity(BUFFER, whole), stream)));
    }
    if bzip2 {
        return Ok(Box::new(MultiBzDecoder::new(whole)));
    }
    Ok(Box::new(whole))
}

/// Wraps a stream so that it is read uncompressed, after a look at its first bytes.
pub fn decoder<'a>(from: impl Read + Send + 'a) -> io::Result<Box<dyn Read + Send + 'a>> {
    let mut from = from;
    let mut start = Vec::with_capacity(4);
    from.by_ref().take(4).read_to_end(&mut start)?;
    let compression = Compression::detect(&start);
    let whole = BufReader::with_capacity(BUFFER, Cursor::new(start).chain(from));
    Ok(match compression {
        Compression::None => Box::new(whole),
        // Many members: the plain GzDecoder would stop after the first one and lose the rest in silence.
        Compression::Gzip => Box::new(MultiGzDecoder::new(whole)),
        Compression::Zstd => {
            let mut zstd = zstd::stream::read::Decoder::with_buffer(whole)?;
            // What a frame may make us remember: 128 MiB, the standard's recommended limit is 8.
            zstd.window_log_max(27)?;
            Box::new(zstd)
        }
    })
}

/// Wraps a sink so that what is written arrives compressed. [`Encoder::finish`] ends the stream.
pub fn encoder<W: Write>(compression: Compression, to: W) -> io::Result<Encoder<W>> {
    Ok(Encoder(match compression {
        Compression::None => Inner::None(to),
        Compression::Gzip => Inner::Gzip(Gzip::new(to, threads())),
        // Without worker threads: their number would change the bytes.
        Compression::Zstd => Inner::Zstd(zstd::stream::write::Encoder::new(to, 3)?),
    }))
}

/// A compressing sink. Dropped without [`finish`](Encoder::finish), its stream is cut.
pub struct Encoder<W: Write>(Inner<W>);

enum Inner<W: Write> {
    None(W),
    Gzip(Gzip<W>),
    Zstd(zstd::stream::write::Encoder<'static, W>),
}

impl<W: Write> std::fmt::Debug for Encoder<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Encoder")
    }
}

impl<W: Write> Encoder<W> {
    /// Writes what is still held back, ends the stream, and gives the sink back.
    pub fn finish(self) -> io::Result<W> {
        match self.0 {
            Inner::None(to) => Ok(to),
            Inner::Gzip(gzip) => gzip.finish(),
            Inner::Zstd(zstd) => zstd.finish(),
        }
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Inner::None(to) => to.write(bytes),
            Inner::Gzip(gzip) => gzip.take(bytes),
            Inner::Zstd(zstd) => zstd.write(bytes),
        }
    }

    /// Flushes the sink only: a flush in the middle must not change the compressed bytes.
    fn flush(&mut self) -> io::Result<()> {
        match &mut self.0 {
            Inner::None(to) => to.flush(),
            Inner::Gzip(gzip) => gzip.to.flush(),
            Inner::Zstd(zstd) => zstd.get_mut().flush(),
        }
    }
}

/// Each MiB of input becomes one gzip member (RFC 1952 allows many), so that members can be made side by side
/// and the result does not depend on how many threads made them.
const MEMBER: usize = 1 << 20;
const LEVEL: i32 = 6;
/// A member in the making takes about 3 MiB, and a tool is not to take more than 16.
const MOST_THREADS: usize = 3;

fn threads() -> usize {
    available_parallelism().map_or(1, NonZero::get).min(MOST_THREADS)
}

struct Job {
    plain: Vec<u8>,
    done: SyncSender<io::Result<Vec<u8>>>,
}

struct Gzip<W> {
    to: W,
    block: Vec<u8>,
    blocks: usize,
    jobs: Option<SyncSender<Job>>,
    waiting: VecDeque<Receiver<io::Result<Vec<u8>>>>,
    threads: Vec<JoinHandle<()>>,
}

impl<W: Write> Gzip<W> {
    fn new(to: W, threads: usize) -> Self {
        let (jobs, queue) = sync_channel::<Job>(threads);
        let queue = Arc::new(Mutex::new(queue));
        let threads = (0..threads)
            .map(|_| {
                let queue = Arc::clone(&queue);
                std::thread::spawn(move || compress_members(&queue))
            })
            .collect();
        Self { to, block: Vec::new(), blocks: 0, jobs: Some(jobs), waiting: VecDeque::new(), threads }
    }

    fn take(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(MEMBER - self.block.len());
        self.block.extend_from_slice(&bytes[..taken]);
        if self.block.len() == MEMBER {
            self.send_block()?;
        }
        Ok(taken)
    }

    fn send_block(&mut self) -> io::Result<()> {
        let plain = std::mem::replace(&mut self.block, Vec::with_capacity(MEMBER));
        let (done, result) = sync_channel(1);
        let gone = || io::Error::other("a compression thread ended early");
        self.jobs.as_ref().ok_or_else(gone)?.send(Job { plain, done }).map_err(|_| gone())?;
        self.waiting.push_back(result);
        self.blocks += 1;
        while self.waiting.len() > self.threads.len() {
            self.write_next()?;
        }
        Ok(())
    }

    fn write_next(&mut self) -> io::Result<()> {
        match self.waiting.pop_front() {
            Some(result) => {
                let member = result.recv().map_err(|_| io::Error::other("a compression thread ended early"))??;
                self.to.write_all(&member)
            }
            None => Ok(()),
        }
    }

    fn finish(mut self) -> io::Result<W> {
        // No input at all is still one member: nothing is not a gzip stream.
        if !self.block.is_empty() || self.blocks == 0 {
            self.send_block()?;
        }
        while !self.waiting.is_empty() {
            self.write_next()?;
        }
        self.jobs = None;
        for thread in self.threads {
            let _ = thread.join();
        }
        Ok(self.to)
    }
}

fn compress_members(queue: &Mutex<Receiver<Job>>) {
    let level = libdeflater::CompressionLvl::new(LEVEL).unwrap_or_default();
    let mut compressor = libdeflater::Compressor::new(level);
    loop {
        let job = match queue.lock() {
            Ok(queue) => queue.recv(),
            Err(_) => return,
        };
        let Ok(job) = job else { return };
        let mut member = vec![0; compressor.gzip_compress_bound(job.plain.len())];
        let result = compressor
            .gzip_compress(&job.plain, &mut member)
            .map(|used| {
                member.truncate(used);
                member
            })
            .map_err(|error| io::Error::other(format!("deflate: {error}")));
        // The other side is gone when its own write failed.
        let _ = job.done.send(result);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(length: usize) -> Vec<u8> {
        let mut state = 1u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0] & 0x1f
        };
        (0..length).map(|_| next()).collect()
    }

    fn packed(compression: Compression, plain: &[u8], step: usize) -> Vec<u8> {
        let mut encoder = encoder(compression, Vec::new()).unwrap();
        for part in plain.chunks(step) {
            encoder.write_all(part).unwrap();
            encoder.flush().unwrap();
        }
        encoder.finish().unwrap()
    }

    #[test]
    fn every_codec_gives_back_what_it_took() {
        for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
            for length in [0, 1, 3, 5, MEMBER - 1, MEMBER, MEMBER + 1, 5 * MEMBER + 17] {
                let plain = sample(length);
                let bytes = packed(compression, &plain, 100_000);
                if length > 3 {
                    assert_eq!(Compression::detect(&bytes), compression);
                }
                let mut back = Vec::new();
                decoder(&bytes[..]).unwrap().read_to_end(&mut back).unwrap();
                assert!(back == plain, "{compression:?} of {length}");
            }
        }
    }

    #[test]
    fn bytes_depend_neither_on_threads_nor_on_how_they_came() {
        let plain = sample(4 * MEMBER + 99);
        let one = |threads| {
            let mut gzip = Gzip::new(Vec::new(), threads);
            let mut rest = &plain[..];
            while !rest.is_empty() {
                let taken = gzip.take(rest).unwrap();
                rest = &rest[taken..];
            }
            gzip.finish().unwrap()
        };
        let first = one(1);
        assert!([2, 3, 7, 8].into_iter().all(|threads| one(threads) == first));
        assert!(first == packed(Compression::Gzip, &plain, 777));
        assert!(packed(Compression::Zstd, &plain, 777) == packed(Compression::Zstd, &plain, 1 << 20));
    }

    #[test]
    fn cut_and_broken_streams_are_errors() {
        let plain = sample(3 * MEMBER);
        for compression in [Compression::Gzip, Compression::Zstd] {
            let bytes = packed(compression, &plain, 1 << 20);
            let read = |bytes: &[u8]| decoder(bytes).and_then(|mut from| io::copy(&mut from, &mut io::sink()));
            assert!(read(&bytes).is_ok());
            for cut in [5, 100, bytes.len() / 2, bytes.len() - 1] {
                assert!(read(&bytes[..cut]).is_err(), "{compression:?} cut at {cut}");
            }
            let mut broken = bytes.clone();
            let middle = broken.len() / 2;
            broken[middle] ^= 0x55;
            assert!(read(&broken).is_err() || compression == Compression::Zstd, "{compression:?}: no checksum seen");
        }
    }
}

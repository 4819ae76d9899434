//! One layer on its way into the store, in one pass: compressed or not, hashed on both sides, and looked at as a
//! tar, so that nothing is named that cannot be unpacked.

use anyhow::{Context, bail};
use clap::ValueEnum;
use layer_tar::codec::{Compression, decoder, encoder, foreign};
use oci_layout::{BlobWriter, Hashed, Layout};
use std::io::{self, Read, Write};
use wire::{Descriptor, Digest, media_type};

/// The methods of `--compress`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Compress {
    /// Plain tar
    None,
    /// gzip
    Gzip,
    /// zstd
    Zstd,
}

/// A layer in the store.
#[derive(Debug)]
pub struct Added {
    pub descriptor: Descriptor,
    pub diff_id: Digest,
}

/// Streams a layer into the store. A compressed one keeps its bytes and so its digest, unless another method was
/// asked for; xz and bzip2 are not for layers, and come off.
pub fn add(layout: &Layout, from: impl Read + Send, wanted: Option<Compress>) -> anyhow::Result<Added> {
    let mut from = foreign(from).context("read")?;
    let mut start = Vec::with_capacity(4);
    from.by_ref().take(4).read_to_end(&mut start).context("read")?;
    if start.is_empty() {
        bail!("empty: not a tar (did the command before this one fail?)");
    }
    let found = Compression::detect(&start);
    let from = io::Cursor::new(start).chain(from);
    let wanted = match wanted {
        Some(Compress::None) => Compression::None,
        Some(Compress::Gzip) => Compression::Gzip,
        Some(Compress::Zstd) => Compression::Zstd,
        None if found == Compression::None => Compression::Gzip,
        None => found,
    };
    let writer = layout.writer()?;
    if found == wanted && found != Compression::None {
        keep_bytes(from, writer, found)
    } else {
        let (encoder, diff_id) = check_and_copy(decoder(from)?, encoder(wanted, writer)?)?;
        let descriptor = encoder.finish().context("compress")?.finish(type_of(wanted))?;
        Ok(Added { descriptor, diff_id })
    }
}

/// What is read goes into the blob as it is, and through a decompressor to the diff ID.
fn keep_bytes(from: impl Read + Send, writer: BlobWriter, found: Compression) -> anyhow::Result<Added> {
    let mut tee = Tee { from, to: writer };
    let (_, diff_id) = check_and_copy(decoder(&mut tee)?, io::sink())?;
    // A decompressor may stop before the end of its input.
    io::copy(&mut tee, &mut io::sink()).context("read")?;
    Ok(Added { descriptor: tee.to.finish(type_of(found))?, diff_id })
}

/// The tar itself: hashed, read as whoever unpacks it will read it, handed on.
fn check_and_copy<W: Write>(tar: impl Read, to: W) -> anyhow::Result<(W, Digest)> {
    let mut tee = Tee { from: tar, to: Hashed::new(to) };
    match layer_tar::check(&mut tee) {
        Err(layer_tar::Error::Stream(error)) => return Err(error).context("read"),
        other => other.context("malformed tar")?,
    };
    let (to, diff_id, _) = tee.to.finish();
    Ok((to, diff_id))
}

/// A layer that layer-diff put into a store already; from another layout it is copied.
pub fn take(layout: &Layout, record: &wire::Layer) -> anyhow::Result<Added> {
    let descriptor = record.descriptor.clone();
    if layout.has(&descriptor.digest) != Some(descriptor.size) {
        let source = Layout::open(record.layout.as_path())?;
        let mut writer = layout.writer_for(descriptor.digest.algorithm())?;
        io::copy(&mut source.read(&descriptor)?, &mut writer)
            .with_context(|| format!("{}: copy", descriptor.digest))?;
        writer.commit(&descriptor)?;
    }
    Ok(Added { descriptor, diff_id: record.diff_id.clone() })
}

fn type_of(compression: Compression) -> &'static str {
    match compression {
        Compression::None => media_type::LAYER,
        Compression::Gzip => media_type::LAYER_GZIP,
        Compression::Zstd => media_type::LAYER_ZSTD,
    }
}

/// A reader that writes down what is read.
struct Tee<R, W> {
    from: R,
    to: W,
}

impl<R: Read, W: Write> Read for Tee<R, W> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.from.read(buffer)?;
        self.to.write_all(&buffer[..n])?;
        Ok(n)
    }
}

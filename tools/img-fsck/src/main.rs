//! img-fsck: is every image of a layout whole? A sink.
//!
//! The lesson: a layout is a tree of digests, so it can be checked to the last bit: from `index.json` down, every
//! descriptor must find its blob, of its size, of its digest, of its media type; and every layer must uncompress
//! to the diff ID that the configuration has for it. What nothing points to is garbage, not damage. By hand:
//!
//!     cd blobs/sha256 && for f in *; do echo "$f  $f"; done | sha256sum -c
//!     zcat <layer> | sha256sum                                      # the diff ID
//!
//! Read: OCI image-spec descriptor.md, image-layout.md, config.md.

#![forbid(unsafe_code)]

use anyhow::Context;
use clap::Parser;
use layer_tar::codec::{Compression, decoder};
use oci_layout::{Finding, Hashed, Layout, Summary};
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use toolkit::{Failure, Out};
use wire::{Algorithm, Descriptor, Digest, exit, media_type};

/// Check every descriptor, blob and name of a layout
#[derive(Debug, Parser)]
#[command(name = "img-fsck", version, about)]
struct Args {
    /// Fail on warnings, too: orphaned blobs, temporary files that were left
    #[arg(long)]
    strict: bool,
    /// Print nothing on stderr when all is well
    #[arg(short, long)]
    quiet: bool,
    /// The image layout [default: images below the root]
    layout: Option<PathBuf>,
}

fn main() -> ExitCode {
    toolkit::main(run)
}

#[expect(clippy::needless_pass_by_value, reason = "toolkit::main gives them away")]
fn run(args: Args, out: &mut Out) -> anyhow::Result<()> {
    let path = toolkit::layout_dir(args.layout.as_deref());
    if args.layout.is_none() && !path.exists() {
        return Ok(());
    }
    let layout = Layout::open(&path)?;
    let mut printed = Ok(());
    let mut report = |finding: Finding| {
        if printed.is_ok() {
            printed = print(&finding, out);
        }
    };
    let summary = layout.fsck(&mut diff_id, &mut report).context(path.display().to_string())?;
    printed?;
    out.finish()?;
    verdict(&args, &path.display().to_string(), &summary)
}

/// The join: the layout's bytes through the layer's codec.
fn diff_id(layer: &Descriptor, algorithm: Algorithm, blob: &mut (dyn Read + Send)) -> io::Result<Digest> {
    let mut start = Vec::with_capacity(4);
    blob.take(4).read_to_end(&mut start)?;
    let (found, told) = (Compression::detect(&start), told(&layer.media_type));
    if found != told {
        let message = format!("the bytes are {}, its media type says {}", word(found), word(told));
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    let mut tar = Hashed::with(decoder(io::Cursor::new(start).chain(blob))?, algorithm);
    let mut buffer = vec![0; 256 << 10];
    while tar.read(&mut buffer)? > 0 {}
    Ok(tar.finish().1)
}

fn told(media_type: &str) -> Compression {
    match media_type {
        media_type::DOCKER_LAYER_GZIP => Compression::Gzip,
        gzip if gzip.ends_with("gzip") => Compression::Gzip,
        zstd if zstd.ends_with("zstd") => Compression::Zstd,
        _ => Compression::None,
    }
}

fn word(compression: Compression) -> &'static str {
    match compression {
        Compression::None => "not compressed",
        Compression::Gzip => "gzip",
        Compression::Zstd => "zstd",
    }
}

fn print(finding: &Finding, out: &mut Out) -> anyhow::Result<()> {
    out.text(&format!("{}\n", serde_json::to_string(finding)?))
}

fn verdict(args: &Args, path: &str, summary: &Summary) -> anyhow::Result<()> {
    let Summary { images, blobs, bytes, errors, warnings } = summary;
    let text = format!("{path}: {images} images, {blobs} blobs, {bytes} bytes: {errors} errors, {warnings} warnings");
    if *errors > 0 || (args.strict && *warnings > 0) {
        return Err(Failure::with_code(exit::FAILED, text));
    }
    if !args.quiet {
        let _ = writeln!(io::stderr(), "{text}");
    }
    Ok(())
}

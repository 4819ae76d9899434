//! An archive is a tar of a few documents and of every blob once. One `index.json` lists the images for readers
//! of OCI layouts, one `manifest.json` lists the same blobs for docker:
//!
//! ```sh
//! tar -C "$DOCK_ROOT/images" -c oci-layout index.json blobs | ssh host 'tar -x …'     # an OCI archive, of all images
//! jq '[{Config: …, RepoTags: ["alpine:3.20"], Layers: ["blobs/sha256/…", …]}]' >manifest.json    # docker's page
//! ```
//!
//! Nothing is packed again: digests are the same on the other side. Read dock-wire(5), tar(5), and the OCI image
//! specification's image-layout.md.

#![forbid(unsafe_code)]

mod ahead;
mod archive;
mod choose;
mod file;

use anyhow::Context;
use archive::{Archive, Labelled};
use choose::Wanted;
use clap::{Parser, ValueEnum};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use toolkit::{Out, usage};
use wire::{Have, Platform, Reference};

/// Save images of a layout as one docker or OCI archive
#[derive(Debug, Parser)]
#[command(name = "img-save", version, about)]
struct Args {
    /// Names, IDs or unique prefixes of IDs; none: image records on stdin
    #[arg(value_name = "IMAGE")]
    images: Vec<String>,
    /// The image layout, instead of images/ below the root
    #[arg(long, value_name = "DIR")]
    layout: Option<PathBuf>,
    /// docker: for docker load, and an OCI archive too; oci: without docker's document
    #[arg(long, value_enum, default_value_t = Format::Docker)]
    format: Format,
    /// Of an image for several platforms the one to save [default: this machine's]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<Platform>,
    /// Save an index as it stands, with the images of all its platforms; each must be whole
    #[arg(long, conflicts_with = "platform")]
    all_platforms: bool,
    /// Name the image so in the archive, instead of as it was asked for; may be repeated
    #[arg(short, long, value_name = "NAME")]
    tag: Vec<Reference>,
    /// Leave out the layers that the other side has, by the list of img-ls --have there; - is stdin
    #[arg(long, value_name = "FILE")]
    have: Option<PathBuf>,
    /// Write to a file, which appears when it is whole; - is stdout
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Docker,
    Oci,
}

fn main() -> ExitCode {
    toolkit::main(run)
}

fn run(args: Args, out: &mut Out) -> anyhow::Result<()> {
    let file = args.output.filter(|path| path != Path::new("-"));
    if file.is_none() {
        toolkit::refuse_terminal("an archive")?;
    }
    let have = args.have.as_deref().map(|path| other_side(path, args.images.is_empty())).transpose()?;
    let wanted = if args.all_platforms { Wanted::All } else { Wanted::One(args.platform.as_ref()) };
    let mut images = match &args.images[..] {
        [] => choose::records(wanted)?,
        operands => choose::operands(&toolkit::layout_dir(args.layout.as_deref()), operands, wanted)?,
    };
    if !args.tag.is_empty() {
        images = choose::renamed(images, &args.tag)?;
    }
    // A collector that runs now must not take what is still to be written.
    let _holds = images.iter().map(|image| image.layout.hold_to_read()).collect::<Result<Vec<_>, _>>()?;
    let archive = Archive { images: &images, docker: args.format == Format::Docker, have: have.unwrap_or_default() };
    if let Some(path) = file {
        return file::write(&path, &archive);
    }
    toolkit::widen_pipe(std::io::stdout());
    archive.write(&mut Labelled("<stdout>".into(), out.bytes()))
}

/// What `img-ls --have` said there.
fn other_side(path: &Path, stdin_has_records: bool) -> anyhow::Result<Have> {
    if path == Path::new("-") {
        if stdin_has_records {
            return Err(usage("stdin can be read once, not for image records and by --have -: name the images"));
        }
        return Have::read(std::io::stdin()).context("--have: <stdin>");
    }
    let shown = || format!("--have: {}", path.display());
    Have::read(File::open(path).with_context(shown)?).with_context(shown)
}

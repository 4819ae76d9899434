//! img-tag: one more name for an image of a layout. A transform.
//!
//! The lesson: a name is an entry of `index.json` with an annotation, and two names are two entries with one
//! digest. The file is replaced whole, under a lock, by rename(2), so that no reader ever sees half of it.
//! By hand:
//!
//!     jq '.manifests += [.manifests[0] | .annotations["org.opencontainers.image.ref.name"] = "NAME"]' \
//!         index.json >new && mv new index.json
//!
//! Read: OCI image-spec annotations.md; docker-tag(1); rename(2), flock(2).

#![forbid(unsafe_code)]

use anyhow::{Context, bail};
use clap::Parser;
use oci_layout::Layout;
use std::path::PathBuf;
use std::process::ExitCode;
use toolkit::{Out, usage};
use wire::{Descriptor, Image, Record, Reference, annotation};

/// Give an image of a layout one more name
#[derive(Debug, Parser)]
#[command(name = "img-tag", version, about)]
struct Args {
    /// The image layout [default: images below the root]
    #[arg(long, value_name = "DIR")]
    layout: Option<PathBuf>,
    /// The image: a name, an ID or the start of one, or - for the image record on stdin
    src: String,
    /// The name to give
    name: Reference,
}

fn main() -> ExitCode {
    toolkit::main(run)
}

#[expect(clippy::needless_pass_by_value, reason = "toolkit::main gives them away")]
fn run(args: Args, out: &mut Out) -> anyhow::Result<()> {
    if args.name.digest().is_some() {
        return Err(usage("refusing to create a tag with a digest reference"));
    }
    let (layout, image) = source(&args)?;
    let name = args.name.to_string();
    let descriptor = for_name(image, &args.name);
    let _hold = layout.hold()?;
    if layout.has(&descriptor.digest).is_none() {
        bail!("{}: no such blob in the layout", descriptor.digest);
    }
    layout.name(&name, descriptor.clone()).with_context(|| name.clone())?;
    let (layout, rest) = (layout.path().into(), serde_json::Map::new());
    out.record(&Record::Image(Image { layout, reference: Some(name), descriptor: without_name(descriptor), rest }))
}

fn source(args: &Args) -> anyhow::Result<(Layout, Descriptor)> {
    if args.src != "-" {
        let layout = Layout::open(&toolkit::layout_dir(args.layout.as_deref()))?;
        let image = layout.find(&args.src)?;
        return Ok((layout, image));
    }
    match toolkit::one_record("image")? {
        Record::Image(image) => {
            let place = args.layout.clone().unwrap_or_else(|| image.layout.as_path().to_owned());
            Ok((Layout::open(&place)?, image.descriptor))
        }
        other => bail!("<stdin>: a {} record; this tool takes an image", other.kind()),
    }
}

/// The digest that a registry gave belongs to the repository that it came from.
fn for_name(mut image: Descriptor, name: &Reference) -> Descriptor {
    let old = image.annotation(annotation::REF_NAME).and_then(|old| old.parse::<Reference>().ok());
    if old.is_none_or(|old| old.repository() != name.repository()) {
        image.annotations.shift_remove(annotation::SOURCE_DIGEST);
    }
    image
}

/// The record has the name in a member of its own.
fn without_name(mut descriptor: Descriptor) -> Descriptor {
    descriptor.annotations.shift_remove(annotation::REF_NAME);
    descriptor
}

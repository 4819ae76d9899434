//! img-inspect: an image as docker describes it, or the history of its layers. A sink.
//!
//! The lesson: everything that is known of an image stands in two JSON documents of the layout. The manifest
//! points to the configuration and the layers; the configuration says how to run it, and its history has one
//! entry a layer (and entries with `empty_layer` for steps that changed only the configuration), so the two lists
//! are walked side by side. By hand:
//!
//!     config=$(jq -r .config.digest blobs/sha256/<manifest>)
//!     jq '.history, .rootfs.diff_ids' "blobs/$(echo "$config" | tr : /)"
//!
//! Read: OCI image-spec manifest.md and config.md; docker-inspect(1), docker-history(1).

#![forbid(unsafe_code)]

mod docker;
mod history;

use anyhow::bail;
use clap::{ArgAction, Parser, ValueEnum};
use oci_layout::{Layout, OpenImage};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use template::{Listing, Template};
use toolkit::{Failures, Out, usage};
use wire::{Descriptor, Platform, Record, Reference, annotation};

/// Show an image, or the history of its layers
#[derive(Debug, Parser)]
#[command(name = "img-inspect", version, about)]
#[expect(clippy::struct_excessive_bools, reason = "docker's flags")]
struct Args {
    /// The image layout [default: images below the root]
    #[arg(long, value_name = "DIR")]
    layout: Option<PathBuf>,
    /// The history instead: one entry a step, the newest first
    #[arg(long)]
    history: bool,
    /// A document as it is stored, byte for byte
    #[arg(long, value_name = "DOCUMENT", conflicts_with = "history")]
    raw: Option<Document>,
    /// json, a Go template, docker (indented, as elements of docker's array); of the history also table
    #[arg(short, long, value_name = "FORMAT", conflicts_with = "raw")]
    format: Option<String>,
    /// Do not shorten IDs and commands of the history
    #[arg(long, requires = "history")]
    no_trunc: bool,
    /// Print only the IDs of the history
    #[arg(short, long, requires = "history")]
    quiet: bool,
    /// Sizes and times of the history in words
    #[arg(short = 'H', long, value_name = "BOOL", requires = "history", action = ArgAction::Set)]
    #[arg(default_value_t = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    human: bool,
    /// Of a multi-platform image, the platform to show [default: this machine's]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<Platform>,
    /// The images, by name, by ID or the start of one; without any, the image records on stdin
    image: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Document {
    /// The image manifest
    Manifest,
    /// The image configuration
    Config,
}

/// How it is printed.
enum Shape {
    /// One object a line.
    Lines,
    /// As elements of the array that docker prints.
    Elements,
    /// The history, by a template.
    Listing(Listing),
    /// Each image, by a template.
    Template(Template),
}

fn main() -> ExitCode {
    toolkit::main(run)
}

#[expect(clippy::needless_pass_by_value, reason = "toolkit::main gives them away")]
fn run(args: Args, out: &mut Out) -> anyhow::Result<()> {
    let shape = shape(&args).map_err(|error| usage(error.to_string()))?;
    let mut failed = Failures::of("img-inspect");
    for (layout, image) in images(&args)? {
        let shown = image.and_then(|entry| show(&args, &shape, &layout, &entry, out));
        // What there is is shown, whatever else is missing.
        if let Err(error) = shown {
            failed.add(error);
        }
    }
    failed.finish()
}

fn shape(args: &Args) -> Result<Shape, template::Error> {
    Ok(match (args.history, args.format.as_deref()) {
        (true, format) if args.quiet && matches!(format, None | Some("table")) => {
            Shape::Listing(Listing::parse("{{.ID}}")?)
        }
        (true, Some("table")) => Shape::Listing(Listing::parse(history::table(args.human))?),
        (true, Some(format)) => Shape::Listing(Listing::parse(format)?),
        (false, Some("json")) | (_, None) => Shape::Lines,
        (false, Some("docker")) => Shape::Elements,
        (false, Some(format)) => Shape::Template(Template::parse(format)?),
    })
}

type Operand = (Layout, anyhow::Result<Descriptor>);

fn images(args: &Args) -> anyhow::Result<Vec<Operand>> {
    if !args.image.is_empty() {
        let layout = Layout::open(&toolkit::layout_dir(args.layout.as_deref()))?;
        return Ok(args.image.iter().map(|name| (layout.clone(), layout.find(name).map_err(Into::into))).collect());
    }
    let operand = |record| match record {
        Record::Image(image) => {
            let place = args.layout.clone().unwrap_or_else(|| image.layout.as_path().to_owned());
            Ok((Layout::open(&place)?, Ok(image.descriptor)))
        }
        other => bail!("<stdin>: a {} record; this tool takes images", other.kind()),
    };
    toolkit::read_records("image")?.into_iter().map(operand).collect()
}

fn show(args: &Args, shape: &Shape, layout: &Layout, entry: &Descriptor, out: &mut Out) -> anyhow::Result<()> {
    let image = layout.open_image(entry, args.platform.as_ref())?;
    match args.raw {
        Some(Document::Manifest) => return Ok(out.bytes().write_all(&image.manifest_bytes)?),
        Some(Document::Config) => return Ok(out.bytes().write_all(&image.config_bytes)?),
        None => {}
    }
    match shape {
        Shape::Listing(listing) => out.text(&history::text(listing, &history::steps(&image), args)?),
        Shape::Lines if args.history => {
            history::steps(&image).iter().try_for_each(|step| out.text(&format!("{}\n", step.json())))
        }
        Shape::Lines => out.text(&format!("{}\n", docker::object(layout, &image)?)),
        Shape::Elements => out.text(&format!("{}\n", template::element(&docker::object(layout, &image)?))),
        Shape::Template(template) => out.text(&format!("{}\n", template.render(&docker::object(layout, &image)?)?)),
    }
}

/// Every name of the image, and for every repository the digest to ask a registry for.
fn names(layout: &Layout, image: &OpenImage) -> anyhow::Result<(Vec<String>, Vec<String>)> {
    let (mut tags, mut digests) = (Vec::new(), Vec::new());
    for entry in layout.index()? {
        let Some(name) = entry.annotation(annotation::REF_NAME) else { continue };
        if entry.digest != image.descriptor.digest
            && !layout.open_image(&entry, None).is_ok_and(|other| other.id() == image.id())
        {
            continue;
        }
        let Ok(reference) = name.parse::<Reference>() else {
            tags.push(name.to_owned());
            continue;
        };
        if let (Some(tag), None) = (reference.tag(), reference.digest()) {
            tags.push(format!("{}:{tag}", reference.familiar_repository()));
        }
        let digest = entry.annotation(annotation::SOURCE_DIGEST).map_or_else(|| entry.digest.to_string(), Into::into);
        let pinned = format!("{}@{digest}", reference.familiar_repository());
        if !digests.contains(&pinned) {
            digests.push(pinned);
        }
    }
    Ok((tags, digests))
}

//! img-ls: the images of a layout, one record a line. A source.
//!
//! The lesson: there is no image database. `index.json` of the layout lists descriptors of manifests; a name is
//! an annotation of an entry, and the image ID is the digest of the configuration that the manifest points to.
//! By hand:
//!
//!     jq -r '.manifests[] | .annotations["org.opencontainers.image.ref.name"] + " " + .digest' index.json
//!     jq -r .config.digest blobs/sha256/<manifest>
//!
//! Read: OCI image-spec image-layout.md and annotations.md; docker-images(1); dock-wire(5).

#![forbid(unsafe_code)]

mod docker;
mod filter;
mod have;
mod pattern;
mod remote;

use clap::Parser;
use filter::Filters;
use jiff::Timestamp;
use oci_layout::{Layout, OpenImage};
use pattern::Pattern;
use serde_json::Map;
use std::path::PathBuf;
use std::process::ExitCode;
use toolkit::Out;
use wire::{Descriptor, Digest, Image, Record, annotation};

/// List the images of a layout
#[derive(Debug, Parser)]
#[command(name = "img-ls", version, about)]
#[expect(clippy::struct_excessive_bools, reason = "docker's flags")]
struct Args {
    /// The image layout [default: images below the root]
    #[arg(long, value_name = "DIR")]
    layout: Option<PathBuf>,
    /// Also images that only the build cache keeps
    #[arg(short, long)]
    all: bool,
    /// Print image IDs only
    #[arg(short, long)]
    quiet: bool,
    /// Do not shorten IDs
    #[arg(long)]
    no_trunc: bool,
    /// A column for digests in the table
    #[arg(long)]
    digests: bool,
    /// Only images that match: dangling, label, reference, before, since, until
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// Print the list of blobs that are here, for img-save --have of the other side
    #[arg(long, conflicts_with_all = ["name", "filter", "quiet", "all", "digests", "no_trunc", "format"])]
    have: bool,
    /// List the tags that a registry has of a repository, by running img-search --tags
    #[arg(long, value_name = "REPOSITORY", conflicts_with_all = ["layout", "name", "filter", "quiet", "all", "digests", "no_trunc", "have"])]
    remote: Option<String>,
    /// As docker shows them instead of records: table, json, a Go template, or table and a template
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Only images of this name: repository or repository:tag, * and ? match as in the shell
    name: Option<Pattern>,
}

/// An entry of the index and, when it is whole, the image behind it.
struct Row {
    entry: Descriptor,
    image: Option<OpenImage>,
    created: Option<Timestamp>,
}

impl Row {
    fn of(layout: &Layout, entry: Descriptor) -> Self {
        // An image that cannot be opened is listed all the same: img-fsck says what is wrong with it.
        let image = layout.open_image(&entry, None).ok();
        let created = image.as_ref().and_then(|image| image.config.get("created")?.as_str()?.parse().ok());
        Self { entry, image, created }
    }
}

fn main() -> ExitCode {
    toolkit::main(run)
}

#[expect(clippy::needless_pass_by_value, reason = "toolkit::main gives them away")]
fn run(args: Args, out: &mut Out) -> anyhow::Result<()> {
    if let Some(repository) = &args.remote {
        match remote::tags(repository, args.format.as_deref())? {}
    }
    if args.have {
        return have::print(open(&args)?.as_ref(), out);
    }
    let listing = docker::listing(&args)?;
    let filters = Filters::parse(&args.filter)?;
    let layout = open(&args)?;
    let mut rows = layout.as_ref().map_or(Ok(Vec::new()), |layout| rows(layout, args.all))?;
    if let Some(layout) = &layout {
        let filters = filters.resolve(layout)?;
        rows.retain(|row| filters.let_pass(row));
    }
    rows.retain(|row| args.name.as_ref().is_none_or(|pattern| pattern.matches(name(&row.entry))));
    // Docker's order; those of unknown age come last.
    rows.sort_by_key(|row| std::cmp::Reverse(row.created));
    match (listing, layout) {
        (Some(listing), _) => out.text(&docker::text(&listing, &args, &rows)?),
        (None, None) => Ok(()),
        (None, Some(layout)) => {
            rows.iter().try_for_each(|row| out.text(&format!("{}\n", record(&layout, row).to_line())))
        }
    }
}

/// The store that nobody has used yet is an empty list; a layout that was asked for must be there.
fn open(args: &Args) -> anyhow::Result<Option<Layout>> {
    let path = toolkit::layout_dir(args.layout.as_deref());
    if args.layout.is_none() && !path.exists() {
        return Ok(None);
    }
    Ok(Some(Layout::open(&path)?))
}

fn rows(layout: &Layout, with_cache: bool) -> anyhow::Result<Vec<Row>> {
    let mut entries = layout.index()?;
    if with_cache {
        for (_, pinned) in layout.pins()? {
            if entries.iter().all(|entry| entry.digest != pinned.digest) {
                entries.push(pinned);
            }
        }
    }
    Ok(entries.into_iter().map(|entry| Row::of(layout, entry)).collect())
}

fn name(entry: &Descriptor) -> Option<&str> {
    entry.annotation(annotation::REF_NAME)
}

fn record(layout: &Layout, row: &Row) -> Record {
    let mut rest = Map::new();
    if let Some(image) = &row.image {
        rest.insert("id".into(), image.id().to_string().into());
        if let Some(created) = row.created {
            rest.insert("created".into(), created.to_string().into());
        }
        rest.insert("size".into(), size(image).into());
    }
    let reference = name(&row.entry).map(Into::into);
    // The record has the name in a member of its own.
    let mut descriptor = row.entry.clone();
    descriptor.annotations.shift_remove(annotation::REF_NAME);
    Record::Image(Image { layout: layout.path().into(), reference, descriptor, rest })
}

/// What the layers take in the layout.
fn size(image: &OpenImage) -> u64 {
    image.manifest.layers.iter().map(|layer| layer.size).sum()
}

fn id(row: &Row) -> &Digest {
    row.image.as_ref().map_or(&row.entry.digest, OpenImage::id)
}

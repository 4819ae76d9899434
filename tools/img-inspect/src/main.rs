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

mod history;

use anyhow::bail;
use clap::{Parser, ValueEnum};
use oci_layout::{Layout, OpenImage};
use serde_json::{Map, Value, json};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use toolkit::{Out, usage};
use wire::{Descriptor, Platform, Record, Reference, annotation};

/// Show an image, or the history of its layers
#[derive(Debug, Parser)]
#[command(name = "img-inspect", version, about)]
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
    /// json: one object a line; table: docker's columns, of the history only
    #[arg(long, value_name = "FORMAT", default_value = "json")]
    format: Format,
    /// Do not shorten IDs and commands in the table
    #[arg(long)]
    no_trunc: bool,
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One object a line
    Json,
    /// Docker's columns
    Table,
}

fn main() -> ExitCode {
    toolkit::main(run)
}

#[expect(clippy::needless_pass_by_value, reason = "toolkit::main gives them away")]
fn run(args: Args, out: &mut Out) -> anyhow::Result<()> {
    if args.format == Format::Table && !args.history {
        return Err(usage("--format table is for --history"));
    }
    let mut failed = None;
    for (layout, image) in images(&args)? {
        let shown = image.and_then(|entry| show(&args, &layout, &entry, out));
        // What there is is shown, whatever else is missing.
        if let Err(error) = shown
            && let Some(earlier) = failed.replace(error)
        {
            let _ = writeln!(std::io::stderr(), "img-inspect: {earlier:#}");
        }
    }
    failed.map_or(Ok(()), Err)
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

fn show(args: &Args, layout: &Layout, entry: &Descriptor, out: &mut Out) -> anyhow::Result<()> {
    let image = layout.open_image(entry, args.platform.as_ref())?;
    match args.raw {
        Some(Document::Manifest) => return Ok(out.bytes().write_all(&image.manifest_bytes)?),
        Some(Document::Config) => return Ok(out.bytes().write_all(&image.config_bytes)?),
        None => {}
    }
    if !args.history {
        return out.text(&format!("{}\n", inspected(layout, &image)?));
    }
    let steps = history::steps(&image);
    match args.format {
        Format::Json => steps.iter().try_for_each(|step| out.text(&format!("{}\n", step.json()))),
        Format::Table => out.text(&history::table(&steps, args.no_trunc)),
    }
}

/// Docker's shape: what `docker image inspect` prints, without what is a matter of its storage driver.
fn inspected(layout: &Layout, image: &OpenImage) -> anyhow::Result<Value> {
    let (tags, digests) = names(layout, image)?;
    let text = |name: &str| image.config.get(name).and_then(Value::as_str).unwrap_or_default();
    let comment =
        image.config.get("history").and_then(Value::as_array).and_then(|steps| steps.last()?.get("comment")?.as_str());
    let size: u64 = image.manifest.layers.iter().map(|layer| layer.size).sum();
    let mut shown = Map::new();
    let mut put = |name: &str, value: Value| drop(shown.insert(name.into(), value));
    put("Id", image.id().to_string().into());
    put("RepoTags", tags.into());
    put("RepoDigests", digests.into());
    put("Parent", "".into());
    put("Comment", comment.unwrap_or_default().into());
    put("Created", text("created").into());
    put("DockerVersion", text("docker_version").into());
    put("Author", text("author").into());
    put("Config", image.config.get("config").cloned().unwrap_or_else(|| json!({})));
    put("Architecture", text("architecture").into());
    if !text("variant").is_empty() {
        put("Variant", text("variant").into());
    }
    put("Os", text("os").into());
    put("Size", size.into());
    let layers: Vec<_> = image.diff_ids.iter().map(ToString::to_string).collect();
    put("RootFS", json!({"Type": "layers", "Layers": layers}));
    put("Descriptor", serde_json::to_value(without_name(&image.descriptor))?);
    Ok(shown.into())
}

fn without_name(descriptor: &Descriptor) -> Descriptor {
    let mut descriptor = descriptor.clone();
    descriptor.annotations.shift_remove(annotation::REF_NAME);
    descriptor
}

/// Every name of the image, and for every repository the digest to ask a registry for.
fn names(layout: &Layout, image: &OpenImage) -> anyhow::Result<(Vec<String>, Vec<String>)> {
    let (mut tags, mut digests) = (Vec::new(), Vec::new());
    for entry in layout.index()? {
        let Some(name) = entry.annotation(annotation::REF_NAME) else { continue };
        if !layout.open_image(&entry, None).is_ok_and(|other| other.id() == image.id())
            && entry.digest != image.descriptor.digest
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

//! img-append: a base image, layers on top and changes of the configuration become a new image. A transform.
//!
//! The lesson: an image is three kinds of blobs. A layer is a tar, known by two digests: of its compressed bytes
//! in the manifest, of the tar itself (the diff ID) in the configuration. The configuration says how to run it,
//! and its history has one entry a layer, plus entries without one. The manifest lists both by digest. Nothing
//! is ever changed: a new image is new documents that point to old layers. By hand:
//!
//!     diffid=$(sha256sum <layer.tar); gzip -n <layer.tar >blobs/sha256/…
//!     jq '.rootfs.diff_ids += [$diffid] | .history += [{…}]' config.json >blobs/sha256/…
//!     jq '.config.digest = … | .layers += [{…}]' manifest.json >blobs/sha256/…
//!
//! Read: OCI image-spec config.md and manifest.md; docker-commit(1), docker-import(1).

#![forbid(unsafe_code)]

mod change;
mod document;
mod layer;

use anyhow::{Context, bail};
use clap::Parser;
use document::{Draft, Facts};
use jiff::Timestamp;
use layer::Compress;
use oci_layout::Layout;
use serde_json::Map;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use toolkit::{Out, WithHint, usage};
use wire::{Descriptor, Image, Platform, Record, Reference};

/// Put layers and configuration changes on an image: a new image
#[derive(Debug, Parser)]
#[command(name = "img-append", version, about)]
struct Args {
    /// The image layout [default: images below the root]
    #[arg(long, value_name = "DIR")]
    layout: Option<PathBuf>,
    /// What to start from: an image, scratch, or - for the image record on stdin
    #[arg(long, value_name = "IMAGE", default_value = "-")]
    base: String,
    /// A layer: a tar, plain or compressed, or - for stdin; may be repeated, the lowest first
    #[arg(long, value_name = "FILE")]
    layer: Vec<PathBuf>,
    /// A file of layer records, one a line, or - for stdin; they come after every --layer
    #[arg(long, value_name = "FILE")]
    layers_from: Option<PathBuf>,
    /// A Dockerfile instruction that changes the configuration, as for docker commit; may be repeated
    #[arg(short, long, value_name = "INSTRUCTION")]
    change: Vec<String>,
    /// Members of the configuration to put in place of the base's: JSON text, a file, or - for stdin
    #[arg(long, value_name = "JSON")]
    change_json: Option<String>,
    /// What made the layer, for the history [default: the changes]
    #[arg(long, value_name = "TEXT")]
    created_by: Option<String>,
    /// The comment in the history
    #[arg(short, long)]
    message: Option<String>,
    /// The author of the image and in the history
    #[arg(short, long)]
    author: Option<String>,
    /// When the image was made, RFC 3339 [default: now]
    #[arg(long, value_name = "TIME")]
    created: Option<String>,
    /// The platform: of scratch the new image's, of a multi-platform base the one to take [default: this machine's]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<Platform>,
    /// How to compress plain layers [default: gzip]; a compressed one keeps its bytes unless this is given
    #[arg(long, value_name = "METHOD")]
    compress: Option<Compress>,
    /// Name the new image; may be repeated
    #[arg(short, long, value_name = "NAME")]
    tag: Vec<Reference>,
    /// An annotation of the new manifest; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    annotation: Vec<(String, String)>,
    /// Keep the new image under a key instead of a name, as a build cache does
    #[arg(long, value_name = "KEY")]
    pin: Option<String>,
}

fn main() -> ExitCode {
    toolkit::main(run)
}

#[expect(clippy::needless_pass_by_value, reason = "toolkit::main gives them away")]
fn run(args: Args, out: &mut Out) -> anyhow::Result<()> {
    stdin_is_taken_once(&args)?;
    names_are_tags(&args.tag)?;
    let base = find_base(&args)?;
    let layout = Layout::open_or_create(&place(&args, base.as_ref()))?;
    let mut facts = facts(&args)?;
    // From the first blob to the entry in the index nobody may collect what we wrote.
    let _hold = layout.hold()?;
    let mut draft = match base {
        None => Draft::scratch(args.platform.clone().unwrap_or_else(Platform::host)),
        Some(base) => Draft::of(layout.open_image(&resolve(&layout, base)?, args.platform.as_ref())?),
    };
    // Whatever can be wrong with the command line is, before a layer is read.
    let maintainer = change::apply(&mut draft.config, &args.change)?;
    facts.author = facts.author.or(maintainer);
    let replacement = args.change_json.as_deref().map(read_json).transpose()?.unwrap_or_default();
    args.pin.as_deref().map(|key| layout.pinned(key)).transpose()?;
    for file in &args.layer {
        let name = if file == Path::new("-") { "<stdin>".into() } else { file.display().to_string() };
        let added = layer::add(&layout, open(file)?, args.compress).with_context(|| name)?;
        draft.push_layer(added);
    }
    let taken = layer_records(args.layers_from.as_deref())?;
    for record in &taken {
        draft.push_layer(layer::take(&layout, record)?);
    }
    let manifest = draft.finish(&layout, &facts, replacement, &args.annotation)?;
    let name = keep(&layout, &manifest, &args)?;
    for record in &taken {
        // The image has it now; layer-diff kept it for us.
        layout.release(&record.descriptor.digest)?;
    }
    let layout = layout.path().to_owned().into();
    out.record(&Record::Image(Image { layout, reference: name, descriptor: manifest, rest: Map::new() }))
}

fn pair(text: &str) -> Result<(String, String), String> {
    let split = text.split_once('=').filter(|(key, _)| !key.is_empty());
    split.map(|(key, value)| (key.into(), value.into())).ok_or_else(|| "want KEY=VALUE".into())
}

fn stdin_is_taken_once(args: &Args) -> anyhow::Result<()> {
    let dash = Path::new("-");
    let mut takers: Vec<&str> = args.layer.iter().filter(|file| *file == dash).map(|_| "--layer -").collect();
    takers.extend((args.base == "-").then_some("--base -"));
    takers.extend((args.layers_from.as_deref() == Some(dash)).then_some("--layers-from -"));
    takers.extend((args.change_json.as_deref() == Some("-")).then_some("--change-json -"));
    if takers.len() > 1 {
        let hint = || "--base is - when it is not given: name an image, or scratch".into();
        return Err(usage(format!("stdin can be read once, not by {}", takers.join(" and by ")))).hint(hint);
    }
    Ok(())
}

fn names_are_tags(names: &[Reference]) -> anyhow::Result<()> {
    match names.iter().find(|name| name.digest().is_some()) {
        Some(name) => Err(usage(format!("{name}: a name cannot have a digest: it follows from the content"))),
        None => Ok(()),
    }
}

enum Base {
    Operand(String),
    Record(Box<Image>),
}

fn find_base(args: &Args) -> anyhow::Result<Option<Base>> {
    match args.base.as_str() {
        "scratch" => Ok(None),
        "-" => match toolkit::one_record("image")? {
            Record::Image(image) => Ok(Some(Base::Record(Box::new(image)))),
            other => bail!("<stdin>: a {} record; this tool takes an image", other.kind()),
        },
        operand => Ok(Some(Base::Operand(operand.into()))),
    }
}

/// `--layout`, else where the record on stdin says that its image is, else the store.
fn place(args: &Args, base: Option<&Base>) -> PathBuf {
    match (&args.layout, base) {
        (None, Some(Base::Record(image))) => image.layout.as_path().to_owned(),
        (given, _) => toolkit::layout_dir(given.as_deref()),
    }
}

fn resolve(layout: &Layout, base: Base) -> anyhow::Result<Descriptor> {
    match base {
        Base::Record(image) => Ok(image.descriptor),
        Base::Operand(name) => Ok(layout.find(&name)?),
    }
}

fn facts(args: &Args) -> anyhow::Result<Facts> {
    let created = match &args.created {
        Some(text) => text.parse::<Timestamp>().with_context(|| format!("--created {text}"))?,
        None => match std::env::var("SOURCE_DATE_EPOCH") {
            Ok(seconds) => {
                let parse = || Timestamp::from_second(seconds.parse().ok()?).ok();
                parse().with_context(|| format!("SOURCE_DATE_EPOCH: {seconds:?} is no number of seconds"))?
            }
            Err(_) => Timestamp::now(),
        },
    };
    let changes = Some(args.change.join("; ")).filter(|text| !text.is_empty());
    Ok(Facts {
        created: created.to_string(),
        created_by: args.created_by.clone().or(changes),
        comment: args.message.clone(),
        author: args.author.clone(),
    })
}

/// The one place that opens an operand: `-` is stdin.
fn open(file: &Path) -> anyhow::Result<Box<dyn Read + Send>> {
    if file == Path::new("-") {
        toolkit::widen_pipe(io::stdin());
        return Ok(Box::new(io::stdin()));
    }
    Ok(Box::new(std::fs::File::open(file).with_context(|| format!("{}: open", file.display()))?))
}

fn layer_records(file: Option<&Path>) -> anyhow::Result<Vec<wire::Layer>> {
    let Some(file) = file else { return Ok(Vec::new()) };
    let name = if file == Path::new("-") { "<stdin>".into() } else { file.display().to_string() };
    let mut records = Vec::new();
    for line in BufReader::new(open(file)?.take(oci_layout::LARGEST_DOCUMENT)).lines() {
        let line = line.with_context(|| name.clone())?;
        match Record::parse(&line).with_context(|| name.clone())? {
            Record::Layer(record) => records.push(record),
            other => bail!("{name}: a {} record; --layers-from takes layers", other.kind()),
        }
    }
    if records.is_empty() {
        bail!("no layer record on {name}");
    }
    Ok(records)
}

fn read_json(operand: &str) -> anyhow::Result<Map<String, serde_json::Value>> {
    let mut text = String::new();
    if operand.trim_start().starts_with('{') {
        text.push_str(operand);
    } else {
        open(Path::new(operand))?
            .take(oci_layout::LARGEST_DOCUMENT)
            .read_to_string(&mut text)
            .with_context(|| format!("--change-json {operand}: read"))?;
    }
    serde_json::from_str(&text).context("--change-json: not a JSON object")
}

/// Names, pins, or lists the image; only now is it an image that others see.
fn keep(layout: &Layout, manifest: &Descriptor, args: &Args) -> anyhow::Result<Option<String>> {
    for name in &args.tag {
        layout.name(&name.to_string(), manifest.clone())?;
    }
    if let Some(key) = &args.pin {
        layout.pin(key, manifest)?;
    }
    if args.tag.is_empty() && args.pin.is_none() {
        layout.add_unnamed(manifest.clone())?;
    }
    Ok(args.tag.first().map(ToString::to_string))
}

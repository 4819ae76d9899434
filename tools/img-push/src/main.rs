//! A push is a pull backwards, and its order is the point: blobs first, then the manifest that names them, so
//! that a registry never shows half an image. Each blob is asked for with HEAD and sent only when it is not there:
//!
//! ```sh
//! url=http://127.0.0.1:5000/v2/app
//! has() { curl -sfI "$url/blobs/$1" >/dev/null; }
//! where() { curl -si -X POST "$url/blobs/uploads/" | tr -d '\r' | sed -n 's/^Location: //p'; }
//! has sha256:… || curl -sf -X PUT -T layer.tar.gz "$(where)&digest=sha256:…"      # for every blob
//! curl -sf -X PUT -H 'Content-Type: application/vnd.oci.image.manifest.v1+json' -T manifest.json "$url/manifests/1.0"
//! ```
//!
//! Read dock-wire(5), and the OCI distribution specification, "Push".

#![forbid(unsafe_code)]

mod choose;
mod send;

use anyhow::{Context, bail};
use choose::Chosen;
use clap::Parser;
use registry::{Placed, Settings};
use send::Pushed;
use std::path::PathBuf;
use std::process::ExitCode;
use toolkit::{Format, Out, usage};
use wire::{Image, Record, Reference, annotation};

/// Send images of a layout to a registry
#[derive(Debug, Parser)]
#[command(name = "img-push", version, about)]
struct Args {
    /// Names, IDs or unique prefixes of IDs; none: image records on stdin
    #[arg(value_name = "IMAGE")]
    images: Vec<String>,
    /// The image layout, instead of images/ below the root
    #[arg(long, value_name = "DIR")]
    layout: Option<PathBuf>,
    /// Where to, instead of where the name says; for one image
    #[arg(long, value_name = "REF", conflicts_with = "all_tags")]
    to: Option<Reference>,
    /// IMAGE is a repository: push every tag that the layout has of it
    #[arg(short, long)]
    all_tags: bool,
    /// Send blobs in requests of so many bytes, instead of one a blob
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..))]
    chunk_size: Option<u64>,
    /// What stdout gets: records, or the lines of docker push
    #[arg(long, value_enum, default_value_t = Format::Json)]
    format: Format,
    /// Speak plain HTTP to the registry
    #[arg(long)]
    plain_http: bool,
    /// Credentials: USER:PASSWORD for the registry, or JSON as in docker's config.json; - is stdin
    #[arg(long, value_name = "FILE")]
    auth: Option<PathBuf>,
    /// No progress; with --format docker only the name
    #[arg(short, long)]
    quiet: bool,
}

impl Args {
    /// Docker tells what it makes of a name without a tag.
    fn says_default(&self, text: &str, to: &Reference) -> bool {
        let bare = !text.rsplit('/').next().is_some_and(|last| last.contains([':', '@']));
        bare && self.format == Format::Docker && !(self.quiet || self.all_tags) && text.parse().as_ref() == Ok(to)
    }
}

fn main() -> ExitCode {
    toolkit::main(run)
}

#[expect(clippy::needless_pass_by_value, reason = "toolkit::main gives them away")]
fn run(args: Args, out: &mut Out) -> anyhow::Result<()> {
    let images = choose::images(&args)?;
    let settings = settings(&images, &args)?;
    let mut failed = 0;
    for (at, image) in images.iter().enumerate() {
        if args.images.get(at).is_some_and(|text| args.says_default(text, &image.to)) {
            out.text("Using default tag: latest\n")?;
        }
        if let Err(error) = push(image, &args, &settings, out).with_context(|| image.to.familiar()) {
            if images.len() == 1 {
                return Err(error);
            }
            toolkit::report("img-push", &error);
            failed += 1;
        }
    }
    if failed > 0 {
        bail!("{failed} of {} images were not pushed", images.len());
    }
    Ok(())
}

/// The environment's word, and what the command line has to add.
fn settings(images: &[Chosen], args: &Args) -> anyhow::Result<Settings> {
    let mut settings = Settings::of_environment(|name| std::env::var_os(name))?;
    settings.plain_http = args.plain_http;
    if let Some(path) = &args.auth {
        let text = toolkit::read_secret(path)?;
        let mut hosts = images.iter().map(|image| image.to.host());
        let host = hosts.next().unwrap_or_default();
        if hosts.any(|other| other != host) && !text.starts_with('{') {
            return Err(usage("--auth: one USER:PASSWORD, and images for several registries"));
        }
        settings.give(&text, host)?;
    }
    Ok(settings)
}

fn push(image: &Chosen, args: &Args, settings: &Settings, out: &mut Out) -> anyhow::Result<()> {
    if args.format == Format::Docker && !args.quiet {
        out.text(&format!("The push refers to repository [{}]\n", image.to.repository()))?;
        out.finish()?;
    }
    let client = settings.client(image.to.host(), |warning| toolkit::say(&format!("img-push: {warning}")))?;
    // While this is held, no collector takes what is still to be sent.
    let _hold = image.layout.hold_to_read()?;
    let width = toolkit::terminal_width().filter(|_| !args.quiet);
    let pushed = send::image(&client, image, args.chunk_size, width)?;
    report(image, &pushed, args, out)
}

/// A printed digest is a promise: by now the registry has everything.
fn report(image: &Chosen, pushed: &Pushed, args: &Args, out: &mut Out) -> anyhow::Result<()> {
    if args.format == Format::Json {
        let mut descriptor = image.descriptor.clone();
        descriptor.annotations.shift_remove(annotation::REF_NAME);
        let (layout, reference) = (image.layout.path().into(), Some(image.to.to_string()));
        out.record(&Record::Image(Image { layout, reference, descriptor, rest: serde_json::Map::new() }))?;
        return out.finish();
    }
    if args.quiet {
        out.text(&format!("{}\n", image.to))?;
        return out.finish();
    }
    // Docker names layers by what they unpack to, the topmost first.
    for (name, placed) in pushed.layers.iter().rev() {
        let what = match placed {
            Placed::There => "Layer already exists".to_owned(),
            Placed::Mounted(from) => format!("Mounted from {from}"),
            Placed::Sent => "Pushed".to_owned(),
        };
        out.text(&format!("{}: {what}\n", name.short()))?;
    }
    let tag = image.to.tag().unwrap_or("latest");
    out.text(&format!("{tag}: digest: {} size: {}\n", image.descriptor.digest, image.descriptor.size))?;
    out.finish()
}

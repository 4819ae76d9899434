//! A pull is a handful of GETs. The name gives a document; an index gives one manifest a platform; a manifest
//! gives the digests of a configuration and of layers; each digest gives a blob that must hash to it:
//!
//! ```sh
//! token=$(curl -s 'https://auth.docker.io/token?service=registry.docker.io&scope=repository:library/alpine:pull' | jq -r .token)
//! get() { curl -sL -H "Authorization: Bearer $token" -H "Accept: $2" "https://registry-1.docker.io/v2/library/alpine/$1"; }
//! get manifests/3.20 application/vnd.oci.image.index.v1+json | jq -r '.manifests[] | .platform.architecture, .digest'
//! get manifests/sha256:… application/vnd.oci.image.manifest.v1+json | jq -r '.layers[].digest'
//! get blobs/sha256:… | tee layer.tar.gz | sha256sum
//! ```
//!
//! Read dock-wire(5), and the OCI distribution and image specifications.

#![forbid(unsafe_code)]

mod documents;
mod fetch;
mod plan;
mod sources;

use anyhow::{Context, bail};
use clap::Parser;
use documents::Wanted;
use fetch::Pulled;
use oci_layout::Layout;
use registry::Settings;
use sources::{Registries, Sources};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use toolkit::{Format, Out, usage};
use wire::{Image, Platform, Record, Reference};

/// Fetch images from a registry into an image layout
#[derive(Debug, Parser)]
#[command(name = "img-pull", version, about)]
#[expect(clippy::struct_excessive_bools, reason = "docker's flags")]
struct Args {
    /// Names: [HOST[:PORT]/]PATH[:TAG][@DIGEST], as docker reads them
    #[arg(value_name = "REF", required = true)]
    references: Vec<String>,
    /// The image layout, instead of images/ below the root
    #[arg(long, value_name = "DIR")]
    layout: Option<PathBuf>,
    /// The platform to take from an index, instead of this machine's
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<Platform>,
    /// Store an index as it stands, with the images of all its platforms and their attestations
    #[arg(long, conflicts_with = "platform")]
    all_platforms: bool,
    /// REF is a repository: pull every tag that the registry has of it
    #[arg(short, long)]
    all_tags: bool,
    /// Send nothing: the layout has the image, or it is an error
    #[arg(long, conflicts_with_all = ["all_tags", "plan"])]
    offline: bool,
    /// Fetch and store no image: print as JSON what would be fetched, how much, and from where
    #[arg(long)]
    plan: bool,
    /// Store nothing: print the manifest or index that REF leads to, byte for byte
    #[arg(long, conflicts_with_all = ["plan", "offline", "platform", "all_platforms", "format"])]
    raw: bool,
    /// Keep the image under a key instead of its name, as a build cache does; for one REF
    #[arg(long, value_name = "KEY", conflicts_with_all = ["plan", "offline", "raw", "all_tags"])]
    pin: Option<String>,
    /// What stdout gets: records, or the lines of docker pull
    #[arg(long, value_enum, default_value_t = Format::Json)]
    format: Format,
    /// Speak plain HTTP to the registry
    #[arg(long)]
    plain_http: bool,
    /// Credentials: USER:PASSWORD for the registry of REF, or JSON as in docker's config.json; - is stdin
    #[arg(long, value_name = "FILE")]
    auth: Option<PathBuf>,
    /// Where mirrors are declared, instead of /etc/dock/mirrors.json and docker's daemon.json
    #[arg(long, value_name = "FILE")]
    mirrors: Option<PathBuf>,
    /// No progress; with --format docker only the name
    #[arg(short, long)]
    quiet: bool,
}

impl Args {
    /// Docker tells what it makes of a name without a tag.
    fn says_default(&self) -> bool {
        self.format == Format::Docker && !(self.quiet || self.all_tags || self.plan || self.offline)
    }

    fn wanted(&self) -> Wanted<'_> {
        if self.all_platforms { Wanted::All } else { Wanted::One(self.platform.as_ref()) }
    }
}

fn main() -> ExitCode {
    toolkit::main(run)
}

#[expect(clippy::needless_pass_by_value, reason = "toolkit::main gives them away")]
fn run(args: Args, out: &mut Out) -> anyhow::Result<()> {
    let references = parse(&args.references)?;
    if args.pin.is_some() && references.len() > 1 {
        return Err(usage("--pin takes one REF"));
    }
    let mut registries = Registries::new(settings(&references, &args)?);
    let references = if args.all_tags { all_tags(&references, &args, &mut registries)? } else { references };
    let mut failed = 0;
    for (at, reference) in references.iter().enumerate() {
        if args.says_default() && args.references.get(at).is_some_and(|text| is_repository(text)) {
            out.text("Using default tag: latest\n")?;
        }
        if let Err(error) = one(reference, &args, &mut registries, out).with_context(|| reference.familiar()) {
            if references.len() == 1 {
                return Err(error);
            }
            toolkit::report("img-pull", &error);
            failed += 1;
        }
    }
    if failed > 0 {
        bail!("{failed} of {} images were not pulled", references.len());
    }
    Ok(())
}

/// All names are read before the first request is sent.
fn parse(texts: &[String]) -> anyhow::Result<Vec<Reference>> {
    texts.iter().map(|text| text.parse().map_err(|error: wire::ReferenceError| usage(error.to_string()))).collect()
}

/// Neither tag nor digest.
fn is_repository(text: &str) -> bool {
    !text.contains('@') && !text.rsplit('/').next().is_some_and(|last| last.contains(':'))
}

/// Every tag of every repository, asked for before the first image moves.
fn all_tags(repositories: &[Reference], args: &Args, registries: &mut Registries) -> anyhow::Result<Vec<Reference>> {
    let mut references = Vec::new();
    for (repository, text) in repositories.iter().zip(&args.references) {
        if !is_repository(text) {
            return Err(usage("tag can't be used with --all-tags/-a"));
        }
        let tags =
            Sources::new(registries.of(repository)?, args.quiet).first("tags", |client| client.tags(repository.path()));
        for tag in tags.with_context(|| text.clone())? {
            // What is no tag by the grammar cannot be asked for.
            references.extend(format!("{}:{tag}", repository.repository()).parse::<Reference>().ok());
        }
    }
    if references.is_empty() { Err(anyhow::anyhow!("the registry has no tags")) } else { Ok(references) }
}

/// One reference: pulled, planned, or found where it is.
fn one(reference: &Reference, args: &Args, registries: &mut Registries, out: &mut Out) -> anyhow::Result<()> {
    let dir = toolkit::layout_dir(args.layout.as_deref());
    if args.raw {
        let document = Sources::new(registries.of(reference)?, args.quiet).manifest(reference, None)?;
        out.bytes().write_all(&document.bytes)?;
        return out.finish();
    }
    if args.plan {
        let layout = dir.exists().then(|| Layout::open(&dir)).transpose()?;
        let sources = Sources::new(registries.of(reference)?, args.quiet);
        let plan = plan::plan(layout.as_ref(), &sources, reference, args.wanted())?;
        out.text(&format!("{plan}\n"))?;
        return out.finish();
    }
    if args.offline {
        let layout = Layout::open(&dir)?;
        let found = plan::offline(&layout, reference, args.wanted())?;
        return report(&layout, reference, &found, args, out);
    }
    let layout = Layout::open_or_create(&dir)?;
    let pulled = pull(&layout, reference, args, registries, out)?;
    report(&layout, reference, &pulled, args, out)
}

fn pull(
    layout: &Layout,
    reference: &Reference,
    args: &Args,
    registries: &mut Registries,
    out: &mut Out,
) -> anyhow::Result<Pulled> {
    if args.format == Format::Docker && !args.quiet {
        let what = reference.digest().map_or_else(|| reference.tag().unwrap_or("latest").into(), ToString::to_string);
        out.text(&format!("{what}: Pulling from {}\n", reference.path()))?;
        out.finish()?;
    }
    let width = toolkit::terminal_width().filter(|_| !args.quiet);
    let sources = Sources::new(registries.of(reference)?, args.quiet);
    fetch::image(layout, &sources, reference, args.wanted(), args.pin.as_deref(), width)
}

/// The environment's word, and what the command line has to add.
fn settings(references: &[Reference], args: &Args) -> anyhow::Result<Settings> {
    let mut settings = Settings::of_environment(|name| std::env::var_os(name))?;
    settings.plain_http = args.plain_http;
    settings.mirrors = mirror_files(args)?;
    if let Some(path) = &args.auth {
        let text = toolkit::read_secret(path)?;
        let mut hosts = references.iter().map(Reference::host);
        let host = hosts.next().unwrap_or_default();
        if hosts.any(|other| other != host) && !text.starts_with('{') {
            return Err(usage("--auth: one USER:PASSWORD, and REFs of several registries"));
        }
        settings.give(&text, host)?;
    }
    Ok(settings)
}

/// A file that was asked for must be there; the usual ones need not.
fn mirror_files(args: &Args) -> anyhow::Result<Vec<PathBuf>> {
    let set = std::env::var_os("DOCK_MIRRORS").filter(|path| !path.is_empty()).map(PathBuf::from);
    let Some(path) = args.mirrors.clone().or(set) else {
        return Ok(["/etc/dock/mirrors.json", "/etc/docker/daemon.json"].map(PathBuf::from).to_vec());
    };
    std::fs::metadata(&path).with_context(|| path.display().to_string())?;
    Ok(vec![path])
}

/// A printed digest is a promise: by now everything is in place.
fn report(layout: &Layout, reference: &Reference, pulled: &Pulled, args: &Args, out: &mut Out) -> anyhow::Result<()> {
    if args.format == Format::Json {
        let record = Image {
            layout: layout.path().into(),
            reference: Some(reference.to_string()),
            descriptor: pulled.descriptor.clone(),
            rest: serde_json::Map::new(),
        };
        return out.record(&Record::Image(record));
    }
    if !args.quiet {
        for (digest, there) in pulled.layers.iter().filter(|_| !pulled.up_to_date) {
            let what = if *there { "Already exists" } else { "Pull complete" };
            out.text(&format!("{}: {what}\n", digest.short()))?;
        }
        let status = if pulled.up_to_date { "Image is up to date for" } else { "Downloaded newer image for" };
        out.text(&format!("Digest: {}\nStatus: {status} {}\n", pulled.digest, reference.familiar()))?;
    }
    out.text(&format!("{reference}\n"))?;
    out.finish()
}

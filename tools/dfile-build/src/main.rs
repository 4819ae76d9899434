//! A Dockerfile is a list of shell lines and of facts about the result. Each shell line is run in a container
//! made from the image so far, and what it changed becomes one more layer; each COPY is a layer that needs no
//! container; each fact goes into the image's configuration. There is no engine: this program reads the file and
//! runs its siblings. By hand, `RUN make` is
//!
//! ```sh
//! img-unpack --overlay IMAGE box | ctr-spec -- /bin/sh -c make | ctr-spawn
//! layer-diff --layout L <box/bundle.json | img-append --base IMAGE --layers-from -
//! ```
//!
//! and `COPY hello /` is `tar -c hello | img-append --base IMAGE --layer -`.
//!
//! Read Docker's Dockerfile reference; openat2(2) for how a context is kept from leading out of itself.

#![forbid(unsafe_code)]

mod archive;
mod below;
mod board;
mod cache;
mod caches;
mod check;
mod config;
mod context;
mod copies;
mod copy;
mod copying;
mod elsewhere;
mod git;
mod live;
mod mounts;
mod output;
mod plan;
mod progress;
mod run;
mod running;
mod scratch;
mod several;
mod shelf;
mod siblings;
mod source;
mod step;
mod take;
mod web;

use anyhow::{Context, bail};
use board::lock;
use clap::Parser;
use context::{Named, Opened, Place};
use dockerfile::{Graph, Ignore};
use oci_layout::Layout;
use output::Output;
use progress::{Form, Progress};
use running::Running;
use scratch::Scratch;
use serde_json::{Value, json};
use several::Annotation;
use siblings::Siblings;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use subids::Mapping;
use toolkit::{Format, Out, usage};
use wire::{Descriptor, Image, Platform, Record, Reference, exit};

/// No time in the image is later.
const EPOCH: &str = "SOURCE_DATE_EPOCH";

/// Build an image from a Dockerfile by running the other tools
#[derive(Debug, Parser)]
#[command(name = "dfile-build", version, about)]
#[expect(clippy::struct_excessive_bools, reason = "docker's flags")]
struct Args {
    /// The Dockerfile, - for stdin [default: CONTEXT/Dockerfile]
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Give the image a name; may be repeated
    #[arg(short, long, value_name = "NAME")]
    tag: Vec<Reference>,
    /// Set an ARG; without a value, from the environment
    #[arg(long, value_name = "NAME[=VALUE]")]
    build_arg: Vec<String>,
    /// Stop after this stage, by name or number
    #[arg(long, value_name = "STAGE")]
    target: Option<String>,
    #[command(flatten)]
    running: running::Options,
    #[command(flatten)]
    caching: cache::Options,
    /// A place that FROM and --from can name: a directory, a git URL, `docker-image://…` or `oci-layout://…`
    #[arg(long, value_name = "NAME=PLACE")]
    build_context: Vec<String>,
    /// Where the result goes: DIR, - for a tar, or type=local|tar|oci|docker|image|registry,dest=PATH
    #[arg(short, long, value_name = "WHERE")]
    output: Vec<Output>,
    /// Add a label to the image; may be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    label: Vec<String>,
    /// The same as --output type=registry
    #[arg(long)]
    push: bool,
    /// The same as --output type=docker
    #[arg(long)]
    load: bool,
    /// Add an annotation to the manifest, or to the index of several platforms; may be repeated
    #[arg(long, value_name = "[manifest:|index:]KEY=VALUE")]
    annotation: Vec<Annotation>,
    /// Build for this platform, as linux/arm64; for several, an index of their images
    #[arg(long, value_name = "OS/ARCH[/VARIANT],...", value_delimiter = ',')]
    platform: Vec<Platform>,
    /// Write what was built to a file, as JSON with docker's names
    #[arg(long, value_name = "FILE")]
    metadata_file: Option<PathBuf>,
    /// Write the image ID to a file
    #[arg(long, value_name = "FILE")]
    iidfile: Option<PathBuf>,
    /// Print only the image record, and the output of a step that fails
    #[arg(short, long)]
    quiet: bool,
    /// What stdout gets: records, or with docker the image ID when --quiet, else nothing
    #[arg(long, value_enum, default_value_t = Format::Json)]
    format: Format,
    /// How progress is shown
    #[arg(long, value_enum, value_name = "FORM", default_value = "auto")]
    progress: Form,
    /// Print what is no good idea in the Dockerfile, by the names of BuildKit's rules, and build nothing
    #[arg(long, conflicts_with = "plan")]
    check: bool,
    /// Print what would be built and what of it the cache has, as JSON, and build nothing
    #[arg(long)]
    plan: bool,
    /// The image layout, instead of images/ below the root
    #[arg(long, value_name = "DIR")]
    layout: Option<PathBuf>,
    /// Where images, layers and the kept state of failed steps are, instead of $`DOCK_ROOT`
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// What COPY and ADD take from: a directory, a git URL, the URL of a tar or of a lone Dockerfile, or - for either on stdin
    context: PathBuf,
}

fn main() -> ExitCode {
    toolkit::main_with_codes(exit::FAILED, exit::USAGE, run)
}

fn run(mut args: Args, out: &mut Out) -> anyhow::Result<u8> {
    names_are_tags(&args.tag)?;
    args.output.extend(args.push.then(Output::registry).into_iter().chain(args.load.then(Output::store)));
    args.platform = distinct(args.platform);
    let (build_args, epoch) = with_epoch(build_args(&args.build_arg)?)?;
    let running = Running::new(&args.running)?;
    let labels = labels(&args.label)?;
    let contexts = contexts(&args.build_context)?;
    let root = toolkit::root_dir(args.root.as_deref());
    if !args.plan && !args.check {
        own_namespace(&root)?;
    }
    let layout = args.layout.as_deref().map_or_else(|| root.join("images"), |dir| toolkit::layout_dir(Some(dir)));
    let scratch = Scratch::new(&root);
    let mut siblings = Siblings::new(root, layout.clone(), epoch)?;
    let place = Place::of(&args.context);
    if place == Place::Stdin && args.file.as_deref() == Some(Path::new("-")) {
        return Err(usage("can't use stdin for both build context and dockerfile"));
    }
    let mut opened = context::open(&place, &scratch, &siblings)?;
    siblings.epoch = siblings.epoch.or(opened.made);
    let (name, text) = read_dockerfile(&args, &place, &mut opened)?;
    let file = dockerfile::parse(&text, &name).or_else(|error| named(error, &name))?;
    let platforms = platforms(&args.platform);
    for output in &args.output {
        output.takes(platforms.len()).map_err(usage)?;
    }
    let graph_of = |(platform, args): (Option<Platform>, BTreeMap<String, String>)| {
        let graph = Graph::of(&file, &build_args, &args, contexts.keys().cloned().collect())?;
        Ok((platform, args, graph))
    };
    let graphs = platforms.into_iter().map(graph_of).collect::<anyhow::Result<Vec<_>>>()?;
    let graph = &graphs[0].2;
    let target = graph.target(args.target.as_deref())?;
    let needed = graph.needed(target)?;
    let ignore = match place {
        Place::Directory(_) => read_ignore(&args)?,
        _ => opened.ignore(Some(&format!("{name}.dockerignore")))?,
    };
    if args.plan {
        let stored = Layout::open(&layout).ok();
        let context = Arc::new(opened.root.ignoring(ignore));
        let cached = stored.map(|layout| {
            let mut builder = step::Builder::new(
                graph,
                &siblings,
                &layout,
                context,
                &build_args,
                &graphs[0].1,
                &running,
                Progress::new(Form::Quiet),
                &args.caching,
                &[],
                siblings.epoch,
                &scratch,
                &contexts,
                graphs[0].0.clone(),
            );
            builder.cached_steps(&needed)
        });
        plan::print(graph, &needed, target, &cached.unwrap_or_default(), out)?;
        return Ok(exit::DONE);
    }
    let findings = check::findings(&file, graph, &ignore, Layout::open(&layout).ok().as_ref());
    if args.check {
        let clean = check::report(&findings, &file, &text, out)?;
        return Ok(if clean { exit::DONE } else { exit::FAILED });
    }
    if check::are_errors(&file) && !findings.is_empty() {
        let rules: BTreeSet<&str> = findings.iter().map(|finding| finding.rule).collect();
        bail!("{name}: lint violation found for rules: {}", Vec::from_iter(rules).join(", "));
    }
    let context = Arc::new(opened.root.ignoring(ignore));
    let layout = Layout::open_or_create(&layout)?;
    layout.path().clone_into(&mut siblings.layout);
    let progress = Progress::new(if args.quiet { Form::Quiet } else { args.progress });
    let elsewhere = sources(&args.caching, &siblings, &progress);
    // From the first step to the name, nobody may collect what we have made.
    let _hold = layout.hold()?;
    let mut builders = Vec::new();
    for (platform, platform_args, graph) in &graphs {
        let mut builder = step::Builder::new(
            graph,
            &siblings,
            &layout,
            Arc::clone(&context),
            &build_args,
            platform_args,
            &running,
            progress.clone(),
            &args.caching,
            &elsewhere,
            siblings.epoch,
            &scratch,
            &contexts,
            platform.clone(),
        );
        builder.head = match platform {
            Some(platform) if graphs.len() > 1 => format!("{platform} "),
            _ => String::new(),
        };
        builders.push(builder);
    }
    if let Some(syntax) = &file.syntax {
        progress.note(&format!("note: # syntax={syntax} is not fetched: this program is the frontend"));
    }
    let mut images = Vec::new();
    for builder in &mut builders {
        images.push((builder.platform.clone(), builder.build(target, &labels)?));
    }
    let keys = builders.iter().flat_map(|builder| lock(&builder.shared.keys).clone()).collect();
    for place in &args.caching.cache_to {
        place.keep(&layout, &siblings, &keys, &images).context("--cache-to")?;
    }
    for (_, image) in &mut images {
        several::annotate(&layout, &siblings, image, &args.annotation).context("--annotation")?;
    }
    note_unused(&builders[0], graph);
    let image = several::joined(&layout, images, &args.annotation).context("--annotation")?;
    if let Some(summary) = check::summary(&findings) {
        progress.words(&summary);
    }
    if let Some(path) = &args.iidfile {
        std::fs::write(path, id(&layout, &image)?).with_context(|| format!("{}: write", path.display()))?;
    }
    let copied = builders.iter().flat_map(|builder| std::mem::take(&mut *lock(&builder.shared.copied))).collect();
    deliver(&args, &siblings, &layout, &image, copied, out)?;
    Ok(exit::DONE)
}

/// The caches to take from. One that cannot be read costs time and no build, as in docker.
fn sources(caching: &cache::Options, siblings: &Siblings, progress: &Progress) -> Vec<elsewhere::Source> {
    let mut sources = Vec::new();
    for place in &caching.cache_from {
        match place.open(siblings) {
            Ok(found) => sources.extend(found),
            Err(error) => progress.words(&format!("warning: --cache-from: {error:#}")),
        }
    }
    sources
}

/// An ordinary user with subordinate IDs builds as root of one user namespace: every tool that runs is in it.
fn own_namespace(root: &Path) -> anyhow::Result<()> {
    Mapping::begin(root, bundle::Layers::new(root).is_empty()?)?;
    Ok(())
}

/// Only now, with everything in place, does the image get its names, or goes where it was wanted.
fn deliver(
    args: &Args,
    siblings: &Siblings,
    layout: &Layout,
    image: &Descriptor,
    copied: Vec<Value>,
    out: &mut Out,
) -> anyhow::Result<()> {
    let record = |reference: Option<String>| -> Record {
        let layout = layout.path().to_owned().into();
        Image { layout, reference, descriptor: image.clone(), rest: serde_json::Map::new() }.into()
    };
    let named = args.output.iter().flat_map(|output| &output.names);
    let names: Vec<Reference> = args.tag.iter().chain(named).cloned().collect();
    let in_store = args.output.is_empty() || args.output.iter().any(Output::is_image);
    let stored = if in_store { &names[..] } else { &[] };
    for name in stored {
        layout.name(&name.to_string(), image.clone())?;
    }
    if in_store && names.is_empty() {
        layout.add_unnamed(image.clone())?;
    }
    for output in &args.output {
        output.deliver(siblings, &record(None), &names, &args.platform).context("--output")?;
    }
    if let Some(path) = &args.metadata_file {
        let text = metadata(layout, image, &names, copied)?;
        std::fs::write(path, text).with_context(|| format!("{}: write", path.display()))?;
    }
    // What is on stdout is one thing: bytes, or records.
    if args.output.iter().any(Output::is_stdout) {
        return Ok(());
    }
    if args.format == Format::Docker {
        let id = id(layout, image)?;
        return if args.quiet { out.text(&format!("{id}\n")) } else { Ok(()) };
    }
    if stored.is_empty() {
        return out.record(&record(None));
    }
    stored.iter().try_for_each(|name| out.record(&record(Some(name.to_string()))))
}

/// The image ID; several platforms share only their index.
fn id(layout: &Layout, image: &Descriptor) -> anyhow::Result<String> {
    let digest = if image.is_index() { image.digest.clone() } else { layout.open_image(image, None)?.id().clone() };
    Ok(digest.to_string())
}

/// The members that docker's `--metadata-file` has of an image.
fn metadata(layout: &Layout, image: &Descriptor, names: &[Reference], copied: Vec<Value>) -> anyhow::Result<String> {
    let mut members = json!({"containerimage.descriptor": image, "containerimage.digest": image.digest});
    // Several platforms have several configurations.
    if !image.is_index() {
        members["containerimage.config.digest"] = id(layout, image)?.into();
    }
    if !names.is_empty() {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        members["image.name"] = names.join(",").into();
    }
    if !copied.is_empty() {
        members["dock.copied"] = copied.into();
    }
    Ok(format!("{members:#}\n"))
}

fn labels(given: &[String]) -> anyhow::Result<Vec<(String, String)>> {
    let split = |word: &String| {
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        if name.is_empty() {
            Err(usage(format!("--label {word}: want NAME=VALUE")))
        } else {
            Ok((name.into(), value.into()))
        }
    };
    given.iter().map(split).collect()
}

fn contexts(given: &[String]) -> anyhow::Result<BTreeMap<String, Named>> {
    let split = |word: &String| {
        let found = word.split_once('=').filter(|(name, place)| !name.is_empty() && !place.is_empty());
        let (name, place) = found.ok_or_else(|| usage(format!("--build-context {word}: want NAME=PLACE")))?;
        Ok((name.to_owned(), place.parse().map_err(|error| usage(format!("--build-context {name}: {error:#}")))?))
    };
    given.iter().map(split).collect()
}

fn names_are_tags(names: &[Reference]) -> anyhow::Result<()> {
    match names.iter().find(|name| name.digest().is_some()) {
        Some(name) => Err(usage(format!("{name}: a name cannot have a digest: it follows from the content"))),
        None => Ok(()),
    }
}

/// `NAME` alone takes the caller's value, and is nothing when there is none.
fn build_args(given: &[String]) -> anyhow::Result<BTreeMap<String, String>> {
    let mut args = BTreeMap::new();
    for word in given {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (word.as_str(), std::env::var(word).ok()),
        };
        if name.is_empty() {
            return Err(usage(format!("--build-arg {word}: want NAME=VALUE")));
        }
        if let Some(value) = value {
            args.insert(name.to_owned(), value);
        }
    }
    Ok(args)
}

/// Each platform once.
fn distinct(named: Vec<Platform>) -> Vec<Platform> {
    let mut all = Vec::new();
    for platform in named {
        if !all.contains(&platform) {
            all.push(platform);
        }
    }
    all
}

/// The platforms to build for, each with its arguments; one that nobody named is this machine's.
fn platforms(named: &[Platform]) -> Vec<(Option<Platform>, BTreeMap<String, String>)> {
    match named {
        [] => vec![(None, platform_args(None))],
        named => named.iter().map(|platform| (Some(platform.clone()), platform_args(Some(platform)))).collect(),
    }
}

/// As in BuildKit the argument `SOURCE_DATE_EPOCH` is the variable of that name, where it is not given.
fn with_epoch(mut build_args: BTreeMap<String, String>) -> anyhow::Result<(BTreeMap<String, String>, Option<i64>)> {
    if !build_args.contains_key(EPOCH)
        && let Ok(text) = std::env::var(EPOCH)
    {
        build_args.insert(EPOCH.into(), text);
    }
    let given = build_args.get(EPOCH).filter(|text| !text.is_empty());
    let epoch = given.map(|text| text.parse().map_err(|_| usage(format!("invalid {EPOCH}: {text:?}")))).transpose()?;
    Ok((build_args, epoch))
}

/// The arguments of the reference's "automatic platform ARGs".
fn platform_args(target: Option<&Platform>) -> BTreeMap<String, String> {
    let host = Platform::host();
    let mut args = BTreeMap::new();
    for (side, platform) in [("TARGET", target.unwrap_or(&host)), ("BUILD", &host)] {
        args.insert(format!("{side}PLATFORM"), platform.to_string());
        args.insert(format!("{side}OS"), platform.os.clone());
        args.insert(format!("{side}ARCH"), platform.architecture.clone());
        args.insert(format!("{side}VARIANT"), platform.variant.clone().unwrap_or_default());
    }
    args
}

/// The name for messages, and the text.
fn read_dockerfile(args: &Args, place: &Place, opened: &mut Opened) -> anyhow::Result<(String, Vec<u8>)> {
    let mut text = Vec::new();
    let limit = dockerfile::LONGEST;
    let name = match (&args.file, place, opened.dockerfile.take()) {
        (Some(path), ..) if path == Path::new("-") => {
            std::io::stdin().take(limit).read_to_end(&mut text).context("<stdin>")?;
            "<stdin>".to_owned()
        }
        (None, _, Some(whole)) => return Ok(("<stdin>".into(), whole)),
        (given, Place::Directory(_), _) => {
            let path = given.clone().unwrap_or_else(|| args.context.join("Dockerfile"));
            let shown = given.as_ref().map_or_else(|| "Dockerfile".into(), |path| path.display().to_string());
            let file = File::open(&path).with_context(|| format!("{}: open", path.display()))?;
            file.take(limit).read_to_end(&mut text).with_context(|| format!("{}: read", path.display()))?;
            shown
        }
        (given, ..) => {
            let name = given.as_ref().map_or_else(|| "Dockerfile".into(), |path| path.display().to_string());
            text = opened.text(&name)?.with_context(|| format!("{name}: not found in the context"))?;
            name
        }
    };
    if text.len() as u64 >= limit {
        bail!("{name}: longer than {limit} bytes");
    }
    Ok((name, text))
}

/// An error without a line still says which file.
fn named<T>(error: anyhow::Error, name: &str) -> anyhow::Result<T> {
    if error.to_string().starts_with(name) { Err(error) } else { Err(error.context(name.to_owned())) }
}

/// `<Dockerfile>.dockerignore` beats `.dockerignore` of the context.
fn read_ignore(args: &Args) -> anyhow::Result<Ignore> {
    let file = args.file.clone().unwrap_or_else(|| args.context.join("Dockerfile"));
    let mut own = file.into_os_string();
    own.push(".dockerignore");
    for path in [PathBuf::from(own), args.context.join(".dockerignore")] {
        match std::fs::read_to_string(&path) {
            Ok(text) => return Ignore::parse(&text).with_context(|| path.display().to_string()),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("{}: read", path.display())),
        }
    }
    Ok(Ignore::default())
}

fn note_unused(builder: &step::Builder<'_>, graph: &Graph) {
    let used_args = lock(&builder.shared.used_args);
    let used = |name: &String| used_args.contains(name) || graph.globals.contains_key(name) || name == EPOCH;
    let unused: Vec<&str> = builder.args.keys().filter(|name| !used(name)).map(String::as_str).collect();
    if !unused.is_empty() {
        builder.progress.note(&format!("warning: no ARG declares --build-arg {}", unused.join(", ")));
    }
}

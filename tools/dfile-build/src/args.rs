//! The command line, and what its words mean.

use crate::builtin::Builtin;
use crate::cache;
use crate::context::Named;
use crate::output::Output;
use crate::progress::Form;
use crate::running::{self, Running};
use crate::several::Annotation;
use clap::Parser;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use toolkit::{Format, usage};
use wire::{Platform, Reference};

/// No time in the image is later.
pub const EPOCH: &str = "SOURCE_DATE_EPOCH";

/// Build an image from a Dockerfile by running the other tools
#[derive(Debug, Parser)]
#[command(name = "dfile-build", version, about)]
#[expect(clippy::struct_excessive_bools, reason = "docker's flags")]
pub struct Args {
    /// The Dockerfile, - for stdin [default: CONTEXT/Dockerfile]
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Give the image a name; may be repeated
    #[arg(short, long, value_name = "NAME")]
    pub tag: Vec<Reference>,
    /// Set an ARG; without a value, from the environment
    #[arg(long, value_name = "NAME[=VALUE]")]
    pub build_arg: Vec<String>,
    /// Stop after this stage, by name or number
    #[arg(long, value_name = "STAGE")]
    pub target: Option<String>,
    #[command(flatten)]
    pub running: running::Options,
    #[command(flatten)]
    pub caching: cache::Options,
    /// A place that FROM and --from can name: a directory, a git URL, `docker-image://…` or `oci-layout://…`
    #[arg(long, value_name = "NAME=PLACE")]
    pub build_context: Vec<String>,
    /// Where the result goes: DIR, - for a tar, or type=local|tar|oci|docker|image|registry,dest=PATH
    #[arg(short, long, value_name = "WHERE")]
    pub output: Vec<Output>,
    /// Add a label to the image; may be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    pub label: Vec<String>,
    /// The same as --output type=registry
    #[arg(long)]
    pub push: bool,
    /// The same as --output type=docker
    #[arg(long)]
    pub load: bool,
    /// Add an annotation to the manifest, or to the index of several platforms; may be repeated
    #[arg(long, value_name = "[manifest:|index:]KEY=VALUE")]
    pub annotation: Vec<Annotation>,
    /// Build for this platform, as linux/arm64; for several, an index of their images
    #[arg(long, value_name = "OS/ARCH[/VARIANT],...", value_delimiter = ',')]
    pub platform: Vec<Platform>,
    /// Write what was built to a file, as JSON with docker's names
    #[arg(long, value_name = "FILE")]
    pub metadata_file: Option<PathBuf>,
    /// Write the image ID to a file
    #[arg(long, value_name = "FILE")]
    pub iidfile: Option<PathBuf>,
    /// Print only the image record, and the output of a step that fails
    #[arg(short, long)]
    pub quiet: bool,
    /// What stdout gets: records, or with docker the image ID when --quiet, else nothing
    #[arg(long, value_enum, default_value_t = Format::Json)]
    pub format: Format,
    /// How progress is shown
    #[arg(long, value_enum, value_name = "FORM", default_value = "auto")]
    pub progress: Form,
    /// Print what is no good idea in the Dockerfile, by the names of BuildKit's rules, and build nothing
    #[arg(long, conflicts_with = "plan")]
    pub check: bool,
    /// Print what would be built and what of it the cache has, as JSON, and build nothing
    #[arg(long)]
    pub plan: bool,
    /// The image layout, instead of images/ below the root
    #[arg(long, value_name = "DIR")]
    pub layout: Option<PathBuf>,
    /// Where images, layers and the kept state of failed steps are, instead of $`DOCK_ROOT`
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// What COPY and ADD take from: a directory, a git URL, the URL of a tar or of a lone Dockerfile, or - for either on stdin
    pub context: PathBuf,
}

/// What the command line asks for, checked.
#[derive(Debug)]
pub struct Wishes {
    /// Each platform once, and all places for the result among the outputs.
    pub args: Args,
    /// `--build-arg`
    pub build_args: BTreeMap<String, String>,
    /// `SOURCE_DATE_EPOCH`
    pub epoch: Option<i64>,
    /// Those of them that are for the builder.
    pub builtin: Builtin,
    pub running: Running,
    pub labels: Vec<(String, String)>,
    /// `--build-context`
    pub contexts: BTreeMap<String, Named>,
}

impl Wishes {
    /// Errors are the caller's words.
    pub fn of(mut args: Args) -> anyhow::Result<Self> {
        names_are_tags(&args.tag)?;
        args.output.extend(args.push.then(Output::registry).into_iter().chain(args.load.then(Output::store)));
        args.platform = distinct(args.platform);
        let (build_args, epoch) = with_epoch(build_args(&args.build_arg)?)?;
        let builtin = Builtin::of(&build_args)?;
        let running = Running::new(&args.running)?;
        let labels = labels(&args.label)?;
        let contexts = contexts(&args.build_context)?;
        for output in &args.output {
            output.takes(args.platform.len()).map_err(usage)?;
        }
        Ok(Self { args, build_args, epoch, builtin, running, labels, contexts })
    }

    /// The image layout to work on.
    pub fn layout(&self, root: &Path) -> PathBuf {
        let given = self.args.layout.as_deref();
        given.map_or_else(|| root.join("images"), |dir| toolkit::layout_dir(Some(dir)))
    }

    /// The platforms to build for; one that nobody named is this machine's.
    pub fn platforms(&self) -> Vec<Option<Platform>> {
        match &self.args.platform[..] {
            [] => vec![None],
            named => named.iter().cloned().map(Some).collect(),
        }
    }
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

//! Loading is one pass: a tar from a pipe has no order, so every blob goes into the store as it comes, under
//! what it hashes to, and the documents are read at the end. Only then is anything named:
//!
//! ```sh
//! tar -x -C in                                    # <archive
//! for blob in in/blobs/sha256/*; do echo "${blob##*/}  $blob"; done | sha256sum -c
//! cp -n in/blobs/sha256/* "$DOCK_ROOT/images/blobs/sha256/"
//! jq -r '.manifests[] | .annotations["io.containerd.image.name"], .digest' in/index.json     # the names
//! jq -r '.[] | .RepoTags[], .Config, .Layers[]' in/manifest.json                             # docker's, before 25
//! ```
//!
//! Read dock-wire(5), tar(5), and the OCI image specification's image-layout.md.

#![forbid(unsafe_code)]

mod images;
mod intake;
mod reader;

use anyhow::{Context, anyhow, bail};
use clap::Parser;
use images::{Image, Wanted};
use layer_tar::codec;
use oci_layout::Layout;
use std::fs::File;
use std::io::{Cursor, IsTerminal, Read, stdin};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use toolkit::{Format, Out, WithHint, usage};
use wire::{Descriptor, Platform, Record, Reference, annotation};

/// Load a docker or OCI archive into an image layout
#[derive(Debug, Parser)]
#[command(name = "img-load", version, about)]
struct Args {
    /// The image layout, instead of images/ below the root
    #[arg(long, value_name = "DIR")]
    layout: Option<PathBuf>,
    /// Read a file instead of stdin; - is stdin
    #[arg(short, long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Of an image for several platforms the one to load [default: this machine's, else the first that is whole]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<Platform>,
    /// Load an index as it stands, with the images of all its platforms; each must be whole
    #[arg(long, conflicts_with = "platform")]
    all_platforms: bool,
    /// Name the one image of the archive so, instead of as the archive does; may be repeated
    #[arg(short, long, value_name = "NAME")]
    tag: Vec<Reference>,
    /// Move names that point to other images
    #[arg(long)]
    force: bool,
    /// What stdout gets: records, or the lines of docker load
    #[arg(long, value_enum, default_value_t = Format::Json)]
    format: Format,
}

impl Args {
    fn wanted(&self) -> Wanted<'_> {
        if self.all_platforms { Wanted::All } else { Wanted::One(self.platform.as_ref()) }
    }
}

fn main() -> ExitCode {
    toolkit::main(run)
}

#[expect(clippy::needless_pass_by_value, reason = "toolkit::main gives them away")]
fn run(args: Args, out: &mut Out) -> anyhow::Result<()> {
    let (label, from) = open(args.input.clone().filter(|path| path != Path::new("-")))?;
    let layout = Layout::open_or_create(&toolkit::layout_dir(args.layout.as_deref()))?;
    let hold = layout.hold()?;
    let mut spare = true;
    let loaded = load(&layout, &label, from, args.wanted(), &mut spare).and_then(|images| renamed(images, &args.tag));
    spare |= loaded.is_err();
    let Named { done, problems, spare: displaced } = name(&layout, loaded.as_deref().unwrap_or_default(), args.force)?;
    for (_, image, name, descriptor) in done {
        report(&layout, image, name, descriptor, args.format, out)?;
    }
    spare |= displaced;
    drop(hold);
    if spare {
        // What nothing names after all goes, unless somebody is writing: then the next collection takes it.
        layout.try_collect()?;
    }
    loaded?;
    match &problems[..] {
        [] => Ok(()),
        [only] => bail!("{label}: {only}"),
        several => {
            for problem in several {
                toolkit::say(&format!("img-load: {label}: {problem}"));
            }
            bail!("{label}: {} images were not loaded", several.len())
        }
    }
}

fn open(path: Option<PathBuf>) -> anyhow::Result<(String, File)> {
    if let Some(path) = path {
        let label = path.display().to_string();
        return Ok((label.clone(), File::open(path).context(label)?));
    }
    if stdin().is_terminal() {
        return Err(usage("stdin is a terminal: name an archive with -i, or pipe one in"));
    }
    toolkit::widen_pipe(stdin());
    Ok(("<stdin>".into(), stdin().as_fd().try_clone_to_owned().context("<stdin>")?.into()))
}

/// Everything is in the store, verified, and nothing has a name yet. `spare`: also blobs that no image has which
/// was found, as those of other platforms.
fn load(
    layout: &Layout,
    label: &str,
    from: impl Read + Send,
    wanted: Wanted<'_>,
    spare: &mut bool,
) -> anyhow::Result<Vec<Image>> {
    let tar = plain(from).with_context(|| label.to_owned())?;
    let archive = intake::Archive::read(layout, tar).with_context(|| label.to_owned())?;
    let found = images::find(layout, &archive, wanted).with_context(|| label.to_owned())?;
    match &found.incomplete[..] {
        [] => {}
        [only] => return Err(anyhow!("{label}: nothing was loaded: {only}")).hint(incomplete),
        several => {
            for image in several {
                toolkit::say(&format!("img-load: {label}: {image}"));
            }
            let count = several.len();
            return Err(anyhow!("{label}: nothing was loaded: {count} images are not whole")).hint(incomplete);
        }
    }
    for skipped in &found.skipped {
        toolkit::say(&format!("img-load: {label}: skipped: {skipped}"));
    }
    if found.images.is_empty() {
        bail!("{label}: nothing to load: no image in it");
    }
    let reached = images::reached(layout, &found.images)?;
    *spare = archive.digests().any(|digest| !reached.contains(digest));
    Ok(found.images)
}

fn incomplete() -> String {
    "was it saved with an older --have list? save it again with what 'img-ls --have' prints here now".into()
}

/// The user's names in place of the archive's.
fn renamed(mut images: Vec<Image>, names: &[Reference]) -> anyhow::Result<Vec<Image>> {
    if names.is_empty() {
        return Ok(images);
    }
    if let Some(name) = names.iter().find(|name| name.digest().is_some()) {
        return Err(usage(format!("{name}: a name cannot have a digest: it follows from the content")));
    }
    let count = images.len();
    let [image] = &mut images[..] else { bail!("--tag names one image, and the archive has {count}") };
    image.names = names.to_vec();
    image.descriptor.annotations.shift_remove(annotation::SOURCE_DIGEST);
    Ok(images)
}

/// The tar in whatever it is compressed with: people keep archives as .tar.gz, .tar.xz, .tar.zst.
fn plain<'a>(mut from: impl Read + Send + 'a) -> anyhow::Result<Box<dyn Read + Send + 'a>> {
    let mut start = Vec::new();
    from.by_ref().take(1).read_to_end(&mut start)?;
    if start.is_empty() {
        bail!("no archive: it is empty");
    }
    Ok(codec::decoder(codec::foreign(Cursor::new(start).chain(from))?)?)
}

/// What came of the names.
#[derive(Default)]
struct Named<'a> {
    /// In the order of the images, each with its place in it.
    done: Vec<(usize, &'a Image, Option<&'a Reference>, Descriptor)>,
    problems: Vec<String>,
    /// Blobs may be left over.
    spare: bool,
}

/// Names the images, all under one lock: two that load at once cannot both find a name free. A name that points to
/// another image stays where it is (CVE-2026-50195).
fn name<'a>(layout: &Layout, images: &'a [Image], force: bool) -> anyhow::Result<Named<'a>> {
    let mut named = Named::default();
    for (at, image) in images.iter().enumerate().filter(|(_, image)| image.names.is_empty()) {
        layout.add_unnamed(image.descriptor.clone())?;
        named.done.push((at, image, None, image.descriptor.clone()));
    }
    let pairs = images.iter().enumerate().flat_map(|(at, image)| image.names.iter().map(move |name| (at, image, name)));
    layout.name_many(pairs.map(|wanted| (wanted.2.to_string(), wanted)), |(at, image, name), there| {
        let mut descriptor = image.descriptor.clone();
        descriptor.annotations.insert(annotation::REF_NAME.into(), name.to_string().into());
        let same = there.is_some_and(|there| same(layout, there, image));
        match there {
            // Of an image for one platform, the index that has it is more of the same.
            Some(there) if same && !descriptor.is_index() => {
                named.spare |= there.digest != descriptor.digest;
                named.done.push((at, image, Some(name), there.clone()));
                None
            }
            Some(there) if !same && !force => {
                named.spare = true;
                named.problems.push(format!(
                    "{}: the name is that of another image ({}) already; --force moves it",
                    name.familiar(),
                    there.digest.short()
                ));
                None
            }
            _ => {
                named.done.push((at, image, Some(name), descriptor.clone()));
                Some(descriptor)
            }
        }
    })?;
    named.done.sort_by_key(|(at, ..)| *at);
    Ok(named)
}

/// By manifest, or by image ID: the same image that came from a registry keeps its manifest.
fn same(layout: &Layout, entry: &Descriptor, image: &Image) -> bool {
    entry.digest == image.descriptor.digest || layout.open_image(entry, None).is_ok_and(|there| *there.id() == image.id)
}

fn report(
    layout: &Layout,
    image: &Image,
    name: Option<&Reference>,
    descriptor: Descriptor,
    format: Format,
    out: &mut Out,
) -> anyhow::Result<()> {
    if format == Format::Docker {
        let line = match name {
            Some(name) => format!("Loaded image: {}\n", name.familiar()),
            None => format!("Loaded image ID: {}\n", image.id),
        };
        return out.text(&line);
    }
    let reference = name.map(ToString::to_string);
    let record = wire::Image { layout: layout.path().into(), reference, descriptor, rest: serde_json::Map::new() };
    out.record(&Record::Image(record))
}

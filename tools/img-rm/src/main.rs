//! img-rm: takes names from a layout, and collects what no name reaches. A sink.
//!
//! The lesson: removing an image is taking an entry out of `index.json`. Blobs are shared between images, so
//! they go only afterwards: mark everything that the remaining entries (and the pins of the build cache) reach,
//! sweep the rest. A lock keeps the sweep away from blobs that somebody is writing and has not named yet.
//! By hand:
//!
//!     jq 'del(.manifests[] | select(.annotations[…] == "NAME"))' index.json >new && mv new index.json
//!     jq -r '.. | .digest? // empty | ltrimstr("sha256:")' index.json blobs/sha256/… | sort -u >reached
//!     ls blobs/sha256 | sort | comm -13 reached -
//!
//! Read: docker-rmi(1), docker-image-prune(1); flock(2).

#![forbid(unsafe_code)]

mod containers;
mod filter;
mod prune;

use anyhow::{Context, bail};
use bundle::Layers;
use clap::Parser;
use containers::Users;
use filter::Filter;
use oci_layout::{Layout, OpenImage};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use toolkit::{Failure, Failures, Out};
use wire::{Descriptor, Digest, Record, Reference, annotation, exit};

/// Take names from a layout and collect what no name reaches
#[derive(Debug, Parser)]
#[command(name = "img-rm", version, about)]
struct Args {
    /// The image layout [default: images below the root]
    #[arg(long, value_name = "DIR")]
    layout: Option<PathBuf>,
    /// Where containers are looked for that use the image [default: /var/lib/dock]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Remove an image that has several names, or that a stopped container uses; one that is not there is no failure
    #[arg(short, long)]
    force: bool,
    /// Remove every image without a name that no container uses, too, and say what that frees
    #[arg(long)]
    prune: bool,
    /// With --prune also images with names, when no container uses them
    #[arg(short, long, requires = "prune")]
    all: bool,
    /// With --prune only images that match: until=TIME, label=KEY[=VALUE], label!=KEY[=VALUE]
    #[arg(long, value_name = "KEY=VALUE", requires = "prune")]
    filter: Vec<Filter>,
    /// The images, by name, by ID or the start of one; without any, the image records on stdin
    image: Vec<String>,
}

fn main() -> ExitCode {
    toolkit::main(run)
}

#[expect(clippy::needless_pass_by_value, reason = "toolkit::main gives them away")]
fn run(args: Args, out: &mut Out) -> anyhow::Result<()> {
    let root = toolkit::root_dir(args.root.as_deref());
    // Layers may have been unpacked for other IDs than this user's.
    subids::enter_that_of(&root)?;
    let place = layout_dir(&args);
    if args.prune && args.image.is_empty() && args.layout.is_none() && !place.exists() {
        // The store that nobody has used yet.
        return out.text("Total reclaimed space: 0B\n");
    }
    let layout = Layout::open(&place)?;
    let users = Users::of(&root, &toolkit::run_dir())?;
    let mut failed = Failures::of("img-rm");
    for operand in operands(&args)? {
        // One that cannot be removed does not keep the others.
        match remove(&layout, &users, &operand, args.force, out) {
            Ok(()) => {}
            // What is to be gone by all means, and is gone, is told and no failure: as docker has it.
            Err(error) if args.force && is_not_found(&error) => toolkit::report("img-rm", &error),
            Err(error) => failed.add(error),
        }
    }
    // First of all: on a full disk even the index has no room to be written.
    let mut freed = if args.prune { layout.discard_partial()? } else { 0 };
    if args.prune {
        prune::prune(&layout, &users, args.all, &args.filter, out)?;
    }
    freed += collect(&layout)? + collect_layers(&layout, &root)?;
    if args.prune {
        out.text(&format!("Total reclaimed space: {}\n", table::size(freed)))?;
    }
    failed.finish()
}

fn is_not_found(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(oci_layout::Error::NotFound(_)))
}

/// `--root` moves the images with the containers.
fn layout_dir(args: &Args) -> PathBuf {
    match (&args.layout, &args.root) {
        (None, Some(root)) => toolkit::layout_dir(Some(&root.join("images"))),
        (given, _) => toolkit::layout_dir(given.as_deref()),
    }
}

fn operands(args: &Args) -> anyhow::Result<Vec<String>> {
    if !args.image.is_empty() || args.prune {
        return Ok(args.image.clone());
    }
    let operand = |record| match record {
        Record::Image(image) => Ok(image.reference.unwrap_or_else(|| image.descriptor.digest.to_string())),
        other => bail!("<stdin>: a {} record; this tool takes images", other.kind()),
    };
    toolkit::read_records("image")?.into_iter().map(operand).collect()
}

fn remove(layout: &Layout, users: &Users, operand: &str, force: bool, out: &mut Out) -> anyhow::Result<()> {
    let entry = layout.find(operand)?;
    let image = layout.open_image(&entry, None).ok();
    let id = image.as_ref().map_or(&entry.digest, OpenImage::id).clone();
    let names = names_of(layout, &id)?;
    let asked = name_of(&entry).filter(|name| is_by_name(operand, name));
    if let Some(name) = asked {
        let last = names.len() == 1;
        if last && let Some(user) = users.of_image(&id, &entry.digest).filter(|_| !force) {
            let (shown, id) = (familiar(name), id.short());
            return conflict(
                &shown,
                "must be forced",
                &format!("container {} is using its referenced image {id}", user.short()),
            );
        }
        if last && users.of_image(&id, &entry.digest).is_some_and(|user| user.lives) {
            // A running container's image stays, without a name.
            layout.unname_but_keep(name)?;
            return say(&untagged(&entry), out);
        }
        layout.unname(name)?;
        say(&untagged(&entry), out)?;
        if !last {
            return Ok(());
        }
    } else {
        let (shown, user) = (id.short(), users.of_image(&id, &entry.digest));
        if let Some(user) = user.filter(|user| user.lives) {
            return conflict(
                shown,
                "cannot be forced",
                &format!("image is being used by running container {}", user.short()),
            );
        }
        if names.len() > 1 && !force {
            return conflict(shown, "must be forced", "image is referenced in multiple repositories");
        }
        if let Some(user) = user.filter(|_| !force) {
            return conflict(
                shown,
                "must be forced",
                &format!("image is being used by stopped container {}", user.short()),
            );
        }
        for named in &names {
            say(&untagged(named), out)?;
        }
    }
    say(&delete(layout, &entry, &id, image.as_ref())?, out)
}

fn say(lines: &[String], out: &mut Out) -> anyhow::Result<()> {
    lines.iter().try_for_each(|line| out.text(&format!("{line}\n")))
}

fn conflict<T>(shown: &str, may: &str, why: &str) -> anyhow::Result<T> {
    Err(Failure::with_code(exit::FAILED, format!("conflict: unable to delete {shown} ({may}) - {why}")))
}

fn name_of(entry: &Descriptor) -> Option<&str> {
    entry.annotation(annotation::REF_NAME)
}

/// Whether the operand was a name and not an ID.
fn is_by_name(operand: &str, name: &str) -> bool {
    operand == name
        || operand.parse::<Reference>().is_ok_and(|full| full.to_string() == name || full.digest().is_some())
}

fn familiar(name: &str) -> String {
    name.parse::<Reference>().map_or_else(|_| name.to_owned(), |reference| reference.familiar())
}

/// Every entry with a name whose image has this ID.
fn names_of(layout: &Layout, id: &Digest) -> anyhow::Result<Vec<Descriptor>> {
    let mut entries = layout.index()?;
    entries.retain(|entry| name_of(entry).is_some() && id_of(layout, entry) == *id);
    Ok(entries)
}

fn id_of(layout: &Layout, entry: &Descriptor) -> Digest {
    layout.open_image(entry, None).map_or_else(|_| entry.digest.clone(), |image| image.id().clone())
}

/// The lines for a name that goes.
fn untagged(entry: &Descriptor) -> Vec<String> {
    let Some(name) = name_of(entry) else { return Vec::new() };
    let mut lines = vec![format!("Untagged: {}", familiar(name))];
    if let (Some(digest), Ok(reference)) = (entry.annotation(annotation::SOURCE_DIGEST), name.parse::<Reference>())
        && reference.digest().is_none()
    {
        lines.push(format!("Untagged: {}@{digest}", reference.familiar_repository()));
    }
    lines
}

/// Takes every entry of the image away and says what has gone, layers that no other image has included.
fn delete(layout: &Layout, entry: &Descriptor, id: &Digest, image: Option<&OpenImage>) -> anyhow::Result<Vec<String>> {
    layout.forget(&entry.digest)?;
    for other in layout.index()? {
        if id_of(layout, &other) == *id {
            layout.forget(&other.digest)?;
        }
    }
    let mut lines = vec![format!("Deleted: {id}")];
    let kept = layout.chain_ids()?;
    let chain = image.map(OpenImage::chain_ids).unwrap_or_default();
    lines.extend(chain.iter().rev().filter(|id| !kept.contains(id)).map(|id| format!("Deleted: {id}")));
    Ok(lines)
}

/// What somebody writes is left to the next img-rm.
fn collect(layout: &Layout) -> anyhow::Result<u64> {
    match layout.collect_unless_busy() {
        Err(busy @ oci_layout::Error::Busy(_)) => {
            toolkit::say(&format!("img-rm: {busy}"));
            Ok(0)
        }
        removed => Ok(removed.context("collect")?.iter().map(|(_, size)| size).sum()),
    }
}

/// Layers were unpacked for containers; without an image or a bundle that has them, nobody finds them again.
fn collect_layers(layout: &Layout, root: &Path) -> anyhow::Result<u64> {
    // Another layout says nothing of the images whose layers these are.
    if !root.join("images").canonicalize().is_ok_and(|images| layout.path().canonicalize().is_ok_and(|l| l == images)) {
        return Ok(0);
    }
    Ok(Layers::new(root).collect(&layout.chain_ids()?).context("unpacked layers")?.bytes)
}

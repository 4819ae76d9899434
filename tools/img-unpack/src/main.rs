//! An image is a list of layers, each a tar of what it changes. Put one over the other, they are a root file
//! system; with a `config.json` beside it they are a bundle that any OCI runtime starts:
//!
//! ```sh
//! mkdir -p box/rootfs
//! for layer in $(jq -r '.layers[].digest' manifest.json); do          # lowest first
//!     tar -C box/rootfs -xzpf "blobs/sha256/${layer#sha256:}"           # then do what its .wh.* files say
//! done
//! ```
//!
//! With `--overlay` every layer is unpacked once, into a directory of its own that all containers share, and the
//! kernel shows them as one: `mount -t overlay -o lowerdir=c:b:a,upperdir=upper,workdir=work overlay rootfs`.
//! ctr-spawn(1) mounts it, in the container's own mount namespace.
//!
//! Read overlay in the kernel's Documentation/filesystems, mount(2), openat2(2), tar(5), and the OCI image
//! specification's layer.md.

#![forbid(unsafe_code)]

mod choose;
mod ids;
mod layers;
mod place;
mod plan;
mod stream;

use anyhow::Context;
use clap::Parser;
use layer_tar::{Loss, Owners};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use toolkit::Out;
use wire::{Bundle, Overlay, Platform, exit};

/// Unpack an image into a runtime bundle, or as one flat tar
#[derive(Debug, Parser)]
#[command(
    name = "img-unpack",
    version,
    about,
    override_usage = "img-unpack [OPTIONS] [IMAGE] BUNDLE\n       img-unpack [OPTIONS] --plan [IMAGE]\n       img-unpack [OPTIONS] --tar [IMAGE] [-]"
)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
struct Args {
    /// The image (without one: an image record on stdin), and the directory to make: absent or empty
    #[arg(value_name = "IMAGE BUNDLE", num_args = 0..=2)]
    operands: Vec<String>,
    /// One complete tree in BUNDLE/rootfs (the default)
    #[arg(long, group = "mode")]
    flat: bool,
    /// A directory for each layer, shared by all bundles, to be mounted over each other
    #[arg(long, group = "mode")]
    overlay: bool,
    /// The tree as one tar on stdout; needs neither disk nor privilege
    #[arg(long, group = "mode")]
    tar: bool,
    /// Who owns the files, for an ordinary user: he himself, or whom the image says, by his subuid ranges (the default with --overlay, if he has any)
    #[arg(long, value_enum, value_name = "WHO", conflicts_with = "tar")]
    owners: Option<ids::Who>,
    /// Keep the image's security labels (security.selinux); with --overlay those of layers unpacked before stay as they are
    #[arg(long, conflicts_with = "tar")]
    selinux: bool,
    /// Print as JSON what would be done, and which IDs own files in the image; writes nothing
    #[arg(long, conflicts_with = "tar")]
    plan: bool,
    /// Print what is done as lines of shell, on stderr
    #[arg(long, conflicts_with = "tar")]
    explain: bool,
    /// The platform to take of an image for many, as linux/arm64
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<Platform>,
    /// Say nothing where the image is not there, and exit 1
    #[arg(long)]
    if_there: bool,
    /// The image layout, instead of images/ below the root
    #[arg(long, value_name = "DIR")]
    layout: Option<PathBuf>,
    /// Where images and layers are, instead of `$DOCK_ROOT`
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
}

fn main() -> ExitCode {
    toolkit::main_with_codes(exit::FAILED, exit::USAGE, run)
}

#[expect(clippy::needless_pass_by_value, reason = "the signature of every run")]
fn run(args: Args, out: &mut Out) -> anyhow::Result<u8> {
    // A plan makes nothing: the bundle may be left out.
    let operands = if args.plan { args.operands.get(..1).unwrap_or_default() } else { &args.operands[..] };
    let (image, bundle) = choose::operands(operands, args.tar || args.plan)?;
    if args.tar {
        toolkit::refuse_terminal("a tar")?;
    }
    let root = toolkit::root_dir(args.root.as_deref());
    let makes = !args.tar && !args.plan;
    let owners = if makes { ids::settle(args.owners, args.overlay, &root)? } else { Owners::Mine };
    let layout = args.layout.as_deref().map_or_else(|| root.join("images"), |dir| toolkit::layout_dir(Some(dir)));
    let mut chosen = match choose::image(image, &layout, args.platform.as_ref()) {
        Err(_) if args.if_there => return Ok(exit::FAILED),
        chosen => chosen?,
    };
    chosen.selinux = args.selinux;
    // A collector that runs now must not take what is still to be read.
    let _hold = chosen.layout.hold_to_read()?;
    if args.tar {
        toolkit::widen_pipe(std::io::stdout());
        return layers::tar(&chosen, out.bytes()).map(|()| exit::DONE);
    }
    let store = bundle::Layers::new(&root);
    if args.plan {
        return out.text(&format!("{}\n", plan::json(&chosen, args.overlay, store.path())?)).map(|()| exit::DONE);
    }
    // To know costs reading all of the image; layers that are there already have their owners.
    if owners == Owners::Mapped && !(args.overlay && layers::all_there(&chosen, store.path())) {
        plan::ids_are_there(&chosen)?;
    }
    if args.explain {
        for line in plan::explain(&chosen, args.overlay, store.path(), bundle) {
            toolkit::say(&line);
        }
    }
    // Files get their mode when they are made, not in a second step.
    rustix::process::umask(rustix::fs::Mode::empty());
    let mut dir = place::NewDir::make(bundle)?;
    let mut loss = Loss::default();
    // The note that we use the layers comes before the look whether they are there: else a collector takes them.
    let claim = args.overlay.then(|| store.claim(dir.path(), &chosen.image.chain_ids())).transpose()?;
    let overlay = if args.overlay {
        let lower = layers::shared(&chosen, store.path(), owners, &mut loss)?;
        Some(overlay(dir.path(), lower, owners)?)
    } else {
        flat(dir.path(), &chosen, owners, &mut loss)?;
        None
    };
    let image = Some(chosen.record());
    let mut record = Bundle { path: dir.path().into(), image, overlay, rest: rest(owners, loss)? };
    bundle::begin_init_layer(&mut record)?;
    bundle::save_from_image(dir.path(), &record, &chosen.image.config).context(chosen.name.clone())?;
    dir.keep();
    if let Some(claim) = claim {
        claim.keep(&store, dir.path());
    }
    report(loss, &root);
    out.record(&record.into()).map(|()| exit::DONE)
}

fn flat(dir: &Path, chosen: &choose::Chosen, owners: Owners, loss: &mut Loss) -> anyhow::Result<()> {
    let rootfs = place::make_dir(&dir.join("rootfs"), 0o755)?;
    layers::flat(chosen, &rootfs, owners, loss)
}

/// What the record says beside the paths: the user namespace that the files belong to, and what is missing.
fn rest(owners: Owners, loss: Loss) -> anyhow::Result<Map<String, serde_json::Value>> {
    let mut rest = Map::new();
    if owners == Owners::Mapped {
        rest.extend(mapping()?);
    }
    if loss != Loss::default() {
        let Loss { devices, xattrs, owners } = loss;
        rest.insert("losses".into(), json!({ "devices": devices, "xattrs": xattrs, "owners": owners }));
    }
    Ok(rest)
}

/// As members of the record.
fn mapping() -> anyhow::Result<Map<String, Value>> {
    let mapping = serde_json::to_value(subids::Mapping::of_process()?)?;
    mapping.as_object().cloned().context("mapping: not an object")
}

/// Empty directories, and a record of what is to be mounted on them.
fn overlay(dir: &Path, mut lower: Vec<PathBuf>, owners: Owners) -> anyhow::Result<Overlay> {
    place::make_dir(&dir.join("rootfs"), 0o755)?;
    let upper = place::make_dir(&dir.join("upper"), 0o755)?;
    place::make_dir(&dir.join("work"), 0o700)?;
    if let Some(top) = lower.last() {
        // The upper directory is what the root of the mount looks like.
        place::copy_root(top, &upper)?;
    } else {
        // overlayfs wants a layer, even for an image that has none.
        lower.push(dir.join("empty"));
        place::make_dir(&dir.join("empty"), 0o755)?;
    }
    Ok(Overlay {
        lower: lower.into_iter().rev().map(Into::into).collect(),
        upper: dir.join("upper").into(),
        work: dir.join("work").into(),
        userxattr: layers::userxattr(owners),
    })
}

/// Nothing is lost in silence.
fn report(loss: Loss, root: &Path) {
    if loss != Loss::default() {
        toolkit::say(&format!(
            "img-unpack: note: left out, for want of privilege or of a file system that holds them: \
             {} device nodes, {} extended attributes, {} owners",
            loss.devices, loss.xattrs, loss.owners
        ));
        if let Some(hint) = ids::missing(root).filter(|_| loss.owners > 0) {
            toolkit::say(&format!("hint: {hint}"));
        }
    }
}

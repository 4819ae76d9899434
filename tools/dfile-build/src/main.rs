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
mod args;
mod base;
mod below;
mod board;
mod build;
mod builder;
mod builtin;
mod cache;
mod caches;
mod check;
mod context;
mod copies;
mod copy;
mod copying;
mod delivery;
mod elsewhere;
mod git;
mod image;
mod inline;
mod input;
mod live;
mod lookup;
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
mod stage;
mod state;
mod step;
mod take;
mod variant;
mod web;

use args::{Args, Wishes};
use build::Build;
use input::Input;
use oci_layout::Layout;
use progress::{Form, Progress};
use scratch::Scratch;
use siblings::Siblings;
use std::collections::HashMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use subids::Mapping;
use toolkit::Out;
use variant::Variant;
use wire::exit;

fn main() -> ExitCode {
    toolkit::main_with_codes(exit::FAILED, exit::USAGE, run)
}

fn run(args: Args, out: &mut Out) -> anyhow::Result<u8> {
    let wishes = Wishes::of(args)?;
    let root = toolkit::root_dir(wishes.args.root.as_deref());
    if !wishes.args.plan && !wishes.args.check {
        own_namespace(&root)?;
    }
    let scratch = Scratch::new(&root);
    let layout = wishes.layout(&root);
    let mut siblings = Siblings::new(root, layout, wishes.epoch)?;
    let input = Input::read(&wishes, &scratch, &siblings)?;
    siblings.epoch = siblings.epoch.or(input.made);
    let (name, text) = (input.file.name.clone(), input.text.clone());
    input::with_line(make(wishes, siblings, scratch, input, out), &name, &text)
}

/// What the Dockerfile is read for: a list of findings, a plan, or an image.
fn make(
    wishes: Wishes,
    mut siblings: Siblings,
    scratch: Scratch,
    mut input: Input,
    out: &mut Out,
) -> anyhow::Result<u8> {
    let Args { plan, check, quiet, .. } = wishes.args;
    input.file.check = wishes.builtin.check.clone().or(input.file.check);
    let variants = Variant::all(&input.file, &wishes)?;
    let graph = &variants[0].graph;
    let target = graph.target(wishes.args.target.as_deref())?;
    let stored = Layout::open(&siblings.layout).ok();
    let findings = check::findings(&input.file, graph, &input.ignore, stored.as_ref());
    if check {
        let clean = check::report(&findings, &input.file, &input.text, out)?;
        return Ok(if clean { exit::DONE } else { exit::FAILED });
    }
    if !plan {
        check::refuse(&findings, &input.file)?;
    }
    let layout = match stored {
        None if plan => return plan::print(graph, target, &HashMap::new(), out),
        Some(layout) if plan => layout,
        _ => Layout::open_or_create(&siblings.layout)?,
    };
    layout.path().clone_into(&mut siblings.layout);
    let form = if plan || quiet { Form::Quiet } else { wishes.args.progress };
    let context = Arc::new(input.context.ignoring(input.ignore));
    let progress = Progress::new(form);
    let mut build = Build { wishes, siblings, scratch, layout, context, progress, elsewhere: Vec::new() };
    if plan {
        return plan::print(graph, target, &build.cached_steps(&variants[0], target)?, out);
    }
    if let Some(syntax) = &input.file.syntax {
        build.progress.note(&format!("note: # syntax={syntax} is not fetched: this program is the frontend"));
    }
    build.look_elsewhere();
    // From the first step to the name, nobody may collect what we have made.
    let _hold = build.layout.hold()?;
    let built = build.run(&variants, target)?;
    if let Some(summary) = check::summary(&findings) {
        build.progress.words(&summary);
    }
    delivery::deliver(&build, &built, out)?;
    Ok(exit::DONE)
}

/// An ordinary user with subordinate IDs builds as root of one user namespace: every tool that runs is in it.
fn own_namespace(root: &Path) -> anyhow::Result<()> {
    Mapping::begin(root, bundle::Layers::new(root).is_empty()?)?;
    Ok(())
}

//! What becomes of an image that is built: its names, the places where it was wanted, what is said of it in files and on
//! stdout.

use crate::build::{Build, Built};
use crate::output::Output;
use anyhow::Context;
use oci_layout::Layout;
use serde_json::{Value, json};
use toolkit::{Format, Out};
use wire::{Descriptor, Image, Record, Reference};

/// Only now, with everything in place, does the image get its names, or goes where it was wanted.
pub fn deliver(build: &Build, Built { image, copied }: &Built, out: &mut Out) -> anyhow::Result<()> {
    let (layout, args) = (&build.layout, &build.wishes.args);
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
        output.deliver(&build.siblings, &record(None), &names, &args.platform).context("--output")?;
    }
    if let Some(path) = &args.iidfile {
        std::fs::write(path, id(layout, image)?).with_context(|| format!("{}: write", path.display()))?;
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
fn metadata(layout: &Layout, image: &Descriptor, names: &[Reference], copied: &[Value]) -> anyhow::Result<String> {
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

//! Which images go where: IMAGE operands, else the records on stdin.

use crate::Args;
use anyhow::{Context, bail};
use oci_layout::Layout;
use std::path::Path;
use toolkit::{Format, usage};
use wire::{Descriptor, Record, Reference, annotation};

/// One image and its name at the registry.
#[derive(Debug)]
pub struct Chosen {
    /// Where it is.
    pub layout: Layout,
    /// Its manifest or index there.
    pub descriptor: Descriptor,
    /// Where it goes.
    pub to: Reference,
}

/// Looks everything up before the first request is sent.
pub fn images(args: &Args) -> anyhow::Result<Vec<Chosen>> {
    if args.to.is_some() && args.images.len() > 1 {
        return Err(usage("--to takes one IMAGE"));
    }
    if args.images.is_empty() {
        if args.auth.as_deref() == Some(Path::new("-")) {
            return Err(usage("--auth -: stdin has the image records; name another file, as /dev/fd/3"));
        }
        return toolkit::read_records("image")?.into_iter().map(|record| of_record(args, record)).collect();
    }
    let layout = Layout::open(&toolkit::layout_dir(args.layout.as_deref()))?;
    let mut images = Vec::new();
    for operand in &args.images {
        if args.all_tags {
            images.extend(all_tags(&layout, operand)?);
            continue;
        }
        let descriptor = match layout.find(operand) {
            Err(oci_layout::Error::NotFound(_)) if args.format == Format::Docker => {
                let name = operand.parse::<Reference>().map_or(operand.clone(), |name| name.familiar_repository());
                bail!("An image does not exist locally with the tag: {name}");
            }
            other => other.context(operand.clone())?,
        };
        let to = destination(args, operand.parse().ok())
            .filter(|to| args.to.is_some() || descriptor.annotation(annotation::REF_NAME) == Some(&to.to_string()))
            .or_else(|| destination(args, descriptor.annotation(annotation::REF_NAME)?.parse().ok()))
            .ok_or_else(|| usage(format!("{operand}: an image without a name: say --to where")))?;
        images.push(Chosen { layout: layout.clone(), descriptor, to });
    }
    Ok(images)
}

fn of_record(args: &Args, record: Record) -> anyhow::Result<Chosen> {
    let Record::Image(image) = record else { bail!("<stdin>: want an image record, got a {} record", record.kind()) };
    let layout = Layout::open(args.layout.as_deref().unwrap_or(image.layout.as_path()))?;
    let to = destination(args, image.reference.and_then(|name| name.parse().ok()))
        .ok_or_else(|| usage("<stdin>: an image without a name: say --to where"))?;
    Ok(Chosen { layout, descriptor: image.descriptor, to })
}

fn destination(args: &Args, name: Option<Reference>) -> Option<Reference> {
    args.to.clone().or(name)
}

fn all_tags(layout: &Layout, operand: &str) -> anyhow::Result<Vec<Chosen>> {
    let repository: Reference = operand.parse().map_err(|error: wire::ReferenceError| usage(error.to_string()))?;
    if operand.contains('@') || operand.rsplit('/').next().is_some_and(|last| last.contains(':')) {
        return Err(usage("tag can't be used with --all-tags/-a"));
    }
    let named = |descriptor: Descriptor| {
        let to: Reference = descriptor.annotation(annotation::REF_NAME)?.parse().ok()?;
        let ours = to.repository() == repository.repository() && to.digest().is_none();
        ours.then(|| Chosen { layout: layout.clone(), descriptor, to })
    };
    let images: Vec<Chosen> = layout.index()?.into_iter().filter_map(named).collect();
    if images.is_empty() {
        bail!("An image does not exist locally with the tag: {}", repository.familiar_repository());
    }
    Ok(images)
}

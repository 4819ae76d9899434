//! Which images: IMAGE operands, else the records on stdin.

use anyhow::{Context, bail};
use oci_layout::{Layout, OpenImage};
use serde_json::{Map, Value};
use std::path::Path;
use toolkit::usage;
use wire::{Descriptor, Platform, Record, Reference, annotation};

/// One image under one name.
#[derive(Debug, Clone)]
pub struct Chosen {
    /// What was asked for, for messages.
    pub operand: String,
    /// Where it is.
    pub layout: Layout,
    /// The name that it is saved under; an image that was asked for by its ID has none.
    pub name: Option<String>,
    /// The annotations of the layout's entry.
    pub annotations: Map<String, Value>,
    /// The manifest, read.
    pub image: OpenImage,
}

/// Looks every operand up before a byte is written.
pub fn operands(layout: &Path, operands: &[String], platform: Option<&Platform>) -> anyhow::Result<Vec<Chosen>> {
    let layout = Layout::open(layout)?;
    let choose = |operand: &String| {
        let entry = layout.find(operand).context(operand.clone())?;
        let name = entry.annotation(annotation::REF_NAME).filter(|name| asked_by_name(operand, name)).map(Into::into);
        open(operand, &layout, name, &entry, platform)
    };
    operands.iter().map(choose).collect()
}

fn asked_by_name(operand: &str, name: &str) -> bool {
    name == operand || operand.parse::<Reference>().is_ok_and(|full| full.to_string() == name)
}

/// The records of `dfile-build | img-save`.
pub fn records(platform: Option<&Platform>) -> anyhow::Result<Vec<Chosen>> {
    let choose = |record| match record {
        Record::Image(record) => {
            let operand = record.reference.clone().unwrap_or_else(|| record.descriptor.digest.to_string());
            let layout = Layout::open(record.layout.as_path())?;
            open(&operand, &layout, record.reference, &record.descriptor, platform)
        }
        other => bail!("<stdin>: want an image record, got a {} record", other.kind()),
    };
    toolkit::read_records("image")?.into_iter().map(choose).collect()
}

/// One image under other names: what was asked for stays where it is.
pub fn renamed(mut images: Vec<Chosen>, names: &[Reference]) -> anyhow::Result<Vec<Chosen>> {
    images.dedup_by(|a, b| a.image.descriptor.digest == b.image.descriptor.digest);
    let [image] = &images[..] else { return Err(usage("--tag names one image, not several")) };
    let under = |name: &Reference| {
        if name.digest().is_some() {
            return Err(usage(format!("{name}: a name cannot have a digest: it follows from the content")));
        }
        // What a registry gave belongs to the repository that it came from.
        let mut renamed = Chosen { name: Some(name.to_string()), ..image.clone() };
        renamed.annotations.shift_remove(annotation::SOURCE_DIGEST);
        Ok(renamed)
    };
    names.iter().map(under).collect()
}

fn open(
    operand: &str,
    layout: &Layout,
    name: Option<String>,
    entry: &Descriptor,
    platform: Option<&Platform>,
) -> anyhow::Result<Chosen> {
    let image = layout.open_image(entry, platform).context(operand.to_owned())?;
    for blob in image.manifest.layers.iter().chain([&image.manifest.config]) {
        if layout.has(&blob.digest) != Some(blob.size) {
            bail!("{operand}: {}: not in the layout, or of another size than its {} bytes", blob.digest, blob.size);
        }
    }
    // A name may pin the digest of the index that the image was pulled from. Who loads it has no index to check
    // that by, and would refuse the name.
    let pins_other = |name: &String| {
        name.parse::<Reference>().is_ok_and(|name| name.digest().is_some_and(|pin| *pin != image.descriptor.digest))
    };
    let name = name.filter(|name| !pins_other(name));
    let mut annotations = entry.annotations.clone();
    if entry.digest != image.descriptor.digest {
        annotations.insert(annotation::SOURCE_DIGEST.into(), entry.digest.to_string().into());
    }
    Ok(Chosen { operand: operand.into(), layout: layout.clone(), name, annotations, image })
}

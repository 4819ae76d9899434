//! Which images: IMAGE operands, else the records on stdin.

use anyhow::{Context, anyhow, bail};
use oci_layout::{Error, Layout, OpenImage};
use serde_json::{Map, Value};
use std::path::Path;
use toolkit::{WithHint, usage};
use wire::{Descriptor, Digest, Platform, Record, Reference, annotation};

/// How much of an image for several platforms is wanted.
#[derive(Debug, Clone, Copy)]
pub enum Wanted<'a> {
    /// The image for one platform, by default this machine's.
    One(Option<&'a Platform>),
    /// The index, with everything below it.
    All,
}

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
    /// What is saved: a manifest, or the index of several.
    pub descriptor: Descriptor,
    /// The manifest, read; of an index that for this machine, if it has one.
    pub image: Option<OpenImage>,
    /// What is saved with it, itself included.
    pub blobs: Vec<Descriptor>,
}

/// Looks every operand up before a byte is written.
pub fn operands(layout: &Path, operands: &[String], wanted: Wanted<'_>) -> anyhow::Result<Vec<Chosen>> {
    let layout = Layout::open(layout)?;
    let choose = |operand: &String| {
        let entry = layout.find(operand).context(operand.clone())?;
        let name = entry.annotation(annotation::REF_NAME).filter(|name| asked_by_name(operand, name)).map(Into::into);
        open(operand, &layout, name, &entry, wanted)
    };
    operands.iter().map(choose).collect()
}

fn asked_by_name(operand: &str, name: &str) -> bool {
    name == operand || operand.parse::<Reference>().is_ok_and(|full| full.to_string() == name)
}

/// The records of `dfile-build | img-save`.
pub fn records(wanted: Wanted<'_>) -> anyhow::Result<Vec<Chosen>> {
    let choose = |record| match record {
        Record::Image(record) => {
            let operand = record.reference.clone().unwrap_or_else(|| record.descriptor.digest.to_string());
            let layout = Layout::open(record.layout.as_path())?;
            open(&operand, &layout, record.reference, &record.descriptor, wanted)
        }
        other => bail!("<stdin>: want an image record, got a {} record", other.kind()),
    };
    toolkit::read_records("image")?.into_iter().map(choose).collect()
}

/// One image under other names: what was asked for stays where it is.
pub fn renamed(mut images: Vec<Chosen>, names: &[Reference]) -> anyhow::Result<Vec<Chosen>> {
    images.dedup_by(|a, b| a.descriptor.digest == b.descriptor.digest);
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
    wanted: Wanted<'_>,
) -> anyhow::Result<Chosen> {
    let image = match wanted {
        Wanted::One(platform) => Some(layout.open_image(entry, platform).context(operand.to_owned())?),
        Wanted::All => any_image(layout, entry).context(operand.to_owned())?,
    };
    let descriptor = match (wanted, &image) {
        (Wanted::One(_), Some(image)) => &image.descriptor,
        _ => entry,
    };
    let absent = layout.absent(descriptor).context(operand.to_owned())?;
    if !absent.is_empty() {
        return Err(lacks(operand, &absent)).hint(|| rest(wanted, entry));
    }
    // A name may pin the digest of the index that the image was pulled from. Who loads it has no index to check
    // that by, and would refuse the name.
    let pins_other = |name: &String| {
        name.parse::<Reference>().is_ok_and(|name| name.digest().is_some_and(|pin| *pin != descriptor.digest))
    };
    let name = name.filter(|name| !pins_other(name));
    let mut annotations = entry.annotations.clone();
    if entry.digest != descriptor.digest {
        annotations.insert(annotation::SOURCE_DIGEST.into(), entry.digest.to_string().into());
    }
    let (descriptor, blobs) = (descriptor.clone(), layout.below(descriptor)?);
    Ok(Chosen { operand: operand.into(), layout: layout.clone(), name, annotations, descriptor, image, blobs })
}

/// Docker's document is for one machine: an index without an image for this one is saved without it.
fn any_image(layout: &Layout, entry: &Descriptor) -> oci_layout::Result<Option<OpenImage>> {
    match layout.open_image(entry, None) {
        Err(Error::Platform { .. } | Error::NotAnImage { .. }) if entry.is_index() => Ok(None),
        // The image of a platform that was not pulled; which blobs it lacks is said elsewhere.
        Err(_) if entry.is_index() && !layout.absent(entry)?.is_empty() => Ok(None),
        image => image.map(Some),
    }
}

fn lacks(operand: &str, absent: &[Digest]) -> anyhow::Error {
    let absent: Vec<String> = absent.iter().map(ToString::to_string).collect();
    anyhow!("{operand}: {}: not in the layout, or of another size than the image says", absent.join(", "))
}

fn rest(wanted: Wanted<'_>, entry: &Descriptor) -> String {
    match wanted {
        Wanted::All if entry.is_index() => "img-pull --all-platforms gets what other platforms have".into(),
        _ => "img-fsck --repair --from LAYOUT, ARCHIVE or IMAGE takes good blobs from there".into(),
    }
}

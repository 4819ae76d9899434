//! Which image: the IMAGE operand, else the record on stdin.

use anyhow::{Context, bail};
use oci_layout::{Layout, OpenImage};
use serde_json::Map;
use std::path::Path;
use toolkit::usage;
use wire::{Descriptor, Image, Platform, Record, annotation};

/// The image to unpack.
pub struct Chosen {
    /// How the user calls it, for messages.
    pub name: String,
    /// Where it is.
    pub layout: Layout,
    /// Its manifest and configuration.
    pub image: OpenImage,
    /// Whether its `SELinux` labels are kept.
    pub selinux: bool,
    reference: Option<String>,
    descriptor: Descriptor,
}

impl Chosen {
    /// The record that the bundle keeps.
    pub fn record(&self) -> Image {
        Image {
            layout: self.layout.path().into(),
            reference: self.reference.clone(),
            descriptor: self.descriptor.clone(),
            rest: Map::from_iter([("imageID".into(), self.image.id().to_string().into())]),
        }
    }
}

/// `[IMAGE] BUNDLE`, and for a tar `[IMAGE] [-]`
pub fn operands(operands: &[String], tar: bool) -> anyhow::Result<(Option<&str>, &Path)> {
    let (image, bundle) = match operands {
        [] if tar => (None, "-"),
        [image] if tar => (Some(image.as_str()), "-"),
        [image, bundle] if tar && bundle == "-" => (Some(image.as_str()), "-"),
        _ if tar => return Err(usage("want [IMAGE] [-]: with --tar there is no bundle")),
        [bundle] => (None, bundle.as_str()),
        [image, bundle] => (Some(image.as_str()), bundle.as_str()),
        _ => return Err(usage("want [IMAGE] BUNDLE: the name of the directory to make is missing")),
    };
    if bundle == "-" && !tar {
        return Err(usage("a bundle is a directory: - is for --tar"));
    }
    Ok((image.filter(|image| *image != "-"), Path::new(bundle)))
}

/// Finds and opens it.
pub fn image(operand: Option<&str>, layout: &Path, platform: Option<&Platform>) -> anyhow::Result<Chosen> {
    let (name, layout, reference, descriptor) = match operand {
        Some(operand) => {
            let layout = Layout::open(layout)?;
            let descriptor = layout.find(operand).context(operand.to_owned())?;
            (operand.to_owned(), layout, descriptor.annotation(annotation::REF_NAME).map(Into::into), descriptor)
        }
        None => match toolkit::one_record("image")? {
            Record::Image(Image { layout, reference, descriptor, .. }) => {
                let name = reference.clone().unwrap_or_else(|| descriptor.digest.to_string());
                (name, Layout::open(layout.as_path())?, reference, descriptor)
            }
            other => bail!("<stdin>: want an image record, got a {} record", other.kind()),
        },
    };
    let image = layout.open_image(&descriptor, platform).context(name.clone())?;
    Ok(Chosen { name, layout, image, selinux: false, reference, descriptor })
}

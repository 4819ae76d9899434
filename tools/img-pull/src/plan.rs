//! What a pull would do, or has no need to do: nothing here writes.

use crate::fetch::{Pulled, document, there};
use crate::sources::Sources;
use anyhow::bail;
use oci_layout::Layout;
use serde_json::{Value, json};
use wire::{Descriptor, Platform, Reference, annotation};

/// What would move and from where, as one JSON object. Only documents are fetched.
pub fn plan(
    layout: Option<&Layout>,
    sources: &Sources<'_>,
    reference: &Reference,
    asked: Option<&Platform>,
) -> anyhow::Result<Value> {
    let (document, source, _) = document(sources, reference, asked)?;
    let manifest = document.manifest()?;
    let mut blobs: Vec<&Descriptor> = Vec::new();
    for blob in [&document.descriptor, &manifest.config].into_iter().chain(&manifest.layers) {
        if !blobs.iter().any(|known| known.digest == blob.digest) {
            blobs.push(blob);
        }
    }
    let (have, fetch): (Vec<_>, Vec<_>) =
        blobs.into_iter().partition(|blob| layout.is_some_and(|layout| there(layout, blob)));
    let sum = |blobs: &[&Descriptor]| blobs.iter().map(|blob| blob.size).sum::<u64>();
    let list = |blobs: &[&Descriptor]| -> Vec<Value> {
        let entry =
            |blob: &&Descriptor| json!({"mediaType": blob.media_type, "digest": blob.digest, "size": blob.size});
        blobs.iter().map(entry).collect()
    };
    Ok(json!({
        "ref": reference.to_string(),
        "source": sources.serving(),
        "digest": source,
        "manifest": document.descriptor.digest,
        "fetch": list(&fetch),
        "fetchBytes": sum(&fetch),
        "have": list(&have),
        "haveBytes": sum(&have),
    }))
}

/// The image as the layout has it, when it has all of it.
pub fn offline(layout: &Layout, reference: &Reference, asked: Option<&Platform>) -> anyhow::Result<Pulled> {
    let name = reference.to_string();
    let entry = layout.index()?.into_iter().find(|entry| entry.annotation(annotation::REF_NAME) == Some(&name));
    let Some(descriptor) = entry else { bail!("not in the layout, and --offline forbids to ask the registry") };
    let image = layout.open_image(&descriptor, asked)?;
    if let (Some(asked), Some(is)) = (asked, image.platform())
        && !asked.accepts(&is)
    {
        bail!("the image is for {is}, not for {asked}");
    }
    for blob in image.manifest.layers.iter().chain([&image.manifest.config]) {
        if !there(layout, blob) {
            bail!("{}: not in the layout, and --offline forbids to ask the registry", blob.digest);
        }
    }
    let source = descriptor.annotation(annotation::SOURCE_DIGEST).and_then(|digest| digest.parse().ok());
    let digest = source.unwrap_or_else(|| descriptor.digest.clone());
    Ok(Pulled { descriptor, digest, layers: Vec::new(), up_to_date: true })
}

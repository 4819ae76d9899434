//! What a pull would do, or has no need to do: nothing here writes.

use crate::documents::{self, Wanted};
use crate::fetch::{Pulled, there};
use crate::sources::Sources;
use anyhow::{anyhow, bail};
use oci_layout::Layout;
use serde_json::{Value, json};
use wire::{Descriptor, Digest, Reference, annotation};

/// What would move and from where, as one JSON object. Only documents are fetched.
pub fn plan(
    layout: Option<&Layout>,
    sources: &Sources<'_>,
    reference: &Reference,
    wanted: Wanted<'_>,
) -> anyhow::Result<Value> {
    let found = documents::find(sources, reference, wanted)?;
    let manifests = found.manifests()?;
    let mut blobs: Vec<&Descriptor> = Vec::new();
    let documents = [&found.root].into_iter().chain(&found.below).map(|document| &document.descriptor);
    let below = manifests.iter().flat_map(|manifest| [&manifest.config].into_iter().chain(&manifest.layers));
    for blob in documents.chain(below) {
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
        "digest": found.source,
        "manifest": found.root.descriptor.digest,
        "fetch": list(&fetch),
        "fetchBytes": sum(&fetch),
        "have": list(&have),
        "haveBytes": sum(&have),
    }))
}

/// The image as the layout has it, when it has all of it.
pub fn offline(layout: &Layout, reference: &Reference, wanted: Wanted<'_>) -> anyhow::Result<Pulled> {
    let name = reference.to_string();
    let entry = layout.index()?.into_iter().find(|entry| entry.annotation(annotation::REF_NAME) == Some(&name));
    let Some(descriptor) = entry else { bail!("not in the layout, and --offline forbids to ask the registry") };
    let lacks = |digest: &Digest| anyhow!("{digest}: not in the layout, and --offline forbids to ask the registry");
    match wanted {
        Wanted::One(asked) => {
            let image = layout.open_image(&descriptor, asked)?;
            if let (Some(asked), Some(is)) = (asked, image.platform())
                && !asked.accepts(&is)
            {
                bail!("the image is for {is}, not for {asked}");
            }
            let absent = image.manifest.layers.iter().chain([&image.manifest.config]).find(|blob| !there(layout, blob));
            absent.map_or(Ok(()), |blob| Err(lacks(&blob.digest)))?;
        }
        Wanted::All => layout.absent(&descriptor)?.first().map_or(Ok(()), |digest| Err(lacks(digest)))?,
    }
    let source = descriptor.annotation(annotation::SOURCE_DIGEST).and_then(|digest| digest.parse().ok());
    let digest = source.unwrap_or_else(|| descriptor.digest.clone());
    Ok(Pulled { descriptor, digest, layers: Vec::new(), up_to_date: true })
}

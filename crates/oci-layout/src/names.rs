//! An operand becomes an image: by name, ID, manifest digest or a unique prefix.

use crate::error::{Error, Result};
use crate::layout::Layout;
use std::collections::BTreeMap;
use wire::{Descriptor, Digest, Reference, annotation};

pub(crate) fn find(layout: &Layout, operand: &str) -> Result<Descriptor> {
    let entries = layout.index()?;
    let reference = operand.parse::<Reference>().ok();
    if let Some(found) = by_name(&entries, operand)? {
        return Ok(found);
    }
    if let Some(reference) = &reference
        && let Some(found) = by_reference(&entries, reference)?
    {
        return Ok(found);
    }
    match by_id(layout, &entries, operand)? {
        Some(found) => Ok(found),
        None => Err(Error::NotFound(reference.map_or_else(|| operand.to_owned(), |full| full.familiar()))),
    }
}

fn name_of(entry: &Descriptor) -> Option<&str> {
    entry.annotation(annotation::REF_NAME)
}

fn by_name(entries: &[Descriptor], name: &str) -> Result<Option<Descriptor>> {
    let mut found = entries.iter().filter(|entry| name_of(entry) == Some(name));
    let Some(first) = found.next() else { return Ok(None) };
    match found.find(|other| other.digest != first.digest) {
        None => Ok(Some(first.clone())),
        Some(other) => Err(Error::Ambiguous {
            operand: name.into(),
            candidates: vec![first.digest.to_string(), other.digest.to_string()],
        }),
    }
}

/// By the full form; a reference that pins a digest also finds the tag that points there, by its own digest or
/// by that of the index which it was pulled from.
fn by_reference(entries: &[Descriptor], wanted: &Reference) -> Result<Option<Descriptor>> {
    if let Some(found) = by_name(entries, &wanted.to_string())? {
        return Ok(Some(found));
    }
    let Some(digest) = wanted.digest() else { return Ok(None) };
    let pinned = |entry: &&Descriptor| {
        let Some(Ok(name)) = name_of(entry).map(str::parse::<Reference>) else { return false };
        name.repository() == wanted.repository()
            && (wanted.tag().is_none() || wanted.tag() == name.tag())
            && (entry.digest == *digest || entry.annotation(annotation::SOURCE_DIGEST) == Some(&digest.to_string()))
    };
    Ok(entries.iter().find(pinned).cloned())
}

/// By image ID (configuration digest) or manifest digest, whole or a prefix. Several entries of one image are
/// one image.
fn by_id(layout: &Layout, entries: &[Descriptor], operand: &str) -> Result<Option<Descriptor>> {
    let (algorithm, prefix) = operand.split_once(':').unwrap_or(("sha256", operand));
    if prefix.is_empty() || prefix.len() > 128 || !prefix.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return Ok(None);
    }
    let hit = |digest: &Digest| digest.algorithm().name() == algorithm && digest.hex().starts_with(prefix);
    let mut found: BTreeMap<Digest, Descriptor> = BTreeMap::new();
    for entry in entries {
        let ids = layout.ids(entry);
        if let Some(id) = ids.iter().find(|id| hit(id)) {
            // An image is its ID, whichever of its digests was hit.
            let key = if *id == entry.digest { ids.get(1).unwrap_or(id) } else { id };
            found.entry(key.clone()).or_insert_with(|| entry.clone());
        }
    }
    if found.is_empty()
        && let Ok(whole) = format!("{algorithm}:{prefix}").parse::<Digest>()
    {
        let pinned = layout.pins()?.into_iter().map(|(_, pinned)| pinned);
        return Ok(pinned.into_iter().find(|entry| layout.ids(entry).contains(&whole)));
    }
    if found.len() > 1 {
        let candidates = found.keys().take(8).map(ToString::to_string).collect();
        return Err(Error::Ambiguous { operand: operand.into(), candidates });
    }
    Ok(found.into_values().next())
}

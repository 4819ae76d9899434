//! `docker image prune`: what has no name, or with `--all` no container.

use crate::containers::Users;
use crate::filter::Filter;
use crate::{delete, name_of, names_of, untagged};
use oci_layout::{Layout, OpenImage};
use std::collections::HashSet;
use toolkit::Out;

/// Removes them, and prints docker's list: the same words as for rmi, in lower case.
pub fn prune(layout: &Layout, users: &Users, all: bool, filters: &[Filter], out: &mut Out) -> anyhow::Result<()> {
    let mut seen = HashSet::new();
    let mut lines = Vec::new();
    for entry in layout.index()?.into_iter().filter(|entry| all || name_of(entry).is_none()) {
        let image = layout.open_image(&entry, None).ok();
        let id = image.as_ref().map_or(&entry.digest, OpenImage::id).clone();
        let named = names_of(layout, &id)?;
        if !seen.insert(id.clone()) || users.of_image(&id, &entry.digest).is_some() || (!all && !named.is_empty()) {
            continue;
        }
        let config = image.as_ref().map(|image| &image.config);
        if !filters.iter().all(|filter| filter.lets(config)) {
            continue;
        }
        lines.extend(named.iter().flat_map(untagged));
        lines.extend(delete(layout, &entry, &id, image.as_ref())?);
    }
    if lines.is_empty() {
        return Ok(());
    }
    out.text("Deleted Images:\n")?;
    for line in &lines {
        let (word, what) = line.split_once(':').unwrap_or((line, ""));
        out.text(&format!("{}:{what}\n", word.to_lowercase()))?;
    }
    out.text("\n")
}

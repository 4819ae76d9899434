//! Whose files one may make. Root of the machine: everybody's. An ordinary user: his own, and with ranges of his in
//! `/etc/subuid` those of a user namespace, in which he is root: `user_namespaces(7)`, newuidmap(1), subuid(5).

use anyhow::bail;
use bundle::Layers;
use layer_tar::Owners;
use std::path::Path;
use subids::{Mapping, Range};
use toolkit::WithHint;

/// Whom the files shall belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Who {
    Mine,
    Subids,
}

/// What keeps the owners of an image.
const HINT: &str = "with the package uidmap and ranges in /etc/subuid and /etc/subgid (usermod --add-subuids \
                    100000-165535 --add-subgids 100000-165535 USER) files keep their owners";

/// Goes where the files can have the owners that are wanted. One store has one mapping: a layer that was unpacked
/// for one ID would look wrong in a namespace with many, and the other way round. So the first layer decides, and
/// nothing being wanted, it takes the ranges that there are. A tree of its own is the user's, who removes it with rm.
pub fn settle(wanted: Option<Who>, overlay: bool, root: &Path) -> anyhow::Result<Owners> {
    if rustix::process::geteuid().is_root() {
        return Ok(if wanted == Some(Who::Mine) { Owners::Mine } else { Owners::possible()? });
    }
    let of_caller = || Mapping::of_caller().hint(|| format!("{HINT}; --owners mine needs none"));
    let is_empty = || Layers::new(root).is_empty();
    let shown = root.display();
    match wanted {
        Some(Who::Subids) if !overlay => of_caller()?.enter()?,
        None if overlay && Mapping::begin(root, is_empty()?)? => {}
        Some(Who::Mine) if overlay && Mapping::of_store(root)?.is_some() => {
            bail!("{shown}: was begun with subordinate IDs: no --owners mine in it")
        }
        None | Some(Who::Mine) => return Ok(Owners::Mine),
        Some(Who::Subids) => match Mapping::of_store(root)? {
            Some(mapping) => mapping.enter()?,
            None if is_empty()? => of_caller()?.begin_with(root)?,
            None => bail!("{shown}: was begun with one ID: no --owners subids in it until it has no layers"),
        },
    }
    Ok(Owners::Mapped)
}

/// What would have kept the owners that were lost.
pub fn missing(root: &Path) -> Option<String> {
    if rustix::process::geteuid().is_root() {
        return None;
    }
    Some(match Mapping::of_caller() {
        Err(why) => format!("{why}; {HINT}"),
        Ok(_) => format!("{}: was begun with one ID; an empty store takes the ranges of /etc/subuid", root.display()),
    })
}

/// An ID beyond the map cannot own a file.
pub fn must_have(map: &[Range], id: u32, what: &str) -> anyhow::Result<()> {
    if map.iter().any(|range| id.checked_sub(range.inside).is_some_and(|at| at < range.count)) {
        return Ok(());
    }
    let have: u64 = map.iter().map(|range| u64::from(range.count)).sum();
    Err(anyhow::anyhow!("{what} ID {id} owns files in it, and there are {have} {what} IDs here"))
        .hint(|| format!("a larger range in /etc/sub{}id (usermod(8)), or --owners mine", &what[..1]))
}

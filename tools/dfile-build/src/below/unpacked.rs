//! The lowest layers, where a RUN has unpacked them: looked into name by name.

use super::{Directory, Node, UNPACKED};
use bundle::{Claim, Layers};
use layer_tar::Stack;
use oci_layout::OpenImage;
use std::path::{Path, PathBuf};
use wire::Digest;

#[derive(Debug)]
pub(super) struct Unpacked {
    pub(super) stack: Stack,
    /// Nobody removes them meanwhile.
    _claim: Claim,
}

impl Unpacked {
    /// The layers of an image, from the lowest on, that are unpacked as root unpacks them (others mark whiteouts in other
    /// ways), and how many they are.
    pub(super) fn open(store: &Layers, image: &OpenImage) -> anyhow::Result<(Option<Self>, usize)> {
        let chain = image.chain_ids();
        let is_there = |chain_id: &&Digest| store.dir_of(chain_id).is_dir();
        if !is_all_of_root()
            || chain.len() != image.manifest.layers.len()
            || !chain.first().is_some_and(|id| is_there(&id))
        {
            return Ok((None, 0));
        }
        // First the claim and then the look: what is seen stays.
        let claim = store.claim(store.path(), &chain)?;
        let there = chain.iter().take_while(is_there).count();
        if there == 0 {
            return Ok((None, 0));
        }
        let dirs: Vec<PathBuf> = chain[..there].iter().rev().map(|id| store.dir_of(id)).collect();
        Ok((Some(Self { stack: Stack::open(&dirs)?, _claim: claim }), there))
    }
}

/// Enters what the unpacked layers have at a path, unless something is known of it: from now on it is like what a
/// header said. The directory above is there, with no link on the way.
pub(super) fn look(unpacked: Option<&Unpacked>, directory: &mut Directory, path: &Path) -> anyhow::Result<()> {
    let (Some(unpacked), Some(name)) = (unpacked, path.file_name()) else { return Ok(()) };
    if !directory.shows_lower || directory.entries.contains_key(name) {
        return Ok(());
    }
    let node = match unpacked.stack.resolve_link(path)?.map(|found| found.kind) {
        None => Node::Gone,
        Some(layer_tar::Kind::Directory) => {
            Node::Directory(Box::new(Directory { shows_lower: true, ..Directory::default() }))
        }
        Some(layer_tar::Kind::Symlink) => Node::Link(Box::new(unpacked.stack.read_link(path)?.unwrap_or_default())),
        Some(_) => Node::Other,
    };
    directory.entries.insert(name.into(), (UNPACKED, node));
    Ok(())
}

/// Whether we are root of the machine, and no other user of it that only looks like that.
fn is_all_of_root() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    rustix::process::geteuid().is_root() && map.split_whitespace().eq(["0", "0", "4294967295"])
}

//! Which two trees: two directories, or the two sides of a bundle.

use anyhow::{Context, bail};
use layer_tar::{Compare, Sink, Stack, diff_overlay, diff_trees};
use std::path::{Path, PathBuf};
use toolkit::usage;
use wire::{Bundle, Record};

/// What is compared.
pub enum Sides {
    /// Every name of both trees.
    Trees { lower: Option<Stack>, upper: Stack },
    /// Only what an overlay mount wrote into its upper directory.
    Overlay { lower: Stack, upper: Stack },
}

impl Sides {
    /// Whether files were copied up before they were changed.
    pub fn is_overlay(&self) -> bool {
        matches!(self, Self::Overlay { .. })
    }

    /// Tells `sink` the differences.
    pub fn diff(&self, compare: &Compare, sink: &mut dyn Sink) -> layer_tar::Result<()> {
        match self {
            Self::Trees { lower, upper } => diff_trees(lower.as_ref(), upper, compare, sink),
            Self::Overlay { lower, upper } => diff_overlay(lower, upper, compare, sink),
        }
    }
}

/// Opens both sides. With `whole` there is no lower one.
pub fn choose(dirs: &[PathBuf], whole: bool) -> anyhow::Result<Sides> {
    match dirs {
        [_, _] if whole => Err(usage("--whole takes one tree")),
        [lower, upper] => Ok(Sides::Trees { lower: Some(plain(lower)?), upper: plain(upper)? }),
        // A directory that is no bundle is a tree.
        [dir] if whole && !dir.join("config.json").exists() => Ok(Sides::Trees { lower: None, upper: plain(dir)? }),
        [dir] => bundle(&bundle::load(dir)?, whole),
        _ => match toolkit::one_record("bundle")? {
            Record::Bundle(record) => bundle(&record, whole),
            other => bail!("<stdin>: want a bundle record, got a {} record", other.kind()),
        },
    }
}

fn bundle(record: &Bundle, whole: bool) -> anyhow::Result<Sides> {
    // Where its files have the owners that the layer shall name.
    subids::enter_that_of_record(&record.rest)?;
    let Some(overlay) = &record.overlay else {
        if whole {
            return Ok(Sides::Trees { lower: None, upper: plain(&record.path.as_path().join("rootfs"))? });
        }
        let path = record.path.as_path().display();
        bail!("{path}: a flat bundle does not know what it was: name the tree below, or unpack with --overlay");
    };
    let upper = overlay.upper.as_path().to_owned();
    let lower: Vec<PathBuf> = overlay.lower.iter().map(|dir| dir.as_path().to_owned()).collect();
    let open = |dirs: &[PathBuf]| -> anyhow::Result<Stack> { Ok(Stack::open(dirs)?.userxattr(overlay.userxattr)) };
    if whole {
        let all: Vec<PathBuf> = [upper].into_iter().chain(lower).collect();
        return Ok(Sides::Trees { lower: None, upper: open(&all)? });
    }
    Ok(Sides::Overlay { lower: open(&lower)?, upper: open(&[upper])? })
}

fn plain(dir: &Path) -> anyhow::Result<Stack> {
    Stack::open(&[dir.to_owned()]).with_context(|| dir.display().to_string())
}

/// `/a/b` is `a/b`: paths are the container's, and its root is the top.
pub fn relative(paths: &[PathBuf]) -> Vec<PathBuf> {
    paths
        .iter()
        .map(|path| path.components().filter(|part| matches!(part, std::path::Component::Normal(_))).collect())
        .collect()
}

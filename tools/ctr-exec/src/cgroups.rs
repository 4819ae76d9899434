//! Which cgroups the process joins: the container's, or those below them that the command line names.

use anyhow::bail;
use linux_sandbox::Hierarchy;
use std::path::{Component, Path, PathBuf};

/// The directory of version 2 and those of version 1. A wish is `PATH`, which holds for each tree that has it, or
/// `CONTROLLER[,CONTROLLER...]:PATH`.
pub fn of(trees: &[Hierarchy], wishes: &[String]) -> anyhow::Result<(Option<PathBuf>, Vec<PathBuf>)> {
    let mut below = vec![None; trees.len()];
    for wish in wishes {
        let (names, path) = wish.split_once(':').map_or((None, wish.as_str()), |(names, path)| (Some(names), path));
        let path = path.trim_matches('/');
        if !Path::new(path).components().all(|part| matches!(part, Component::Normal(_))) {
            bail!("--cgroup {wish}: not a path below the container's cgroup");
        }
        let has = |tree: &Hierarchy, name: &str| tree.controllers.iter().any(|own| own == name);
        for name in names.into_iter().flat_map(|names| names.split(',')) {
            let Some(place) = trees.iter().position(|tree| has(tree, name)) else {
                bail!("--cgroup {wish}: the container has no cgroup of its own for {name}");
            };
            below[place] = Some(path);
        }
        let mut found = names.is_some();
        for (tree, below) in trees.iter().zip(&mut below).filter(|_| names.is_none()) {
            if tree.path().join(path).is_dir() {
                (*below, found) = (Some(path), true);
            }
        }
        if !found {
            bail!("--cgroup {wish}: there is no such cgroup below the container's");
        }
    }
    let (mut unified, mut others) = (None, Vec::new());
    for (tree, below) in trees.iter().zip(below) {
        let path = below.map_or(tree.path(), |below| tree.path().join(below));
        if tree.unified { unified = Some(path) } else { others.push(path) }
    }
    Ok((unified, others))
}

//! One path of a tree as an archive of its own, as `docker cp` wants it: a copy, not a layer.

use crate::{ChangeKind, Compare, Node, Result, Sink, Stack, diff_trees};
use std::path::{Path, PathBuf};

/// Tells `sink` of one path of a tree and everything below it, all of it as new and below `name`. With an empty
/// name a directory's content comes without the directory. Says whether anything is there; a symbolic link at the
/// end of the path is not followed.
pub fn put_subtree(tree: &Stack, path: &Path, name: &Path, sink: &mut dyn Sink) -> Result<bool> {
    let mut below = Below { name, sink };
    match tree.walk(path, false)? {
        None => Ok(false),
        Some((_, Node { merged: Some(_), .. })) => {
            let Some(directory) = tree.directory(path)? else { return Ok(false) };
            let compare = Compare { any_name: true, ..Compare::default() };
            diff_trees(None, &directory, &compare, &mut below).map(|()| true)
        }
        Some((_, node)) => below.put(ChangeKind::Added, Path::new(""), &node).map(|()| true),
    }
}

struct Below<'a> {
    name: &'a Path,
    sink: &'a mut dyn Sink,
}

impl Below<'_> {
    fn at(&self, path: &Path) -> PathBuf {
        // join would end the name with a slash.
        if path.as_os_str().is_empty() { self.name.to_owned() } else { self.name.join(path) }
    }
}

impl Sink for Below<'_> {
    fn put(&mut self, kind: ChangeKind, path: &Path, node: &Node) -> Result<()> {
        let at = self.at(path);
        if at.as_os_str().is_empty() { Ok(()) } else { self.sink.put(kind, &at, node) }
    }

    fn delete(&mut self, path: &Path) -> Result<()> {
        self.sink.delete(&self.at(path))
    }

    fn empty(&mut self, path: &Path) -> Result<()> {
        self.sink.empty(&self.at(path))
    }
}

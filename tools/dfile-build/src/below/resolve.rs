//! Where a path of the image leads, link by link.

use super::{Below, Node};
use anyhow::bail;
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

/// The kernel's limit for one path walk (`path_resolution(7)`).
const MOST_LINKS: usize = 40;

impl Below {
    /// Follows every link in a path inside the image: `..` and absolute targets end at its root. Components
    /// that are not there stay as they are written. The answer is relative to the root.
    pub fn resolve(&mut self, path: &Path) -> anyhow::Result<PathBuf> {
        let mut todo: Vec<OsString> = components(path);
        let mut done = PathBuf::new();
        let mut links = 0;
        while let Some(part) = todo.pop() {
            if part == ".." {
                done.pop();
                continue;
            }
            done.push(&part);
            if let Some(target) = self.link(&done)? {
                links += 1;
                if links > MOST_LINKS {
                    bail!("{}: too many symbolic links", path.display());
                }
                done.pop();
                if target.is_absolute() {
                    done.clear();
                }
                todo.extend(components(target));
            }
        }
        Ok(done)
    }

    fn link(&mut self, path: &Path) -> anyhow::Result<Option<&Path>> {
        Ok(match self.node(path)? {
            Some((_, Node::Link(target))) => Some(target),
            _ => None,
        })
    }
}

/// The components in reverse, ready to be popped.
fn components(path: &Path) -> Vec<OsString> {
    let part = |component: Component<'_>| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    };
    path.components().rev().filter_map(part).collect()
}

//! The sources that the words of an instruction name: paths, Go's patterns for paths, and with `--parents` what stands
//! between them.

use super::walk::Source;
use super::{Root, list};
use anyhow::bail;
use dockerfile::ignore::has_wildcard;
use dockerfile::{Ignore, Pattern};
use layer_tar::Kind;
use rustix::fs::OFlags;
use std::path::{Path, PathBuf};

/// What an instruction wants of what its words name.
#[derive(Debug, Default)]
pub struct Wanted {
    /// `--exclude`: by paths below the source, or the name of a file that is one.
    pub exclude: Ignore,
    /// `--parents`
    pub parents: bool,
}

/// The same, for one source; paths are relative to it.
pub struct Within<'a> {
    exclude: &'a Ignore,
    include: Option<Include>,
}

struct Include {
    pattern: Pattern,
    /// The first components, which are no patterns: other directories need no look inside.
    fixed: PathBuf,
}

impl Within<'_> {
    pub fn takes(&self, below: &Path) -> bool {
        let text = below.to_string_lossy();
        !self.exclude.excludes(&text) && self.include.as_ref().is_none_or(|i| i.pattern.matches_or_above(&text))
    }

    /// Whether something in a directory that is not wanted itself may be.
    pub fn may_take_below(&self, directory: &Path) -> bool {
        let on_the_way =
            |include: &Include| directory.starts_with(&include.fixed) || include.fixed.starts_with(directory);
        let included = self.include.as_ref().is_none_or(on_the_way);
        let excluded = self.exclude.excludes(&directory.to_string_lossy()) && !self.exclude.may_return_below();
        included && !excluded
    }
}

impl Root {
    /// The sources that a word names: a path, or a pattern for several.
    pub fn find(&self, word: &str, wanted: &Wanted) -> anyhow::Result<Vec<Source>> {
        if wanted.parents {
            return self.find_with_parents(word, wanted);
        }
        let cleaned = dockerfile::ignore::clean(word);
        let everything = Within { exclude: &wanted.exclude, include: None };
        let mut found = Vec::new();
        if has_wildcard(&cleaned) {
            for name in self.names(word, &cleaned)? {
                found.push(self.source(&name, &name, &everything)?);
            }
        } else {
            found.push(self.source(&cleaned, word, &everything)?);
        }
        // Of a directory the exclusion has been at work inside; a file is excluded by its own name.
        found.retain(|source| {
            source.kind() == Kind::Directory || !wanted.exclude.excludes(&source.name.to_string_lossy())
        });
        Ok(found)
    }

    /// COPY --parents: what matches comes with the directories between it and the `/./` of the word, or the root.
    fn find_with_parents(&self, word: &str, wanted: &Wanted) -> anyhow::Result<Vec<Source>> {
        let (above, text) = word.split_once("/./").unwrap_or(("", word));
        let (above, text) = (dockerfile::ignore::clean(above), dockerfile::ignore::clean(text));
        let Some(pattern) = Pattern::new(&text, true) else { bail!("{word}: bad pattern") };
        let fixed = text.split('/').take_while(|part| !has_wildcard(part) && !part.contains('\\')).collect();
        let include = (text != ".").then_some(Include { pattern, fixed });
        let within = Within { exclude: &wanted.exclude, include };
        let roots = if has_wildcard(&above) { self.names(word, &above)? } else { vec![above.clone()] };
        let mut found = Vec::new();
        for root in roots {
            let source = self.source(&root, word, &within)?;
            if source.kind() != Kind::Directory {
                bail!("{word}: {root} is not a directory");
            }
            if within.include.is_none() || source.entries.len() > 1 {
                found.push(source);
            }
        }
        if found.is_empty() && !has_wildcard(word) && !self.may_be_excluded(&above, &text, wanted) {
            bail!("{word}: not found in {}", self.real.display());
        }
        Ok(found)
    }

    /// Whether a path is there, and only the exclusions of the instruction keep it from being copied.
    fn may_be_excluded(&self, above: &str, below: &str, wanted: &Wanted) -> bool {
        let there = self.at(&Path::new(above).join(below), OFlags::NOFOLLOW).is_ok();
        there && wanted.exclude.excludes(below)
    }

    /// The paths that match a pattern (Go's `filepath.Match`, component by component).
    fn names(&self, word: &str, cleaned: &str) -> anyhow::Result<Vec<String>> {
        let mut names = vec![String::new()];
        for part in cleaned.split('/') {
            let Some(pattern) = Pattern::new(part, false) else { bail!("{word}: bad pattern") };
            let mut next = Vec::new();
            for above in names {
                let join = |name: &str| if above.is_empty() { name.to_owned() } else { format!("{above}/{name}") };
                if has_wildcard(part) {
                    let Ok(directory) = self.at(Path::new(&above), OFlags::DIRECTORY) else { continue };
                    next.extend(
                        list(&directory)?.iter().filter_map(|n| n.to_str()).filter(|n| pattern.matches(n)).map(join),
                    );
                } else if self.at(Path::new(&join(part)), OFlags::empty()).is_ok() {
                    next.push(join(part));
                }
            }
            names = next;
        }
        names.retain(|name| !self.ignore.excludes(name));
        Ok(names)
    }

    /// The source at a path, without patterns.
    pub fn one(&self, path: &str) -> anyhow::Result<Source> {
        let cleaned = dockerfile::ignore::clean(path);
        let nothing = Ignore::default();
        let everything = Within { exclude: &nothing, include: None };
        self.source(if cleaned == "." { "" } else { &cleaned }, if path.is_empty() { "/" } else { path }, &everything)
    }
}

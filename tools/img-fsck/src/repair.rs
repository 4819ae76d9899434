//! `--repair`: a digest says what the bytes must be, so it does not matter whom they come from. Every source becomes
//! a layout first, by the tool whose step that is: an archive by img-load, a registry's image by img-pull.

use anyhow::{Context, bail};
use oci_layout::{Class, Finding, Layout};
use std::collections::{BTreeSet, HashSet};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;
use wire::{Descriptor, Digest, Reference};

/// Somebody who may have good blobs.
pub enum Source {
    /// A layout that is there.
    Layout(PathBuf),
    /// An archive; `-` is stdin.
    Archive(PathBuf),
    /// An image of a registry.
    Registry(Reference),
}

/// A source as a layout. What was fetched goes when this does.
pub struct Opened {
    layout: Layout,
    _temporary: Option<TempDir>,
}

impl Source {
    /// A directory, a file, or else a reference.
    pub fn of(text: &str) -> anyhow::Result<Self> {
        let path = Path::new(text);
        if text == "-" || path.is_file() {
            return Ok(Self::Archive(path.into()));
        }
        if path.is_dir() {
            return Ok(Self::Layout(path.into()));
        }
        let reference = text.parse().with_context(|| format!("{text}: neither a file, a directory nor an image"))?;
        Ok(Self::Registry(reference))
    }

    /// What the source has, as a layout. Blobs that are sound here are linked there before: then only the others
    /// are fetched.
    pub fn open(&self, damaged: &Layout, wanted: &HashSet<Digest>) -> anyhow::Result<Opened> {
        let (tool, operand) = match self {
            Self::Layout(path) => return Ok(Opened { layout: Layout::open(path)?, _temporary: None }),
            Self::Archive(path) => ("img-load", format!("--input={}", path.display())),
            Self::Registry(reference) => ("img-pull", reference.to_string()),
        };
        let beside = damaged.path().join(".dock");
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&beside)?;
        let temporary = tempfile::Builder::new().prefix("repair-").tempdir_in(&beside)?;
        let layout = Layout::open_or_create(&temporary.path().join("layout"))?;
        for (digest, size) in damaged.blobs()?.into_iter().filter(|(digest, _)| !wanted.contains(digest)) {
            // The check has not come to what a lost manifest leads to.
            let blob = Descriptor::new("", digest, size);
            if damaged.read(&blob).is_ok_and(|reader| reader.finish().is_ok()) {
                // A file system without links fetches more.
                let _ = std::fs::hard_link(damaged.blob_path(&blob.digest), layout.blob_path(&blob.digest));
            }
        }
        // One of them may not be had there, as another platform of an image for one.
        let mut failed = None;
        let mut any = false;
        for platform in platforms(damaged, wanted) {
            match run(tool, layout.path(), &platform, &operand) {
                Ok(()) => any = true,
                Err(error) => failed = Some(error),
            }
        }
        if let Some(error) = failed.filter(|_| !any) {
            return Err(error);
        }
        Ok(Opened { layout, _temporary: Some(temporary) })
    }
}

/// How a sibling is asked for the images that lack something: an index that is here was fetched whole, so that only
/// what is bad of it is fetched again; another image for its platform.
fn platforms(damaged: &Layout, wanted: &HashSet<Digest>) -> BTreeSet<Vec<String>> {
    let lacks = |entry: &Descriptor| {
        // What cannot be read may lead to anything.
        let below = damaged.below(entry);
        below.map_or(true, |below| below.iter().any(|blob| wanted.contains(&blob.digest)))
    };
    let option = |entry: Descriptor| match entry.platform() {
        _ if entry.is_index() => vec!["--all-platforms".to_owned()],
        Some(platform) => vec!["--platform".into(), platform.to_string()],
        None => Vec::new(),
    };
    let entries = damaged.index().unwrap_or_default().into_iter();
    let options: BTreeSet<_> = entries.filter(lacks).map(option).collect();
    if options.is_empty() { BTreeSet::from([Vec::new()]) } else { options }
}

/// Runs a sibling, from the directory of our own executable. Its record is of no use, its messages are.
fn run(tool: &str, layout: &Path, platform: &[String], operand: &str) -> anyhow::Result<()> {
    let own = std::env::current_exe().context("/proc/self/exe: readlink")?;
    let mut command = Command::new(own.with_file_name(tool));
    command.arg("--layout").arg(layout).args(platform).arg(operand).stdout(Stdio::null());
    if !command.status().with_context(|| tool.to_owned())?.success() {
        bail!("{tool} {operand} failed");
    }
    Ok(())
}

/// The blobs that a check wants again.
pub fn wanted(findings: &[Finding]) -> HashSet<Digest> {
    let lost = |finding: &&Finding| matches!(finding.class, Class::Missing | Class::Size | Class::Digest);
    findings.iter().filter(lost).filter_map(|finding| finding.digest.clone()).collect()
}

/// Takes what the source has of it, and says which blobs are good now.
pub fn mend(damaged: &Layout, source: &Opened, wanted: &HashSet<Digest>) -> HashSet<Digest> {
    let mut mended = HashSet::new();
    for digest in wanted {
        match damaged.mend(digest, &source.layout) {
            Ok(true) => drop(mended.insert(digest.clone())),
            Ok(false) => {}
            Err(error) => toolkit::say(&format!("img-fsck: {}: {error}", source.layout.path().display())),
        }
    }
    mended
}

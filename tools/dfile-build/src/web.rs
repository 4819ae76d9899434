//! ADD of a URL. What is known of one from an earlier build is a line of url-get(1), kept below `cache/urls`: the server is
//! asked whether it has anything newer, and a file that is not needed for a new layer is not sent again.
//!
//! ```sh
//! url-get --known cache/urls/HASH -o FILE URL
//! ```

use crate::builder::Builder;
use crate::copy::Taken;
use crate::run::private_dir;
use crate::source::{Root, Wanted};
use crate::{context, siblings};
use anyhow::Context;
use dockerfile::{Copy, Ignore};
use rustix::fs::FlockOperation;
use serde_json::{Value, json};
use std::fs::{self, FileTimes};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

/// A file of the web, by what it hashes to; perhaps it is here.
#[derive(Debug)]
pub struct Page {
    url: String,
    name: String,
    digest: String,
    file: Option<PathBuf>,
}

impl Page {
    /// What a copy takes from it.
    pub fn key(&self) -> Value {
        json!(["url", self.name, self.digest])
    }
}

impl Builder<'_> {
    /// Finds out what the URL has now. With `--checksum` that is known, and nobody is asked.
    pub(crate) fn page(&self, copy: &Copy, url: &str) -> anyhow::Result<Page> {
        let (url, name) = (url.to_owned(), file_name(url));
        if let Some(digest) = copy.checksum.clone() {
            return Ok(Page { url, name, digest, file: None });
        }
        let urls = self.build.siblings.root().join("cache/urls");
        let known = urls.join(oci_layout::digest_of(url.as_bytes()).hex());
        let file = self.build.scratch.path()?;
        let mut get = self.build.siblings.command("url-get");
        if !self.no_cache {
            get.arg("--known").arg(&known);
        }
        let output = get.arg("--output").arg(&file).arg("--").arg(&url).output().context("url-get: execve")?;
        siblings::check("url-get", &output)?;
        let line: Value = serde_json::from_slice(&output.stdout).context("url-get: <stdout>")?;
        let digest = line["digest"].as_str().context("url-get: no digest")?.to_owned();
        if line["unchanged"] == true {
            note_use(&known);
            return Ok(Page { url, name, digest, file: None });
        }
        remember(&urls, &known, &output.stdout)?;
        Ok(Page { url, name, digest, file: Some(file) })
    }

    /// The file itself, as in docker: for its owner alone, with the time of Last-Modified, not unpacked unasked.
    pub(crate) fn download(&self, copy: &Copy, page: &Page, wanted: &Wanted) -> anyhow::Result<Vec<Taken>> {
        let dir = self.build.scratch.path()?;
        let file = if let Some(there) = &page.file {
            fs::create_dir(&dir).and_then(|()| fs::rename(there, dir.join(&page.name)))?;
            dir.join(&page.name)
        } else {
            context::fetch(&page.url, Some(&page.digest), &page.name, &self.build.scratch, &self.build.siblings)?
        };
        let dir = file.parent().context("no directory")?;
        let root = Arc::new(Root::open(dir, Ignore::default(), false)?);
        let mut found = root.find(".", wanted)?;
        // The file itself and not its directory.
        for source in &mut found {
            source.entries.retain(|entry| entry.kind == layer_tar::Kind::File);
            source.name = page.name.clone().into();
            source.entries.iter_mut().for_each(|entry| entry.mode = 0o600);
        }
        found.retain(|source| !source.entries.is_empty());
        let unpack = copy.unpack.unwrap_or(false);
        Ok(found.into_iter().map(|source| Taken { root: Arc::clone(&root), source, unpack }).collect())
    }
}

/// For dfile-cache(1) only: the time of the last access.
fn note_use(known: &Path) {
    if let Ok(file) = fs::File::open(known) {
        let _ = file.set_times(FileTimes::new().set_accessed(SystemTime::now()));
    }
}

/// The old line, or the whole new one.
fn remember(urls: &Path, known: &Path, line: &[u8]) -> anyhow::Result<()> {
    private_dir(urls)?;
    // Who prunes takes what is half written by nobody.
    let door = fs::File::open(urls).with_context(|| urls.display().to_string())?;
    rustix::fs::flock(&door, FlockOperation::LockShared).context("flock")?;
    let mut temp = tempfile::NamedTempFile::new_in(urls).with_context(|| urls.display().to_string())?;
    temp.write_all(line)?;
    temp.persist(known).with_context(|| known.display().to_string())?;
    Ok(())
}

/// The last part of a URL's path; BuildKit's word where there is none.
fn file_name(url: &str) -> String {
    let path = url.split(['?', '#']).next().unwrap_or_default().splitn(4, '/').nth(3).unwrap_or_default();
    match path.trim_end_matches('/').rsplit('/').next() {
        None | Some("" | "." | "..") => "__unnamed__".into(),
        Some(name) => name.into(),
    }
}

//! `index.json`, changed under a lock and replaced whole: names come, move and go.

use crate::error::{Error, Result};
use crate::layout::{Layout, read_capped};
use rustix::fs::FallocateFlags;
use serde_json::{Map, Value};
use std::collections::{HashMap, HashSet};
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use wire::{Descriptor, Digest, annotation};

pub(crate) const FILE: &str = "index.json";
pub(crate) const EMPTY: &str =
    r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
/// Bytes that are nobody's, below `.dock/`.
const SPARE: &str = "spare";
const PAGE: u64 = 4096;
/// Some ten thousand images.
const LARGEST: u64 = 16 << 20;

impl Layout {
    /// The entries of `index.json` in their order; the name is in [`annotation::REF_NAME`].
    pub fn index(&self) -> Result<Vec<Descriptor>> {
        let (_, manifests) = self.load_index()?;
        manifests.into_iter().map(|entry| parse_entry(self, entry)).collect()
    }

    /// Gives an image a name, atomically. The image that had the name stays, unnamed, unless it has another
    /// name; it is returned. An unnamed entry of the newly named image goes.
    pub fn name(&self, name: &str, mut descriptor: Descriptor) -> Result<Option<Descriptor>> {
        let digest = descriptor.digest.clone();
        descriptor.annotations.insert(annotation::REF_NAME.into(), name.into());
        self.change_index(|entries| {
            let displaced = take_name(entries, name);
            entries.retain(|entry| entry.digest != digest || entry.annotation(annotation::REF_NAME).is_some());
            entries.push(descriptor);
            let displaced = displaced.filter(|old| old.digest != digest);
            if let Some(old) = &displaced {
                add_unnamed(entries, old.clone());
            }
            displaced
        })
    }

    /// Keeps an image without a name, as docker keeps one whose name has moved away. Nothing happens when the
    /// index has the image already.
    pub fn add_unnamed(&self, descriptor: Descriptor) -> Result<()> {
        self.change_index(|entries| add_unnamed(entries, descriptor))
    }

    /// Takes a name away, and with its last name the image: [`Layout::collect`] removes its blobs.
    pub fn unname(&self, name: &str) -> Result<Option<Descriptor>> {
        self.change_index(|entries| take_name(entries, name))
    }

    /// Takes a name away and keeps the image without one, in one step: at no moment may a collector have it.
    pub fn unname_but_keep(&self, name: &str) -> Result<Option<Descriptor>> {
        self.change_index(|entries| {
            let taken = take_name(entries, name);
            if let Some(entry) = &taken {
                add_unnamed(entries, entry.clone());
            }
            taken
        })
    }

    /// Gives many names in one step: one lock, one new index, durable once. `choose` is asked for each name, in their
    /// order, with the image that has it, and gives the one that shall; what that displaces stays, unnamed. As long as
    /// it is asked, nobody else changes the index.
    pub fn name_many<T>(
        &self,
        names: impl IntoIterator<Item = (String, T)>,
        mut choose: impl FnMut(T, Option<&Descriptor>) -> Option<Descriptor>,
    ) -> Result<()> {
        self.change_index(|entries| {
            let mut places = HashMap::new();
            for (at, entry) in entries.iter().enumerate() {
                if let Some(name) = entry.annotation(annotation::REF_NAME) {
                    places.entry(name.to_owned()).or_insert(at);
                }
            }
            let (mut named, mut displaced) = (HashSet::new(), Vec::new());
            for (name, wanted) in names {
                let at = places.get(&name).copied();
                let Some(mut chosen) = choose(wanted, at.and_then(|at| entries.get(at))) else { continue };
                chosen.annotations.insert(annotation::REF_NAME.into(), name.clone().into());
                named.insert(chosen.digest.clone());
                if let Some(entry) = at.and_then(|at| entries.get_mut(at)) {
                    displaced.push(std::mem::replace(entry, chosen));
                } else {
                    places.insert(name, entries.len());
                    entries.push(chosen);
                }
            }
            entries.retain(|entry| !named.contains(&entry.digest) || entry.annotation(annotation::REF_NAME).is_some());
            for old in displaced {
                add_unnamed(entries, old);
            }
        })
    }

    /// Takes every entry of an image away, named or not.
    pub fn forget(&self, digest: &Digest) -> Result<Vec<Descriptor>> {
        self.change_index(|entries| entries.extract_if(.., |entry| entry.digest == *digest).collect())
    }

    /// The index as stored, and its entries. Entries are not yet parsed: fsck shows those that cannot be.
    pub(crate) fn load_index(&self) -> Result<(Map<String, Value>, Vec<Value>)> {
        let path = self.path().join(FILE);
        let malformed = |reason: String| Error::Malformed { what: path.display().to_string(), reason };
        let bytes = read_capped(&path, LARGEST)?;
        let value: Value = serde_json::from_slice(&bytes).map_err(|error| malformed(error.to_string()))?;
        let Value::Object(index) = value else { return Err(malformed("not a JSON object".into())) };
        let manifests = match index.get("manifests") {
            Some(Value::Array(manifests)) => manifests.clone(),
            None | Some(Value::Null) => Vec::new(),
            Some(_) => return Err(malformed("manifests is no array".into())),
        };
        Ok((index, manifests))
    }

    /// Sets aside what one more index of this size takes. Without it everything works, until the disk is full.
    fn keep_spare(&self, index: u64) {
        let path = self.private(SPARE);
        let length = (index + 1).next_multiple_of(PAGE) + PAGE;
        if fs::metadata(&path).is_ok_and(|spare| spare.len() >= index) {
            return;
        }
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
        let kept = file.is_ok_and(|file| rustix::fs::fallocate(file, FallocateFlags::empty(), 0, length).is_ok());
        if !kept {
            let _ = fs::remove_file(&path);
        }
    }

    /// Reads, changes and replaces `index.json` under its lock. Members that we do not know stay as they are.
    fn change_index<T>(&self, change: impl FnOnce(&mut Vec<Descriptor>) -> T) -> Result<T> {
        let _lock = self.lock_index()?;
        let (mut index, manifests) = self.load_index()?;
        let mut entries = manifests.iter().map(|entry| parse_entry(self, entry.clone())).collect::<Result<Vec<_>>>()?;
        let result = change(&mut entries);
        let changed: Vec<Value> = entries.iter().map(to_value).collect::<Result<_>>()?;
        if changed != manifests {
            // What the new index names must be durable before the index is.
            self.sync()?;
            index.insert("manifests".into(), Value::Array(changed));
            let (path, text) = (self.path().join(FILE), Value::Object(index).to_string());
            match self.replace(&path, text.as_bytes()) {
                // Also to give images up a new index must be written: that is what the spare bytes are for.
                Err(Error::Io { source, .. }) if is_full(&source) && fs::remove_file(self.private(SPARE)).is_ok() => {
                    self.replace(&path, text.as_bytes())?;
                }
                other => other?,
            }
            self.keep_spare(text.len() as u64);
        }
        Ok(result)
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn take_name(entries: &mut Vec<Descriptor>, name: &str) -> Option<Descriptor> {
    let mut taken: Vec<_> =
        entries.extract_if(.., |entry| entry.annotation(annotation::REF_NAME) == Some(name)).collect();
    taken.pop()
}

fn add_unnamed(entries: &mut Vec<Descriptor>, mut descriptor: Descriptor) {
    if entries.iter().all(|entry| entry.digest != descriptor.digest) {
        descriptor.annotations.shift_remove(annotation::REF_NAME);
        entries.push(descriptor);
    }
}

fn parse_entry(layout: &Layout, entry: Value) -> Result<Descriptor> {
    serde_json::from_value(entry).map_err(|error| Error::Malformed {
        what: layout.path().join(FILE).display().to_string(),
        reason: format!("manifests: {error}"),
    })
}

pub(crate) fn to_value(descriptor: &Descriptor) -> Result<Value> {
    serde_json::to_value(descriptor)
        .map_err(|error| Error::Malformed { what: descriptor.digest.to_string(), reason: error.to_string() })
}

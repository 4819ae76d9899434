//! Putting right what a check has found: blobs from another layout, and an index from what can still be read.

use crate::LARGEST_DOCUMENT;
use crate::error::{At, Error, Result};
use crate::gc::children;
use crate::index::{self, to_value};
use crate::layout::{Layout, open_file, read_capped};
use serde_json::{Map, Value};
use std::collections::HashSet;
use std::io;
use std::path::PathBuf;
use wire::{Descriptor, Digest, media_type};

/// What is read of a damaged index at most.
const LARGEST_INDEX: u64 = 64 << 20;

/// What became of an index that could not be read.
#[derive(Debug)]
pub struct Rebuilt {
    /// Entries that could be read in the old one, with their names.
    pub kept: usize,
    /// Images that lie among the blobs and that no entry led to; they have no names.
    pub found: usize,
    /// Where the old file is, if there was one.
    pub old: Option<PathBuf>,
}

impl Layout {
    /// Puts a blob of `source` in place of one that is missing or damaged here. Its bytes are verified before it
    /// gets the name, so that a damaged blob is there until a good one is. `false`: the source has none.
    pub fn mend(&self, digest: &Digest, source: &Self) -> Result<bool> {
        let Some(size) = source.has(digest) else { return Ok(false) };
        let descriptor = Descriptor::new("", digest.clone(), size);
        let mut reader = source.read(&descriptor)?;
        let mut writer = self.writer_for(digest.algorithm())?;
        if let Err(error) = io::copy(&mut reader, &mut writer) {
            return match error.downcast::<Error>() {
                Ok(error) => Err(error),
                Err(error) => Err(error).at(&source.blob_path(digest), "copy"),
            };
        }
        writer.commit(&descriptor)?;
        self.sync()?;
        Ok(true)
    }

    /// Makes `index.json` anew: from every entry of the old one that can still be read, be it cut or overwritten in
    /// part, and from every image among the blobs that neither an entry nor a pin nor another index leads to. The
    /// old file is kept below `.dock/`. Nothing happens to an index that can be read.
    pub fn rebuild_index(&self) -> Result<Option<Rebuilt>> {
        let _lock = self.lock_index()?;
        if self.index().is_ok() {
            return Ok(None);
        }
        let path = self.path().join(index::FILE);
        let old = match read_capped(&path, LARGEST_INDEX) {
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => None,
            other => Some(other?),
        };
        let mut members = Map::new();
        let mut entries = match old.as_deref().map(serde_json::from_slice) {
            Some(Ok(Value::Object(index))) => {
                let entries = index.get("manifests").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
                let entries = entries.iter().filter_map(|entry| serde_json::from_value(entry.clone()).ok()).collect();
                members = index;
                entries
            }
            _ => salvage(old.as_deref().unwrap_or_default()),
        };
        // An entry that leads nowhere has nothing to keep but its name, and that would be in the way.
        entries.retain(|entry: &Descriptor| self.has(&entry.digest) == Some(entry.size));
        let kept = entries.len();
        entries.extend(self.unnamed(&entries)?);
        let found = entries.len() - kept;
        let manifests = entries.iter().map(to_value).collect::<Result<Vec<_>>>()?;
        members.insert("schemaVersion".into(), 2.into());
        members.insert("mediaType".into(), media_type::INDEX.into());
        members.insert("manifests".into(), manifests.into());
        let old = old.map(|bytes| self.keep_aside(&bytes)).transpose()?;
        self.sync()?;
        self.replace(&path, Value::Object(members).to_string().as_bytes())?;
        Ok(Some(Rebuilt { kept, found, old }))
    }

    fn keep_aside(&self, bytes: &[u8]) -> Result<PathBuf> {
        let mut number = 0;
        loop {
            let path = self.private(&format!("index.json.damaged.{number}"));
            if !path.exists() {
                self.replace(&path, bytes)?;
                return Ok(path);
            }
            number += 1;
        }
    }

    /// Images among the blobs that nothing leads to.
    fn unnamed(&self, entries: &[Descriptor]) -> Result<Vec<Descriptor>> {
        let mut led_to: HashSet<Digest> = entries.iter().map(|entry| entry.digest.clone()).collect();
        led_to.extend(self.pins().unwrap_or_default().into_iter().map(|(_, pinned)| pinned.digest));
        let mut images = Vec::new();
        for (digest, size) in self.blobs()? {
            let Some(image) = self.image_among_blobs(digest, size) else { continue };
            if image.is_index()
                && let Ok(below) = self.document(&image).and_then(|bytes| children(&image, &bytes))
            {
                led_to.extend(below.into_iter().map(|child| child.digest));
            }
            images.push(image);
        }
        images.retain(|image| !led_to.contains(&image.digest));
        Ok(images)
    }

    /// The descriptor of a blob that is a manifest or an index, told by its members.
    fn image_among_blobs(&self, digest: Digest, size: u64) -> Option<Descriptor> {
        let mut start = [0];
        let mut file = open_file(&self.blob_path(&digest)).ok()?;
        if size > LARGEST_DOCUMENT || io::Read::read(&mut file, &mut start).ok()? == 0 || start != *b"{" {
            return None;
        }
        let bytes = self.document(&Descriptor::new("", digest.clone(), size)).ok()?;
        let document: Value = serde_json::from_slice(&bytes).ok()?;
        let kind = match (document.get("config"), document.get("layers"), document.get("manifests")) {
            (Some(_), Some(_), None) => media_type::MANIFEST,
            (None, None, Some(_)) => media_type::INDEX,
            _ => return None,
        };
        let kind = document.get("mediaType").and_then(Value::as_str).unwrap_or(kind);
        let image = Descriptor::new(kind, digest, size);
        (image.is_manifest() || image.is_index()).then_some(image)
    }
}

/// Every descriptor that stands whole in a text which is no JSON any more.
fn salvage(text: &[u8]) -> Vec<Descriptor> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(next) = text[at..].iter().position(|byte| *byte == b'{') {
        at += next;
        let mut values = serde_json::Deserializer::from_slice(&text[at..]).into_iter::<Descriptor>();
        if let Some(Ok(descriptor)) = values.next() {
            at += values.byte_offset().max(1);
            found.push(descriptor);
        } else {
            at += 1;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest_of;
    use serde_json::json;
    use std::fs;
    use wire::annotation;

    fn layout() -> (tempfile::TempDir, Layout) {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::open_or_create(&dir.path().join("images")).unwrap();
        (dir, layout)
    }

    fn image(layout: &Layout, text: &str) -> Descriptor {
        let config = layout.put(media_type::CONFIG, format!("{{\"author\":\"{text}\"}}").as_bytes()).unwrap();
        let manifest = json!({"schemaVersion": 2, "config": config, "layers": []});
        layout.put(media_type::MANIFEST, manifest.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn an_index_that_is_cut_anywhere_loses_names_at_most() {
        let (_dir, layout) = layout();
        let (a, b) = (image(&layout, "a"), image(&layout, "b"));
        let nested = json!({"schemaVersion": 2, "manifests": [image(&layout, "c")]});
        let nested = layout.put(media_type::INDEX, nested.to_string().as_bytes()).unwrap();
        let pinned = image(&layout, "d");
        layout.pin("key", &pinned).unwrap();
        for (name, image) in [("a", &a), ("b", &b), ("c", &nested)] {
            layout.name(name, image.clone()).unwrap();
        }
        assert!(layout.rebuild_index().unwrap().is_none(), "nothing is wrong with it");
        let path = layout.path().join("index.json");
        let whole = fs::read(&path).unwrap();
        for cut in (0..whole.len()).step_by(7) {
            fs::write(&path, &whole[..cut]).unwrap();
            let rebuilt = layout.rebuild_index().unwrap().unwrap();
            assert_eq!(rebuilt.kept + rebuilt.found, 3, "cut at {cut}");
            assert_eq!(fs::read(rebuilt.old.unwrap()).unwrap(), &whole[..cut]);
            let digests: HashSet<Digest> = layout.index().unwrap().into_iter().map(|entry| entry.digest).collect();
            assert_eq!(digests, HashSet::from([a.digest.clone(), b.digest.clone(), nested.digest.clone()]));
        }
        // Cut behind the second entry: two names are left.
        let second = whole.windows(2).enumerate().filter(|(_, two)| two == b"},").nth(1).unwrap().0;
        fs::write(&path, &whole[..=second]).unwrap();
        let rebuilt = layout.rebuild_index().unwrap().unwrap();
        assert_eq!((rebuilt.kept, rebuilt.found), (2, 1));
        let names: Vec<_> = layout
            .index()
            .unwrap()
            .iter()
            .filter_map(|e| e.annotation(annotation::REF_NAME).map(str::to_owned))
            .collect();
        assert_eq!(names, ["a", "b"]);
        // None at all.
        fs::remove_file(&path).unwrap();
        let rebuilt = layout.rebuild_index().unwrap().unwrap();
        assert!((rebuilt.kept, rebuilt.found, rebuilt.old.is_none()) == (0, 3, true));
    }

    #[test]
    fn a_blob_is_mended_by_a_good_one_only() {
        let (_here, layout) = layout();
        let (_there, source) = self::layout();
        let blob = layout.put("t", b"hello").unwrap();
        fs::write(layout.blob_path(&blob.digest), b"hellO").unwrap();
        assert!(!layout.mend(&blob.digest, &source).unwrap());
        source.put("t", b"hello").unwrap();
        fs::write(source.blob_path(&blob.digest), b"HELLO").unwrap();
        assert!(layout.mend(&blob.digest, &source).is_err());
        assert_eq!(fs::read(layout.blob_path(&blob.digest)).unwrap(), b"hellO", "bad for bad is no bargain");
        source.put("t", b"hello").unwrap();
        assert!(layout.mend(&blob.digest, &source).unwrap());
        assert_eq!(layout.document(&blob).unwrap(), b"hello");
        assert_eq!(digest_of(b"hello"), blob.digest);
    }
}

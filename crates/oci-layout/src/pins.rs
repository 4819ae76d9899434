//! Pins: what the build cache keeps without a name, a file a key.

use crate::LARGEST_DOCUMENT;
use crate::error::{At, Error, Result};
use crate::index::to_value;
use crate::layout::{Layout, make_dir, read_capped};
use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::SystemTime;
use wire::Descriptor;

impl Layout {
    /// Keeps an image alive under a key of ours, without a name that people see: the build cache. An earlier
    /// pin of the key is replaced.
    pub fn pin(&self, key: &str, descriptor: &Descriptor) -> Result<()> {
        let path = self.pin_path(key)?;
        make_dir(&self.private("pins"))?;
        self.sync()?;
        self.replace(&path, to_value(descriptor)?.to_string().as_bytes())
    }

    /// What a key pins.
    pub fn pinned(&self, key: &str) -> Result<Option<Descriptor>> {
        let path = self.pin_path(key)?;
        let bytes = match read_capped(&path, LARGEST_DOCUMENT) {
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| Error::Malformed { what: path.display().to_string(), reason: error.to_string() })
    }

    /// Notes that a pin was of use just now.
    pub fn note_use(&self, key: &str) -> Result<()> {
        let path = self.pin_path(key)?;
        let file = fs::File::options().append(true).open(&path).at(&path, "open")?;
        file.set_modified(SystemTime::now()).at(&path, "utimensat")
    }

    /// When a pin was last of use, or made.
    pub fn last_use(&self, key: &str) -> Result<SystemTime> {
        let path = self.pin_path(key)?;
        fs::metadata(&path).and_then(|found| found.modified()).at(&path, "stat")
    }

    /// Gives a pin up. [`Layout::collect`] removes what nothing else reaches.
    pub fn unpin(&self, key: &str) -> Result<()> {
        let path = self.pin_path(key)?;
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.at(&path, "remove"),
        }
    }

    /// Every key with what it pins, in the order of the keys.
    pub fn pins(&self) -> Result<Vec<(String, Descriptor)>> {
        let dir = self.private("pins");
        let entries = match fs::read_dir(&dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.at(&dir, "list")?,
        };
        let mut pins = Vec::new();
        for entry in entries {
            let key = entry.at(&dir, "list")?.file_name().to_string_lossy().into_owned();
            if let Some(pinned) = self.pinned(&key)? {
                pins.push((key, pinned));
            }
        }
        pins.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(pins)
    }

    fn pin_path(&self, key: &str) -> Result<PathBuf> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        if key.is_empty() || key.len() > 200 || key.starts_with('.') || !key.bytes().all(plain) {
            return Err(Error::PinKey(key.chars().take(220).collect()));
        }
        Ok(self.private("pins").join(key))
    }
}

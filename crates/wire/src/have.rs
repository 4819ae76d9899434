//! The list of blobs that the other side has, for archives without them.

use crate::{Digest, FORMAT_VERSION};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::io::{self, BufRead, Read, Write};

/// More than any store has: ten million blobs of about a hundred bytes a line.
const LARGEST: u64 = 1 << 30;
const KIND: &str = "have";

/// What one side has, so that the other one leaves it out: the digests of blobs with their sizes. It is the one
/// list that travels between machines; dock-wire(5) describes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Have(HashMap<Digest, u64>);

/// Why a list cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum HaveError {
    /// Nothing was written: whoever should have printed the list has failed.
    #[error("empty: not even the first line of a list of blobs")]
    Empty,
    /// A line that is no JSON, or cut, or of another kind.
    #[error("line {0}: {1}")]
    Line(usize, String),
    /// The list could not be read.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The first line, which an empty store has too: an empty stream is a failure.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    format_version: String,
    kind: String,
}

#[derive(Serialize, Deserialize)]
struct Blob {
    digest: Digest,
    size: u64,
}

impl Have {
    /// Reads a list to its end.
    ///
    /// # Errors
    ///
    /// An empty stream, a first line of another kind or major version, a line that is no blob.
    pub fn read(from: impl Read) -> Result<Self, HaveError> {
        let mut lines = io::BufReader::new(from.take(LARGEST)).lines();
        let bad = |at: usize, cause: serde_json::Error| HaveError::Line(at, cause.to_string());
        let head: Head = serde_json::from_str(&lines.next().ok_or(HaveError::Empty)??).map_err(|e| bad(1, e))?;
        if head.kind != KIND || head.format_version.split('.').next() != FORMAT_VERSION.split('.').next() {
            let found = format!("a {} list of version {}, this program reads {KIND} 1", head.kind, head.format_version);
            return Err(HaveError::Line(1, found));
        }
        let mut have = HashMap::new();
        for (at, line) in lines.enumerate() {
            let blob: Blob = serde_json::from_str(&line?).map_err(|cause| bad(at + 2, cause))?;
            have.insert(blob.digest, blob.size);
        }
        Ok(Self(have))
    }

    /// Writes the list, sorted.
    ///
    /// # Errors
    ///
    /// Whatever writing to `to` gives.
    pub fn write(&self, to: &mut impl Write) -> io::Result<()> {
        let head = Head { format_version: FORMAT_VERSION.into(), kind: KIND.into() };
        writeln!(to, "{}", serde_json::to_string(&head)?)?;
        let mut blobs: Vec<_> = self.0.iter().collect();
        blobs.sort();
        for (digest, size) in blobs {
            writeln!(to, "{}", serde_json::to_string(&Blob { digest: digest.clone(), size: *size })?)?;
        }
        Ok(())
    }

    /// Whether the other side has the blob, in its full size.
    pub fn has(&self, digest: &Digest, size: u64) -> bool {
        self.0.get(digest) == Some(&size)
    }
}

impl FromIterator<(Digest, u64)> for Have {
    fn from_iter<T: IntoIterator<Item = (Digest, u64)>>(blobs: T) -> Self {
        Self(blobs.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_comes_back_and_an_empty_store_is_no_empty_list() {
        let digest = |digit: &str| format!("sha256:{}", digit.repeat(64)).parse::<Digest>().unwrap();
        let have = Have::from_iter([(digest("b"), 2), (digest("a"), 1)]);
        let mut text = Vec::new();
        have.write(&mut text).unwrap();
        assert_eq!(Have::read(&text[..]).unwrap(), have);
        assert!(have.has(&digest("a"), 1) && !have.has(&digest("a"), 2) && !have.has(&digest("c"), 1));
        let mut nothing = Vec::new();
        Have::default().write(&mut nothing).unwrap();
        assert_eq!(Have::read(&nothing[..]).unwrap(), Have::default());
        assert!(matches!(Have::read(&b""[..]), Err(HaveError::Empty)));
        for (bad, line) in [
            ("{\"formatVersion\":\"2.0\",\"kind\":\"have\"}\n", 1),
            ("{\"formatVersion\":\"1.0\",\"kind\":\"image\"}\n", 1),
            ("{\"formatVersion\":\"1.1\",\"kind\":\"have\"}\n{\"digest\":\"sha256:../x\",\"size\":1}\n", 2),
            (&String::from_utf8_lossy(&text[..text.len() - 9]), 3),
        ] {
            assert!(matches!(Have::read(bad.as_bytes()), Err(HaveError::Line(at, _)) if at == line), "{bad}");
        }
    }
}

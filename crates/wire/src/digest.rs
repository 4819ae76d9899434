//! `sha256:…`, `sha512:…`: OCI image-spec, descriptor.md, "Digests".

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{fmt, str::FromStr};

/// The two algorithms that OCI image-spec registers (descriptor.md, "Registered Algorithms").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// `sha256`: 64 hexadecimal digits.
    Sha256,
    /// `sha512`: 128 hexadecimal digits.
    Sha512,
}

impl Algorithm {
    /// The word before the colon, which is also the directory below `blobs/`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// How many hexadecimal digits a digest of this algorithm has.
    pub(crate) fn hex_len(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha512 => 128,
        }
    }
}

/// A content digest, `algorithm:hex`. A value of this type is safe as a file name: the grammar leaves
/// no room for `/` or `..` (CVE-2024-3727, CVE-2014-9356).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest {
    algorithm: Algorithm,
    hex: Box<str>,
}

/// Why a text is not a [`Digest`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// Neither `sha256:` nor `sha512:`.
    #[error("{0:?} is not a digest: it starts with neither sha256: nor sha512:")]
    Algorithm(String),
    /// Wrong length, or something else than lower-case hexadecimal digits.
    #[error("{0:?} is not a digest: want {1} lower-case hexadecimal digits after the colon")]
    Hex(String, usize),
}

impl Digest {
    /// A digest from the bytes that the hash function gave.
    ///
    /// # Panics
    /// When `bytes` has not the length of the algorithm: that is a bug in the caller.
    pub fn from_bytes(algorithm: Algorithm, bytes: &[u8]) -> Self {
        assert_eq!(bytes.len() * 2, algorithm.hex_len(), "digest length");
        let mut hex = String::with_capacity(algorithm.hex_len());
        for byte in bytes {
            for nibble in [byte >> 4, byte & 15] {
                hex.push(char::from(b"0123456789abcdef"[usize::from(nibble)]));
            }
        }
        Self { algorithm, hex: hex.into() }
    }

    /// The algorithm before the colon.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The digits after the colon.
    pub fn hex(&self) -> &str {
        &self.hex
    }

    /// The first twelve digits, as docker shows IDs.
    pub fn short(&self) -> &str {
        &self.hex[..12]
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let (algorithm, hex) = match text.split_once(':') {
            Some(("sha256", hex)) => (Algorithm::Sha256, hex),
            Some(("sha512", hex)) => (Algorithm::Sha512, hex),
            _ => return Err(DigestError::Algorithm(clip(text))),
        };
        let lower_hex = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        if hex.len() != algorithm.hex_len() || !hex.bytes().all(lower_hex) {
            return Err(DigestError::Hex(clip(text), algorithm.hex_len()));
        }
        Ok(Self { algorithm, hex: hex.into() })
    }
}

/// Hostile text goes into an error message only so far.
fn clip(text: &str) -> String {
    text.chars().take(150).collect()
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm.name(), self.hex)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_grammar_is_a_digest() {
        let good = format!("sha256:{}", "0a".repeat(32));
        assert_eq!(good.parse::<Digest>().unwrap().to_string(), good);
        assert!(format!("sha512:{}", "0a".repeat(64)).parse::<Digest>().is_ok());
        for bad in [
            "",
            "sha256",
            "sha256:",
            "sha256:../../x",
            "md5:0a",
            &good[..70],
            &good.to_uppercase(),
            &format!("{good}0"),
            &good.replace('a', "/"),
        ] {
            assert!(bad.parse::<Digest>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn bytes_become_hex() {
        let digest = Digest::from_bytes(Algorithm::Sha256, &[0xf0; 32]);
        assert_eq!(digest.hex(), "f0".repeat(32));
        assert_eq!(digest.short(), "f0f0f0f0f0f0");
    }
}

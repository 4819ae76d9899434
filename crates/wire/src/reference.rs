//! Names of images by the grammar of distribution, normalised as docker does.

use crate::{Digest, DigestError};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{fmt, str::FromStr};

const DEFAULT_HOST: &str = "docker.io";
const DEFAULT_TAG: &str = "latest";
/// distribution/reference: the longest name, host included.
const MAX_NAME: usize = 255;

/// An image reference in its full form, `host[:port]/path:tag` or `host[:port]/path[:tag]@digest`, by the
/// grammar of distribution's reference package. Parsing fills in what docker fills in: no host is docker.io,
/// one word on docker.io is below `library/`, neither tag nor digest is `:latest`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    host: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a text is not a [`Reference`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Nothing at all.
    #[error("an image reference is empty")]
    Empty,
    /// The repository part breaks the grammar.
    #[error("{0:?} is not an image reference: a repository is lower-case letters and digits, joined by . _ __ - and /")]
    Path(String),
    /// The part before the first slash looks like a host and is none.
    #[error("{0:?} is not an image reference: {1:?} is not a host name with an optional port")]
    Host(String, String),
    /// The part after the colon is no tag.
    #[error(
        "{0:?} is not an image reference: a tag is at most 128 letters, digits, . _ -, and starts with neither . nor -"
    )]
    Tag(String),
    /// The part after the @ is no digest.
    #[error("{0:?} is not an image reference: {1}")]
    Digest(String, DigestError),
    /// Longer than the grammar allows.
    #[error("{0:?}… is not an image reference: the name has more than 255 characters")]
    Long(String),
    /// Sixty-four hexadecimal digits are an image ID; distribution refuses them as a repository.
    #[error("{0:?} is not an image reference: 64 hexadecimal digits are an image ID, not a repository")]
    Id(String),
}

impl Reference {
    /// `docker.io`, `localhost:5000`, `[::1]:5000`.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The repository below the host: `library/alpine`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The tag, when there is one; a reference by digest may have none.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, when the reference pins one.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// `host/path`, without tag and digest.
    pub fn repository(&self) -> String {
        format!("{}/{}", self.host, self.path)
    }

    /// The repository as docker shows it: without `docker.io/` and `library/`, unless what is left would be read as
    /// another registry's (`docker.io/other.example/app`) or as an image ID.
    pub fn familiar_repository(&self) -> String {
        if self.host != DEFAULT_HOST {
            return self.repository();
        }
        let short = self.path.strip_prefix("library/").filter(|rest| !rest.contains('/')).unwrap_or(&self.path);
        let misread = short.split_once('/').is_some_and(|(first, _)| looks_like_host(first)) || is_image_id(short);
        if misread { self.repository() } else { short.to_owned() }
    }

    /// The whole reference as docker shows it: `alpine:3.20`.
    pub fn familiar(&self) -> String {
        let mut text = self.familiar_repository();
        self.push_tag_and_digest(&mut text);
        text
    }

    fn push_tag_and_digest(&self, text: &mut String) {
        if let Some(tag) = &self.tag {
            text.push(':');
            text.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            text.push('@');
            text.push_str(&digest.to_string());
        }
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if text.is_empty() {
            return Err(ReferenceError::Empty);
        }
        if text.len() > 1024 {
            return Err(ReferenceError::Long(text.chars().take(60).collect()));
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => {
                let digest = digest.parse().map_err(|cause| ReferenceError::Digest(text.into(), cause))?;
                (rest, Some(digest))
            }
            None => (text, None),
        };
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (rest, None),
        };
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(ReferenceError::Tag(text.into()));
        }
        // Docker's rule: the first component is a host only if it could not be a Hub user.
        let (host, path) = match name.split_once('/') {
            Some((first, path)) if looks_like_host(first) => (first, path.to_owned()),
            Some(_) => (DEFAULT_HOST, name.to_owned()),
            None => (DEFAULT_HOST, format!("library/{name}")),
        };
        let (host, path) = match host {
            "index.docker.io" | "docker.io" if !path.contains('/') => (DEFAULT_HOST, format!("library/{path}")),
            "index.docker.io" => (DEFAULT_HOST, path),
            _ => (host, path),
        };
        if !is_host(host) {
            return Err(ReferenceError::Host(text.into(), host.into()));
        }
        if !path.split('/').all(is_path_component) {
            return Err(ReferenceError::Path(text.into()));
        }
        if is_image_id(name) {
            return Err(ReferenceError::Id(text.into()));
        }
        if host.len() + 1 + path.len() > MAX_NAME {
            return Err(ReferenceError::Long(text.chars().take(60).collect()));
        }
        let tag = match (tag, &digest) {
            (None, None) => Some(DEFAULT_TAG.to_owned()),
            (tag, _) => tag.map(Into::into),
        };
        Ok(Self { host: host.into(), path, tag, digest })
    }
}

fn looks_like_host(first: &str) -> bool {
    first.contains(['.', ':']) || first == "localhost" || first.bytes().any(|b| b.is_ascii_uppercase())
}

fn is_image_id(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|b| b.is_ascii_hexdigit())
}

fn is_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    tag.len() <= 128 && tag.bytes().next().is_some_and(word) && tag.bytes().all(|b| word(b) || b == b'.' || b == b'-')
}

/// `path-component := [a-z0-9]+ (separator [a-z0-9]+)*`, `separator := [_.] | '__' | '-'+`
fn is_path_component(component: &str) -> bool {
    let alnum = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let mut separators = component.split(alnum).filter(|s| !s.is_empty());
    component.starts_with(alnum)
        && component.ends_with(alnum)
        && separators.all(|s| matches!(s, "." | "_" | "__") || s.bytes().all(|b| b == b'-'))
}

fn is_host(host: &str) -> bool {
    let (name, port) = match (host.strip_prefix('['), host.rsplit_once(':')) {
        (Some(rest), _) => match rest.split_once(']') {
            Some((address, "")) => (address, None),
            Some((address, port)) if port.starts_with(':') => (address, Some(&port[1..])),
            _ => return false,
        },
        (None, Some((name, port))) => (name, Some(port)),
        (None, None) => (host, None),
    };
    let port_ok = port.is_none_or(|p| !p.is_empty() && p.len() <= 5 && p.bytes().all(|b| b.is_ascii_digit()));
    let name_ok = if host.starts_with('[') {
        name.parse::<std::net::Ipv6Addr>().is_ok()
    } else {
        name.split('.').all(|label| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        })
    };
    port_ok && name_ok
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.repository();
        self.push_tag_and_digest(&mut text);
        f.write_str(&text)
    }
}

impl Serialize for Reference {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Reference {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_grow_as_dockers_do() {
        let digest = format!("sha256:{}", "1f".repeat(32));
        for (short, full, familiar) in [
            ("alpine", "docker.io/library/alpine:latest", "alpine:latest"),
            ("alpine:3.20", "docker.io/library/alpine:3.20", "alpine:3.20"),
            ("user/app", "docker.io/user/app:latest", "user/app:latest"),
            ("docker.io/x.io/app", "docker.io/x.io/app:latest", "docker.io/x.io/app:latest"),
            ("docker.io/alpine", "docker.io/library/alpine:latest", "alpine:latest"),
            ("index.docker.io/user/app:1", "docker.io/user/app:1", "user/app:1"),
            ("localhost/app", "localhost/app:latest", "localhost/app:latest"),
            ("host:5000/team/app", "host:5000/team/app:latest", "host:5000/team/app:latest"),
            ("127.0.0.1:5000/a__b/c.d-e", "127.0.0.1:5000/a__b/c.d-e:latest", "127.0.0.1:5000/a__b/c.d-e:latest"),
            ("[::1]:5000/x", "[::1]:5000/x:latest", "[::1]:5000/x:latest"),
            (&format!("alpine@{digest}"), &format!("docker.io/library/alpine@{digest}"), &format!("alpine@{digest}")),
            (&format!("h.io/a:t@{digest}"), &format!("h.io/a:t@{digest}"), &format!("h.io/a:t@{digest}")),
        ] {
            let parsed: Reference = short.parse().unwrap();
            assert_eq!(parsed.to_string(), full);
            assert_eq!(parsed.familiar(), familiar);
            assert_eq!(full.parse::<Reference>().unwrap(), parsed, "full form is stable");
        }
    }

    #[test]
    fn what_is_no_reference() {
        for bad in [
            "",
            ":",
            "Alpine",
            "a/B",
            "a//b",
            "/a",
            "a/",
            "../x",
            "a/../b",
            "a:",
            "a:-x",
            "a:b:c",
            "a b",
            "host:x/a",
            "-a",
            "a___b",
            "a._b",
            "[::g]/x",
            "a@sha256:12",
            "a\n",
            &"ab".repeat(32),
            &"a".repeat(300),
        ] {
            assert!(bad.parse::<Reference>().is_err(), "{bad:?}");
        }
    }
}

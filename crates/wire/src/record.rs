//! The records that tools hand on, a JSON object a line: dock-wire(5).

use crate::{Descriptor, Digest, WirePath};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The version that this build writes. Same major: readers ignore members that they do not know and pass
/// them on. Another major: an error.
pub const FORMAT_VERSION: &str = "1.0";

/// An image in a layout: what img-pull prints and img-unpack reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// Absolute path of the OCI image layout.
    pub layout: WirePath,
    /// The name in the layout's index; absent for an image without one.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The descriptor of the manifest (or image index), verbatim.
    pub descriptor: Descriptor,
    /// Members that this version does not know.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// One layer blob in a layout: what layer-diff prints and img-append reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Layer {
    /// Absolute path of the OCI image layout.
    pub layout: WirePath,
    /// The descriptor of the blob.
    pub descriptor: Descriptor,
    /// The digest of the uncompressed tar.
    #[serde(rename = "diffID")]
    pub diff_id: Digest,
    /// Members that this version does not know.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// An OCI runtime bundle: what img-unpack prints, ctr-spec passes on and ctr-spawn reads. The same record
/// stands in the bundle as `bundle.json`, so that the directory alone is enough.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bundle {
    /// Absolute path of the bundle directory.
    pub path: WirePath,
    /// The image that it was made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Image>,
    /// How to put `rootfs/` together; absent when it is a complete tree already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlay: Option<Overlay>,
    /// Members that this version does not know.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// The directories of an overlay mount. `upper` and `work` are below the bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overlay {
    /// Absolute paths of the unpacked layers, the topmost first, as overlayfs takes them.
    pub lower: Vec<WirePath>,
    /// Absolute path of the directory that takes the changes.
    pub upper: WirePath,
    /// Absolute path of overlayfs's own scratch directory, on the file system of `upper`.
    pub work: WirePath,
    /// Whiteouts and opaque marks are `user.overlay.*` instead of `trusted.overlay.*`: made without root.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub userxattr: bool,
}

/// Docker's words for where a container is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Made, never started.
    Created,
    /// Its process lives.
    Running,
    /// Its processes are frozen.
    Paused,
    /// Waiting for the restart policy's back-off.
    Restarting,
    /// Its process has ended.
    Exited,
    /// Being removed.
    Removing,
    /// Could not be removed whole.
    Dead,
}

/// A container: what ctr-ls prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Container {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Given by `--name`, or `adjective_surname`.
    pub name: String,
    /// Where it is in its life.
    pub status: Status,
    /// Process ID of its first process as the host sees it; absent unless it lives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<i32>,
    /// Absolute path of its bundle.
    pub bundle: WirePath,
    /// How its process ended; null until it has.
    pub exit_code: Option<i32>,
    /// Members that this version does not know.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// One line between two tools.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// `"kind":"image"`
    Image(Image),
    /// `"kind":"layer"`
    Layer(Layer),
    /// `"kind":"bundle"`
    Bundle(Bundle),
    /// `"kind":"container"`
    Container(Container),
}

/// Why a line is not a record.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// No JSON, or members missing or of another type.
    #[error("not a record: {0}")]
    Json(#[from] serde_json::Error),
    /// JSON, but no object with formatVersion and kind.
    #[error("not a record: no member {0:?}")]
    Member(&'static str),
    /// Written by a later major version.
    #[error("record of format version {0}: this program reads {FORMAT_VERSION}; use tools of one release in a pipe")]
    Version(String),
    /// A kind of record that this program does not know.
    #[error("record of unknown kind {0:?}")]
    Kind(String),
}

impl Record {
    /// The word in `kind`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Image(_) => "image",
            Self::Layer(_) => "layer",
            Self::Bundle(_) => "bundle",
            Self::Container(_) => "container",
        }
    }

    /// Reads one line.
    pub fn parse(line: &str) -> Result<Self, RecordError> {
        let mut value: Value = serde_json::from_str(line)?;
        let members = value.as_object_mut().ok_or(RecordError::Member("kind"))?;
        let version = take_text(members, "formatVersion")?;
        if version.split('.').next() != FORMAT_VERSION.split('.').next() {
            return Err(RecordError::Version(version));
        }
        match take_text(members, "kind")?.as_str() {
            "image" => Ok(Self::Image(serde_json::from_value(value)?)),
            "layer" => Ok(Self::Layer(serde_json::from_value(value)?)),
            "bundle" => Ok(Self::Bundle(serde_json::from_value(value)?)),
            "container" => Ok(Self::Container(serde_json::from_value(value)?)),
            other => Err(RecordError::Kind(other.into())),
        }
    }

    /// The line that [`Record::parse`] reads, without its line feed.
    ///
    /// # Panics
    /// Never: the members are strings, numbers and maps with string keys.
    pub fn to_line(&self) -> String {
        let body = match self {
            Self::Image(record) => serde_json::to_value(record),
            Self::Layer(record) => serde_json::to_value(record),
            Self::Bundle(record) => serde_json::to_value(record),
            Self::Container(record) => serde_json::to_value(record),
        };
        let mut members = Map::new();
        members.insert("formatVersion".into(), FORMAT_VERSION.into());
        members.insert("kind".into(), self.kind().into());
        if let Value::Object(body) = body.expect("plain data") {
            members.extend(body);
        }
        Value::Object(members).to_string()
    }
}

fn take_text(members: &mut Map<String, Value>, name: &'static str) -> Result<String, RecordError> {
    match members.shift_remove(name) {
        Some(Value::String(text)) => Ok(text),
        _ => Err(RecordError::Member(name)),
    }
}

macro_rules! record_from {
    ($($kind:ident),*) => { $(
        impl From<$kind> for Record {
            fn from(record: $kind) -> Self {
                Self::$kind(record)
            }
        }
    )* };
}
record_from!(Image, Layer, Bundle, Container);

#[cfg(test)]
mod tests {
    use super::*;

    const IMAGE: &str = r#"{"formatVersion":"1.0","kind":"image","layout":"/l","ref":"docker.io/library/a:1","descriptor":{"mediaType":"m","digest":"sha256:0000000000000000000000000000000000000000000000000000000000000000","size":1}}"#;

    #[test]
    fn lines_come_back_as_they_were() {
        assert_eq!(Record::parse(IMAGE).unwrap().to_line(), IMAGE);
    }

    #[test]
    fn unknown_members_are_passed_on_and_unknown_majors_refused() {
        let later = IMAGE.replace(r#""1.0""#, r#""1.9""#).replace(r#""ref""#, r#""new":[1],"ref""#);
        assert!(Record::parse(&later).unwrap().to_line().contains(r#""new":[1]"#));
        let other = IMAGE.replace(r#""1.0""#, r#""2.0""#);
        assert!(matches!(Record::parse(&other), Err(RecordError::Version(v)) if v == "2.0"));
        assert!(Record::parse("{}").is_err());
        assert!(Record::parse("[]").is_err());
        assert!(Record::parse(&IMAGE.replace("image", "thing")).is_err());
    }
}

//! What can be wrong with a layout.

use std::io;
use std::path::{Path, PathBuf};
use wire::{Digest, Platform};

/// What goes wrong in a layout. Every message is one line and names the object.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A system call failed.
    #[error("{}: {operation}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was tried.
        operation: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// The directory is no OCI image layout.
    #[error("{}: not an OCI image layout: {reason}", path.display())]
    NotALayout {
        /// The directory.
        path: PathBuf,
        /// What is missing or wrong.
        reason: String,
    },
    /// No blob of this digest.
    #[error("{0}: no such blob in the layout")]
    Missing(Digest),
    /// A blob that is longer or shorter than its descriptor says.
    #[error("{digest}: the blob has {found} bytes, its descriptor says {expected}")]
    Size {
        /// The descriptor's digest.
        digest: Digest,
        /// The descriptor's size.
        expected: u64,
        /// The size that was found.
        found: u64,
    },
    /// A blob whose bytes do not hash to its digest.
    #[error("{expected}: the bytes hash to {found}")]
    Digest {
        /// The descriptor's digest.
        expected: Digest,
        /// The digest that was found.
        found: Digest,
    },
    /// A document beyond [`crate::LARGEST_DOCUMENT`].
    #[error("{what}: {size} bytes are more than a document may have ({limit})")]
    TooLarge {
        /// Which document.
        what: String,
        /// Its size.
        size: u64,
        /// The cap.
        limit: u64,
    },
    /// No JSON, or not of the shape that the specification wants.
    #[error("{what}: {reason}")]
    Malformed {
        /// Which document.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A descriptor of something else than an image.
    #[error("{digest}: not an image but {media_type}")]
    NotAnImage {
        /// The descriptor's digest.
        digest: Digest,
        /// Its media type.
        media_type: String,
    },
    /// No name, no ID and no prefix of one.
    #[error("No such image: {0}")]
    NotFound(String),
    /// A prefix of several IDs, or a name that the index has twice.
    #[error("{operand}: ambiguous: it could be {}", candidates.join(", "))]
    Ambiguous {
        /// What was asked for.
        operand: String,
        /// What it could be.
        candidates: Vec<String>,
    },
    /// The image exists, for other platforms.
    #[error("{digest}: no image for {wanted}, only for {}", offered.join(", "))]
    Platform {
        /// The index.
        digest: Digest,
        /// What was asked for.
        wanted: Platform,
        /// What there is.
        offered: Vec<String>,
    },
    /// Nothing was collected, because of these, `NAME (PID)`. Empty where nobody can be named.
    #[error("images are being written{}: their layout will be swept by the next img-rm", by(.0))]
    Busy(Vec<String>),
    /// A pin key that is no plain file name.
    #[error("{0:?} is not a pin key: want 1 to 200 letters, digits, . _ -, not starting with a dot")]
    PinKey(String),
}

fn by(writers: &[String]) -> String {
    if writers.is_empty() { String::new() } else { format!(" by {}", writers.join(", ")) }
}

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// `.at(path, "operation")` turns an I/O error into ours.
pub(crate) trait At<T> {
    fn at(self, path: &Path, operation: &'static str) -> Result<T>;
}

impl<T, E: Into<io::Error>> At<T> for std::result::Result<T, E> {
    fn at(self, path: &Path, operation: &'static str) -> Result<T> {
        self.map_err(|source| Error::Io { path: path.to_owned(), operation, source: source.into() })
    }
}

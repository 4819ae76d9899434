//! What can be wrong with a layer or with the disk.

use std::io;
use std::path::PathBuf;

/// Why a layer could not be read, applied or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The stream of the tar itself failed.
    #[error("{0}")]
    Stream(#[source] io::Error),
    /// The stream ends where a tar does not.
    #[error("the tar ends in the middle of an entry")]
    Cut,
    /// A system call on a path of the tree failed.
    #[error("{call}({path:?}): {source}", path = path.as_os_str())]
    Call {
        /// The name of the system call.
        call: &'static str,
        /// The path, relative to the root of the tree.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The tar breaks the format, or a limit, or tries to leave its root.
    #[error("entry {path:?}: {reason}", path = path.as_os_str())]
    Refused {
        /// The name of the entry, as far as it was read.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Only the layers below can say where this goes: apply them first, then try again with them.
    #[error("{path:?}: the layers below are needed", path = path.as_os_str())]
    NeedsLower {
        /// What is missing in the layer.
        path: PathBuf,
    },
    /// A tree holds something that a layer cannot say.
    #[error("{path:?}: {reason}", path = path.as_os_str())]
    Unsayable {
        /// The path, relative to the root of the tree.
        path: PathBuf,
        /// What it is.
        reason: String,
    },
}

impl Error {
    pub(crate) fn call(call: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(rustix::io::Errno) -> Self {
        let path = path.into();
        move |errno| Self::Call { call, path, source: errno.into() }
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Stream(error)
    }
}

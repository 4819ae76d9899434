//! What stood in the way of a process, and whose exit code that is.

use std::io;

/// Why a step could not run: the call with its arguments and the cause, on one line.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system call failed.
    #[error("{call}: {}", cause(*.errno))]
    Call {
        /// The call as one would write it.
        call: String,
        /// What the kernel answered.
        errno: i32,
    },
    /// We did not even try.
    #[error("{0}")]
    Refused(String),
    /// The command of the container could not be executed: 126 or 127.
    #[error("{message}")]
    Exec {
        /// 126 found but not executable, 127 not found.
        code: u8,
        /// What is missing.
        message: String,
    },
    /// The child said so before its exec.
    #[error("{message}")]
    Child {
        /// The exit code that goes with it.
        code: u8,
        /// Its line.
        message: String,
    },
}

impl Error {
    pub(crate) fn refused(message: impl Into<String>) -> Self {
        Self::Refused(message.into())
    }

    /// The exit code: 126 and 127 for the command, 125 for everything of ours.
    pub fn code(&self) -> u8 {
        match self {
            Self::Exec { code, .. } | Self::Child { code, .. } => *code,
            Self::Call { .. } | Self::Refused(_) => 125,
        }
    }
}

pub(crate) type Result<T> = std::result::Result<T, Error>;

/// The kernel's words without Rust's "(os error 2)".
pub(crate) fn cause(errno: i32) -> String {
    let text = io::Error::from_raw_os_error(errno).to_string();
    match text.split_once(" (os error") {
        Some((words, _)) => words.to_owned(),
        None => text,
    }
}

/// Puts the call in front of the cause.
pub(crate) trait Call<T> {
    fn call(self, call: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Call<T> for rustix::io::Result<T> {
    fn call(self, call: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|errno| Error::Call { call: call(), errno: errno.raw_os_error() })
    }
}

impl<T> Call<T> for io::Result<T> {
    fn call(self, call: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| Error::Call { call: call(), errno: error.raw_os_error().unwrap_or(libc::EIO) })
    }
}

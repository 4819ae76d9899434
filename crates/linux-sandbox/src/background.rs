//! daemon(7) without the daemon: a process that outlives the shell that started it, to keep one container.

use crate::error::{Call, Error};
use crate::sys;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{chdir, setsid};

/// The three descriptors that a process starts with.
#[derive(Debug)]
pub struct Stdio {
    /// Where it reads.
    pub input: OwnedFd,
    /// Where it prints.
    pub output: OwnedFd,
    /// Where it complains.
    pub errors: OwnedFd,
}

impl Stdio {
    /// Nothing to read and nobody who listens.
    pub fn null() -> Result<Self, Error> {
        let null =
            open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).call(|| "open(/dev/null)".into())?;
        let copy = |fd: &OwnedFd| fcntl_dupfd_cloexec(fd.as_fd(), 3).call(|| "dup(/dev/null)".into());
        Ok(Self { input: copy(&null)?, output: copy(&null)?, errors: null })
    }

    /// Puts them on 0, 1 and 2.
    pub fn install(&self) -> Result<(), Error> {
        rustix::stdio::dup2_stdin(&self.input).call(|| "dup2(0)".into())?;
        rustix::stdio::dup2_stdout(&self.output).call(|| "dup2(1)".into())?;
        rustix::stdio::dup2_stderr(&self.errors).call(|| "dup2(2)".into())
    }
}

/// What started the container is not needed to keep it. How much of a program is resident depends on how the page cache
/// happens to hold its file, up to all of it.
pub fn let_go_of_code() {
    let _ = sys::let_go_of_code();
}

/// Closes what a shell or a test left open at 3 and above: a lock or a pipe of theirs would live as long as the
/// container. To be called before anything of our own is open.
pub fn close_inherited() -> Result<(), Error> {
    sys::close_from_3().call(|| "close_range(3, ~0, 0)".into())
}

/// `fork(2)`: the pidfd of the new process in the old one, `None` in the new one, which has a session of its own
/// and stands in `/`. The caller must have no other thread.
pub fn fork_into_background() -> Result<Option<OwnedFd>, Error> {
    if let Some((_, pidfd)) = sys::clone3(0, None).call(|| "clone3()".into())? {
        return Ok(Some(pidfd));
    }
    setsid().call(|| "setsid()".into())?;
    chdir("/").call(|| "chdir(\"/\")".into())?;
    rustix::process::umask(Mode::from_raw_mode(0o077));
    Ok(None)
}

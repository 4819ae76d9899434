//! signal(7): which signals are passed on, and what the new process starts with.

use crate::error::{Call, Result};
use crate::steps::{Mechanism, Scene};
use crate::sys;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use serde::Serialize;

/// Every action default, nothing blocked: exec would keep an ignored SIGPIPE and our mask.
#[derive(Debug, Serialize)]
pub struct SignalsToDefault {}

impl Mechanism for SignalsToDefault {
    fn shell(&self) -> String {
        "trap - PIPE INT QUIT TERM HUP".into()
    }

    fn run(&self, _: &mut Scene) -> Result<()> {
        sys::default_signals();
        Ok(())
    }
}

/// Every signal that comes from now on, as something to read: none ends or stops this process any more.
#[derive(Debug)]
pub struct Signals(OwnedFd);

impl Signals {
    /// Blocks them all.
    pub fn take() -> std::result::Result<Self, crate::Error> {
        sys::signal_fd().call(|| "signalfd()".into()).map(Self)
    }

    /// The next one, when there is one. The kernel's own news of children and pipes are left out.
    pub fn next(&self) -> Option<i32> {
        std::iter::from_fn(|| sys::next_signal(&self.0))
            .find(|signal| is_passed_on(*signal) || *signal == libc::SIGWINCH)
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Whether the container should hear of a signal that we got. What the kernel tells us about our own children,
/// pipes and terminal is ours.
pub(crate) fn is_passed_on(signal: i32) -> bool {
    !matches!(signal, libc::SIGCHLD | libc::SIGPIPE | libc::SIGTTIN | libc::SIGTTOU | libc::SIGWINCH | libc::SIGURG)
}

#[cfg(test)]
mod tests {
    use super::is_passed_on;

    #[test]
    fn people_s_signals_pass() {
        for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGUSR1, libc::SIGQUIT, libc::SIGTSTP, 40] {
            assert!(is_passed_on(signal), "{signal}");
        }
        assert!(!is_passed_on(libc::SIGCHLD));
    }
}

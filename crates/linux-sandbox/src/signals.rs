//! signal(7): which signals are passed on, and what the new process starts with.

use crate::error::Result;
use crate::steps::{Mechanism, Scene};
use crate::sys;
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

//! What the first process of a PID namespace has to do, and programs that are not made for it do not: take leave
//! of every process whose parents have died, and have a default for signals, which the kernel withholds from it.

use crate::error::{Error, Result};
use crate::sys;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, WaitOptions, pidfd_open, wait};
use rustix::termios::{isatty, tcsetpgrp};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Runs one program and waits until it has ended, passing every signal on to it and reaping all others. Gives the
/// program's code, 128+n for signal n.
pub fn init(program: &mut Command) -> std::result::Result<u8, Error> {
    let signals = sys::signal_fd().map_err(|errno| call("signalfd()", errno))?;
    sys::start_with_default_signals(program);
    // A process group of its own, so that ctrl-C is for it and not for us.
    let child = program.process_group(0).spawn().map_err(|cause| {
        let code = if cause.kind() == std::io::ErrorKind::NotFound { 127 } else { 126 };
        Error::Exec { code, message: format!("{}: {cause}", program.get_program().to_string_lossy()) }
    })?;
    let child = Pid::from_child(&child);
    let pidfd = pidfd_open(child, PidfdFlags::empty()).map_err(|errno| call("pidfd_open()", errno))?;
    if isatty(rustix::stdio::stdin()) {
        // Not our session's terminal: then there is nobody to be in front.
        let _ = tcsetpgrp(rustix::stdio::stdin(), child);
    }
    loop {
        let mut ready = [PollFd::new(&signals, PollFlags::IN)];
        poll(&mut ready, None).map_err(|errno| call("poll()", errno))?;
        while let Some(signal) = sys::next_signal(&signals) {
            if signal == libc::SIGCHLD {
                if let Some(code) = reap(child)? {
                    return Ok(code);
                }
            } else {
                // It may have ended just now: SIGCHLD tells.
                let _ = sys::pidfd_send_signal(&pidfd, signal);
            }
        }
    }
}

/// Takes leave of all that have ended; the code of the one that counts, when it is among them.
fn reap(child: Pid) -> Result<Option<u8>> {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if pid == child => {
                let code = status.exit_status().or(status.terminating_signal().map(|signal| 128 + signal)).unwrap_or(1);
                return Ok(Some(u8::try_from(code).unwrap_or(255)));
            }
            Ok(Some(_)) => {}
            Ok(None) => return Ok(None),
            Err(errno) => return Err(call("waitpid(-1)", errno)),
        }
    }
}

fn call(line: &str, errno: rustix::io::Errno) -> Error {
    Error::Call { call: line.into(), errno: errno.raw_os_error() }
}

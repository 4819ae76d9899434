//! `--detach`: the program goes on as two. The one in front waits until the container's process has been
//! executed, says so (or why not) and ends; the one in the background keeps the container until it has ended.
//!
//! ```sh
//! setsid sh -c 'sh box/command >log 2>&1; echo $? >exit' </dev/null &
//! ```

use anyhow::Context;
use rustix::fd::OwnedFd;
use rustix::io::{Errno, read, write};
use rustix::pipe::{PipeFlags, pipe_with};
use toolkit::{Failure, WithHint};

/// Which of the two goes on.
#[derive(Debug)]
pub enum Side {
    Front(Verdict),
    Back(Report),
}

/// What the one in front reads.
#[derive(Debug)]
pub struct Verdict(OwnedFd);

/// Where the one in the background says how the start went.
#[derive(Debug)]
pub struct Report(OwnedFd);

pub fn part() -> anyhow::Result<Side> {
    let (verdict, report) = pipe_with(PipeFlags::CLOEXEC).context("pipe2()")?;
    match linux_sandbox::fork_into_background()? {
        Some(_) => Ok(Side::Front(Verdict(verdict))),
        None => Ok(Side::Back(Report(report))),
    }
}

impl Report {
    /// The process runs.
    pub fn started(self) {
        // Whoever waited for this may be gone: the container goes on.
        let _ = write(&self.0, &[0]);
    }

    /// It does not: code, message, hint.
    pub fn failed(self, code: u8, message: &str, hint: Option<&str>) {
        let mut text = vec![code.max(1)];
        text.extend_from_slice(message.replace('\n', " ").as_bytes());
        if let Some(hint) = hint {
            text.push(b'\n');
            text.extend_from_slice(hint.as_bytes());
        }
        let _ = write(&self.0, &text);
    }
}

impl Verdict {
    /// Waits for it. No word at all means that the process in the background was killed.
    pub fn wait(self) -> anyhow::Result<()> {
        let mut text = Vec::new();
        let mut buffer = [0; 1024];
        loop {
            match read(&self.0, &mut buffer) {
                Ok(0) => break,
                Ok(length) => text.extend_from_slice(&buffer[..length]),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno).context("read(<keeper>)"),
            }
        }
        let (code, text) = match text.split_first() {
            Some((0, _)) => return Ok(()),
            Some((code, text)) => (*code, String::from_utf8_lossy(text).into_owned()),
            None => (wire::exit::SPAWN_FAILED, "the process in the background was killed".into()),
        };
        match text.split_once('\n') {
            Some((message, hint)) => Err(Failure::with_code(code, message)).hint(|| hint.into()),
            None => Err(Failure::with_code(code, text)),
        }
    }
}

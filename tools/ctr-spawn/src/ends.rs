//! The keeper's ends of what the container reads and writes: three pipes, or its terminal.

use crate::journal::Stream;
use anyhow::Context;
use linux_sandbox::{Running, Stdio};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::OFlags;
use rustix::io::{Errno, fcntl_dupfd_cloexec, read, write};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::termios::{Winsize, tcsetwinsize};

/// What the keeper holds.
#[derive(Debug, Default)]
pub struct Ends {
    input: Option<OwnedFd>,
    output: Option<OwnedFd>,
    errors: Option<OwnedFd>,
    terminal: bool,
    /// Input that the container has not read yet.
    keys: Vec<u8>,
    no_more: bool,
}

impl Ends {
    /// Both sides, before the start.
    pub fn make(input: bool, terminal: bool) -> anyhow::Result<(Self, Stdio)> {
        let mut theirs = Stdio::null()?;
        let mut ours = Self { terminal, ..Self::default() };
        if terminal {
            return Ok((ours, theirs));
        }
        let pipe = || pipe_with(PipeFlags::CLOEXEC).context("pipe2()");
        if input {
            let (reader, writer) = pipe()?;
            theirs.input = reader;
            ours.input = Some(unblocked(writer)?);
        }
        let (output, errors) = (pipe()?, pipe()?);
        (theirs.output, theirs.errors) = (output.1, errors.1);
        (ours.output, ours.errors) = (Some(unblocked(output.0)?), Some(unblocked(errors.0)?));
        Ok((ours, theirs))
    }

    /// The terminal's other end, once there is one.
    pub fn take_terminal(&mut self, running: &mut Running, input: bool) -> anyhow::Result<()> {
        if let Some(master) = running.take_master() {
            let master = unblocked(master)?;
            self.input = if input { Some(fcntl_dupfd_cloexec(&master, 3).context("dup(<ptmx>)")?) } else { None };
            self.output = Some(master);
        }
        Ok(())
    }

    /// What can be read from, and what it is.
    pub fn readable(&self) -> impl Iterator<Item = (BorrowedFd<'_>, Stream)> {
        let output = self.output.iter().map(|fd| (fd.as_fd(), Stream::Stdout));
        output.chain(self.errors.iter().map(|fd| (fd.as_fd(), Stream::Stderr)))
    }

    /// Where input waits to be taken.
    pub fn writable(&self) -> Option<BorrowedFd<'_>> {
        self.input.as_ref().filter(|_| !self.keys.is_empty()).map(AsFd::as_fd)
    }

    /// Whether the container has not read what it was given: no more is taken from anybody until then.
    pub fn is_full(&self) -> bool {
        !self.keys.is_empty()
    }

    /// Bytes for the container; without an input they are nobody's.
    pub fn give(&mut self, bytes: &[u8]) {
        if self.input.is_some() && !self.no_more {
            self.keys.extend_from_slice(bytes);
            self.feed();
        }
    }

    /// No more of these: a terminal has no end, only its ctrl-D.
    pub fn end_input(&mut self) {
        if !self.terminal {
            self.no_more = true;
            self.feed();
        }
    }

    /// As much as it takes.
    pub fn feed(&mut self) {
        if let Some(input) = &self.input {
            match write(input, &self.keys) {
                Ok(written) => drop(self.keys.drain(..written)),
                Err(Errno::AGAIN | Errno::INTR) => {}
                // Nobody reads any more.
                Err(_) => {
                    self.keys.clear();
                    self.no_more = true;
                }
            }
        }
        if self.no_more && self.keys.is_empty() {
            self.input = None;
        }
    }

    /// Reads once; `None` when there is nothing now. An end closes our end.
    pub fn take<'a>(&mut self, stream: Stream, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
        let end = match stream {
            Stream::Stdout => &mut self.output,
            Stream::Stderr => &mut self.errors,
        };
        match read(end.as_ref()?, &mut *buffer) {
            Ok(length) if length > 0 => Some(&buffer[..length]),
            Err(Errno::AGAIN | Errno::INTR) => None,
            // With a terminal, EIO: no process has it open.
            _ => {
                *end = None;
                None
            }
        }
    }

    /// Lines and columns of the terminal.
    pub fn resize(&self, rows: u16, columns: u16) {
        if let Some(master) = self.output.as_ref().filter(|_| self.terminal) {
            let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
            let _ = tcsetwinsize(master, size);
        }
    }
}

fn unblocked(fd: OwnedFd) -> anyhow::Result<OwnedFd> {
    let flags = rustix::fs::fcntl_getfl(&fd).context("fcntl(F_GETFL)")?;
    rustix::fs::fcntl_setfl(&fd, flags | OFlags::NONBLOCK).context("fcntl(F_SETFL)")?;
    Ok(fd)
}

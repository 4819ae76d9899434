//! The loop between here and the keeper. Nothing in it waits for one side alone: a container that does not read
//! must not keep its own output from being read.

use crate::keys::{DetachKeys, Typed};
use anyhow::Context;
use bundle::keeper::Message;
use linux_sandbox::{Signals, Terminal};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::{Errno, read, write};
use rustix::net::{RecvFlags, SendFlags, recv, send};
use std::collections::VecDeque;

/// Both sides.
#[derive(Debug)]
pub struct Talk {
    pub socket: OwnedFd,
    /// Ours, when the container has one, too.
    pub terminal: Option<Terminal>,
    /// Standard input goes to the container.
    pub keys: bool,
    /// In a container without a terminal no byte is a key.
    pub detach: Option<DetachKeys>,
    pub pass_signals: bool,
}

/// Why it is over.
#[derive(Debug)]
pub enum End {
    /// The container has ended.
    Code(u8),
    /// The keys were typed; it goes on.
    Detached,
    /// This process was asked to end; the container goes on.
    Signal(u8),
    /// The keeper is gone without a word.
    Lost,
}

const WINCH: i32 = 28;
const CONT: i32 = 18;

impl Talk {
    pub fn until_the_end(mut self) -> anyhow::Result<End> {
        let signals = Signals::take()?;
        let mut out = VecDeque::new();
        if let Some(terminal) = &mut self.terminal {
            if self.keys {
                terminal.raw();
            }
            // Another size and then the right one: a program that draws its screen draws it again.
            out.extend(terminal.size().map(|(rows, columns)| Message::Size(rows + 1, columns).packet()));
            out.extend(terminal.size().map(|(rows, columns)| Message::Size(rows, columns).packet()));
        }
        loop {
            if self.send_all(&mut out) == Sent::Gone {
                // What it said before it went is still to be read.
                out.clear();
                self.keys = false;
            }
            let (signal, heard, typed) = self.wait(&signals, &out)?;
            if signal {
                while let Some(signal) = signals.next() {
                    if let Some(end) = self.obey(signal, &mut out) {
                        return Ok(end);
                    }
                }
            }
            if heard && let Some(end) = self.hear()? {
                return Ok(end);
            }
            if typed && let Some(end) = self.take_keys(&mut out) {
                self.send_all(&mut out);
                return Ok(end);
            }
        }
    }

    fn wait(&self, signals: &Signals, out: &VecDeque<Vec<u8>>) -> anyhow::Result<(bool, bool, bool)> {
        let mut talk = PollFlags::IN;
        talk.set(PollFlags::OUT, !out.is_empty());
        let stdin = rustix::stdio::stdin();
        let mut fds = vec![PollFd::new(signals, PollFlags::IN), PollFd::new(&self.socket, talk)];
        if self.keys && out.is_empty() {
            fds.push(PollFd::from_borrowed_fd(stdin.as_fd(), PollFlags::IN));
        }
        match poll(&mut fds, None) {
            Err(Errno::INTR) => return Ok((false, false, false)),
            other => other.context("poll()")?,
        };
        let happened = |at: usize| fds.get(at).is_some_and(|fd| !fd.revents().is_empty());
        let heard = fds[1].revents().intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR);
        Ok((happened(0), heard, happened(2)))
    }

    fn obey(&self, signal: i32, out: &mut VecDeque<Vec<u8>>) -> Option<End> {
        match (signal, &self.terminal) {
            (WINCH, Some(terminal)) => {
                out.extend(terminal.size().map(|(rows, columns)| Message::Size(rows, columns).packet()));
                None
            }
            (WINCH, None) => None,
            _ if self.pass_signals => {
                out.extend(u8::try_from(signal).map(|signal| Message::Signal(signal).packet()));
                None
            }
            (CONT, _) => None,
            _ => Some(End::Signal(u8::try_from(signal).unwrap_or(0))),
        }
    }

    /// One packet of the keeper's.
    fn hear(&self) -> anyhow::Result<Option<End>> {
        let mut packet = [0; Message::LONGEST + 1];
        let length = match recv(&self.socket, &mut packet, RecvFlags::DONTWAIT) {
            Err(Errno::AGAIN | Errno::INTR) => return Ok(None),
            Err(Errno::CONNRESET) | Ok((0, _)) => return Ok(Some(End::Lost)),
            other => other.context("recv(<keeper>)")?.0,
        };
        match Message::parse(&packet[..length.min(packet.len())]) {
            Some(Message::Output(bytes)) => write_all(rustix::stdio::stdout(), bytes).context("<stdout>")?,
            Some(Message::Errors(bytes)) => write_all(rustix::stdio::stderr(), bytes).context("<stderr>")?,
            Some(Message::Ended(code)) => return Ok(Some(End::Code(code))),
            _ => {}
        }
        Ok(None)
    }

    fn take_keys(&mut self, out: &mut VecDeque<Vec<u8>>) -> Option<End> {
        let mut buffer = [0; 8 * 1024];
        match read(rustix::stdio::stdin(), &mut buffer) {
            Ok(0) => {
                self.keys = false;
                out.push_back(Message::InputEnd.packet());
            }
            Ok(length) => {
                let typed = match &mut self.detach {
                    Some(keys) => keys.pass(&buffer[..length]),
                    None => Typed::Keys(buffer[..length].to_vec()),
                };
                let (Typed::Keys(bytes) | Typed::Detach(bytes)) = &typed;
                if !bytes.is_empty() {
                    out.push_back(Message::Input(bytes).packet());
                }
                return matches!(typed, Typed::Detach(_)).then_some(End::Detached);
            }
            Err(Errno::INTR | Errno::AGAIN) => {}
            // A terminal that was hung up types nothing more.
            Err(_) => self.keys = false,
        }
        None
    }

    fn send_all(&self, out: &mut VecDeque<Vec<u8>>) -> Sent {
        while let Some(packet) = out.front() {
            match send(&self.socket, packet, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
                Ok(_) => drop(out.pop_front()),
                Err(Errno::AGAIN | Errno::INTR | Errno::NOBUFS) => return Sent::Later,
                Err(_) => return Sent::Gone,
            }
        }
        Sent::All
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Sent {
    All,
    Later,
    Gone,
}

/// Also to a terminal or a pipe that somebody else has made non-blocking.
fn write_all(fd: impl AsFd, mut bytes: &[u8]) -> rustix::io::Result<()> {
    while !bytes.is_empty() {
        match write(&fd, bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => drop(poll(&mut [PollFd::new(&fd, PollFlags::OUT)], None)),
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

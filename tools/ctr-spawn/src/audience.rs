//! Who is attached: clients of the keeper's socket, each of which sees all output and may write to the input.
//!
//! A client that does not read holds the container up, as a terminal at ctrl-S does: no output is lost and no
//! memory grows. It lets go when it goes.

use anyhow::Context;
use bundle::keeper::{Message, socket_path};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags, open, unlinkat};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, listen, recv,
    send, socket_with,
};
use std::collections::VecDeque;
use std::path::Path;

/// So many may be attached at once.
const MOST: usize = 64;

/// The listening socket and everybody who came.
#[derive(Debug)]
pub struct Audience {
    listener: OwnedFd,
    clients: Vec<Client>,
    /// Somebody has come since the start.
    pub ever: bool,
}

#[derive(Debug)]
struct Client {
    socket: OwnedFd,
    /// Packets that its socket did not take.
    late: VecDeque<Vec<u8>>,
    gone: bool,
}

/// What a client said.
#[derive(Debug, PartialEq, Eq)]
pub enum Said {
    Input(Vec<u8>),
    InputEnd,
    Size(u16, u16),
    Signal(u8),
    GiveUp,
}

impl Audience {
    /// Listens on `attach.sock`. The path goes through a descriptor of its directory: a socket's address has
    /// only 108 bytes.
    pub fn open(run: &Path, id: &str) -> anyhow::Result<Self> {
        let dir = bundle::life::make_state_dir(run, id)?;
        let line = || socket_path(run, id).display().to_string();
        let dir = open(&dir, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).with_context(line)?;
        let listener =
            socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)
                .with_context(line)?;
        let _ = unlinkat(&dir, "attach.sock", rustix::fs::AtFlags::empty());
        let through = format!("/proc/self/fd/{}/attach.sock", rustix::fd::AsRawFd::as_raw_fd(&dir));
        bind(&listener, &SocketAddrUnix::new(through)?).with_context(line)?;
        listen(&listener, 16).with_context(line)?;
        Ok(Self { listener, clients: Vec::new(), ever: false })
    }

    pub fn listener(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }

    /// The sockets, in the order in which [`Audience::hear`] and [`Audience::catch_up`] count; and whether each
    /// has packets to take.
    pub fn sockets(&self) -> impl Iterator<Item = (BorrowedFd<'_>, bool)> {
        self.clients.iter().map(|client| (client.socket.as_fd(), !client.late.is_empty()))
    }

    /// Whether somebody has not taken all yet.
    pub fn is_behind(&self) -> bool {
        self.clients.iter().any(|client| !client.late.is_empty())
    }

    /// Somebody knocks.
    pub fn welcome(&mut self) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        while let Ok(socket) = accept_with(&self.listener, flags) {
            if self.clients.len() < MOST {
                self.clients.push(Client { socket, late: VecDeque::new(), gone: false });
                self.ever = true;
            }
        }
    }

    /// One packet of a client.
    pub fn hear(&mut self, number: usize) -> Option<Said> {
        let client = self.clients.get_mut(number)?;
        let mut packet = [0; Message::LONGEST + 1];
        match recv(&client.socket, &mut packet, RecvFlags::empty()) {
            Ok((0, _)) => client.gone = true,
            Ok((length, _)) => {
                return match Message::parse(&packet[..length.min(packet.len())])? {
                    Message::Input(bytes) => Some(Said::Input(bytes.to_vec())),
                    Message::InputEnd => Some(Said::InputEnd),
                    Message::Size(rows, columns) => Some(Said::Size(rows, columns)),
                    Message::Signal(signal) => Some(Said::Signal(signal)),
                    Message::GiveUp => Some(Said::GiveUp),
                    _ => None,
                };
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => client.gone = true,
        }
        None
    }

    /// Tells everybody.
    pub fn tell(&mut self, message: Message) {
        if self.clients.is_empty() {
            return;
        }
        let packet = message.packet();
        for client in &mut self.clients {
            client.late.push_back(packet.clone());
            client.catch_up();
        }
    }

    /// A client's socket takes packets again.
    pub fn catch_up(&mut self, number: usize) {
        if let Some(client) = self.clients.get_mut(number) {
            client.catch_up();
        }
    }

    /// After a round, so that the numbers hold during one.
    pub fn forget_the_gone(&mut self) {
        self.clients.retain(|client| !client.gone);
    }
}

impl Client {
    fn catch_up(&mut self) {
        while let Some(packet) = self.late.front() {
            match send(&self.socket, packet, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
                Ok(_) => drop(self.late.pop_front()),
                Err(Errno::AGAIN | Errno::INTR | Errno::NOBUFS) => return,
                Err(_) => {
                    self.gone = true;
                    self.late.clear();
                }
            }
        }
    }
}

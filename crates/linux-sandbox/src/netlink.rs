//! rtnetlink(7): questions and orders about network devices and addresses, as messages over a socket.

use rustix::fd::OwnedFd;
use rustix::io::{Errno, Result};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};

/// Speaks with the network namespace in which it was opened, wherever the process goes then.
#[derive(Debug)]
pub(crate) struct Netlink(OwnedFd);

/// Length, kind, flags, sequence number, port: `struct nlmsghdr`.
const HEADER: usize = 16;

/// More than the kernel writes at once.
const BUFFER: usize = 64 << 10;

impl Netlink {
    pub(crate) fn open() -> Result<Self> {
        socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None).map(Self)
    }

    /// Has something done.
    pub(crate) fn order(&self, kind: u16, flags: i32, body: &[u8]) -> Result<()> {
        self.tell(kind, flags | libc::NLM_F_ACK, body)?;
        self.hear(|_| {}).map(drop)
    }

    /// The bodies of all that a question with an empty body of this size is answered with.
    pub(crate) fn list(&self, kind: u16, size: usize) -> Result<Vec<Vec<u8>>> {
        loop {
            let mut bodies = Vec::new();
            self.tell(kind, libc::NLM_F_DUMP, &vec![0; size])?;
            // Something changed while the kernel was counting: it may have left out what was there all the time.
            if self.hear(|body| bodies.push(body.to_vec()))? {
                return Ok(bodies);
            }
        }
    }

    fn tell(&self, kind: u16, flags: i32, body: &[u8]) -> Result<()> {
        let length = u32::try_from(HEADER + body.len()).map_err(|_| Errno::INVAL)?;
        let flags = u16::try_from(flags | libc::NLM_F_REQUEST).map_err(|_| Errno::INVAL)?;
        let mut message = length.to_ne_bytes().to_vec();
        message.extend([kind.to_ne_bytes(), flags.to_ne_bytes()].as_flattened());
        message.extend([0; 8]);
        message.extend(body);
        send(&self.0, &message, SendFlags::empty()).map(drop)
    }

    /// Messages up to the last one of an answer, which is an error or none. Whether they fit together.
    fn hear(&self, mut each: impl FnMut(&[u8])) -> Result<bool> {
        let (mut buffer, mut whole) = (vec![0; BUFFER], true);
        loop {
            let (length, _) = recv(&self.0, &mut buffer[..], RecvFlags::empty())?;
            let mut rest = &buffer[..length];
            while let Some((kind, flags, body)) = next_message(&mut rest) {
                whole &= flags & libc::NLM_F_DUMP_INTR == 0;
                if matches!(kind, libc::NLMSG_ERROR | libc::NLMSG_DONE) {
                    return match body.first_chunk().map_or(0, |word| i32::from_ne_bytes(*word)) {
                        0 => Ok(whole),
                        errno => Err(Errno::from_raw_os_error(-errno)),
                    };
                }
                each(body);
            }
        }
    }
}

/// Kind, flags and body.
fn next_message<'a>(rest: &mut &'a [u8]) -> Option<(i32, i32, &'a [u8])> {
    let length = u32::from_ne_bytes(*rest.first_chunk()?) as usize;
    let word = |at: usize| rest.get(at..)?.first_chunk().map(|word| u16::from_ne_bytes(*word).into());
    let message = (word(4)?, word(6)?, rest.get(HEADER..length)?);
    *rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    Some(message)
}

/// Adds an attribute to the body of a message.
pub(crate) fn put(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    body.extend([length.to_ne_bytes(), kind.to_ne_bytes()].as_flattened());
    body.extend(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

/// The attributes behind the fixed part of a body: kinds and values.
pub(crate) fn attributes(body: &[u8], size: usize) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = body.get(size..).unwrap_or_default();
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(*rest.first_chunk()?));
        let kind = u16::from_ne_bytes(*rest.get(2..)?.first_chunk()?);
        let value = rest.get(4..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_read_as_they_were_put() {
        let mut body = vec![1; 8];
        put(&mut body, 3, b"eth0\0");
        put(&mut body, 28, &7_u32.to_ne_bytes());
        assert_eq!(body.len(), 8 + 12 + 8);
        let read: Vec<_> = attributes(&body, 8).collect();
        assert_eq!(read, [(3, &b"eth0\0"[..]), (28, &7_u32.to_ne_bytes()[..])]);
        // Lengths that lead nowhere end the list.
        assert_eq!(attributes(&[2, 0, 0, 0, 9], 0).count(), 0);
        assert_eq!(attributes(&[40, 0, 1, 0], 0).count(), 0);
    }

    #[test]
    fn messages_stand_one_behind_another() {
        let message = |kind: u16, body: &[u8]| {
            let length = u32::try_from(HEADER + body.len()).unwrap();
            let mut bytes = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), &[2, 0], &[0; 8], body].concat();
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            bytes
        };
        let bytes = [message(16, b"abc"), message(3, b"")].concat();
        let mut rest = &bytes[..];
        assert_eq!(next_message(&mut rest), Some((16, 2, &b"abc"[..])));
        assert_eq!(next_message(&mut rest), Some((3, 2, &b""[..])));
        assert_eq!(next_message(&mut rest), None);
        assert_eq!(next_message(&mut &bytes[..10]), None);
        assert_eq!(next_message(&mut &[0; 16][..]), None);
    }
}

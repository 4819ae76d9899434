//! Reading ahead: a blob is read and hashed on one processor while another one writes what was read before.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

const BUFFER: usize = 256 << 10;
/// So many are on their way at once; memory is the same for any blob.
const BUFFERS: usize = 4;

/// Calls `with` with a reader of the same bytes, and the same error at the same place.
pub fn read_ahead<T>(mut from: impl Read + Send, with: impl FnOnce(&mut Ahead) -> T) -> T {
    let (full, filled) = sync_channel(BUFFERS);
    let (used, empty) = channel();
    for _ in 0..BUFFERS {
        // The other end is held by us.
        let _ = used.send(vec![0; BUFFER]);
    }
    thread::scope(|scope| {
        scope.spawn(move || fill(&mut from, &empty, &full));
        // Dropped at the end, or earlier by an error: then the thread ends, too.
        with(&mut Ahead { filled, used, now: Vec::new(), length: 0, at: 0 })
    })
}

fn fill(from: &mut impl Read, empty: &Receiver<Vec<u8>>, full: &SyncSender<io::Result<(Vec<u8>, usize)>>) {
    while let Ok(mut buffer) = empty.recv() {
        let result = from.read(&mut buffer);
        let last = !matches!(result, Ok(1..));
        if full.send(result.map(|n| (buffer, n))).is_err() || last {
            return;
        }
    }
}

/// The reader.
#[derive(Debug)]
pub struct Ahead {
    filled: Receiver<io::Result<(Vec<u8>, usize)>>,
    used: Sender<Vec<u8>>,
    now: Vec<u8>,
    length: usize,
    at: usize,
}

impl Read for Ahead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.length {
            if !self.now.is_empty() {
                // Nobody takes it when the thread has ended.
                let _ = self.used.send(std::mem::take(&mut self.now));
            }
            let Ok(next) = self.filled.recv() else { return Ok(0) };
            (self.now, self.length) = next?;
            self.at = 0;
        }
        let n = buffer.len().min(self.length - self.at);
        buffer[..n].copy_from_slice(&self.now[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Broken;

    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("broken"))
        }
    }

    #[test]
    fn the_same_bytes_and_the_same_error() {
        let bytes: Vec<u8> = (0..3_000_000u32).map(|n| n.to_le_bytes()[1]).collect();
        let mut read = Vec::new();
        read_ahead(&bytes[..], |ahead| ahead.read_to_end(&mut read)).unwrap();
        assert!(read == bytes);
        let mut read = Vec::new();
        let error = read_ahead(bytes[..1_000_000].chain(Broken), |ahead| ahead.read_to_end(&mut read)).unwrap_err();
        assert_eq!((error.to_string().as_str(), read.len()), ("broken", 1_000_000));
        // Who stops early waits for nobody.
        read_ahead(io::repeat(7), |ahead| ahead.read_exact(&mut [0; 10])).unwrap();
    }
}

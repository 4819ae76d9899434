//! One layer as a stream: the bytes are read once, and on the way the compressed ones are compared with the
//! descriptor, the plain ones with the diff ID. Inflating, hashing and writing happen side by side.

use anyhow::{Context, bail};
use layer_tar::codec;
use oci_layout::{Hasher, Layout};
use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;
use wire::{Descriptor, Digest};

/// Large enough that a hand-over is rare, small enough to stay in the cache.
const CHUNK: usize = 256 * 1024;
/// Of all layers together, so that it is not the number of processors that says how much memory they take.
const CHUNKS: usize = 12;
/// Of one layer, on the way to each of the two that want them.
const QUEUE: usize = 4;

/// The memory of all layers that are on their way at the same time. Who waits for a chunk waits for some layer's
/// writer and hasher, which never wait for one themselves.
pub struct Pool {
    empty: Mutex<Receiver<Vec<u8>>>,
    home: SyncSender<Vec<u8>>,
}

impl Pool {
    pub fn new() -> Self {
        let (home, empty) = sync_channel(CHUNKS);
        for _ in 0..CHUNKS {
            let _ = home.try_send(Vec::new());
        }
        Self { empty: Mutex::new(empty), home }
    }

    fn take(&self) -> io::Result<Chunk> {
        let gone = || io::Error::other("a worker thread ended early");
        let bytes = self.empty.lock().map_err(|_| gone())?.recv().map_err(|_| gone())?;
        Ok(Chunk { bytes, home: self.home.clone() })
    }
}

/// A piece of a layer. Its memory goes back to the pool with the last who has it.
struct Chunk {
    bytes: Vec<u8>,
    home: SyncSender<Vec<u8>>,
}

impl Drop for Chunk {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        // There is room: no more go out than come back.
        let _ = self.home.try_send(bytes);
    }
}

/// Gives `consume` the uncompressed tar of a layer. What it returns is good only when this returns it: digest
/// and size of the blob and the diff ID were right.
pub fn layer<T>(
    pool: &Pool,
    layout: &Layout,
    blob: &Descriptor,
    diff_id: &Digest,
    consume: impl FnOnce(&mut dyn Read) -> layer_tar::Result<T>,
) -> anyhow::Result<T> {
    let shown = || format!("layer {}", blob.digest);
    let mut from = layout.read(blob).with_context(shown)?;
    thread::scope(|scope| {
        let (to_writer, chunks) = sync_channel::<io::Result<Arc<Chunk>>>(QUEUE);
        let (to_hasher, hashed) = sync_channel::<Arc<Chunk>>(QUEUE);
        let inflate = scope.spawn(move || {
            let result = codec::decoder(&mut from).and_then(|plain| send(pool, plain, &to_writer, &to_hasher));
            match result.and_then(|more| if more { from.finish() } else { Ok(()) }) {
                Ok(()) => {}
                Err(error) => drop(to_writer.send(Err(error))),
            }
        });
        let hash = scope.spawn(move || {
            let mut hasher = Hasher::new(diff_id.algorithm());
            for chunk in hashed {
                hasher.update(&chunk.bytes);
            }
            hasher.finish()
        });
        let result = consume(&mut Chunks { from: chunks, now: None });
        let _ = inflate.join();
        let Ok(found) = hash.join() else { bail!("{}: hashing failed", shown()) };
        let result = result.with_context(shown)?;
        if found != *diff_id {
            bail!("{}: the configuration says diff ID {diff_id}, the content is {found}", shown());
        }
        Ok(result)
    })
}

/// False when the writer wants no more.
fn send(
    pool: &Pool,
    mut plain: impl Read,
    writer: &SyncSender<io::Result<Arc<Chunk>>>,
    hasher: &SyncSender<Arc<Chunk>>,
) -> io::Result<bool> {
    loop {
        let mut chunk = pool.take()?;
        chunk.bytes.reserve_exact(CHUNK);
        plain.by_ref().take(CHUNK as u64).read_to_end(&mut chunk.bytes)?;
        if chunk.bytes.is_empty() {
            return Ok(true);
        }
        let chunk = Arc::new(chunk);
        if hasher.send(Arc::clone(&chunk)).is_err() || writer.send(Ok(chunk)).is_err() {
            return Ok(false);
        }
    }
}

/// The writer's end.
struct Chunks {
    from: Receiver<io::Result<Arc<Chunk>>>,
    now: Option<(Arc<Chunk>, usize)>,
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some((chunk, at)) = &mut self.now {
                let mut rest = &chunk.bytes[*at..];
                if !rest.is_empty() {
                    let read = rest.read(buffer)?;
                    *at += read;
                    return Ok(read);
                }
            }
            match self.from.recv() {
                Ok(chunk) => self.now = Some((chunk?, 0)),
                Err(_) => return Ok(0),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_so_many_chunks_and_each_comes_back() {
        let pool = Pool::new();
        let mut out: Vec<Chunk> = (0..CHUNKS).map(|_| pool.take().unwrap()).collect();
        let more = || pool.empty.lock().unwrap().try_recv();
        assert!(more().is_err());
        let shared = Arc::new(out.pop().unwrap());
        let other = Arc::clone(&shared);
        drop(shared);
        assert!(more().is_err(), "somebody still has it");
        drop(other);
        assert!(more().unwrap().is_empty());
    }
}

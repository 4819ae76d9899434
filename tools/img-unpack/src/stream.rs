//! One layer as a stream: the bytes are read once, and on the way the compressed ones are compared with the
//! descriptor, the plain ones with the diff ID. Inflating, hashing and writing happen side by side.

use anyhow::{Context, bail};
use layer_tar::codec;
use oci_layout::{Hasher, Layout};
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use wire::{Descriptor, Digest};

/// Large enough that a hand-over is rare, small enough to stay in the cache; a few of them, for two threads hold them
/// for each layer.
const CHUNK: usize = 256 * 1024;
const QUEUE: usize = 4;

type Chunk = Arc<Vec<u8>>;

/// Gives `consume` the uncompressed tar of a layer. What it returns is good only when this returns it: digest
/// and size of the blob and the diff ID were right.
pub fn layer<T>(
    layout: &Layout,
    blob: &Descriptor,
    diff_id: &Digest,
    consume: impl FnOnce(&mut dyn Read) -> layer_tar::Result<T>,
) -> anyhow::Result<T> {
    let shown = || format!("layer {}", blob.digest);
    let mut from = layout.read(blob).with_context(shown)?;
    thread::scope(|scope| {
        let (to_writer, chunks) = sync_channel::<io::Result<Chunk>>(QUEUE);
        let (to_hasher, hashed) = sync_channel::<Chunk>(QUEUE);
        let inflate = scope.spawn(move || {
            let result = codec::decoder(&mut from).and_then(|plain| send(plain, &to_writer, &to_hasher));
            match result.and_then(|more| if more { from.finish() } else { Ok(()) }) {
                Ok(()) => {}
                Err(error) => drop(to_writer.send(Err(error))),
            }
        });
        let hash = scope.spawn(move || {
            let mut hasher = Hasher::new(diff_id.algorithm());
            for chunk in hashed {
                hasher.update(&chunk);
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
fn send(mut plain: impl Read, writer: &SyncSender<io::Result<Chunk>>, hasher: &SyncSender<Chunk>) -> io::Result<bool> {
    loop {
        let mut chunk = Vec::with_capacity(CHUNK);
        plain.by_ref().take(CHUNK as u64).read_to_end(&mut chunk)?;
        if chunk.is_empty() {
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
    from: Receiver<io::Result<Chunk>>,
    now: Option<(Chunk, usize)>,
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some((chunk, at)) = &mut self.now {
                let mut rest = &chunk[*at..];
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

//! Whoever changes a tree while a tool walks it: two entries that change places all the time.

use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// At each moment both names are there, and nobody can tell which is which (renameat2(2), `RENAME_EXCHANGE`). It ends
/// when it is dropped.
#[derive(Debug)]
pub struct Swap {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Swap {
    /// Both must be there, in one file system.
    pub fn start(one: PathBuf, other: PathBuf) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            while !ends.load(Ordering::Relaxed) {
                // What it finds missing for a moment, it finds the next time.
                let _ = renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE);
                std::thread::yield_now();
            }
        });
        Self { over, thread: Some(thread) }
    }
}

impl Drop for Swap {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

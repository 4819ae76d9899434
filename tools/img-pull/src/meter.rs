//! One line on a terminal that says how far we are; nothing anywhere else.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// Counts the bytes of one image from all threads.
#[derive(Debug, Default)]
pub struct Meter {
    done: AtomicU64,
    total: AtomicU64,
}

impl Meter {
    /// So many bytes are still to come.
    pub fn expect(&self, bytes: u64) {
        self.total.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So many bytes came.
    pub fn add(&self, bytes: u64) {
        self.done.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Draws until the sender of `end` is dropped, then wipes the line.
    pub fn draw(&self, what: &str, end: &Receiver<()>) {
        let start = Instant::now();
        let mut drawn = false;
        while end.recv_timeout(Duration::from_millis(150)) == Err(RecvTimeoutError::Timeout) {
            let (done, total) = (self.done.load(Ordering::Relaxed), self.total.load(Ordering::Relaxed));
            if total > 0 {
                let rate = u128::from(done) * 1000 / start.elapsed().as_millis().max(1);
                let rate = human(u64::try_from(rate).unwrap_or(u64::MAX));
                // A lost progress line is no loss.
                let _ = write!(std::io::stderr(), "\r\x1b[K{what}: {} / {}  {rate}/s", human(done), human(total));
                drawn = true;
            }
        }
        if drawn {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

/// Docker's decimal units.
fn human(bytes: u64) -> String {
    let (unit, name) = match bytes {
        0..1_000 => return format!("{bytes}B"),
        1_000..1_000_000 => (1_000, "kB"),
        1_000_000..1_000_000_000 => (1_000_000, "MB"),
        _ => (1_000_000_000, "GB"),
    };
    format!("{}.{}{name}", bytes / unit, bytes % unit * 10 / unit)
}

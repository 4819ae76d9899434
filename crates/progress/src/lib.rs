//! How far a transfer is, as one line of a terminal. The crate knows no terminal: who draws gives it a place to
//! write to and a width.

#![forbid(unsafe_code)]

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// What wipes the line that was drawn, before something else is written.
pub const WIPE: &str = "\r\x1b[K";

/// Often enough for an eye.
const PERIOD: Duration = Duration::from_millis(150);

/// Counts the blobs and bytes of one image from all threads.
#[derive(Debug, Default)]
pub struct Meter {
    bytes: AtomicU64,
    all_bytes: AtomicU64,
    blobs: AtomicU64,
    all_blobs: AtomicU64,
}

impl Meter {
    /// Blobs of so many bytes are to come.
    pub fn expecting(sizes: impl Iterator<Item = u64>) -> Self {
        let meter = Self::default();
        for size in sizes {
            meter.all_bytes.fetch_add(size, Relaxed);
            meter.all_blobs.fetch_add(1, Relaxed);
        }
        meter
    }

    /// So many bytes passed.
    pub fn add(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Relaxed);
    }

    /// So many bytes have to pass again.
    pub fn back(&self, bytes: u64) {
        self.bytes.fetch_sub(bytes, Relaxed);
    }

    /// One blob is in its place.
    pub fn done(&self) {
        self.blobs.fetch_add(1, Relaxed);
    }

    /// Draws on `to`, `width` columns wide, until the sender of `end` is dropped; then wipes the line. What is over
    /// at once is not drawn. A lost line is no loss.
    pub fn draw(&self, to: &mut impl Write, width: usize, what: &str, end: &Receiver<()>) {
        let (start, mut drawn) = (Instant::now(), false);
        while end.recv_timeout(PERIOD) == Err(RecvTimeoutError::Timeout) {
            if self.all_bytes.load(Relaxed) > 0 {
                let line = format!("{WIPE}{}", self.line(what, start.elapsed(), width));
                let _ = to.write_all(line.as_bytes()).and_then(|()| to.flush());
                drawn = true;
            }
        }
        if drawn {
            let _ = to.write_all(WIPE.as_bytes()).and_then(|()| to.flush());
        }
    }

    /// `alpine:3.20: 1/3 layers  1.2MB / 3.6MB  2.4MB/s  1s left`: the end goes first where the terminal is narrow,
    /// for a line that wraps cannot be wiped.
    fn line(&self, what: &str, since: Duration, width: usize) -> String {
        let (bytes, all) = (self.bytes.load(Relaxed), self.all_bytes.load(Relaxed));
        let (blobs, all_blobs) = (self.blobs.load(Relaxed), self.all_blobs.load(Relaxed));
        let rate = u128::from(bytes) * 1000 / since.as_millis().max(1);
        let mut line = format!(
            "{what}: {blobs}/{all_blobs} layers  {} / {}  {}/s",
            human(bytes.min(all)),
            human(all),
            human(u64::try_from(rate).unwrap_or(u64::MAX))
        );
        // The first second says little about the last one.
        if rate > 0 && since >= Duration::from_secs(1) {
            let left = u128::from(all.saturating_sub(bytes)) / rate;
            let minutes = if left >= 60 { format!("{}m", left / 60) } else { String::new() };
            line = format!("{line}  {minutes}{}s left", left % 60);
        }
        line.chars().filter(|c| !c.is_control()).take(width.saturating_sub(1)).collect()
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn a_line_fits_the_terminal() {
        let meter = Meter::expecting([3_600_000, 400].into_iter());
        meter.add(1_200_000);
        meter.done();
        let line = |width| meter.line("alpine:3.20", Duration::from_millis(1500), width);
        assert_eq!(line(80), "alpine:3.20: 1/2 layers  1.2MB / 3.6MB  800.0kB/s  3s left");
        assert_eq!(line(20), "alpine:3.20: 1/2 la");
        meter.back(1_200_000);
        assert_eq!(meter.line("a\x1b[31m", Duration::ZERO, 80), "a[31m: 1/2 layers  0B / 3.6MB  0B/s");
    }

    #[test]
    fn what_was_drawn_is_wiped() {
        let (meter, mut shown) = (Meter::expecting([1].into_iter()), Vec::new());
        let (end, ended) = mpsc::channel::<()>();
        std::thread::spawn(move || {
            std::thread::sleep(PERIOD * 3);
            drop(end);
        });
        meter.draw(&mut shown, 80, "x", &ended);
        let shown = String::from_utf8(shown).unwrap();
        assert!(shown.starts_with("\r\x1b[Kx: 0/1 layers") && shown.ends_with("\r\x1b[K"), "{shown:?}");
    }
}

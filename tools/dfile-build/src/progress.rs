//! What a build says on stderr, in BuildKit's plain form: `#5 [2/3] RUN …`, its output with the seconds since
//! its start, `#5 CACHED` or `#5 DONE 0.3s`.

use clap::ValueEnum;
use std::io::{BufRead, BufReader, Read, Write};
use std::time::Instant;

/// The forms of `--progress`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// As the terminal allows
    Auto,
    /// One line after the other
    Plain,
    /// Nothing but errors, and the output of a step that fails
    Quiet,
}

/// How much output of a quiet step is kept for the case that it fails.
const KEPT: usize = 256 * 1024;
/// A line without an end is cut here.
const LONGEST_LINE: u64 = 64 * 1024;

/// Counts the steps and prints them.
#[derive(Debug)]
pub struct Progress {
    quiet: bool,
    number: usize,
    started: Instant,
}

impl Progress {
    pub fn new(form: Form) -> Self {
        Self { quiet: form == Form::Quiet, number: 0, started: Instant::now() }
    }

    pub fn begin(&mut self, title: &str) {
        self.number += 1;
        self.started = Instant::now();
        let title: String = title.lines().next().unwrap_or_default().chars().take(200).collect();
        self.line(&format!("#{} {title}", self.number));
    }

    pub fn cached(&self) {
        self.line(&format!("#{} CACHED\n", self.number));
    }

    pub fn done(&self) {
        self.line(&format!("#{} DONE {:.1}s\n", self.number, self.started.elapsed().as_secs_f64()));
    }

    pub fn failed(&self, message: &str) {
        self.line(&format!("#{} ERROR: {message}\n", self.number));
    }

    pub fn note(&self, text: &str) {
        self.line(&format!("#{} {text}", self.number));
    }

    /// Text that belongs to no step.
    pub fn words(&self, text: &str) {
        self.line(text);
    }

    fn line(&self, text: &str) {
        if !self.quiet {
            print(text.as_bytes());
            print(b"\n");
        }
    }

    /// Passes a step's output on as it comes. When nothing is shown, the end of it is kept and returned.
    pub fn copy(&self, from: impl Read) -> Vec<u8> {
        let mut from = BufReader::new(from);
        let mut kept = Vec::new();
        let mut line = Vec::new();
        loop {
            line.clear();
            match from.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => return kept,
                Ok(_) => {}
            }
            if self.quiet {
                kept.extend_from_slice(&line);
                if kept.len() > 2 * KEPT {
                    kept.drain(..kept.len() - KEPT);
                }
                continue;
            }
            if !line.ends_with(b"\n") {
                line.push(b'\n');
            }
            let head = format!("#{} {:.3} ", self.number, self.started.elapsed().as_secs_f64());
            print(&[head.as_bytes(), &line].concat());
        }
    }
}

/// A lost line on stderr has nowhere to be reported.
pub fn print(bytes: &[u8]) {
    let _ = std::io::stderr().write_all(bytes);
}

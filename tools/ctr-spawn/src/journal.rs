//! What the container prints, kept as docker's json-file does: one JSON object a line, in files of bounded size.
//!
//! ```text
//! {"log":"hello\n","stream":"stdout","time":"2026-01-02T03:04:05.123456789Z"}
//! ```
//!
//! With `"attrs":{"name":"value"}` where an option of the log chose labels or variables of the container.

use bundle::{Keeping, LogConfig};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, rename};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A line that is longer goes into several entries, as docker's.
const LONGEST: usize = 16 * 1024;

/// Which of the two outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

#[derive(Serialize)]
struct Entry<'a> {
    log: &'a str,
    stream: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    attrs: &'a BTreeMap<String, String>,
    time: &'a str,
}

/// The files, and the lines that have not come to their end.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: Option<File>,
    size: u64,
    largest: u64,
    files: u32,
    attributes: BTreeMap<String, String>,
    /// Of stdout, of stderr.
    begun: [Vec<u8>; 2],
    /// Entries that are not written yet: what comes together is written together.
    ready: Vec<u8>,
}

impl Journal {
    /// `log.json` in the bundle. Earlier content stays: a container that is started again goes on in its log.
    pub fn open(bundle: &Path, keeping: &Keeping) -> anyhow::Result<Self> {
        let config = keeping.log_config.as_ref();
        let (largest, files) = match config {
            Some(config) => config.bounds().map_err(anyhow::Error::msg)?,
            None => LogConfig::USUAL,
        };
        let path = bundle.join("log.json");
        let kept = config.is_none_or(|config| config.kind != "none");
        let file = if kept { Some(append(&path)?) } else { None };
        let size = file.as_ref().map_or(Ok(0), |file| file.metadata().map(|found| found.len()))?;
        let attributes = keeping.log_attributes.clone();
        Ok(Self { path, file, size, largest, files, attributes, begun: [Vec::new(), Vec::new()], ready: Vec::new() })
    }

    /// Takes bytes as they come and writes the lines that are whole.
    pub fn take(&mut self, stream: Stream, mut bytes: &[u8]) {
        if self.file.is_none() {
            return;
        }
        let time = bundle::life::now();
        while let Some(at) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = bytes.split_at(at + 1);
            self.add(stream, line, &time);
            self.enter(stream, &time);
            bytes = rest;
        }
        self.add(stream, bytes, &time);
        self.write();
    }

    fn add(&mut self, stream: Stream, mut bytes: &[u8], time: &str) {
        while !bytes.is_empty() {
            let begun = &mut self.begun[stream as usize];
            let (part, rest) = bytes.split_at(bytes.len().min(LONGEST - begun.len()));
            begun.extend_from_slice(part);
            bytes = rest;
            if begun.len() == LONGEST {
                self.enter(stream, time);
            }
        }
    }

    /// The end of the output: what has no line feed is a line, too.
    pub fn finish(&mut self) {
        let time = bundle::life::now();
        self.enter(Stream::Stdout, &time);
        self.enter(Stream::Stderr, &time);
        self.write();
    }

    /// What has begun becomes an entry.
    fn enter(&mut self, stream: Stream, time: &str) {
        let bytes = std::mem::take(&mut self.begun[stream as usize]);
        if bytes.is_empty() {
            return;
        }
        let name = match stream {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        };
        let log = String::from_utf8_lossy(&bytes);
        let entry = Entry { log: &log, stream: name, attrs: &self.attributes, time };
        let Ok(line) = serde_json::to_vec(&entry) else { return };
        let size = self.size + self.ready.len() as u64;
        if size > 0 && size.saturating_add(line.len() as u64 + 1) > self.largest {
            self.write();
            self.rotate();
        }
        self.ready.extend_from_slice(&line);
        self.ready.push(b'\n');
        if self.ready.len() > LONGEST {
            self.write();
        }
    }

    /// A full disk costs the lines, whole ones; the container goes on.
    fn write(&mut self) {
        if let Some(file) = &mut self.file {
            match file.write_all(&self.ready) {
                Ok(()) => self.size += self.ready.len() as u64,
                Err(_) => drop(file.set_len(self.size)),
            }
        }
        self.ready.clear();
    }

    /// `log.json` becomes `log.json.1`, that `log.json.2`, and the last one goes. Where there is no room for a new one,
    /// the old ones stay what they are.
    fn rotate(&mut self) {
        let named = |number: u32| match number {
            0 => self.path.clone(),
            _ => PathBuf::from(format!("{}.{number}", self.path.display())),
        };
        let new = self.path.with_extension("json.new");
        let Ok(file) = append(&new) else { return };
        for number in (1..self.files).rev() {
            let _ = rename(named(number - 1), named(number));
        }
        let _ = rename(new, named(0));
        self.file = Some(file);
        self.size = 0;
    }
}

fn append(path: &Path) -> anyhow::Result<File> {
    use anyhow::Context;
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path);
    file.with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn entries(path: &Path) -> Vec<(String, String)> {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let entry = |line: &str| {
            let value: Value = serde_json::from_str(line).unwrap();
            (value["stream"].as_str().unwrap().into(), value["log"].as_str().unwrap().into())
        };
        text.lines().map(entry).collect()
    }

    #[test]
    fn lines_are_whole_and_streams_apart() {
        let dir = std::env::temp_dir().join(format!("journal-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let mut journal = Journal::open(&dir, &Keeping::default()).unwrap();
        journal.take(Stream::Stdout, b"a");
        journal.take(Stream::Stderr, b"e\xff\nf");
        journal.take(Stream::Stdout, b"b\nc\n\n");
        journal.take(Stream::Stdout, &vec![b'x'; LONGEST + 1]);
        journal.finish();
        let all = entries(&dir.join("log.json"));
        let want = [("stderr", "e\u{fffd}\n"), ("stdout", "ab\n"), ("stdout", "c\n"), ("stdout", "\n")];
        assert_eq!(&all[..4], want.map(|(stream, log)| (stream.to_owned(), log.to_owned())));
        assert_eq!((all[4].1.len(), all[5].1.as_str(), all[6].1.as_str()), (LONGEST, "x", "f"));
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn files_are_bounded() {
        let dir = std::env::temp_dir().join(format!("journal-bounded-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let config = [("max-size", "1k"), ("max-file", "3")];
        let config = config.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let log_config = Some(LogConfig { kind: "json-file".into(), config });
        let mut journal = Journal::open(&dir, &Keeping { log_config, ..Keeping::default() }).unwrap();
        for number in 0..100 {
            journal.take(Stream::Stdout, format!("{number}\n").as_bytes());
        }
        let mut names: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["log.json", "log.json.1", "log.json.2"]);
        let mut all = Vec::new();
        for name in ["log.json.2", "log.json.1", "log.json"] {
            assert!(std::fs::metadata(dir.join(name)).unwrap().len() <= 1024, "{name}");
            all.extend(entries(&dir.join(name)).into_iter().map(|(_, log)| log.trim().parse::<u32>().unwrap()));
        }
        assert_eq!(all, (*all.first().unwrap()..100).collect::<Vec<_>>(), "the newest, without a gap");
        std::fs::remove_dir_all(&dir).unwrap();
    }
}

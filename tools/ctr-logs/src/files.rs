//! `log.json`, and before it `log.json.1`, `log.json.2`, …: read from the oldest to the newest as one, also while
//! they are renamed.

use anyhow::Context;
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// No honest line is longer: 16 KiB of text, each byte of it at most six in JSON.
const LONGEST: usize = 256 * 1024;

/// The files, and the place in them.
#[derive(Debug)]
pub struct Files {
    path: PathBuf,
    current: Option<File>,
    begun: Vec<u8>,
    /// Bytes of `begun` that were searched for a line feed.
    searched: usize,
}

impl Files {
    /// At the start, or where the last lines begin.
    pub fn open(bundle: &Path, tail: Option<usize>) -> anyhow::Result<Self> {
        let path = bundle.join("log.json");
        let mut files = Self { path, current: None, begun: Vec::new(), searched: 0 };
        match tail {
            None => files.current = files.oldest()?,
            Some(lines) => files.go_to_the_last(lines)?,
        }
        Ok(files)
    }

    fn named(&self, number: u32) -> anyhow::Result<Option<File>> {
        let path = match number {
            0 => self.path.clone(),
            _ => PathBuf::from(format!("{}.{number}", self.path.display())),
        };
        match File::open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            file => file.map(Some).with_context(|| path.display().to_string()),
        }
    }

    fn oldest(&self) -> anyhow::Result<Option<File>> {
        let mut oldest = None;
        let mut missing = 0;
        for number in 0.. {
            match self.named(number)? {
                Some(file) => (oldest, missing) = (Some(file), 0),
                None if missing > 0 => break,
                None => missing += 1,
            }
        }
        Ok(oldest)
    }

    /// The file after the one that we have read, which was called `number`. While names move on, what has the
    /// name below that one is sure only if ours is the same before and after.
    fn after(&self, current: &File, mut number: u32) -> anyhow::Result<Option<File>> {
        for _ in 0..1000 {
            let next = self.named(number - 1)?;
            match place_of(current, &self.path)? {
                None => break,
                Some(place) if place == number && next.is_some() => return Ok(next),
                Some(0) => return Ok(None),
                Some(place) => number = place,
            }
            std::thread::sleep(Duration::from_micros(100));
        }
        self.oldest()
    }

    /// Counts line feeds from the end of the newest file backwards.
    fn go_to_the_last(&mut self, lines: usize) -> anyhow::Result<()> {
        let mut missing = lines;
        let mut block = vec![0; 64 * 1024];
        for number in 0.. {
            let Some(mut file) = self.named(number)? else { break };
            let end = file.seek(SeekFrom::End(0))?;
            let mut at = end;
            while at > 0 {
                let from = at.saturating_sub(block.len() as u64);
                let block = &mut block[..usize::try_from(at - from)?];
                file.seek(SeekFrom::Start(from))?;
                file.read_exact(block)?;
                for (index, _) in block.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
                    let after = from + index as u64 + 1;
                    // The line feed at the very end ends the last line; it does not begin one.
                    if after < end {
                        missing = missing.saturating_sub(1);
                    }
                    if missing == 0 {
                        file.seek(SeekFrom::Start(if lines == 0 { end } else { after }))?;
                        self.current = Some(file);
                        return Ok(());
                    }
                }
                at = from;
            }
            if end > 0 {
                missing = missing.saturating_sub(1);
            }
            file.rewind()?;
            self.current = Some(file);
            if missing == 0 {
                break;
            }
        }
        Ok(())
    }

    /// The next whole line, without its line feed; `None` when there is none yet.
    pub fn next_line(&mut self) -> anyhow::Result<Option<Vec<u8>>> {
        loop {
            if let Some(at) = self.begun[self.searched..].iter().position(|byte| *byte == b'\n') {
                let line = self.begun.drain(..=self.searched + at).collect();
                self.searched = 0;
                return Ok(Some(line));
            }
            self.searched = self.begun.len();
            if self.begun.len() > LONGEST {
                self.begun.clear();
                self.searched = 0;
            }
            if self.current.is_none() {
                self.current = self.oldest()?;
            }
            let Some(current) = &mut self.current else { return Ok(None) };
            let mut block = [0; 16 * 1024];
            // Asked before reading: what is written before the rename is then read after it.
            let number = place_of(current, &self.path)?;
            let length = current.read(&mut block).with_context(|| self.path.display().to_string())?;
            self.begun.extend_from_slice(&block[..length]);
            if length > 0 {
                continue;
            }
            match number {
                Some(0) => return Ok(None),
                Some(number) => {
                    let read = self.current.take();
                    self.current = read.map(|read| self.after(&read, number)).transpose()?.flatten();
                }
                // It was rotated away while we read: the oldest that is left comes next.
                None => self.current = self.oldest()?,
            }
            self.begun.clear();
            self.searched = 0;
        }
    }
}

/// Which of the names a file has now. One name may be missing: between two renames it is.
fn place_of(file: &File, path: &Path) -> anyhow::Result<Option<u32>> {
    let own = file.metadata()?;
    let mut missing = 0;
    for number in 0.. {
        let path = if number == 0 { path.to_owned() } else { PathBuf::from(format!("{}.{number}", path.display())) };
        match std::fs::metadata(&path) {
            Ok(found) if (found.dev(), found.ino()) == (own.dev(), own.ino()) => return Ok(Some(number)),
            Ok(_) => missing = 0,
            Err(_) if missing > 0 => break,
            Err(_) => missing += 1,
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{create_dir_all, remove_dir_all, rename, write};

    fn all(files: &mut Files) -> Vec<String> {
        std::iter::from_fn(|| files.next_line().unwrap())
            .map(|line| String::from_utf8(line).unwrap().trim_end().to_owned())
            .collect()
    }

    #[test]
    fn the_last_lines_across_files() {
        let dir = std::env::temp_dir().join(format!("ctr-logs-{}", std::process::id()));
        create_dir_all(&dir).unwrap();
        let text = |range: std::ops::Range<u32>| range.map(|n| n.to_string() + "\n").collect::<String>();
        write(dir.join("log.json.2"), text(0..10_000)).unwrap();
        write(dir.join("log.json.1"), text(10_000..30_000)).unwrap();
        write(dir.join("log.json"), text(30_000..30_003)).unwrap();
        for (tail, first) in [
            (Some(1), 30_002),
            (Some(3), 30_000),
            (Some(4), 29_999),
            (Some(20_003), 10_000),
            (Some(20_004), 9_999),
            (None, 0),
        ] {
            let lines = all(&mut Files::open(&dir, tail).unwrap());
            assert_eq!(lines.first().unwrap(), &first.to_string(), "{tail:?}");
            assert_eq!((lines.last().unwrap().as_str(), lines.len()), ("30002", 30_003 - first), "{tail:?}");
        }
        assert_eq!(all(&mut Files::open(&dir, Some(99_999)).unwrap()).len(), 30_003);
        assert!(all(&mut Files::open(&dir, Some(0)).unwrap()).is_empty());
        remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn reading_goes_on_while_files_are_renamed() {
        let dir = std::env::temp_dir().join(format!("ctr-logs-renamed-{}", std::process::id()));
        create_dir_all(&dir).unwrap();
        let log = dir.join("log.json");
        write(&log, "a\nb").unwrap();
        let mut files = Files::open(&dir, None).unwrap();
        assert_eq!(all(&mut files), ["a"], "b is not whole");
        write(&log, "a\nb\n").unwrap();
        rename(&log, dir.join("log.json.1")).unwrap();
        write(&log, "c\n").unwrap();
        rename(dir.join("log.json.1"), dir.join("log.json.2")).unwrap();
        rename(&log, dir.join("log.json.1")).unwrap();
        write(&log, "d\n").unwrap();
        assert_eq!(all(&mut files), ["b", "c", "d"]);
        remove_dir_all(&dir).unwrap();
    }
}

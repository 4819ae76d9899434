//! The log that callers read: podman and containerd take the last error from it, as runc writes it.

use serde_json::json;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

/// The form of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// `time="…" level=error msg="…"`
    Text,
    /// One object.
    Json,
}

/// Where errors go besides stderr.
#[derive(Debug)]
pub struct Log {
    file: Option<PathBuf>,
    format: Format,
    debug: bool,
}

impl Log {
    pub fn new(file: Option<PathBuf>, format: Format, debug: bool) -> Self {
        Self { file, format, debug }
    }

    /// What is done, for who asked for that: a sibling's command line, and how it ended.
    pub fn debug(&self, message: &str) {
        if self.debug {
            self.line("debug", message);
        }
    }

    pub fn error(&self, message: &str) {
        self.line("error", message);
    }

    pub fn warnings(&self, messages: &[String]) {
        for message in messages {
            self.line("warning", message);
        }
    }

    /// A log that cannot be written has nowhere to be reported. Without one, errors are said otherwise.
    fn line(&self, level: &str, message: &str) {
        let time = bundle::life::now();
        let line = match self.format {
            Format::Json => json!({ "level": level, "msg": message, "time": time }).to_string(),
            Format::Text => format!("time={time:?} level={level} msg={message:?}"),
        };
        let Some(file) = &self.file else {
            if level != "error" {
                toolkit::say(&line);
            }
            return;
        };
        let opened = OpenOptions::new().append(true).create(true).open(file);
        let _ = opened.and_then(|mut file| writeln!(file, "{line}"));
    }
}

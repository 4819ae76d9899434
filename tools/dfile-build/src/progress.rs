//! What a build says on stderr: BuildKit's plain lines (`#5 [2/3] RUN …`, its output with the seconds since its
//! start, `#5 CACHED` or `#5 DONE 0.3s`), its JSON, or on a terminal the steps that run now with their last lines.

use crate::board::lock;
use crate::live::Live;
use base64::Engine;
use clap::ValueEnum;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, ErrorKind, IsTerminal, Read, Write};
use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime};

/// The forms of `--progress`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// As the terminal allows
    Auto,
    /// One line after the other
    Plain,
    /// The steps that run now, with their last lines
    Tty,
    /// Nothing but errors, and the output of a step that fails
    Quiet,
    /// One JSON object a line
    Rawjson,
}

/// How much output of a step that nobody saw whole is kept for the case that it fails.
const KEPT: usize = 256 * 1024;
/// A line without an end is cut here.
const LONGEST_LINE: usize = 64 * 1024;

/// One stage's view of what is said: the step that it is at.
#[derive(Debug, Clone)]
pub struct Progress {
    screen: Arc<Mutex<Screen>>,
    number: usize,
    title: String,
    started: Instant,
    since: SystemTime,
    /// The step before it in its stage.
    before: Option<String>,
}

/// What all stages share.
#[derive(Debug)]
struct Screen {
    form: Form,
    steps: usize,
    live: Live,
}

impl Progress {
    pub fn new(form: Form) -> Self {
        let stderr = std::io::stderr();
        let dumb = std::env::var("TERM").is_ok_and(|term| term == "dumb");
        let form = match form {
            Form::Auto if stderr.is_terminal() && !dumb => Form::Tty,
            Form::Auto => Form::Plain,
            // Without a terminal nothing can be drawn.
            Form::Tty if !stderr.is_terminal() => Form::Plain,
            form => form,
        };
        let colours = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let screen = Arc::new(Mutex::new(Screen { form, steps: 0, live: Live::new(colours) }));
        if form == Form::Tty {
            crate::live::tick({
                let screen = Arc::downgrade(&screen);
                move || screen.upgrade().map(|screen| lock(&screen).live.draw()).is_some()
            });
        }
        Self {
            screen,
            number: 0,
            title: String::new(),
            started: Instant::now(),
            since: SystemTime::now(),
            before: None,
        }
    }

    pub fn begin(&mut self, title: &str) {
        self.before = (self.number > 0).then(|| self.digest());
        let mut screen = lock(&self.screen);
        screen.steps += 1;
        self.number = screen.steps;
        self.started = Instant::now();
        self.since = SystemTime::now();
        self.title = title.lines().next().unwrap_or_default().chars().take(200).collect();
        match screen.form {
            Form::Tty => screen.live.begin(self.number, &self.title),
            Form::Rawjson => self.vertex(json!({})),
            Form::Plain | Form::Auto => line(&format!("#{} {}", self.number, self.title)),
            Form::Quiet => {}
        }
    }

    pub fn cached(&self) {
        self.ended("CACHED\n", "CACHED", json!({"completed": time(SystemTime::now()), "cached": true}));
    }

    pub fn done(&self) {
        let words = format!("DONE {:.1}s", self.started.elapsed().as_secs_f64());
        self.ended(&format!("{words}\n"), &words, json!({"completed": time(SystemTime::now())}));
    }

    pub fn failed(&self, message: &str) {
        let members = json!({"completed": time(SystemTime::now()), "error": message});
        self.ended(&format!("ERROR: {message}\n"), "ERROR", members);
    }

    fn ended(&self, plain: &str, word: &str, members: Value) {
        let mut screen = lock(&self.screen);
        match screen.form {
            Form::Tty => screen.live.end(self.number, word),
            Form::Rawjson => self.vertex(members),
            Form::Plain | Form::Auto => line(&format!("#{} {plain}", self.number)),
            Form::Quiet => {}
        }
    }

    pub fn note(&self, text: &str) {
        let mut screen = lock(&self.screen);
        match screen.form {
            Form::Tty => screen.live.words(text),
            Form::Rawjson => self.vertex_warning(text),
            Form::Plain | Form::Auto => line(&format!("#{} {text}", self.number)),
            Form::Quiet => {}
        }
    }

    /// Text that belongs to no step.
    pub fn words(&self, text: &str) {
        let mut screen = lock(&self.screen);
        match screen.form {
            Form::Tty => screen.live.words(text),
            Form::Rawjson => self.vertex_warning(text),
            Form::Plain | Form::Auto => line(text),
            Form::Quiet => {}
        }
    }

    /// Passes a step's output on as it comes. Where it is not shown whole, the end of it is kept and returned.
    pub fn copy(&self, from: impl Read) -> Vec<u8> {
        let mut from = BufReader::new(from);
        let mut kept = Vec::new();
        let mut bytes = Vec::new();
        let form = lock(&self.screen).form;
        let is_end = |byte: u8| byte == b'\n' || byte == b'\r' && form == Form::Tty;
        loop {
            bytes.clear();
            match read_line(&mut from, is_end, &mut bytes) {
                Ok(()) if !bytes.is_empty() => {}
                _ => return kept,
            }
            let mut screen = lock(&self.screen);
            if matches!(form, Form::Quiet | Form::Tty) {
                kept.extend_from_slice(&bytes);
                if kept.len() > 2 * KEPT {
                    kept.drain(..kept.len() - KEPT);
                }
            }
            match form {
                Form::Quiet => {}
                Form::Tty => screen.live.output(self.number, &String::from_utf8_lossy(&bytes)),
                Form::Rawjson => {
                    let log = json!({"vertex": self.digest(), "stream": 1, "data": base64(&bytes), "timestamp": time(SystemTime::now())});
                    line(&json!({"logs": [log]}).to_string());
                }
                Form::Plain | Form::Auto => {
                    if !bytes.ends_with(b"\n") {
                        bytes.push(b'\n');
                    }
                    let head = format!("#{} {:.3} ", self.number, self.started.elapsed().as_secs_f64());
                    print(&[head.as_bytes(), &bytes].concat());
                }
            }
        }
    }

    /// The output of a step that failed, where [`copy`](Self::copy) has kept it.
    pub fn show(&self, kept: &[u8]) {
        let mut screen = lock(&self.screen);
        if screen.form == Form::Tty {
            screen.live.words(String::from_utf8_lossy(kept).trim_end());
        } else {
            print(kept);
        }
    }

    /// BuildKit's `SolveStatus`.
    fn vertex(&self, members: Value) {
        let mut vertex = json!({"digest": self.digest(), "name": self.title, "started": time(self.since)});
        if let Some(before) = &self.before {
            vertex["inputs"] = json!([before]);
        }
        if let (Some(vertex), Value::Object(members)) = (vertex.as_object_mut(), members) {
            vertex.extend(members);
        }
        line(&json!({"vertexes": [vertex]}).to_string());
    }

    fn vertex_warning(&self, text: &str) {
        line(
            &json!({"warnings": [{"vertex": self.digest(), "level": 1, "short": base64(text.as_bytes())}]}).to_string(),
        );
    }

    fn digest(&self) -> String {
        oci_layout::digest_of(format!("{} {}", self.number, self.title).as_bytes()).to_string()
    }
}

/// A line with its end, or as much as is kept of a long one.
fn read_line(from: &mut impl BufRead, is_end: impl Fn(u8) -> bool, to: &mut Vec<u8>) -> std::io::Result<()> {
    while to.len() < LONGEST_LINE {
        let there = match from.fill_buf() {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            other => other?,
        };
        let end = there.iter().position(|byte| is_end(*byte)).map(|at| at + 1);
        let taken = end.unwrap_or(there.len());
        to.extend_from_slice(&there[..taken]);
        from.consume(taken);
        if end.is_some() || taken == 0 {
            break;
        }
    }
    Ok(())
}

fn time(at: SystemTime) -> String {
    jiff::Timestamp::try_from(at).map_or_else(|_| String::new(), |at| at.to_string())
}

fn base64(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn line(text: &str) {
    print(format!("{text}\n").as_bytes());
}

/// A lost line on stderr has nowhere to be reported.
pub fn print(bytes: &[u8]) {
    let _ = std::io::stderr().write_all(bytes);
}

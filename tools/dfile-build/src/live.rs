//! The view of a build on a terminal: finished steps scroll away above, the steps that run now stand below, each
//! with its last lines, and are drawn again when something happens. See `console_codes(4)`.

use crate::progress::print;
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;
use std::thread;
use std::time::{Duration, Instant};

/// How many lines of each running step are shown.
const LINES: usize = 4;
const INTERVAL: Duration = Duration::from_millis(200);

#[derive(Debug)]
pub struct Live {
    colours: bool,
    running: BTreeMap<usize, Running>,
    /// How many lines of the terminal stand below the finished ones.
    drawn: usize,
}

#[derive(Debug)]
struct Running {
    title: String,
    started: Instant,
    last: VecDeque<String>,
}

/// Calls `draw` again and again until it says no.
pub fn tick(draw: impl Fn() -> bool + Send + 'static) {
    thread::spawn(move || {
        while draw() {
            thread::sleep(INTERVAL);
        }
    });
}

impl Live {
    pub fn new(colours: bool) -> Self {
        Self { colours, running: BTreeMap::new(), drawn: 0 }
    }

    pub fn begin(&mut self, number: usize, title: &str) {
        let running = Running { title: plain(title), started: Instant::now(), last: VecDeque::new() };
        self.running.insert(number, running);
        self.draw();
    }

    pub fn output(&mut self, number: usize, line: &str) {
        if let Some(running) = self.running.get_mut(&number) {
            // Of a line that overwrites itself the last part counts.
            let line = line.trim_end().rsplit('\r').next().unwrap_or_default();
            running.last.push_back(plain(line));
            if running.last.len() > LINES {
                running.last.pop_front();
            }
        }
        self.draw();
    }

    pub fn end(&mut self, number: usize, word: &str) {
        let Some(running) = self.running.remove(&number) else { return };
        let colour = match word {
            "CACHED" => "2",
            "ERROR" => "31",
            _ => "34",
        };
        self.put(&self.coloured(colour, &format!("=> {} {word}", running.title)));
    }

    /// Lines that stay.
    pub fn words(&mut self, text: &str) {
        self.put(text);
    }

    fn coloured(&self, colour: &str, text: &str) -> String {
        if self.colours { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn put(&mut self, text: &str) {
        let block = format!("{}{text}\n", self.erase());
        self.drawn = 0;
        print(block.as_bytes());
        self.draw();
    }

    fn erase(&self) -> String {
        if self.drawn == 0 { String::new() } else { format!("\x1b[{}A\r\x1b[J", self.drawn) }
    }

    pub fn draw(&mut self) {
        let (width, height) = size();
        let lines = self.lines(width, height);
        if lines.is_empty() && self.drawn == 0 {
            return;
        }
        let mut block = self.erase();
        for line in &lines {
            let _ = writeln!(block, "{line}");
        }
        self.drawn = lines.len();
        print(block.as_bytes());
    }

    /// No more than the terminal is high, and none longer than it is wide.
    fn lines(&self, width: usize, height: usize) -> Vec<String> {
        let cut = |text: String| text.chars().take(width.saturating_sub(1)).collect::<String>();
        let each = (height.saturating_sub(2) / self.running.len().max(1)).saturating_sub(1).min(LINES);
        let mut lines = Vec::new();
        for running in self.running.values() {
            let seconds = running.started.elapsed().as_secs_f64();
            lines.push(cut(format!("=> {} {seconds:.1}s", running.title)));
            let skipped = running.last.len().saturating_sub(each);
            lines.extend(
                running.last.iter().skip(skipped).map(|line| self.coloured("2", &cut(format!("=> => {line}")))),
            );
        }
        lines.truncate(height.saturating_sub(1));
        lines
    }
}

/// What a step prints does not steer the terminal.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c == '\t' { ' ' } else { c }).filter(|c| !c.is_control()).collect()
}

fn size() -> (usize, usize) {
    match rustix::termios::tcgetwinsize(rustix::stdio::stderr()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
        _ => (80, 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_fits_the_terminal() {
        let mut live = Live::new(false);
        for number in 0..3 {
            let running = Running { title: "x".repeat(100), started: Instant::now(), last: VecDeque::new() };
            live.running.insert(number, running);
        }
        for number in 0..9 {
            live.running.get_mut(&1).unwrap().last.push_back(format!("line {number}"));
        }
        let lines = live.lines(40, 24);
        assert_eq!(lines.len(), 3 + LINES, "{lines:?}");
        assert!(lines.iter().all(|line| line.len() < 40));
        assert_eq!(lines[2], "=> => line 5");
        assert_eq!(live.lines(40, 6).len(), 3);
        assert_eq!(live.lines(40, 3).len(), 2);
    }

    #[test]
    fn output_does_not_steer_the_terminal() {
        assert_eq!(plain("a\x1b[2Jb\tc\x07"), "a[2Jb c");
    }
}

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
    /// The columns of each line that stands below the finished ones.
    drawn: Vec<usize>,
    when: Option<Instant>,
}

#[derive(Debug)]
struct Running {
    title: String,
    started: Instant,
    last: VecDeque<String>,
    /// The last line is not at its end: the next one takes its place.
    open: bool,
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
        Self { colours, running: BTreeMap::new(), drawn: Vec::new(), when: None }
    }

    pub fn begin(&mut self, number: usize, title: &str) {
        self.running.insert(number, Running::new(title));
        self.draw();
    }

    /// A line, or with a carriage return at its end one that overwrites itself (a progress bar).
    pub fn output(&mut self, number: usize, line: &str) {
        if let Some(running) = self.running.get_mut(&number) {
            running.output(line);
        }
        // Who prints without end is not drawn without end.
        if self.when.is_none_or(|when| when.elapsed() > INTERVAL / 4) {
            self.draw();
        }
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
        let block = format!("{}{text}\n", self.erase(size().0));
        self.drawn.clear();
        print(block.as_bytes());
        self.draw();
    }

    /// A terminal that has become narrower has broken what was drawn into more lines.
    fn erase(&self, width: usize) -> String {
        let rows: usize = self.drawn.iter().map(|columns| columns.div_ceil(width).max(1)).sum();
        if rows == 0 { String::new() } else { format!("\x1b[{rows}A\r\x1b[J") }
    }

    pub fn draw(&mut self) {
        let (width, height) = size();
        let lines = self.lines(width, height);
        if lines.is_empty() && self.drawn.is_empty() {
            return;
        }
        let mut block = self.erase(width);
        for line in &lines {
            let _ = if line.is_output {
                writeln!(block, "{}", self.coloured("2", &line.text))
            } else {
                writeln!(block, "{}", line.text)
            };
        }
        self.drawn = lines.iter().map(|line| columns(&line.text)).collect();
        self.when = Some(Instant::now());
        print(block.as_bytes());
    }

    /// No more than the terminal is high, and none longer than it is wide.
    fn lines(&self, width: usize, height: usize) -> Vec<Line> {
        let width = width.saturating_sub(1);
        let each = (height.saturating_sub(2) / self.running.len().max(1)).saturating_sub(1).min(LINES);
        let mut lines = Vec::new();
        for running in self.running.values() {
            let seconds = running.started.elapsed().as_secs_f64();
            let time = format!(" {seconds:.1}s");
            let title = cut(&format!("=> {}", running.title), width.saturating_sub(time.len()));
            lines.push(Line { text: cut(&(title + &time), width), is_output: false });
            let skipped = running.last.len().saturating_sub(each);
            let output = running.last.iter().skip(skipped).map(|line| cut(&format!("=> => {line}"), width));
            lines.extend(output.map(|text| Line { text, is_output: true }));
        }
        lines.truncate(height.saturating_sub(1));
        lines
    }
}

impl Running {
    fn new(title: &str) -> Self {
        Self { title: plain(title), started: Instant::now(), last: VecDeque::new(), open: false }
    }

    fn output(&mut self, line: &str) {
        let text = plain(line);
        let stays = self.open && text.is_empty();
        if self.open && !stays {
            self.last.pop_back();
        }
        if !stays {
            self.last.push_back(text);
        }
        self.open = line.ends_with('\r');
        if self.last.len() > LINES {
            self.last.pop_front();
        }
    }
}

struct Line {
    text: String,
    is_output: bool,
}

/// As much as fits.
fn cut(text: &str, width: usize) -> String {
    let mut left = width;
    let fits = |c: &char| {
        let rest = left.checked_sub(columns_of(*c));
        left = rest.unwrap_or(left);
        rest.is_some()
    };
    text.chars().take_while(fits).collect()
}

fn columns(text: &str) -> usize {
    text.chars().map(columns_of).sum()
}

/// Never less than a terminal takes (Unicode TR11, the wide blocks; combining marks count as if they stood alone).
fn columns_of(c: char) -> usize {
    match c {
        '\u{1100}'..='\u{115f}'
        | '\u{231a}'..='\u{23ff}'
        | '\u{25fd}'..='\u{27bf}'
        | '\u{2b00}'..='\u{2bff}'
        | '\u{2e80}'..='\u{a4cf}'
        | '\u{a960}'..='\u{a97f}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{fe10}'..='\u{fe6f}'
        | '\u{ff00}'..='\u{ffe6}'
        | '\u{16fe0}'..='\u{18dff}'
        | '\u{1b000}'..='\u{1b2ff}'
        | '\u{1f000}'..='\u{3fffd}' => 2,
        _ => 1,
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
            live.running.insert(number, Running::new(&"x".repeat(100)));
        }
        for number in 0..9 {
            live.running.get_mut(&1).unwrap().output(&format!("line {number}\n"));
        }
        live.running.get_mut(&2).unwrap().output(&"本".repeat(50));
        let lines = live.lines(40, 24);
        assert_eq!(lines.len(), 3 + LINES + 1);
        assert!(lines.iter().all(|line| columns(&line.text) < 40));
        assert!(lines[0].text.ends_with("x 0.0s"), "{}", lines[0].text);
        assert_eq!(lines[2].text, "=> => line 5");
        assert_eq!(lines[7].text, format!("=> => {}", "本".repeat(16)));
        assert_eq!(live.lines(40, 6).len(), 3);
        assert_eq!(live.lines(40, 3).len(), 2);
        live.drawn = vec![39, 7];
        assert_eq!((live.erase(40), live.erase(20)), ("\x1b[2A\r\x1b[J".into(), "\x1b[3A\r\x1b[J".into()));
    }

    #[test]
    fn a_line_that_overwrites_itself_is_one_line() {
        let mut running = Running::new("");
        for line in ["a\n", "1%\r", "2%\r", "\n", "b\n", "c\r", "d\n"] {
            running.output(line);
        }
        assert_eq!(running.last, ["a", "2%", "b", "d"]);
    }

    #[test]
    fn output_does_not_steer_the_terminal() {
        assert_eq!(plain("a\x1b[2Jb\tc\x07"), "a[2Jb c");
    }
}

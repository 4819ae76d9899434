//! HEALTHCHECK: a command in the container, run again and again, whose exit code says how the container is.

use anyhow::Context;
use bundle::Healthcheck;
use bundle::keeper::{Health, Probe};
use bundle::life::now;
use rustix::event::PollFlags;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::{Errno, read};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// So much of a probe's output is kept, and so many probes.
const LONGEST: usize = 4096;
const LOG: usize = 5;

/// The probes of one container.
#[derive(Debug)]
pub struct Monitor {
    check: Healthcheck,
    command: Vec<String>,
    paused: PathBuf,
    began: Instant,
    next: Instant,
    running: Option<Running>,
    /// What is known.
    pub health: Health,
}

#[derive(Debug)]
struct Running {
    child: Child,
    process: OwnedFd,
    output: Option<OwnedFd>,
    text: Vec<u8>,
    start: String,
    until: Instant,
    late: bool,
}

/// What poll(2) can say of a probe.
#[derive(Debug, Clone, Copy)]
pub enum Sign {
    Output,
    End,
}

impl Monitor {
    /// `None` when nothing is to be probed. `exec` is the beginning of the command that runs another one in the
    /// container; while the file `paused` is there, nothing is probed.
    pub fn new(check: Option<&Healthcheck>, shell: &[String], exec: Vec<String>, paused: PathBuf) -> Option<Self> {
        let check = check?;
        let (how, words) = check.test.split_first()?;
        let mut command = exec;
        match how.as_str() {
            "CMD" if !words.is_empty() => command.extend_from_slice(words),
            "CMD-SHELL" => command.extend(shell.iter().chain(words).cloned()),
            _ => return None,
        }
        let now = Instant::now();
        let mut monitor = Self {
            check: check.clone(),
            command,
            paused,
            began: now,
            next: now,
            running: None,
            health: Health::default(),
        };
        monitor.begin();
        Some(monitor)
    }

    /// A life begins: nothing is known of it.
    pub fn begin(&mut self) {
        self.stop();
        self.began = Instant::now();
        self.health = Health { status: "starting".into(), failing_streak: 0, log: Vec::new() };
        self.next = self.began + self.pause();
    }

    /// A life has ended.
    pub fn stop(&mut self) {
        if let Some(mut running) = self.running.take() {
            let _ = running.child.kill();
            let _ = running.child.wait();
        }
    }

    fn starts(&self) -> bool {
        let period = Duration::from_nanos(self.check.start_period);
        self.health.status == "starting" && self.began.elapsed() < period
    }

    fn pause(&self) -> Duration {
        if self.starts() { or(self.check.start_interval, 5) } else { or(self.check.interval, 30) }
    }

    /// When something is to be done if nothing happens before.
    pub fn deadline(&self) -> Instant {
        self.running.as_ref().map_or(self.next, |running| running.until)
    }

    /// What there is to wait for.
    pub fn signs(&self) -> impl Iterator<Item = (BorrowedFd<'_>, PollFlags, Sign)> {
        let running = self.running.iter();
        running.flat_map(|running| {
            let output = running.output.iter().map(|fd| (fd.as_fd(), PollFlags::IN, Sign::Output));
            output.chain(std::iter::once((running.process.as_fd(), PollFlags::IN, Sign::End)))
        })
    }

    /// The deadline has come: a probe begins, or one takes too long. Whether `health` has changed.
    pub fn on_time(&mut self) -> bool {
        match &mut self.running {
            Some(running) => {
                // Its end is told by the descriptor; a probe that cannot be killed is looked at once a second.
                running.late = true;
                running.until = Instant::now() + Duration::from_secs(1);
                let _ = running.child.kill();
                false
            }
            None if self.paused.exists() => {
                self.next = Instant::now() + self.pause();
                false
            }
            None => match self.ask() {
                Ok(running) => {
                    self.running = Some(running);
                    false
                }
                Err(error) => {
                    let time = now();
                    self.judge(Probe { start: time.clone(), end: time, exit_code: -1, output: format!("{error:#}") });
                    true
                }
            },
        }
    }

    fn ask(&self) -> anyhow::Result<Running> {
        let (program, words) = self.command.split_first().context("no command")?;
        let (output, theirs) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        rustix::fs::fcntl_setfl(&output, rustix::fs::OFlags::NONBLOCK)?;
        let errors = theirs.try_clone()?;
        let mut command = Command::new(program);
        command.args(words).stdin(Stdio::null()).stdout(theirs).stderr(errors);
        let child = command.spawn().with_context(|| program.clone())?;
        let pid = Pid::from_child(&child);
        let process = pidfd_open(pid, PidfdFlags::empty())?;
        let until = Instant::now() + or(self.check.timeout, 30);
        Ok(Running { child, process, output: Some(output), text: Vec::new(), start: now(), until, late: false })
    }

    /// Something has happened. Whether `health` has changed.
    pub fn on_sign(&mut self, sign: Sign) -> bool {
        let Some(running) = &mut self.running else { return false };
        running.listen();
        if matches!(sign, Sign::Output) {
            return false;
        }
        let Some(mut running) = self.running.take() else { return false };
        let code = running.child.wait().ok().and_then(|status| status.code());
        let timeout = or(self.check.timeout, 30);
        let (exit_code, output) = match code {
            _ if running.late => (-1, format!("Health check exceeded timeout ({})", seconds(timeout))),
            code => (code.unwrap_or(-1), String::from_utf8_lossy(&running.text).into_owned()),
        };
        self.judge(Probe { start: running.start, end: now(), exit_code, output });
        true
    }

    /// Docker's rule: one success is health; failures count from the end of the start period on.
    fn judge(&mut self, probe: Probe) {
        if probe.exit_code == 0 {
            self.health.failing_streak = 0;
            self.health.status = "healthy".into();
        } else if !self.starts() {
            self.health.failing_streak += 1;
            if self.health.failing_streak >= if self.check.retries == 0 { 3 } else { self.check.retries } {
                self.health.status = "unhealthy".into();
            }
        }
        self.health.log.push(probe);
        if self.health.log.len() > LOG {
            self.health.log.remove(0);
        }
        self.next = Instant::now() + self.pause();
    }
}

impl Running {
    fn listen(&mut self) {
        let mut buffer = [0; LONGEST];
        while let Some(output) = &self.output {
            match read(output, &mut buffer) {
                Ok(length) if length > 0 => {
                    let room = LONGEST - self.text.len();
                    self.text.extend_from_slice(&buffer[..length.min(room)]);
                }
                Err(Errno::AGAIN | Errno::INTR) => return,
                _ => self.output = None,
            }
        }
    }
}

fn or(nanoseconds: u64, usual: u64) -> Duration {
    if nanoseconds == 0 { Duration::from_secs(usual) } else { Duration::from_nanos(nanoseconds) }
}

/// `1.5s`, as Go prints it for what people ask for.
fn seconds(duration: Duration) -> String {
    format!("{}s", duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn monitor(check: &Healthcheck) -> Monitor {
        let exec = vec!["env".to_owned()];
        Monitor::new(Some(check), &["sh".into(), "-c".into()], exec, "/nonexistent".into()).unwrap()
    }

    fn probe(exit_code: i32) -> Probe {
        Probe { start: now(), end: now(), exit_code, output: String::new() }
    }

    #[test]
    fn failures_count_after_the_start_period() {
        let test = vec!["CMD-SHELL".into(), "true".into()];
        let mut one = monitor(&Healthcheck { test: test.clone(), retries: 2, ..Default::default() });
        assert_eq!(one.command, ["env", "sh", "-c", "true"]);
        assert_eq!(one.health.status, "starting");
        let mut seen = Vec::new();
        for code in [1, 0, 1, 1, 1, 0] {
            one.judge(probe(code));
            seen.push((one.health.status.clone(), one.health.failing_streak));
        }
        let want =
            [("starting", 1), ("healthy", 0), ("healthy", 1), ("unhealthy", 2), ("unhealthy", 3), ("healthy", 0)];
        assert_eq!(seen, want.map(|(status, streak)| (status.to_owned(), streak)));
        assert_eq!(one.health.log.len(), LOG);
        let hour = 3_600_000_000_000;
        let mut slow = monitor(&Healthcheck { test, start_period: hour, retries: 1, ..Default::default() });
        assert_eq!(slow.pause(), Duration::from_secs(5));
        slow.judge(probe(1));
        assert_eq!((slow.health.status.as_str(), slow.health.failing_streak), ("starting", 0));
        slow.judge(probe(0));
        slow.judge(probe(1));
        assert_eq!(slow.health.status, "unhealthy", "one success ends the start period");
    }

    #[test]
    fn what_is_not_probed() {
        let none = |test: &[&str]| {
            let test = test.iter().map(|word| (*word).to_owned()).collect();
            Monitor::new(Some(&Healthcheck { test, ..Default::default() }), &[], vec![], "/".into()).is_none()
        };
        assert!(none(&["NONE"]) && none(&[]) && none(&["CMD"]) && none(&["OTHER", "x"]));
        assert!(Monitor::new(None, &[], vec![], "/".into()).is_none());
    }
}

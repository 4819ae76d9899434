//! Keeping a container in the background: one process, one thread, one poll(2).
//!
//! It waits for whatever comes first: output to log and to show to who is attached, keys and signals from them,
//! the end of the process (a pidfd becomes readable), the time to start it again. What it knows stands in files,
//! so that its own death by SIGKILL leaves a state that others read right: the kernel kills the container
//! (`PR_SET_PDEATHSIG`), releases the lock, and nobody has written how it ended.

use crate::audience::{Audience, Said};
use crate::background::Report;
use crate::ends::Ends;
use crate::health::{Monitor, Sign};
use crate::journal::{Journal, Stream};
use crate::life::{End, Kept, Last};
use crate::policy::Policy;
use anyhow::Context;
use bundle::keeper::{self, Keeper, Message};
use linux_sandbox::{Plan, Running, Stdio};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::BorrowedFd;
use rustix::io::Errno;
use std::time::{Duration, Instant};

/// How long a start waits for who wants to see all of its output, and an end for who has not read it yet.
const PATIENCE: Duration = Duration::from_secs(10);
/// What is drained at most when the process has ended: more than all pipes hold.
const REST: usize = 4 << 20;

/// What is asked of the keeper.
#[derive(Debug)]
pub struct Task<'a> {
    pub plan: &'a Plan,
    pub kept: Kept,
    /// Whether the process has a terminal.
    pub terminal: bool,
    /// Reads nothing from the container until somebody has attached.
    pub hold: bool,
    /// The container goes when it has ended.
    pub remove: bool,
}

struct Care<'a> {
    task: Task<'a>,
    me: Keeper,
    journal: Journal,
    audience: Audience,
    policy: Policy,
    monitor: Option<Monitor>,
    running: Running,
    ends: Ends,
    phase: Phase,
    held_until: Option<Instant>,
    gave_up: bool,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    Lives { since: Instant },
    Waits { until: Instant },
}

/// What poll(2) was asked about.
#[derive(Debug, Clone, Copy)]
enum Source {
    Signals,
    Process,
    Output(Stream),
    Input,
    Door,
    Client(usize),
    Probe(Sign),
}

/// Starts the container, reports how that went, and keeps it until it has ended for good.
pub fn keep(mut task: Task, report: Report) -> anyhow::Result<u8> {
    let ready = (|| {
        let journal = Journal::open(&task.kept.dir, &task.kept.keeping)?;
        let audience = Audience::open(&task.kept.run, &task.kept.id)?;
        let monitor = monitor(&task);
        let mut me = Keeper::myself()?;
        me.health = monitor.as_ref().map(|monitor| monitor.health.clone());
        me.write(&task.kept.run, &task.kept.id)?;
        anyhow::Ok((journal, audience, monitor, me))
    })();
    let (journal, audience, monitor, me) = match ready {
        Ok(ready) => ready,
        Err(error) => {
            let end = End::failed(wire::exit::SPAWN_FAILED, &format!("{error:#}"));
            return never_born(task, report, &end, None);
        }
    };
    let (running, ends) = match start(&mut task) {
        Ok(started) => started,
        Err(error) => {
            let hint = crate::hints::hint_for(&error);
            return never_born(task, report, &End::unborn(&error), hint.as_deref());
        }
    };
    // Nobody's terminal or pipe is kept open.
    let quiet = Stdio::null().and_then(|null| null.install());
    report.started();
    quiet?;
    linux_sandbox::let_go_of_code();
    let policy = Policy::new(task.kept.keeping.restart.clone());
    let held_until = task.hold.then(|| Instant::now() + PATIENCE);
    let phase = Phase::Lives { since: Instant::now() };
    Care { task, me, journal, audience, policy, monitor, running, ends, phase, held_until, gave_up: false }
        .until_the_end()
}

/// Written down before it is told: who hears of it may look at once.
fn never_born(task: Task, report: Report, end: &End, hint: Option<&str>) -> anyhow::Result<u8> {
    let buried = task.kept.bury(end, task.remove);
    report.failed(end.code, end.more["error"].as_str().unwrap_or_default(), hint);
    buried.map(|()| end.code)
}

/// The probes run ctr-exec, which lies beside this program.
fn monitor(task: &Task) -> Option<Monitor> {
    let kept = &task.kept;
    let own = || std::env::args_os().next().map(std::path::PathBuf::from);
    let here = if linux_sandbox::is_sealed() { own()? } else { std::env::current_exe().ok()? };
    let root = kept.dir.parent()?.parent()?;
    let text = |path: &std::path::Path| path.to_str().map(str::to_owned);
    let exec =
        vec![text(&here.with_file_name("ctr-exec"))?, "--root".into(), text(root)?, kept.id.clone(), "--".into()];
    let image = bundle::read_image_config(&kept.dir).ok()?;
    let shell =
        serde_json::from_value(image["config"]["Shell"].clone()).ok().filter(|shell: &Vec<String>| !shell.is_empty());
    let shell = shell.unwrap_or_else(|| vec!["/bin/sh".into(), "-c".into()]);
    Monitor::new(kept.keeping.healthcheck.as_ref(), &shell, exec, keeper::paused_path(&kept.run, &kept.id))
}

fn start(task: &mut Task) -> Result<(Running, Ends), linux_sandbox::Error> {
    let failed = |error: anyhow::Error| linux_sandbox::Error::Refused(format!("{error:#}"));
    let input = task.kept.keeping.open_stdin;
    let (mut ends, stdio) = Ends::make(input, task.terminal).map_err(failed)?;
    let mut running = linux_sandbox::spawn_with(task.plan, Some(stdio))?;
    let noted = ends.take_terminal(&mut running, input).and_then(|()| task.kept.started(running.pid(), task.plan));
    if let Err(error) = noted {
        running.give_up(&task.plan.steps);
        return Err(failed(error));
    }
    Ok((running, ends))
}

impl Care<'_> {
    fn until_the_end(mut self) -> anyhow::Result<u8> {
        loop {
            if let Some(code) = self.round()? {
                return self.farewell(code);
            }
        }
    }

    /// Waits once and does what there is to do. A code means that the container has ended for good.
    fn round(&mut self) -> anyhow::Result<Option<u8>> {
        if self.audience.ever || self.held_until.is_some_and(|until| until <= Instant::now()) {
            self.held_until = None;
        }
        let (mut ended, mut changed) = (false, false);
        for source in self.wait()? {
            match source {
                Source::Signals => self.pass_signals_on(),
                Source::Process => ended = true,
                Source::Output(stream) => drop(self.copy(stream)),
                Source::Input => self.ends.feed(),
                Source::Door => self.audience.welcome(),
                Source::Probe(sign) => changed |= self.monitor.as_mut().is_some_and(|monitor| monitor.on_sign(sign)),
                Source::Client(number) => {
                    self.audience.catch_up(number);
                    if let Some(said) = self.audience.hear(number) {
                        self.obey(&said);
                    }
                }
            }
        }
        self.audience.forget_the_gone();
        if ended {
            return self.bury();
        }
        if let Some(monitor) = self.monitored()
            && monitor.deadline() <= Instant::now()
        {
            changed |= monitor.on_time();
        }
        if changed {
            self.note_health();
        }
        match self.phase {
            Phase::Waits { .. } if self.gave_up || keeper::was_stopped(&self.task.kept.dir) => {
                Ok(Some(self.last_code()))
            }
            Phase::Waits { until } if until <= Instant::now() => Ok(self.start_again()),
            _ => Ok(None),
        }
    }

    /// The probes, while there is somebody to ask.
    fn monitored(&mut self) -> Option<&mut Monitor> {
        self.monitor.as_mut().filter(|_| matches!(self.phase, Phase::Lives { .. }))
    }

    fn note_health(&mut self) {
        if let Some(monitor) = &self.monitor {
            self.me.health = Some(monitor.health.clone());
            self.note_myself();
        }
    }

    /// A full disk costs the note; the container goes on.
    fn note_myself(&self) {
        let _ = self.me.write(&self.task.kept.run, &self.task.kept.id);
    }

    /// Everything that can happen now, and poll(2)'s choice of it.
    fn wait(&self) -> anyhow::Result<Vec<Source>> {
        let (held, lives) = (self.held_until.is_some(), matches!(self.phase, Phase::Lives { .. }));
        let mut sources = vec![(self.running.signals(), PollFlags::IN, Source::Signals)];
        sources.push((self.audience.listener(), PollFlags::IN, Source::Door));
        if lives && !held {
            sources.push((self.running.pidfd(), PollFlags::IN, Source::Process));
            if !self.audience.is_behind() {
                let outputs = self.ends.readable();
                sources.extend(outputs.map(|(fd, stream)| (fd, PollFlags::IN, Source::Output(stream))));
            }
        }
        sources.extend(self.ends.writable().map(|fd| (fd, PollFlags::OUT, Source::Input)));
        for (number, (fd, late)) in self.audience.sockets().enumerate() {
            let mut want = if late { PollFlags::OUT } else { PollFlags::empty() };
            want.set(PollFlags::IN, !self.ends.is_full());
            sources.push((fd, want, Source::Client(number)));
        }
        let probes = self.monitor.iter().filter(|_| lives);
        sources.extend(probes.clone().flat_map(Monitor::signs).map(|(fd, want, sign)| (fd, want, Source::Probe(sign))));
        let until = match self.phase {
            Phase::Waits { until } => Some(until),
            Phase::Lives { .. } => self.held_until.into_iter().chain(probes.map(Monitor::deadline)).min(),
        };
        ready(&sources, until)
    }

    fn pass_signals_on(&mut self) {
        while let Some(signal) = self.running.next_signal() {
            match self.phase {
                Phase::Lives { .. } => drop(self.running.send(signal)),
                Phase::Waits { .. } => self.gave_up = true,
            }
        }
    }

    fn obey(&mut self, said: &Said) {
        match said {
            Said::Input(bytes) => self.ends.give(bytes),
            // Only who was there from the start, as docker run -i, speaks for the input as a whole.
            Said::InputEnd if self.task.hold => self.ends.end_input(),
            Said::InputEnd => {}
            Said::Size(rows, columns) => self.ends.resize(*rows, *columns),
            Said::Signal(signal) => drop(self.running.send((*signal).into())),
            Said::GiveUp => self.gave_up = true,
        }
    }

    /// One buffer from the container to the log and to everybody. False: there was nothing.
    fn copy(&mut self, stream: Stream) -> bool {
        let mut buffer = [0; Message::LONGEST];
        let Some(bytes) = self.ends.take(stream, &mut buffer) else { return false };
        self.journal.take(stream, bytes);
        self.audience.tell(match stream {
            Stream::Stdout => Message::Output(bytes),
            Stream::Stderr => Message::Errors(bytes),
        });
        true
    }

    /// The process has ended: what it printed last, what it used, and what comes next.
    fn bury(&mut self) -> anyhow::Result<Option<u8>> {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let most = REST / Message::LONGEST;
            (0..most).take_while(|_| self.copy(stream)).count();
        }
        self.journal.finish();
        let exit = self.running.end()?;
        let last = Last::words(self.task.plan, Some(&self.task.kept));
        self.running.clean_up(&self.task.plan.steps);
        self.ends = Ends::default();
        if let Some(monitor) = &mut self.monitor {
            monitor.stop();
        }
        let mut end = End::of(exit, last);
        let lived = match self.phase {
            Phase::Lives { since } => since.elapsed(),
            Phase::Waits { .. } => Duration::ZERO,
        };
        let stopped = self.gave_up || keeper::was_stopped(&self.task.kept.dir);
        let pause = self.policy.after(exit.code, lived, stopped);
        end.more.insert("restartCount".into(), self.me.restart_count.into());
        self.me.restarting = pause.is_some();
        self.me.restart_count = self.policy.count;
        if pause.is_some() {
            self.note_myself();
        }
        // On a full disk the lock tells the code, and the container lives on as its policy says.
        let _ = self.task.kept.ended(&end);
        let Some(pause) = pause else { return Ok(Some(exit.code)) };
        // Who looks on hears of this end: docker run and attach do not go on into the next life.
        self.audience.tell(Message::Ended(exit.code));
        self.phase = Phase::Waits { until: Instant::now() + pause };
        Ok(None)
    }

    fn start_again(&mut self) -> Option<u8> {
        match start(&mut self.task) {
            Ok((running, ends)) => {
                (self.running, self.ends) = (running, ends);
                self.phase = Phase::Lives { since: Instant::now() };
                self.me.restarting = false;
                if let Some(monitor) = &mut self.monitor {
                    monitor.begin();
                    self.me.health = Some(monitor.health.clone());
                }
                self.note_myself();
                None
            }
            Err(error) => {
                let _ = self.task.kept.ended(&End::unborn(&error));
                Some(error.code())
            }
        }
    }

    fn last_code(&self) -> u8 {
        let exit = bundle::life::Exit::read(&self.task.kept.dir).ok().flatten();
        exit.and_then(|exit| u8::try_from(exit.exit_code).ok()).unwrap_or(255)
    }

    /// Who is attached hears everything, and the code last, when there is nothing left to wait for.
    fn farewell(mut self, code: u8) -> anyhow::Result<u8> {
        self.let_them_catch_up()?;
        let left = self.task.kept.leave(code, self.task.remove);
        self.audience.tell(Message::Ended(code));
        self.audience.forget_the_gone();
        let until = Instant::now() + PATIENCE;
        while self.audience.is_behind() && Instant::now() < until {
            catch_up(&mut self.audience, until)?;
        }
        left.map(|()| code)
    }

    fn let_them_catch_up(&mut self) -> anyhow::Result<()> {
        let until = Instant::now() + PATIENCE;
        self.audience.welcome();
        while self.audience.is_behind() && Instant::now() < until {
            catch_up(&mut self.audience, until)?;
        }
        Ok(())
    }
}

fn catch_up(audience: &mut Audience, until: Instant) -> anyhow::Result<()> {
    let late = audience.sockets().enumerate().filter(|(_, (_, late))| *late);
    let sources: Vec<_> = late.map(|(number, (fd, _))| (fd, PollFlags::OUT, Source::Client(number))).collect();
    for source in ready(&sources, Some(until))? {
        if let Source::Client(number) = source {
            audience.catch_up(number);
        }
    }
    audience.forget_the_gone();
    Ok(())
}

/// poll(2) until a time: which of them has something.
fn ready(sources: &[(BorrowedFd<'_>, PollFlags, Source)], until: Option<Instant>) -> anyhow::Result<Vec<Source>> {
    let mut fds: Vec<_> = sources.iter().map(|(fd, want, _)| PollFd::from_borrowed_fd(*fd, *want)).collect();
    let left = until.map(|until| until.saturating_duration_since(Instant::now()) + Duration::from_micros(500));
    let left = left.map(Timespec::try_from).transpose().context("poll()")?;
    match poll(&mut fds, left.as_ref()) {
        Err(Errno::INTR) => return Ok(Vec::new()),
        other => other.context("poll()")?,
    };
    let happened = fds.iter().zip(sources).filter(|(fd, _)| !fd.revents().is_empty());
    Ok(happened.map(|(_, (_, _, source))| *source).collect())
}

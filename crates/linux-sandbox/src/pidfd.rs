//! `pidfd_open(2)`: the process itself instead of a number that may be another's tomorrow.

use crate::enter::Target;
use crate::error::{Call, Result};
use crate::signals::is_passed_on;
use crate::steps::Step;
use crate::sys;
use crate::terminal::{Terminal, hear, unblock};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::{Errno, read, write};
use rustix::net::{SocketFlags, accept_with};
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, pidfd_open, waitid};
use std::path::Path;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// Its own exit code; 128 + n when signal n ended it.
    pub code: u8,
    /// The signal.
    pub signal: Option<i32>,
    /// What it used.
    pub usage: Usage,
}

/// What a process, and those of its children that it waited for, used: `getrusage(2)`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Processor time in the program, microseconds.
    pub user: u64,
    /// Processor time in the kernel, microseconds.
    pub system: u64,
    /// The most memory that it had, bytes.
    pub memory: u64,
}

/// `pidfd_send_signal(2)` with any number, real-time signals too. False: the process is gone.
pub fn send_signal(process: impl AsFd, signal: i32) -> std::result::Result<bool, crate::Error> {
    match sys::pidfd_send_signal(process, signal) {
        Ok(()) => Ok(true),
        Err(Errno::SRCH) => Ok(false),
        Err(errno) => Err(errno).call(|| format!("pidfd_send_signal({signal})")),
    }
}

/// A container that runs.
#[derive(Debug)]
pub struct Running {
    pub(crate) pid: i32,
    pub(crate) pidfd: OwnedFd,
    pub(crate) signals: OwnedFd,
    pub(crate) master: Option<OwnedFd>,
}

impl Running {
    /// The PID of the first process, as this process sees it.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// A process of somebody else's making that has become our child. Its terminal comes in at `console`.
    pub fn adopt(process: &Target, console: Option<impl AsFd>) -> std::result::Result<Self, crate::Error> {
        let signals = sys::signal_fd().call(|| "signalfd()".into())?;
        let master = match console {
            None => None,
            Some(listener) => {
                let line = || "accept(<console>)".into();
                hear(accept_with(listener, SocketFlags::CLOEXEC).call(line)?).and_then(|(_, master)| master)
            }
        };
        let pidfd = process.pidfd.try_clone().call(|| "dup(<pidfd>)".into())?;
        Ok(Self { pid: process.pid, pidfd, signals, master })
    }

    /// Goes over to the process that this one has left to us at its end, our child as well. Who traces that one may have
    /// put another number into its mouth: the kernel is asked whose child it is.
    pub(crate) fn go_over_to(&mut self, pid: i32) -> Result<()> {
        self.reap()?;
        let line = || format!("pidfd_open({pid})");
        let number = Pid::from_raw(pid).ok_or(Errno::INVAL).call(line)?;
        let pidfd = pidfd_open(number, PidfdFlags::empty()).call(line)?;
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        waitid(WaitId::PidFd(pidfd.as_fd()), look).call(|| format!("waitid(<pidfd of {pid}>)"))?;
        (self.pid, self.pidfd) = (pid, pidfd);
        Ok(())
    }

    /// Ends it and waits for its end.
    pub fn kill(&self) {
        let _ = sys::pidfd_send_signal(&self.pidfd, libc::SIGKILL);
        let _ = self.reap();
    }

    /// Hands the container's terminal to whoever listens at the socket `path`, and forgets it.
    pub fn send_terminal(&mut self, path: &Path) -> std::result::Result<(), crate::Error> {
        let Some(master) = self.master.take() else { return Ok(()) };
        crate::terminal::send_to(path, "t", &master).inspect_err(|_| {
            let _ = sys::pidfd_send_signal(&self.pidfd, libc::SIGKILL);
        })
    }

    /// Hands the process itself to whoever listens at the socket `path`: its descriptor, and `message` with it.
    pub fn send_pidfd(&self, path: &Path, message: &str) -> std::result::Result<(), crate::Error> {
        crate::terminal::send_to(path, message, &self.pidfd).inspect_err(|_| {
            let _ = sys::pidfd_send_signal(&self.pidfd, libc::SIGKILL);
        })
    }

    /// The process itself: readable when it has ended.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Readable when this process got a signal.
    pub fn signals(&self) -> BorrowedFd<'_> {
        self.signals.as_fd()
    }

    /// The next signal that this process got and that a container should hear of.
    pub fn next_signal(&self) -> Option<i32> {
        std::iter::from_fn(|| sys::next_signal(&self.signals)).find(|signal| is_passed_on(*signal))
    }

    /// Sends it a signal of any number.
    pub fn send(&self, signal: i32) -> std::result::Result<(), crate::Error> {
        sys::pidfd_send_signal(&self.pidfd, signal).call(|| format!("pidfd_send_signal({signal})"))
    }

    /// The other end of its terminal.
    pub fn take_master(&mut self) -> Option<OwnedFd> {
        self.master.take()
    }

    /// Waits for its end.
    pub fn end(&self) -> std::result::Result<Exit, crate::Error> {
        self.reap()
    }

    /// Passes signals and the terminal's bytes on until the process has ended.
    pub fn wait(&self, mut terminal: Option<Terminal>) -> std::result::Result<Exit, crate::Error> {
        if let (Some(terminal), Some(master)) = (&mut terminal, &self.master) {
            terminal.raw();
            unblock(master);
        }
        let mut keys: Vec<u8> = Vec::new();
        let mut input_open = terminal.is_some();
        let mut output_open = self.master.is_some();
        loop {
            let mut fds = vec![PollFd::new(&self.signals, PollFlags::IN), PollFd::new(&self.pidfd, PollFlags::IN)];
            if let Some(master) = self.master.as_ref().filter(|_| output_open) {
                let want = if keys.is_empty() { PollFlags::IN } else { PollFlags::IN | PollFlags::OUT };
                fds.push(PollFd::new(master, want));
            }
            if let Some(terminal) = terminal.as_ref().filter(|_| input_open && output_open && keys.is_empty()) {
                fds.push(PollFd::from_borrowed_fd(terminal.fd(), PollFlags::IN));
            }
            match poll(&mut fds, None) {
                Err(Errno::INTR) => continue,
                other => other.call(|| "poll()".into())?,
            };
            let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
            if ready[0] {
                self.pass_signals_on(terminal.as_ref());
            }
            if let Some(master) = &self.master {
                if ready.get(2) == Some(&true) {
                    output_open = copy_output(master) != Output::Ended;
                    feed(master, &mut keys);
                }
                if let (Some(true), Some(terminal)) = (ready.get(3), &terminal) {
                    input_open = take_keys(terminal, &mut keys);
                    feed(master, &mut keys);
                }
            }
            if ready[1] {
                if let Some(master) = self.master.as_ref().filter(|_| output_open) {
                    unblock(master);
                    while copy_output(master) == Output::Copied {}
                }
                return self.reap();
            }
        }
    }

    fn pass_signals_on(&self, terminal: Option<&Terminal>) {
        while let Some(signal) = sys::next_signal(&self.signals) {
            if signal == libc::SIGWINCH {
                if let (Some(terminal), Some(master)) = (terminal, &self.master) {
                    terminal.pass_size_to(master);
                }
            } else if is_passed_on(signal) {
                let _ = sys::pidfd_send_signal(&self.pidfd, signal);
            }
        }
    }

    pub(crate) fn reap(&self) -> Result<Exit> {
        let (info, usage) = loop {
            match sys::reap(&self.pidfd) {
                Err(Errno::INTR) => {}
                other => break other.call(|| "waitid(P_PIDFD)".into())?,
            }
        };
        let (how, status) = sys::end_of(&info);
        let signal = (how != libc::CLD_EXITED).then_some(status);
        let code = signal.map_or(status, |signal| 128 + signal);
        let micros = |time: libc::timeval| u64::try_from(time.tv_sec * 1_000_000 + time.tv_usec).unwrap_or(0);
        let usage = Usage {
            user: micros(usage.ru_utime),
            system: micros(usage.ru_stime),
            memory: u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1024,
        };
        Ok(Exit { code: u8::try_from(code & 0xff).unwrap_or(255), signal, usage })
    }

    /// Kills it and takes back what the steps left on the host.
    pub fn give_up(&self, steps: &[Step]) {
        self.kill();
        self.clean_up(steps);
    }

    /// Takes back what the steps left on the host: cgroups, overlayfs's marker.
    pub fn clean_up(&self, steps: &[Step]) {
        undo(steps);
    }
}

pub(crate) fn undo(steps: &[Step]) {
    for step in steps.iter().rev() {
        step.mechanism().undo();
    }
}

/// What a read of the container's terminal gave.
#[derive(PartialEq, Eq)]
enum Output {
    Copied,
    Nothing,
    /// No process has the terminal open any more.
    Ended,
}

/// Terminal → our stdout.
fn copy_output(master: &OwnedFd) -> Output {
    let mut buffer = [0; 16 * 1024];
    match read(master, &mut buffer) {
        Ok(length) if length > 0 => {
            let mut rest = &buffer[..length];
            while !rest.is_empty() {
                match write(rustix::stdio::stdout(), rest) {
                    Ok(written) => rest = &rest[written..],
                    Err(Errno::INTR | Errno::AGAIN) => {}
                    // Nobody looks any more; the container goes on.
                    Err(_) => break,
                }
            }
            Output::Copied
        }
        Err(Errno::INTR | Errno::AGAIN) => Output::Nothing,
        _ => Output::Ended,
    }
}

fn take_keys(terminal: &Terminal, keys: &mut Vec<u8>) -> bool {
    let mut buffer = [0; 4096];
    match read(terminal.fd(), &mut buffer) {
        Ok(0) => false,
        Ok(length) => {
            keys.extend_from_slice(&buffer[..length]);
            true
        }
        Err(errno) => matches!(errno, Errno::INTR | Errno::AGAIN),
    }
}

fn feed(master: &OwnedFd, keys: &mut Vec<u8>) {
    if let (false, Ok(written)) = (keys.is_empty(), write(master, keys)) {
        keys.drain(..written);
    }
}

//! Running a plan: what comes before the process, the one clone, what is done to it while it waits, what it
//! does itself, and the way back of an error.

use crate::error::{Call, Error, Result};
use crate::exec::own_file;
use crate::pidfd::{Running, undo};
use crate::steps::{Place, Scene, Step};
use crate::{sys, terminal};
use rustix::fd::OwnedFd;
use rustix::io::{Errno, read, write};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, recv, socketpair};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{DumpableBehavior, Signal, set_dumpable_behavior, set_parent_process_death_signal, setsid};
use std::fmt::Write as _;

/// The list of steps, and how it is read.
#[derive(Debug)]
pub struct Plan {
    /// In the order in which they run.
    pub steps: Vec<Step>,
    /// Prints each step's shell line on stderr as it runs.
    pub explain: bool,
    /// The name in notes on stderr.
    pub program: String,
}

/// Runs the plan until the process has executed its command. The caller must have no other thread.
pub fn spawn(plan: &Plan) -> std::result::Result<Running, Error> {
    let signals = sys::signal_fd().call(|| "signalfd()".into())?;
    let mut scene = Scene { program: plan.program.clone(), own_file: own_file(), ..Scene::default() };
    scene.notes = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stderr(), 3).ok();
    let started = start(plan, &mut scene, signals);
    if started.is_err() {
        scene.locks.clear();
        undo(&plan.steps);
    }
    started
}

fn start(plan: &Plan, scene: &mut Scene, signals: OwnedFd) -> Result<Running> {
    let mut flags = 0;
    for step in plan.steps.iter().filter(|step| step.place() == Place::Before) {
        run(plan, step, scene)?;
        if let Step::Clone(step) = step {
            flags = step.flags();
        }
    }
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .call(|| "socketpair()".into())?;
    let (errors, report) = pipe_with(PipeFlags::CLOEXEC).call(|| "pipe2()".into())?;
    let Some((pid, pidfd)) = sys::clone3(flags, None).call(|| clone_line(plan))? else {
        drop((ours, errors, signals));
        scene.socket = Some(theirs);
        child(plan, scene, &report);
    };
    drop((theirs, report));
    let mut running = Running { pid: pid.as_raw_nonzero().get(), pidfd, signals, master: None };
    scene.pid = Some(pid);
    let met = beside(plan, scene, &ours, &mut running).and_then(|()| came_to_exec(&errors));
    if met.is_err() {
        let _ = sys::pidfd_send_signal(&running.pidfd, libc::SIGKILL);
        let _ = running.reap();
    }
    met.map(|()| running)
}

/// The steps that need the host's view of the process; then it may go on.
fn beside(plan: &Plan, scene: &mut Scene, socket: &OwnedFd, running: &mut Running) -> Result<()> {
    for step in plan.steps.iter().filter(|step| step.place() == Place::Beside) {
        run(plan, step, scene)?;
    }
    scene.locks.clear();
    if waits(plan) {
        write(socket, b"g").call(|| "write(<child>)".into())?;
    }
    if plan.steps.iter().any(|step| matches!(step, Step::Console(_))) {
        running.master = terminal::receive(socket);
    }
    Ok(())
}

fn waits(plan: &Plan) -> bool {
    plan.steps.iter().any(|step| step.place() == Place::Beside)
}

fn clone_line(plan: &Plan) -> String {
    let mut line = "clone3(".to_owned();
    for step in &plan.steps {
        if let Step::Clone(step) = step {
            let _ = write!(line, "{:?}", step.namespaces);
        }
    }
    line + ")"
}

/// The pipe closes by itself at the exec; bytes before that are the code and the line of an error.
fn came_to_exec(errors: &OwnedFd) -> Result<()> {
    let mut text = Vec::new();
    let mut buffer = [0; 1024];
    loop {
        match read(errors, &mut buffer) {
            Ok(0) => break,
            Ok(length) => text.extend_from_slice(&buffer[..length]),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).call(|| "read(<child>)".into()),
        }
    }
    match text.split_first() {
        None => Ok(()),
        Some((code, message)) => {
            Err(Error::Child { code: *code, message: String::from_utf8_lossy(message).into_owned() })
        }
    }
}

/// Everything that the new process does before it is the container's.
fn child(plan: &Plan, scene: &mut Scene, report: &OwnedFd) -> ! {
    let failed = match prepare(plan, scene) {
        Ok(()) => {
            plan.steps.iter().filter(|step| step.place() == Place::Inside).find_map(|step| run(plan, step, scene).err())
        }
        Err(error) => Some(error),
    };
    let failed = failed.unwrap_or_else(|| Error::refused("the plan ends without an exec"));
    let mut message = vec![failed.code()];
    message.extend_from_slice(failed.to_string().as_bytes());
    let _ = write(report, &message);
    sys::exit_now(failed.code());
}

fn prepare(plan: &Plan, scene: &mut Scene) -> Result<()> {
    // A session of its own: no controlling terminal whose input it could forge (TIOCSTI), and ctrl-C reaches
    // only ctr-spawn, which passes it on.
    setsid().call(|| "setsid()".into())?;
    // A ctr-spawn that is killed takes the container with it.
    set_parent_process_death_signal(Some(Signal::KILL)).call(|| "prctl(PR_SET_PDEATHSIG)".into())?;
    if let Some(socket) = &scene.socket {
        let gone = || Error::refused(format!("{} is gone", plan.program));
        let hear = |how| match recv(socket, &mut [0], how) {
            Ok((length, _)) => Ok(length == 1),
            Err(Errno::AGAIN) => Ok(true),
            Err(errno) => Err(errno).call(|| "recv(<parent>)".into()),
        };
        if waits(plan) && !hear(RecvFlags::empty())? {
            return Err(gone());
        }
        // It may have died after its word and before the death signal was asked for: then its end is closed.
        if !hear(RecvFlags::DONTWAIT)? {
            return Err(gone());
        }
    }
    // Nobody who is already in one of its namespaces may look into it through /proc before the exec (CVE-2016-9962).
    set_dumpable_behavior(DumpableBehavior::NotDumpable).call(|| "prctl(PR_SET_DUMPABLE, 0)".into())?;
    rustix::process::umask(rustix::fs::Mode::empty());
    Ok(())
}

fn run(plan: &Plan, step: &Step, scene: &mut Scene) -> Result<()> {
    if plan.explain {
        let line = format!("+ {}\n", step.shell());
        if let Some(fd) = &scene.notes {
            let _ = write(fd, line.as_bytes());
        }
    }
    // A switch of user or user namespace clears the death signal and may make the process readable through
    // /proc again (sysctl fs.suid_dumpable), so both are set once more behind each.
    let done = step.mechanism().run(scene);
    if matches!(step, Step::User(_) | Step::NamespaceRoot(_) | Step::Enter(_)) {
        let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
        if !scene.outlives {
            let _ = set_parent_process_death_signal(Some(Signal::KILL));
        }
    }
    done.map_err(|error| match error {
        Error::Exec { code, message } => Error::Exec { code, message: format!("{}: {message}", step.name()) },
        other => Error::Child { code: other.code(), message: format!("{}: {other}", step.name()) },
    })
}

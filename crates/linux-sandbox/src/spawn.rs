//! Running a plan: what comes before the process, the one clone, what is done to it while it waits, what it
//! does itself, and the way back of an error.

use crate::born_last;
use crate::error::{Call, Error, Result};
use crate::exec::own_file;
use crate::pidfd::{Running, undo};
use crate::steps::{Place, Scene, Step};
use crate::{sys, terminal};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::{Errno, read, write};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, recv, socketpair};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    DumpableBehavior, PidfdGetfdFlags, Signal, pidfd_getfd, set_dumpable_behavior, set_parent_process_death_signal,
    setsid,
};
use rustix::thread::move_into_link_name_space;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

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
    spawn_with(plan, None)
}

/// [`spawn`] with other descriptors than our own as its 0, 1 and 2.
pub fn spawn_with(plan: &Plan, stdio: Option<crate::Stdio>) -> std::result::Result<Running, Error> {
    let signals = sys::signal_fd().call(|| "signalfd()".into())?;
    let mut scene = Scene { program: plan.program.clone(), own_file: own_file(), stdio, ..Scene::default() };
    scene.born_last = born_last::is_wanted(&plan.steps);
    scene.notes = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stderr(), 3).ok();
    let started = start(plan, &mut scene, signals);
    if started.is_err() {
        scene.locks.clear();
        undo(&plan.steps);
    }
    started
}

fn start(plan: &Plan, scene: &mut Scene, signals: OwnedFd) -> Result<Running> {
    let (mut flags, mut inside) = (0, Vec::new());
    for step in plan.steps.iter().filter(|step| step.place() == Place::Before) {
        run(plan, step, scene)?;
        if let Step::Clone(step) = step {
            flags = step.flags();
            inside.extend(step.inside.iter().chain(&step.inside_pid).map(PathBuf::as_path));
        }
    }
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .call(|| "socketpair()".into())?;
    let (errors, report) = pipe_with(PipeFlags::CLOEXEC).call(|| "pipe2()".into())?;
    let made = if inside.is_empty() {
        clone(flags, scene).call(|| clone_line(plan))
    } else {
        scene.entrances.extend(scene.unless_born_in.take());
        let enter = |path: &&Path| {
            open(*path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).call(|| format!("open({path:?})"))
        };
        let namespaces: Result<Vec<OwnedFd>> = inside.iter().map(enter).collect();
        namespaces.and_then(|namespaces| sys::clone3_inside(&namespaces, flags).call(|| clone_line(plan)))
    };
    let is_child = matches!(made, Ok(None));
    for (namespace, kind) in scene.come_back.drain(..).filter(|_| !is_child) {
        move_into_link_name_space(namespace.as_fd(), Some(kind)).call(|| format!("setns(<own>, {kind:?})"))?;
    }
    let Some((pid, pidfd)) = made? else {
        drop((ours, errors, signals));
        scene.socket = Some(theirs);
        scene.report = Some(report);
        child(plan, scene);
    };
    drop((theirs, report));
    let mut running = Running { pid: pid.as_raw_nonzero().get(), pidfd, signals, master: None };
    scene.pid = Some(pid);
    let met = beside(plan, scene, &ours, &mut running).and_then(|()| came_to_exec(&errors));
    if met.is_err() {
        let _ = sys::pidfd_send_signal(&running.pidfd, libc::SIGKILL);
        let _ = running.reap();
    }
    if let Some(child) = met? {
        running.go_over_to(child)?;
    }
    let mut after = plan.steps.iter().filter(|step| step.place() == Place::After);
    after.try_for_each(|step| run(plan, step, scene)).inspect_err(|_| running.kill())?;
    Ok(running)
}

/// The process, born in the container's cgroup where that can be. The container's own one it enters by itself when the
/// kernel is too old for that (before Linux 5.7) or does not let it; of one that it joins, an ordinary user is told.
fn clone(flags: u64, scene: &mut Scene) -> rustix::io::Result<Option<(rustix::process::Pid, OwnedFd)>> {
    let Some(cgroup) = scene.cgroup.take() else { return sys::clone3(flags, None) };
    match sys::clone3(flags, Some(cgroup.as_fd())) {
        Err(_) if scene.unless_born_in.is_some() => scene.entrances.extend(scene.unless_born_in.take()),
        Err(Errno::ACCESS | Errno::PERM) if !rustix::process::geteuid().is_root() => {
            scene.note("this user may not enter the container's cgroup: its limits do not hold here");
        }
        other => return other,
    }
    sys::clone3(flags, None)
}

/// The steps that need the host's view of the process. It waits at each row of them, and may go on behind it.
fn beside(plan: &Plan, scene: &mut Scene, socket: &OwnedFd, running: &mut Running) -> Result<()> {
    let mut rows = rows(plan).into_iter();
    let mut terminal_comes = plan.steps.iter().any(|step| matches!(step, Step::Console(_)));
    let mut row = rows.next();
    loop {
        for step in row.iter().copied().flatten() {
            run(plan, step, scene)?;
        }
        // The process has copies of these, and lets go of them when it is in its cgroups.
        scene.locks.clear();
        scene.entrances.clear();
        if row.is_some_and(|row| !row.is_empty()) {
            write(socket, b"g").call(|| "write(<child>)".into())?;
        }
        row = None;
        while row.is_none() {
            if rows.len() == 0 && !terminal_comes {
                return Ok(());
            }
            match terminal::hear(socket) {
                // It has ended; the other pipe tells why.
                None => return Ok(()),
                Some((word, Some(master))) if word[0] == b't' => {
                    running.master = Some(master);
                    terminal_comes = false;
                }
                Some((word, _)) => {
                    let listener = i32::from_ne_bytes([word[1], word[2], word[3], word[4]]);
                    if listener >= 0 {
                        let line = || format!("pidfd_getfd(<child>, {listener})");
                        scene.listener =
                            Some(pidfd_getfd(&running.pidfd, listener, PidfdGetfdFlags::empty()).call(line)?);
                    }
                    row = rows.next();
                }
            }
        }
    }
}

/// The steps beside the process, in rows between those that it does itself. The first row comes before its first
/// own step, and may be empty.
fn rows(plan: &Plan) -> Vec<&[Step]> {
    let with_process = |step: &Step| matches!(step.place(), Place::Beside | Place::Inside);
    let start = plan.steps.iter().position(with_process).unwrap_or(plan.steps.len());
    let mut rows: Vec<&[Step]> =
        plan.steps[start..].split(|step| step.place() != Place::Beside).filter(|row| !row.is_empty()).collect();
    if plan.steps.get(start).is_none_or(|step| step.place() != Place::Beside) {
        rows.insert(0, &[]);
    }
    rows
}

/// Tells the parent that the process stands before a row of its steps, with the number of the filter's listener if
/// it has one; goes on when they are done. By read(2) and write(2): there may be a filter already.
fn meet(scene: &mut Scene) -> Result<()> {
    let Some(socket) = &scene.socket else { return Ok(()) };
    let mut word = [b'r', 0, 0, 0, 0];
    word[1..].copy_from_slice(&scene.listener_number.take().unwrap_or(-1).to_ne_bytes());
    write(socket, &word).call(|| "write(<parent>)".into())?;
    loop {
        match read(socket, &mut [0_u8; 1]) {
            Err(Errno::INTR) => {}
            Ok(0) => return Err(Error::refused("the process that starts this one is gone")),
            other => return other.call(|| "read(<parent>)".into()).map(drop),
        }
    }
}

/// The process's own steps, with the meetings between them.
fn inside(plan: &Plan, scene: &mut Scene) -> Result<()> {
    let mut before = Place::Beside;
    for step in plan.steps.iter().filter(|step| matches!(step.place(), Place::Beside | Place::Inside)) {
        match step.place() {
            Place::Beside if before == Place::Inside => meet(scene)?,
            Place::Inside => run(plan, step, scene)?,
            _ => {}
        }
        before = step.place();
    }
    Err(Error::refused("the plan ends without an exec"))
}

fn waits(plan: &Plan) -> bool {
    rows(plan).first().is_some_and(|row| !row.is_empty())
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

/// The pipe closes by itself at the exec; bytes before that are the code and the line of an error, and the number of the
/// process when it was [`born_last`].
fn came_to_exec(errors: &OwnedFd) -> Result<Option<i32>> {
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
    let born = born_last::take_pid(&mut text);
    match text.split_first() {
        None => Ok(born),
        Some((code, message)) => {
            Err(Error::Child { code: *code, message: String::from_utf8_lossy(message).into_owned() })
        }
    }
}

/// Everything that the new process does before it is the container's.
fn child(plan: &Plan, scene: &mut Scene) -> ! {
    let Err(failed) = prepare(plan, scene).and_then(|()| inside(plan, scene)) else { sys::exit_now(125) };
    let mut message = vec![failed.code()];
    message.extend_from_slice(failed.to_string().as_bytes());
    match &scene.report {
        Some(report) => drop(write(report, &message)),
        // The parent has gone on: what is wrong now, the container's stderr hears.
        None => scene.say(&failed.to_string()),
    }
    sys::exit_now(failed.code());
}

fn prepare(plan: &Plan, scene: &mut Scene) -> Result<()> {
    if let Some(stdio) = scene.stdio.take() {
        stdio.install()?;
        scene.own_pipes = true;
    }
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

//! Runs the process of an OCI bundle, isolated: its own process IDs, mounts, host name, IPC, network and
//! cgroup, a root directory with no way out, and of root's rights only those that `config.json` names.
//!
//! Mechanism: a container is a process that was started in a particular way. The way is a **list of steps**;
//! `--plan` prints it as JSON, `--explain` as shell while it runs. By hand it is about this:
//!
//! ```sh
//! unshare --pid --mount --uts --ipc --net --cgroup --fork sh
//! mount --make-rprivate / && mount --rbind rootfs rootfs && cd rootfs
//! mount -t proc proc proc && mount -t sysfs -o ro sysfs sys && mount -t tmpfs tmpfs dev
//! mknod -m 666 dev/null c 1 3
//! pivot_root . . && umount -l . && cd /
//! exec setpriv --bounding-set -all --inh-caps=-all --clear-groups env -i /bin/sh
//! ```
//!
//! Read namespaces(7), `mount_namespaces(7)`, `pivot_root(2)`, capabilities(7), cgroups(7), `pidfd_open(2)`.

#![forbid(unsafe_code)]

mod audience;
mod background;
mod config;
mod create;
mod ends;
mod health;
mod hints;
mod hooks;
mod input;
mod journal;
mod life;
mod plan;
mod policy;
mod sealed;
mod supervise;

use anyhow::{Context, bail};
use clap::Parser;
use config::Config;
use hints::with_hint;
use input::{add_home, add_variables, container_id, read_bundle, read_config};
use linux_sandbox::{Plan, Step, Terminal};
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};
use sealed::{others_look_on, run_sealed};
use serde_json::json;
use std::fs::File;
use std::path::PathBuf;
use std::process::ExitCode;
use toolkit::Out;
use wire::{Bundle, Record, exit};

/// Run the process of a bundle, isolated
#[derive(Debug, Parser)]
#[command(name = "ctr-spawn", version, about)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of the command line")]
struct Args {
    /// Bundle directory; without it, the first line of stdin is its record and the rest is the container's
    bundle: Option<PathBuf>,

    /// Give the process a terminal
    #[arg(short, long)]
    tty: bool,

    /// Go on in the background as soon as the process has been executed, and print the container's record
    #[arg(short, long, conflicts_with = "die_with_parent")]
    detach: bool,

    /// With --detach: read none of the output until ctr-attach is there, so that it misses nothing
    #[arg(long, requires = "detach")]
    hold: bool,

    /// Remove the bundle when the process has ended
    #[arg(long)]
    rm: bool,

    /// Name of the container's cgroup [default: the bundle's directory name]
    #[arg(long)]
    id: Option<String>,

    /// Have systemd make the cgroup, as a scope with the limits as its properties
    #[arg(long)]
    systemd_cgroup: bool,

    /// End with the process PID, which starts this one, however that ends
    #[arg(long, value_name = "PID")]
    die_with_parent: Option<i32>,

    /// Give the process a variable with the value of ctr-spawn's own VARIABLE, so that no file holds it
    #[arg(long, value_name = "NAME=VARIABLE")]
    env_from: Vec<String>,

    #[command(flatten)]
    create: create::Options,

    /// Print the list of steps as JSON and do nothing
    #[arg(long, conflicts_with = "explain")]
    plan: bool,

    /// Print each step as a shell line on stderr as it runs
    #[arg(long)]
    explain: bool,

    /// Command instead of the bundle's own
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

fn main() -> ExitCode {
    toolkit::main_with_codes(exit::SPAWN_FAILED, exit::SPAWN_FAILED, |args: Args, out| run(&args, out))
}

fn run(args: &Args, out: &mut Out) -> anyhow::Result<u8> {
    if let Some(parent) = args.die_with_parent {
        die_with(parent)?;
    }
    if args.detach {
        linux_sandbox::close_inherited()?;
    }
    let stderr = args.create.open_log()?;
    let mut bundle = read_bundle(args)?;
    let id = container_id(args, bundle.path.as_path())?;
    // Held before anything is looked at or made: nobody else starts or removes it meanwhile.
    let kept =
        if args.plan || args.create.create.is_some() { None } else { life::Kept::take(bundle.path.as_path(), &id)? };
    let prepared = match prepare(args, &mut bundle, &id, stderr) {
        Ok(prepared) => prepared,
        Err(error) => return Err(give_up(args, kept, error)),
    };
    if args.plan {
        return print_plan(out, &prepared.plan.steps);
    }
    if let Some(state_dir) = &args.create.create {
        return create::create(&args.create, state_dir, &prepared.plan, &bundle, &id).map(|()| exit::DONE);
    }
    let dir = bundle.path.as_path();
    if args.detach {
        let kept = kept.with_context(|| format!("{}: no container of the store, so no --detach", dir.display()))?;
        return keep_in_background(args, &prepared.plan, &prepared.config, kept, out);
    }
    let goes = args.rm || kept.as_ref().is_some_and(|kept| kept.keeping.auto_remove);
    let ended = run_and_wait(&prepared.plan, kept, prepared.terminal, goes);
    if args.rm {
        life::own_what_it_wrote(dir)?;
        bundle::remove_tree(dir).with_context(|| format!("{}: remove", dir.display()))?;
    }
    ended
}

/// What config.json has become.
struct Prepared {
    plan: Plan,
    config: Config,
    terminal: Option<Terminal>,
    /// What is joined stays open as long as it may be joined once more.
    _joined: Vec<File>,
}

/// Reads, and changes nothing but the layer to mount on.
fn prepare(
    args: &Args,
    bundle: &mut Bundle,
    id: &str,
    stderr: Option<linux_sandbox::FirstStderr>,
) -> anyhow::Result<Prepared> {
    if !args.plan {
        bundle::add_init_layer(bundle)?;
    }
    let (mut config, joined) = read_config(bundle.path.as_path())?;
    if !args.plan && others_look_on(&config) {
        run_sealed(args, stderr.as_ref(), bundle)?;
    }
    add_variables(&mut config, &args.env_from)?;
    add_home(&mut config, bundle);
    let terminal = if wants_terminal(args, &config) { Terminal::of_the_person() } else { None };
    let mut steps = make_steps(args, bundle, &config, id, terminal.as_ref())?;
    create::prepare(&args.create, stderr, &mut steps, &config, id)?;
    let plan = Plan { steps, explain: args.explain, program: "ctr-spawn".into() };
    Ok(Prepared { plan, config, terminal, _joined: joined })
}

/// A container that cannot even be described goes as one that has ended, when it was to go then.
fn give_up(args: &Args, kept: Option<life::Kept>, error: anyhow::Error) -> anyhow::Error {
    let Some(kept) = kept else { return error };
    let remove = args.rm || kept.keeping.auto_remove;
    let code = toolkit::code_of(&error).unwrap_or(exit::SPAWN_FAILED);
    let _ = kept.bury(&life::End::failed(code, &format!("{error:#}")), remove);
    error
}

/// The process in front ends with the container's record; the one in the background with the container.
fn keep_in_background(
    args: &Args,
    plan: &Plan,
    config: &Config,
    kept: life::Kept,
    out: &mut Out,
) -> anyhow::Result<u8> {
    match background::part()? {
        background::Side::Front(verdict) => {
            verdict.wait()?;
            out.record(&Record::Container(kept.record()?))?;
            Ok(exit::DONE)
        }
        background::Side::Back(report) => {
            let remove = args.rm || kept.keeping.auto_remove;
            let terminal = wants_terminal(args, config);
            supervise::keep(supervise::Task { plan, kept, terminal, hold: args.hold, remove }, report)
        }
    }
}

/// The kernel tells only of a death that comes after the request; one that came before shows in who our parent
/// is by then.
fn die_with(parent: i32) -> anyhow::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL)).context("prctl(PR_SET_PDEATHSIG)")?;
    if getppid().map(Pid::as_raw_pid) != Some(parent) {
        bail!("--die-with-parent {parent}: it is not, or no longer, the process that started this one");
    }
    Ok(())
}

/// Whether the process gets a terminal, from the command line or from the configuration.
fn wants_terminal(args: &Args, config: &Config) -> bool {
    args.tty || config.process.as_ref().is_some_and(|process| process.terminal)
}

fn make_steps(
    args: &Args,
    bundle: &Bundle,
    config: &Config,
    id: &str,
    terminal: Option<&Terminal>,
) -> anyhow::Result<Vec<Step>> {
    let around = plan::Around {
        id,
        command: &args.command,
        terminal: wants_terminal(args, config),
        terminal_size: terminal.and_then(Terminal::size),
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        systemd: args.systemd_cgroup,
    };
    plan::steps(bundle, config, &around)
}

/// One object on one line: the same list that would run, with the shell line of each step.
fn print_plan(out: &mut Out, steps: &[Step]) -> anyhow::Result<u8> {
    let list = steps.iter().map(Step::describe).collect::<Result<Vec<_>, _>>()?;
    let plan = json!({ "formatVersion": wire::FORMAT_VERSION, "kind": "plan", "steps": list });
    out.text(&format!("{plan}\n"))?;
    Ok(exit::DONE)
}

fn run_and_wait(
    plan: &Plan,
    mut kept: Option<life::Kept>,
    terminal: Option<Terminal>,
    remove: bool,
) -> anyhow::Result<u8> {
    let bury = |kept: Option<life::Kept>, end: &life::End| kept.map_or(Ok(()), |kept| kept.bury(end, remove));
    let running = match linux_sandbox::spawn(plan) {
        Ok(running) => running,
        Err(error) => {
            // What to do about it depends on who we are, and whoever removes may be somebody else behind.
            let failed = with_hint(&error);
            let _ = bury(kept, &life::End::unborn(&error));
            return Err(failed);
        }
    };
    // Nobody could find or end one that is not written down.
    if let Some(Err(error)) = kept.as_mut().map(|kept| kept.started(running.pid(), plan)) {
        running.give_up(&plan.steps);
        let _ = bury(kept, &life::End::failed(exit::SPAWN_FAILED, &format!("{error:#}")));
        return Err(error);
    }
    let ended = running.wait(terminal);
    let last = life::Last::words(plan, kept.as_ref());
    running.clean_up(&plan.steps);
    let ended = ended?;
    bury(kept, &life::End::of(ended, last))?;
    Ok(ended.code)
}

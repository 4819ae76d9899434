//! Removes containers: their directory with all that they wrote, and their state.
//!
//! Mechanism: under the lock of all names the container gets a name that no list shows, then its tree is
//! removed name by name below one directory descriptor, never following a link and never leaving the file
//! system. By hand, for one that does not run:
//!
//! ```sh
//! mv "containers/$id/container.json" "containers/$id/removing"
//! rm -rf --one-file-system "containers/$id" "/run/dock/containers/$id"
//! ```
//!
//! With `-f` the first process is killed before, through a descriptor that cannot mean another process.
//! Read `pidfd_open(2)`, openat(2), unlinkat(2).

#![forbid(unsafe_code)]

mod kill;

use anyhow::bail;
use bundle::{Containers, Found, keeper, life};
use clap::Parser;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use subids::Mapping;
use toolkit::{Failures, Out};
use wire::Status;

/// Remove containers that do not run
#[derive(Debug, Parser)]
#[command(name = "ctr-rm", version, about)]
struct Args {
    /// Names, IDs or unique starts of IDs; without them, container records are read from stdin
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,

    /// Kill the container first when it runs; a container that is not there is no error
    #[arg(short, long)]
    force: bool,

    /// Pass over those that run or are gone by now, and remove what is left of makings that were broken off
    #[arg(long, conflicts_with = "force")]
    prune: bool,

    /// Remove the volumes too that have no name and that no other container uses
    #[arg(short, long)]
    volumes: bool,

    /// Where images, volumes and containers are kept [default: /var/lib/dock]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
}

fn main() -> ExitCode {
    toolkit::main(run)
}

#[expect(clippy::needless_pass_by_value, reason = "toolkit::main gives them away")]
fn run(args: Args, out: &mut Out) -> anyhow::Result<()> {
    let root = toolkit::root_dir(args.root.as_deref());
    let run = toolkit::run_dir();
    let containers = Containers::new(&root, &run);
    let mut failed = Failures::of("ctr-rm");
    let operands = if args.prune { args.containers.clone() } else { toolkit::containers(&args.containers)? };
    go_inside(&containers, &root, &run, &operands, &args)?;
    for operand in operands {
        match remove(&containers, &root, &run, &operand, &args) {
            Ok(true) => out.text(&format!("{operand}\n")).and_then(|()| out.finish())?,
            Ok(false) if args.prune => {}
            // What is to be gone by all means, and is gone, is told and no failure: as docker has it.
            Ok(false) => toolkit::say(&format!("ctr-rm: {}", bundle::Error::NoContainer(operand))),
            Err(error) => failed.add(error),
        }
    }
    if args.prune {
        remove_abandoned(&containers, &root)?;
    }
    failed.finish()
}

/// An ordinary user may remove what his containers wrote as other users only as root of a user namespace, and from
/// in there end none of them: so that comes first.
fn go_inside(containers: &Containers, root: &Path, run: &Path, operands: &[String], args: &Args) -> anyhow::Result<()> {
    if Mapping::of_store(root)?.is_none() {
        return Ok(());
    }
    for operand in operands.iter().filter(|_| args.force) {
        if let Ok(found) = containers.find(operand) {
            end(&found, run)?;
        }
    }
    subids::enter_that_of(root)?;
    Ok(())
}

fn end(found: &Found, run: &Path) -> anyhow::Result<()> {
    keeper::forbid_restart(found, run)?;
    kill::kill(found, run)
}

/// Says whether there was something to remove.
fn remove(containers: &Containers, root: &Path, run: &Path, operand: &str, args: &Args) -> anyhow::Result<bool> {
    match try_to_remove(containers, root, run, operand, args) {
        // Somebody else was faster.
        Err(error) if (args.force || args.prune) && is_gone(&error) => Ok(false),
        Err(error) if args.prune && error.is::<Runs>() => Ok(false),
        done => done.map(|()| true),
    }
}

fn is_gone(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(bundle::Error::NoContainer(_)))
}

/// Docker's words.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot remove container \"/{name}\": container is {doing}: stop the container before removing or force remove"
)]
struct Runs {
    name: String,
    doing: &'static str,
}

fn try_to_remove(containers: &Containers, root: &Path, run: &Path, operand: &str, args: &Args) -> anyhow::Result<()> {
    let found = match containers.find(operand) {
        Err(bundle::Error::NoContainer(_)) if bundle::names::is_id(operand) && unfinished(root, operand).exists() => {
            return remove_unfinished(containers, root, operand);
        }
        Err(bundle::Error::Damaged(one)) if args.force => {
            kill::kill_keeper(&one.id, run)?;
            let lock = kill::wait_for_lock(&unfinished(root, &one.id))?;
            return Ok(containers.remove_damaged(&one.id, lock)?);
        }
        found => found?,
    };
    let runs = |doing| Runs { name: found.meta.name.clone(), doing };
    let doing = match found.status {
        Status::Restarting => Some("restarting"),
        Status::Paused => Some("paused"),
        _ => found.started.is_some().then_some("running"),
    };
    if let Some(doing) = doing {
        if !args.force {
            bail!(runs(doing));
        }
        end(&found, run)?;
    }
    let gone = || bundle::Error::NoContainer(operand.into());
    let lock = match life::lock(&found.dir) {
        // Its keeper has not seen the end yet, or the container has been started again since.
        Err(bundle::Error::Busy(_)) if args.force => kill::wait_for_lock(&found.dir),
        other => other,
    };
    let lock = match lock {
        Err(bundle::Error::Busy(_)) if !args.force => bail!(runs("running")),
        Err(bundle::Error::Io(_, cause)) if cause.kind() == std::io::ErrorKind::NotFound => bail!(gone()),
        other => other?,
    };
    // Whoever had the lock may have removed it.
    let found = containers.read(&found.meta.id)?.ok_or_else(gone)?;
    Ok(containers.remove(&found, lock, args.volumes)?)
}

/// A container whose making was broken off has a directory and no name: its whole ID removes it.
fn remove_unfinished(containers: &Containers, root: &Path, id: &str) -> anyhow::Result<()> {
    let lock = life::lock(&unfinished(root, id))?;
    Ok(containers.remove_damaged(id, lock)?)
}

fn remove_abandoned(containers: &Containers, root: &Path) -> anyhow::Result<()> {
    for id in containers.abandoned()? {
        match remove_unfinished(containers, root, &id) {
            // Somebody still works on it, after all, or was faster.
            Err(error)
                if matches!(error.downcast_ref(), Some(bundle::Error::Busy(_))) || !unfinished(root, &id).exists() => {}
            done => done?,
        }
    }
    Ok(())
}

fn unfinished(root: &Path, id: &str) -> PathBuf {
    root.join("containers").join(id)
}

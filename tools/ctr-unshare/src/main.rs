//! Runs a command as root of a user namespace in which the files of an ordinary user's containers have their owners.
//!
//! Mechanism: what a container of his wrote as user 33 belongs on the host to an ID of his range in subuid(5), say
//! 100032, and that is nobody he could be: he can neither read nor remove it. In a user namespace that maps the range
//! as the container's does he is root, and 100032 is 33 again. By hand:
//!
//! ```sh
//! unshare --user sleep 60 & pid=$!
//! newuidmap $pid 0 $(id -u) 1 1 100000 65536 && newgidmap $pid 0 $(id -g) 1 1 100000 65536
//! nsenter --user --target $pid --preserve-credentials ls -ln ~/.local/share/dock/volumes/data/_data
//! ```
//!
//! Every tool here that looks into such files does that by itself; this one is for ls, rm, tar and the like. Nothing
//! but the IDs is another: files, processes and network are the host's, and the user's rights on the host are what
//! they were. Read `user_namespaces(7)`, newuidmap(1), subuid(5).

#![forbid(unsafe_code)]

use clap::Parser;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use subids::Mapping;
use toolkit::{Failure, Out};
use wire::exit;

/// Run a command where the files of an ordinary user's containers have their owners
#[derive(Debug, Parser)]
#[command(name = "ctr-unshare", version, about)]
struct Args {
    /// Where images, volumes and containers are kept [default: /var/lib/dock]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,

    /// The command and its arguments [default: $SHELL]
    #[arg(trailing_var_arg = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

fn main() -> ExitCode {
    toolkit::main_with_codes(exit::FAILED, exit::USAGE, |args: Args, _: &mut Out| run(&args))
}

fn run(args: &Args) -> anyhow::Result<u8> {
    let root = toolkit::root_dir(args.root.as_deref());
    let mapping = Mapping::of_store(&root)?;
    // Without ranges there are no files but the user's own.
    if let Some(mapping) = mapping.or_else(|| Mapping::of_caller().ok()) {
        mapping.enter()?;
    }
    let shell = || vec![std::env::var_os("SHELL").unwrap_or_else(|| "/bin/sh".into())];
    let command = if args.command.is_empty() { shell() } else { args.command.clone() };
    let name = command[0].to_string_lossy().into_owned();
    // Tools of ours that it runs must not take the places of the machine's root for theirs.
    let failed =
        Command::new(&command[0]).args(&command[1..]).env("DOCK_ROOT", root).env("DOCK_RUN", toolkit::run_dir()).exec();
    let code = if failed.kind() == ErrorKind::NotFound { exit::NOT_FOUND } else { exit::NOT_EXECUTABLE };
    Err(Failure::with_code(code, format!("{name}: {}", failed.kind())))
}

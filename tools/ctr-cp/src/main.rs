//! Copies files into and out of a container, running or not.
//!
//! Mechanism: a tar from one tree into another. The tree of a container that runs is what its first process has as
//! its root, /proc/PID/root, volumes and all; that of one that does not run is mounted for the time of the copy, in
//! a mount namespace of our own. By hand:
//!
//! ```sh
//! tar -C /proc/$pid/root/etc -c . | tar -C here -x                       # out of a container that runs
//! unshare --mount sh -c 'mount -t overlay … rootfs && tar -C rootfs/etc -c .' | tar -C here -x
//! ```
//!
//! By hand it is also wrong: what a container has as a link to /etc is to lead to its own /etc, also when it changes
//! the link in just that moment (CVE-2018-15664). Here every name is looked up in the directory that is held open,
//! and a link is followed on paper. Read proc(5), tar(5), openat2(2), `mount_namespaces(7)`.

#![forbid(unsafe_code)]

mod container;
mod copy;
mod place;

use anyhow::bail;
use clap::Parser;
use container::Tree;
use copy::{Destination, Source};
use layer_tar::Owners;
use place::Place;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use toolkit::Out;

/// Copy files into and out of a container
#[derive(Debug, Parser)]
#[command(name = "ctr-cp", version, about)]
struct Args {
    /// CONTAINER:PATH, a path of the host, or - for a tar on stdin
    #[arg(value_name = "SOURCE")]
    source: String,

    /// CONTAINER:PATH, a path of the host, or - for a tar on stdout
    #[arg(value_name = "DESTINATION")]
    destination: String,

    /// Keep owners, also when files come out of the container
    #[arg(short, long)]
    archive: bool,

    /// Copy what a link at the end of SOURCE leads to
    #[arg(short = 'L', long)]
    follow_link: bool,

    /// Do not say on a terminal how much was copied
    #[arg(short, long)]
    quiet: bool,

    /// Where containers are kept [default: /var/lib/dock]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
}

fn main() -> ExitCode {
    toolkit::main(run)
}

#[expect(clippy::needless_pass_by_value, reason = "toolkit::main gives them away")]
fn run(args: Args, out: &mut Out) -> anyhow::Result<()> {
    let (from, to) = (Place::parse(&args.source), Place::parse(&args.destination));
    let open = |name: &str| Tree::open(name, args.root.as_deref());
    let copied = match (&from, &to) {
        (Place::Container(..), Place::Container(..)) => bail!("copying between containers is not supported"),
        (Place::Container(name, path), Place::Stream) => {
            toolkit::refuse_terminal("a tar")?;
            let tree = open(name)?;
            let source = Source::in_container(&tree, path, args.follow_link)?;
            return copy::to_stream(&source, out.bytes());
        }
        (Place::Container(name, path), Place::Local(local)) => {
            // The host's own path is looked up before we leave its mounts.
            let local = Destination::local(local);
            let tree = open(name)?;
            let source = Source::in_container(&tree, path, args.follow_link)?;
            // What an ordinary user's container calls its users are IDs that he could not remove on the host.
            let keep = args.archive && Owners::possible()? == Owners::Keep;
            let owners = if keep { Owners::Keep } else { Owners::Mine };
            copy::copy(&source, &local.choose(&source)?, owners)?
        }
        (Place::Local(local), Place::Container(name, path)) => {
            let source = Source::on_host(local, args.follow_link)?;
            let tree = open(name)?;
            copy::copy(&source, &Destination::in_container(&tree, path)?.choose(&source)?, Owners::possible()?)?
        }
        (Place::Stream, Place::Container(name, path)) => {
            let tree = open(name)?;
            copy::from_stream(&Destination::in_container(&tree, path)?, &args.destination)?
        }
        _ => bail!("must specify at least one container source"),
    };
    if !args.quiet && rustix::termios::isatty(std::io::stderr()) {
        let line = format!("Successfully copied {} to {}\n", table::size_with(copied, 3), args.destination);
        // A terminal that is gone by now is no failure of the copy.
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
    Ok(())
}

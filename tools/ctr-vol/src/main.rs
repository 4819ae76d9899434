//! Lists, makes and removes volumes: what outlives the containers that wrote it.
//!
//! Mechanism: a volume is a directory of the host, and a container sees it by a bind mount. It has a name so that
//! nobody has to know where it lies. By hand:
//!
//! ```sh
//! mkdir -p /var/lib/dock/volumes/data/_data                     # make
//! ls /var/lib/dock/volumes                                      # list
//! mount --bind /var/lib/dock/volumes/data/_data rootfs/data     # use, as ctr-spawn does
//! grep -l '"name": "data"' /var/lib/dock/containers/*/container.json   # who uses it
//! rm -rf --one-file-system /var/lib/dock/volumes/data           # remove
//! ```
//!
//! A volume is removed under a lock that every ctr-spec with volumes shares, so that none goes which a container is
//! just being made with. Read mount(2) (`MS_BIND`), `mount_namespaces(7)`, flock(2).

#![forbid(unsafe_code)]

mod filter;
mod show;

use anyhow::anyhow;
use bundle::{Containers, Volume, Volumes};
use clap::Parser;
use filter::Filters;
use std::path::PathBuf;
use std::process::ExitCode;
use toolkit::{Failures, Out, usage};

/// List, make and remove volumes
#[derive(Debug, Parser)]
#[command(name = "ctr-vol", version, about)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of the command line")]
struct Args {
    /// Volumes; without them, all
    #[arg(value_name = "VOLUME")]
    names: Vec<String>,

    /// Make a volume, without a name an anonymous one
    #[arg(long, conflicts_with_all = ["rm", "prune", "filter", "quiet", "format", "inspect"])]
    create: bool,

    /// A label of the volume that is made
    #[arg(long, value_name = "NAME[=VALUE]", requires = "create")]
    label: Vec<String>,

    /// Remove volumes that no container uses
    #[arg(long, requires = "names", conflicts_with_all = ["prune", "filter", "quiet", "format", "inspect"])]
    rm: bool,

    /// With --rm, a volume that is not there is no error
    #[arg(short, long, requires = "rm")]
    force: bool,

    /// Remove all anonymous volumes that no container uses
    #[arg(long, conflicts_with_all = ["names", "quiet", "format", "inspect"])]
    prune: bool,

    /// With --prune, named volumes too
    #[arg(short, long, requires = "prune")]
    all: bool,

    /// Only those for which NAME=VALUE holds: dangling, driver, label, name
    #[arg(short = 'F', long, value_name = "NAME=VALUE")]
    filter: Vec<String>,

    /// Print only names
    #[arg(short, long)]
    quiet: bool,

    /// As docker shows them instead of records: table, json, a Go template, or table and a template
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,

    /// The object of docker volume inspect instead of a line of docker volume ls
    #[arg(long)]
    inspect: bool,

    /// Where images, volumes and containers are kept [default: /var/lib/dock]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
}

/// The volumes, and the containers that may use them.
struct Store {
    volumes: Volumes,
    containers: Containers,
}

fn main() -> ExitCode {
    toolkit::main(run)
}

#[expect(clippy::needless_pass_by_value, reason = "toolkit::main gives them away")]
fn run(args: Args, out: &mut Out) -> anyhow::Result<()> {
    let root = toolkit::root_dir(args.root.as_deref());
    if args.rm || args.prune {
        subids::enter_that_of(&root)?;
    }
    let store = Store { volumes: Volumes::new(&root), containers: Containers::new(&root, &toolkit::run_dir()) };
    let filters = Filters::parse(&args.filter, args.prune)?;
    match () {
        () if args.create => create(&store, &args, out),
        () if args.rm => remove(&store, &args, out),
        () if args.prune => prune(&store, &args, &filters, out),
        () => show::list(&store, &args, &filters, out),
    }
}

fn create(store: &Store, args: &Args, out: &mut Out) -> anyhow::Result<()> {
    let mut volume = match args.names.as_slice() {
        [] => Volume::anonymous(),
        [name] => Volume::named(bundle::volumes::check(name)?),
        _ => return Err(usage("--create makes one volume")),
    };
    for label in &args.label {
        let (name, value) = label.split_once('=').unwrap_or((label, ""));
        if name.is_empty() {
            return Err(usage(format!("--label {label}: want NAME=VALUE")));
        }
        volume.labels.insert(name.into(), value.into());
    }
    let _guard = store.volumes.guard(false)?;
    store.volumes.create(&volume, |_| Ok(()))?;
    out.text(&format!("{}\n", volume.name))
}

fn remove(store: &Store, args: &Args, out: &mut Out) -> anyhow::Result<()> {
    let guard = store.volumes.guard(true)?;
    let mut failed = Failures::of("ctr-vol");
    for name in &args.names {
        match store.volumes.find(name) {
            Err(bundle::Error::NoVolume(_)) if args.force => {}
            Err(error) => {
                failed.add(error.into());
                continue;
            }
            Ok(volume) => {
                let users = store.volumes.users(&store.containers, &volume.name)?;
                if !users.is_empty() {
                    failed.add(anyhow!("remove {name}: volume is in use - [{}]", users.join(", ")));
                    continue;
                }
                store.volumes.remove(&guard, &volume.name)?;
            }
        }
        out.text(&format!("{name}\n")).and_then(|()| out.finish())?;
    }
    failed.finish()
}

/// Names of those removed, one a line, then what that freed as docker says it.
fn prune(store: &Store, args: &Args, filters: &Filters, out: &mut Out) -> anyhow::Result<()> {
    let guard = store.volumes.guard(true)?;
    store.volumes.sweep(&guard)?;
    let (mut removed, mut freed) = (String::new(), 0);
    for volume in store.volumes.list()? {
        let spared = !args.all && !filters.all && !volume.is_anonymous();
        if spared
            || !filters.let_pass(store, &volume)?
            || !store.volumes.users(&store.containers, &volume.name)?.is_empty()
        {
            continue;
        }
        freed += show::size(&store.volumes.data(&volume.name));
        store.volumes.remove(&guard, &volume.name)?;
        removed.extend([volume.name.as_str(), "\n"]);
    }
    if !removed.is_empty() {
        out.text(&format!("Deleted Volumes:\n{removed}\n"))?;
    }
    out.text(&format!("Total reclaimed space: {}\n", table::size_with(freed, 4)))
}

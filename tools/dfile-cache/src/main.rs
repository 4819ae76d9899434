//! Lists what the build cache holds, and removes what nobody has used for long.
//!
//! Mechanism: a cache wants an owner who throws things away. A step that was built is an image without a name, kept by
//! a file whose name is the step's key and whose time is that of its last use; a cache mount is a directory under a
//! lock. Removing a step is removing that file, and then sweeping the blobs that nothing reaches any more. By hand:
//!
//! ```sh
//! ls -lt /var/lib/dock/images/.dock/pins /var/lib/dock/cache/mounts             # what there is, by its last use
//! find /var/lib/dock/images/.dock/pins -name 'build-*' -mmin +1440 -delete      # steps unused for a day
//! flock -n /var/lib/dock/cache/mounts/npm rm -rf /var/lib/dock/cache/mounts/npm # a cache mount, unless it is in use
//! img-rm --prune                                                                # the sweep
//! ```
//!
//! Read docker-builder-prune(1), dfile-build(1), flock(2).

#![forbid(unsafe_code)]

mod entry;
mod filter;
mod show;
mod sweep;

use clap::Parser;
use entry::Entry;
use filter::Filter;
use oci_layout::Layout;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use toolkit::Out;

/// List the build cache and remove what is old in it
#[derive(Debug, Parser)]
#[command(name = "dfile-cache", version, about)]
struct Args {
    /// Remove what is not in use, and say what that frees
    #[arg(long, conflicts_with_all = ["format", "quiet"])]
    prune: bool,
    /// With --prune, also the steps whose layer an image with a name has
    #[arg(short, long, requires = "prune")]
    all: bool,
    /// Only what matches: until=TIME (not used since), type=regular|exec.cachemount|failed|source.http, id=ID
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<Filter>,
    /// With --prune, leave so much of what was used last: bytes, or as 10GB
    #[arg(long, value_name = "SIZE", requires = "prune", value_parser = filter::bytes)]
    keep_storage: Option<u64>,
    /// Print only IDs
    #[arg(short, long)]
    quiet: bool,
    /// As docker shows it instead of records: table, json, a Go template, or table and a template
    #[arg(long, value_name = "FORMAT", conflicts_with = "quiet")]
    format: Option<String>,
    /// Where images and caches are kept [default: /var/lib/dock]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
}

fn main() -> ExitCode {
    toolkit::main(run)
}

#[expect(clippy::needless_pass_by_value, reason = "toolkit::main gives them away")]
fn run(args: Args, out: &mut Out) -> anyhow::Result<()> {
    let root = toolkit::root_dir(args.root.as_deref());
    // What a RUN of an ordinary user's build wrote into a cache may belong to IDs of its user namespace.
    subids::enter_that_of(&root)?;
    let layout = open(&root)?;
    let mut entries = entry::all(&root, layout.as_ref())?;
    entries.retain(|entry| args.filter.iter().all(|filter| filter.lets(entry)));
    if args.prune {
        let doomed = doomed(entries, &args);
        return sweep::prune(&root, layout.as_ref(), &doomed, out);
    }
    show::list(&entries, &args, out)
}

/// The store that nobody has used yet has no cache.
fn open(root: &Path) -> anyhow::Result<Option<Layout>> {
    let dir = root.join("images");
    Ok(if dir.exists() { Some(Layout::open(&dir)?) } else { None })
}

/// What is to go, the longest unused first. As in BuildKit, what an image shares is kept without --all: removing it
/// frees nothing.
fn doomed(mut entries: Vec<Entry>, args: &Args) -> Vec<Entry> {
    let mut total: u64 = entries.iter().map(|entry| entry.size).sum();
    entries.retain(|entry| !entry.in_use && (args.all || !entry.shared));
    entries.sort_by_key(|entry| entry.used);
    entries.retain(|entry| {
        let goes = args.keep_storage.is_none_or(|keep| total > keep);
        if goes {
            total -= entry.size;
        }
        goes
    });
    entries
}

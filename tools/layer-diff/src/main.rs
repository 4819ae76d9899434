//! A layer is what one tree has and another has not, as a tar; what is gone stands in it as a whiteout, an empty
//! file `.wh.NAME`:
//!
//! ```sh
//! rsync -rlptgoD --checksum --itemize-changes --dry-run --delete upper/ lower/     # what changed
//! tar -C upper -cf layer.tar --no-recursion -T changed-and-new                  # what to add
//! ```
//!
//! For a container on an overlay mount nothing has to be compared: its upper directory is the difference, with
//! whiteouts as character devices 0:0, and only its form changes:
//!
//! ```sh
//! find box/upper -type c -exec stat -c '%t:%T %n' {} + | sed -n 's/^0:0 //p'       # what is gone
//! getfattr -R -n trusted.overlay.opaque box/upper                               # what was emptied first
//! ```
//!
//! Read overlay in the kernel's Documentation/filesystems, tar(5), mknod(2), and the OCI image specification's
//! layer.md.

#![forbid(unsafe_code)]

mod list;
mod sides;
mod write;

use clap::{Parser, ValueEnum};
use layer_tar::{ChangeList, Compare, codec};
use std::path::PathBuf;
use std::process::ExitCode;
use toolkit::Out;

/// Write the difference of two trees as one layer
#[derive(Debug, Parser)]
#[command(name = "layer-diff", version, about, override_usage = "layer-diff [OPTIONS] [LOWER UPPER | BUNDLE]")]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of the command line")]
struct Args {
    /// Two directories; or a bundle; or nothing, for a bundle record on stdin
    #[arg(value_name = "DIR", num_args = 0..=2)]
    dirs: Vec<PathBuf>,
    /// Print what was added (A), changed (C) and deleted (D), instead of a layer
    #[arg(long)]
    list: bool,
    /// How --list prints: docker's lines, or one JSON object a line
    #[arg(long, value_enum, default_value_t = Format::Text, requires = "list")]
    format: Format,
    /// The whole tree as one layer, as if there were nothing below it
    #[arg(long)]
    whole: bool,
    /// With --whole, a copy instead of a layer: a name that begins with .wh. is a name as any other
    #[arg(long, requires = "whole", conflicts_with_all = ["list", "layout"])]
    any_name: bool,
    /// Compare the content of files whose size and time are equal
    #[arg(long)]
    checksum: bool,
    /// Leave out a path, and everything below it; may be repeated
    #[arg(long, value_name = "PATH")]
    exclude: Vec<PathBuf>,
    /// How to compress: none on stdout, gzip in a layout, unless said otherwise
    #[arg(long, value_enum, conflicts_with = "list")]
    compress: Option<Compress>,
    /// Store the layer in this image layout, and print its record
    #[arg(long, value_name = "DIR", conflicts_with = "list")]
    layout: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Compress {
    None,
    Gzip,
    Zstd,
}

impl From<Compress> for codec::Compression {
    fn from(compress: Compress) -> Self {
        match compress {
            Compress::None => Self::None,
            Compress::Gzip => Self::Gzip,
            Compress::Zstd => Self::Zstd,
        }
    }
}

fn main() -> ExitCode {
    toolkit::main(run)
}

#[expect(clippy::needless_pass_by_value, reason = "the signature of every run")]
fn run(args: Args, out: &mut Out) -> anyhow::Result<()> {
    if !args.list && args.layout.is_none() {
        toolkit::refuse_terminal("a layer")?;
    }
    let sides = sides::choose(&args.dirs, args.whole)?;
    let compare = Compare { content: args.checksum, exclude: sides::relative(&args.exclude), any_name: args.any_name };
    let latest = write::source_date_epoch()?;
    if args.list {
        let mut changes = ChangeList::default();
        sides.diff(&compare, &mut changes)?;
        return list::print(&changes.0, args.format == Format::Json, out);
    }
    if let Some(layout) = &args.layout {
        let compression = args.compress.unwrap_or(Compress::Gzip).into();
        let record = write::to_layout(&sides, &compare, layout, compression, latest)?;
        return out.record(&record.into());
    }
    toolkit::widen_pipe(std::io::stdout());
    write::to_stream(&sides, &compare, out.bytes(), args.compress.unwrap_or(Compress::None).into(), latest)
}

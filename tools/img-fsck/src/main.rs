//! img-fsck: is every image of a layout whole? And if not, can it be made whole? A sink.
//!
//! The lesson: a layout is a tree of digests, so it can be checked to the last bit: from `index.json` down, every
//! descriptor must find its blob, of its size, of its digest, of its media type; and every layer must uncompress
//! to the diff ID that the configuration has for it. What nothing points to is garbage, not damage. By hand:
//!
//!     cd blobs/sha256 && for f in *; do echo "$f  $f"; done | sha256sum -c
//!     zcat <layer> | sha256sum                                      # the diff ID
//!
//! For the same reason a blob can be mended with the bytes of anybody who has some of this digest.
//!
//! Read: OCI image-spec descriptor.md, image-layout.md, config.md.

#![forbid(unsafe_code)]

mod repair;
mod uncompress;

use anyhow::Context;
use bundle::Layers;
use clap::Parser;
use oci_layout::{Class, Finding, Layout, Severity, Summary};
use repair::Source;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use toolkit::{Failure, Out, WithHint};
use uncompress::diff_id;
use wire::exit;

/// Check every descriptor, blob and name of a layout
#[derive(Debug, Parser)]
#[command(name = "img-fsck", version, about)]
struct Args {
    /// Fail on warnings, too: orphaned blobs, temporary files that were left
    #[arg(long)]
    strict: bool,
    /// Mend what can be mended: a damaged index.json, and blobs that a source has
    #[arg(long)]
    repair: bool,
    /// With --repair: a layout, an archive (- is stdin), or an image of a registry, with good blobs; may be repeated
    #[arg(long, value_name = "SOURCE", requires = "repair")]
    from: Vec<String>,
    /// Print nothing on stderr when all is well
    #[arg(short, long)]
    quiet: bool,
    /// The image layout [default: images below the root]
    layout: Option<PathBuf>,
}

fn main() -> ExitCode {
    toolkit::main(run)
}

#[expect(clippy::needless_pass_by_value, reason = "toolkit::main gives them away")]
fn run(args: Args, out: &mut Out) -> anyhow::Result<()> {
    let path = toolkit::layout_dir(args.layout.as_deref());
    if args.layout.is_none() && !path.exists() {
        return Ok(());
    }
    let layout = Layout::open(&path)?;
    let sources = args.from.iter().map(|text| Source::of(text)).collect::<Result<Vec<_>, _>>()?;
    let mut summary = if args.repair { repaired(&layout, &args, &sources, out)? } else { checked(&layout, out)? };
    if args.layout.is_none() {
        summary.warnings += unpacked(&layout, out)?;
    }
    out.finish()?;
    verdict(&args, &path, &summary)
}

/// One check; each finding is printed when it is found.
fn checked(layout: &Layout, out: &mut Out) -> anyhow::Result<Summary> {
    let mut printed = Ok(());
    let mut report = |finding: Finding| {
        if printed.is_ok() {
            printed = print(&finding, None, out);
        }
    };
    let summary = layout.fsck(&diff_id, &mut report).with_context(|| layout.path().display().to_string())?;
    printed?;
    Ok(summary)
}

/// Unpacked layers beside our own images that no image and no bundle has. They are nobody's damage: img-rm takes
/// them with it.
fn unpacked(layout: &Layout, out: &mut Out) -> anyhow::Result<usize> {
    // A layout that cannot be read does not say whose they are.
    let Ok(wanted) = layout.chain_ids() else { return Ok(0) };
    let unused = Layers::new(&toolkit::root_dir(None)).unused(&wanted)?;
    for chain_id in &unused {
        let message = "an unpacked layer that no image and no bundle has";
        let line = serde_json::json!({
            "severity": Severity::Warning, "class": "unpacked", "name": chain_id.to_string(), "message": message,
        });
        out.text(&format!("{line}\n"))?;
    }
    Ok(unused.len())
}

/// Checks and mends in turn until nothing more comes of it: a manifest that is whole again names further blobs.
fn repaired(layout: &Layout, args: &Args, sources: &[Source], out: &mut Out) -> anyhow::Result<Summary> {
    let shown = || layout.path().display().to_string();
    rebuild_index(layout, out).with_context(shown)?;
    // Also sweeps the temporary files of the dead.
    Layout::open_or_create(layout.path())?;
    // From the first good blob until the check that has seen all of them, nobody collects.
    let _hold = layout.hold().with_context(shown)?;
    let mut opened = Vec::new();
    loop {
        let mut findings = Vec::new();
        let summary = layout.fsck(&diff_id, &mut |finding| findings.push(finding)).with_context(shown)?;
        let mut wanted = repair::wanted(&findings);
        let mut any = false;
        for (at, source) in sources.iter().enumerate() {
            if wanted.is_empty() {
                break;
            }
            if opened.len() == at {
                // One that cannot be had does not keep the others.
                let tell = |error| toolkit::say(&format!("img-fsck: {}: {error:#}", args.from[at]));
                opened.push(source.open(layout, &wanted).map_err(tell).ok());
            }
            let Some(source) = &opened[at] else { continue };
            let mended = repair::mend(layout, source, &wanted);
            for finding in findings.extract_if(.., |f| f.digest.as_ref().is_some_and(|d| mended.contains(d))) {
                print(&finding, Some(&args.from[at]), out)?;
            }
            any |= !mended.is_empty();
            wanted = wanted.difference(&mended).cloned().collect();
        }
        if !any {
            findings.iter().try_for_each(|finding| print(finding, None, out))?;
            return Ok(summary);
        }
    }
}

fn rebuild_index(layout: &Layout, out: &mut Out) -> anyhow::Result<()> {
    let Some(rebuilt) = layout.rebuild_index()? else { return Ok(()) };
    let old = rebuilt.old.map_or("there was none".into(), |old| format!("the old one is {}", old.display()));
    let (kept, found) = (rebuilt.kept, rebuilt.found);
    let finding = Finding {
        severity: Severity::Error,
        class: Class::Index,
        digest: None,
        name: Some("index.json".into()),
        message: format!("made anew with {kept} entries of the old one and {found} images that had lost theirs; {old}"),
    };
    print(&finding, Some("blobs"), out)
}

/// A line of JSON; `from` is where a cure came from.
fn print(finding: &Finding, from: Option<&str>, out: &mut Out) -> anyhow::Result<()> {
    let mut line = serde_json::to_value(finding)?;
    if let (Some(from), Some(members)) = (from, line.as_object_mut()) {
        members.insert("repaired".into(), from.into());
    }
    out.text(&format!("{line}\n"))
}

fn verdict(args: &Args, path: &Path, summary: &Summary) -> anyhow::Result<()> {
    let Summary { images, blobs, bytes, errors, warnings } = summary;
    let path = path.display();
    let text = format!("{path}: {images} images, {blobs} blobs, {bytes} bytes: {errors} errors, {warnings} warnings");
    if *errors > 0 || (args.strict && *warnings > 0) {
        let failed = Err(Failure::with_code(exit::FAILED, text));
        return if *errors > 0 && !args.repair { failed.hint(how_to_mend) } else { failed };
    }
    if !args.quiet {
        toolkit::say(&text);
    }
    Ok(())
}

fn how_to_mend() -> String {
    "img-fsck --repair --from LAYOUT, ARCHIVE or IMAGE takes good blobs from there".into()
}

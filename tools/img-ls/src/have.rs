//! `--have`: what this side need not be sent. Half of the talk that git has before a fetch, without the talk.

use anyhow::Context;
use oci_layout::Layout;
use toolkit::Out;
use wire::Have;

/// Prints the list of the blobs that images and the build cache reach: what the next img-rm sweeps is no promise.
/// Each size is that of the file, so that a blob that was cut is sent again.
pub fn print(layout: Option<&Layout>, out: &mut Out) -> anyhow::Result<()> {
    let have = layout.map(blobs).transpose()?.unwrap_or_default();
    let mut text = Vec::new();
    have.write(&mut text)?;
    out.text(&String::from_utf8(text)?)
}

fn blobs(layout: &Layout) -> anyhow::Result<Have> {
    let shown = || layout.path().display().to_string();
    let _hold = layout.hold_to_read().with_context(shown)?;
    let reached = layout.reached().with_context(shown)?;
    Ok(layout.blobs().with_context(shown)?.into_iter().filter(|(digest, _)| reached.contains(digest)).collect())
}

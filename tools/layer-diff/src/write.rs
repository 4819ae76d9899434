//! The layer: to stdout, or as a blob whose two digests come out of one pass.

use crate::sides::Sides;
use anyhow::Context;
use layer_tar::codec::{Compression, encoder};
use layer_tar::{Attribute, Compare, Copied, LayerWriter};
use oci_layout::{Hashed, Layout};
use serde_json::{Value, json};
use std::io::{BufWriter, Write};
use std::path::Path;
use wire::{WirePath, media_type};

/// `SOURCE_DATE_EPOCH`: no time in the layer is later, so that a build gives the same bytes tomorrow.
pub fn source_date_epoch() -> anyhow::Result<Option<i64>> {
    match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => Ok(Some(text.parse().with_context(|| format!("SOURCE_DATE_EPOCH={text}"))?)),
        Err(_) => Ok(None),
    }
}

/// Writes the layer to a stream.
pub fn to_stream(
    sides: &Sides,
    compare: &Compare,
    to: impl Write + Send,
    compression: Compression,
    latest: Option<i64>,
) -> anyhow::Result<()> {
    let to = encoder(compression, BufWriter::with_capacity(1 << 20, to)).context("<stdout>")?;
    let mut layer = LayerWriter::new(to, latest);
    sides.diff(compare, &mut layer)?;
    let mut to = layer.finish()?.finish().context("<stdout>")?;
    to.flush().context("<stdout>")
}

/// Stores the layer. The diff ID is the digest before compression, the blob's is the one after it.
pub fn to_layout(
    sides: &Sides,
    compare: &Compare,
    layout: &Path,
    compression: Compression,
    latest: Option<i64>,
) -> anyhow::Result<wire::Layer> {
    let layout = Layout::open_or_create(layout)?;
    // From the blob to its lease nobody may collect it: a printed digest is a promise, until img-append has used it.
    let _hold = layout.hold()?;
    let blob = layout.writer()?;
    let compressed = encoder(compression, blob)?;
    let mut layer = LayerWriter::new(BufWriter::with_capacity(1 << 18, Hashed::new(compressed)), latest);
    if sides.is_overlay() {
        layer = layer.counting_copies();
    }
    sides.diff(compare, &mut layer)?;
    let rest = layer.copied().filter(|copied| copied.files > 0).map(|copied| ("copied".to_owned(), report(copied)));
    let hashed = layer.finish()?.into_inner().map_err(std::io::IntoInnerError::into_error)?;
    let (compressed, diff_id, _) = hashed.finish();
    let media_type = match compression {
        Compression::None => media_type::LAYER,
        Compression::Gzip => media_type::LAYER_GZIP,
        Compression::Zstd => media_type::LAYER_ZSTD,
    };
    let descriptor = compressed.finish()?.finish(media_type)?;
    layout.lease(&descriptor.digest)?;
    layout.sync()?;
    Ok(wire::Layer { layout: layout.path().into(), descriptor, diff_id, rest: rest.into_iter().collect() })
}

/// What the layer need not hold: how much, and what was changed that made the overlay mount copy it.
fn report(copied: &Copied) -> Value {
    let word = |what: &Attribute| match what {
        Attribute::Owner => "owner",
        Attribute::Mode => "mode",
        Attribute::Time => "time",
        Attribute::Link => "link",
    };
    let changed: Vec<&str> = copied.changed.iter().map(word).collect();
    let path = WirePath(Path::new("/").join(&copied.path));
    json!({"files": copied.files, "bytes": copied.bytes, "changed": changed, "largest": path})
}

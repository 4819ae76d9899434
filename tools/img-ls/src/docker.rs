//! The list as docker shows it: `--format`, and what a template finds in a line.

use crate::{Args, Row, id, name, size};
use jiff::{Timestamp, tz::TimeZone};
use oci_layout::OpenImage;
use serde_json::{Value, json};
use template::{Listing, Sheet};
use wire::{Reference, annotation};

const SHEET: Sheet = Sheet {
    kind: "*formatter.imageContext",
    headings: &[
        ("Containers", "CONTAINERS"),
        ("CreatedAt", "CREATED AT"),
        ("CreatedSince", "CREATED"),
        ("Digest", "DIGEST"),
        ("ID", "IMAGE ID"),
        ("Repository", "REPOSITORY"),
        ("SharedSize", "SHARED SIZE"),
        ("Size", "SIZE"),
        ("Tag", "TAG"),
        ("UniqueSize", "UNIQUE SIZE"),
        ("VirtualSize", "SIZE"),
    ],
};

const TABLE: &str = "table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}";
const WITH_DIGESTS: &str = "table {{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}";
const NONE: &str = "<none>";

/// What to print for `--quiet` and `--format`; None for records. As in docker a template counts more than `-q`.
pub fn listing(args: &Args) -> Result<Option<Listing>, template::Error> {
    let format = match args.format.as_deref() {
        None | Some("table") if args.quiet => "{{.ID}}",
        None => return Ok(None),
        Some("table") if args.digests => WITH_DIGESTS,
        Some("table") => TABLE,
        Some(format) => format,
    };
    Listing::parse(format).map(Some)
}

/// The whole list.
pub fn text(listing: &Listing, args: &Args, rows: &[Row]) -> Result<String, template::Error> {
    let now = Timestamp::now();
    let line = |row: &Row| template::Row { fields: fields(args, row, now), methods: Value::Null };
    let text = listing.render(&SHEET, &rows.iter().map(line).collect::<Vec<_>>())?;
    Ok(if listing.is_table() { table::align(&text) } else { text })
}

fn fields(args: &Args, row: &Row, now: Timestamp) -> Value {
    let reference = name(&row.entry).and_then(|name| name.parse::<Reference>().ok());
    // A foreign layout names images by a word of its own.
    let repository = match (&reference, name(&row.entry)) {
        (Some(reference), _) => reference.familiar_repository(),
        (None, other) => other.unwrap_or(NONE).to_owned(),
    };
    let tag = reference.as_ref().and_then(Reference::tag).unwrap_or(NONE);
    let digest = row.entry.annotation(annotation::SOURCE_DIGEST).map_or(row.entry.digest.to_string(), Into::into);
    let unknown = || "N/A".to_owned();
    let age = |created: Timestamp| table::ago((now.as_second() - created.as_second()).max(0).unsigned_abs());
    let in_zone = |at: Timestamp| at.to_zoned(TimeZone::system()).strftime("%F %T %z %Z").to_string();
    let in_words = |digits| move |image: &OpenImage| table::size_with(size(image), digits);
    json!({
        "Containers": unknown(),
        "CreatedAt": row.created.map_or_else(unknown, in_zone),
        "CreatedSince": row.created.map_or_else(unknown, age),
        "Digest": digest,
        "ID": if args.no_trunc { id(row).to_string() } else { id(row).short().to_owned() },
        "Repository": repository,
        "SharedSize": unknown(),
        "Size": row.image.as_ref().map_or_else(unknown, in_words(3)),
        "Tag": tag,
        "UniqueSize": unknown(),
        "VirtualSize": row.image.as_ref().map_or_else(unknown, in_words(4)),
    })
}

//! The cache as records, or as docker's list of it (`docker system df -v`).

use crate::Args;
use crate::entry::Entry;
use jiff::Timestamp;
use serde_json::{Value, json};
use template::{Listing, Row, Sheet};
use toolkit::{Out, usage};
use wire::FORMAT_VERSION;

const SHEET: Sheet = Sheet {
    kind: "*formatter.buildCacheContext",
    headings: &[
        ("Bytes", "BYTES"),
        ("Description", "DESCRIPTION"),
        ("ID", "CACHE ID"),
        ("InUse", "IN USE"),
        ("LastUsed", "LAST USED"),
        ("LastUsedSince", "LAST USED"),
        ("Shared", "SHARED"),
        ("Size", "SIZE"),
        ("Type", "CACHE TYPE"),
    ],
};

pub fn list(entries: &[Entry], args: &Args, out: &mut Out) -> anyhow::Result<()> {
    let format = match args.format.as_deref() {
        None if args.quiet => "{{.ID}}",
        None => return entries.iter().try_for_each(|entry| out.text(&format!("{}\n", record(entry)))),
        Some("table") => "table {{.ID}}\t{{.Type}}\t{{.Size}}\t{{.LastUsedSince}}\t{{.InUse}}\t{{.Shared}}",
        Some(format) => format,
    };
    let listing = Listing::parse(format).map_err(|error| usage(error.to_string()))?;
    let rows: Vec<Row> = entries.iter().map(row).collect();
    let text = listing.render(&SHEET, &rows)?;
    out.text(&if listing.is_table() { table::align(&text) } else { text })
}

fn time(entry: &Entry) -> Timestamp {
    Timestamp::try_from(entry.used).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn record(entry: &Entry) -> Value {
    json!({
        "formatVersion": FORMAT_VERSION,
        "kind": "cacheEntry",
        "id": entry.id,
        "type": entry.kind.word(),
        "size": entry.size,
        "lastUsed": time(entry).to_string(),
        "inUse": entry.in_use,
        "shared": entry.shared,
        "description": entry.description,
    })
}

fn row(entry: &Entry) -> Row {
    let seconds = Timestamp::now().as_second() - time(entry).as_second();
    let fields = json!({
        "Bytes": entry.size,
        "Description": entry.description,
        "ID": entry.id,
        "InUse": entry.in_use.to_string(),
        "LastUsed": time(entry).to_string(),
        "LastUsedSince": table::ago(u64::try_from(seconds).unwrap_or(0)),
        "Shared": entry.shared.to_string(),
        "Size": table::size(entry.size),
        "Type": entry.kind.word(),
    });
    Row { fields, methods: json!({}) }
}

//! Volumes as records, as docker's list and as docker's objects.

use crate::filter::Filters;
use crate::{Args, Store};
use bundle::Volume;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, openat, statat};
use serde_json::{Value, json};
use std::os::fd::OwnedFd;
use std::path::Path;
use template::{Listing, Sheet, Template};
use toolkit::{Out, usage};
use wire::FORMAT_VERSION;

const SHEET: Sheet = Sheet {
    kind: "*formatter.volumeContext",
    headings: &[
        ("Availability", "AVAILABILITY"),
        ("Driver", "DRIVER"),
        ("Group", "GROUP"),
        ("Labels", "LABELS"),
        ("Links", "LINKS"),
        ("Mountpoint", "MOUNTPOINT"),
        ("Name", "VOLUME NAME"),
        ("Scope", "SCOPE"),
        ("Size", "SIZE"),
        ("Status", "STATUS"),
    ],
};

/// Prints the volumes that were named, or all that pass.
pub fn list(store: &Store, args: &Args, filters: &Filters, out: &mut Out) -> anyhow::Result<()> {
    let wrong = |error: template::Error| usage(error.to_string());
    let all = match args.names.as_slice() {
        [] => store.volumes.list()?,
        names => names.iter().map(|name| store.volumes.find(name)).collect::<Result<_, _>>()?,
    };
    let mut volumes = Vec::new();
    for volume in all {
        if filters.let_pass(store, &volume)? {
            volumes.push(volume);
        }
    }
    if args.inspect {
        let template = match args.format.as_deref() {
            None | Some("json") => None,
            Some(format) => Some(Template::parse(format).map_err(wrong)?),
        };
        for volume in &volumes {
            let object = object(store, volume);
            let line = match (&template, &args.format) {
                (Some(template), _) => template.render(&object)?,
                (None, Some(_)) => object.to_string(),
                (None, None) => template::element(&object),
            };
            out.text(&(line + "\n"))?;
        }
        return Ok(());
    }
    let format = match args.format.as_deref() {
        None | Some("table") if args.quiet => "{{.Name}}",
        None => {
            return volumes.iter().try_for_each(|volume| out.text(&format!("{}\n", record(store, volume))));
        }
        Some("table") => "table {{.Driver}}\t{{.Name}}",
        Some(format) => format,
    };
    let listing = Listing::parse(format).map_err(wrong)?;
    let rows: Vec<_> = volumes.iter().map(|volume| row(store, volume)).collect();
    let text = listing.render(&SHEET, &rows)?;
    out.text(&if listing.is_table() { table::align(&text) } else { text })
}

fn record(store: &Store, volume: &Volume) -> Value {
    let mut record = json!({
        "formatVersion": FORMAT_VERSION,
        "kind": "volume",
        "name": volume.name,
        "path": wire::WirePath(store.volumes.data(&volume.name)),
        "labels": volume.labels,
    });
    if let Some(created) = &volume.created {
        record["created"] = created.as_str().into();
    }
    record
}

/// Docker's object; a volume without labels has none, not an empty list.
fn object(store: &Store, volume: &Volume) -> Value {
    json!({
        "CreatedAt": volume.created.as_deref().unwrap_or_default(),
        "Driver": "local",
        "Labels": if volume.labels.is_empty() { Value::Null } else { volume.labels.clone().into() },
        "Mountpoint": store.volumes.data(&volume.name).to_string_lossy(),
        "Name": volume.name,
        "Options": Value::Null,
        "Scope": "local",
    })
}

fn row(store: &Store, volume: &Volume) -> template::Row {
    let mut labels: Vec<String> =
        volume.labels.iter().map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default())).collect();
    labels.sort();
    let fields = json!({
        "Availability": "N/A",
        "Driver": "local",
        "Group": "N/A",
        "Labels": labels.join(","),
        "Links": "N/A",
        "Mountpoint": store.volumes.data(&volume.name).to_string_lossy(),
        "Name": volume.name,
        "Scope": "local",
        "Size": "N/A",
        "Status": "N/A",
    });
    template::Row { fields, methods: json!({ "Label": volume.labels }) }
}

/// The bytes of the files in a tree; a link is not followed, what cannot be read counts nothing.
pub fn size(dir: &Path) -> u64 {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut open: Vec<OwnedFd> = openat(CWD, dir, flags, Mode::empty()).into_iter().collect();
    let mut bytes = 0;
    while let Some(dir) = open.pop() {
        let Ok(entries) = Dir::read_from(&dir) else { continue };
        for entry in entries.flatten().filter(|entry| !matches!(entry.file_name().to_bytes(), b"." | b"..")) {
            let Ok(stat) = statat(&dir, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) else { continue };
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => open.extend(openat(&dir, entry.file_name(), flags, Mode::empty())),
                FileType::RegularFile => bytes += u64::try_from(stat.st_size).unwrap_or(0),
                _ => {}
            }
        }
    }
    bytes
}

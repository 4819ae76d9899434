//! The list as docker shows it: `--format`, and what a template finds in a line.

use crate::{Args, mounted, size, status};
use bundle::Found;
use jiff::{Timestamp, tz::TimeZone};
use serde_json::{Map, Value, json};
use template::{Listing, Sheet};

const SHEET: Sheet = Sheet {
    kind: "*formatter.ContainerContext",
    headings: &[
        ("Command", "COMMAND"),
        ("CreatedAt", "CREATED AT"),
        ("ID", "CONTAINER ID"),
        ("Image", "IMAGE"),
        ("Labels", "LABELS"),
        ("LocalVolumes", "LOCAL VOLUMES"),
        ("Mounts", "MOUNTS"),
        ("Names", "NAMES"),
        ("Networks", "NETWORKS"),
        ("Ports", "PORTS"),
        ("RunningFor", "CREATED"),
        ("Size", "SIZE"),
        ("State", "STATE"),
        ("Status", "STATUS"),
    ],
};

const TABLE: &str = "table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}";
const WITH_SIZE: &str =
    "table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}\t{{.Size}}";
/// Docker cuts the quoted command and the names of mounts here.
const COMMAND_WIDTH: usize = 20;
const MOUNT_WIDTH: usize = 15;

/// What to print for `--quiet`, `--size` and a `--format`; as in docker a template counts more than `-q`.
pub fn parse(args: &Args, format: &str) -> Result<Listing, template::Error> {
    Listing::parse(match format {
        "table" if args.quiet => "{{.ID}}",
        "table" if args.size => WITH_SIZE,
        "table" => TABLE,
        other => other,
    })
}

/// The whole list.
pub fn text(listing: &Listing, args: &Args, listed: &[Found]) -> anyhow::Result<String> {
    let now = Timestamp::now();
    let with_size = args.size || listing.names("Size");
    // The columns of docker ps need no other file of the bundle than those that are read already.
    let plain = matches!(args.format.as_deref(), None | Some("table"));
    let rows =
        listed.iter().map(|found| row(found, args, now, with_size, plain)).collect::<anyhow::Result<Vec<_>>>()?;
    let text = listing.render(&SHEET, &rows).map_err(|error| match error {
        // This list alone has other words for it.
        template::Error::Execute(cause) => anyhow::anyhow!("failed to execute template: {cause}"),
        parse @ template::Error::Parse(_) => parse.into(),
    })?;
    Ok(if listing.is_table() { table::align(&text) } else { text })
}

fn row(found: &Found, args: &Args, now: Timestamp, with_size: bool, plain: bool) -> anyhow::Result<template::Row> {
    let meta = &found.meta;
    let whole = args.no_trunc;
    let mut image = meta.image.clone().unwrap_or_default();
    if !whole && image.starts_with("sha256:") {
        image = image.chars().skip(7).take(12).collect();
    }
    let label = |(name, value): (&String, &Value)| format!("{name}={}", value.as_str().unwrap_or_default());
    let mut labels: Vec<_> = meta.labels.iter().map(label).collect();
    labels.sort();
    // A config.json that cannot be read leaves two columns empty: inspect says why, and the others are listed.
    let mounts = if plain { Vec::new() } else { mounted::mounts(&found.dir).unwrap_or_default() };
    let cut = |name: &str| if whole { name.to_owned() } else { table::clip(name, MOUNT_WIDTH) };
    let named = mounts.iter().map(|mount| cut(mount.name.as_deref().unwrap_or(&mount.source)));
    let created = meta.created.parse::<Timestamp>();
    let in_zone = |at: Timestamp| at.to_zoned(TimeZone::system()).strftime("%F %T %z %Z").to_string();
    let fields = json!({
        "Command": command(&meta.command, whole),
        "CreatedAt": created.map_or_else(|_| meta.created.clone(), in_zone),
        "ID": if whole { meta.id.clone() } else { meta.id[..12].to_owned() },
        "Image": image,
        "Labels": labels.join(","),
        "LocalVolumes": mounts.iter().filter(|mount| mount.name.is_some()).count().to_string(),
        "Mounts": named.collect::<Vec<_>>().join(","),
        "Names": meta.name,
        "Networks": if plain { "" } else { mounted::network(&found.dir).unwrap_or_default() },
        "Ports": "",
        "RunningFor": format!("{} ago", status::since(&meta.created, now)),
        "Size": if with_size { size::in_words(&found.dir)? } else { "0B".into() },
        "State": status::word(found.status),
        "Status": status::text(found, now),
    });
    let mut methods = Map::new();
    methods.insert("Label".into(), meta.labels.clone().into());
    Ok(template::Row { fields, methods: methods.into() })
}

/// As docker writes it: arguments with a blank between single quotes, all of it as Go quotes a text, so that
/// nothing in it reaches the terminal.
fn command(words: &[String], whole: bool) -> String {
    let quoted =
        |(at, word): (usize, &String)| if at > 0 && word.contains(' ') { format!("'{word}'") } else { word.clone() };
    let line = words.iter().enumerate().map(quoted).collect::<Vec<_>>().join(" ");
    let line = if whole { line } else { table::clip(&line, COMMAND_WIDTH) };
    let escaped = |c: char| match c {
        '"' | '\\' => format!("\\{c}"),
        '\n' => "\\n".into(),
        '\t' => "\\t".into(),
        '\r' => "\\r".into(),
        c if c.is_ascii_control() => format!("\\x{:02x}", u32::from(c)),
        c if c.is_control() => format!("\\u{:04x}", u32::from(c)),
        c => c.into(),
    };
    format!("\"{}\"", line.chars().map(escaped).collect::<Vec<_>>().concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_quoted_and_cut() {
        let words = |text: &str| -> Vec<String> { text.split(' ').map(Into::into).collect() };
        assert_eq!(command(&words("sh -c true"), false), "\"sh -c true\"");
        assert_eq!(command(&words("12345678901234567890"), false), "\"12345678901234567890\"");
        assert_eq!(command(&words("123456789012345678901"), false), "\"1234567890123456789…\"");
        assert_eq!(command(&words("123456789012345678901"), true), "\"123456789012345678901\"");
        assert_eq!(command(&["a\nb\u{1b}[0m".into()], false), "\"a\\nb\\x1b[0m\"");
        assert_eq!(command(&["sh".into(), "-c".into(), "echo \"hi\"".into()], true), r#""sh -c 'echo \"hi\"'""#);
    }
}

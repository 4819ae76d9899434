//! The columns of `docker stats`.

use crate::usage::Sample;
use bundle::Found;
use serde_json::json;
use std::io::IsTerminal;
use template::{Listing, Row, Sheet};

/// Docker's fields, in the order of its columns, and their headings.
const FIELDS: [(&str, &str); 8] = [
    ("ID", "CONTAINER ID"),
    ("Name", "NAME"),
    ("CPUPerc", "CPU %"),
    ("MemUsage", "MEM USAGE / LIMIT"),
    ("MemPerc", "MEM %"),
    ("NetIO", "NET I/O"),
    ("BlockIO", "BLOCK I/O"),
    ("PIDs", "PIDS"),
];

/// One container's line.
pub struct Shown {
    /// As it was named, else its ID.
    container: String,
    cells: [String; 8],
}

/// Of one that does not run everything is nothing.
pub fn row(found: &Found, operand: Option<&str>, now: &Sample, before: Option<&Sample>, whole: bool) -> Shown {
    let id = if whole { found.meta.id.clone() } else { found.meta.id[..12].to_owned() };
    let name = found.meta.name.clone();
    let pair = |(one, two): (u64, u64)| format!("{} / {}", table::size(one), table::size(two));
    let container = operand.unwrap_or(&id).to_owned();
    let cells = [
        id,
        name,
        percent(cpu(now, before)),
        format!("{} / {}", binary(now.memory), binary(now.memory_limit)),
        percent(ratio(now.memory, now.memory_limit)),
        pair(now.network),
        pair(now.block),
        now.pids.to_string(),
    ];
    Shown { container, cells }
}

/// Of one processor; two busy ones are 200.
fn cpu(now: &Sample, before: Option<&Sample>) -> f64 {
    let Some((before, (now_at, then))) = before.and_then(|before| Some((before, (now.at?, before.at?)))) else {
        return 0.0;
    };
    ratio(now.cpu.saturating_sub(before.cpu), u64::try_from((now_at - then).as_micros()).unwrap_or(0))
}

#[expect(clippy::cast_precision_loss, reason = "two digits of it are shown")]
fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}

fn percent(value: f64) -> String {
    format!("{value:.2}%")
}

/// `1.5MiB`: powers of 1024, four significant digits.
#[expect(clippy::cast_precision_loss, reason = "four digits of it are shown")]
fn binary(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let (mut value, mut unit) = (bytes as f64, 0);
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let decimals = match value {
        value if value < 10.0 => 3,
        value if value < 100.0 => 2,
        value if value < 1000.0 => 1,
        _ => 0,
    };
    let text = format!("{value:.decimals$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{}", UNITS[unit])
}

/// `table` alone is docker's columns.
pub fn parse(format: &str) -> anyhow::Result<Listing> {
    let columns = FIELDS.map(|(name, _)| format!("{{{{.{name}}}}}")).join("\t");
    let format = if format == "table" { format!("table {columns}") } else { format.to_owned() };
    Listing::parse(&format).map_err(|error| toolkit::usage(error.to_string()))
}

/// As a table, as JSON objects, or by a template.
pub fn render(rows: &[Shown], listing: &Listing) -> anyhow::Result<String> {
    let row = |shown: &Shown| {
        let mut fields = json!({ "Container": shown.container });
        for ((name, _), cell) in FIELDS.iter().zip(&shown.cells) {
            fields[*name] = cell.as_str().into();
        }
        Row { fields, ..Row::default() }
    };
    let rows: Vec<Row> = rows.iter().map(row).collect();
    let text = listing.render(&Sheet { kind: "*container.statsContext", headings: &FIELDS }, &rows)?;
    Ok(if listing.is_table() { table::align(&text) } else { text })
}

/// Whether each look replaces the one before.
pub fn redraws() -> bool {
    std::io::stdout().is_terminal()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_in_powers_of_1024() {
        for (bytes, want) in
            [(0, "0B"), (1023, "1023B"), (1536, "1.5KiB"), (10 << 20, "10MiB"), (12_345_678, "11.77MiB")]
        {
            assert_eq!(binary(bytes), want);
        }
    }
}

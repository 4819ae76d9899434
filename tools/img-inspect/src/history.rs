//! The history, joined with the layers that its entries made.

use crate::Args;
use jiff::{Timestamp, tz::TimeZone};
use oci_layout::OpenImage;
use serde_json::{Map, Value, json};
use template::{Listing, Sheet};

/// One step of how an image came to be.
#[derive(Debug)]
pub struct Step {
    /// Of the newest step only: the image that it made.
    id: Option<String>,
    created: Option<String>,
    created_by: String,
    comment: String,
    size: u64,
    empty: bool,
}

/// The steps, the newest first. The entries that are not empty take the layers in turn; layers that the history
/// does not tell of come at its end.
pub fn steps(image: &OpenImage) -> Vec<Step> {
    let mut layers = image.manifest.layers.iter().map(|layer| layer.size);
    let entries = image.config.get("history").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut steps: Vec<Step> = entries.iter().map(|entry| step(entry, &mut layers)).collect();
    steps.extend(layers.map(|size| Step { size, ..step(&Value::Null, &mut std::iter::empty()) }));
    if let Some(newest) = steps.last_mut() {
        newest.id = Some(image.id().to_string());
    }
    steps.reverse();
    steps
}

fn step(entry: &Value, layers: &mut impl Iterator<Item = u64>) -> Step {
    let text = |name: &str| entry.get(name).and_then(Value::as_str).map(str::to_owned);
    let empty = entry.get("empty_layer") == Some(&Value::Bool(true));
    Step {
        id: None,
        created: text("created"),
        created_by: text("created_by").unwrap_or_default(),
        comment: text("comment").unwrap_or_default(),
        size: if empty { 0 } else { layers.next().unwrap_or(0) },
        empty,
    }
}

impl Step {
    /// One line of the list.
    pub fn json(&self) -> Value {
        let mut line = Map::new();
        for (name, text) in [("id", &self.id), ("created", &self.created)] {
            if let Some(text) = text {
                line.insert(name.into(), text.as_str().into());
            }
        }
        line.insert("createdBy".into(), self.created_by.as_str().into());
        line.insert("size".into(), self.size.into());
        line.insert("comment".into(), self.comment.as_str().into());
        line.insert("emptyLayer".into(), self.empty.into());
        line.into()
    }
}

const SHEET: Sheet = Sheet {
    kind: "*image.historyContext",
    headings: &[
        ("Comment", "COMMENT"),
        ("CreatedAt", "CREATED AT"),
        ("CreatedBy", "CREATED BY"),
        ("CreatedSince", "CREATED"),
        ("ID", "IMAGE"),
        ("Size", "SIZE"),
    ],
};

/// Docker's columns.
pub fn table(human: bool) -> &'static str {
    if human {
        "table {{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}"
    } else {
        "table {{.ID}}\t{{.CreatedAt}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}"
    }
}

/// The steps as docker shows them.
pub fn text(listing: &Listing, steps: &[Step], args: &Args) -> Result<String, template::Error> {
    let now = Timestamp::now();
    let row = |step: &Step| template::Row { fields: fields(step, args, now), methods: Value::Null };
    let text = listing.render(&SHEET, &steps.iter().map(row).collect::<Vec<_>>())?;
    Ok(if listing.is_table() { table::align(&text) } else { text })
}

fn fields(step: &Step, args: &Args, now: Timestamp) -> Value {
    let id = match &step.id {
        Some(id) if args.no_trunc => id,
        Some(id) => id.split_once(':').and_then(|(_, hex)| hex.get(..12)).unwrap_or(id),
        None => "<missing>",
    };
    let created = step.created.as_ref().and_then(|text| text.parse::<Timestamp>().ok());
    let age = |created: Timestamp| table::ago((now.as_second() - created.as_second()).max(0).unsigned_abs());
    let in_zone =
        |at: Timestamp| at.to_zoned(TimeZone::system()).strftime("%FT%T%:z").to_string().replace("+00:00", "Z");
    let by: String = step.created_by.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    json!({
        "Comment": step.comment,
        "CreatedAt": created.map_or("N/A".into(), in_zone),
        "CreatedBy": if args.no_trunc { by } else { table::clip(&by, 45) },
        "CreatedSince": created.map_or("N/A".into(), age),
        "ID": id,
        "Size": if args.human { table::size(step.size) } else { step.size.to_string() },
    })
}

//! What a list looks like: docker's columns and templates, and the filters of docker search.

use registry::Found;
use serde_json::{Value, json};
use std::str::FromStr;
use template::{Error, Listing, Row, Sheet};

/// Docker cuts descriptions here.
const DESCRIPTION: usize = 45;

const FOUND: Sheet = Sheet {
    kind: "*formatter.searchContext",
    headings: &[
        ("Name", "NAME"),
        ("Description", "DESCRIPTION"),
        ("StarCount", "STARS"),
        ("IsOfficial", "OFFICIAL"),
        ("IsAutomated", "AUTOMATED"),
    ],
};
const TAGS: Sheet = Sheet { kind: "*formatter.tagContext", headings: &[("Repository", "REPOSITORY"), ("Tag", "TAG")] };

/// Repositories that a search found.
pub fn found(format: &str, found: &[Found], whole: bool) -> Result<String, Error> {
    let row = |found: &Found| {
        json!({
            "Name": found.name,
            "Description": if whole { found.description.clone() } else { shorten(&found.description) },
            "StarCount": found.stars.to_string(),
            "IsOfficial": if found.official { "[OK]" } else { "" },
            "IsAutomated": "",
        })
    };
    let table = "table {{.Name}}\t{{.Description}}\t{{.StarCount}}\t{{.IsOfficial}}";
    list(if format == "table" { table } else { format }, &FOUND, found.iter().map(row))
}

/// Tags of one repository.
pub fn tags(format: &str, repository: &str, tags: &[String]) -> Result<String, Error> {
    let table = "table {{.Repository}}\t{{.Tag}}";
    let row = |tag: &String| json!({"Repository": repository, "Tag": tag});
    list(if format == "table" { table } else { format }, &TAGS, tags.iter().map(row))
}

fn list(format: &str, sheet: &Sheet<'_>, rows: impl Iterator<Item = Value>) -> Result<String, Error> {
    let listing = Listing::parse(format)?;
    let rows: Vec<Row> = rows.map(|fields| Row { fields, methods: Value::Null }).collect();
    let text = listing.render(sheet, &rows)?;
    Ok(if listing.is_table() { table::align(&text) } else { text })
}

fn shorten(text: &str) -> String {
    if text.chars().count() <= DESCRIPTION {
        return text.to_owned();
    }
    text.chars().take(DESCRIPTION - 1).chain(['…']).collect()
}

/// One `--filter` of docker search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    Official(bool),
    /// Docker no longer builds anybody's images: true is nobody.
    Automated(bool),
    Stars(u64),
}

impl FromStr for Filter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (key, value) =
            text.split_once('=').ok_or("invalid argument: bad format of filter (expected name=value)")?;
        let invalid = || format!("invalid filter '{key}={value}'");
        let truth = || match value {
            "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            _ => Err(invalid()),
        };
        match key {
            "is-official" => truth().map(Self::Official),
            "is-automated" => truth().map(Self::Automated),
            "stars" => value.parse().map(Self::Stars).map_err(|_| invalid()),
            _ => Err(format!("invalid filter '{key}'")),
        }
    }
}

impl Filter {
    /// Whether the repository is listed.
    pub fn lets(self, found: &Found) -> bool {
        match self {
            Self::Official(wanted) => found.official == wanted,
            Self::Automated(wanted) => !wanted,
            Self::Stars(least) => found.stars >= least,
        }
    }
}

//! A list as docker prints it: one template a line, or a table with headings made from the same template.

use crate::{Error, Template};
use serde_json::Value;

/// One line of a list.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// What `.Name` finds, and what `json .` prints.
    pub fields: &'a Value,
    /// Docker's type of the line, which an error about a field names: `*formatter.ContainerContext`.
    pub kind: Option<&'a str>,
    /// Fields that take an argument, each an object to look it up in: `{"Label": {"a": "b"}}`.
    pub methods: &'a Value,
}

/// The value of a `--format` option.
#[derive(Debug, Clone)]
pub struct Listing {
    template: Template,
    table: bool,
}

impl Listing {
    /// Parses `TEMPLATE`, `table TEMPLATE` or `json`. `\t` and `\n` are a tab and a line feed.
    pub fn parse(format: &str) -> Result<Self, Error> {
        if format == "json" {
            return Ok(Self { template: Template::parse("{{json .}}")?, table: false });
        }
        let rest = format.strip_prefix("table").map(|rest| rest.trim_matches(' '));
        let text = rest.unwrap_or(format).replace("\\t", "\t").replace("\\n", "\n");
        Ok(Self { template: Template::parse(&text)?, table: rest.is_some() })
    }

    /// Whether the lines are a table: cells between tabs, to be aligned, below headings.
    pub fn is_table(&self) -> bool {
        self.table
    }

    /// The text, one line a row. `headings` has one for every field, and `methods` of `Row` to know of them.
    pub fn render(&self, headings: &Row, rows: &[Row]) -> Result<String, Error> {
        let mut text = String::new();
        if self.table {
            text.push_str(&self.template.run(headings, true)?);
            text.push('\n');
        }
        for row in rows {
            text.push_str(&self.template.run(row, false)?);
            text.push('\n');
        }
        Ok(text)
    }
}

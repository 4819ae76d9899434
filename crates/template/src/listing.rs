//! A list as docker prints it: one template a line, or a table with headings made from the same template.

use crate::call::For;
use crate::{Error, Template};
use serde_json::Value;

/// What a list is of.
#[derive(Debug, Clone, Copy)]
pub struct Sheet<'a> {
    /// Docker's type of a line, which an error about a field names: `*formatter.ContainerContext`.
    pub kind: &'a str,
    /// The heading of every field.
    pub headings: &'a [(&'a str, &'a str)],
}

/// One line of a list.
#[derive(Debug, Clone, Default)]
pub struct Row {
    /// What `.Name` finds, and what `json .` prints.
    pub fields: Value,
    /// Fields that take an argument, each an object to look it up in: `{"Label": {"a": "b"}}`.
    pub methods: Value,
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
        let rest = format.strip_prefix("table").map(|rest| rest.trim_matches(' '));
        let text = match rest {
            _ if format == "json" => "{{json .}}".into(),
            Some(rest) => unescaped(rest),
            None => unescaped(format),
        };
        Ok(Self { template: Template::parse(&text)?, table: rest.is_some() })
    }

    /// Whether the lines are a table: cells between tabs, to be aligned, below headings.
    pub fn is_table(&self) -> bool {
        self.table
    }

    /// Whether a field is asked for by its name: some cost more than others.
    pub fn names(&self, field: &str) -> bool {
        self.template.tree.sites.iter().any(|site| site.names.iter().any(|name| name == field))
    }

    /// The text, one line a row.
    pub fn render(&self, sheet: &Sheet, rows: &[Row]) -> Result<String, Error> {
        let mut text = String::new();
        if self.table {
            let headings = sheet.headings.iter().map(|(field, heading)| ((*field).to_owned(), Value::from(*heading)));
            text.push_str(&self.template.run(&headings.collect(), &For::Headings)?);
            text.push('\n');
        }
        for row in rows {
            let line = For::Row { kind: sheet.kind.into(), methods: row.methods.clone() };
            text.push_str(&self.template.run(&row.fields, &line)?);
            text.push('\n');
        }
        Ok(text)
    }
}

fn unescaped(format: &str) -> String {
    format.replace("\\t", "\t").replace("\\n", "\n")
}

//! `--filter`, as docker has it.

use crate::pattern::Pattern;
use crate::{Row, name};
use jiff::Timestamp;
use oci_layout::Layout;
use std::str::FromStr;

/// One filter as it was given.
#[derive(Debug, Clone)]
pub enum Filter {
    Dangling(bool),
    Reference(Pattern),
    Label(String, Option<String>),
    Before(String),
    Since(String),
}

impl FromStr for Filter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (key, value) = text.split_once('=').ok_or("want KEY=VALUE")?;
        match (key, value) {
            ("dangling", "true" | "1") => Ok(Self::Dangling(true)),
            ("dangling", "false" | "0") => Ok(Self::Dangling(false)),
            ("dangling", _) => Err(format!("dangling is true or false, not {value:?}")),
            ("reference", value) => value.parse().map(Self::Reference).map_err(|never| match never {}),
            ("label", value) => Ok(match value.split_once('=') {
                Some((key, value)) => Self::Label(key.into(), Some(value.into())),
                None => Self::Label(value.into(), None),
            }),
            ("before", image) => Ok(Self::Before(image.into())),
            ("since", image) => Ok(Self::Since(image.into())),
            _ => Err(format!("{key:?} is none of dangling, reference, label, before, since")),
        }
    }
}

/// A filter that has looked up the image which it names.
pub enum Resolved<'a> {
    Plain(&'a Filter),
    Before(Option<Timestamp>),
    Since(Option<Timestamp>),
}

/// Finds out when the images of before and since were made.
pub fn resolve<'a>(filters: &'a [Filter], layout: &Layout) -> anyhow::Result<Vec<Resolved<'a>>> {
    let created = |image: &str| anyhow::Ok(Row::of(layout, layout.find(image)?).created);
    let one = |filter: &'a Filter| match filter {
        Filter::Before(image) => created(image).map(Resolved::Before),
        Filter::Since(image) => created(image).map(Resolved::Since),
        plain => Ok(Resolved::Plain(plain)),
    };
    filters.iter().map(one).collect()
}

impl Resolved<'_> {
    /// Whether the image is listed.
    pub fn lets(&self, row: &Row) -> bool {
        match self {
            Self::Before(limit) => row.created.is_some() && row.created < *limit,
            Self::Since(limit) => row.created.is_some() && row.created > *limit,
            Self::Plain(Filter::Dangling(wanted)) => name(&row.entry).is_none() == *wanted,
            Self::Plain(Filter::Reference(pattern)) => pattern.matches(name(&row.entry)),
            Self::Plain(Filter::Label(key, value)) => {
                let label = row.image.as_ref().and_then(|image| image.config.get("config")?.get("Labels")?.get(key));
                label.is_some_and(|found| value.as_ref().is_none_or(|value| found == value.as_str()))
            }
            Self::Plain(Filter::Before(_) | Filter::Since(_)) => true,
        }
    }
}

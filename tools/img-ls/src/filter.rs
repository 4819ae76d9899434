//! `--filter`, with docker's meaning and docker's words for what is wrong with one.

use crate::pattern::Pattern;
use crate::{Row, name};
use jiff::{Timestamp, Zoned};
use oci_layout::Layout;
use toolkit::{WithHint, usage};

/// All filters of a command line.
#[derive(Debug, Default)]
pub struct Filters {
    dangling: Option<bool>,
    /// One of them has to match.
    references: Vec<Pattern>,
    /// All of them have to.
    labels: Vec<(String, Option<String>)>,
    before: Vec<String>,
    since: Vec<String>,
    until: Option<Timestamp>,
}

/// The same, after the images of before and since have been looked up.
pub struct Resolved<'a> {
    plain: &'a Filters,
    before: Vec<Option<Timestamp>>,
    since: Vec<Option<Timestamp>>,
}

impl Filters {
    /// Docker takes keys in any case.
    pub fn parse(given: &[String]) -> anyhow::Result<Self> {
        let mut filters = Self::default();
        for filter in given {
            let Some((key, value)) = filter.split_once('=') else {
                return Err(usage(format!("invalid argument {filter:?}: bad format of filter (expected name=value)")));
            };
            let (key, value) = (key.trim().to_ascii_lowercase(), value.trim());
            match key.as_str() {
                "dangling" => filters.dangling = Some(boolean(value)?),
                "reference" => filters.references.extend(value.parse::<Pattern>()),
                "label" => filters.labels.push(match value.split_once('=') {
                    Some((key, value)) => (key.into(), Some(value.into())),
                    None => (value.into(), None),
                }),
                "before" => filters.before.push(value.into()),
                "since" => filters.since.push(value.into()),
                "until" => filters.until = Some(time(value)?),
                _ => {
                    return Err(usage(format!("Invalid filter '{key}'")))
                        .hint(|| "filters are dangling, reference, label, before, since, until".into());
                }
            }
        }
        Ok(filters)
    }

    /// Finds out when the images of before and since were made.
    pub fn resolve(&self, layout: &Layout) -> anyhow::Result<Resolved<'_>> {
        let created = |image: &String| anyhow::Ok(Row::of(layout, layout.find(image)?).created);
        let all = |images: &[String]| images.iter().map(created).collect::<Result<_, _>>();
        Ok(Resolved { plain: self, before: all(&self.before)?, since: all(&self.since)? })
    }
}

fn boolean(value: &str) -> anyhow::Result<bool> {
    match value {
        "1" | "true" | "True" | "TRUE" => Ok(true),
        "0" | "false" | "False" | "FALSE" => Ok(false),
        _ => Err(usage(format!("Invalid filter 'dangling=[{value}]'"))),
    }
}

fn time(value: &str) -> anyhow::Result<Timestamp> {
    moment::parse(value, &Zoned::now()).map_err(|error| usage(error.to_string()))
}

impl Resolved<'_> {
    /// Whether the image is listed.
    pub fn let_pass(&self, row: &Row) -> bool {
        let Filters { dangling, references, labels, until, .. } = self.plain;
        let name = name(&row.entry);
        let has = |(key, value): &(String, Option<String>)| {
            let label = row.image.as_ref().and_then(|image| image.config.get("config")?.get("Labels")?.get(key));
            label.is_some_and(|found| value.as_ref().is_none_or(|value| found == value.as_str()))
        };
        let created = row.created;
        dangling.is_none_or(|wanted| name.is_none() == wanted)
            && (references.is_empty() || references.iter().any(|pattern| pattern.matches(name)))
            && labels.iter().all(has)
            && self.before.iter().all(|limit| created.is_some() && created < *limit)
            && self.since.iter().all(|limit| created.is_some() && created > *limit)
            && until.is_none_or(|limit| created.is_some_and(|created| created < limit))
    }
}

//! `--filter NAME=VALUE`, with docker's meaning: several of one name are alternatives, different names all hold.

use anyhow::bail;
use serde_json::Value;
use std::collections::BTreeMap;

#[derive(Debug, Default)]
pub struct Filters(BTreeMap<String, Vec<String>>);

impl Filters {
    pub fn parse(texts: &[String]) -> anyhow::Result<Self> {
        let mut filters = Self::default();
        for text in texts {
            match text.split_once('=') {
                Some((name @ ("container" | "event" | "image" | "label" | "type"), value)) => {
                    filters.0.entry(name.into()).or_default().push(value.into());
                }
                Some((name, _)) => bail!("invalid filter '{name}'"),
                None => bail!(
                    "invalid argument {text:?} for \"-f, --filter\" flag: bad format of filter (expected name=value)"
                ),
            }
        }
        Ok(filters)
    }

    pub fn let_pass(&self, event: &Value) -> bool {
        let attributes = &event["Actor"]["Attributes"];
        let is = |value: &Value, wanted: &str| value.as_str() == Some(wanted);
        self.0.iter().all(|(name, values)| {
            values.iter().any(|wanted| match name.as_str() {
                "container" => {
                    let id = event["Actor"]["ID"].as_str().unwrap_or_default();
                    is(&attributes["name"], wanted) || !wanted.is_empty() && id.starts_with(wanted.as_str())
                }
                "event" => is(&event["Action"], wanted),
                "image" => {
                    let image = attributes["image"].as_str().unwrap_or_default();
                    image == wanted || image.split_once(':').is_some_and(|(name, _)| name == wanted)
                }
                "label" => match wanted.split_once('=') {
                    Some((name, value)) => is(&attributes[name], value),
                    None => attributes.get(wanted).is_some(),
                },
                _ => is(&event["Type"], wanted),
            })
        })
    }
}

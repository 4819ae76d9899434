//! `--filter` of `docker image prune`.

use jiff::{Timestamp, Zoned};
use serde_json::Value;
use std::str::FromStr;

/// One filter. All must match.
#[derive(Debug, Clone)]
pub enum Filter {
    /// Made before this time.
    Until(Timestamp),
    /// Whether the image has the label, with this value if one is given.
    Label { wanted: bool, key: String, value: Option<String> },
}

impl FromStr for Filter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (key, value) = text.split_once('=').ok_or("want KEY=VALUE")?;
        let label = |wanted| {
            let (key, value) = value.split_once('=').map_or((value, None), |(key, value)| (key, Some(value.into())));
            Self::Label { wanted, key: key.into(), value }
        };
        match key {
            "until" => moment::parse(value, &Zoned::now()).map(Self::Until).map_err(|error| error.to_string()),
            "label" => Ok(label(true)),
            "label!" => Ok(label(false)),
            _ => Err(format!("Invalid filter '{key}'")),
        }
    }
}

impl Filter {
    /// Whether an image of this configuration is meant. Of one that cannot be read nothing is known.
    pub fn lets(&self, config: Option<&Value>) -> bool {
        match self {
            Self::Until(limit) => {
                let created = config.and_then(|config| config.get("created")?.as_str()?.parse::<Timestamp>().ok());
                created.is_some_and(|created| created < *limit)
            }
            Self::Label { wanted, key, value } => {
                let label = config.and_then(|config| config.get("config")?.get("Labels")?.get(key));
                let has = label.is_some_and(|found| value.as_ref().is_none_or(|value| found == value.as_str()));
                config.is_some() && has == *wanted
            }
        }
    }
}

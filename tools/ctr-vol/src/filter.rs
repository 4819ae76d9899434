//! `--filter NAME=VALUE`, with docker's meaning: several of one name are alternatives, but all labels have to hold.

use crate::Store;
use anyhow::bail;
use bundle::Volume;

#[derive(Debug, Default)]
pub struct Filters {
    dangling: Option<bool>,
    drivers: Vec<String>,
    names: Vec<String>,
    /// Name, value if one was given, and whether it must hold or must not.
    labels: Vec<(String, Option<String>, bool)>,
    /// `all=1`, of prune alone.
    pub all: bool,
}

impl Filters {
    pub fn parse(texts: &[String], prune: bool) -> anyhow::Result<Self> {
        let mut filters = Self::default();
        for text in texts {
            let Some((name, value)) = text.split_once('=') else {
                return Err(toolkit::usage(format!(
                    "invalid argument {text:?} for \"-f, --filter\" flag: bad format of filter (expected name=value)"
                )));
            };
            let (wanted, text) = (name != "label!", value.to_owned());
            match name.trim_end_matches('!') {
                "label" => {
                    let (name, value) =
                        value.split_once('=').map_or((value, None), |(name, value)| (name, Some(value)));
                    filters.labels.push((name.into(), value.map(Into::into), wanted));
                }
                "all" if prune => filters.all = switch(name, value)?,
                "dangling" if !prune => filters.dangling = Some(switch(name, value)?),
                "driver" if !prune => filters.drivers.push(text),
                "name" if !prune => filters.names.push(text),
                _ => bail!("invalid filter '{name}'"),
            }
        }
        Ok(filters)
    }

    pub fn let_pass(&self, store: &Store, volume: &Volume) -> anyhow::Result<bool> {
        let any = |list: &[String], holds: &dyn Fn(&String) -> bool| list.is_empty() || list.iter().any(holds);
        let label = |(name, value, wanted): &(String, Option<String>, bool)| {
            let there = volume.labels.get(name);
            let holds = there.is_some_and(|there| value.as_deref().is_none_or(|value| there.as_str() == Some(value)));
            holds == *wanted
        };
        let plain = any(&self.drivers, &|driver| driver == "local")
            && any(&self.names, &|name| volume.name.contains(name.as_str()))
            && self.labels.iter().all(label);
        Ok(match self.dangling {
            Some(wanted) if plain => store.volumes.users(&store.containers, &volume.name)?.is_empty() == wanted,
            _ => plain,
        })
    }
}

fn switch(name: &str, value: &str) -> anyhow::Result<bool> {
    match value {
        "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        _ => bail!("invalid filter '{name}=[{value}]'"),
    }
}

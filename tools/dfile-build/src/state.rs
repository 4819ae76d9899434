//! Where a stage stands between two of its instructions.

use anyhow::bail;
use dockerfile::Config;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use wire::{Descriptor, Platform, Record};

/// Where a stage stands.
#[derive(Debug, Clone)]
pub struct State {
    /// The image so far; none before the first layer of `FROM scratch`.
    pub image: Option<Descriptor>,
    pub config: Config,
    /// History entries that no image has yet.
    pub pending: Vec<Value>,
    /// ARGs in scope, in the order of their first declaration.
    pub args: Vec<String>,
    /// The values that ARGs gave and no later ENV replaced.
    pub values: BTreeMap<String, String>,
    pub platform: Option<Platform>,
    /// The configuration has changed, and no line of the history says so.
    pub stale: bool,
}

impl State {
    /// Before anything.
    pub fn nothing() -> Self {
        Self {
            image: None,
            config: Config::default(),
            pending: Vec::new(),
            args: Vec::new(),
            values: BTreeMap::new(),
            platform: None,
            stale: false,
        }
    }

    /// Of ENV and ARG the later one counts.
    pub fn lookup(&self, name: &str) -> Option<String> {
        let env = || self.config.env().into_iter().find(|(own, _)| own == name).map(|(_, value)| value);
        self.values.get(name).cloned().or_else(env)
    }

    /// ARGs as the history of a RUN has them: an unset one is empty.
    pub fn declared(&self) -> Vec<(String, String)> {
        self.args.iter().map(|name| (name.clone(), self.lookup(name).unwrap_or_default())).collect()
    }

    /// The variables of a command: the image's, and on top of them the ARGs.
    pub fn environment(&self) -> Vec<(String, String)> {
        let mut all = self.config.env();
        for (name, value) in &self.values {
            match all.iter_mut().find(|(own, _)| own == name) {
                Some(entry) => entry.1.clone_from(value),
                None => all.push((name.clone(), value.clone())),
            }
        }
        all
    }

    /// A change of the configuration alone.
    pub fn note(&mut self, line: &str) {
        self.pending.push(json!({"created_by": line, "empty_layer": true}));
    }

    /// The record of a new image: the state is now that image.
    pub fn advance(&mut self, record: Record) -> anyhow::Result<()> {
        let Record::Image(image) = record else { bail!("img-append: not an image record") };
        self.image = Some(image.descriptor);
        self.pending.clear();
        self.stale = false;
        Ok(())
    }

    pub fn parent(&self) -> String {
        self.image.as_ref().map_or_else(|| "scratch".into(), |image| image.digest.to_string())
    }
}

//! The image so far: made with `img-append`, named in a record, looked into before COPY writes on it.

use crate::below::Below;
use crate::board::lock;
use crate::builder::Builder;
use crate::cache::Key;
use crate::siblings;
use crate::state::State;
use anyhow::{Context, bail};
use bundle::Layers;
use serde_json::{Map, Value, json};
use std::process::Command;
use wire::{Descriptor, Image, Record};

/// What BuildKit writes into each line of a history; scanners know it by that.
const HISTORY_COMMENT: &str = "buildkit.dockerfile.v0";

/// The kernel takes no single argument of 128 KiB (execve(2), `MAX_ARG_STRLEN`).
pub const LONGEST_CHANGE: usize = 100_000;

impl Builder<'_> {
    /// `img-append` on the image so far, ready for the layer.
    pub fn append(&self, state: &State, entry: Option<&Value>, key: &Key) -> anyhow::Result<Command> {
        let mut history: Vec<Value> = state.pending.iter().chain(entry).cloned().collect();
        for entry in &mut history {
            entry["comment"] = HISTORY_COMMENT.into();
        }
        let mut change = json!({"config": state.config.members, "history": history});
        if let Some(author) = &state.config.author {
            change["author"] = author.as_str().into();
        }
        let mut command = self.build.siblings.on_layout("img-append");
        match &state.image {
            Some(image) => command.arg("--base").arg(image.digest.to_string()),
            None => command.args(["--base", "scratch"]),
        };
        if let (None, Some(platform)) = (&state.image, &state.platform) {
            command.arg("--platform").arg(platform.to_string());
        }
        let change = change.to_string();
        if change.len() > LONGEST_CHANGE {
            bail!("the configuration of the image is longer than {LONGEST_CHANGE} bytes");
        }
        command.args(["--change-json", &change, "--pin", key.as_str()]);
        Ok(command)
    }

    /// The image of a built stage: what is pending becomes one more image, without a layer.
    pub fn image_of(&mut self, stage: usize) -> anyhow::Result<Descriptor> {
        let turn = self.shared.board.turn(&format!("stage {stage}"));
        let _mine = lock(&turn);
        let mut state = self.built(stage)?;
        let changed = state.stale || !state.pending.is_empty() || state.image.is_none();
        if changed {
            let key = self.key(&state, &json!("end"));
            let found = if self.no_cache { None } else { self.find(&state, &key, false) };
            if let Some(image) = found {
                state.image = Some(image);
            } else {
                self.may_make()?;
                let record = siblings::transform(&mut self.append(&state, None, &key)?, None)?;
                state.advance(record)?;
            }
            state.pending.clear();
            state.stale = false;
            self.shared.board.put(stage, state.clone());
        }
        state.image.context("no image")
    }

    pub fn record(&self, state: &State) -> anyhow::Result<Record> {
        let descriptor = state.image.clone().context("the image is empty")?;
        let layout = self.build.layout.path().to_owned().into();
        Ok(Image { layout, reference: None, descriptor, rest: Map::new() }.into())
    }

    /// What the image holds, read once and then kept up to date by what is written.
    pub fn take_below(&mut self, state: &State) -> anyhow::Result<Below> {
        match &state.image {
            None => Ok(Below::default()),
            Some(image) => {
                let (below, store) = (std::mem::take(&mut self.below), Layers::new(self.build.siblings.root()));
                below.reach(&self.build.layout, &store, &self.build.layout.open_image(image, None)?)
            }
        }
    }

    pub fn keep_below(&mut self, state: &State, mut below: Below) -> anyhow::Result<()> {
        if let Some(image) = &state.image {
            below.written(&self.build.layout.open_image(image, None)?);
            self.below = below;
        }
        Ok(())
    }
}

//! What a builder asks the cache: the key of a step, and whether the image of that key is there.

use crate::board::lock;
use crate::builder::Builder;
use crate::cache::{self, Damaged, Key, Made};
use crate::state::State;
use anyhow::bail;
use serde_json::{Value, json};
use wire::{Descriptor, Platform};

impl Builder<'_> {
    /// The key of a step: everything before it, and `inputs`.
    pub fn key(&self, state: &State, inputs: &Value) -> Key {
        let key = Key::of(&json!({
            "parent": state.parent(),
            "config": state.config.members,
            "author": state.config.author,
            "pending": state.pending,
            "platform": state.platform.clone().unwrap_or_else(Platform::host).to_string(),
            "epoch": self.latest(),
            "step": inputs,
        }));
        lock(&self.shared.keys).push(key.as_str().into());
        key
    }

    /// The image of a key, ours or from elsewhere.
    pub fn find(&self, state: &State, key: &Key, or_parent: bool) -> Option<Descriptor> {
        if let Some(image) = cache::find(&self.build.layout, key, !self.looks_only) {
            self.note_use(key);
            return Some(image);
        }
        let made = Made { parent: state.image.as_ref(), config: &state.config.members, or_parent };
        let from = |source| cache::find_elsewhere(&self.build.layout, &self.build.siblings, source, key, &made).ok();
        self.build.elsewhere.iter().find_map(from)
    }

    /// For dfile-cache(1) only.
    pub fn note_use(&self, key: &Key) {
        if !self.looks_only {
            let _ = self.build.layout.note_use(key.as_str());
        }
    }

    /// The same without a look at the image: of a row of cached steps only the last is proven, for it has the layers
    /// of all. So the time of a cached build grows with its steps and not with their square.
    pub fn believe(&mut self, state: &State, key: &Key, or_parent: bool) -> Option<Descriptor> {
        if self.no_cache {
            return None;
        }
        let known = if self.careful { None } else { cache::known(&self.build.layout, key) };
        if known.is_some() {
            self.note_use(key);
            self.unproven.clone_from(&known);
            return known;
        }
        let found = self.find(state, key, or_parent);
        if found.is_some() {
            self.unproven = None;
        }
        found
    }

    /// Before anything is made of the image so far, and at the end of a stage.
    pub fn prove(&mut self) -> anyhow::Result<()> {
        match self.unproven.take() {
            Some(image) if !cache::is_whole(&self.build.layout, &image, !self.looks_only) => bail!(Damaged),
            _ => self.may_make(),
        }
    }

    /// Takes the step from the cache when it can.
    pub fn take_cached(&mut self, state: &mut State, key: &Key) -> anyhow::Result<bool> {
        let Some(image) = self.believe(state, key, false) else {
            self.prove()?;
            return Ok(false);
        };
        state.image = Some(image);
        state.pending.clear();
        state.stale = false;
        self.progress.cached();
        Ok(true)
    }
}

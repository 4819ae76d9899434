//! One stage after the other, one instruction after the other. A step that makes files asks the cache, else
//! makes an image with one more layer; what only changes the configuration waits for the next layer or the end.
//! What a builder does with each part of that is in the files base, step, run, copying, lookup.

use crate::below::Below;
use crate::board::Board;
use crate::build::Build;
use crate::progress::Progress;
use crate::source::Root;
use crate::variant::Variant;
use anyhow::bail;
use serde_json::Value;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use wire::Descriptor;

/// What builds one stage.
#[derive(Debug)]
pub struct Builder<'a> {
    pub build: &'a Build,
    pub variant: &'a Variant,
    pub shared: Arc<Shared>,
    /// At the step that runs now.
    pub progress: Progress,
    pub number: usize,
    pub no_cache: bool,
    pub below: Below,
    /// The image that the cache gave last, not looked at yet.
    pub unproven: Option<Descriptor>,
    /// Each image of the cache is looked at before it is taken.
    pub careful: bool,
    /// Only the cache is asked.
    pub looks_only: bool,
    /// Steps of the stage that are done.
    pub passed: usize,
    /// Before the name of each stage, where several platforms are built.
    pub head: String,
}

/// What the stages share.
#[derive(Debug, Default)]
pub struct Shared {
    pub board: Board,
    pub trees: Mutex<HashMap<String, Arc<Root>>>,
    pub used_args: Mutex<BTreeSet<String>>,
    /// Names that were pulled anew.
    pub pulled: Mutex<BTreeSet<String>>,
    /// Of steps that copied what is below them.
    pub copied: Mutex<Vec<Value>>,
    /// Cache keys of this build, as they were asked for.
    pub keys: Mutex<Vec<String>>,
}

impl<'a> Builder<'a> {
    /// For the stages of a target; `head` stands before the name of each.
    pub fn new(build: &'a Build, variant: &'a Variant, head: String) -> Self {
        Self {
            build,
            variant,
            shared: Arc::default(),
            progress: build.progress.clone(),
            number: 0,
            no_cache: build.wishes.args.caching.no_cache,
            below: Below::default(),
            unproven: None,
            careful: false,
            looks_only: false,
            passed: 0,
            head,
        }
    }

    /// The same for one stage.
    pub fn of_stage(&self, index: usize) -> Self {
        let stage = &self.variant.graph.stages[index];
        Self {
            shared: Arc::clone(&self.shared),
            number: index,
            no_cache: self.build.wishes.args.caching.is_off(stage.name.as_deref(), index),
            ..Self::new(self.build, self.variant, self.head.clone())
        }
    }

    /// No time in the image is later.
    pub fn latest(&self) -> Option<i64> {
        self.build.siblings.epoch
    }

    /// Asked before anything is made or fetched.
    pub fn may_make(&self) -> anyhow::Result<()> {
        if self.looks_only {
            bail!("not in the cache");
        }
        Ok(())
    }
}

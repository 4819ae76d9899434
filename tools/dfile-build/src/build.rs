//! One build: what all its stages share, and its course from the first step to the image.

use crate::args::{EPOCH, Wishes};
use crate::board::lock;
use crate::builder::Builder;
use crate::elsewhere::{Place, Source};
use crate::progress::Progress;
use crate::scratch::Scratch;
use crate::several;
use crate::siblings::Siblings;
use crate::source::Root;
use crate::variant::Variant;
use crate::{builtin, cache, inline};
use anyhow::Context;
use oci_layout::Layout;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;
use wire::Descriptor;

/// What stays the same for a whole build.
#[derive(Debug)]
pub struct Build {
    pub wishes: Wishes,
    pub siblings: Siblings,
    pub scratch: Scratch,
    pub layout: Layout,
    pub context: Arc<Root>,
    pub progress: Progress,
    /// Caches that are kept elsewhere.
    pub elsewhere: Vec<Source>,
}

/// What came out.
#[derive(Debug)]
pub struct Built {
    pub image: Descriptor,
    /// Of steps that copied what is below them.
    pub copied: Vec<Value>,
}

impl Build {
    /// Opens the caches to take from. One that cannot be read costs time and no build, as in docker.
    pub fn look_elsewhere(&mut self) {
        for place in &self.wishes.args.caching.cache_from {
            for platform in self.wishes.platforms() {
                let found = place.open(&self.layout, &self.siblings, platform.as_ref()).unwrap_or_else(|error| {
                    self.progress.words(&format!("warning: --cache-from: {error:#}"));
                    None
                });
                let is_of_one_platform = matches!(found, Some(Source::Inline(_)));
                self.elsewhere.extend(found);
                if !is_of_one_platform {
                    break;
                }
            }
        }
    }

    /// How many steps of each stage the cache has, from the first on. Nothing is made, fetched or written.
    pub fn cached_steps(&self, variant: &Variant, target: usize) -> anyhow::Result<HashMap<usize, usize>> {
        Ok(Builder::new(self, variant, String::new()).cached_steps(&variant.graph.needed(target)?))
    }

    /// Builds the target for each platform, keeps the steps where they are wanted, and makes one image of it.
    pub fn run(&self, variants: &[Variant], target: usize) -> anyhow::Result<Built> {
        let mut builders: Vec<_> = variants
            .iter()
            .map(|variant| {
                let head = variant.platform.as_ref().filter(|_| variants.len() > 1);
                Builder::new(self, variant, head.map(|platform| format!("{platform} ")).unwrap_or_default())
            })
            .collect();
        let mut images = Vec::new();
        for builder in &mut builders {
            images.push((builder.variant.platform.clone(), builder.build(target)?));
        }
        let asked: Vec<String> = builders.iter().flat_map(|builder| lock(&builder.shared.keys).clone()).collect();
        let keys = cache::by_content(&self.layout, &asked).into_iter().chain(asked).collect();
        let cache_to = &self.wishes.args.caching.cache_to;
        if self.wishes.builtin.inline_cache || cache_to.iter().any(Place::is_inline) {
            for (builder, (_, image)) in builders.iter().zip(&mut images) {
                inline::put(&self.layout, &self.siblings, &lock(&builder.shared.keys), image).context("--cache-to")?;
            }
        }
        for place in cache_to {
            place.keep(&self.layout, &self.siblings, &keys, &images).context("--cache-to")?;
        }
        let annotations = &self.wishes.args.annotation;
        for (_, image) in &mut images {
            several::annotate(&self.layout, &self.siblings, image, annotations).context("--annotation")?;
        }
        self.note_unused(&builders[0]);
        let image = several::joined(&self.layout, images, annotations).context("--annotation")?;
        let copied = builders.iter().flat_map(|builder| std::mem::take(&mut *lock(&builder.shared.copied))).collect();
        Ok(Built { image, copied })
    }

    fn note_unused(&self, builder: &Builder<'_>) {
        let used_args = lock(&builder.shared.used_args);
        let globals = &builder.variant.graph.globals;
        let used = |name: &String| {
            used_args.contains(name) || globals.contains_key(name) || name == EPOCH || builtin::is_one(name)
        };
        let unused: Vec<&str> = self.wishes.build_args.keys().filter(|name| !used(name)).map(String::as_str).collect();
        if !unused.is_empty() {
            self.progress.note(&format!("warning: no ARG declares --build-arg {}", unused.join(", ")));
        }
    }
}

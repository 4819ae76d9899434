//! A build cache that is kept elsewhere: what a machine has built, another one need not.
//!
//! In a directory it is an ordinary image layout, in which the name of each image is its key. In a registry it is an
//! index of those images, each with its key as an annotation:
//!
//! ```sh
//! img-pull --raw REF | jq -r '.manifests[].annotations["dev.dock.build.key"]'    # --cache-from type=registry,ref=REF
//! img-pull --pin KEY REPOSITORY@DIGEST                                           # for a step whose key is there
//! ```

use crate::cache::{COPIED, Key, Made};
use crate::inline::Inline;
use crate::siblings::{self, Siblings};
use anyhow::{Context, bail};
use oci_layout::Layout;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::str::FromStr;
use wire::{Descriptor, Image, Platform, Record, Reference, annotation, media_type};

/// On each manifest of a cache's index: the key of the step that made it.
const KEY: &str = "dev.dock.build.key";
const ARTIFACT: &str = "application/vnd.dock.build.cache.v1";

/// One `--cache-to` or `--cache-from`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    kind: Kind,
    /// Only the steps of the image itself, not those of the stages that it copies from.
    only_result: bool,
    /// A cache that cannot be written is no failure.
    ignore_error: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Local(PathBuf),
    Registry(Reference),
    /// In the image that is built.
    Inline,
}

/// A cache that was looked at.
#[derive(Debug)]
pub enum Source {
    Local(Layout),
    /// Its keys, and the manifests that they stand for.
    Registry(Reference, BTreeMap<String, Descriptor>),
    /// An image that says of what steps it was made.
    Inline(Box<Inline>),
}

impl FromStr for Place {
    type Err = String;

    /// `type=local,src=DIR`, `type=registry,ref=REF`; a name alone is one of a registry.
    fn from_str(text: &str) -> Result<Self, String> {
        let (mut kind, mut dir, mut name) = ("local", None, None);
        let (mut only_result, mut ignore_error) = (false, false);
        for field in text.split(',') {
            match field.split_once('=') {
                Some(("type", value)) => kind = value,
                Some(("src" | "dest", value)) => dir = Some(value),
                Some(("ref", value)) => name = Some(value),
                Some(("mode", "min")) => only_result = true,
                Some(("mode", "max")) => only_result = false,
                Some(("ignore-error", value)) => ignore_error = value == "true",
                // Layers are kept as they are.
                Some(("compression" | "oci-mediatypes" | "image-manifest" | "tag", _)) => {}
                Some(_) => return Err(format!("unexpected field '{field}'")),
                None => (kind, name) = ("registry", Some(field)),
            }
        }
        let kind = match (kind, dir, name) {
            ("local", Some(dir), _) if !dir.is_empty() => Kind::Local(dir.into()),
            ("registry", _, Some(name)) => {
                Kind::Registry(name.parse().map_err(|error: wire::ReferenceError| error.to_string())?)
            }
            ("inline", None, None) => Kind::Inline,
            ("local", ..) => return Err("want type=local with src=DIR or dest=DIR".into()),
            ("registry", ..) => return Err("want type=registry,ref=REF".into()),
            (other, ..) => return Err(format!("type={other} is not supported: want local, registry or inline")),
        };
        Ok(Self { kind, only_result, ignore_error })
    }
}

impl Place {
    pub fn is_inline(&self) -> bool {
        self.kind == Kind::Inline
    }

    /// What is there. That nothing is there yet is no error, and not even worth a word where it is a directory.
    pub fn open(
        &self,
        layout: &Layout,
        siblings: &Siblings,
        platform: Option<&Platform>,
    ) -> anyhow::Result<Option<Source>> {
        match &self.kind {
            Kind::Inline => bail!("type=inline: name the image: type=registry,ref=REF"),
            Kind::Local(dir) => Ok(Layout::open(dir).ok().map(Source::Local)),
            Kind::Registry(name) => {
                let mut pull = siblings.command("img-pull");
                let output =
                    pull.args(["--quiet", "--raw", "--"]).arg(name.to_string()).output().context("img-pull")?;
                siblings::check("img-pull", &output)?;
                let keys = keys(&output.stdout)?;
                if !keys.is_empty() {
                    return Ok(Some(Source::Registry(name.clone(), keys)));
                }
                let image = inline(name, layout, siblings, platform)?;
                Ok(Some(Source::Inline(Box::new(
                    image.with_context(|| format!("{}: holds no build cache", name.familiar()))?,
                ))))
            }
        }
    }

    /// Keeps the steps of a build, and everything that their images are made of.
    pub fn keep(
        &self,
        layout: &Layout,
        siblings: &Siblings,
        keys: &BTreeSet<String>,
        results: &[(Option<Platform>, Descriptor)],
    ) -> anyhow::Result<()> {
        let mut steps = Vec::new();
        for key in keys {
            if let Some(image) = layout.pinned(key)?
                && (!self.only_result || results.iter().any(|(_, result)| is_below(layout, &image, result)))
            {
                steps.push((key, image));
            }
        }
        let kept = match &self.kind {
            // The image has it.
            Kind::Inline => Ok(()),
            Kind::Local(dir) => keep_in(dir, layout, &steps).with_context(|| dir.display().to_string()),
            Kind::Registry(name) => push(name, layout, siblings, &steps),
        };
        if self.ignore_error { Ok(()) } else { kept }
    }
}

impl Source {
    /// Brings the image of a key into our store and keeps it under `pin`. What does not hash to its digest is not
    /// taken.
    pub fn bring(
        &self,
        layout: &Layout,
        siblings: &Siblings,
        key: &Key,
        made: &Made<'_>,
        pin: &str,
    ) -> anyhow::Result<Descriptor> {
        match self {
            Self::Inline(image) => {
                let image = image.bring(layout, key, made)?;
                layout.pin(pin, &image)?;
                Ok(image)
            }
            Self::Local(from) => {
                let mut image = from.find(key.as_str())?;
                take(from, layout, &image)?;
                image.annotations.shift_remove(annotation::REF_NAME);
                layout.pin(pin, &image)?;
                Ok(image)
            }
            Self::Registry(name, keys) => {
                let known = keys.get(key.as_str()).context("not there")?;
                let mut pull = siblings.on_layout("img-pull");
                pull.args(["--quiet", "--pin", pin, "--"]).arg(format!("{}@{}", name.repository(), known.digest));
                siblings::transform(&mut pull, None)?;
                let mut image = layout.pinned(pin)?.context("the pin is gone")?;
                image.annotations.extend(known.annotations.get_key_value(COPIED).map(|(k, v)| (k.clone(), v.clone())));
                Ok(image)
            }
        }
    }
}

/// An image with all its layers, which stays in our store as long as a step of it would.
fn inline(
    name: &Reference,
    layout: &Layout,
    siblings: &Siblings,
    platform: Option<&Platform>,
) -> anyhow::Result<Option<Inline>> {
    let pin = Key::of(&json!(["cache-from", name.to_string(), platform]));
    let mut pull = siblings.on_layout("img-pull");
    if let Some(platform) = platform {
        pull.arg("--platform").arg(platform.to_string());
    }
    siblings::transform(pull.args(["--quiet", "--pin", pin.as_str(), "--"]).arg(name.to_string()), None)?;
    let image = layout.pinned(pin.as_str())?.context("the pin is gone")?;
    let image = Inline::of(layout.open_image(&image, platform)?);
    if image.is_none() {
        layout.unpin(pin.as_str())?;
    }
    Ok(image)
}

/// Of an index that is a cache; none of what is something else.
fn keys(index: &[u8]) -> anyhow::Result<BTreeMap<String, Descriptor>> {
    let index: Value = serde_json::from_slice(index)?;
    let manifests: Vec<Descriptor> = match index.get("manifests") {
        Some(list) => serde_json::from_value(list.clone())?,
        None => Vec::new(),
    };
    let key = |image: Descriptor| Some((image.annotation(KEY)?.to_owned(), image));
    Ok(manifests.into_iter().filter_map(key).collect())
}

/// Whether the layers of an image are the first ones of another.
fn is_below(layout: &Layout, image: &Descriptor, other: &Descriptor) -> bool {
    let (image, other) = (layout.open_image(image, None), layout.open_image(other, None));
    image.is_ok_and(|image| other.is_ok_and(|other| other.diff_ids.starts_with(&image.diff_ids)))
}

fn keep_in(dir: &std::path::Path, layout: &Layout, steps: &[(&String, Descriptor)]) -> anyhow::Result<()> {
    let to = Layout::open_or_create(dir)?;
    let _hold = to.hold()?;
    for (key, image) in steps {
        take(layout, &to, image)?;
        to.name(key, image.clone())?;
    }
    Ok(())
}

/// The index is pushed last: a cache that is being written shows the old one.
fn push(name: &Reference, layout: &Layout, siblings: &Siblings, steps: &[(&String, Descriptor)]) -> anyhow::Result<()> {
    let entry = |(key, image): &(&String, Descriptor)| {
        let mut image = image.clone();
        image.annotations.retain(|name, _| name == COPIED);
        image.annotations.insert(KEY.to_owned(), key.as_str().into());
        image
    };
    let manifests: Vec<Descriptor> = steps.iter().map(entry).collect();
    let index =
        json!({"schemaVersion": 2, "mediaType": media_type::INDEX, "artifactType": ARTIFACT, "manifests": manifests});
    let descriptor = layout.put(media_type::INDEX, index.to_string().as_bytes())?;
    let place = layout.path().to_owned().into();
    let image = Image { layout: place, reference: Some(name.to_string()), descriptor, rest: Map::new() };
    let mut push = siblings.on_layout("img-push");
    siblings::transform(push.arg("--quiet"), Some(&Record::Image(image))).map(drop)
}

/// Everything of an image from one layout to another; every blob is checked against its digest.
fn take(from: &Layout, to: &Layout, image: &Descriptor) -> anyhow::Result<()> {
    let mut all = from.below(image)?;
    all.retain(|part| part.digest != image.digest);
    // The manifest last: it is there only with what it names.
    all.push(image.clone());
    for part in all {
        if to.has(&part.digest) != Some(part.size) {
            let mut writer = to.writer_for(part.digest.algorithm())?;
            let mut blob = from.read(&part)?;
            std::io::copy(&mut blob, &mut writer).with_context(|| part.digest.to_string())?;
            blob.finish().with_context(|| part.digest.to_string())?;
            writer.commit(&part)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dockers_words() {
        let local = |dir: &str| Kind::Local(dir.into());
        let registry = |name: &str| Kind::Registry(name.parse().unwrap());
        for (text, kind, only_result) in [
            ("type=local,src=d", local("d"), false),
            ("type=local,dest=d,mode=min,compression=zstd", local("d"), true),
            ("type=registry,ref=h:1/c:t,mode=max", registry("h:1/c:t"), false),
            ("h:1/c", registry("h:1/c"), false),
            ("type=inline", Kind::Inline, false),
        ] {
            assert_eq!(text.parse(), Ok(Place { kind, only_result, ignore_error: false }), "{text}");
        }
        for text in [
            "type=local",
            "type=registry",
            "type=gha",
            "type=inline,src=d",
            "type=local,src=d,x=y",
            "type=registry,ref=A B",
            "",
        ] {
            assert!(text.parse::<Place>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_index_that_is_no_cache() {
        assert!(keys(b"{}").unwrap().is_empty());
        assert!(keys(br#"{"manifests":[]}"#).unwrap().is_empty());
        assert!(keys(b"<html>").is_err());
        let digest = format!("sha256:{}", "0".repeat(64));
        let entry = json!({"mediaType": media_type::MANIFEST, "digest": digest, "size": 2, "annotations": {KEY: "k"}});
        assert_eq!(keys(json!({"manifests": [entry]}).to_string().as_bytes()).unwrap()["k"].digest.to_string(), digest);
    }
}

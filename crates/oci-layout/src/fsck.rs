//! Looks at every descriptor and blob, and says what is wrong by classes.

mod layers;

use crate::error::Result;
use crate::gc::children;
use crate::image::parse_manifest;
use crate::layout::Layout;
use crate::temp;
use layers::Jobs;
use serde::Serialize;
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::io::{self, Read};
use wire::{Algorithm, Descriptor, Digest, annotation, media_type};

/// How bad a [`Finding`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// An image cannot be used, or not as it was made.
    Error,
    /// Space is wasted or something is unusual; every image works.
    Warning,
}

/// What a [`Finding`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// `index.json` or a pin is no such document.
    Index,
    /// A blob that something points to is not there.
    Missing,
    /// A blob has another size than its descriptor says.
    Size,
    /// The bytes of a blob do not hash to its digest.
    Digest,
    /// The media type of a descriptor is not that of its document, or no layer's.
    #[serde(rename = "mediaType")]
    MediaType,
    /// A document is not what its media type says.
    Document,
    /// A layer does not uncompress to its diff ID.
    #[serde(rename = "diffID")]
    DiffId,
    /// Two images have one name.
    Name,
    /// A blob that nothing points to.
    Orphan,
    /// A file among the blobs that is not named by a digest.
    Stray,
    /// A temporary file whose writer is gone.
    Temp,
}

/// One thing that is wrong with a layout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What it is about.
    pub class: Class,
    /// The blob, when it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// The name of the image, of several the first; or the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// For people.
    pub message: String,
}

/// What was looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Entries of the index.
    pub images: usize,
    /// Blobs that were read and hashed.
    pub blobs: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Findings that are errors.
    pub errors: usize,
    /// Findings that are warnings.
    pub warnings: usize,
}

/// Uncompresses a layer and gives the digest of the tar by an algorithm. The crate knows no compression: the tool
/// does. It is called from several threads.
type DiffIdOf<'a> = dyn Fn(&Descriptor, Algorithm, &mut (dyn Read + Send)) -> io::Result<Digest> + Sync + 'a;

struct Check<'a> {
    layout: &'a Layout,
    report: &'a mut dyn FnMut(Finding),
    summary: Summary,
    /// Documents that were read, and whether they were sound.
    seen: HashMap<Digest, bool>,
    /// What is to be looked into, and the name that led there.
    queue: Vec<(Descriptor, Option<String>)>,
    jobs: Jobs,
}

impl Layout {
    /// Checks everything that index and pins reach, each blob read once, and what lies around besides.
    /// A finding is reported as soon as it is found; an error is returned only when looking itself failed.
    pub fn fsck(&self, diff_id_of: &DiffIdOf<'_>, report: &mut dyn FnMut(Finding)) -> Result<Summary> {
        // Looking writes nothing: where there is no lock file, nobody of ours collects.
        let _hold = if self.private("blobs.lock").exists() { self.hold().ok() } else { None };
        let (summary, seen, queue, jobs) = (Summary::default(), HashMap::new(), Vec::new(), Jobs::default());
        let mut check = Check { layout: self, report, summary, seen, queue, jobs };
        check.index();
        check.pins();
        while let Some((descriptor, name)) = check.queue.pop() {
            check.tree(&descriptor, name.as_deref());
        }
        check.layers(diff_id_of);
        check.leftovers()?;
        Ok(check.summary)
    }
}

impl Check<'_> {
    fn find(&mut self, class: Class, digest: Option<&Digest>, name: Option<&str>, message: impl Into<String>) {
        let severity = match class {
            Class::Orphan | Class::Stray | Class::Temp => Severity::Warning,
            _ => Severity::Error,
        };
        match severity {
            Severity::Error => self.summary.errors += 1,
            Severity::Warning => self.summary.warnings += 1,
        }
        let (digest, name) = (digest.cloned(), name.map(Into::into));
        (self.report)(Finding { severity, class, digest, name, message: message.into() });
    }

    fn index(&mut self) {
        let (index, entries) = match self.layout.load_index() {
            Ok(loaded) => loaded,
            Err(error) => return self.find(Class::Index, None, Some("index.json"), error.to_string()),
        };
        if index.get("schemaVersion").and_then(Value::as_u64) != Some(2) {
            self.find(Class::Index, None, Some("index.json"), "schemaVersion is not 2");
        }
        let mut names: HashMap<String, Digest> = HashMap::new();
        self.summary.images = entries.len();
        for entry in entries {
            let descriptor: Descriptor = match serde_json::from_value(entry) {
                Ok(descriptor) => descriptor,
                Err(error) => {
                    self.find(Class::Index, None, Some("index.json"), format!("manifests: {error}"));
                    continue;
                }
            };
            if let Some(name) = descriptor.annotation(annotation::REF_NAME)
                && names.insert(name.into(), descriptor.digest.clone()).is_some()
            {
                self.find(Class::Name, Some(&descriptor.digest), Some(name), "two entries of the index have this name");
            }
            let name = descriptor.annotation(annotation::REF_NAME).map(Into::into);
            self.queue.push((descriptor, name));
        }
    }

    fn pins(&mut self) {
        match self.layout.pins() {
            Ok(pins) => self.queue.extend(pins.into_iter().map(|(_, pinned)| (pinned, None))),
            Err(error) => self.find(Class::Index, None, Some(".dock/pins"), error.to_string()),
        }
    }

    /// A manifest or index with everything below it.
    fn tree(&mut self, descriptor: &Descriptor, name: Option<&str>) {
        if !self.document(descriptor, name) || !(descriptor.is_index() || descriptor.is_manifest()) {
            return;
        }
        let bytes = match self.layout.document(descriptor) {
            Ok(bytes) => bytes,
            Err(error) => return self.find(Class::Document, Some(&descriptor.digest), name, error.to_string()),
        };
        match children(descriptor, &bytes) {
            Err(error) => {
                let class = if wrong_type(descriptor, &bytes) { Class::MediaType } else { Class::Document };
                self.find(class, Some(&descriptor.digest), name, error.to_string());
            }
            Ok(_) if descriptor.is_manifest() => self.manifest(descriptor, &bytes, name),
            Ok(children) => {
                // One platform of many is enough: an image pulled for this machine has only its own.
                let (here, absent): (Vec<_>, Vec<_>) =
                    children.into_iter().partition(|child| self.layout.has(&child.digest).is_some());
                if here.is_empty() {
                    for child in &absent {
                        self.find(Class::Missing, Some(&child.digest), name, "no such blob in the layout");
                    }
                }
                self.queue.extend(here.into_iter().map(|child| (child, name.map(Into::into))));
            }
        }
    }

    fn manifest(&mut self, descriptor: &Descriptor, bytes: &[u8], name: Option<&str>) {
        let manifest = match parse_manifest(descriptor, bytes) {
            Ok(manifest) => manifest,
            Err(error) => return self.find(Class::Document, Some(&descriptor.digest), name, error.to_string()),
        };
        let config_sound = self.document(&manifest.config, name);
        let configured = matches!(manifest.config.media_type.as_str(), media_type::CONFIG | media_type::DOCKER_CONFIG);
        // Buildx gives an attestation the configuration of an image, but statements in the place of layers.
        let statement = |layer: &Descriptor| layer.media_type.starts_with("application/vnd.in-toto");
        if !configured || manifest.layers.first().is_some_and(statement) {
            for layer in &manifest.layers {
                self.jobs.blob(layer, name);
            }
            return;
        }
        let expected = match (config_sound, self.layout.open_image(descriptor, None)) {
            (_, Ok(image)) => image.diff_ids,
            (sound, Err(error)) => {
                if sound {
                    self.find(Class::Document, Some(&manifest.config.digest), name, error.to_string());
                }
                Vec::new()
            }
        };
        for (place, layer) in manifest.layers.iter().enumerate() {
            if is_layer(&layer.media_type) {
                self.jobs.layer(layer, name, expected.get(place));
            } else {
                let message = format!("{:?} is no media type of a layer", layer.media_type);
                self.find(Class::MediaType, Some(&layer.digest), name, message);
                self.jobs.blob(layer, name);
            }
        }
    }

    fn layers(&mut self, diff_id_of: &DiffIdOf<'_>) {
        let layout = self.layout;
        std::mem::take(&mut self.jobs).run(layout, diff_id_of, &mut |job, done| {
            if done.sound {
                self.sound(&job.blob);
            }
            for (class, message) in done.findings {
                self.find(class, Some(&job.blob.digest), job.name.as_deref(), message);
            }
        });
    }

    /// Whether a small blob is there and sound; read once, however often it is pointed to.
    fn document(&mut self, descriptor: &Descriptor, name: Option<&str>) -> bool {
        if let Some(sound) = self.seen.get(&descriptor.digest) {
            return *sound;
        }
        let found = match self.layout.read(descriptor) {
            Err(error) => Some((layers::class_of(&error), error.to_string())),
            Ok(reader) => reader.finish().err().map(layers::damage),
        };
        self.seen.insert(descriptor.digest.clone(), found.is_none());
        match found {
            None => self.sound(descriptor),
            Some((class, message)) => {
                self.find(class, Some(&descriptor.digest), name, message);
                return false;
            }
        }
        true
    }

    fn sound(&mut self, descriptor: &Descriptor) {
        self.summary.blobs += 1;
        self.summary.bytes += descriptor.size;
    }

    /// What lies in the layout and belongs to no image. None of it harms.
    fn leftovers(&mut self) -> Result<()> {
        let layout = self.layout;
        let reached: HashSet<Digest> = match layout.reached() {
            Ok(reached) => reached,
            // A damaged document has been reported; what it reached is unknown, so nothing is called an orphan.
            Err(_) => return Ok(()),
        };
        for (digest, size) in layout.blobs()? {
            if !reached.contains(&digest) {
                self.find(Class::Orphan, Some(&digest), None, format!("nothing points to this blob of {size} bytes"));
            }
        }
        for (path, _locked) in temp::stale(&layout.private("tmp"))? {
            let name = path.strip_prefix(layout.path()).unwrap_or(&path).display().to_string();
            self.find(Class::Temp, None, Some(&name), "a temporary file whose writer is gone");
        }
        for name in layout.strays()? {
            self.find(Class::Stray, None, Some(&name), "not named by a digest");
        }
        Ok(())
    }
}

fn wrong_type(descriptor: &Descriptor, bytes: &[u8]) -> bool {
    let document: Value = serde_json::from_slice(bytes).unwrap_or_default();
    document.get("mediaType").is_some_and(|embedded| *embedded != *descriptor.media_type)
}

/// OCI's layer types, docker's, and their non-distributable variants.
fn is_layer(media_type: &str) -> bool {
    media_type.starts_with("application/vnd.oci.image.layer.")
        || media_type.starts_with("application/vnd.docker.image.rootfs.")
}

//! One image up: layers side by side, the configuration, the manifest; of an index every manifest, then the index.

use crate::choose::Chosen;
use anyhow::{Context, bail};
use oci_layout::{BlobReader, Layout};
use progress::Meter;
use registry::{Client, Placed, Source};
use serde::Deserialize;
use std::collections::{HashMap, HashSet};
use std::io::Read;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;
use wire::{Descriptor, Digest, Reference, annotation};

/// Enough to fill a line, few enough for a registry that counts connections (docker's default is 5).
const AT_ONCE: usize = 4;
/// An index may point to an index; not for ever.
const DEEPEST_INDEX: u32 = 3;
/// Repositories that are asked for a mount; each costs a request.
const MOST_BESIDE: usize = 3;

/// What a push did.
#[derive(Debug, Default)]
pub struct Pushed {
    /// The layers in order, by what they unpack to, and how each one got there.
    pub layers: Vec<(Digest, Placed)>,
}

struct Push<'a> {
    client: &'a Client,
    layout: &'a Layout,
    repository: &'a str,
    chunk: Option<u64>,
    /// Repositories of the same registry, by the blobs that they should have.
    beside: HashMap<Digest, Vec<String>>,
    /// What the progress is about.
    title: String,
    /// Of the terminal that shows it.
    width: Option<usize>,
}

/// What every manifest and index may point to; artifacts and attestations are pushed like images.
#[derive(Deserialize)]
struct Points {
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
    #[serde(default)]
    manifests: Vec<Descriptor>,
}

/// Pushes an image; its tag, or its digest, comes last of all.
pub fn image(client: &Client, image: &Chosen, chunk: Option<u64>, width: Option<usize>) -> anyhow::Result<Pushed> {
    if image.to.digest().is_some_and(|pin| *pin != image.descriptor.digest) {
        bail!("the name pins another digest than the layout's {}; push it --to a tag", image.descriptor.digest);
    }
    client.settle()?;
    let beside = beside(&image.layout, &image.to)?;
    let (layout, repository) = (&image.layout, image.to.path());
    let push = Push { client, layout, repository, chunk, beside, title: image.to.familiar(), width };
    let name = image.to.tag().map_or_else(|| image.descriptor.digest.to_string(), str::to_owned);
    let mut pushed = Pushed::default();
    push.document(&image.descriptor, &name, DEEPEST_INDEX, &mut pushed)?;
    Ok(pushed)
}

impl Push<'_> {
    /// A manifest with its blobs, or an index with its manifests.
    fn document(&self, descriptor: &Descriptor, name: &str, deep: u32, pushed: &mut Pushed) -> anyhow::Result<()> {
        let bytes = self.layout.document(descriptor)?;
        let points: Points = serde_json::from_slice(&bytes).with_context(|| descriptor.digest.to_string())?;
        if deep == 0 {
            bail!("{}: an index in an index in an index", descriptor.digest);
        }
        for manifest in &points.manifests {
            // Of a partial copy, the registry may have what we have not.
            if self.layout.has(&manifest.digest).is_some() {
                self.document(manifest, &manifest.digest.to_string(), deep - 1, pushed)?;
            } else if !self.client.has_manifest(self.repository, &manifest.digest)? {
                bail!("{}: the index names it, and neither the layout nor the registry has it", manifest.digest);
            }
        }
        let placed = self.parallel(&points.layers)?;
        if let Some(config) = &points.config {
            self.blob(config, &Meter::default()).context("configuration")?;
            let names = self.diff_ids(config, points.layers.len());
            pushed
                .layers
                .extend(names.unwrap_or(points.layers.into_iter().map(|l| l.digest).collect()).into_iter().zip(placed));
        }
        Ok(self.client.put_manifest(self.repository, name, descriptor, &bytes)?)
    }

    /// A few at once. The first failure stops the others.
    fn parallel(&self, layers: &[Descriptor]) -> anyhow::Result<Vec<Placed>> {
        let mut seen = HashSet::new();
        let once: Vec<&Descriptor> = layers.iter().filter(|layer| seen.insert(&layer.digest)).collect();
        let meter = Meter::expecting(once.iter().map(|layer| layer.size));
        let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
        let (done, failure) = (Mutex::new(HashMap::new()), Mutex::new(None));
        let send = || {
            while let Some(layer) = once.get(next.fetch_add(1, Ordering::Relaxed)) {
                if stop.load(Ordering::Acquire) {
                    return;
                }
                match self.blob(layer, &meter).with_context(|| format!("layer {}", layer.digest.short())) {
                    Ok(placed) => {
                        done.lock().unwrap_or_else(PoisonError::into_inner).insert(layer.digest.clone(), placed);
                    }
                    Err(error) => {
                        failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                        stop.store(true, Ordering::Release);
                    }
                }
            }
        };
        let (end, ended) = mpsc::channel();
        thread::scope(|scope| {
            if let Some(width) = self.width {
                let meter = &meter;
                scope.spawn(move || meter.draw(&mut std::io::stderr(), width, &self.title, &ended));
            }
            let workers: Vec<_> = (0..AT_ONCE.min(once.len())).map(|_| scope.spawn(send)).collect();
            for worker in workers {
                let _ = worker.join();
            }
            drop(end);
        });
        if let Some(error) = failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(error);
        }
        let done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(layers.iter().filter_map(|layer| done.get(&layer.digest).cloned()).collect())
    }

    fn blob(&self, descriptor: &Descriptor, meter: &Meter) -> anyhow::Result<Placed> {
        let sent = AtomicU64::new(0);
        let mut open = || {
            // Another try begins at the first byte; what the registry has of it is read and passed over.
            meter.back(sent.swap(0, Ordering::Relaxed));
            let reader = self.layout.read(descriptor).map_err(std::io::Error::other)?;
            Ok(Box::new(Counted { reader, sent: &sent, meter }) as Box<dyn Read>)
        };
        let none = Vec::new();
        let beside = self.beside.get(&descriptor.digest).unwrap_or(&none);
        let mut source = Source { descriptor, beside, chunk: self.chunk, open: &mut open };
        let placed = self.client.put_blob(self.repository, &mut source)?;
        meter.add(descriptor.size.saturating_sub(sent.load(Ordering::Relaxed)));
        meter.done();
        Ok(placed)
    }

    fn diff_ids(&self, config: &Descriptor, count: usize) -> Option<Vec<Digest>> {
        let config: serde_json::Value = serde_json::from_slice(&self.layout.document(config).ok()?).ok()?;
        let ids: Vec<Digest> = serde_json::from_value(config["rootfs"]["diff_ids"].clone()).ok()?;
        (ids.len() == count).then_some(ids)
    }
}

/// Tells the meter what passes.
struct Counted<'a> {
    reader: BlobReader,
    sent: &'a AtomicU64,
    meter: &'a Meter,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.reader.read(buffer)?;
        self.sent.fetch_add(n as u64, Ordering::Relaxed);
        self.meter.add(n as u64);
        Ok(n)
    }
}

/// The other names of the layout at the same registry tell where that registry may have a blob already.
fn beside(layout: &Layout, to: &Reference) -> anyhow::Result<HashMap<Digest, Vec<String>>> {
    let mut found: HashMap<Digest, Vec<String>> = HashMap::new();
    for entry in layout.index()? {
        let Some(name) = entry.annotation(annotation::REF_NAME).and_then(|name| name.parse::<Reference>().ok()) else {
            continue;
        };
        if name.host() != to.host() || name.path() == to.path() {
            continue;
        }
        // What is damaged there is no trouble of this push.
        let Ok(image) = layout.open_image(&entry, None) else { continue };
        for blob in image.manifest.layers {
            let repositories = found.entry(blob.digest).or_default();
            if repositories.len() < MOST_BESIDE && !repositories.iter().any(|known| known == name.path()) {
                repositories.push(name.path().to_owned());
            }
        }
    }
    Ok(found)
}

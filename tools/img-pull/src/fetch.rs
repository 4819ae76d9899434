//! One reference from the registry into the layout: document, configuration, layers side by side, name.

use crate::meter::Meter;
use crate::sources::Sources;
use anyhow::{Context, bail};
use oci_layout::Layout;
use registry::{Client, Document};
use std::collections::HashSet;
use std::io::{Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;
use wire::{Descriptor, Digest, Platform, Reference, annotation, media_type};

/// Enough to fill a line, few enough for a registry that counts connections (docker's default is 3).
const AT_ONCE: usize = 4;
/// An index may point to an index; not for ever.
const DEEPEST_INDEX: usize = 3;
/// Docker stops at 127; this only keeps a hostile manifest from making us busy.
const MOST_LAYERS: usize = 1024;
/// Image configurations are read into memory by every tool.
const LARGEST_CONFIG: u64 = 4 << 20;

/// What a pull did.
#[derive(Debug)]
pub struct Pulled {
    /// The entry of `index.json`.
    pub descriptor: Descriptor,
    /// What the registry answered to the reference: docker's `Digest:`.
    pub digest: Digest,
    /// The layers in order, and whether each one was there already.
    pub layers: Vec<(Digest, bool)>,
    /// Whether the name pointed to this image before.
    pub up_to_date: bool,
}

/// Pulls `reference` and names it. `asked` is the platform of the command line.
pub fn image(
    layout: &Layout,
    sources: &Sources<'_>,
    reference: &Reference,
    asked: Option<&Platform>,
    show: bool,
) -> anyhow::Result<Pulled> {
    // While this is held, no collector takes the blobs that no name reaches yet.
    let _hold = layout.hold()?;
    let (document, source, entry) = document(sources, reference, asked)?;
    let manifest = document.manifest()?;
    if !matches!(manifest.config.media_type.as_str(), media_type::CONFIG | media_type::DOCKER_CONFIG) {
        bail!("not an image: its configuration is of type {:?}", manifest.config.media_type);
    }
    if manifest.layers.len() > MOST_LAYERS || manifest.config.size > LARGEST_CONFIG {
        bail!("manifest: more than {MOST_LAYERS} layers or a configuration of more than {LARGEST_CONFIG} bytes");
    }

    let meter = Meter::default();
    let layers: Vec<(Digest, bool)> =
        manifest.layers.iter().map(|layer| (layer.digest.clone(), there(layout, layer))).collect();
    blob(layout, sources, reference, &manifest.config, &meter).context("configuration")?;
    let platform = entry.or(platform_of(layout, &manifest.config)?);
    if let (Some(asked), Some(is)) = (asked, &platform)
        && !serde_json::from_value(is.clone()).is_ok_and(|is| asked.accepts(&is))
    {
        bail!("the image is for {}, not for {asked}", word(is));
    }
    parallel(layout, sources, reference, &manifest.layers, &meter, show)?;

    let mut descriptor = layout.put(&document.descriptor.media_type, &document.bytes)?;
    let name = reference.to_string();
    descriptor.platform = platform;
    descriptor.annotations.insert(annotation::REF_NAME.into(), name.clone().into());
    if source != descriptor.digest {
        descriptor.annotations.insert(annotation::SOURCE_DIGEST.into(), source.to_string().into());
    }
    let before = layout.index()?.into_iter().find(|entry| entry.annotation(annotation::REF_NAME) == Some(&name));
    let up_to_date = before.is_some_and(|entry| entry == descriptor);
    if !up_to_date {
        layout.name(&name, descriptor.clone())?;
    }
    Ok(Pulled { descriptor, digest: source, layers, up_to_date })
}

/// The manifest for the platform, the digest of what the reference led to first, and the index's word for the
/// platform.
pub fn document(
    sources: &Sources<'_>,
    reference: &Reference,
    asked: Option<&Platform>,
) -> anyhow::Result<(Document, Digest, Option<serde_json::Value>)> {
    let wanted = asked.cloned().unwrap_or_else(Platform::host);
    let mut document = sources.manifest(reference, None)?;
    let source = document.descriptor.digest.clone();
    let mut platform = None;
    for _ in 0..DEEPEST_INDEX {
        if !document.descriptor.is_index() {
            return Ok((document, source, platform));
        }
        let index = document.index()?;
        let entry = index.choose(&wanted)?;
        document = sources.manifest(reference, Some(&entry.digest))?;
        if document.descriptor.media_type != entry.media_type || document.descriptor.size != entry.size {
            bail!("{}: manifest: type and size are not those of the index", entry.digest);
        }
        platform.clone_from(&entry.platform);
    }
    bail!("manifest: an index in an index in an index")
}

/// Only an index says what a manifest runs on; for a lone manifest the configuration does.
fn platform_of(layout: &Layout, config: &Descriptor) -> anyhow::Result<Option<serde_json::Value>> {
    let config: serde_json::Value = serde_json::from_slice(&layout.document(config)?).context("configuration")?;
    let platform: Option<Platform> = serde_json::from_value(config).ok();
    Ok(platform.filter(|p| !p.os.is_empty()).map(serde_json::to_value).transpose()?)
}

fn word(platform: &serde_json::Value) -> String {
    serde_json::from_value(platform.clone()).map_or_else(|_| "an unnamed platform".into(), |p: Platform| p.to_string())
}

/// Every layer that is not there, a few at once. The first failure stops the others.
fn parallel(
    layout: &Layout,
    sources: &Sources<'_>,
    reference: &Reference,
    layers: &[Descriptor],
    meter: &Meter,
    show: bool,
) -> anyhow::Result<()> {
    let mut seen = HashSet::new();
    let missing: Vec<&Descriptor> =
        layers.iter().filter(|layer| !there(layout, layer) && seen.insert(&layer.digest)).collect();
    meter.expect(missing.iter().map(|layer| layer.size).sum());
    let (next, failure) = (AtomicUsize::new(0), Mutex::new(None));
    let (end, ended) = mpsc::channel();
    thread::scope(|scope| {
        if show {
            scope.spawn(move || meter.draw(&reference.familiar(), &ended));
        }
        let workers: Vec<_> = (0..AT_ONCE.min(missing.len()))
            .map(|_| {
                scope.spawn(|| {
                    while let Some(layer) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
                        if let Err(error) = blob(layout, sources, reference, layer, meter) {
                            // The error first, so that it is told and not what the stop makes of the others.
                            let error = error.context(format!("layer {}", layer.digest.short()));
                            failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                            sources.stop();
                            return;
                        }
                    }
                })
            })
            .collect();
        for worker in workers {
            let _ = worker.join();
        }
        drop(end);
    });
    failure.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

/// A blob of another size is damaged, and is fetched again.
pub fn there(layout: &Layout, descriptor: &Descriptor) -> bool {
    layout.has(&descriptor.digest) == Some(descriptor.size)
}

/// From the first source that has it.
fn blob(
    layout: &Layout,
    sources: &Sources<'_>,
    reference: &Reference,
    descriptor: &Descriptor,
    meter: &Meter,
) -> anyhow::Result<()> {
    if there(layout, descriptor) {
        return Ok(());
    }
    sources.first(descriptor.digest.short(), |client| one_blob(layout, sources, client, reference, descriptor, meter))
}

/// Download and hash are one stream; the blob appears under its digest when both are right. What a cut leaves stays
/// for the next source and the next run.
fn one_blob(
    layout: &Layout,
    sources: &Sources<'_>,
    client: &Client,
    reference: &Reference,
    descriptor: &Descriptor,
    meter: &Meter,
) -> anyhow::Result<()> {
    let mut to = layout.resume(descriptor)?;
    let resumed = to.count();
    meter.add(resumed);
    // All bytes may be there, and only the last step was not reached.
    if resumed < descriptor.size || descriptor.size == 0 {
        let mut from = client.blob(reference.path(), descriptor, resumed)?;
        copy(&mut from, &mut to, sources, meter)?;
    }
    match to.commit(descriptor) {
        // The bytes that were there may be somebody else's lie: this source gets a chance of its own.
        Err(oci_layout::Error::Digest { .. }) if resumed > 0 => {
            let mut to = layout.resume(descriptor)?;
            let mut from = client.blob(reference.path(), descriptor, to.count())?;
            copy(&mut from, &mut to, sources, meter)?;
            Ok(to.commit(descriptor)?)
        }
        other => Ok(other?),
    }
}

fn copy(from: &mut impl Read, to: &mut impl Write, sources: &Sources<'_>, meter: &Meter) -> anyhow::Result<()> {
    let mut buffer = vec![0; 256 << 10];
    loop {
        let n = from.read(&mut buffer)?;
        if n == 0 {
            return Ok(());
        }
        if sources.stopped() {
            bail!("stopped");
        }
        to.write_all(&buffer[..n])?;
        meter.add(n as u64);
    }
}

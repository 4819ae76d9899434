//! One reference from the registry into the layout: document, configuration, layers side by side, name.

use crate::documents::{self, Found, Wanted};
use crate::sources::Sources;
use anyhow::{Context, bail};
use oci_layout::Layout;
use progress::Meter;
use registry::Client;
use std::collections::HashSet;
use std::io::{Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;
use wire::{Descriptor, Digest, Platform, Reference, annotation};

/// Enough to fill a line, few enough for a registry that counts connections (docker's default is 3).
const AT_ONCE: usize = 4;

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

/// Pulls `reference` and names it, or keeps it under a key of the build cache.
pub fn image(
    layout: &Layout,
    sources: &Sources<'_>,
    reference: &Reference,
    wanted: Wanted<'_>,
    pin: Option<&str>,
    width: Option<usize>,
) -> anyhow::Result<Pulled> {
    // While this is held, no collector takes the blobs that no name reaches yet.
    let _hold = layout.hold()?;
    let found = documents::find(sources, reference, wanted)?;
    let manifests = found.manifests()?;
    let once = |blobs: Vec<Descriptor>| {
        let mut seen = HashSet::new();
        blobs.into_iter().filter(|blob| seen.insert(blob.digest.clone())).collect::<Vec<_>>()
    };
    let configs = once(manifests.iter().map(|manifest| manifest.config.clone()).collect());
    let layers = once(manifests.into_iter().flat_map(|manifest| manifest.layers).collect());

    parallel(layout, sources, reference, &configs, None).context("configuration")?;
    let platform = match wanted {
        Wanted::One(asked) => platform_of(layout, &found, &configs, asked)?,
        Wanted::All => None,
    };
    let had: Vec<(Digest, bool)> = layers.iter().map(|layer| (layer.digest.clone(), there(layout, layer))).collect();
    parallel(layout, sources, reference, &layers, width)?;

    // Whoever is named by a document is in place before it.
    for document in found.below.iter().chain([&found.root]) {
        layout.put_as(&document.descriptor, &document.bytes)?;
    }
    let mut descriptor = found.root.descriptor;
    if let Some(key) = pin {
        layout.pin(key, &descriptor)?;
        return Ok(Pulled { descriptor, digest: found.source, layers: had, up_to_date: false });
    }
    let name = reference.to_string();
    descriptor.platform = platform;
    descriptor.annotations.insert(annotation::REF_NAME.into(), name.clone().into());
    if found.source != descriptor.digest {
        descriptor.annotations.insert(annotation::SOURCE_DIGEST.into(), found.source.to_string().into());
    }
    let before = layout.index()?.into_iter().find(|entry| entry.annotation(annotation::REF_NAME) == Some(&name));
    let up_to_date = before.is_some_and(|entry| entry == descriptor);
    if !up_to_date {
        layout.name(&name, descriptor.clone())?;
    }
    Ok(Pulled { descriptor, digest: found.source, layers: had, up_to_date })
}

/// Only an index says what a manifest runs on; for a lone manifest the configuration does. It must be what was
/// asked for.
fn platform_of(
    layout: &Layout,
    found: &Found,
    configs: &[Descriptor],
    asked: Option<&Platform>,
) -> anyhow::Result<Option<serde_json::Value>> {
    let platform = match (&found.platform, configs) {
        (None, [config]) => of_config(layout, config)?,
        (known, _) => known.clone(),
    };
    if let (Some(asked), Some(is)) = (asked, &platform)
        && !serde_json::from_value(is.clone()).is_ok_and(|is| asked.accepts(&is))
    {
        bail!("the image is for {}, not for {asked}", word(is));
    }
    Ok(platform)
}

fn of_config(layout: &Layout, config: &Descriptor) -> anyhow::Result<Option<serde_json::Value>> {
    let config: serde_json::Value = serde_json::from_slice(&layout.document(config)?).context("configuration")?;
    let platform: Option<Platform> = serde_json::from_value(config).ok();
    Ok(platform.filter(|p| !p.os.is_empty()).map(serde_json::to_value).transpose()?)
}

fn word(platform: &serde_json::Value) -> String {
    serde_json::from_value(platform.clone()).map_or_else(|_| "an unnamed platform".into(), |p: Platform| p.to_string())
}

/// Every blob that is not there, a few at once. The first failure stops the others.
fn parallel(
    layout: &Layout,
    sources: &Sources<'_>,
    reference: &Reference,
    blobs: &[Descriptor],
    width: Option<usize>,
) -> anyhow::Result<()> {
    let missing: Vec<&Descriptor> = blobs.iter().filter(|blob| !there(layout, blob)).collect();
    let meter = &Meter::expecting(missing.iter().map(|blob| blob.size));
    let (next, failure) = (AtomicUsize::new(0), Mutex::new(None));
    let (end, ended) = mpsc::channel();
    thread::scope(|scope| {
        if let Some(width) = width {
            scope.spawn(move || meter.draw(&mut std::io::stderr(), width, &reference.familiar(), &ended));
        }
        let workers: Vec<_> = (0..AT_ONCE.min(missing.len()))
            .map(|_| {
                scope.spawn(|| {
                    while let Some(missing) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
                        if let Err(error) = blob(layout, sources, reference, missing, meter) {
                            // The error first, so that it is told and not what the stop makes of the others.
                            let error = error.context(format!("blob {}", missing.digest.short()));
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
    sources
        .first(descriptor.digest.short(), |client| one_blob(layout, sources, client, reference, descriptor, meter))?;
    meter.done();
    Ok(())
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

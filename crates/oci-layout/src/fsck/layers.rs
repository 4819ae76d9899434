//! The bulk of a check: layers, read once each, side by side. What is found is told in the order of the layers,
//! whichever thread is first.

use super::{Class, DiffIdOf};
use crate::error::Error;
use crate::layout::Layout;
use std::collections::HashMap;
use std::io;
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use wire::{Algorithm, Descriptor, Digest};

/// A blob to be read, and what is expected of it.
pub struct Job {
    pub blob: Descriptor,
    /// The first image that has it.
    pub name: Option<String>,
    /// The diff IDs that images have for it; none when it is no layer that can be uncompressed.
    pub diff_ids: Option<Vec<Digest>>,
}

/// The jobs, one for each blob.
#[derive(Default)]
pub struct Jobs {
    list: Vec<Job>,
    places: HashMap<Digest, usize>,
}

/// What reading has shown.
pub struct Done {
    /// The bytes are those of the digest.
    pub sound: bool,
    pub findings: Vec<(Class, String)>,
}

impl Jobs {
    /// A blob that is nothing but bytes.
    pub fn blob(&mut self, blob: &Descriptor, name: Option<&str>) {
        self.add(blob, name);
    }

    /// A layer, with the diff ID that an image has for it if that is known.
    pub fn layer(&mut self, layer: &Descriptor, name: Option<&str>, diff_id: Option<&Digest>) {
        let known = self.add(layer, name).diff_ids.get_or_insert_default();
        known.extend(diff_id.filter(|id| !known.contains(id)).cloned());
    }

    fn add(&mut self, blob: &Descriptor, name: Option<&str>) -> &mut Job {
        let place = *self.places.entry(blob.digest.clone()).or_insert(self.list.len());
        if place == self.list.len() {
            self.list.push(Job { blob: blob.clone(), name: name.map(Into::into), diff_ids: None });
        }
        &mut self.list[place]
    }

    /// Reads all, on as many threads as there are processors, and tells of each in its order.
    pub fn run(self, layout: &Layout, diff_id_of: &DiffIdOf<'_>, tell: &mut dyn FnMut(&Job, Done)) {
        let (jobs, next) = (&self.list, &AtomicUsize::new(0));
        let threads = thread::available_parallelism().map_or(1, NonZero::get).min(jobs.len());
        let (done, results) = mpsc::channel();
        thread::scope(|scope| {
            for _ in 0..threads {
                let done = done.clone();
                scope.spawn(move || {
                    while let Some((place, job)) = take(jobs, next) {
                        if done.send((place, read(layout, job, diff_id_of))).is_err() {
                            return;
                        }
                    }
                });
            }
            drop(done);
            let (mut waiting, mut told) = (HashMap::new(), 0);
            for (place, result) in results {
                waiting.insert(place, result);
                while let Some(result) = waiting.remove(&told) {
                    tell(&jobs[told], result);
                    told += 1;
                }
            }
        });
    }
}

fn take<'a>(jobs: &'a [Job], next: &AtomicUsize) -> Option<(usize, &'a Job)> {
    let place = next.fetch_add(1, Ordering::Relaxed);
    jobs.get(place).map(|job| (place, job))
}

/// One pass: the blob's digest and, on the uncompressed side, the diff ID.
fn read(layout: &Layout, job: &Job, diff_id_of: &DiffIdOf<'_>) -> Done {
    let bad = |class, message: String| Done { sound: false, findings: vec![(class, message)] };
    let mut reader = match layout.read(&job.blob) {
        Ok(reader) => reader,
        Err(error) => return bad(class_of(&error), error.to_string()),
    };
    let uncompressed = job.diff_ids.as_ref().map(|expected| {
        let algorithm = expected.first().map_or(Algorithm::Sha256, Digest::algorithm);
        diff_id_of(&job.blob, algorithm, &mut reader)
    });
    if let Err(error) = reader.finish() {
        let (class, message) = damage(error);
        return bad(class, message);
    }
    let mut findings = Vec::new();
    match uncompressed {
        None => {}
        Some(Err(error)) => {
            findings.push((Class::MediaType, format!("{}: cannot be uncompressed: {error}", job.blob.media_type)));
        }
        Some(Ok(found)) => {
            // Each blob is read once: of two images that hash it by two algorithms, the first one is checked.
            let comparable = |id: &&Digest| id.algorithm() == found.algorithm() && **id != found;
            for expected in job.diff_ids.iter().flatten().filter(comparable) {
                let message = format!("the layer uncompresses to {found}, its image says {expected}");
                findings.push((Class::DiffId, message));
            }
        }
    }
    Done { sound: true, findings }
}

/// What a failed read means.
pub fn damage(error: io::Error) -> (Class, String) {
    match error.downcast::<Error>() {
        Ok(error) => (class_of(&error), error.to_string()),
        Err(error) => (Class::Digest, format!("read: {error}")),
    }
}

/// The class of a blob that cannot be opened or read.
pub fn class_of(error: &Error) -> Class {
    match error {
        Error::Missing(_) => Class::Missing,
        Error::Size { .. } => Class::Size,
        _ => Class::Digest,
    }
}

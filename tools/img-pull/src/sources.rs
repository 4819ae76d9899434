//! Who is asked: the mirrors in their order, then the registry itself. A digest is the same from everybody.

use registry::{Client, Document, Settings};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use wire::{Digest, Reference};

/// The registries of one run: connections, tokens and warnings serve all references of a host.
#[derive(Debug)]
pub struct Registries {
    settings: Settings,
    known: HashMap<String, Vec<Client>>,
}

impl Registries {
    /// Nobody is spoken to yet.
    pub fn new(settings: Settings) -> Self {
        Self { settings, known: HashMap::new() }
    }

    /// The mirrors of a reference's registry, and the registry.
    pub fn of(&mut self, reference: &Reference) -> registry::Result<&[Client]> {
        let host = reference.host();
        if !self.known.contains_key(host) {
            let clients = self.settings.sources(host, |warning| warn(&warning))?;
            self.known.insert(host.into(), clients);
        }
        Ok(&self.known[host])
    }
}

/// The hosts that may have what a reference leads to.
#[derive(Debug)]
pub struct Sources<'a> {
    clients: &'a [Client],
    /// The one that answered last.
    good: AtomicUsize,
    quiet: bool,
    stop: AtomicBool,
}

impl<'a> Sources<'a> {
    /// At least one client, the registry itself being the last one.
    pub fn new(clients: &'a [Client], quiet: bool) -> Self {
        Self { clients, good: AtomicUsize::new(0), quiet, stop: AtomicBool::new(false) }
    }

    /// Something failed for good: who is at work on the same image ends.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
    }

    /// Whether to end.
    pub fn stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Who answered last.
    pub fn serving(&self) -> &str {
        self.clients[self.good.load(Ordering::Relaxed)].address()
    }

    /// A line on stderr for who wants to know.
    pub fn say(&self, line: &str) {
        if !self.quiet {
            warn(line);
        }
    }

    /// The document behind the reference, or the one of an index.
    pub fn manifest(&self, reference: &Reference, digest: Option<&Digest>) -> registry::Result<Document> {
        let (tag, digest) = digest.map_or((reference.tag(), reference.digest()), |digest| (None, Some(digest)));
        let what = digest.map_or(tag.unwrap_or("latest"), Digest::short);
        self.first(what, |client| client.manifest(reference.path(), tag, digest))
    }

    /// Asks one after the other, the one that answered last before all; the last error counts.
    pub fn first<T, E: std::fmt::Display>(
        &self,
        what: &str,
        ask: impl Fn(&'a Client) -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        let (count, good) = (self.clients.len(), self.good.load(Ordering::Relaxed));
        let mut step = 0;
        loop {
            let index = (good + step) % count;
            let client = &self.clients[index];
            step += 1;
            match ask(client) {
                Ok(answer) => {
                    self.good.store(index, Ordering::Relaxed);
                    // With no mirror there is nothing to tell.
                    if count > 1 {
                        self.say(&format!("{what}: from {}", client.address()));
                    }
                    return Ok(answer);
                }
                Err(error) if step == count || self.stopped() => return Err(error),
                Err(error) => {
                    let error = format!("{error:#}").replace(['\n', '\r'], " ");
                    warn(&format!("{what}: {}: {error}; trying the next one", client.address()));
                }
            }
        }
    }
}

/// A line on stderr, in the place of the progress where a terminal shows it.
fn warn(line: &str) {
    let wipe = toolkit::terminal_width().map_or("", |_| progress::WIPE);
    toolkit::say(&format!("{wipe}img-pull: {line}"));
}

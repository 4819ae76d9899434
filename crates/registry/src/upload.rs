//! The way up: a blob is asked for, mounted from a repository beside, or sent; a manifest comes last.

use crate::client::{Client, Response, failure, header, next};
use crate::error::clip;
use crate::{Error, Result, retry};
use std::io::{self, Read};
use ureq::SendBody;
use ureq::http::{Method, StatusCode};
use wire::{Descriptor, Digest};

/// How a blob got to the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placed {
    /// It was there.
    There,
    /// The registry took it from another repository of its own.
    Mounted(String),
    /// It was sent.
    Sent,
}

/// What an upload needs from the side that has the blob.
pub struct Source<'a> {
    /// Which blob.
    pub descriptor: &'a Descriptor,
    /// Repositories of the same registry that may have it.
    pub beside: &'a [String],
    /// Bytes a request; None is all in one.
    pub chunk: Option<u64>,
    /// The blob's bytes from the first one on; called once a try.
    pub open: &'a mut dyn FnMut() -> io::Result<Box<dyn Read + 'a>>,
}

impl std::fmt::Debug for Source<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Source({})", self.descriptor.digest)
    }
}

/// An upload under way: where the next bytes go, and how many the registry has.
struct Session {
    url: String,
    sent: u64,
    /// `OCI-Chunk-Min-Length`: no chunk but the last one may be smaller.
    least: u64,
}

/// A try that failed, and whether another one may do better.
struct Cut {
    error: Box<Error>,
    again: bool,
    after: Option<String>,
}

impl From<Error> for Cut {
    fn from(error: Error) -> Self {
        let again = match &error {
            Error::Transport { cause, .. } => retry::transient(cause),
            Error::Status { code, .. } => retry::worth_it(*code),
            _ => false,
        };
        Self { error: Box::new(error), again, after: None }
    }
}

impl Client {
    /// Whether the repository has the blob, or with `manifests` the manifest.
    fn has(&self, repository: &str, kind: &str, digest: &Digest) -> Result<bool> {
        let url = format!("{}/v2/{repository}/{kind}/{digest}", self.base());
        match self.send(&Method::HEAD, &url, &push(repository), &[("Accept", "*/*")], None) {
            Ok(_) => Ok(true),
            Err(Error::Status { code: 404, .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether the repository has this manifest.
    pub fn has_manifest(&self, repository: &str, digest: &Digest) -> Result<bool> {
        self.has(repository, "manifests", digest)
    }

    /// Puts a blob into the repository, by the cheapest way that works.
    pub fn put_blob(&self, repository: &str, source: &mut Source<'_>) -> Result<Placed> {
        if self.has(repository, "blobs", &source.descriptor.digest)? {
            return Ok(Placed::There);
        }
        for from in source.beside {
            // Not being allowed to look there is no reason not to send.
            match self.begin(repository, Some((&source.descriptor.digest, from))) {
                Ok(None) => return Ok(Placed::Mounted(from.clone())),
                Ok(Some(session)) => return self.deliver(repository, source, Some(session)),
                Err(Error::Denied { .. } | Error::Status { .. } | Error::Token { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        self.deliver(repository, source, None)
    }

    /// Puts a manifest or an index under a tag or its digest, and looks what the registry calls it.
    pub fn put_manifest(&self, repository: &str, name: &str, descriptor: &Descriptor, bytes: &[u8]) -> Result<()> {
        let url = format!("{}/v2/{repository}/manifests/{name}", self.base());
        let headers = [("Content-Type", &descriptor.media_type[..])];
        let response = self.send(&Method::PUT, &url, &push(repository), &headers, Some(bytes))?;
        match header(response.headers(), "docker-content-digest") {
            Some(got) if got != descriptor.digest.to_string() => {
                Err(Error::Renamed { request: format!("PUT {url}"), got: clip(got), want: descriptor.digest.clone() })
            }
            _ => Ok(()),
        }
    }

    /// Opens an upload; None when the registry has mounted the blob from the other repository instead.
    fn begin(&self, repository: &str, mount: Option<(&Digest, &str)>) -> Result<Option<Session>> {
        let mut url = format!("{}/v2/{repository}/blobs/uploads/", self.base());
        let mut scope = push(repository);
        if let Some((digest, from)) = mount {
            url = format!("{url}?mount={}&from={}", escape(&digest.to_string()), escape(from));
            scope = format!("{scope} {}", crate::client::pull(from));
        }
        let response = self.send(&Method::POST, &url, &scope, &[], Some(&[]))?;
        if mount.is_some() && response.status() == StatusCode::CREATED {
            return Ok(None);
        }
        let url = next(&format!("POST {url}"), &url, header(response.headers(), "location").unwrap_or_default())?;
        let least = header(response.headers(), "oci-chunk-min-length").and_then(|text| text.trim().parse().ok());
        Ok(Some(Session { url, sent: 0, least: least.unwrap_or(0) }))
    }

    /// Sends until the registry has everything: a cut upload goes on where the registry says that it stands.
    fn deliver(&self, repository: &str, source: &mut Source<'_>, session: Option<Session>) -> Result<Placed> {
        let (mut session, mut tries, mut best) = (session, 1, 0);
        loop {
            let mut now = match session.take() {
                Some(session) => session,
                None => self.begin(repository, None)?.unwrap_or(Session { url: String::new(), sent: 0, least: 0 }),
            };
            let Err(cut) = self.transfer(repository, source, &mut now) else { return Ok(Placed::Sent) };
            if now.sent > best {
                (best, tries) = (now.sent, 1);
            }
            if !cut.again || tries >= retry::TRIES || !retry::wait(tries, cut.after.as_deref()) {
                return Err(*cut.error);
            }
            tries += 1;
            session = self.stands(repository, &now, source.descriptor.size);
        }
    }

    /// Asks how far an upload is. None when the registry knows nothing of it, or has nothing: a fresh one is as good.
    fn stands(&self, repository: &str, before: &Session, size: u64) -> Option<Session> {
        let url = &before.url;
        let response = self.send(&Method::GET, url, &push(repository), &[], None).ok()?;
        let sent = end_of_range(&response).filter(|sent| *sent > 1 && *sent <= size)?;
        let url = match header(response.headers(), "location") {
            Some(to) => next(&format!("GET {url}"), url, to).ok()?,
            None => url.to_owned(),
        };
        Some(Session { url, sent, least: before.least })
    }

    /// One try: in one request, or in chunks.
    fn transfer(&self, repository: &str, source: &mut Source<'_>, at: &mut Session) -> std::result::Result<(), Cut> {
        let size = source.descriptor.size;
        let local = |cause: io::Error| Error::Transport { request: "blob".into(), cause: Box::new(cause.into()) };
        let mut bytes = (source.open)().map_err(local)?;
        io::copy(&mut (&mut bytes).take(at.sent), &mut io::sink()).map_err(local)?;
        let whole = at.sent == 0 && source.chunk.is_none_or(|chunk| chunk.max(at.least) >= size);
        while !whole && at.sent < size {
            let n = source.chunk.unwrap_or(size).max(at.least).max(1).min(size - at.sent);
            let range = format!("{}-{}", at.sent, at.sent + n - 1);
            let response = self.stream(&Method::PATCH, repository, &at.url, Some(&range), n, &mut bytes)?;
            if end_of_range(&response).is_some_and(|end| end != at.sent + n) {
                return Err(Cut { again: true, ..failure(&Method::PATCH, &at.url, response).into() });
            }
            at.sent += n;
            if let Some(to) = header(response.headers(), "location") {
                at.url = next(&format!("PATCH {}", at.url), &at.url, to)?;
            }
        }
        let joint = if at.url.contains('?') { '&' } else { '?' };
        let url = format!("{}{joint}digest={}", at.url, escape(&source.descriptor.digest.to_string()));
        self.stream(&Method::PUT, repository, &url, None, if whole { size } else { 0 }, &mut bytes)?;
        Ok(())
    }

    /// One request with `length` bytes of a stream. It cannot be repeated here: the bytes are gone.
    fn stream(
        &self,
        method: &Method,
        repository: &str,
        url: &str,
        range: Option<&str>,
        length: u64,
        bytes: &mut dyn Read,
    ) -> std::result::Result<Response, Cut> {
        let (scope, length) = (push(repository), length.to_string());
        let mut headers = vec![("Content-Type", "application/octet-stream"), ("Content-Length", &length[..])];
        headers.extend(range.map(|range| ("Content-Range", range)));
        let mut part = bytes.take(length.parse().unwrap_or(0));
        let response = self
            .request(method, url, &scope, &headers)?
            .body(SendBody::from_reader(&mut part))
            .map_err(ureq::Error::from)
            .and_then(|request| self.transport().run(request))
            .map_err(|cause| Error::Transport { request: format!("{method} {url}"), cause: Box::new(cause) })?;
        if response.status().is_success() {
            return Ok(response);
        }
        let after = header(response.headers(), "retry-after").map(str::to_owned);
        // A token that ended in the middle of a push: with a new one, another try.
        if response.status() == StatusCode::UNAUTHORIZED {
            self.answer(method, url, &scope, response.headers())?;
            return Err(Cut { error: Box::new(failure(method, url, response)), again: true, after: Some("0".into()) });
        }
        Err(Cut { after, ..failure(method, url, response).into() })
    }
}

/// `Range: 0-99`, as registries write it without a unit, is 100 bytes.
fn end_of_range(response: &Response) -> Option<u64> {
    let range = header(response.headers(), "range")?;
    range.trim_start_matches("bytes=").strip_prefix("0-")?.trim().parse::<u64>().ok()?.checked_add(1)
}

fn push(repository: &str) -> String {
    format!("repository:{repository}:pull,push")
}

/// For a query: the letters of paths and digests, where only `:` and `/` and `+` need it.
fn escape(text: &str) -> String {
    text.replace('%', "%25").replace(':', "%3A").replace('/', "%2F").replace('+', "%2B")
}

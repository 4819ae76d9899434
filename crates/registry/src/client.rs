//! One registry: manifests, blobs, tags (OCI distribution-spec).

use crate::blob::Blob;
use crate::certs::Certificates;
use crate::challenge::{self, Challenge};
use crate::credentials::Credentials;
use crate::error::clip;
use crate::manifest::Document;
use crate::origin::{self, Origin};
use crate::proxy::Proxies;
use crate::transport::Transport;
use crate::{Error, LARGEST_MANIFEST, Result, retry, token};
use std::collections::HashMap;
use std::io::Read;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use ureq::Body;
use ureq::http::request::Builder;
use ureq::http::{HeaderMap, Method, Request, StatusCode};
use wire::{Descriptor, Digest, media_type};

/// A registry that sends us around more often is lost itself.
const MOST_REDIRECTS: u32 = 5;

pub(crate) type Response = ureq::http::Response<Body>;

/// How to talk to a registry.
#[derive(Debug, Clone)]
pub struct Options {
    /// The `User-Agent`.
    pub user_agent: String,
    /// Who we are to this registry; nobody else hears it.
    pub credentials: Option<Credentials>,
    /// Plain HTTP, as the user asked for. This machine's own addresses are plain without asking.
    pub plain_http: bool,
    /// A file of root certificates in PEM instead of the built-in ones (Mozilla's).
    pub authorities: Option<PathBuf>,
    /// What is trusted besides, and who we are, at this host.
    pub certificates: Certificates,
    /// Which requests take a way around.
    pub proxies: Proxies,
    /// How long a host may be silent, or all but silent, before the connection is given up.
    pub patience: Duration,
}

/// One registry. Cheap requests from many threads: connections and tokens are shared.
#[derive(Debug)]
pub struct Client {
    transport: Transport,
    /// `HOST[:PORT]`
    address: String,
    tls: AtomicBool,
    /// Plain without having been asked: this machine's own registry, which may speak TLS all the same.
    guessed: bool,
    credentials: Option<Credentials>,
    patience: Duration,
    /// `Authorization` by scope.
    authorized: Mutex<HashMap<String, String>>,
}

impl Client {
    /// A client for the host of a reference. Nothing is sent yet.
    pub fn new(host: &str, options: Options) -> Result<Self> {
        // Docker Hub's name in references is not the name of its registry.
        let address = if host == "docker.io" { "registry-1.docker.io" } else { host };
        let origin = Origin::of(&format!("https://{address}/")).ok_or_else(|| Error::Host(clip(host)))?;
        let tls = !(options.plain_http || origin.is_loopback());
        Ok(Self {
            transport: Transport::new(&options, origin)?,
            address: address.to_owned(),
            tls: AtomicBool::new(tls),
            guessed: !tls && !options.plain_http,
            credentials: options.credentials,
            patience: options.patience,
            authorized: Mutex::default(),
        })
    }

    /// `HOST[:PORT]`, for messages.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The manifest or index behind a tag or a digest.
    pub fn manifest(&self, repository: &str, tag: Option<&str>, digest: Option<&Digest>) -> Result<Document> {
        let wanted = digest.map_or_else(|| tag.unwrap_or("latest").to_owned(), ToString::to_string);
        let url = || format!("{}/v2/{repository}/manifests/{wanted}", self.base());
        let accept =
            [media_type::INDEX, media_type::MANIFEST, media_type::DOCKER_LIST, media_type::DOCKER_MANIFEST].join(", ");
        let headers = [("Accept", &accept[..])];
        let mut answer = self.get(&url(), repository, &headers);
        // What a TLS server says to plain HTTP.
        if self.guessed && matches!(answer, Err(Error::Status { code: 400, .. })) && !self.tls.swap(true, Relaxed) {
            answer = self.get(&url(), repository, &headers);
        }
        let (response, url) = (answer?, url());
        let announced = header(response.headers(), "docker-content-digest").and_then(|text| text.parse().ok());
        let content_type = header(response.headers(), "content-type").unwrap_or_default().to_owned();
        let mut bytes = Vec::new();
        body(response)
            .take(LARGEST_MANIFEST + 1)
            .read_to_end(&mut bytes)
            .map_err(|cause| Error::Transport { request: format!("GET {url}"), cause: Box::new(cause.into()) })?;
        if bytes.len() as u64 > LARGEST_MANIFEST {
            return Err(Error::TooLarge { request: format!("GET {url}"), limit: LARGEST_MANIFEST });
        }
        Document::new(bytes, &content_type, digest.or(announced.as_ref()))
    }

    /// A stream of exactly the blob's size, taken up again where the line is cut. Whoever reads it checks the
    /// digest. Foreign `urls` of the descriptor are not looked at: they would carry us anywhere. It begins at
    /// byte `from`, for who has the bytes before it.
    pub fn blob(&self, repository: &str, descriptor: &Descriptor, from: u64) -> Result<Blob<'_>> {
        let url = format!("{}/v2/{repository}/blobs/{}", self.base(), descriptor.digest);
        Blob::open(self, repository, url, descriptor.size, from)
    }

    /// Finds out how this machine's own registry speaks; any other one is known to.
    pub fn settle(&self) -> Result<()> {
        if !self.guessed || self.tls.load(Relaxed) {
            return Ok(());
        }
        let url = format!("{}/v2/", self.base());
        // What a TLS server says to plain HTTP.
        if self.follow(&Method::GET, &url, "", &[], None)?.status() == StatusCode::BAD_REQUEST {
            self.tls.store(true, Relaxed);
        }
        Ok(())
    }

    /// Whether the registry takes our credentials: what a login asks.
    pub fn check(&self) -> Result<()> {
        self.settle()?;
        self.send(&Method::GET, &format!("{}/v2/", self.base()), "", &[], None).map(drop)
    }

    pub(crate) fn base(&self) -> String {
        format!("{}://{}", if self.tls.load(Relaxed) { "https" } else { "http" }, self.address)
    }

    /// Where the registry is; `new` has seen that it is somewhere.
    pub(crate) fn origin(&self) -> Result<Origin> {
        Origin::of(&self.base()).ok_or_else(|| Error::Host(clip(&self.address)))
    }

    pub(crate) fn transport(&self) -> &Transport {
        &self.transport
    }

    pub(crate) fn patience(&self) -> Duration {
        self.patience
    }

    pub(crate) fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }

    /// GET, for one repository.
    pub(crate) fn get(&self, url: &str, repository: &str, headers: &[(&str, &str)]) -> Result<Response> {
        self.send(&Method::GET, url, &pull(repository), headers, None)
    }

    /// Sends until it is answered: repeats what failed in passing, answers one challenge, follows redirects.
    pub(crate) fn send(
        &self,
        method: &Method,
        url: &str,
        scope: &str,
        headers: &[(&str, &str)],
        content: Option<&[u8]>,
    ) -> Result<Response> {
        let mut challenged = false;
        let mut tries = 1;
        loop {
            let response = match self.follow(method, url, scope, headers, content) {
                Ok(response) => response,
                Err(Error::Transport { cause, .. }) if tries < retry::TRIES && retry::transient(&cause) => {
                    retry::wait(tries, None);
                    tries += 1;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let status = response.status();
            if status.is_success() {
                return Ok(response);
            }
            if status == StatusCode::UNAUTHORIZED && !challenged {
                challenged = true;
                self.answer(method, url, scope, response.headers())?;
                continue;
            }
            if retry::worth_it(status.as_u16())
                && tries < retry::TRIES
                && retry::wait(tries, header(response.headers(), "retry-after"))
            {
                tries += 1;
                continue;
            }
            return Err(failure(method, url, response));
        }
    }

    /// Puts the answer to a challenge where the next request finds it.
    pub(crate) fn answer(&self, method: &Method, url: &str, scope: &str, headers: &HeaderMap) -> Result<()> {
        let headers = headers.get_all("www-authenticate");
        let challenge = challenge::parse(headers.iter().filter_map(|value| value.to_str().ok()));
        let denied = |message: &str| Error::Denied { request: format!("{method} {url}"), message: message.into() };
        let header = match (challenge, &self.credentials) {
            (Some(Challenge::Bearer { realm, service }), _) => {
                format!("Bearer {}", token::fetch(self, &realm, service.as_deref(), scope)?)
            }
            (Some(Challenge::Basic), Some(Credentials::Basic { user, password })) => {
                Credentials::basic_header(user, password)
            }
            (Some(Challenge::Basic), _) => return Err(denied("the registry wants a user and a password")),
            (None, _) => return Err(denied("401 Unauthorized")),
        };
        self.authorized.lock().unwrap_or_else(PoisonError::into_inner).insert(scope.to_owned(), header);
        Ok(())
    }

    /// A request with what belongs to it: `Authorization` for the registry's own origin, and for nobody else.
    pub(crate) fn request(&self, method: &Method, at: &str, scope: &str, headers: &[(&str, &str)]) -> Result<Builder> {
        let mut request = Request::builder().method(method).uri(at);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if Origin::of(at) == Some(self.origin()?) {
            let authorized = self.authorized.lock().unwrap_or_else(PoisonError::into_inner).get(scope).cloned();
            if let Some(authorization) = authorized {
                request = request.header("Authorization", authorization);
            }
        }
        Ok(request)
    }

    /// One request and its redirects.
    fn follow(
        &self,
        method: &Method,
        url: &str,
        scope: &str,
        headers: &[(&str, &str)],
        content: Option<&[u8]>,
    ) -> Result<Response> {
        let name = || format!("{method} {url}");
        let mut at = url.to_owned();
        for _ in 0..=MOST_REDIRECTS {
            let request = self.request(method, &at, scope, headers)?;
            let response = match content {
                None => request.body(()).map_err(ureq::Error::from).and_then(|request| self.transport.run(request)),
                Some(bytes) => {
                    request.body(bytes).map_err(ureq::Error::from).and_then(|request| self.transport.run(request))
                }
            };
            let response = response.map_err(|cause| Error::Transport { request: name(), cause: Box::new(cause) })?;
            if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok(response);
            }
            let to = header(response.headers(), "location").unwrap_or_default();
            if content.is_some() {
                return Err(Error::Redirect { request: name(), to: clip(to), reason: "what we send is not sent on" });
            }
            at = next(&name(), &at, to)?;
        }
        Err(Error::Redirect { request: name(), to: clip(&at), reason: "too many redirects" })
    }
}

/// Where a `Location` header of the answer from `at` leads; never from https to plain http.
pub(crate) fn next(request: &str, at: &str, to: &str) -> Result<String> {
    let refuse = |reason| Error::Redirect { request: request.into(), to: clip(to), reason };
    let next = origin::resolve(at, to).ok_or_else(|| refuse("not a URL"))?;
    let there = Origin::of(&next).ok_or_else(|| refuse("not a URL"))?;
    if there.scheme == "http" && Origin::of(at).is_some_and(|here| here.scheme == "https") {
        return Err(refuse("from https to plain http"));
    }
    Ok(next)
}

pub(crate) fn pull(repository: &str) -> String {
    format!("repository:{repository}:pull")
}

pub(crate) fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// The body without ureq's own limit: every reader here counts for itself.
pub(crate) fn body(response: Response) -> ureq::BodyReader<'static> {
    response.into_body().into_with_config().limit(u64::MAX).reader()
}

/// The registry's words for an error (`{"errors":[{"code":…,"message":…}]}`), else the status's meaning.
pub(crate) fn failure(method: &Method, url: &str, response: Response) -> Error {
    let (status, request) = (response.status(), format!("{method} {url}"));
    let after = header(response.headers(), "retry-after").map(str::to_owned);
    let mut text = Vec::new();
    let _ = body(response).take(64 << 10).read_to_end(&mut text);
    let said: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
    let first = &said["errors"][0];
    let message = match (first["code"].as_str(), first["message"].as_str()) {
        (Some(code), Some(message)) => clip(&format!("{code}: {message}")),
        (Some(only), None) | (None, Some(only)) => clip(only),
        (None, None) => status.canonical_reason().unwrap_or("unknown status").to_owned(),
    };
    let message = match after {
        Some(after) => format!("{message} (Retry-After: {})", clip(&after)),
        None => message,
    };
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Error::Denied { request, message },
        _ => Error::Status { request, code: status.as_u16(), message },
    }
}

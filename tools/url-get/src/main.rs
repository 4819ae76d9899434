//! One file from the web: what ADD takes when its source is a URL. The server's Last-Modified becomes the time of the
//! file, and a checksum says whether the bytes are the wanted ones before the file has its name:
//!
//! ```sh
//! curl -fsSL --proto-redir -all,https -R -o FILE.part URL
//! echo "SUM  FILE.part" | sha256sum -c && mv FILE.part FILE
//! ```
//!
//! Read curl(1), and RFC 9110 sections 8.8.2 (Last-Modified) and 15.4 (redirection).

#![forbid(unsafe_code)]

use anyhow::{Context, bail};
use clap::Parser;
use rustix::fs::{Timespec, Timestamps, futimens};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use toolkit::{Out, usage};
use ureq::Body;
use ureq::http::{Response, StatusCode};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use wire::Digest;

const MOST_REDIRECTS: usize = 10;
/// No server fills a disk without end.
const LARGEST: u64 = 64 << 30;
/// How long a server may be silent.
const PATIENCE: Duration = Duration::from_secs(60);

/// Fetch a URL into a file, checked
#[derive(Debug, Parser)]
#[command(name = "url-get", version, about)]
struct Args {
    /// The file, which appears when it is whole
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// What the bytes must hash to, as sha256:…
    #[arg(long, value_name = "DIGEST")]
    checksum: Option<Digest>,
    /// What an earlier run printed: a server that has nothing newer sends nothing, and no file is made
    #[arg(long, value_name = "FILE")]
    known: Option<PathBuf>,
    /// http:// or https://
    url: String,
}

fn main() -> ExitCode {
    toolkit::main(run)
}

#[expect(clippy::needless_pass_by_value, reason = "toolkit::main gives them away")]
fn run(args: Args, out: &mut Out) -> anyhow::Result<()> {
    if !is_web(&args.url) {
        return Err(usage(format!("{}: want http:// or https://", args.url)));
    }
    let known = args.known.as_deref().and_then(|path| Known::read(path, &args));
    let answer = get(&args.url, known.as_ref())?;
    if let (Some(known), StatusCode::NOT_MODIFIED) = (known, answer.status()) {
        return out.text(&format!("{}\n", known.unchanged()));
    }
    let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (modified, etag) = (header("last-modified"), header("etag"));
    let seconds = modified.as_deref().and_then(seconds_of).unwrap_or(0);
    let (size, digest) = store(answer, &args.output, args.checksum.as_ref(), seconds)
        .with_context(|| format!("{}: {}", args.url, args.output.display()))?;
    let found = json!({"url": args.url, "path": args.output.to_str(), "size": size, "digest": digest,
        "lastModified": modified, "etag": etag});
    out.text(&format!("{found}\n"))
}

fn is_web(url: &str) -> bool {
    url.starts_with("https://") || url.starts_with("http://")
}

/// What is known of a URL: the line that was printed when it was fetched (RFC 9110 section 13.1).
struct Known(Value);

impl Known {
    /// None when it is about something else; then the file is fetched as if nothing were known.
    fn read(path: &Path, args: &Args) -> Option<Self> {
        let line: Value = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
        let digest: Digest = line["digest"].as_str()?.parse().ok()?;
        let ours = line["url"] == args.url.as_str() && args.checksum.as_ref().is_none_or(|wanted| *wanted == digest);
        ours.then_some(Self(line))
    }

    /// The question whether there is anything newer. A server's `ETag` says more than a time.
    fn condition(&self) -> Option<(&'static str, &str)> {
        let etag = self.0["etag"].as_str().map(|etag| ("If-None-Match", etag));
        etag.or_else(|| Some(("If-Modified-Since", self.0["lastModified"].as_str()?)))
    }

    fn unchanged(mut self) -> Value {
        if let Some(line) = self.0.as_object_mut() {
            line.remove("path");
            line.insert("unchanged".into(), true.into());
        }
        self.0
    }
}

/// The answer behind all redirects. From https no way leads back to http.
fn get(url: &str, known: Option<&Known>) -> anyhow::Result<Response<Body>> {
    let agent = agent()?;
    let mut url = url.to_owned();
    let condition = known.and_then(Known::condition);
    for _ in 0..=MOST_REDIRECTS {
        let mut request = agent.get(&url);
        if let Some((name, value)) = condition {
            request = request.header(name, value);
        }
        let answer = request.call().with_context(|| format!("GET {url}"))?;
        if condition.is_some() && answer.status() == StatusCode::NOT_MODIFIED {
            return Ok(answer);
        }
        if !answer.status().is_redirection() {
            if answer.status().as_u16() != 200 {
                bail!("GET {url}: {}", answer.status());
            }
            return Ok(answer);
        }
        let next = answer.headers().get("location").and_then(|value| value.to_str().ok());
        let next = joined(&url, next.with_context(|| format!("GET {url}: {} without Location", answer.status()))?)?;
        if url.starts_with("https://") && !next.starts_with("https://") {
            bail!("GET {url}: leads to {next}, without encryption");
        }
        url = next;
    }
    bail!("GET {url}: more than {MOST_REDIRECTS} redirects")
}

fn agent() -> anyhow::Result<ureq::Agent> {
    let roots = match std::env::var_os("SSL_CERT_FILE") {
        None => RootCerts::WebPki,
        Some(path) => {
            let pem = std::fs::read(&path).with_context(|| path.display().to_string())?;
            let certificates = parse_pem(&pem).filter_map(|item| match item {
                Ok(PemItem::Certificate(certificate)) => Some(certificate),
                _ => None,
            });
            certificates.collect::<Vec<_>>().into()
        }
    };
    Ok(ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .user_agent(concat!("url-get/", env!("CARGO_PKG_VERSION")))
        .accept_encoding("identity")
        .timeout_connect(Some(PATIENCE))
        .timeout_recv_response(Some(PATIENCE))
        .timeout_per_read(Some(PATIENCE))
        .tls_config(TlsConfig::builder().root_certs(roots).build())
        .build()
        .new_agent())
}

/// A Location: a whole URL, or a path on the same server.
fn joined(from: &str, location: &str) -> anyhow::Result<String> {
    if is_web(location) {
        return Ok(location.to_owned());
    }
    let (scheme, rest) = from.split_once("://").context("no scheme")?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    if let Some(other) = location.strip_prefix("//") {
        return Ok(format!("{scheme}://{other}"));
    }
    if location.contains("://") {
        bail!("GET {from}: leads to {location}, which is no web address");
    }
    let directory = path.split(['?', '#']).next().unwrap_or_default().rsplit_once('/').map_or("", |(above, _)| above);
    Ok(match (location.strip_prefix('/'), directory) {
        (Some(path), _) => format!("{scheme}://{host}/{path}"),
        (None, "") => format!("{scheme}://{host}/{location}"),
        (None, directory) => format!("{scheme}://{host}/{directory}/{location}"),
    })
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`
fn seconds_of(date: &str) -> Option<i64> {
    jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(date).ok().map(jiff::Timestamp::as_second)
}

/// Temp, hash, compare, rename: the file is there whole, or not at all.
fn store(answer: Response<Body>, path: &Path, wanted: Option<&Digest>, seconds: i64) -> anyhow::Result<(u64, String)> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut temp = tempfile::Builder::new().prefix(".url-get-").tempfile_in(dir)?;
    let mut body = answer.into_body().into_with_config().limit(LARGEST).reader();
    let (mut hash, mut size, mut buffer) = (Sha256::new(), 0, vec![0; 256 << 10]);
    loop {
        let read = body.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        hash.update(&buffer[..read]);
        temp.write_all(&buffer[..read])?;
        size += read as u64;
    }
    let hex = hash.finalize().iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
    let digest = format!("sha256:{hex}");
    if let Some(wanted) = wanted
        && wanted.to_string() != digest
    {
        bail!("--checksum={wanted}: the content is {digest}");
    }
    let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
    futimens(temp.as_file(), &Timestamps { last_access: time, last_modification: time })?;
    temp.persist(path)?;
    Ok((size, digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_location_leads() {
        for (from, location, want) in [
            ("http://h/a/b?q", "/c", "http://h/c"),
            ("http://h/a/b?q/r", "c", "http://h/a/c"),
            ("https://h", "c?d", "https://h/c?d"),
            ("https://h/x", "//g/y", "https://g/y"),
            ("https://h/x", "https://g/y", "https://g/y"),
        ] {
            assert_eq!(joined(from, location).unwrap(), want);
        }
        assert!(joined("http://h/", "file:///etc/passwd").is_err());
        assert_eq!(seconds_of("Sun, 09 Sep 2001 01:46:40 GMT"), Some(1_000_000_000));
        assert_eq!(seconds_of("yesterday"), None);
    }
}

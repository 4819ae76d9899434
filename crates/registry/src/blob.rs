//! A blob on the wire, of exactly the size that its descriptor says.

use crate::client::{Client, body, header};
use crate::{Error, Result, retry};
use std::fmt;
use std::io::{self, Read};
use std::time::Instant;
use ureq::BodyReader;

/// The bytes of one blob as they arrive. A cut line is taken up again with `Range`; more or fewer bytes than
/// the descriptor says are an error.
pub struct Blob<'a> {
    client: &'a Client,
    repository: String,
    url: String,
    size: u64,
    got: u64,
    /// Fresh starts that led to next to nothing.
    tries: u32,
    body: BodyReader<'static>,
    pace: Pace,
}

/// Less than this in a second is a connection that hangs.
const SLOWEST: u64 = 1024;

/// What came since a moment: a server that sends a byte a minute is as silent as one that sends none.
struct Pace {
    since: Instant,
    bytes: u64,
}

impl Pace {
    fn start() -> Self {
        Self { since: Instant::now(), bytes: 0 }
    }
}

impl fmt::Debug for Blob<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Blob({}, {} of {})", self.url, self.got, self.size)
    }
}

impl<'a> Blob<'a> {
    pub(crate) fn open(client: &'a Client, repository: &str, url: String, size: u64, from: u64) -> Result<Self> {
        let body = start(client, repository, &url, from, size)?;
        Ok(Self { client, repository: repository.into(), url, size, got: from, tries: 1, body, pace: Pace::start() })
    }

    /// How many bytes there will be.
    pub fn size(&self) -> u64 {
        self.size
    }

    fn short(&self) -> io::Error {
        let message = format!("GET {}: ends after {} of {} bytes", self.url, self.got, self.size);
        io::Error::new(io::ErrorKind::UnexpectedEof, message)
    }

    /// Looks at the pace once in the client's patience. Enough on the way makes the tries of before undone.
    fn arrived(&mut self, bytes: u64) -> io::Result<()> {
        self.pace.bytes += bytes;
        let patience = self.client.patience();
        let enough = SLOWEST.saturating_mul(patience.as_secs().max(1));
        if self.pace.bytes >= enough {
            (self.tries, self.pace) = (1, Pace::start());
        } else if self.pace.since.elapsed() >= patience && self.got < self.size {
            let message = format!("GET {}: {} bytes in {patience:?}", self.url, self.pace.bytes);
            self.resume(io::Error::new(io::ErrorKind::TimedOut, message))?;
        }
        Ok(())
    }

    /// Begins again at the byte that is missing, or gives `cause` back.
    fn resume(&mut self, cause: io::Error) -> io::Result<()> {
        if self.tries >= retry::TRIES {
            return Err(cause);
        }
        retry::wait(self.tries, None);
        self.tries += 1;
        self.pace = Pace::start();
        self.body = start(self.client, &self.repository, &self.url, self.got, self.size).map_err(io::Error::other)?;
        Ok(())
    }
}

impl Read for Blob<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.body.read(buffer) {
                Ok(0) if self.got < self.size => self.resume(self.short())?,
                Ok(0) => return Ok(0),
                Ok(n) if self.got + n as u64 > self.size => {
                    return Err(io::Error::other(format!("GET {}: more than {} bytes", self.url, self.size)));
                }
                Ok(n) => {
                    self.got += n as u64;
                    self.arrived(n as u64)?;
                    return Ok(n);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Everything is here; how the connection ends does not matter.
                Err(_) if self.got == self.size => return Ok(0),
                Err(error) => self.resume(io::Error::new(error.kind(), format!("GET {}: {error}", self.url)))?,
            }
        }
    }
}

/// Asks for the bytes from `from` on. A server that does not know ranges sends all: then the part that we have
/// is read and dropped.
fn start(client: &Client, repository: &str, url: &str, from: u64, size: u64) -> Result<BodyReader<'static>> {
    let range = format!("bytes={from}-");
    let headers: &[(&str, &str)] = if from == 0 { &[] } else { &[("Range", &range)] };
    let response = client.get(url, repository, headers)?;
    let wrong =
        |message: String| Error::Status { request: format!("GET {url}"), code: response.status().as_u16(), message };
    let partial = response.status().as_u16() == 206;
    if partial && from > 0 {
        let answered = header(response.headers(), "content-range").unwrap_or_default();
        if !answered.starts_with(&format!("bytes {from}-")) {
            return Err(wrong(format!("asked for {range}, got {}", crate::error::clip(answered))));
        }
    }
    let skip = if partial { 0 } else { from };
    let expected = if partial { size - from } else { size };
    if let Some(announced) = response.body().content_length().filter(|length| *length != expected) {
        return Err(wrong(format!("the blob has {announced} bytes, its descriptor says {expected}")));
    }
    let mut body = body(response);
    let transport =
        |cause: io::Error| Error::Transport { request: format!("GET {url}"), cause: Box::new(cause.into()) };
    let dropped = io::copy(&mut (&mut body).take(skip), &mut io::sink()).map_err(transport)?;
    if dropped < skip {
        return Err(transport(io::ErrorKind::UnexpectedEof.into()));
    }
    Ok(body)
}

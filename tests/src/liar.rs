//! A registry that does what a real one will not do on demand: it cuts, lies, throttles and redirects. Each
//! test says what it answers.

use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What is sent back, as bytes on the wire; the connection closes after it.
pub type Answer = Vec<u8>;

/// A server on a port of 127.0.0.1. Its thread ends with the test process.
#[derive(Debug)]
pub struct Liar {
    port: u16,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Liar {
    /// Answers each request head (request line and headers, in lower case) with `answer`; the number counts them
    /// from 0.
    pub fn start(answer: impl Fn(&str, usize) -> Answer + Send + Sync + 'static) -> Self {
        Self::with_body(move |head, _, count| answer(&head.to_lowercase(), count))
    }

    /// The same with the head as it came, and the body of the length that it announces.
    pub fn with_body(answer: impl Fn(&str, &[u8], usize) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let port = listener.local_addr().expect("port").port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (log, answer) = (Arc::clone(&seen), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
                std::thread::spawn(move || serve(stream, &log, &*answer));
            }
        });
        Self { port, seen }
    }

    /// `127.0.0.1:PORT`
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The heads of all requests so far, in lower case.
    pub fn seen(&self) -> Vec<String> {
        self.seen.lock().expect("log").clone()
    }
}

fn serve(mut stream: TcpStream, log: &Mutex<Vec<String>>, answer: &dyn Fn(&str, &[u8], usize) -> Answer) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n == 1) {
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    if head.is_empty() {
        return;
    }
    let lower = head.to_lowercase();
    let length = lower.split("\r\ncontent-length: ").nth(1).and_then(|rest| rest.split("\r\n").next()?.parse().ok());
    let mut body = vec![0; length.filter(|length| *length < 1 << 20).unwrap_or(0)];
    // A client that sends less has gone.
    let _ = stream.read_exact(&mut body);
    let count = {
        let mut log = log.lock().expect("log");
        log.push(lower);
        log.len() - 1
    };
    let answer = answer(&head, &body, count);
    let _ = stream.write_all(&answer);
    let says = |word: &str| answer.windows(word.len()).any(|part| part == word.as_bytes());
    if says(HOLD) {
        std::thread::sleep(Duration::from_secs(30));
    }
    while says(DRIP) && stream.write_all(b".").is_ok() {
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A header of an answer after which the connection stays open and silent.
pub const HOLD: &str = "X-Then: hold";
/// A header of an answer after which a byte comes now and then.
pub const DRIP: &str = "X-Then: drip";

/// A whole answer.
pub fn reply(status: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let mut text = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n", body.len());
    for (name, value) in headers {
        let _ = write!(text, "{name}: {value}\r\n");
    }
    text.push_str("\r\n");
    [text.as_bytes(), body].concat()
}

/// An honest image with one layer, to be lied about.
#[derive(Debug, Clone)]
pub struct Honest {
    /// The manifest.
    pub manifest: Vec<u8>,
    /// The layer.
    pub layer: Vec<u8>,
    /// The digest of the layer.
    pub layer_digest: String,
    /// By digest: configuration and layer.
    pub blobs: HashMap<String, Vec<u8>>,
}

impl Honest {
    /// An image for linux/amd64 whose layer has `size` bytes.
    pub fn image(size: usize) -> Self {
        let layer: Vec<u8> = (0..size).map(|i| u8::try_from(i * 7 % 251).expect("byte")).collect();
        let layer_digest = digest(&layer);
        let config = format!(
            r#"{{"architecture":"amd64","os":"linux","config":{{}},"rootfs":{{"type":"layers","diff_ids":["{layer_digest}"]}}}}"#
        );
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{}","size":{}}},"layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{layer_digest}","size":{size}}}]}}"#,
            digest(config.as_bytes()),
            config.len()
        );
        let blobs = [(digest(config.as_bytes()), config.into_bytes()), (layer_digest.clone(), layer.clone())].into();
        Self { manifest: manifest.into_bytes(), layer, layer_digest, blobs }
    }

    /// The honest answer to a request.
    pub fn answer(&self, head: &str) -> Answer {
        let path = head.split(' ').nth(1).unwrap_or_default();
        if path.contains("/manifests/") {
            return reply("200 OK", &[("Content-Type", MANIFEST)], &self.manifest);
        }
        match path.split_once("/blobs/").and_then(|(_, digest)| self.blobs.get(digest)) {
            Some(blob) => reply("200 OK", &[], blob),
            None => reply("404 Not Found", &[], b""),
        }
    }
}

/// The media type of an OCI manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// `sha256:…`
pub fn digest(bytes: &[u8]) -> String {
    let mut text = String::from("sha256:");
    for byte in Sha256::digest(bytes) {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

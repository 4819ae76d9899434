//! Who we are to a registry: `~/.docker/config.json`, and the helpers that it names.

use anyhow::{Context, bail};
use registry::{Credentials, Lookup, from_helper, lookup};
use serde_json::Value;
use std::env;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

const LARGEST_FILE: u64 = 4 << 20;

/// The credentials for `host`; None is anonymous, which is enough for what is public.
pub fn find(host: &str) -> anyhow::Result<Option<Credentials>> {
    let Some(path) = path() else { return Ok(None) };
    let mut text = Vec::new();
    match File::open(&path) {
        Ok(file) => file.take(LARGEST_FILE).read_to_end(&mut text).with_context(|| path.display().to_string())?,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
        Err(error) => return Err(error).with_context(|| path.display().to_string()),
    };
    let config: Value = serde_json::from_slice(&text).with_context(|| path.display().to_string())?;
    match lookup(&config, host).with_context(|| path.display().to_string())? {
        Lookup::Absent => Ok(None),
        Lookup::Found(credentials) => Ok(Some(credentials)),
        Lookup::Helper { name, server } => match ask(&name, &server, host) {
            Ok(found) => Ok(found),
            // A configuration copied from a desktop names a helper that is not here; public images still are.
            Err(error) => {
                eprintln!("img-pull: {host}: {error:#}; going on without credentials");
                Ok(None)
            }
        },
    }
}

fn path() -> Option<PathBuf> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let dir = set("DOCKER_CONFIG").or_else(|| Some(set("HOME")?.join(".docker")))?;
    Some(dir.join("config.json"))
}

/// Runs `docker-credential-NAME get` (docker-credential-helpers' protocol): the server on stdin, JSON on stdout.
fn ask(name: &str, server: &str, host: &str) -> anyhow::Result<Option<Credentials>> {
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) {
        bail!("{name:?} is no name of a credential helper");
    }
    let program = format!("docker-credential-{name}");
    let mut child = Command::new(&program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| program.clone())?;
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that does not read has its answer anyway.
        let _ = stdin.write_all(server.as_bytes());
    }
    let mut answer = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        stdout.take(LARGEST_FILE).read_to_end(&mut answer).with_context(|| program.clone())?;
    }
    let status = child.wait().with_context(|| program.clone())?;
    if status.success() {
        return Ok(Some(from_helper(&answer, host)?));
    }
    // The protocol's words for "nothing stored".
    if String::from_utf8_lossy(&answer).contains("credentials not found") {
        return Ok(None);
    }
    bail!("{program}: {status}")
}

//! Docker's `config.json`: who we are to each registry, and the helpers that keep secrets instead of the file.

use crate::credentials::from_helper;
use crate::credentials::{Stored, erase, place, set};
use crate::error::clip;
use crate::{Certificates, Client, Credentials, Error, Lookup, Options, Proxies, Result, lookup, mirrors};
use serde::Serialize;
use serde_json::{Value, json};
use std::ffi::OsString;
use std::fs::{DirBuilder, File};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

const LARGEST_FILE: u64 = 4 << 20;

/// What a tool has found out about its surroundings before it speaks to registries.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Docker's `config.json`, which a login changes.
    pub login_file: Option<PathBuf>,
    /// Podman's `auth.json`, for hosts that docker's file does not know.
    pub podman_file: Option<PathBuf>,
    /// The same in a text, before the files: `DOCKER_AUTH_CONFIG`.
    pub credential_text: Option<String>,
    /// Before both, for one host: see [`Settings::give`].
    given: Option<(String, Credentials)>,
    /// Root certificates in PEM, instead of the built-in ones.
    pub authorities: Option<PathBuf>,
    /// Certificates by host, as in `/etc/docker/certs.d`.
    pub certificates: Option<PathBuf>,
    /// Which requests take a way around.
    pub proxies: Proxies,
    /// How long a host may be silent; zero is the default of a minute.
    pub patience: Duration,
    /// Plain HTTP, as the user asked for.
    pub plain_http: bool,
    /// Files that declare mirrors; one that is not there declares none.
    pub mirrors: Vec<PathBuf>,
}

const USUAL_PATIENCE: Duration = Duration::from_secs(60);

impl Settings {
    /// What the variables of the environment say; `look` gives the value of one.
    pub fn of_environment(look: impl Fn(&str) -> Option<OsString>) -> Result<Self> {
        let path = |name: &str| look(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let text = |names: &[&str]| {
            let value = names.iter().find_map(|name| look(name).filter(|value| !value.is_empty()));
            value.and_then(|value| value.into_string().ok()).unwrap_or_default()
        };
        let home = path("HOME");
        let in_home = |name: &str| home.as_ref().map(|home| home.join(name));
        let docker = path("DOCKER_CONFIG").or_else(|| in_home(".docker")).map(|dir| dir.join("config.json"));
        let podman = path("REGISTRY_AUTH_FILE")
            .or_else(|| Some(path("XDG_RUNTIME_DIR")?.join("containers/auth.json")).filter(|path| path.exists()))
            .or_else(|| Some(path("XDG_CONFIG_HOME").or_else(|| in_home(".config"))?.join("containers/auth.json")));
        let seconds = text(&["DOCK_REGISTRY_TIMEOUT"]);
        let patience = match &seconds[..] {
            "" => Ok(0),
            text => text.parse::<u32>().map_err(|_| Error::Timeout(clip(text))),
        };
        Ok(Self {
            login_file: docker,
            podman_file: podman,
            credential_text: Some(text(&["DOCKER_AUTH_CONFIG"])).filter(|text| !text.is_empty()),
            given: None,
            authorities: path("SSL_CERT_FILE"),
            certificates: Some(path("DOCK_CERTS").unwrap_or_else(|| "/etc/docker/certs.d".into())),
            proxies: Proxies {
                http: text(&["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"]),
                https: text(&["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]),
                none_for: text(&["NO_PROXY", "no_proxy"]),
            },
            patience: Duration::from_secs(patience?.into()),
            plain_http: false,
            mirrors: Vec::new(),
        })
    }

    /// Credentials from the user: `USER:PASSWORD`, which is for `host` and nobody else, its mirrors included, or a
    /// text in the form of `config.json`.
    pub fn give(&mut self, text: &str, host: &str) -> Result<()> {
        if text.starts_with('{') {
            self.credential_text = Some(text.to_owned());
            return Ok(());
        }
        let bad = || Error::Credentials { host: host.into(), reason: "want USER:PASSWORD, or JSON".into() };
        let (user, password) = text.split_once(':').filter(|(user, _)| !user.is_empty()).ok_or_else(bad)?;
        if text.contains(char::is_control) {
            return Err(bad());
        }
        self.given = Some((host.into(), Credentials::Basic { user: user.into(), password: password.into() }));
        Ok(())
    }

    /// A client for a host, with the host's credentials. What is only worth a warning goes to `warn`.
    pub fn client(&self, host: &str, mut warn: impl FnMut(String)) -> Result<Client> {
        let credentials = self.credentials(host, &mut warn)?;
        self.client_as(host, credentials)
    }

    fn credentials(&self, host: &str, warn: &mut impl FnMut(String)) -> Result<Option<Credentials>> {
        if let Some((_, credentials)) = self.given.as_ref().filter(|(whose, _)| whose == host) {
            return Ok(Some(credentials.clone()));
        }
        let text =
            self.credential_text.as_ref().map(|text| ConfigFile::of(Path::new("DOCKER_AUTH_CONFIG"), text.as_bytes()));
        let files = self.login_file.iter().chain(&self.podman_file).map(|path| ConfigFile::read(path));
        for file in text.into_iter().chain(files) {
            if let Some(found) = file?.credentials(host, &mut *warn)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The clients to ask for what `host` has, in order: its mirrors, then itself. Each has its own credentials.
    pub fn sources(&self, host: &str, mut warn: impl FnMut(String)) -> Result<Vec<Client>> {
        let mut sources = Vec::new();
        for path in &self.mirrors {
            let found = match mirrors(path, host) {
                Err(Error::File { cause, .. }) if cause.kind() == ErrorKind::NotFound => continue,
                other => other?,
            };
            for mirror in found {
                let settings = Self { plain_http: mirror.plain_http, ..self.clone() };
                sources.push(settings.client(&mirror.host, &mut warn)?);
            }
        }
        sources.push(self.client(host, &mut warn)?);
        Ok(sources)
    }

    /// A client for a host, with the credentials that are given.
    pub fn client_as(&self, host: &str, credentials: Option<Credentials>) -> Result<Client> {
        let certificates = self.certificates.as_ref().map(|dir| Certificates::of(dir, host)).transpose()?;
        let options = Options {
            user_agent: concat!("dock/", env!("CARGO_PKG_VERSION")).into(),
            credentials,
            plain_http: self.plain_http,
            authorities: self.authorities.clone(),
            certificates: certificates.unwrap_or_default(),
            proxies: self.proxies.clone(),
            patience: if self.patience.is_zero() { USUAL_PATIENCE } else { self.patience },
        };
        Client::new(host, options)
    }
}

/// The file, as it was read.
#[derive(Debug)]
pub struct ConfigFile {
    path: PathBuf,
    config: Value,
}

impl ConfigFile {
    /// Reads the file; one that is not there is empty.
    pub fn read(path: &Path) -> Result<Self> {
        match read(path) {
            Ok(text) => Self::of(path, &text),
            Err(Error::File { cause, .. })
                if matches!(cause.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                Ok(Self { path: path.into(), config: json!({}) })
            }
            Err(error) => Err(error),
        }
    }

    fn of(path: &Path, text: &[u8]) -> Result<Self> {
        Ok(Self { path: path.into(), config: json_of(path, text)? })
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The credentials for `host`; None is anonymous, which is enough for what is public.
    pub fn credentials(&self, host: &str, warn: impl FnOnce(String)) -> Result<Option<Credentials>> {
        match lookup(&self.config, host)? {
            Lookup::Absent => Ok(None),
            Lookup::Found(credentials) => Ok(Some(credentials)),
            Lookup::Helper { name, server } => match ask(&name, &server, host) {
                Ok(found) => Ok(found),
                // A configuration copied from a desktop names a helper that is not here; public images still are.
                Err(error) => {
                    warn(format!("{host}: {error}; going on without credentials"));
                    Ok(None)
                }
            },
        }
    }

    /// Keeps user and password for `host`: with the helper that the file names for it, else in the file itself.
    pub fn store(&mut self, host: &str, user: &str, password: &str) -> Result<Stored> {
        let stored = place(&self.config, host);
        if let Stored::Helper { name, server } = &stored {
            let input = json!({"ServerURL": server, "Username": user, "Secret": password}).to_string();
            helper(name, "store", &input)?;
        }
        set(&mut self.config, host, (stored == Stored::File).then_some((user, password)))
            .ok_or_else(|| Error::Json { path: self.path.clone(), reason: "\"auths\" is not an object".into() })?;
        self.write()?;
        Ok(stored)
    }

    /// Forgets the credentials of `host`. False when there were none.
    pub fn erase(&mut self, host: &str) -> Result<bool> {
        let mut found = false;
        if let Stored::Helper { name, server } = place(&self.config, host) {
            found = ask(&name, &server, host)?.is_some();
            if found {
                helper(&name, "erase", &server)?;
            }
        }
        if erase(&mut self.config, host) {
            self.write()?;
            found = true;
        }
        Ok(found)
    }

    /// Temp, fsync, rename; nobody but the owner reads it. Members that we do not know stay as they are.
    fn write(&self) -> Result<()> {
        // A link stays one: what it points to is replaced.
        let path = std::fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let at = |cause| Error::File { path: path.clone(), cause };
        let dir = path.parent().unwrap_or(Path::new("/"));
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(at)?;
        let mut text = Vec::new();
        let docker = serde_json::ser::PrettyFormatter::with_indent(b"\t");
        self.config
            .serialize(&mut serde_json::Serializer::with_formatter(&mut text, docker))
            .map_err(|error| Error::Json { path: path.clone(), reason: error.to_string() })?;
        let mut temp = tempfile::Builder::new().prefix(".config.json.").tempfile_in(dir).map_err(at)?;
        temp.write_all(&text).and_then(|()| temp.as_file().sync_all()).map_err(at)?;
        temp.persist(&path).map_err(|error| at(error.error))?;
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(at)
    }
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    let at = |cause| Error::File { path: path.into(), cause };
    let mut text = Vec::new();
    File::open(path).and_then(|file| file.take(LARGEST_FILE).read_to_end(&mut text)).map_err(at)?;
    Ok(text)
}

pub(crate) fn json_of(path: &Path, text: &[u8]) -> Result<Value> {
    // The message of the parser names a place, and never the text there.
    let value: Value =
        serde_json::from_slice(text).map_err(|error| Error::Json { path: path.into(), reason: error.to_string() })?;
    if value.is_object() { Ok(value) } else { Err(Error::Json { path: path.into(), reason: "not an object".into() }) }
}

fn ask(name: &str, server: &str, host: &str) -> Result<Option<Credentials>> {
    Ok(match helper(name, "get", server)? {
        Some(answer) => Some(from_helper(&answer, host)?),
        None => None,
    })
}

/// Runs `docker-credential-NAME VERB` (docker-credential-helpers' protocol): the server, or JSON, on stdin. None
/// is the protocol's "nothing stored".
fn helper(name: &str, verb: &str, input: &str) -> Result<Option<Vec<u8>>> {
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) {
        return Err(Error::Helper(format!("{name:?} is no name of a credential helper")));
    }
    let program = format!("docker-credential-{name}");
    let at = |cause: std::io::Error| Error::Helper(format!("{program}: {cause}"));
    let mut command = Command::new(&program);
    command.arg(verb).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(at)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that does not read has its answer anyway.
        let _ = stdin.write_all(input.as_bytes());
    }
    let mut answer = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        stdout.take(LARGEST_FILE).read_to_end(&mut answer).map_err(at)?;
    }
    let status = child.wait().map_err(at)?;
    if status.success() {
        return Ok(Some(answer));
    }
    if String::from_utf8_lossy(&answer).contains("credentials not found") {
        return Ok(None);
    }
    Err(Error::Helper(format!("{program}: {status}")))
}

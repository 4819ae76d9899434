//! Certificates of one host as docker lays them out (`dockerd` documentation, "Verify repository client with
//! certificates"): `HOST[:PORT]/*.crt` are authorities, and `X.cert` with `X.key` is who we are there.

use crate::config::read;
use crate::{Error, Result};
use std::io::ErrorKind;
use std::path::Path;
use ureq::tls::{Certificate, ClientCert, PemItem, parse_pem};

/// What a directory of certificates says about one host.
#[derive(Debug, Clone, Default)]
pub struct Certificates {
    /// Besides those that are trusted anyway.
    pub(crate) authorities: Vec<Certificate<'static>>,
    /// Shown to this host, and to no other one.
    pub(crate) ours: Option<ClientCert>,
}

impl Certificates {
    /// Reads `dir/host`; a directory that is not there says nothing.
    pub fn of(dir: &Path, host: &str) -> Result<Self> {
        let dir = dir.join(host);
        let at = |cause| Error::File { path: dir.clone(), cause };
        let entries = match std::fs::read_dir(&dir) {
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Ok(Self::default());
            }
            other => other.map_err(at)?,
        };
        let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>().map_err(at)?;
        paths.sort();
        let mut found = Self::default();
        for path in paths {
            match path.extension().and_then(std::ffi::OsStr::to_str) {
                Some("crt") => found.authorities.extend(certificates(&path)?),
                Some("cert") => {
                    let identity = identity(&path, &path.with_extension("key"))?;
                    // Docker takes several and lets the server choose; nobody has two.
                    found.ours.get_or_insert(identity);
                }
                Some("key") if !path.with_extension("cert").exists() => {
                    return Err(bad(&path, "a key without its .cert beside it"));
                }
                _ => {}
            }
        }
        Ok(found)
    }
}

fn identity(certificate: &Path, key: &Path) -> Result<ClientCert> {
    let chain = certificates(certificate)?;
    let text = read(key)?;
    let mut items = parse_pem(&text).filter_map(|item| match item {
        Ok(PemItem::PrivateKey(key)) => Some(key),
        _ => None,
    });
    let key = items.next().ok_or_else(|| bad(key, "no private key in PEM"))?;
    Ok(ClientCert::new_with_certs(&chain, key))
}

/// All certificates of a PEM file; one at least.
pub(crate) fn certificates(path: &Path) -> Result<Vec<Certificate<'static>>> {
    let mut certificates = Vec::new();
    for item in parse_pem(&read(path)?) {
        if let PemItem::Certificate(certificate) = item.map_err(|error| bad(path, &error.to_string()))? {
            certificates.push(certificate);
        }
    }
    if certificates.is_empty() { Err(bad(path, "no certificate in the file")) } else { Ok(certificates) }
}

fn bad(path: &Path, reason: &str) -> Error {
    Error::Certificates { path: path.into(), reason: reason.into() }
}

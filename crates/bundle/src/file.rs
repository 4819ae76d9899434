//! Files of a bundle: read with a limit, written to a temporary name, synced, renamed.

use crate::{Error, Result};
use serde::{Serialize, de::DeserializeOwned};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// As the image configuration that they come from.
const LARGEST: u64 = 4 << 20;

pub fn read(dir: &Path, name: &str) -> Result<Vec<u8>> {
    let path = dir.join(name);
    let io = |cause| Error::Io(path.clone(), cause);
    // Most of them are smaller, also a config.json with docker's filter: one read, where an empty buffer would grow from
    // 32 bytes by doubling. Memory that is not written to costs nothing.
    let mut bytes = Vec::with_capacity(32 * 1024);
    File::open(&path).map_err(io)?.take(LARGEST + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > LARGEST {
        return Err(Error::Large(path, LARGEST));
    }
    Ok(bytes)
}

pub fn read_if_there(dir: &Path, name: &str) -> Result<Option<Vec<u8>>> {
    match read(dir, name) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(Error::Io(_, cause)) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

pub fn read_json<T: DeserializeOwned>(dir: &Path, name: &str) -> Result<T> {
    serde_json::from_slice(&read(dir, name)?).map_err(|cause| Error::Json(dir.join(name), cause))
}

pub fn read_json_if_there<T: DeserializeOwned>(dir: &Path, name: &str) -> Result<Option<T>> {
    let Some(bytes) = read_if_there(dir, name)? else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).map_err(|cause| Error::Json(dir.join(name), cause))
}

pub fn write_json(dir: &Path, name: &str, value: &impl Serialize) -> Result<()> {
    let mut text = serde_json::to_vec_pretty(value).map_err(|cause| Error::Json(dir.join(name), cause))?;
    text.push(b'\n');
    write(dir, name, &text)
}

pub fn write(dir: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let path = dir.join(name);
    let temporary = dir.join(format!(".{name}.{}", &crate::names::id()[..8]));
    replace(&temporary, &path, bytes).map_err(|cause| {
        let _ = std::fs::remove_file(&temporary);
        Error::Io(path, cause)
    })
}

fn replace(temporary: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(temporary, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let of = |length| File::create(dir.path().join("x")).unwrap().set_len(length).unwrap();
        of(LARGEST);
        assert_eq!(read(dir.path(), "x").unwrap().len() as u64, LARGEST);
        of(LARGEST + 1);
        assert!(matches!(read_if_there(dir.path(), "x"), Err(Error::Large(..))));
        assert!(read_if_there(dir.path(), "y").unwrap().is_none());
    }
}

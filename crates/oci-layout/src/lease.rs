//! A printed digest is a promise: who stores a blob for somebody else to name it leases it until then.

use crate::error::{At, Result};
use crate::layout::{Layout, make_dir};
use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;
use wire::Digest;

/// Nobody comes back for a layer that is older: the pipe that it was made in has ended long since.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

impl Layout {
    /// Keeps a blob that nothing reaches from [`collect`](Self::collect), for a day or until it is
    /// [released](Self::release). The caller [holds](Self::hold) from before the blob is there.
    pub fn lease(&self, digest: &Digest) -> Result<()> {
        let path = self.lease_path(digest);
        make_dir(&self.private("leases"))?;
        self.replace(&path, b"")
    }

    /// Gives the lease up: something reaches the blob, or nobody wants it.
    pub fn release(&self, digest: &Digest) -> Result<()> {
        let path = self.lease_path(digest);
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.at(&path, "remove"),
        }
    }

    /// The blobs that are leased. A lease that has run out is none.
    pub(crate) fn leased(&self) -> Result<HashSet<Digest>> {
        let dir = self.private("leases");
        let entries = match fs::read_dir(&dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(HashSet::new()),
            other => other.at(&dir, "list")?,
        };
        let mut leased = HashSet::new();
        for entry in entries {
            let entry = entry.at(&dir, "list")?;
            let age = entry.metadata().and_then(|found| found.modified()).map(|time| time.elapsed());
            // A clock that went back makes nothing old.
            if !matches!(age, Ok(Ok(age)) if age > LONGEST) {
                leased.extend(entry.file_name().to_string_lossy().replacen('-', ":", 1).parse::<Digest>());
            }
        }
        Ok(leased)
    }

    /// Removes the leases of blobs that are not there (any more).
    pub(crate) fn sweep_leases(&self) {
        for entry in fs::read_dir(self.private("leases")).into_iter().flatten().flatten() {
            let digest = entry.file_name().to_string_lossy().replacen('-', ":", 1).parse::<Digest>();
            if digest.is_ok_and(|digest| self.has(&digest).is_none()) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    fn lease_path(&self, digest: &Digest) -> PathBuf {
        self.private("leases").join(format!("{}-{}", digest.algorithm().name(), digest.hex()))
    }
}

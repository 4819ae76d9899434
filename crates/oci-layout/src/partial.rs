//! Blobs that are cut in the middle: what is there stays for the next run, which hashes it again and goes on.

use crate::blob::BlobWriter;
use crate::error::{At, Result};
use crate::hash::Hasher;
use crate::layout::{Layout, make_dir};
use crate::temp::Temp;
use rustix::fs::{FlockOperation, OFlags, flock};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;
use wire::Descriptor;

/// Nobody comes back for a pull that is older.
const LONGEST_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

impl Layout {
    /// The blob of `descriptor` as far as an earlier run got: write the bytes from
    /// [`count`](BlobWriter::count) on. Dropped before the end, it stays for the next one; [`commit`] decides by
    /// the digest of all bytes, and removes what is wrong.
    ///
    /// [`commit`]: BlobWriter::commit
    pub fn resume(&self, descriptor: &Descriptor) -> Result<BlobWriter> {
        let dir = self.private("partial");
        make_dir(&dir)?;
        let path = dir.join(format!("{}-{}", descriptor.digest.algorithm().name(), descriptor.digest.hex()));
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        options.custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed());
        let mut file = options.open(&path).at(&path, "open")?;
        // Somebody else is at the same blob, or has just finished it: a file of our own.
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() || !is_still(&file, &path)? {
            return self.writer_for(descriptor.digest.algorithm());
        }
        let mut hasher = Hasher::new(descriptor.digest.algorithm());
        let mut count = file.metadata().at(&path, "stat")?.len();
        if count > descriptor.size {
            file.set_len(0).at(&path, "truncate")?;
            count = 0;
        }
        hash(&mut file, &mut hasher, count).at(&path, "read")?;
        Ok(self.writer_on(Temp::kept(file, path), hasher, count))
    }

    /// Removes every blob that is there in part and that nobody is writing now, for who wants the room more than the
    /// head start. Gives the bytes.
    pub fn discard_partial(&self) -> Result<u64> {
        self.remove_partial(Duration::ZERO)
    }

    /// Removes what nobody came back for.
    pub(crate) fn sweep_partial(&self) -> Result<()> {
        self.remove_partial(LONGEST_KEPT).map(drop)
    }

    fn remove_partial(&self, older: Duration) -> Result<u64> {
        let mut freed = 0;
        let dir = self.private("partial");
        let entries = match fs::read_dir(&dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            other => other.at(&dir, "list")?,
        };
        for entry in entries {
            let path = entry.at(&dir, "list")?.path();
            let age = fs::symlink_metadata(&path).and_then(|found| found.modified()).map(|time| time.elapsed());
            // A clock that went back makes nothing old.
            if older > Duration::ZERO && !matches!(age, Ok(Ok(age)) if age > older) {
                continue;
            }
            let mut options = OpenOptions::new();
            options.read(true).custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed());
            let Ok(file) = options.open(&path) else { continue };
            if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() && is_still(&file, &path)? {
                let size = file.metadata().map_or(0, |found| found.len());
                freed += fs::remove_file(&path).map_or(0, |()| size);
            }
        }
        Ok(freed)
    }
}

/// Whether the path leads to the file that we have locked: a finished one has moved to its digest.
fn is_still(file: &File, path: &Path) -> Result<bool> {
    let (ours, there) = (file.metadata().at(path, "stat")?, fs::symlink_metadata(path));
    Ok(ours.is_file() && there.is_ok_and(|there| (there.dev(), there.ino()) == (ours.dev(), ours.ino())))
}

/// Leaves the file's position at its end.
fn hash(file: &mut File, hasher: &mut Hasher, count: u64) -> io::Result<()> {
    let mut buffer = vec![0; 256 << 10];
    let mut rest = file.take(count);
    loop {
        match rest.read(&mut buffer)? {
            0 => return Ok(()),
            n => hasher.update(&buffer[..n]),
        }
    }
}

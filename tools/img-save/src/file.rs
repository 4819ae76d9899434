//! FILE is the old one or the whole new one: temporary file, fsync, rename.

use crate::archive::{Archive, Labelled};
use anyhow::Context;
use rustix::fs::OFlags;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use tempfile::NamedTempFile;

const PREFIX: &str = ".img-save-";

/// A device or a pipe is written to, and never replaced: `-o /dev/null` leaves the machine its /dev/null. A symbolic
/// link stays one.
pub fn write(path: &Path, archive: &Archive<'_>) -> anyhow::Result<()> {
    let label = path.display().to_string();
    let path = &path.canonicalize().unwrap_or_else(|_| path.to_owned());
    if path.metadata().is_ok_and(|there| !there.is_file()) {
        let to = File::options().write(true).open(path).with_context(|| label.clone())?;
        let mut to = Labelled(label, BufWriter::with_capacity(1 << 20, to));
        archive.write(&mut to)?;
        return Ok(to.flush()?);
    }
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let temp = temporary(dir).with_context(|| label.clone())?;
    let mut to = Labelled(label.clone(), BufWriter::with_capacity(1 << 20, temp.as_file()));
    archive.write(&mut to)?;
    to.flush()?;
    drop(to);
    temp.as_file().sync_all().with_context(|| label.clone())?;
    temp.persist(path).map_err(|error| error.error).with_context(|| label.clone())?;
    File::open(dir).and_then(|dir| dir.sync_all()).context(label)
}

/// Its lock says that its writer lives. What killed runs left goes now.
fn temporary(dir: &Path) -> io::Result<NamedTempFile> {
    loop {
        let temp = tempfile::Builder::new().prefix(PREFIX).tempfile_in(dir)?;
        temp.as_file().lock()?;
        let ours = temp.as_file().metadata()?;
        // Before it was locked, another run could take it for a dead one's.
        if ours.nlink() > 0 {
            sweep(dir, ours.uid());
            return Ok(temp);
        }
    }
}

/// Others' files are not touched, and what cannot be removed is in nobody's way.
fn sweep(dir: &Path, uid: u32) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if !entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes()) {
            continue;
        }
        // A directory may be everybody's: no link is followed, and no FIFO waited for.
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
        let Ok(file) = File::options().read(true).custom_flags(flags).open(entry.path()) else { continue };
        if file.metadata().is_ok_and(|found| found.is_file() && found.uid() == uid) && file.try_lock().is_ok() {
            let _ = fs::remove_file(entry.path());
        }
    }
}

//! The directory itself: OCI image-spec, image-layout.md, with our private files below `.dock/`.

use crate::error::{At, Error, Result};
use crate::temp::{self, Temp};
use crate::{index, names};
use rustix::fs::{FlockOperation, OFlags, flock, fstat};
use serde_json::Value;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use wire::{Algorithm, Descriptor, Digest};

const MARKER: &str = "oci-layout";
const MARKER_TEXT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;

/// An OCI image layout. A value is only its path: cheap to clone, free to share between threads.
#[derive(Debug, Clone)]
pub struct Layout {
    path: PathBuf,
}

impl Layout {
    /// Opens a layout that is there. Writes nothing: the file system may be read-only.
    pub fn open(path: &Path) -> Result<Self> {
        let path = std::path::absolute(path).at(path, "make absolute")?;
        let not = |reason: String| Error::NotALayout { path: path.clone(), reason };
        let marker = match read_capped(&path.join(MARKER), 4096) {
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Err(not(if path.exists() {
                    "no file oci-layout in it".into()
                } else {
                    "no such directory".into()
                }));
            }
            other => other?,
        };
        let marker: Value = serde_json::from_slice(&marker).map_err(|error| not(format!("oci-layout: {error}")))?;
        match marker.get("imageLayoutVersion").and_then(Value::as_str) {
            Some(version) if version.split('.').next() == Some("1") => Ok(Self { path }),
            Some(version) => Err(not(format!("oci-layout: version {version:?}, this program reads 1"))),
            None => Err(not("oci-layout: no imageLayoutVersion".into())),
        }
    }

    /// Opens a layout, makes it first when it is not there (mode 0700), and removes temporary files whose
    /// writers are gone.
    pub fn open_or_create(path: &Path) -> Result<Self> {
        let path = std::path::absolute(path).at(path, "make absolute")?;
        let layout = Self { path };
        match Self::open(&layout.path) {
            Err(Error::NotALayout { .. }) if !layout.path.exists() => layout.create_whole()?,
            Err(Error::NotALayout { .. }) if layout.may_become_one()? => layout.create()?,
            other => drop(other?),
        }
        if !layout.path.join(index::FILE).exists() {
            // An empty index would be the end of them: the next collection takes what nothing names.
            if !layout.blobs()?.is_empty() {
                let reason = "index.json is gone, and blobs are there: img-fsck --repair makes it anew".into();
                return Err(Error::NotALayout { path: layout.path, reason });
            }
            layout.create()?;
        }
        temp::sweep(&layout.private("tmp"))?;
        layout.sweep_partial()?;
        Ok(layout)
    }

    /// A directory with somebody's files in it is not turned into a layout by a slip of `--layout`.
    fn may_become_one(&self) -> Result<bool> {
        match fs::read_dir(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
            other => {
                for entry in other.at(&self.path, "list")? {
                    let name = entry.at(&self.path, "list")?.file_name();
                    if ![".dock", "blobs", "lost+found"].iter().any(|ours| name == *ours) {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
        }
    }

    /// Makes the layout beside its place and renames it there, so that nobody ever sees half of one.
    fn create_whole(&self) -> Result<()> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let (Some(parent), Some(name)) = (self.path.parent(), self.path.file_name()) else { return self.create() };
        make_dir(parent)?;
        let start = format!(".{}.new.", name.to_string_lossy());
        // The lock is lost when a sweep comes between the two calls: then the directory has no name any more.
        let (new, _lock) = loop {
            let serial = NEXT.fetch_add(1, Ordering::Relaxed);
            let new = Self { path: parent.join(format!("{start}{}.{serial}", std::process::id())) };
            make_dir(&new.path)?;
            let dir = match File::open(&new.path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other.at(&new.path, "open")?,
            };
            flock(&dir, FlockOperation::LockExclusive).at(&new.path, "lock")?;
            if fstat(&dir).at(&new.path, "stat")?.st_nlink > 0 {
                break (new, dir);
            }
        };
        new.create()?;
        if let Err(error) = fs::rename(&new.path, &self.path) {
            let _ = fs::remove_dir_all(&new.path);
            // Somebody else was faster, and theirs is as good.
            if !self.path.join(MARKER).exists() {
                return Err(error).at(&self.path, "rename");
            }
        }
        File::open(parent).at(parent, "open")?.sync_all().at(parent, "sync")?;
        remove_half_made(parent, &start)
    }

    fn create(&self) -> Result<()> {
        make_dir(&self.path)?;
        let _lock = self.lock_index()?;
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            make_dir(&self.path.join("blobs").join(algorithm.name()))?;
        }
        if !self.path.join(index::FILE).exists() {
            self.replace(&self.path.join(index::FILE), index::EMPTY.as_bytes())?;
        }
        // The marker comes last: it is what makes the directory a layout.
        if !self.path.join(MARKER).exists() {
            self.replace(&self.path.join(MARKER), MARKER_TEXT.as_bytes())?;
        }
        Ok(())
    }

    /// Absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The size of a blob that is there. Says nothing of its bytes: [`Layout::read`] does.
    pub fn has(&self, digest: &Digest) -> Option<u64> {
        let metadata = fs::symlink_metadata(self.blob_path(digest)).ok()?;
        metadata.is_file().then_some(metadata.len())
    }

    /// The file of a blob, whether it is there or not.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.path.join("blobs").join(digest.algorithm().name()).join(digest.hex())
    }

    /// The image that an operand names: exactly a name of the index, else the reference in its full form, else
    /// an image ID or manifest digest or a unique prefix of one. Pinned images are found by their whole digest.
    pub fn find(&self, operand: &str) -> Result<Descriptor> {
        names::find(self, operand)
    }

    /// Makes the renames of blobs durable. Naming and pinning do it themselves; a tool that prints a digest
    /// which nothing names calls it before.
    pub fn sync(&self) -> Result<()> {
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let dir = self.path.join("blobs").join(algorithm.name());
            match File::open(&dir) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => other.at(&dir, "open")?.sync_all().at(&dir, "sync")?,
            }
        }
        Ok(())
    }

    /// A file or directory below `.dock/`.
    pub(crate) fn private(&self, name: &str) -> PathBuf {
        self.path.join(".dock").join(name)
    }

    pub(crate) fn temp(&self) -> Result<Temp> {
        let dir = self.private("tmp");
        make_dir(&dir)?;
        Temp::create(&dir)
    }

    /// Replaces a small file: temporary file, sync, rename, sync of the directory.
    pub(crate) fn replace(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        let mut temp = self.temp()?;
        io::Write::write_all(temp.file(), bytes).at(path, "write")?;
        temp.persist(path)?;
        let dir = path.parent().unwrap_or(&self.path);
        File::open(dir).at(dir, "open")?.sync_all().at(dir, "sync")
    }

    /// The short lock around every change of `index.json`.
    pub(crate) fn lock_index(&self) -> Result<File> {
        self.lock("index.lock", FlockOperation::LockExclusive)
    }

    pub(crate) fn lock(&self, name: &str, how: FlockOperation) -> Result<File> {
        make_dir(&self.private(""))?;
        let path = self.private(name);
        let file =
            OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path).at(&path, "open")?;
        flock(&file, how).at(&path, "lock")?;
        Ok(file)
    }
}

/// Layouts whose makers were killed: nobody holds their lock.
fn remove_half_made(parent: &Path, start: &str) -> Result<()> {
    for entry in fs::read_dir(parent).at(parent, "list")? {
        let entry = entry.at(parent, "list")?;
        if entry.file_name().to_string_lossy().starts_with(start)
            && let Ok(dir) = File::open(entry.path())
            && flock(&dir, FlockOperation::NonBlockingLockExclusive).is_ok()
        {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    Ok(())
}

pub(crate) fn make_dir(path: &Path) -> Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).at(path, "create directory")
}

/// Opens a file of the layout for reading: no symbolic link, and no FIFO that would block.
pub(crate) fn open_file(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    Ok(file)
}

pub(crate) fn read_capped(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let file = open_file(path).at(path, "open")?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).at(path, "read")?;
    if bytes.len() as u64 > limit {
        return Err(Error::TooLarge { what: path.display().to_string(), size: bytes.len() as u64, limit });
    }
    Ok(bytes)
}

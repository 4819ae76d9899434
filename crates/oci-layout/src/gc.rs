//! Garbage collection: what no name, pin or lease reaches goes, while nobody writes.

use crate::error::{At, Error, Result};
use crate::image::{member, parse_document};
use crate::layout::Layout;
use rustix::fs::{FlockOperation, flock, major, minor};
use serde_json::Value;
use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::thread;
use std::time::Duration;
use wire::{Algorithm, Descriptor, Digest};

/// While one is alive, nobody's [`Layout::collect`] removes blobs. A writer takes it before its first blob and
/// gives it up when the index names what it wrote.
#[derive(Debug)]
pub struct Hold {
    /// None when reading from a store that we may not write to.
    _lock: Option<File>,
}

impl Layout {
    /// Keeps garbage collection out until the value is dropped. Many may hold at once.
    pub fn hold(&self) -> Result<Hold> {
        Ok(Hold { _lock: Some(self.lock("blobs.lock", FlockOperation::LockShared)?) })
    }

    /// The same for who only reads: a layout on a read-only medium, or somebody else's, can be read without a
    /// lock file in it. Then it is its owner who has to keep it as it is.
    pub fn hold_to_read(&self) -> Result<Hold> {
        if let Ok(file) = File::open(self.private("blobs.lock")) {
            flock(&file, FlockOperation::LockShared).at(&self.private("blobs.lock"), "lock")?;
            return Ok(Hold { _lock: Some(file) });
        }
        match self.hold() {
            Err(Error::Io { source, .. })
                if matches!(source.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem) =>
            {
                Ok(Hold { _lock: None })
            }
            other => other,
        }
    }

    /// Removes the blobs that neither the index nor a pin reaches and that are not leased, and says which. Waits for every hold: a
    /// caller who has one must drop it before.
    pub fn collect(&self) -> Result<Vec<(Digest, u64)>> {
        let _lock = self.lock("blobs.lock", FlockOperation::LockExclusive)?;
        self.remove_unreached()
    }

    /// [`collect`](Self::collect), but `None` at once when somebody holds.
    pub fn try_collect(&self) -> Result<Option<Vec<(Digest, u64)>>> {
        match self.lock("blobs.lock", FlockOperation::NonBlockingLockExclusive) {
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::WouldBlock => Ok(None),
            lock => {
                let _lock = lock?;
                self.remove_unreached().map(Some)
            }
        }
    }

    /// [`collect`](Self::collect) for who has something else to do: [`Error::Busy`] as soon as somebody is seen who
    /// writes, for to wait for a pull takes as long as the pull. Another collector is soon done, and of a writer who has
    /// just ended the kernel is about to take the lock: it is asked for again for up to two seconds.
    pub fn collect_unless_busy(&self) -> Result<Vec<(Digest, u64)>> {
        for _ in 0..100 {
            if let Some(removed) = self.try_collect()? {
                return Ok(removed);
            }
            let writers = self.writers();
            if !writers.is_empty() {
                return Err(Error::Busy(writers));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Err(Error::Busy(Vec::new()))
    }

    /// Who [holds](Self::hold) and keeps the sweep out, each as `NAME (PID)`, as far as the kernel tells (`/proc/locks`,
    /// `proc_locks(5)`). Empty where it does not, and when who held it has just ended.
    fn writers(&self) -> Vec<String> {
        let Ok(found) = fs::metadata(self.private("blobs.lock")) else { return Vec::new() };
        let (device, inode) = (found.dev(), found.ino());
        let place = format!("{:02x}:{:02x}:{inode}", major(device), minor(device));
        let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
        // 1: FLOCK ADVISORY READ PID MAJOR:MINOR:INODE 0 EOF; one that waits has an arrow behind the number.
        let holder = |line: &str| match line.split_whitespace().collect::<Vec<_>>()[..] {
            [_, "FLOCK", _, "READ", pid, held, ..] if held == place => pid.parse().ok(),
            _ => None,
        };
        let pids: BTreeSet<u32> = locks.lines().filter_map(holder).collect();
        let name = |pid: u32| Some(format!("{} ({pid})", fs::read_to_string(format!("/proc/{pid}/comm")).ok()?.trim()));
        pids.into_iter().filter_map(name).collect()
    }

    fn remove_unreached(&self) -> Result<Vec<(Digest, u64)>> {
        let reached = self.reached()?;
        let mut removed = Vec::new();
        for (digest, size) in self.blobs()? {
            if !reached.contains(&digest) {
                let path = self.blob_path(&digest);
                fs::remove_file(&path).at(&path, "remove")?;
                removed.push((digest, size));
            }
        }
        self.sweep_leases();
        Ok(removed)
    }

    /// Every blob of the store with its size, in the order of their digests. Files that are not named by a
    /// digest are nobody's blobs and are left out.
    pub fn blobs(&self) -> Result<Vec<(Digest, u64)>> {
        let mut blobs = Vec::new();
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let dir = self.path().join("blobs").join(algorithm.name());
            let entries = match fs::read_dir(&dir) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other.at(&dir, "list")?,
            };
            for entry in entries {
                let entry = entry.at(&dir, "list")?;
                let name = format!("{}:{}", algorithm.name(), entry.file_name().to_string_lossy());
                if let Ok(digest) = name.parse() {
                    blobs.push((digest, entry.metadata().at(&entry.path(), "stat")?.len()));
                }
            }
        }
        blobs.sort();
        Ok(blobs)
    }

    /// Files among the blobs that are not named by a digest, relative to the layout.
    pub(crate) fn strays(&self) -> Result<Vec<String>> {
        let mut strays = Vec::new();
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let below = format!("blobs/{}", algorithm.name());
            let dir = self.path().join(&below);
            for entry in fs::read_dir(&dir).into_iter().flatten() {
                let name = entry.at(&dir, "list")?.file_name().to_string_lossy().into_owned();
                if format!("{}:{name}", algorithm.name()).parse::<Digest>().is_err() {
                    strays.push(format!("{below}/{name}"));
                }
            }
        }
        strays.sort();
        Ok(strays)
    }

    /// The digests that index and pins reach. Below an image index a manifest may be absent (only one platform
    /// was pulled); any other document that is absent or cannot be read is an error, for what it reaches would
    /// be lost. What is leased is reached, too.
    pub fn reached(&self) -> Result<HashSet<Digest>> {
        let leased = self.leased()?;
        let mut reached = HashSet::new();
        let mut todo = self.roots()?;
        while let Some(descriptor) = todo.pop() {
            if reached.insert(descriptor.digest.clone()) && (descriptor.is_index() || descriptor.is_manifest()) {
                let mut below = children(&descriptor, &self.document(&descriptor)?)?;
                if descriptor.is_index() {
                    below.retain(|child| self.has(&child.digest).is_some());
                }
                todo.append(&mut below);
            }
        }
        reached.extend(leased);
        Ok(reached)
    }

    /// The chain ID of every layer of every image that can be read, pinned ones included: what unpacked layers are kept
    /// for.
    pub fn chain_ids(&self) -> Result<HashSet<Digest>> {
        let images = self.roots()?.into_iter().filter_map(|root| self.open_image(&root, None).ok());
        Ok(images.flat_map(|image| image.chain_ids()).collect())
    }

    fn roots(&self) -> Result<Vec<Descriptor>> {
        let mut roots = self.index()?;
        roots.extend(self.pins()?.into_iter().map(|(_, pinned)| pinned));
        Ok(roots)
    }
}

impl Layout {
    /// What an image lacks, in all its platforms: blobs that are not there, or are of another size.
    pub fn absent(&self, image: &Descriptor) -> Result<Vec<Digest>> {
        Ok(self.walk(image)?.1)
    }

    /// Every blob of an image, in all its platforms, whether it is there or not.
    pub fn below(&self, image: &Descriptor) -> Result<Vec<Descriptor>> {
        Ok(self.walk(image)?.0)
    }

    fn walk(&self, image: &Descriptor) -> Result<(Vec<Descriptor>, Vec<Digest>)> {
        let (mut below, mut absent) = (Vec::new(), Vec::new());
        let (mut seen, mut todo) = (HashSet::new(), vec![image.clone()]);
        while let Some(descriptor) = todo.pop() {
            if !seen.insert(descriptor.digest.clone()) {
                continue;
            }
            below.push(descriptor.clone());
            if self.has(&descriptor.digest) != Some(descriptor.size) {
                absent.push(descriptor.digest);
            } else if descriptor.is_index() || descriptor.is_manifest() {
                todo.append(&mut children(&descriptor, &self.document(&descriptor)?)?);
            }
        }
        Ok((below, absent))
    }
}

/// What a manifest or an index points to. Not its `subject`: what is attached keeps nothing alive.
pub(crate) fn children(descriptor: &Descriptor, bytes: &[u8]) -> Result<Vec<Descriptor>> {
    let document = parse_document(descriptor, bytes)?;
    let mut found = Vec::new();
    for name in ["manifests", "layers", "config"] {
        match document.get(name) {
            None | Some(Value::Null) => {}
            Some(Value::Array(_)) => {
                found.extend(member::<Vec<Descriptor>>(descriptor, &document, name)?);
            }
            Some(_) => found.push(member(descriptor, &document, name)?),
        }
    }
    Ok(found)
}

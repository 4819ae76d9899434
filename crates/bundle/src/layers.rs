//! `$DOCK_ROOT/layers`: unpacked layers by their chain IDs, the lower directories of overlay bundles, and which
//! bundles use them. A bundle may lie anywhere, so it leaves a note here:
//!
//! ```text
//! sha256/HEX      an unpacked layer
//! locks/HEX       held while it is being unpacked
//! users/NUMBER    a bundle outside of containers/, or one that is being made (then its maker holds the file)
//! users.lock      shared while a note is written; exclusive while layers are taken out of use
//! ```
//!
//! Who unpacks leaves the note first and looks for layers then; who collects reads the notes and renames what is
//! unused under the exclusive lock. So no layer that somebody has seen goes away before he has noted its use.

use crate::tree::Freed;
use crate::{Error, Result, load, tree};
use rustix::fs::{FlockOperation, flock, fstat};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use wire::{Digest, WirePath};

/// A path and a chain ID for each of a thousand layers.
const LARGEST_NOTE: u64 = 1 << 20;

/// The store of unpacked layers below one root.
#[derive(Debug, Clone)]
pub struct Layers {
    dir: PathBuf,
    containers: PathBuf,
}

/// A bundle's claim on its layers. Dropped before [`keep`](Self::keep) it is gone: the bundle was not made.
#[derive(Debug)]
pub struct Claim {
    /// None in a store that nobody can write to, so nobody collects in it.
    note: Option<(PathBuf, File)>,
    keep: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct Note {
    bundle: WirePath,
    layers: Vec<Digest>,
}

impl Layers {
    /// `root` is `$DOCK_ROOT`.
    pub fn new(root: &Path) -> Self {
        Self { dir: root.join("layers"), containers: root.join("containers") }
    }

    /// Where the store is.
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// Whether no layer has been unpacked here.
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.entries()?.is_empty())
    }

    /// The directory of a layer, whether it is there or not.
    pub fn dir_of(&self, chain_id: &Digest) -> PathBuf {
        self.dir.join(chain_id.algorithm().name()).join(chain_id.hex())
    }

    /// Notes that a bundle is going to use layers, by their chain IDs. To be called before they are looked for.
    pub fn claim(&self, bundle: &Path, chain: &[Digest]) -> Result<Claim> {
        match self.write_note(bundle, chain) {
            Err(Error::Io(_, cause)) if cause.kind() == io::ErrorKind::ReadOnlyFilesystem => {
                Ok(Claim { note: None, keep: false })
            }
            note => Ok(Claim { note: Some(note?), keep: false }),
        }
    }

    fn write_note(&self, bundle: &Path, chain: &[Digest]) -> Result<(PathBuf, File)> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let users = self.dir.join("users");
        DirBuilder::new().recursive(true).mode(0o700).create(&users).map_err(at(&users))?;
        let _lock = self.lock(FlockOperation::LockShared)?;
        // Who enters clears away what the dead have left.
        for Noted { path, note, left, .. } in notes(&users)? {
            if let (true, Some(note)) = (left, note)
                && (note.bundle.as_path() == bundle || is_gone(note.bundle.as_path()))
            {
                let _ = fs::remove_file(&path);
            }
        }
        let note = Note { bundle: bundle.into(), layers: chain.to_vec() };
        let text = serde_json::to_vec(&note).map_err(|cause| Error::Json(users.clone(), cause))?;
        loop {
            let path = users.join(format!("{}.{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
            let mut file = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
                Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => continue,
                other => other.map_err(at(&path))?,
            };
            flock(&file, FlockOperation::LockExclusive).map_err(|cause| Error::Io(path.clone(), cause.into()))?;
            // Somebody may have taken the empty file for a left one, between the two calls.
            if fstat(&file).map_err(|cause| Error::Io(path.clone(), cause.into()))?.st_nlink > 0 {
                file.write_all(&text).and_then(|()| file.sync_data()).map_err(at(&path))?;
                return Ok((path, file));
            }
        }
    }

    /// Removes every layer that is neither to be kept nor used by a bundle, with its lock and what was left by those
    /// who were killed, and says how many layers and bytes went.
    pub fn collect(&self, keep: &HashSet<Digest>) -> Result<Freed> {
        if !self.dir.exists() {
            return Ok(Freed::default());
        }
        let lock = self.lock(FlockOperation::LockExclusive)?;
        let mut used = self.used(true)?;
        used.extend(keep.iter().cloned());
        let unused = self.take_out(&used)?;
        drop(lock);
        let mut freed = Freed::default();
        for path in unused {
            freed += tree::remove_and_count(&path).map_err(|cause| Error::Io(path, cause.into()))?;
        }
        Ok(freed)
    }

    /// The layers that are there and that nobody needs, by name; for who only looks.
    pub fn unused(&self, keep: &HashSet<Digest>) -> Result<Vec<Digest>> {
        let used = self.used(false)?;
        let mut unused = Vec::new();
        for (_, name) in self.entries()? {
            unused.extend(name.parse().ok().filter(|digest| !used.contains(digest) && !keep.contains(digest)));
        }
        unused.sort();
        Ok(unused)
    }

    /// Notes come first: who has made a container removes his note when `bundle.json` is there.
    /// With the exclusive lock, notes of the dead may be swept on the way.
    fn used(&self, sweep: bool) -> Result<HashSet<Digest>> {
        let mut used = HashSet::new();
        for Noted { path, note, left, .. } in notes(&self.dir.join("users"))? {
            // An empty note is that of somebody who was killed before he could write it.
            let note = note.filter(|note| !left || !is_gone(note.bundle.as_path()));
            let Some(note) = note else {
                if sweep && left {
                    let _ = fs::remove_file(path);
                }
                continue;
            };
            // A bundle that cannot be read now may be readable later.
            used.extend(lower(note.bundle.as_path()).unwrap_or_default());
            used.extend(note.layers);
        }
        for entry in list(&self.containers)? {
            used.extend(lower(&entry).unwrap_or_default());
        }
        Ok(used)
    }

    /// Renames what is unused, so that nobody finds it any more.
    fn take_out(&self, used: &HashSet<Digest>) -> Result<Vec<PathBuf>> {
        let mut out = Vec::new();
        for (path, name) in self.entries()? {
            let (digest, end) = name.split_once('.').unwrap_or((&name, ""));
            let Ok(digest) = digest.parse::<Digest>() else { continue };
            if end.ends_with("gone") {
                out.push(path);
            } else if !used.contains(&digest) {
                let gone = path.with_extension(format!("{}.gone", &crate::names::id()[..12]));
                fs::rename(&path, &gone).map_err(at(&path))?;
                out.push(gone);
            }
        }
        // Who wants the lock of a layer has noted that he uses it.
        for path in list(&self.dir.join("locks"))? {
            let hex = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if !used.iter().any(|digest| digest.hex() == hex) {
                let _ = fs::remove_file(path);
            }
        }
        Ok(out)
    }

    /// Everything beside the layers, as `ALGORITHM:NAME`.
    fn entries(&self) -> Result<Vec<(PathBuf, String)>> {
        let mut entries = Vec::new();
        for algorithm in ["sha256", "sha512"] {
            for path in list(&self.dir.join(algorithm))? {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                entries.push((path, format!("{algorithm}:{name}")));
            }
        }
        Ok(entries)
    }

    fn lock(&self, how: FlockOperation) -> Result<File> {
        let path = self.dir.join("users.lock");
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = file.map_err(at(&path))?;
        flock(&file, how).map_err(|cause| Error::Io(path, cause.into()))?;
        Ok(file)
    }
}

impl Claim {
    /// The bundle is whole: from now on its `bundle.json` says what it uses. Where everybody looks for bundles, in
    /// `containers/`, no note is needed beside it.
    pub fn keep(mut self, layers: &Layers, bundle: &Path) {
        self.keep = bundle.parent() != Some(&layers.containers);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let (Some((path, _)), false) = (&self.note, self.keep) {
            let _ = fs::remove_file(path);
        }
    }
}

/// A file of notes as it was found.
struct Noted {
    path: PathBuf,
    /// None when it is empty.
    note: Option<Note>,
    /// Its maker does not hold it any more: he has made the bundle, or is dead.
    left: bool,
    /// Holds it for us, so that two do not take it for each other's.
    _file: File,
}

fn notes(dir: &Path) -> Result<Vec<Noted>> {
    let mut notes = Vec::new();
    for path in list(dir)? {
        let mut file = match File::open(&path) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => continue,
            other => other.map_err(at(&path))?,
        };
        let mut text = String::new();
        (&mut file).take(LARGEST_NOTE).read_to_string(&mut text).map_err(at(&path))?;
        let note = serde_json::from_str(&text).ok();
        let left = flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok();
        notes.push(Noted { path, note, left, _file: file });
    }
    Ok(notes)
}

/// The chain IDs of a bundle's lower directories. They are told by their names: the root may have several paths.
fn lower(bundle: &Path) -> Option<Vec<Digest>> {
    let overlay = load(bundle).ok()?.overlay?;
    let chain_id = |dir: &WirePath| {
        let dir = dir.as_path();
        let algorithm = dir.parent()?.file_name()?.to_str()?;
        format!("{algorithm}:{}", dir.file_name()?.to_str()?).parse().ok()
    };
    Some(overlay.lower.iter().filter_map(chain_id).collect())
}

fn is_gone(bundle: &Path) -> bool {
    matches!(bundle.join("bundle.json").try_exists(), Ok(false))
}

fn list(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(dir) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(at(dir))?,
    };
    entries.map(|entry| Ok(entry.map_err(at(dir))?.path())).collect()
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |cause| Error::Io(path, cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(digit: &str) -> Digest {
        format!("sha256:{}", digit.repeat(64)).parse().unwrap()
    }

    fn unpack(layers: &Layers, chain: &[Digest]) {
        for id in chain {
            fs::create_dir_all(layers.dir_of(id)).unwrap();
            fs::write(layers.dir_of(id).join("file"), [7; 10_000]).unwrap();
            fs::create_dir_all(layers.path().join("locks")).unwrap();
            fs::write(layers.path().join("locks").join(id.hex()), "").unwrap();
        }
    }

    fn finish(layers: &Layers, bundle: &Path, chain: &[Digest]) {
        fs::create_dir_all(bundle).unwrap();
        let lower = chain.iter().rev().map(|id| layers.dir_of(id).into()).collect();
        let dir = |name: &str| WirePath(bundle.join(name));
        let overlay = wire::Overlay { lower, upper: dir("upper"), work: dir("work"), userxattr: false };
        let record =
            wire::Bundle { path: bundle.into(), image: None, overlay: Some(overlay), rest: serde_json::Map::new() };
        crate::save_record(bundle, &record).unwrap();
    }

    fn there(layers: &Layers, id: &Digest) -> bool {
        layers.dir_of(id).exists()
    }

    #[test]
    fn a_layer_goes_with_its_last_bundle_wherever_that_lies() {
        let dir = tempfile::tempdir().unwrap();
        let (root, outside) = (dir.path().join("root"), dir.path().join("box"));
        let layers = Layers::new(&root);
        let (a, b, c) = (digest("a"), digest("b"), digest("c"));
        let keep = HashSet::from([c.clone()]);
        unpack(&layers, &[a.clone(), b.clone(), c.clone()]);
        // While it is being made the maker holds the note.
        let claim = layers.claim(&outside, std::slice::from_ref(&a)).unwrap();
        let freed = layers.collect(&keep).unwrap();
        assert!(freed.trees == 1 && freed.bytes >= 10_000, "{freed:?}");
        assert!(there(&layers, &a) && !there(&layers, &b) && there(&layers, &c));
        assert_eq!(fs::read_dir(layers.path().join("locks")).unwrap().count(), 2);
        finish(&layers, &outside, std::slice::from_ref(&a));
        claim.keep(&layers, &outside);
        assert_eq!(layers.collect(&keep).unwrap().trees, 0);
        assert_eq!(layers.unused(&keep).unwrap(), []);
        // It is taken away by hand, and nobody is told.
        fs::remove_dir_all(&outside).unwrap();
        assert_eq!(layers.unused(&keep).unwrap(), std::slice::from_ref(&a));
        assert_eq!(layers.collect(&keep).unwrap().trees, 1);
        assert_eq!(fs::read_dir(layers.path().join("users")).unwrap().count(), 0);
        // A container needs no note beside its bundle.json.
        let container = root.join("containers/c");
        unpack(&layers, std::slice::from_ref(&a));
        let claim = layers.claim(&container, std::slice::from_ref(&a)).unwrap();
        finish(&layers, &container, std::slice::from_ref(&a));
        claim.keep(&layers, &container);
        assert_eq!(fs::read_dir(layers.path().join("users")).unwrap().count(), 0);
        assert_eq!(layers.collect(&keep).unwrap().trees, 0);
        assert!(there(&layers, &a));
        // One that was not made leaves no note.
        drop(layers.claim(&outside, std::slice::from_ref(&a)).unwrap());
        assert_eq!(fs::read_dir(layers.path().join("users")).unwrap().count(), 0);
    }

    #[test]
    fn what_the_killed_left_goes_and_what_cannot_be_read_stays() {
        let dir = tempfile::tempdir().unwrap();
        let layers = Layers::new(dir.path());
        let (a, b) = (digest("a"), digest("b"));
        unpack(&layers, &[a.clone(), b.clone()]);
        fs::create_dir_all(layers.path().join("users")).unwrap();
        let note = |name: &str, bundle: &Path, id: &Digest| {
            let note = Note { bundle: bundle.into(), layers: vec![id.clone()] };
            fs::write(layers.path().join("users").join(name), serde_json::to_vec(&note).unwrap()).unwrap();
        };
        note("killed", &dir.path().join("never"), &a);
        fs::write(layers.path().join("users/empty"), "").unwrap();
        fs::create_dir(layers.dir_of(&a).with_extension("tmp")).unwrap();
        fs::create_dir(layers.dir_of(&a).with_extension("4711.gone")).unwrap();
        let odd = dir.path().join("odd");
        fs::create_dir(&odd).unwrap();
        fs::write(odd.join("bundle.json"), "not JSON").unwrap();
        note("odd", &odd, &b);
        assert_eq!(layers.collect(&HashSet::new()).unwrap().trees, 3);
        assert!(!there(&layers, &a) && there(&layers, &b));
    }

    /// Claims and collections at once: no claimed layer that was seen is ever gone.
    #[test]
    fn nobody_loses_a_layer_that_he_has_seen() {
        let dir = tempfile::tempdir().unwrap();
        let layers = Layers::new(dir.path());
        let id = digest("a");
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            for worker in 0..3 {
                let (layers, id, done) = (&layers, &id, &done);
                let bundle = dir.path().join(format!("box{worker}"));
                scope.spawn(move || {
                    while !done.load(Ordering::Relaxed) {
                        let _claim = layers.claim(&bundle, std::slice::from_ref(id)).unwrap();
                        fs::create_dir_all(layers.dir_of(id)).unwrap();
                        std::thread::yield_now();
                        assert!(there(layers, id));
                    }
                });
            }
            let collected = (0..300).try_for_each(|_| layers.collect(&HashSet::new()).map(drop));
            done.store(true, Ordering::Relaxed);
            collected.unwrap();
        });
    }
}

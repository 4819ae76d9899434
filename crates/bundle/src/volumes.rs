//! Volumes: directories that outlive the containers that mount them.
//!
//! ```text
//! $DOCK_ROOT/volumes/NAME/_data         what a container sees
//! $DOCK_ROOT/volumes/NAME/volume.json   when it was made, its labels
//! ```
//!
//! A directory with `_data` alone is a volume too: `mkdir -p volumes/NAME/_data` is all that it takes.

use crate::{Containers, Error, Result, file, names};
use rustix::fs::{CWD, FlockOperation, RenameFlags, flock, renameat_with};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Docker's label of a volume that was given no name.
pub const ANONYMOUS: &str = "com.docker.volume.anonymous";

/// `volume.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Volume {
    /// The directory's name.
    pub name: String,
    /// When it was made, RFC 3339; unknown for a directory made by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Labels.
    #[serde(default)]
    pub labels: Map<String, Value>,
    /// Members that this version does not know.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

impl Volume {
    /// A volume that is made now.
    pub fn named(name: &str) -> Self {
        Self { name: name.into(), created: Some(crate::life::now()), labels: Map::new(), rest: Map::new() }
    }

    /// One without a name: it gets an ID, and goes with its container when that is removed with `-v`.
    pub fn anonymous() -> Self {
        let mut volume = Self::named(&names::id());
        volume.labels.insert(ANONYMOUS.into(), "".into());
        volume
    }

    /// Whether it was given no name.
    pub fn is_anonymous(&self) -> bool {
        self.labels.contains_key(ANONYMOUS)
    }
}

/// The volumes below one root.
#[derive(Debug, Clone)]
pub struct Volumes {
    dir: PathBuf,
}

/// Held by who makes use of volumes (shared) and who removes some (exclusive).
#[derive(Debug)]
pub struct Guard {
    _lock: File,
}

/// Docker's grammar; docker's words.
pub fn check(name: &str) -> Result<&str> {
    match names::check(name) {
        Ok(bare) if bare == name => Ok(name),
        _ => Err(Error::VolumeName(name.chars().take(150).collect())),
    }
}

/// How the name of a volume starts that is being made.
const NEW: &str = ".new-";

impl Volumes {
    /// `root` is `$DOCK_ROOT`.
    pub fn new(root: &Path) -> Self {
        Self { dir: root.join("volumes") }
    }

    /// The directory that containers see. The name has been [`check`]ed.
    pub fn data(&self, name: &str) -> PathBuf {
        self.dir.join(name).join("_data")
    }

    /// Waits for the lock of all volumes.
    pub fn guard(&self, exclusive: bool) -> Result<Guard> {
        let path = self.dir.join(".lock");
        let how = if exclusive { FlockOperation::LockExclusive } else { FlockOperation::LockShared };
        let take = || -> io::Result<File> {
            make(&self.dir, 0o700)?;
            let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path)?;
            flock(&file, how)?;
            Ok(file)
        };
        take().map(|lock| Guard { _lock: lock }).map_err(|cause| Error::Io(path.clone(), cause))
    }

    /// One volume; docker's words where there is none.
    pub fn find(&self, name: &str) -> Result<Volume> {
        let missing = || Error::NoVolume(name.chars().take(150).collect());
        check(name).map_err(|_| missing())?;
        self.read(name)?.ok_or_else(missing)
    }

    /// One volume, if it is there.
    pub fn read(&self, name: &str) -> Result<Option<Volume>> {
        let dir = self.dir.join(name);
        if !dir.join("_data").is_dir() {
            return Ok(None);
        }
        let unknown = || Volume { name: name.into(), created: None, labels: Map::new(), rest: Map::new() };
        let mut volume: Volume = file::read_json_if_there(&dir, "volume.json")?.unwrap_or_else(unknown);
        name.clone_into(&mut volume.name);
        Ok(Some(volume))
    }

    /// All volumes, by name.
    pub fn list(&self) -> Result<Vec<Volume>> {
        let io = |cause| Error::Io(self.dir.clone(), cause);
        let entries = match std::fs::read_dir(&self.dir) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(io)?,
        };
        let mut volumes = Vec::new();
        for entry in entries {
            let name = entry.map_err(io)?.file_name().into_string().unwrap_or_default();
            if check(&name).is_ok() {
                volumes.extend(self.read(&name)?);
            }
        }
        volumes.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(volumes)
    }

    /// Makes a volume whole, its content included, or not at all: `fill` is given the directory before it has its
    /// name. Says whether it was made; one that is there already stays as it is.
    pub fn create(&self, volume: &Volume, fill: impl FnOnce(&Path) -> io::Result<()>) -> Result<bool> {
        check(&volume.name)?;
        let place = self.dir.join(&volume.name);
        if self.read(&volume.name)?.is_some() {
            return Ok(false);
        }
        let new = self.dir.join(format!("{NEW}{}", &names::id()[..12]));
        let made = self.fill(&new, volume, fill).and_then(|()| {
            match renameat_with(CWD, &new, CWD, &place, RenameFlags::NOREPLACE) {
                Ok(()) => Ok(true),
                // Somebody else was faster; or made the directory and was killed.
                Err(Errno::EXIST) if self.read(&volume.name)?.is_some() => Ok(false),
                Err(errno) => Err(Error::Io(place.clone(), errno.into())),
            }
        });
        if !matches!(made, Ok(true)) {
            let _ = crate::remove_tree(&new);
        }
        made
    }

    fn fill(&self, new: &Path, volume: &Volume, fill: impl FnOnce(&Path) -> io::Result<()>) -> Result<()> {
        let data = new.join("_data");
        let io = |cause| Error::Io(self.dir.join(&volume.name), cause);
        make(&self.dir, 0o700).and_then(|()| make(new, 0o700)).and_then(|()| make(&data, 0o755)).map_err(io)?;
        fill(&data).map_err(io)?;
        file::write_json(new, "volume.json", volume)
    }

    /// Removes what is left of volumes whose making was broken off: who makes one holds the guard, too.
    pub fn sweep(&self, _: &Guard) -> Result<()> {
        for entry in std::fs::read_dir(&self.dir).map_err(|cause| Error::Io(self.dir.clone(), cause))?.flatten() {
            if entry.file_name().as_encoded_bytes().starts_with(NEW.as_bytes()) {
                crate::remove_tree(&entry.path()).map_err(|cause| Error::Io(entry.path(), cause.into()))?;
            }
        }
        Ok(())
    }

    /// Removes one that nobody uses, under the exclusive [`Guard`].
    pub fn remove(&self, _: &Guard, name: &str) -> Result<()> {
        check(name)?;
        let dir = self.dir.join(name);
        crate::remove_tree(&dir).map_err(|cause| Error::Io(dir, cause.into()))
    }

    /// IDs of the containers that mount a volume.
    pub fn users(&self, containers: &Containers, name: &str) -> Result<Vec<String>> {
        let uses = |found: &crate::Found| self.of(found).iter().any(|used| used == name);
        Ok(containers.list()?.into_iter().filter(uses).map(|found| found.meta.id).collect())
    }

    /// Names of the volumes that a container mounts.
    pub fn of(&self, found: &crate::Found) -> Vec<String> {
        let mounts = found.meta.rest.get("mounts").and_then(Value::as_array).into_iter().flatten();
        let volumes = mounts.filter(|mount| mount["type"] == "volume");
        volumes.filter_map(|mount| mount["name"].as_str().map(Into::into)).collect()
    }

    /// Removes those of `names` that were given no name and that no container uses any more: `--rm` and `rm -v`.
    pub(crate) fn remove_anonymous(&self, containers: &Containers, names: &[String]) -> Result<()> {
        if names.is_empty() {
            return Ok(());
        }
        let guard = self.guard(true)?;
        self.sweep(&guard)?;
        for name in names {
            let anonymous = self.read(name)?.is_some_and(|volume| volume.is_anonymous());
            if anonymous && self.users(containers, name)?.is_empty() {
                self.remove(&guard, name)?;
            }
        }
        Ok(())
    }
}

/// The mode whatever the umask is.
fn make(dir: &Path, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    if dir.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(mode).create(dir)?;
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(mode))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_is_made_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let volumes = Volumes::new(dir.path());
        let broken = volumes.create(&Volume::named("data"), |_| Err(io::Error::other("no space")));
        assert!(broken.is_err());
        assert!(volumes.list().unwrap().is_empty());
        assert_eq!(std::fs::read_dir(dir.path().join("volumes")).unwrap().count(), 0, "nothing is left");
        let fill = |to: &Path| std::fs::write(to.join("first"), "1");
        assert!(volumes.create(&Volume::named("data"), fill).unwrap());
        assert!(!volumes.create(&Volume::named("data"), |_| panic!("it is there")).unwrap());
        assert_eq!(std::fs::read(volumes.data("data").join("first")).unwrap(), b"1");
        std::fs::create_dir_all(volumes.data("by-hand")).unwrap();
        std::fs::create_dir_all(dir.path().join("volumes/no-volume")).unwrap();
        let names: Vec<_> = volumes.list().unwrap().into_iter().map(|volume| volume.name).collect();
        assert_eq!(names, ["by-hand", "data"]);
        for bad in ["", "a", "../x", "/ab", ".new", "a/b"] {
            assert!(volumes.create(&Volume::named(bad), |_| Ok(())).is_err(), "{bad:?}");
            assert_eq!(volumes.find(bad).unwrap_err().to_string(), format!("get {bad}: no such volume"));
        }
    }
}

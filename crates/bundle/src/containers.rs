//! All containers below a root: what they are called, and what they are doing.

use crate::keeper::{self, Health, Keeper};
use crate::life::{self, Exit, Lock, Started};
use crate::{Error, Result, Volumes, events, file, names};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use wire::Status;

/// After this nobody works any more on a container that has no name yet.
const UNFINISHED: Duration = Duration::from_secs(3600);

/// `container.json`: what a container was made as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Meta {
    /// 64 hexadecimal digits, the directory's name.
    pub id: String,
    /// Given by `--name`, or `adjective_surname`.
    pub name: String,
    /// The image as the user named it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The digest of the image's configuration.
    #[serde(rename = "imageID", default, skip_serializing_if = "Option::is_none")]
    pub image_id: Option<String>,
    /// When it was made, RFC 3339.
    pub created: String,
    /// The process's arguments.
    pub command: Vec<String>,
    /// Labels of the image, then those of `--label`.
    #[serde(default)]
    pub labels: Map<String, Value>,
    /// Members that this version does not know.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// A container that was found.
#[derive(Debug, Clone)]
pub struct Found {
    /// Its bundle.
    pub dir: PathBuf,
    /// What it was made as.
    pub meta: Meta,
    /// Its first process, when it lives.
    pub started: Option<Started>,
    /// Who keeps it in the background.
    pub keeper: Option<Keeper>,
    /// How its first process ended, when it has and is known.
    pub exit: Option<Exit>,
    /// Where it is in its life.
    pub status: Status,
}

/// A container whose records cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{cause}")]
pub struct Damaged {
    /// The directory's name.
    pub id: String,
    /// Which file, and why.
    pub cause: Box<Error>,
}

/// The containers below one root.
#[derive(Debug, Clone)]
pub struct Containers {
    dir: PathBuf,
    run: PathBuf,
}

/// While this is held, no name is taken and no container removed.
#[derive(Debug)]
pub struct Naming<'a> {
    of: &'a Containers,
    _lock: File,
}

impl Containers {
    /// `root` is `$DOCK_ROOT`, `run` is `$DOCK_RUN`.
    pub fn new(root: &Path, run: &Path) -> Self {
        Self { dir: root.join("containers"), run: run.into() }
    }

    /// The container ID of a bundle that lies here.
    pub fn id_of(&self, bundle: &Path) -> Option<String> {
        let name = bundle.file_name()?.to_str().filter(|name| names::is_id(name))?;
        let same =
            |a: &Path, b: &Path| a == b || a.canonicalize().is_ok_and(|a| b.canonicalize().is_ok_and(|b| a == b));
        same(bundle.parent()?, &self.dir).then(|| name.to_owned())
    }

    /// Every container, the newest first. A directory without `container.json` is one that is being made. One that
    /// cannot be read is an error: nobody may remove what it could need.
    pub fn list(&self) -> Result<Vec<Found>> {
        let (found, mut damaged) = self.look()?;
        damaged.pop().map_or(Ok(found), |one| Err(one.into()))
    }

    /// Those whose records can be read, the newest first, and the others: they do not hide the rest.
    pub fn look(&self) -> Result<(Vec<Found>, Vec<Damaged>)> {
        let (mut found, mut damaged) = (Vec::new(), Vec::new());
        for id in self.ids()? {
            match self.read(&id) {
                Ok(one) => found.extend(one),
                Err(cause) => damaged.push(Damaged { id, cause: cause.into() }),
            }
        }
        found.sort_by(|a, b| b.meta.created.cmp(&a.meta.created));
        Ok((found, damaged))
    }

    /// By name, by ID, by unique start of an ID, in docker's order of preference.
    pub fn find(&self, operand: &str) -> Result<Found> {
        let missing = || Error::NoContainer(operand.chars().take(150).collect());
        let damaged = |cause: Error| Damaged { id: operand.into(), cause: cause.into() };
        if names::is_id(operand)
            && let Some(found) = self.read(operand).map_err(damaged)?
        {
            return Ok(found);
        }
        let name = operand.strip_prefix('/').unwrap_or(operand);
        let (mut all, mut damaged) = self.look()?;
        if let Some(at) = all.iter().position(|found| found.meta.name == name) {
            return Ok(all.swap_remove(at));
        }
        all.retain(|found| !operand.is_empty() && found.meta.id.starts_with(operand));
        damaged.retain(|one| !operand.is_empty() && one.id.starts_with(operand));
        match (all.pop(), damaged.pop()) {
            (None, None) => Err(missing()),
            (Some(found), None) if all.is_empty() => Ok(found),
            (None, Some(one)) if damaged.is_empty() => Err(one.into()),
            _ => Err(Error::Ambiguous(operand.into())),
        }
    }

    /// One container by its whole ID.
    pub fn read(&self, id: &str) -> Result<Option<Found>> {
        let dir = self.dir.join(id);
        let Some(meta) = file::read_json_if_there::<Meta>(&dir, "container.json")? else { return Ok(None) };
        let recorded = Started::read(&self.run, id)?;
        let exit = Exit::read(&dir)?.or_else(|| Exit::left_in_lock(&dir));
        let ever = recorded.is_some() || exit.is_some() || life::was_started(&dir);
        let started = recorded.filter(Started::lives);
        let keeper = Keeper::read(&self.run, id)?;
        let paused = || keeper::paused_path(&self.run, id).exists();
        let status = match (&started, ever) {
            (Some(_), _) if paused() => Status::Paused,
            (Some(_), _) => Status::Running,
            (None, _) if keeper.as_ref().is_some_and(|keeper| keeper.restarting) => Status::Restarting,
            // A start that failed is no life, as in docker.
            (None, true) if !exit.as_ref().is_some_and(Exit::never_lived) => Status::Exited,
            (None, _) => Status::Created,
        };
        let exit = exit.filter(|_| started.is_none());
        Ok(Some(Found { dir, meta, started, keeper, exit, status }))
    }

    /// Takes the lock under which names are given and containers removed.
    pub fn naming(&self) -> Result<Naming<'_>> {
        let path = self.dir.join(".lock");
        let take = || -> io::Result<File> {
            DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
            let mut options = OpenOptions::new();
            let file = options.write(true).create(true).truncate(false).mode(0o600).open(&path)?;
            flock(&file, FlockOperation::LockExclusive)?;
            Ok(file)
        };
        take().map(|lock| Naming { of: self, _lock: lock }).map_err(|cause| Error::Io(path.clone(), cause))
    }

    /// Removes a container of which the caller holds the lock: from the list, its state, its directory, and
    /// with `volumes` the volumes that were made for it alone.
    pub fn remove(&self, found: &Found, lock: Lock, volumes: bool) -> Result<()> {
        let kept = Volumes::new(self.dir.parent().unwrap_or(&self.dir));
        let used = if volumes { kept.of(found) } else { Vec::new() };
        let naming = self.naming()?;
        naming.forget(&found.meta.id)?;
        drop(naming);
        keeper::end_cgroups(&found.dir, &self.run, &found.meta.id)?;
        Started::remove(&self.run, &found.meta.id)?;
        remove_bundle(&found.dir)?;
        drop(lock);
        events::note(&self.run, "destroy", &found.meta, &[]);
        kept.remove_anonymous(self, &used)
    }

    /// Removes a container whose records cannot be read and of which the caller holds the lock.
    pub fn remove_damaged(&self, id: &str, lock: Lock) -> Result<()> {
        let dir = self.dir.join(id);
        self.naming()?.forget(id)?;
        // A note of its cgroups that cannot be read either names none.
        let _ = keeper::end_cgroups(&dir, &self.run, id);
        Started::remove(&self.run, id)?;
        remove_bundle(&dir)?;
        drop(lock);
        Ok(())
    }

    /// IDs of containers that somebody began to make an hour ago, or earlier, and never finished. Nothing of a making
    /// takes so long that comes after the bundle's directory.
    pub fn abandoned(&self) -> Result<Vec<String>> {
        let is_old = |found: &Metadata| {
            let age = found.modified().ok().and_then(|time| time.elapsed().ok());
            age.is_some_and(|age| age > UNFINISHED)
        };
        let mut ids = self.ids()?;
        ids.retain(|id| {
            let dir = self.dir.join(id);
            !dir.join("container.json").exists() && dir.metadata().is_ok_and(|found| is_old(&found))
        });
        Ok(ids)
    }

    /// Removes the containers that should have gone with their end (`autoRemove`), where who kept them was
    /// killed before it could do so.
    pub fn sweep(&self) -> Result<()> {
        for found in self.look()?.0 {
            if found.is_left_over()
                && let Ok(lock) = life::lock(&found.dir)
                && let Some(still) = self.read(&found.meta.id)?
                && still.is_left_over()
            {
                self.remove(&still, lock, true)?;
            }
        }
        Ok(())
    }

    /// What the others than `id` were made as, where that can be read.
    fn metas(&self, id: &str) -> Result<Vec<Meta>> {
        let others = self.ids()?.into_iter().filter(|other| other != id);
        Ok(others.filter_map(|id| file::read_json_if_there(&self.dir.join(id), "container.json").ok()?).collect())
    }

    fn ids(&self) -> Result<Vec<String>> {
        let io = |cause| Error::Io(self.dir.clone(), cause);
        let entries = match std::fs::read_dir(&self.dir) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(io)?,
        };
        let mut ids = Vec::new();
        for entry in entries {
            ids.extend(entry.map_err(io)?.file_name().into_string().ok().filter(|name| names::is_id(name)));
        }
        Ok(ids)
    }
}

/// Who comes too late for its lock may leave a new one in the directory while that is being emptied.
fn remove_bundle(dir: &Path) -> Result<()> {
    let mut tries = 0..20;
    loop {
        match crate::remove_tree(dir) {
            Err(Errno::NOTEMPTY) if tries.next().is_some() => {}
            // And takes it away, then.
            Err(Errno::NOENT) => return Ok(()),
            done => return done.map_err(|cause| Error::Io(dir.into(), cause.into())),
        }
    }
}

impl Naming<'_> {
    /// The name itself when it is well formed and free, or a free random one. `id` may have it already.
    pub fn choose(&self, wanted: Option<&str>, id: &str) -> Result<String> {
        let taken = self.of.metas(id)?;
        let holder = |name: &str| taken.iter().find(|meta| meta.name == name);
        if let Some(wanted) = wanted {
            let name = names::check(wanted)?;
            return match holder(name) {
                Some(meta) => Err(Error::NameTaken { name: name.into(), id: meta.id.clone() }),
                None => Ok(name.into()),
            };
        }
        for _ in 0..10 {
            let name = names::random_name();
            if holder(&name).is_none() {
                return Ok(name);
            }
        }
        Ok(format!("{}_{}", names::random_name(), &id[..6]))
    }

    /// Writes `container.json`: from here on the container is listed.
    pub fn save(&self, meta: &Meta) -> Result<()> {
        let dir = self.of.dir.join(&meta.id);
        let before: Option<Meta> = file::read_json_if_there(&dir, "container.json")?;
        file::write_json(&dir, "container.json", meta)?;
        match before {
            None => events::note(&self.of.run, "create", meta, &[]),
            Some(before) if before.name != meta.name => {
                events::note(&self.of.run, "rename", meta, &[("oldName", format!("/{}", before.name))]);
            }
            Some(_) => events::note(&self.of.run, "update", meta, &[]),
        }
        Ok(())
    }

    /// From here on the container is not listed and its name is free; what is left is a directory to remove.
    pub fn forget(&self, id: &str) -> Result<()> {
        let path = self.of.dir.join(id).join("container.json");
        match std::fs::remove_file(&path) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(Error::Io(path, cause)),
            _ => Ok(()),
        }
    }
}

impl Found {
    /// The record that ctr-ls prints.
    pub fn record(&self) -> wire::Container {
        let mut rest = Map::new();
        let mut put = |name: &str, value: Option<Value>| rest.extend(value.map(|value| (name.to_owned(), value)));
        put("image", self.meta.image.clone().map(Into::into));
        put("imageID", self.meta.image_id.clone().map(Into::into));
        put("command", Some(self.meta.command.clone().into()));
        put("created", Some(self.meta.created.clone().into()));
        put("startedAt", self.started_at().map(Into::into));
        put("finishedAt", self.exit.as_ref().map(|exit| exit.finished_at.clone().into()));
        put("usage", self.exit.as_ref().and_then(|exit| exit.rest.get("usage").cloned()));
        put("labels", Some(self.meta.labels.clone().into()));
        put("health", self.health().map(|health| health.status.clone().into()));
        rest.extend(self.meta.rest.clone());
        wire::Container {
            id: self.meta.id.clone(),
            name: self.meta.name.clone(),
            status: self.status,
            pid: self.started.as_ref().map(|started| started.pid),
            bundle: self.dir.clone().into(),
            exit_code: self.exit.as_ref().map(|exit| exit.exit_code),
            rest,
        }
    }

    /// Whether its restart policy starts it after a boot: docker's rules for a daemon that starts.
    pub fn comes_back(&self) -> bool {
        self.status == Status::Exited
            && match self.meta.keeping().restart.name.as_str() {
                "always" => true,
                "unless-stopped" => !keeper::was_stopped(&self.dir),
                _ => false,
            }
    }

    /// Whether it should have gone with its end.
    pub fn is_left_over(&self) -> bool {
        self.status == Status::Exited && self.meta.keeping().auto_remove && !keeper::is_spared(&self.dir)
    }

    /// How its health is, when that is probed.
    pub fn health(&self) -> Option<&Health> {
        self.keeper.as_ref()?.health.as_ref()
    }

    /// When its first process started, RFC 3339.
    pub fn started_at(&self) -> Option<&str> {
        match &self.started {
            Some(started) => started.started_at(),
            None => self.exit.as_ref()?.started_at.as_deref(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn add(root: &Path, id: &str, name: &str, created: &str) {
        let dir = root.join("containers").join(id);
        fs::create_dir_all(&dir).unwrap();
        let meta = serde_json::json!({"id": id, "name": name, "created": created, "command": ["sh"], "later": 1});
        fs::write(dir.join("container.json"), meta.to_string()).unwrap();
    }

    #[test]
    fn containers_are_found_by_name_and_by_unique_prefix() {
        let dir = tempfile::tempdir().unwrap();
        let all = Containers::new(dir.path(), &dir.path().join("run"));
        assert!(all.list().unwrap().is_empty());
        let (a, b) = ("ab".repeat(32), format!("ac{}", "ab".repeat(31)));
        add(dir.path(), &a, "web", "2026-01-01T00:00:00Z");
        add(dir.path(), &b, "ab", "2026-01-02T00:00:00Z");
        fs::create_dir_all(dir.path().join("containers").join("ad".repeat(32))).unwrap();
        let names: Vec<_> = all.list().unwrap().into_iter().map(|found| found.meta.name).collect();
        assert_eq!(names, ["ab", "web"], "newest first, the unfinished one not at all");
        for (operand, id) in [("web", &a), ("/web", &a), ("ab", &b), (&a, &a), ("aba", &a), ("ac", &b)] {
            assert_eq!(&all.find(operand).unwrap().meta.id, id, "{operand}");
        }
        assert!(matches!(all.find("a"), Err(Error::Ambiguous(_))));
        for operand in ["", "zz", "../x", "ad", "we"] {
            assert_eq!(all.find(operand).unwrap_err().to_string(), format!("No such container: {operand}"));
        }
        let record = all.find("web").unwrap().record();
        assert_eq!((record.status, record.rest["later"].as_i64()), (Status::Created, Some(1)));
    }

    #[test]
    fn only_what_nobody_makes_any_more_is_abandoned() {
        let dir = tempfile::tempdir().unwrap();
        let all = Containers::new(dir.path(), &dir.path().join("run"));
        let [made, begun, left] = ["ab", "ac", "ad"].map(|digits| digits.repeat(32));
        add(dir.path(), &made, "web", "2026-01-01T00:00:00Z");
        for id in [&begun, &left] {
            fs::create_dir_all(dir.path().join("containers").join(id)).unwrap();
        }
        let old = std::time::SystemTime::now() - 2 * UNFINISHED;
        for id in [&made, &left] {
            File::open(dir.path().join("containers").join(id)).unwrap().set_modified(old).unwrap();
        }
        assert_eq!(all.abandoned().unwrap(), [left]);
    }

    #[test]
    fn one_that_is_damaged_does_not_hide_the_others() {
        let dir = tempfile::tempdir().unwrap();
        let all = Containers::new(dir.path(), &dir.path().join("run"));
        let (a, b) = ("ab".repeat(32), format!("ac{}", "ab".repeat(31)));
        add(dir.path(), &a, "web", "2026-01-01T00:00:00Z");
        add(dir.path(), &b, "bad", "2026-01-02T00:00:00Z");
        fs::create_dir_all(dir.path().join("run/containers").join(&b)).unwrap();
        fs::write(dir.path().join("run/containers").join(&b).join("state.json"), "{").unwrap();
        let (found, damaged) = all.look().unwrap();
        assert_eq!((found.len(), damaged.len(), &damaged[0].id), (1, 1, &b));
        assert!(all.list().is_err(), "who removes what nobody uses must know all");
        assert_eq!(all.find("web").unwrap().meta.id, a);
        for operand in [&*b, "ac"] {
            assert!(matches!(all.find(operand), Err(Error::Damaged(one)) if one.id == b), "{operand}");
        }
        assert!(matches!(all.find("a"), Err(Error::Ambiguous(_))));
        assert!(matches!(all.naming().unwrap().choose(Some("bad"), &a), Err(Error::NameTaken { .. })));
        all.remove_damaged(&b, life::lock(&all.dir.join(&b)).unwrap()).unwrap();
        assert_eq!(all.list().unwrap().len(), 1);
        assert!(!all.dir.join(&b).exists() && !dir.path().join("run/containers").join(&b).exists());
    }

    #[test]
    fn a_name_belongs_to_one_container() {
        let dir = tempfile::tempdir().unwrap();
        let all = Containers::new(dir.path(), &dir.path().join("run"));
        let (a, b) = ("ab".repeat(32), "cd".repeat(32));
        add(dir.path(), &a, "web", "2026-01-01T00:00:00Z");
        let naming = all.naming().unwrap();
        assert_eq!(naming.choose(Some("web"), &a).unwrap(), "web", "its own");
        let text = naming.choose(Some("/web"), &b).unwrap_err().to_string();
        assert!(
            text.starts_with(&format!("Conflict. The container name \"/web\" is already in use by container \"{a}\"."))
        );
        assert!(naming.choose(None, &b).unwrap().contains('_'));
        assert!(naming.choose(Some("a b"), &b).is_err());
    }

    #[test]
    fn a_bundle_is_a_container_only_below_the_root() {
        let dir = tempfile::tempdir().unwrap();
        let all = Containers::new(dir.path(), dir.path());
        let id = "ab".repeat(32);
        add(dir.path(), &id, "web", "");
        assert_eq!(all.id_of(&dir.path().join("containers").join(&id)), Some(id.clone()));
        assert_eq!(all.id_of(&dir.path().join("elsewhere").join(&id)), None);
        assert_eq!(all.id_of(&dir.path().join("containers/box")), None);
    }
}

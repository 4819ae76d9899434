//! An ordinary user may give files to himself alone, and an image has files of many. What an administrator can do
//! about it is to give him ranges of IDs that are nobody's, subuid(5) and subgid(5): in a user namespace of his own
//! they are the IDs from 1 on, and he is 0. By hand:
//!
//! ```sh
//! grep "^$USER:" /etc/subuid /etc/subgid                          # what he has: /etc/subuid:ann:100000:65536
//! unshare --user sleep 60 & pid=$!
//! newuidmap $pid 0 $(id -u) 1 1 100000 65536                      # set-user-ID: they look whether he may
//! newgidmap $pid 0 $(id -g) 1 1 100000 65536
//! nsenter --user --target $pid --preserve-credentials ls -l       # in there the files have their owners
//! ```
//!
//! Outside of such a namespace he can neither read nor remove what belongs to one of those IDs. So whoever unpacked
//! with a [`Mapping`] writes it down in the store ([`Mapping::begin`]), and every program that looks into a layer or
//! an upper directory goes into a namespace of the same mapping first ([`enter_that_of`]).
//!
//! Read `user_namespaces(7)`, newuidmap(1), subuid(5).

#![forbid(unsafe_code)]

mod enter;
mod host;
mod ranges;

pub use host::{obstacle, powerless};

use rustix::process::{getegid, geteuid};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// What can go wrong here.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written.
    #[error("{0}: {1}")]
    Io(PathBuf, io::Error),
    /// A mapping is not written as it must be.
    #[error("{0}: {1}")]
    Json(PathBuf, serde_json::Error),
    /// The kernel gives this user no user namespace, and what [`obstacle`] says about that.
    #[error("unshare(CLONE_NEWUSER): {0}")]
    Unshare(String),
    /// newuidmap(1) or newgidmap(1) is not there or refused; its own words.
    #[error("{0}")]
    Helper(String),
    /// The user has no range.
    #[error("{0}: no range for user {1}")]
    NoRange(&'static str, String),
}

/// What every function here returns.
pub type Result<T> = std::result::Result<T, Error>;

/// One line of `/proc/PID/uid_map`, with the names that the OCI runtime specification has for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// First ID in the namespace.
    #[serde(rename = "containerID")]
    pub inside: u32,
    /// First ID outside.
    #[serde(rename = "hostID")]
    pub outside: u32,
    /// How many.
    #[serde(rename = "size")]
    pub count: u32,
}

/// Which users and groups of a namespace are which outside. As JSON, two members of the bundle record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mapping {
    /// `/proc/PID/uid_map`.
    #[serde(rename = "uidMappings")]
    pub users: Vec<Range>,
    /// `/proc/PID/gid_map`.
    #[serde(rename = "gidMappings")]
    pub groups: Vec<Range>,
}

/// The file of a store that tells with which mapping it was unpacked.
const NOTE: &str = "idmap.json";

impl Mapping {
    /// The user's own: himself as 0, and all of his ranges from 1 on. An error tells what is missing.
    pub fn of_caller() -> Result<Self> {
        enter::helpers()?;
        let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
        Ok(Self {
            users: ranges::mapped(uid, ranges::of("/etc/subuid", uid)?),
            groups: ranges::mapped(gid, ranges::of("/etc/subgid", uid)?),
        })
    }

    /// That of the namespace in which this process is.
    pub fn of_process() -> Result<Self> {
        Ok(Self { users: ranges::in_force("/proc/self/uid_map")?, groups: ranges::in_force("/proc/self/gid_map")? })
    }

    /// The first user namespace of the machine, in which every ID is itself.
    pub fn is_everything(&self) -> bool {
        let all = |list: &[Range]| matches!(list, [Range { inside: 0, outside: 0, count: u32::MAX }]);
        all(&self.users) && all(&self.groups)
    }

    /// With which mapping the store below `root` was begun; `None`: with the user's one ID, or as root.
    pub fn of_store(root: &Path) -> Result<Option<Self>> {
        let path = root.join(NOTE);
        match fs::read(&path) {
            Err(cause) if matches!(cause.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
            Err(cause) => Err(Error::Io(path, cause)),
            Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|cause| Error::Json(path, cause)),
        }
    }

    /// Writes it down as that of the store, and says which is: somebody may have been faster.
    fn note(&self, root: &Path) -> Result<Self> {
        let (path, new) = (root.join(NOTE), root.join(format!(".{NOTE}.{}", std::process::id())));
        let text = serde_json::to_string(self).map_err(|cause| Error::Json(path.clone(), cause))? + "\n";
        // A link, and not a rename, leaves what is there.
        let linked = fs::create_dir_all(root)
            .and_then(|()| fs::write(&new, text))
            .and_then(|()| fs::File::open(&new)?.sync_all())
            .and_then(|()| fs::hard_link(&new, &path));
        let _ = fs::remove_file(&new);
        match linked {
            Err(cause) if cause.kind() != ErrorKind::AlreadyExists => Err(Error::Io(path, cause)),
            _ => Ok(Self::of_store(root)?.unwrap_or_else(|| self.clone())),
        }
    }

    /// Goes where the store's files shall have their owners: into the mapping that it was begun with, or where nothing
    /// is in it yet into the caller's own, if he has ranges, which is the store's from now on. False: there is none.
    pub fn begin(root: &Path, is_empty: bool) -> Result<bool> {
        if let Some(mapping) = Self::of_store(root)? {
            return mapping.enter().map(|()| true);
        }
        let own = if is_empty && !geteuid().is_root() { Self::of_caller().ok() } else { None };
        own.map_or(Ok(false), |own| own.begin_with(root).map(|()| true))
    }

    /// The same for a store that is empty, with this mapping. Only one that works is written down.
    pub fn begin_with(&self, root: &Path) -> Result<()> {
        self.enter()?;
        if self.note(root)? == *self {
            return Ok(());
        }
        Err(Error::Helper(format!("{}: was begun with other ranges just now", root.join(NOTE).display())))
    }

    /// That of a bundle, among the further members of its record.
    pub fn of_record(members: &serde_json::Map<String, serde_json::Value>) -> Option<Self> {
        let own = |name: &str| members.get(name).cloned().and_then(|list| serde_json::from_value(list).ok());
        Some(Self { users: own("uidMappings")?, groups: own("gidMappings")? })
    }

    /// Makes this process user 0 of a new user namespace with this mapping. It must have no other thread. For user 0
    /// nothing happens: root needs no mapping, and who is 0 in such a namespace is there already.
    pub fn enter(&self) -> Result<()> {
        if geteuid().is_root() { Ok(()) } else { enter::namespace(self) }
    }
}

/// Goes where the files of a bundle have their owners, by the further members of its record.
pub fn enter_that_of_record(members: &serde_json::Map<String, serde_json::Value>) -> Result<()> {
    Mapping::of_record(members).map_or(Ok(()), |mapping| mapping.enter())
}

/// Goes where the files of the store below `root` have their owners. Says whether that took a namespace: where root
/// or a user with one ID unpacked, nothing happens.
pub fn enter_that_of(root: &Path) -> Result<bool> {
    if geteuid().is_root() {
        return Ok(false);
    }
    let Some(mapping) = Mapping::of_store(root)? else { return Ok(false) };
    mapping.enter().map(|()| true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(first: u32) -> Mapping {
        Mapping { users: ranges::mapped(7, vec![(first, 10)]), groups: ranges::mapped(8, vec![(first, 10)]) }
    }

    #[test]
    fn a_store_keeps_the_mapping_that_it_was_begun_with() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        assert_eq!(Mapping::of_store(&root).unwrap(), None);
        assert_eq!(mapping(100).note(&root).unwrap(), mapping(100));
        assert_eq!(mapping(200).note(&root).unwrap(), mapping(100), "the first one counts");
        let text = fs::read_to_string(root.join(NOTE)).unwrap();
        assert!(text.starts_with(r#"{"uidMappings":[{"containerID":0,"hostID":7,"size":1},{"containerID":1,"hostID":100,"size":10}],"gid"#), "{text}");
        assert_eq!(fs::read_dir(&root).unwrap().count(), 1, "nothing is left beside it");
        fs::write(root.join(NOTE), "{}").unwrap();
        assert!(matches!(Mapping::of_store(&root), Err(Error::Json(..))));
    }
}

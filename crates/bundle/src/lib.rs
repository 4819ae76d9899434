//! An OCI runtime bundle as a directory: the runtime configuration that an image configuration becomes, the
//! user that it names, and the files that tell a container's name, life and end.
//!
//! ```text
//! config.json     the runtime configuration, as runc and crun read it
//! bundle.json     the bundle record, so that the directory alone is enough
//! image.json      the image's configuration: what Entrypoint and Cmd were before they became one
//! container.json  name, image and command, when the bundle is a container of dock
//! exit.json       how its process ended
//! init/           below an overlay: what is mounted on, where the image has it not
//! lock            held while somebody keeps it; after that, its exit code
//! log.json        what it printed; log.json.1 and so on: before that
//! ```

#![forbid(unsafe_code)]

mod caps;
pub mod config;
mod containers;
pub mod env;
pub mod events;
mod file;
mod init;
pub mod join;
pub mod keeper;
mod keeping;
mod layers;
pub mod life;
mod masks;
pub mod names;
pub mod process;
mod rootfs;
mod seccomp;
pub mod signals;
mod tree;
pub mod users;
pub mod volumes;

pub use caps::{
    Unknown as UnknownCapability, all as all_capabilities, default as default_capabilities,
    docker as docker_capabilities, parse as parse_capability,
};
pub use containers::{Containers, Damaged, Found, Meta};
pub use init::{Stub, What, add as add_init_layer, add_with as add_init_layer_with, begin as begin_init_layer};
pub use keeping::{Healthcheck, Keeping, LogConfig, Restart};
pub use layers::{Claim, Layers};
pub use masks::{masked as masked_paths, read_only as readonly_paths};
pub use rootfs::{read_file as rootfs_file, read_file_below as rootfs_file_below};
pub use seccomp::{default as default_seccomp, from_docker as seccomp_from_docker};
pub use tree::{Freed, remove as remove_tree, remove_and_count as remove_tree_and_count};
pub use volumes::{Volume, Volumes};

use serde::de::DeserializeOwned;
use serde_json::Value;
use std::io;
use std::path::{Path, PathBuf};
use wire::Record;

/// What can go wrong here.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written.
    #[error("{0}: {1}")]
    Io(PathBuf, io::Error),
    /// A file is not the JSON that it must be.
    #[error("{0}: {1}")]
    Json(PathBuf, serde_json::Error),
    /// `bundle.json` is no bundle record.
    #[error("{0}: {1}")]
    Record(PathBuf, wire::RecordError),
    /// A file is larger than any honest one.
    #[error("{0}: larger than {1} bytes")]
    Large(PathBuf, u64),
    /// A path in a root file system is not a regular file, or its links go in circles.
    #[error("{0}: in the root file system: {1}")]
    Rootfs(String, &'static str),
    /// The user does not exist or is out of range.
    #[error(transparent)]
    User(#[from] users::UserError),
    /// The image configuration has a member of the wrong type.
    #[error("image configuration: {0}: not {1}")]
    Image(&'static str, &'static str),
    /// A profile of system calls is not what docker reads.
    #[error("{0}")]
    Seccomp(String),
    /// No container of that name or ID; docker's words.
    #[error("No such container: {0}")]
    NoContainer(String),
    /// More than one container's ID starts so; docker's words.
    #[error("multiple IDs found with provided prefix: {0}")]
    Ambiguous(String),
    /// The name belongs to another container; docker's words.
    #[error(
        "Conflict. The container name \"/{name}\" is already in use by container \"{id}\". You have to remove (or rename) that container to be able to reuse that name."
    )]
    NameTaken {
        /// The name that was asked for.
        name: String,
        /// The container that has it.
        id: String,
    },
    /// Docker's grammar of container names; docker's words.
    #[error("Invalid container name ({0}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")]
    BadName(String),
    /// No volume of that name; docker's words.
    #[error("get {0}: no such volume")]
    NoVolume(String),
    /// Docker's grammar of volume names; docker's words.
    #[error(
        "create {0}: \"{0}\" includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path"
    )]
    VolumeName(String),
    /// Its namespaces were asked for; docker's words.
    #[error("cannot join network of a non running container: {0}")]
    NotRunning(String),
    /// Its `/dev/shm` was asked for, and it keeps that to itself; docker's words.
    #[error("can't join IPC of container {0}: non-shareable IPC (hint: use IpcMode:shareable for the donor container)")]
    NotShareable(String),
    /// Records of a container cannot be read.
    #[error(transparent)]
    Damaged(#[from] Damaged),
    /// Another process holds the container.
    #[error("{0}: the container is running")]
    Busy(PathBuf),
}

/// What every function here returns.
pub type Result<T> = std::result::Result<T, Error>;

/// Makes the files of a bundle from the image that its tree came from. The tree (or the layers and the upper
/// directory) must be in place: the image's USER is looked up in it.
pub fn save_from_image(dir: &Path, record: &wire::Bundle, image_config: &Value) -> Result<()> {
    let passwd = rootfs_file(record, "etc/passwd")?;
    let group = rootfs_file(record, "etc/group")?;
    let user = users::resolve(config::image_user(image_config)?, passwd.as_deref(), group.as_deref())?;
    let mut config = config::from_image(image_config, &user, &config::hostname_for(dir))?;
    map_ids(&mut config, record);
    file::write_json(dir, "image.json", image_config)?;
    save(dir, record, &config)
}

/// Files that have owners in a user namespace are for a process in such a one.
fn map_ids(config: &mut Value, record: &wire::Bundle) {
    for name in ["uidMappings", "gidMappings"] {
        if let Some(map) = record.rest.get(name) {
            config["linux"][name] = map.clone();
        }
    }
    if let (true, Some(list)) = (record.rest.contains_key("uidMappings"), config["linux"]["namespaces"].as_array_mut())
    {
        list.push(serde_json::json!({ "type": "user" }));
    }
}

/// Writes `config.json`, then `bundle.json`: a directory with the latter is whole.
pub fn save(dir: &Path, record: &wire::Bundle, config: &Value) -> Result<()> {
    write_config(dir, config)?;
    save_record(dir, record)
}

/// Writes `bundle.json` alone.
pub fn save_record(dir: &Path, record: &wire::Bundle) -> Result<()> {
    let line = Record::from(record.clone()).to_line() + "\n";
    file::write(dir, "bundle.json", line.as_bytes())
}

/// The record of a bundle directory. A bundle that another tool made has no `bundle.json`; its path is enough.
pub fn load(dir: &Path) -> Result<wire::Bundle> {
    let path = std::path::absolute(dir).map_err(|cause| Error::Io(dir.into(), cause))?;
    let Some(text) = file::read_if_there(dir, "bundle.json")? else {
        file::read(dir, "config.json")?;
        return Ok(wire::Bundle { path: path.into(), image: None, overlay: None, rest: serde_json::Map::new() });
    };
    let file = dir.join("bundle.json");
    match Record::parse(&String::from_utf8_lossy(&text)) {
        Ok(Record::Bundle(mut record)) => {
            record.path = path.into();
            Ok(record)
        }
        Ok(other) => Err(Error::Record(file, wire::RecordError::Kind(other.kind().into()))),
        Err(cause) => Err(Error::Record(file, cause)),
    }
}

/// Members of a runtime configuration that are objects where they are there.
const OBJECTS: [&str; 9] = [
    "/process",
    "/process/capabilities",
    "/root",
    "/linux",
    "/linux/resources",
    "/linux/resources/blockIO",
    "/linux/resources/cpu",
    "/linux/resources/memory",
    "/linux/resources/pids",
];

/// The runtime configuration of a bundle, with every member that it has. Whoever sets one may: what shall be an object
/// is one, or is not there.
pub fn read_config(dir: &Path) -> Result<Value> {
    let config: Value = file::read_json(dir, "config.json")?;
    let no_object = |at: &&&str| config.pointer(at).is_some_and(|member| !member.is_object() && !member.is_null());
    let wrong = |text: String| Err(Error::Json(dir.join("config.json"), serde::de::Error::custom(text)));
    if !config.is_object() {
        return wrong("not an object".into());
    }
    match OBJECTS.iter().find(no_object) {
        Some(at) => wrong(format!("{}: not an object", at[1..].replace('/', "."))),
        None => Ok(config),
    }
}

/// As much of the runtime configuration as `T` takes: the rest is not even kept in memory.
pub fn read_config_as<T: DeserializeOwned>(dir: &Path) -> Result<T> {
    file::read_json(dir, "config.json")
}

/// Writes the runtime configuration.
pub fn write_config(dir: &Path, config: &Value) -> Result<()> {
    file::write_json(dir, "config.json", config)
}

/// The configuration of the image that the bundle was made from; `null` when none is known.
pub fn read_image_config(dir: &Path) -> Result<Value> {
    match file::read_if_there(dir, "image.json")? {
        None => Ok(Value::Null),
        Some(_) => file::read_json(dir, "image.json"),
    }
}

/// Writes one more file of a bundle, as all of them are written: whole or not at all.
pub fn write_file(dir: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    file::write(dir, name, bytes)
}

use crate::manifest::memory;
use registry::{ConfigFile, Credentials};
use serde_json::Value;
use std::fs;

const HOST: &str = "registry.example:5000";

/// A config.json of docker's. Reading never panics; what is stored is found again, for that host alone; what is
/// erased is gone; and members that we do not know stay as they were.
pub fn docker_config(input: &[u8]) {
    // A helper is a program to run: not here.
    let Ok(before) = serde_json::from_slice::<Value>(input) else { return };
    if before.get("credsStore").is_some() || before.get("credHelpers").is_some() {
        return;
    }
    let dir = tempfile::tempdir_in(memory()).expect("temporary directory");
    let path = dir.path().join("config.json");
    fs::write(&path, input).expect("write");
    let Ok(mut file) = ConfigFile::read(&path) else { return };
    let other = format!("{:?}", file.credentials("other.example", |_| {}));
    if file.store(HOST, "user", "pass:word").is_err() {
        assert_eq!(fs::read(&path).expect("read"), input, "a failure changed the file");
        return;
    }
    let read = ConfigFile::read(&path).expect("our own file");
    let found = read.credentials(HOST, |_| {}).expect("our own entry");
    let Some(Credentials::Basic { user, password }) = &found else { panic!("stored, and found {found:?}") };
    assert_eq!((user.as_str(), password.as_str()), ("user", "pass:word"));
    assert_eq!(format!("{:?}", read.credentials("other.example", |_| {})), other);
    let mut read = read;
    assert!(read.erase(HOST).expect("erase"));
    let after: Value = serde_json::from_slice(&fs::read(&path).expect("read")).expect("our own JSON");
    for (name, value) in before.as_object().into_iter().flatten().filter(|(name, _)| *name != "auths") {
        assert_eq!(after.get(name), Some(value), "{name} changed");
    }
}

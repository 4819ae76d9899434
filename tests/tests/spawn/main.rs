//! ctr-spawn: a real kernel, busybox as the root file system, bundles made by hand.

macro_rules! needs_a_container {
    () => {
        dock_tests::needs!(root, "busybox")
    };
}

mod configuration;
mod killed;
mod limits;
mod net_devices;
mod process;
mod root;
mod user;

use dock_tests::bundle::{config, configure, room};
use dock_tests::{Ran, Room};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// An ordinary user that no machine has.
const NOBODY: u32 = 12_345;

/// Runs a shell script in the container of a fresh bundle.
fn inside(script: &str) -> Ran {
    let room = room();
    configure(&room, &config(&["sh", "-c", script]));
    room.sh("ctr-spawn box")
}

/// Where this host has a controller, as a directory of version 1, or none.
fn v1(controller: &str) -> Option<PathBuf> {
    let path = Path::new("/sys/fs/cgroup").join(controller);
    path.join("cgroup.procs").exists().then_some(path)
}

fn overlay(room: &Room, name: &str) -> String {
    for dir in ["rootfs", "upper", "work"] {
        fs::create_dir_all(room.path(&format!("{name}/{dir}"))).unwrap();
    }
    json!({"formatVersion": "1.0", "kind": "bundle", "path": room.path(name), "overlay": {
        "lower": [room.path("layer2"), room.path("layer1")], "upper": room.path(&format!("{name}/upper")),
        "work": room.path(&format!("{name}/work"))}})
    .to_string()
}

fn eventually<T>(mut probe: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "did not happen");
        std::thread::sleep(Duration::from_millis(10));
    }
}

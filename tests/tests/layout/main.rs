//! The store: images made by hand, listed, named, removed, collected, damaged and found damaged. Beside skopeo,
//! umoci and tar.

mod append;
mod collect;
mod damage;
mod names;
mod user;

use dock_tests::{Ran, Room};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;

/// A room with a tree, its tar, and an image `base` of one layer.
fn room() -> Room {
    let room = Room::new();
    room.write("tree/etc/motd", "hello\n");
    room.write("tree/bin/prog", vec![7u8; 300_000]);
    room.sh("tar -C tree -cf tree.tar .").ok();
    room.sh("img-append --base scratch --layer tree.tar -c 'CMD [\"/bin/prog\"]' -t base:1").ok();
    room
}

fn json(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(json).collect()
}

fn index(room: &Room) -> Value {
    json(&fs::read_to_string(room.path("root/images/index.json")).unwrap())
}

fn manifest(room: &Room, image: &str) -> Value {
    json(&room.sh(&format!("img-inspect --raw manifest {image}")).ok())
}

fn config(room: &Room, image: &str) -> Value {
    json(&room.sh(&format!("img-inspect --raw config {image}")).ok())
}

fn blob(room: &Room, digest: &Value) -> PathBuf {
    room.path("root/images/blobs").join(digest.as_str().unwrap().replace(':', "/"))
}

fn blobs(room: &Room) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(room.path("root/images/blobs/sha256"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[track_caller]
fn sound(room: &Room) {
    let ran = room.sh("img-fsck");
    assert_eq!((ran.code, ran.stdout.as_str()), (0, ""), "{ran:#?}");
}

/// The classes that fsck finds, in the order of their first.
#[track_caller]
fn findings(room: &Room, code: i32) -> Vec<String> {
    let ran: Ran = room.sh("img-fsck");
    assert_eq!(ran.code, code, "{ran:#?}");
    let mut classes = Vec::new();
    for finding in lines(&ran.stdout) {
        let class = finding["class"].as_str().unwrap().to_owned();
        assert!(finding["message"].as_str().is_some_and(|text| !text.is_empty()), "{finding}");
        if !classes.contains(&class) {
            classes.push(class);
        }
    }
    classes
}

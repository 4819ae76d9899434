//! img-pull against a real registry that skopeo filled, and against one that lies.

mod cut;
mod images;
mod liars;
mod mirrors;
mod several;

use dock_tests::Room;
use serde_json::{Value, json};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// The layout is whole, and nothing lies around.
#[track_caller]
fn clean(room: &Room, layout: &str) {
    room.sh(&format!("img-fsck {layout}")).ok();
    assert_eq!(room.sh(&format!("ls {layout}/.dock/tmp | wc -l")).ok(), "0", "temp files in {layout}");
}

/// A refused pull names nothing.
#[track_caller]
fn untouched(room: &Room, layout: &str) {
    clean(room, layout);
    assert_eq!(index(room, layout), json!([]));
}

fn index(room: &Room, layout: &str) -> Value {
    let text = std::fs::read_to_string(room.path(layout).join("index.json")).expect("index.json");
    serde_json::from_str::<Value>(&text).expect("JSON")["manifests"].clone()
}

fn record(line: &str) -> Value {
    serde_json::from_str(line).expect(line)
}

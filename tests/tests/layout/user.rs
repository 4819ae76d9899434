//! Whose a store is.

use crate::{room, sound};
use dock_tests::{Room, needs};
use std::fs;

/// Trees with setuid programs in them were reachable for local users.
#[test]
fn cve_2021_21284_a_store_is_private() {
    use std::os::unix::fs::PermissionsExt;
    let room = room();
    for dir in ["root", "root/images", "root/images/blobs", "root/images/blobs/sha256", "root/images/.dock"] {
        let mode = fs::metadata(room.path(dir)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{dir}");
    }
}

#[test]
fn an_ordinary_user_has_a_store_too() {
    needs!(root);
    let room = Room::of_user(65534);
    room.sh("echo x >x && tar -c x | img-append --base scratch --layer - -t mine").ok();
    sound(&room);
    assert_eq!(room.sh("img-rm mine | head -1").ok(), "Untagged: mine:latest");
}

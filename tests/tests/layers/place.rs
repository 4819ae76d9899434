//! Where unpacked layers lie: shared, synced, private, swept, and one writer at a time.

use crate::{TROUBLE, image};
use dock_tests::{Room, needs};
use std::fs;

#[test]
fn two_at_once_make_one_set_of_layers() {
    needs!(root, "umoci", "python3");
    let room = image(TROUBLE);
    room.sh(
        "for i in 1 2 3 4 5 6; do img-unpack --layout made --overlay latest o$i >o$i.json & pids=\"$pids $!\"; done; \
             for pid in $pids; do wait $pid || exit 1; done",
    )
    .ok();
    assert_eq!(room.sh("ls root/layers/sha256 | wc -l").ok(), "4");
}

#[test]
fn what_the_killed_left_of_layers_is_swept_and_what_the_living_make_is_not() {
    needs!(root, "umoci", "python3", "flock");
    let room = image(TROUBLE);
    room.sh("mkdir -p root/layers/locks root/layers/sha256/dead.tmp/x root/layers/sha256/alive.tmp/x").ok();
    room.sh(
        "touch root/layers/locks/dead && flock root/layers/locks/alive img-unpack --layout made --overlay latest o",
    )
    .ok();
    assert_eq!(room.sh("ls -d root/layers/sha256/*.tmp").ok(), "root/layers/sha256/alive.tmp");
}

/// A layer has its name only when all of it is on the disk.
#[test]
fn layers_are_synced_before_they_have_their_name() {
    needs!(root, "umoci", "python3", "strace");
    let room = image(TROUBLE);
    room.sh("strace -f -o calls -e trace=syncfs,fsync,rename img-unpack --layout made --overlay latest o").ok();
    let calls = fs::read_to_string(room.path("calls")).unwrap();
    let calls: Vec<&str> = calls.lines().filter_map(|line| line.split_whitespace().nth(1)).collect();
    let place = |start: &str| calls.iter().position(|call| call.starts_with(start)).unwrap();
    let renames = |calls: &[&str]| calls.iter().filter(|call| call.contains("/root/layers/sha256/")).count();
    assert_eq!(renames(&calls), 4, "{calls:?}");
    assert_eq!(renames(&calls[..place("syncfs(")]), 0, "{calls:?}");
}

/// Somebody else's layout, or one on a CD: reading takes no right to write.
#[test]
fn a_layout_that_may_not_be_written_is_read() {
    needs!(root, "umoci", "python3", "setpriv");
    let made = image(r#"layer("1.tar", [("f", "f")])"#);
    let room = Room::of_user(1000);
    fs::rename(made.path("made"), room.path("made")).unwrap();
    made.sh(&format!("chown -R 0:0 {0} && chmod -R a+rX {0}", room.path("made").display())).ok();
    room.sh("img-unpack --layout made latest flat && img-save --layout made -o saved.tar latest && tar -tf saved.tar")
        .ok();
    assert!(!room.path("made/.dock").exists() && room.path("flat/rootfs/f").exists());
}

/// Of several that unpack into one directory, one does, and the others leave its tree alone.
#[test]
fn one_directory_is_unpacked_into_once() {
    needs!(root, "umoci", "python3");
    let room = image(r#"layer("1.tar", [("d", "d"), ("d/f", "f")])"#);
    for _ in 0..10 {
        let ran = room.sh(
            "rm -rf box; pids=; for i in 1 2 3 4; do img-unpack --layout made latest box >/dev/null 2>&1 & pids=\"$pids $!\"; done; \
             good=0; for pid in $pids; do wait $pid && good=$((good + 1)); done; echo $good",
        );
        assert_eq!(ran.ok(), "1");
        assert!(room.path("box/config.json").exists() && room.path("box/rootfs/d/f").exists());
    }
}

#[test]
fn wrong_use_is_one_line() {
    needs!(root, "umoci", "python3");
    let room = image(r#"layer("1.tar", [("f", "f")])"#);
    room.write("full/file", "x");
    room.sh("img-unpack --layout made latest full").fails(1, "exists and is not empty");
    assert!(room.path("full/file").exists());
    room.sh("img-unpack --layout made nosuch box").fails(1, "nosuch");
    room.sh("img-unpack").fails(2, "BUNDLE");
    room.sh("img-unpack box").fails(1, "no image record on <stdin>");
    room.sh("layer-diff").fails(1, "no bundle record on <stdin>");
    room.sh("layer-diff /nonexistent full").fails(1, "/nonexistent");
    room.sh("mkdir empty && img-unpack --layout made latest empty").ok();
    room.sh("layer-diff empty").fails(1, "a flat bundle does not know");
    room.sh("mkdir wh && touch wh/.wh.x && layer-diff --whole wh").fails(1, "a name that begins with .wh.");
}

/// A set-id program of an image is within nobody else's reach, also below a directory that was there before.
#[test]
fn cve_2021_21284_a_bundle_is_private() {
    let room = Room::new();
    room.sh("mkdir t && echo x >t/f && tar -C t -cf t.tar . && img-append --base scratch --layer t.tar --tag t").ok();
    room.sh("umask 022 && mkdir there").ok();
    for bundle in ["there", "new"] {
        room.sh(&format!("umask 022 && img-unpack --flat t {bundle}")).ok();
        assert_eq!(room.sh(&format!("stat -c %a {bundle}")).ok(), "700", "{bundle}");
    }
}

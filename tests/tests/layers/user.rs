//! Unpacked by an ordinary user: with ranges of IDs and without.

use crate::{LIE, TROUBLE, image};
use dock_tests::{Room, needs, tree};
use std::fs;
use std::path::Path;

#[test]
fn an_ordinary_user_gets_all_that_he_may_have() {
    needs!(root, "umoci", "python3", "setpriv");
    let made = image(TROUBLE);
    let room = Room::of_user(1000);
    fs::rename(made.path("made"), room.path("made")).unwrap();
    assert!(
        std::process::Command::new("chown")
            .arg("-R")
            .arg("1000:1000")
            .arg(room.path("made"))
            .status()
            .unwrap()
            .success()
    );
    for way in ["flat", "overlay"] {
        let ran = room.sh(&format!("img-unpack --layout made --{way} latest {way}"));
        assert_eq!(ran.code, 0, "{ran:#?}");
        assert!(ran.stderr.contains("1 device nodes, 1 extended attributes, 0 owners"), "{ran:#?}");
        assert!(ran.stdout.contains(r#""losses":{"devices":1,"xattrs":1,"owners":0}"#), "{ran:#?}");
    }
    let list = tree::list(&room.path("flat/rootfs"));
    assert!(list.values().all(|entry| entry.owner == (1000, 1000)));
    assert_eq!((list[Path::new("bin")].mode, list[Path::new("bin/su")].mode), (0o555, 0o2711));
    assert!(fs::read_to_string(room.path("overlay/bundle.json")).unwrap().contains(r#""userxattr":true"#));
}

/// Owners beyond root, as a user with ranges of his own, in a user namespace; and what does not fit into the ranges.
#[test]
fn subids_keep_the_owners_that_fit() {
    needs!(root, "umoci", "python3", "setpriv", "newuidmap", "unshare");
    let image_of = |uid: u32| {
        let made = image(&format!(
            r#"
layer("1.tar", [("d", "d"), ("d/f", "f"), ("d/gone", "f"), ("c", "c", {{"dev": (1, 3)}})])
with tarfile.open("2.tar", "w") as out:
    for n, (name, kind, uid, gid) in enumerate([("d", T["d"], 33, 44), ("d/.wh.gone", T["f"], 0, 0), ("d/g", T["f"], {uid}, 7)]):
        info = tarfile.TarInfo(name); info.type, info.uid, info.gid, info.mode = kind, uid, gid, 0o750
        out.addfile(info)"#
        ));
        let room = Room::of_user(1000);
        fs::rename(made.path("made"), room.path("made")).unwrap();
        // The ranges of a machine of the room's own: nobody's files are touched. newuidmap asks the passwd file who
        // the caller is.
        room.write("subid", "1000:300000:1000\n");
        room.write("passwd", "root:x:0:0::/:/bin/sh\nroomer:x:1000:1000::/:/bin/sh\n");
        made.sh(&format!("chown -R 1000:1000 {}", room.path("").display())).ok();
        let as_user = move |room: &Room, line: &str| {
            let dir = room.path("").display().to_string();
            made.sh(&format!(
                "unshare -m sh -c 'cd {dir}; for f in subuid subgid; do touch /etc/$f; mount --bind subid /etc/$f; done; \
                 mount --bind passwd /etc/passwd; export DOCK_ROOT={dir}/root HOME={dir}; \
                 exec setpriv --reuid 1000 --regid 1000 --clear-groups {line}'"
            ))
        };
        (room, as_user)
    };
    let (room, as_user) = image_of(1000);
    for way in ["flat", "overlay"] {
        let ran = as_user(&room, &format!("img-unpack --layout made --owners subids --{way} latest {way}"));
        let stdout = ran.stdout.clone();
        assert_eq!(ran.code, 0, "{ran:#?}");
        for part in [
            r#"{"containerID":0,"hostID":1000,"size":1}"#,
            r#"{"containerID":1,"hostID":300000,"size":1000}"#,
            r#""losses":{"devices":1,"xattrs":0,"owners":0}"#,
        ] {
            assert!(stdout.contains(part), "no {part} in {stdout}");
        }
    }
    let list = tree::list(&room.path("flat/rootfs"));
    let owner = |name: &str| list[Path::new(name)].owner;
    assert_eq!(
        (owner(""), owner("d"), owner("d/f"), owner("d/g")),
        ((1000, 1000), (300_032, 300_043), (1000, 1000), (300_999, 300_006))
    );
    assert!(!list.contains_key(Path::new("d/gone")) && !list.contains_key(Path::new("c")));
    assert!(fs::read_to_string(room.path("overlay/bundle.json")).unwrap().contains(r#""userxattr":true"#));
    // The range has 1000 users beside root: 0 to 1000.
    let (room, as_user) = image_of(1001);
    for way in ["flat", "overlay"] {
        let ran = as_user(&room, &format!("img-unpack --layout made --owners subids --{way} latest {way}"));
        let ran = ran.fails(1, "latest: user ID 1001 owns files in it, and there are 1001 user IDs here");
        assert!(ran.stderr.contains("hint: a larger range in /etc/subuid"), "{ran:#?}");
        assert!(!room.path(way).exists() && !room.path("root/layers/sha256").exists());
    }
    let plan = room.sh("img-unpack --layout made --plan --overlay latest").ok();
    assert_eq!(plan, room.sh("img-unpack --layout made --plan --overlay latest box").ok());
    for part in [r#""idsNeeded":{"users":1002,"groups":45}"#, r#""cached":false"#, r#""entries":7"#] {
        assert!(plan.contains(part), "no {part} in {plan}");
    }
    assert!(!room.path("box").exists());
}

/// Directories that their owner may not write in: a later layer still takes them away, and so does a failure.
#[test]
fn an_ordinary_user_removes_what_he_may_not_write_in() {
    needs!(root, "umoci", "python3", "setpriv");
    let made = image(
        r#"
layer("1.tar", [("d", "d", {"mode": 0o555}), ("d/s", "d", {"mode": 0o111}), ("d/s/f", "f"),
    ("e", "d", {"mode": 0o555}), ("e/s", "d", {"mode": 0o555}), ("e/s/f", "f"), ("e/k", "d", {"mode": 0o555}), ("e/k/f", "f")])
layer("2.tar", [(".wh.d", "f"), ("e/k/new", "f"), ("e/.wh..wh..opq", "f")])
"#,
    );
    made.sh(&format!("python3 - <<'E'\n{LIE}\nlie(-1, 'bad')\nE")).ok();
    let room = Room::of_user(1000);
    for layout in ["made", "bad"] {
        fs::rename(made.path(layout), room.path(layout)).unwrap();
    }
    made.sh(&format!("chown -R 1000:1000 {}", room.path("").display())).ok();
    room.sh("img-unpack --layout made --flat latest flat").ok();
    let list = tree::list(&room.path("flat/rootfs"));
    let names: Vec<_> = list.keys().map(|path| path.to_str().unwrap()).filter(|path| !path.is_empty()).collect();
    assert_eq!(names, ["e", "e/k", "e/k/new"]);
    assert_eq!((list[Path::new("e")].mode, list[Path::new("e/k")].mode), (0o555, 0o555));
    for _ in 0..2 {
        for way in ["flat", "overlay"] {
            let ran = room.sh(&format!("img-unpack --layout bad --{way} latest {way}-bad"));
            ran.fails(1, "the configuration says diff ID sha256:0000");
            assert!(!room.path(&format!("{way}-bad")).exists());
        }
        assert_eq!(room.sh("ls root/layers/sha256").ok(), "");
    }
}

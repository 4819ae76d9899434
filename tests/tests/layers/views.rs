//! One image, several ways to see it: an overlay mount, a flat tree, a flat tar, and what umoci makes of it.

use crate::{SEEN, TROUBLE, apart, assert_same_views, harmless, image, unpack};
use dock_tests::{Room, needs, tree};
use std::path::Path;

#[test]
fn overlay_view_equals_flat_view() {
    needs!(root, "umoci", "python3");
    let room = image(TROUBLE);
    harmless(&room);
    assert_same_views(&room);
    let flat = tree::list(&room.path("flat/rootfs"));
    assert_eq!(flat[Path::new("bin/su")].mode, 0o2711);
    assert_eq!(flat[Path::new("when")].mtime, (1_500_000_000, 123_456_789));
    assert_eq!(flat[Path::new("bin/ping")].xattrs["security.capability"].len(), 20);
    assert_eq!(flat[Path::new("usr/lib/b")].linked_to.as_deref(), Some(Path::new("linked")));
    for gone in ["dir/sub/old", "opaque/below", "opaque/deep/below", "again/old", "fifo", "a/b/c", "to-file/in"] {
        assert!(!flat.contains_key(Path::new(gone)), "{gone}");
    }
    for here in ["usr/lib/through", "usr/lib/through2", "run/pid", "not/yet/made", "opaque/deep/above", "again/new"] {
        assert!(flat.contains_key(Path::new(here)), "{here}");
    }
}

#[test]
fn a_flat_tar_is_the_flat_tree() {
    needs!(root, "umoci", "python3");
    let room = image(TROUBLE);
    room.sh("img-unpack --layout made latest flat && img-unpack --tar --layout made latest >flat.tar").ok();
    assert_eq!(room.sh("tar -tf flat.tar | sort | uniq -d").ok(), "");
    room.sh("mkdir out && tar -C out --delay-directory-restore --xattrs --xattrs-include='*' -xpf flat.tar").ok();
    let [flat, out] = ["flat/rootfs", "out"].map(|dir| tree::list(&room.path(dir)));
    tree::assert_equal(&flat, &out);
    // Owners and devices are kept without the right to make them.
    room.sh(
        "chmod -R a+rX . && chown -R 1000:1000 made && setpriv --reuid 1000 --regid 1000 --clear-groups img-unpack --tar --layout made latest \
             | cmp - flat.tar",
    )
    .ok();
}

#[test]
fn unpacking_twice_gives_equal_trees_and_shares_the_layers() {
    needs!(root, "umoci", "python3");
    let room = image(TROUBLE);
    room.sh("img-unpack --layout made latest one && img-unpack --layout made latest two").ok();
    tree::assert_equal(&tree::list(&room.path("one/rootfs")), &tree::list(&room.path("two/rootfs")));
    room.sh("img-unpack --layout made --overlay latest o1").ok();
    let inodes = || room.sh("find root/layers/sha256 -printf '%p %i %T@\\n' | sort").ok();
    let before = inodes();
    room.sh("img-unpack --layout made --overlay latest o2").ok();
    assert_eq!(inodes(), before);
    assert!(!before.contains(".tmp"));
    // Set-id programs of images are nobody else's.
    assert_eq!(room.sh("stat -c %a root/layers root/layers/sha256 one").ok(), "700\n700\n700");
}

#[test]
fn umoci_unpacks_the_same() {
    needs!(root, "umoci", "python3");
    // Without what umoci does not do: nanoseconds, times of directories that no layer names.
    let room = image(&TROUBLE.replace(".123456789", ""));
    room.sh("img-unpack --layout made latest ours && umoci unpack --image made:latest theirs").ok();
    let [mut ours, mut theirs] = ["ours/rootfs", "theirs/rootfs"].map(|dir| tree::list(&room.path(dir)));
    for implied in ["", "a", "a/b", "a/b/c", "not", "not/yet", "again", "opaque/deep"] {
        for side in [&mut ours, &mut theirs] {
            if let Some(entry) = side.get_mut(Path::new(implied)) {
                entry.mtime = (0, 0);
            }
        }
    }
    tree::assert_equal(&ours, &theirs);
}

/// What `--explain` says is what the tool does.
#[test]
fn explained_lines_make_the_same_tree() {
    needs!(root, "umoci", "python3");
    let room = image(
        r#"layer("1.tar", [("d", "d"), ("d/f", "f"), ("s", "l", {"to": "d/f"})])
layer("2.tar", [("d/g", "f", {"mode": 0o4755}), ("e", "d", {"mode": 0o700})])"#,
    );
    let ran = room.sh("img-unpack --layout made --explain latest box");
    assert_eq!(ran.code, 0, "{ran:#?}");
    room.write("lines", ran.stderr.replace("/box", "/again").replace("'box'", "again").replace("'box/", "'again/"));
    room.sh("sh -eu lines").ok();
    let [mut ours, mut theirs] = ["box/rootfs", "again/rootfs"].map(|dir| tree::list(&room.path(dir)));
    // No entry says when these two were changed.
    for tree in [&mut ours, &mut theirs] {
        for name in ["", "d"] {
            tree.get_mut(Path::new(name)).unwrap().mtime = (0, 0);
        }
    }
    tree::assert_equal(&ours, &theirs);
    let plan = room.sh("img-unpack --layout made --overlay latest o >/dev/null && img-unpack --layout made --plan --overlay latest box2").ok();
    assert_eq!(plan.matches(r#""cached":true"#).count(), 2, "{plan}");
}

/// A hard link to a name of a layer below is a second name for a copy of it, whatever it is.
#[test]
fn hard_links_to_all_that_can_be_below() {
    needs!(root, "umoci", "python3");
    let room = image(
        r#"
layer("1.tar", [("d", "d"), ("d/s", "l", {"to": "nowhere"}), ("d/p", "p", {"mode": 0o640}), ("d/c", "c", {"dev": (1, 5)}), ("d/f", "f")])
layer("2.tar", [("linked", "h", {"to": "d/s"}), ("linked2", "h", {"to": "d/p"}), ("usr/lib/a", "h", {"to": "d/c"})])"#,
    );
    harmless(&room);
    let same = |room: &Room| {
        let [flat, seen] = ["flat/rootfs", "seen"].map(|dir| {
            let mut tree = apart(tree::list(&room.path(dir)));
            tree.values_mut().for_each(|entry| entry.linked_to = None);
            tree
        });
        tree::assert_equal(&flat, &seen);
    };
    room.sh(SEEN).ok();
    same(&room);
    for kind in ["d", "nothing"] {
        let error = unpack(&image(&format!(
            r#"
layer("1.tar", [("d", "d"), ("d/f", "f")])
layer("2.tar", [("h", "h", {{"to": "{kind}"}})])"#
        )));
        assert!(error.iter().all(Result::is_err), "{kind}: {error:?}");
    }
}

/// Layers at random, with few names so that they meet: both ways refuse an image, or both show the same.
#[test]
fn overlay_view_equals_flat_view_at_random() {
    needs!(root, "umoci", "python3");
    let seed = std::env::var("SEED").map_or_else(|_| u64::from(std::process::id()), |text| text.parse().unwrap());
    eprintln!("SEED={seed}");
    let mut good = 0;
    for round in 0..12 {
        let room = image(&format!("SEED = {seed} * 100 + {round}\n{RANDOM_LAYERS}"));
        let [flat, overlay] = unpack(&room);
        eprintln!("round {round}: {:?}", flat.as_ref().err());
        assert_eq!(flat.is_ok(), overlay.is_ok(), "seed {seed} round {round}: {flat:?} {overlay:?}");
        if flat.is_ok() {
            good += 1;
            room.sh(SEEN).ok();
            let [flat, seen] = ["flat/rootfs", "seen"].map(|dir| {
                let mut tree = tree::list(&room.path(dir));
                // overlayfs copies up one name of a file, not the others.
                tree.values_mut().for_each(|entry| entry.linked_to = None);
                tree
            });
            tree::assert_equal(&flat, &seen);
        }
    }
    assert!(good >= 3, "only {good} of 12 images could be unpacked");
}

const RANDOM_LAYERS: &str = r#"
import random
random.seed(SEED)
names = ["a", "b", "c", "d"]
# Mostly, the last name says what it is; now and then a directory becomes something else, or the other way round.
def path(last="abcd"):
    if random.random() < 0.05: last = "abcdwxyz"
    return "/".join(random.choice(names) for _ in range(random.choice([0, 1, 1, 2]))) + "/" + random.choice(last)
kinds = {}
for number in range(1, 5):
    entries, here = [], {}
    for _ in range(random.randrange(4, 16)):
        what = random.choice("dddfffflhpwwo")
        p = path("abcd" if what in "dlo" else "abcdwxyz" if what == "w" else "wxyz").strip("/")
        if what == "w":
            d, _, n = p.rpartition("/")
            p, kind, more = (d + "/" if d else "") + ".wh." + n, "f", {"data": b""}
        elif what == "o":
            p, kind, more = p + "/.wh..wh..opq", "f", {"data": b""}
        elif what == "d":
            kind, more = "d", {"mode": random.choice([0o755, 0o700, 0o1777, 0o2750])}
        elif what == "f":
            kind, more = "f", {"mode": random.choice([0o644, 0o4755]), "data": b"%d" % random.randrange(9999)}
        elif what == "l":
            kind, more = "l", {"to": random.choice(["", "/", "../"]) + path().strip("/")}
        elif what == "h":
            files = [q for q, k in here.items() if k == "f"] or [q for q, k in kinds.items() if k == "f"]
            if not files: continue
            kind, more = "h", {"to": random.choice(files)}
        else:
            kind, more = "p", {}
        # A path stands in a layer once, as a directory or as something else.
        if p in here: continue
        here[p] = what
        kinds[p] = what
        more["pax"] = {"mtime": "%d.%09d" % (random.randrange(1 << 30), random.randrange(10 ** 9))}
        if what in "df" and random.random() < 0.2: more["pax"]["SCHILY.xattr.user.k"] = "%d" % random.randrange(99)
        entries.append((p, kind, more))
    layer(f"{number}.tar", entries)
"#;

//! img-unpack and layer-diff: hostile layers stay inside their root, a tree plus the difference is the other
//! tree, and what an overlay mount shows is what one flat tree is.

mod difference;
mod hostile;
mod place;
mod user;
mod views;

use dock_tests::{Room, tree};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// `layer(FILE, [(path, type, {…})])` in Python, the way of tarfile; `raw` lets a test spoil the bytes.
const PRELUDE: &str = r#"
import io, tarfile, sys
T = {"f": tarfile.REGTYPE, "d": tarfile.DIRTYPE, "l": tarfile.SYMTYPE, "h": tarfile.LNKTYPE,
     "p": tarfile.FIFOTYPE, "c": tarfile.CHRTYPE}
def layer(name, entries):
    with tarfile.open(name, "w", format=tarfile.PAX_FORMAT) as out:
        for path, kind, *more in entries:
            more = more[0] if more else {}
            info = tarfile.TarInfo(path)
            info.type = T[kind]
            info.mtime = 1700000000
            info.mode = more.get("mode", 0o755 if kind == "d" else 0o644)
            info.linkname = more.get("to", "")
            info.devmajor, info.devminor = more.get("dev", (0, 0))
            info.pax_headers = more.get("pax", {})
            data = more.get("data", b"evil")
            info.size = len(data) if kind == "f" else 0
            out.addfile(info, io.BytesIO(data) if kind == "f" else None)
"#;

/// A room with an image `made:latest` of the layers 1.tar, 2.tar, … that the script writes, put together by
/// umoci, which looks at nothing.
fn image(script: &str) -> Room {
    let room = Room::new();
    room.write("make.py", format!("{PRELUDE}\n{script}"));
    room.sh("python3 make.py && umoci init --layout made && umoci new --image made:latest \
             && for tar in [1-9].tar; do umoci raw add-layer --image made:latest $tar || exit 1; done")
        .ok();
    room.write("victim/secret", "untouched");
    room.write("victim/sub/secret", "untouched");
    room
}

/// What nothing may touch.
fn victim(room: &Room) -> impl PartialEq + std::fmt::Debug {
    tree::list(&room.path("victim"))
}

/// Unpacks both ways. Either it is refused in one line and nothing is there, or the tree is there; the host is
/// as it was in any case. Returns how each of the ways ended.
fn unpack(room: &Room) -> [Result<(), String>; 2] {
    let before = victim(room);
    let ways = ["flat", "overlay"].map(|way| {
        let ran = room.sh(&format!("img-unpack --layout made --{way} latest {way}"));
        assert_eq!(victim(room), before, "{way} touched the host");
        if ran.code == 0 {
            return Ok(());
        }
        assert!(!room.path(way).exists(), "{way} left a half-made bundle");
        Err(ran.fails(1, "img-unpack: ").stderr)
    });
    let stray = room.sh("find / /tmp /etc /root -maxdepth 1 -name 'dock-escape*' 2>/dev/null").stdout;
    assert_eq!(stray, "", "something got out");
    ways
}

fn harmless(room: &Room) {
    for way in unpack(room) {
        way.unwrap();
    }
}

const SEEN: &str = r#"mount --version >/dev/null && unshare -m sh -ec '
    lower=$(tr , "\n" <overlay/bundle.json | sed -n "/lower/,/]/p" | grep -o "/[^\"]*" | paste -sd:)
    mount -t overlay overlay -o lowerdir=$lower,upperdir=overlay/upper,workdir=overlay/work overlay/rootfs
    cp -a --preserve=all overlay/rootfs seen'"#;

/// Mounts the overlay bundle in a mount namespace of its own and copies what it shows.
fn assert_same_views(room: &Room) {
    room.sh(SEEN).ok();
    let [flat, seen] = ["flat/rootfs", "seen"].map(|dir| apart(tree::list(&room.path(dir))));
    tree::assert_equal(&flat, &seen);
}

/// A link to a file of a lower layer is a link to a copy of it: overlayfs copies up one name, not the others.
fn apart(mut tree: BTreeMap<PathBuf, tree::Entry>) -> BTreeMap<PathBuf, tree::Entry> {
    for name in ["usr/lib/a", "usr/lib/b", "linked", "linked2"] {
        if let Some(entry) = tree.get_mut(Path::new(name)) {
            entry.linked_to = None;
        }
    }
    tree
}

/// Everything that one layer can do to another.
const TROUBLE: &str = r#"
cap = "\x01\x00\x00\x02\x00\x20\x00\x00" + "\x00" * 12
layer("1.tar", [
    (".", "d", {"mode": 0o711}), ("dir", "d", {"mode": 0o1777}), ("dir/old", "f"), ("dir/sub", "d"), ("dir/sub/old", "f"),
    ("to-file", "d"), ("to-file/in", "f"), ("to-dir", "f"), ("to-link", "d"), ("to-link/in", "f"), ("opaque", "d", {"mode": 0o2750}),
    ("opaque/below", "f"), ("opaque/deep", "d"), ("opaque/deep/below", "f"), ("again", "d"), ("again/old", "f"),
    ("usr", "d"), ("usr/lib", "d"), ("lib", "l", {"to": "usr/lib"}), ("abs", "l", {"to": "/usr/lib"}), ("run", "d"),
    ("var", "d"), ("var/run", "l", {"to": "/run"}), ("dangling", "l", {"to": "not/yet"}),
    ("usr/lib/a", "f", {"data": b"a" * 70000}), ("usr/lib/b", "h", {"to": "usr/lib/a"}), ("fifo", "p"), ("null", "c", {"dev": (1, 3)}),
    ("bin", "d", {"mode": 0o555}), ("bin/su", "f", {"mode": 0o4755}), ("bin/ping", "f", {"pax": {"SCHILY.xattr.security.capability": cap}}),
    ("when", "f", {"pax": {"mtime": "1500000000.123456789"}}), ("attrs", "d", {"pax": {"SCHILY.xattr.user.a": "1"}}),
    ("n" * 150, "d"), ("n" * 150 + "/" + "m" * 150, "f"), ("Grüße", "f"), ("empty", "f", {"data": b""})])
layer("2.tar", [
    ("dir/.wh.sub", "f"), ("dir/new", "f"), ("to-file", "f"), ("to-dir", "d"), ("to-dir/in", "f"), ("to-link", "l", {"to": "usr"}),
    ("opaque/above", "f"), ("opaque/deep/above", "f"), ("opaque/.wh..wh..opq", "f"),
    ("again/new", "f"), (".wh.again", "f"), ("lib/through", "f"), ("abs/through2", "f"), ("var/run/pid", "f"),
    ("dangling/made", "f"), ("linked", "h", {"to": "usr/lib/a"}), ("linked2", "h", {"to": "lib/b"}), ("attrs", "d"), (".wh.absent", "f")])
layer("3.tar", [(".wh.to-file", "f"), ("to-file", "d"), ("to-file/fresh", "f"), ("bin/su", "f", {"mode": 0o2711}), ("a/b/c/d", "f"),
    (".wh.fifo", "f"), ("dir", "d", {"mode": 0o700})])
layer("4.tar", [("a/b/.wh.c", "f"), ("to-file/.wh.fresh", "f"), ("dir/sub", "f")])
"#;

/// `lie(PLACE, LAYOUT)`: the configuration of `made` with a wrong diff ID there, as a layout (`made` itself or a copy).
const LIE: &str = r#"
import json, hashlib, os, shutil
def lie(place, layout):
    if layout != "made": shutil.copytree("made", layout)
    def blob(d): return layout + "/blobs/" + d.replace(":", "/")
    def put(v):
        b = json.dumps(v).encode(); d = "sha256:" + hashlib.sha256(b).hexdigest(); open(blob(d), "wb").write(b); return d, len(b)
    index = json.load(open(layout + "/index.json")); m = json.load(open(blob(index["manifests"][0]["digest"])))
    c = json.load(open(blob(m["config"]["digest"]))); c["rootfs"]["diff_ids"][place] = "sha256:" + "0" * 64
    m["config"]["digest"], m["config"]["size"] = put(c)
    index["manifests"][0]["digest"], index["manifests"][0]["size"] = put(m)
    json.dump(index, open(layout + "/index.json", "w"))
"#;

//! img-unpack and layer-diff: hostile layers stay inside their root, a tree plus the difference is the other
//! tree, and what an overlay mount shows is what one flat tree is.

use dock_tests::{Room, needs, tree};
use std::collections::BTreeMap;
use std::fs;
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

/// `ext(TYPE, DATA)`: an extension header, which says something of the entry behind it.
const EXTENSION: &str = "\
def ext(kind, data):
    head = tarfile.TarInfo('e'); head.type = kind.encode(); head.size = len(data)
    return bytearray(head.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % 512))
";

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

fn refused(room: &Room, part: &str) {
    for way in unpack(room) {
        let error = way.expect_err("must be refused");
        assert!(error.contains(part), "no {part:?} in {error}");
    }
}

fn harmless(room: &Room) {
    for way in unpack(room) {
        way.unwrap();
    }
}

#[test]
fn cve_2021_29136_root_entry_is_a_symlink() {
    needs!(root, "umoci", "python3");
    for root in [".", "./", "/."] {
        let room = image(&format!(
            r#"
layer("1.tar", [({root:?}, "l", {{"to": "../../victim"}})])
layer("2.tar", [("dock-escape", "f")])"#
        ));
        refused(&room, "the root is not a directory");
    }
}

#[test]
fn cve_2018_20990_link_then_an_entry_through_it() {
    needs!(root, "umoci", "python3");
    let room = image(
        r#"
import os
victim = os.getcwd() + "/victim"
layer("1.tar", [("etc", "d"), ("d", "l", {"to": victim}), ("d/dock-escape", "f"), ("s", "l", {"to": "../../victim"}),
                ("s/dock-escape", "f"), ("d2", "l", {"to": ".."}), ("d2/dock-escape2", "f")])
layer("2.tar", [("d/dock-escape3", "f"), ("s/secret", "f")])"#,
    );
    harmless(&room);
    // The absolute link leads to the same path inside.
    let inside = format!("flat/rootfs{}/dock-escape", room.path("victim").display());
    assert_eq!(fs::read_to_string(room.path(&inside)).unwrap(), "evil");
    assert!(room.path("flat/rootfs/victim/secret").exists());
    assert!(room.path("flat/rootfs/dock-escape2").exists());
}

#[test]
fn cve_2026_42574_existing_symlink_is_replaced_and_never_written_through() {
    needs!(root, "umoci", "python3");
    let room = image(
        r#"
import os
victim = os.getcwd() + "/victim/secret"
layer("1.tar", [("f", "l", {"to": victim}), ("f", "f", {"data": b"mine"}), ("g", "l", {"to": victim})])
layer("2.tar", [("g", "f", {"data": b"mine"})])"#,
    );
    harmless(&room);
    assert_eq!(fs::read_to_string(room.path("flat/rootfs/f")).unwrap(), "mine");
    assert!(fs::symlink_metadata(room.path("flat/rootfs/g")).unwrap().is_file());
}

#[test]
fn cve_2026_50163_hard_link_out_of_the_root() {
    needs!(root, "umoci", "python3");
    let room = image(r#"layer("1.tar", [("h", "h", {"to": "../../../victim/secret"}), ("h", "f")])"#);
    refused(&room, "leads out of the root");
    let room = image(
        r#"
import os
layer("1.tar", [("d", "l", {"to": os.getcwd() + "/victim"}), ("h", "h", {"to": "d/secret"}), ("h", "f")])"#,
    );
    refused(&room, "linkat(");
    // A hard link to a symbolic link is one more name of the link.
    let room = image(
        r#"
import os
layer("1.tar", [("s", "l", {"to": os.getcwd() + "/victim/secret"}), ("h", "h", {"to": "s"})])
layer("2.tar", [("h", "f", {"data": b"mine"})])"#,
    );
    harmless(&room);
    let room = image(
        r#"
import os
layer("1.tar", [("s", "l", {"to": os.getcwd() + "/victim/secret"}), ("h", "h", {"to": "s"})])"#,
    );
    harmless(&room);
    assert!(fs::symlink_metadata(room.path("flat/rootfs/h")).unwrap().is_symlink());
    assert_eq!(room.sh("stat -c %h victim/secret").ok(), "1", "the host's file got a name inside");
}

#[test]
fn cve_2021_32760_mode_and_time_never_through_a_link() {
    needs!(root, "umoci", "python3");
    let room = image(
        r#"
import os
victim = os.getcwd() + "/victim"
layer("1.tar", [("d", "l", {"to": victim}), ("e", "l", {"to": victim + "/secret"})])
layer("2.tar", [("d", "d", {"mode": 0o777}), ("e", "f", {"mode": 0o6777})])"#,
    );
    harmless(&room);
    assert!(fs::symlink_metadata(room.path("flat/rootfs/d")).unwrap().is_dir());
}

#[test]
fn whiteouts_stay_inside() {
    needs!(root, "umoci", "python3");
    let room = image(
        r#"
import os
victim = os.getcwd() + "/victim"
layer("1.tar", [("a", "l", {"to": victim}), ("b", "l", {"to": "../../victim"}), ("c", "d"), ("c/x", "f")])
layer("2.tar", [("a/.wh..wh..opq", "f"), ("b/.wh.secret", "f"), ("b/.wh..wh..opq", "f"), ("c/.wh.x", "f")])"#,
    );
    harmless(&room);
    assert!(!room.path("flat/rootfs/c/x").exists());
    for name in [".wh.", ".wh..", ".wh..."] {
        refused(&image(&format!(r#"layer("1.tar", [("d", "d"), ("d/{name}", "f")])"#)), "a whiteout of no name");
    }
    refused(&image(r#"layer("1.tar", [("d/.wh.x/y", "f")])"#), "a path below a whiteout");
}

#[test]
fn paths_out_of_the_root_are_refused() {
    needs!(root, "umoci", "python3");
    for path in ["../dock-escape", "a/../../dock-escape", "/../dock-escape", ".wh.x/../../dock-escape"] {
        refused(&image(&format!(r#"layer("1.tar", [({path:?}, "f")])"#)), "leads out of the root");
    }
}

#[test]
fn cve_2025_62518_ambiguous_archives_are_refused() {
    needs!(root, "umoci", "python3");
    // (what PAX says about the next entry, what the error says)
    for (pax, part) in [
        (r"'size': 'x'", "malformed PAX"),
        (r"'size': '-1'", "malformed PAX"),
        (r"'size': '99999999999999999999'", "malformed PAX"),
        (r"'GNU.sparse.major': '1'", "sparse"),
        (r"'mtime': 'never'", "malformed PAX"),
        (r"'uid': '4294967295'", "owner out of range"),
    ] {
        refused(&image(&format!(r#"layer("1.tar", [("f", "f", {{"pax": {{{pax}}}}})])"#)), part);
    }
    // The size of the PAX record wins: the reader that believes the header would see the inner archive.
    let room = image(
        r#"
layer("inner", [("dock-smuggled", "f")])
inner = open("inner", "rb").read()
layer("1.tar", [("outer", "f", {"data": inner}), ("after", "f")])
bytes = bytearray(open("1.tar", "rb").read())
size = b"%d" % len(inner)
record = b"%d size=%s\n" % (len(size) + 9, size)
assert int(record.split()[0]) == len(record)
head = tarfile.TarInfo("pax"); head.type = tarfile.XHDTYPE; head.size = len(record)
block = bytearray(bytes[:512]); block[124:136] = b"00000000000\0"
block[148:156] = b" " * 8; block[148:156] = b"%06o\0 " % sum(block)
open("1.tar", "wb").write(head.tobuf(tarfile.USTAR_FORMAT) + record.ljust(512, b"\0") + block + bytes[512:])"#,
    );
    harmless(&room);
    assert!(!room.path("flat/rootfs/dock-smuggled").exists());
    assert!(room.path("flat/rootfs/after").exists());
    let spoil = |spoiler: &str| {
        image(&format!(
            "layer('1.tar', [('f', 'f', {{'data': b'x' * 1000}}), ('g', 'f')])\nb = bytearray(open('1.tar', 'rb').read())\n{EXTENSION}\n{spoiler}\nopen('1.tar', 'wb').write(b)"
        ))
    };
    for (spoiler, part) in [
        ("b[0] ^= 1", "wrong header checksum"),
        ("b = b[:700]", "ends in the middle"),
        ("b[512 + 1024:512 + 1024] = bytes(512)", "data after a block of zeros"),
        ("b[156] = ord('?'); b[148:156] = b' ' * 8; b[148:156] = b'%06o\\0 ' % sum(b[:512])", "unknown type"),
        (
            "b[124:136] = b'\\xff' * 12; b[148:156] = b' ' * 8; b[148:156] = b'%06o\\0 ' % sum(b[:512])",
            "malformed size",
        ),
        ("b = ext('x', b'11 path=zz\\n') + ext('x', b'11 path=yy\\n') + b", "two PAX headers for one entry"),
        ("b = ext('L', b'zz\\0') + ext('L', b'yy\\0') + b", "two GNU long names for one entry"),
        ("b = ext('x', b'11 path=zz\\n') + ext('L', b'yy\\0') + b", "a PAX and a GNU path that differ"),
        ("b = ext('x', b'11 path=zz\\n') + bytes(1024)", "an extension header without an entry after it"),
        ("b = ext('L', b'n' * 4097 + b'\\0') + b", "a path longer than 4096 bytes"),
    ] {
        refused(&spoil(spoiler), part);
    }
}

#[test]
fn cve_2025_58183_counts_of_the_archive_cost_no_memory() {
    needs!(root, "umoci", "python3", "prlimit");
    let room = image(
        r#"
head = tarfile.TarInfo("x"); head.type = tarfile.XHDTYPE; head.size = 1 << 40
open("1.tar", "wb").write(head.tobuf(tarfile.GNU_FORMAT) + bytes(4096))"#,
    );
    room.sh("prlimit --as=400000000 img-unpack --layout made latest flat").fails(1, "an extension header of");
    // A bomb: 1 GiB of zeros in a megabyte. It is a file like any other, and memory stays flat.
    let room = image(
        r#"
with tarfile.open("1.tar", "w") as out:
    info = tarfile.TarInfo("zeros"); info.size = 1 << 28
    class Zeros:
        def read(self, n): return bytes(n)
    out.addfile(info, Zeros())"#,
    );
    room.sh("prlimit --as=400000000 img-unpack --layout made latest flat").ok();
}

#[test]
fn overlay_marks_in_an_image_are_not_obeyed() {
    needs!(root, "umoci", "python3");
    let room = image(
        r#"
layer("1.tar", [("d", "d"), ("d/x", "f")])
layer("2.tar", [("d", "d", {"pax": {"SCHILY.xattr.trusted.overlay.opaque": "y", "SCHILY.xattr.user.overlay.opaque": "y",
                                    "SCHILY.xattr.user.kept": "yes"}})])"#,
    );
    harmless(&room);
    assert_same_views(&room);
    assert!(room.path("flat/rootfs/d/x").exists());
    assert_eq!(tree::list(&room.path("flat/rootfs"))[Path::new("d")].xattrs["user.kept"], b"yes");
    refused(&image(r#"layer("1.tar", [("x", "c", {"dev": (0, 0)})])"#), "means a whiteout");
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

/// Somebody swaps a directory of the half-made tree for a link out of it, again and again while it is written.
#[test]
fn cve_2025_47290_a_directory_becomes_a_link_while_it_is_written() {
    use std::sync::atomic::{AtomicBool, Ordering};
    needs!(root, "umoci", "python3");
    let room = image(
        r#"
layer("1.tar", [("d", "d"), ("e", "d")]
    + [(("d/" if n % 2 else "e/") + f"f{n}", "f") for n in range(4000)]
    + [(f"d/h{n}", "h", {"to": f"e/f{n}"}) for n in range(0, 2000, 2)])
layer("2.tar", [x for n in range(1, 4000, 2) for x in ((f"d/.wh.f{n}", "f"), (f"e/g{n}", "f"))] + [("d/.wh.secret", "f"), ("d/.wh.sub", "f")])
"#,
    );
    let before = victim(&room);
    let (dir, aside) = (room.path("flat/rootfs/d"), room.path("flat/rootfs/d.aside"));
    let ended = AtomicBool::new(false);
    let mut swaps = 0;
    // A round ends with the first swap that the unpacking notices; on a busy machine some see none at all.
    for _ in 0..200 {
        if swaps > 20 {
            break;
        }
        let _ = fs::remove_dir_all(room.path("flat"));
        ended.store(false, Ordering::Relaxed);
        swaps += std::thread::scope(|scope| {
            let attack = scope.spawn(|| {
                let mut swaps = 0;
                while !ended.load(Ordering::Relaxed) {
                    if fs::rename(&dir, &aside).is_ok() {
                        // It may have been made again in the meantime: then this round is lost.
                        swaps += usize::from(std::os::unix::fs::symlink(room.path("victim"), &dir).is_ok());
                        std::thread::yield_now();
                        let _ = fs::remove_file(&dir);
                        let _ = fs::rename(&aside, &dir);
                    }
                }
                swaps
            });
            // It may succeed or fail, as the race goes. It may not reach out.
            let _ = room.sh("img-unpack --layout made --flat latest flat");
            ended.store(true, Ordering::Relaxed);
            attack.join().unwrap()
        });
        assert_eq!(victim(&room), before);
    }
    assert!(swaps > 20, "only {swaps} swaps: there was no race");
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
fn damaged_layers_leave_nothing() {
    needs!(root, "umoci", "python3");
    let room = image(r#"layer("1.tar", [("f", "f", {"data": b"x" * 100000})])"#);
    let blob = room
        .sh("for b in made/blobs/sha256/*; do head -c2 $b | od -An -tx1 | grep -q '1f 8b' && echo $b; done; true")
        .ok();
    let good = fs::read(room.path(&blob)).unwrap();
    let mut flipped = good.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0x10;
    let longer = [&good[..], b"x"].concat();
    for bad in [&flipped[..], &good[..good.len() - 3], &longer] {
        fs::write(room.path(&blob), bad).unwrap();
        for way in unpack(&room) {
            way.expect_err("damaged");
        }
        let left = room.sh("ls root/layers/sha256").stdout;
        assert_eq!(left, "", "no layer of a damaged blob");
    }
}

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

#[test]
fn a_diff_id_that_lies_is_found() {
    needs!(root, "umoci", "python3");
    let room = image(r#"layer("1.tar", [("f", "f")])"#);
    room.write("lie.py", format!("{LIE}\nlie(0, 'made')"));
    room.sh("python3 lie.py").ok();
    refused(&room, "the configuration says diff ID sha256:0000");
}

/// Numbers that are the same again for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// A shell script that makes or changes a tree at random.
fn random_steps(random: &mut Random, steps: usize) -> String {
    let mut script = String::from("set +e; exec 2>/dev/null\n");
    let path = |random: &mut Random| {
        let depth = 1 + random.below(3);
        (0..depth)
            .map(|_| ["a", "b", "c d", "e", "é"][usize::try_from(random.below(5)).unwrap()])
            .collect::<Vec<_>>()
            .join("/")
    };
    for _ in 0..steps {
        let (p, q) = (path(random), path(random));
        let n = random.below(10_000);
        script += &match random.below(12) {
            0..=1 => format!("mkdir -p '{p}'\n"),
            2..=4 => format!("test -p '{p}' || echo {n} >'{p}' && touch -d @{n}.{n:09} '{p}'\n"),
            5 => format!("ln -s '{q}' '{p}'\n"),
            6 => format!("ln '{q}' '{p}'\n"),
            7 => format!("rm -rf '{p}'\n"),
            8 => format!("chmod {:o} '{p}'\n", 0o500 + n % 0o300),
            9 => format!("chown -h {}:{} '{p}'\n", n % 3, n % 5),
            10 => format!("setfattr -n user.k{} -v {n} '{p}'\n", n % 2),
            _ => format!("mkfifo '{p}' || mknod '{p}' c 1 {}\n", n % 9),
        };
    }
    script
}

#[test]
fn a_tree_plus_the_difference_is_the_other_tree() {
    needs!(root, "umoci", "python3", "setfattr");
    let seed = std::env::var("SEED").map_or_else(|_| u64::from(std::process::id()), |text| text.parse().unwrap());
    eprintln!("SEED={seed}");
    let mut random = Random(seed);
    for round in 0..8 {
        let room = Room::new();
        room.write("a.sh", format!("mkdir a; cd a\n{}", random_steps(&mut random, 60)));
        room.write("b.sh", format!("cp -a --preserve=all a b; cd b\n{}", random_steps(&mut random, 40)));
        room.sh("sh a.sh; sh b.sh; true").ok();
        room.sh("layer-diff a a | cmp - /dev/zero -n 1024 && test $(layer-diff a a | wc -c) = 1024").ok();
        room.sh("layer-diff a b >1 && layer-diff a b >2 && cmp 1 2").ok();
        // No path twice.
        assert_eq!(room.sh("tar -tf 1 | sort | uniq -d").ok(), "", "seed {seed} round {round}");
        room.sh("layer-diff --whole a >a.tar && layer-diff --whole b >b.tar").ok();
        room.sh("umoci init --layout made && umoci new --image made:latest && umoci raw add-layer --image made:latest a.tar \
                 && umoci raw add-layer --image made:latest 1")
            .ok();
        room.sh("img-unpack --layout made latest flat && img-unpack --layout made latest --overlay overlay").ok();
        tree::assert_equal(&tree::list(&room.path("flat/rootfs")), &tree::list(&room.path("b")));
        assert_same_views(&room);
    }
}

#[test]
fn what_an_overlay_mount_changed() {
    needs!(root, "umoci", "python3");
    let room = image(TROUBLE);
    room.sh("img-unpack --layout made --overlay latest box >box.json && img-unpack --layout made latest flat").ok();
    assert_eq!(room.sh("layer-diff box --list").ok(), "");
    room.sh("unshare -m sh -ec '\
             lower=$(tr , \"\\n\" <box/bundle.json | sed -n \"/lower/,/]/p\" | grep -o \"/[^\\\"]*\" | paste -sd:); \
             mount -t overlay overlay -o lowerdir=$lower,upperdir=box/upper,workdir=box/work box/rootfs; cd box/rootfs; \
             echo new >usr/new; echo more >>usr/lib/a; rm null; rm -r opaque; mkdir opaque; echo x >opaque/x; mv bin/su bin/su2; \
             ln usr/new usr/new2; chmod 700 run; touch gone; rm gone; python3 -c \"import socket; socket.socket(1).bind(\\\"sock\\\")\"; \
             cd ../..; cp -a --preserve=all box/rootfs seen'; rm -f seen/sock")
        .ok();
    let lines = room.sh("layer-diff --list <box.json").ok();
    for line in [
        "A /usr/new",
        "A /usr/new2",
        "C /usr/lib/a",
        "D /null",
        "C /opaque",
        "A /opaque/x",
        "D /opaque/above",
        "D /opaque/deep",
        "D /bin/su",
        "A /bin/su2",
        "C /run",
    ] {
        assert!(lines.lines().any(|l| l == line), "no {line:?} in\n{lines}");
    }
    assert!(!lines.contains("gone") && !lines.contains("sock"), "{lines}");
    // The layer on top of the image is what was to be seen; and the whole is, too.
    room.sh("layer-diff box >5.tar && umoci raw add-layer --image made:latest 5.tar && img-unpack --layout made latest again").ok();
    let mut seen = tree::list(&room.path("seen"));
    let again = tree::list(&room.path("again/rootfs"));
    seen.get_mut(Path::new("")).unwrap().mtime = again[Path::new("")].mtime;
    tree::assert_equal(&apart(again), &apart(seen.clone()));
    room.sh(
        "layer-diff --whole box | cat >all.tar && mkdir all && tar -C all --xattrs --xattrs-include='*' -xpf all.tar",
    )
    .ok();
    let whole = tree::list(&room.path("all"));
    assert_eq!(whole.keys().collect::<Vec<_>>(), seen.keys().collect::<Vec<_>>());
    // Changed content under an old time and an equal size needs --checksum.
    room.sh("cp -a flat/rootfs x; printf EVIL >x/dir/new; touch -r flat/rootfs/dir/new x/dir/new").ok();
    assert_eq!(room.sh("layer-diff --list flat/rootfs x").ok(), "");
    assert_eq!(room.sh("layer-diff --list --checksum flat/rootfs x").ok(), "C /dir\nC /dir/new");
    assert_eq!(room.sh("layer-diff --list --checksum --exclude /dir flat/rootfs x").ok(), "");
}

#[test]
fn layers_go_into_a_layout_and_are_the_same_bytes_anywhere() {
    needs!(root, "umoci", "python3", "zstd");
    let room = image(TROUBLE);
    room.sh("img-unpack --layout made latest flat").ok();
    let diff_id = format!("sha256:{}", room.sh("layer-diff --whole flat | sha256sum | cut -c1-64").ok());
    for compress in ["none", "gzip", "zstd"] {
        let record = room.sh(&format!("layer-diff --whole --layout lay --compress {compress} flat")).ok();
        assert!(record.contains(&diff_id), "{record}");
        assert_eq!(
            record,
            room.sh(&format!("taskset -c 0 layer-diff --whole --layout lay --compress {compress} flat")).ok()
        );
    }
    assert_eq!(
        format!(
            "sha256:{}",
            room.sh("layer-diff --whole --compress gzip flat | gzip -dc | sha256sum | cut -c1-64").ok()
        ),
        diff_id
    );
    assert_eq!(
        format!(
            "sha256:{}",
            room.sh("layer-diff --whole --compress zstd flat | zstd -dc | sha256sum | cut -c1-64").ok()
        ),
        diff_id
    );
    let clamped = room
        .sh("SOURCE_DATE_EPOCH=1000000000 layer-diff --whole flat | tar --full-time -tvf - | grep -c 2001-09-09")
        .ok();
    assert!(clamped.parse::<u32>().unwrap() > 20);
    assert_eq!(room.sh("layer-diff --whole flat >/dev/full").code, 1);
}

/// A file that a container wrote is in the layer, also when what wrote it put size and time back: npm gives every
/// file of every version the time 1985-10-26.
#[test]
fn a_written_file_counts_though_size_and_time_are_the_same() {
    needs!(root, "umoci", "python3");
    let room = image(r#"layer("1.tar", [("f", "f", {"data": b"old"}), ("g", "f", {"data": b"old"})])"#);
    room.sh("img-unpack --layout made --overlay latest o && cp -a root/layers/sha256/*/[fg] o/upper/").ok();
    room.sh("printf new >o/upper/f && touch -r o/upper/g o/upper/f").ok();
    assert_eq!(room.sh("layer-diff --list o").ok(), "C /f");
    assert_eq!(room.sh("layer-diff o | tar -xO f").ok(), "new");
}

/// A layer that leaves all parents out, as deep as a path can be: each is looked up once, not the whole path for each.
#[test]
fn deep_implied_parents_cost_what_they_are() {
    needs!(root, "umoci", "python3", "strace");
    let room = image(
        r#"
deep = ["d"] * 800
layer("1.tar", [("/".join(deep[:n]), "d", {"mode": 0o700 + n % 64}) for n in range(1, 800)])
for n in range(2, 8):
    layer(f"{n}.tar", [("/".join(deep) + f"/f{n}", "f")])"#,
    );
    harmless(&room);
    assert_same_views(&room);
    let calls = |depth: usize| {
        room.write(
            "deep.py",
            format!("{PRELUDE}\nfor n in 'ab': layer(n + '.tar', [('/'.join(['d'] * {depth}) + '/f' + n, 'f')])"),
        );
        let counted = room.sh(&format!(
            "python3 deep.py && img-append --base scratch --layer a.tar --layer b.tar --tag d{depth} >/dev/null && \
             strace -fc -o calls img-unpack --overlay d{depth} box{depth} >/dev/null && grep total calls"
        ));
        counted.ok().split_whitespace().nth(3).and_then(|word| word.parse::<usize>().ok()).unwrap()
    };
    // Twice as deep is twice the work, not four times.
    let (shallow, deep) = (calls(200), calls(800));
    assert!(deep < shallow * 6, "{shallow} calls for 200, {deep} for 800");
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

/// Links through which every entry goes deeper: no path is long, and the tree has no end.
#[test]
fn a_tree_deeper_than_any_disk_is_refused_both_ways() {
    needs!(root, "umoci", "python3");
    let room = image(
        r#"
deep = "/".join(["d"] * 400)
layer("1.tar", [("s0", "d")] + [x for n in range(20) for x in ((f"s{n}/{deep}/x", "f"), (f"s{n + 1}", "l", {"to": f"s{n}/{deep}"}))])
"#,
    );
    for way in ["--flat latest flat", "--tar latest"] {
        let ran = room.sh(&format!("timeout 60 img-unpack --layout made {way} >out")).fails(1, "File name too long");
        assert!(!ran.stderr.contains("long (os error 36): "), "a cause is said once: {ran:#?}");
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

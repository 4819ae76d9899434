//! Layers that want out of their root, cost more than they are, or say what is not so.

use crate::{LIE, PRELUDE, assert_same_views, harmless, image, unpack, victim};
use dock_tests::{Room, needs, tree};
use std::fs;
use std::path::Path;

/// `ext(TYPE, DATA)`: an extension header, which says something of the entry behind it.
const EXTENSION: &str = "\
def ext(kind, data):
    head = tarfile.TarInfo('e'); head.type = kind.encode(); head.size = len(data)
    return bytearray(head.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % 512))
";

fn refused(room: &Room, part: &str) {
    for way in unpack(room) {
        let error = way.expect_err("must be refused");
        assert!(error.contains(part), "no {part:?} in {error}");
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

#[test]
fn a_diff_id_that_lies_is_found() {
    needs!(root, "umoci", "python3");
    let room = image(r#"layer("1.tar", [("f", "f")])"#);
    room.write("lie.py", format!("{LIE}\nlie(0, 'made')"));
    room.sh("python3 lie.py").ok();
    refused(&room, "the configuration says diff ID sha256:0000");
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

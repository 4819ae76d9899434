//! What other archivers write is unpacked as it was: sparse files in every form, attributes, ACLs, headers of all ages.

use dock_tests::{Room, needs, tree};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Puts `NAME.tar` as the only layer into the image `NAME`, and unpacks it into `NAME/rootfs`.
fn unpacked(room: &Room, name: &str) {
    room.sh(&format!(
        "img-append --base scratch --layer {name}.tar --tag {name} >/dev/null && img-unpack {name} {name} >/dev/null"
    ))
    .ok();
}

/// Holes at the start, in the middle and at the end; more pieces than fit into one header; nothing but a hole.
const HOLES: &str = r"
mkdir t
python3 - <<'E'
def holes(name, size, pieces):
    with open('t/' + name, 'wb') as out:
        for offset, data in pieces:
            out.seek(offset); out.write(data)
        out.truncate(size)
holes('front', 1 << 20, [(1 << 19, b'a' * 5000)])
holes('middle', (1 << 20) + 7, [(0, b'b' * 100), ((1 << 20), b'c' * 7)])
holes('many', 100 << 16, [(n << 16, b'%d' % n * 1000) for n in range(1, 99)])
holes('hole', 3 << 20, [])
holes('long' * 40, 1 << 20, [(1 << 18, b'd')])
holes('plain', 3, [(0, b'abc')])
E
touch -d @1500000000 t/* t
";

#[test]
fn sparse_files_of_every_format() {
    needs!(root, "tar", "python3");
    let room = Room::new();
    room.sh(HOLES).ok();
    let want = tree::list(&room.path("t"));
    for (name, options) in [
        ("old", "--format=gnu"),
        ("pax00", "--format=posix --sparse-version=0.0"),
        ("pax01", "--format=posix --sparse-version=0.1"),
        ("pax10", "--format=posix --sparse-version=1.0"),
    ] {
        // Without atime and ctime, the archive is the same every time.
        room.sh(&format!("tar --sparse {options} -C t -cf {name}.tar .")).ok();
        let size = fs::metadata(room.path(&format!("{name}.tar"))).unwrap().len();
        assert!(size < 1 << 20, "{name}: {size} bytes hold no holes");
        unpacked(&room, name);
        tree::assert_equal(&tree::list(&room.path(&format!("{name}/rootfs"))), &want);
        let hole = fs::metadata(room.path(&format!("{name}/rootfs/hole"))).unwrap();
        assert_eq!((hole.size(), hole.blocks()), (3 << 20, 0), "{name}");
        // As a tar, holes are zeros; a layer of ours has no sparse files.
        room.sh(&format!("img-unpack --tar {name} >flat.tar && mkdir {name}.flat && tar -C {name}.flat -xpf flat.tar"))
            .ok();
        tree::assert_equal(&tree::list(&room.path(&format!("{name}.flat"))), &want);
    }
}

/// A map is the archive's word about memory and disk: none of it is believed (CVE-2025-58183).
#[test]
fn cve_2025_58183_sparse_maps_that_lie() {
    needs!(root, "python3", "prlimit");
    let room = Room::new();
    room.write(
        "make.py",
        r#"
import io, sys, tarfile
def pax(name, headers, data=b"", size=None):
    info = tarfile.TarInfo("f"); info.size = len(data) if size is None else size
    info.pax_headers = headers
    open(name, "wb").write(info.tobuf(tarfile.PAX_FORMAT) + data + bytes(-len(data) % 512) + bytes(1024))
one = lambda size: {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "f", "GNU.sparse.realsize": size}
def block(text): return text.encode().ljust(-(-len(text) // 512) * 512, b"\0")
pax("huge", one(str((1 << 63) - 1)), block("1\n0\n0\n"))
pax("count", one("10"), block("99999999999\n0\n0\n"))
pax("endless", one("10"), block("1\n0\n" + "0" * 5000 + "x"))
pax("short", one("10"), block("3\n0\n1\n"))
pax("overlap", one("10"), block("2\n0\n4\n2\n4\n") + b"x" * 8)
pax("beyond", one("10"), block("1\n8\n4\n") + b"x" * 4)
pax("overflow", one("10"), block("1\n18446744073709551615\n4\n") + b"x" * 4)
pax("less", one("10"), block("1\n0\n4\n") + b"x" * 8)
pax("version", {**one("10"), "GNU.sparse.major": "2"}, block("0\n"))
pax("both", {**one("10"), "GNU.sparse.size": "10"}, block("0\n"))
pax("numblocks", {"GNU.sparse.size": "10", "GNU.sparse.numblocks": "2", "GNU.sparse.map": "0,4"}, b"x" * 4)
pax("odd", {"GNU.sparse.size": "10", "GNU.sparse.numblocks": "1", "GNU.sparse.map": "0,4,5"}, b"x" * 4)
pax("pieces", {"GNU.sparse.size": "10", "GNU.sparse.numblocks": "70000", "GNU.sparse.map": ",".join(["0,0"] * 70000)})
# GNU's old format: blocks of map without end.
info = tarfile.TarInfo("f"); head = bytearray(info.tobuf(tarfile.GNU_FORMAT)); head[156] = ord("S"); head[482] = 1
head[148:156] = b" " * 8; head[148:156] = b"%06o\0 " % sum(head)
more = bytearray(b"00000000000\0" * 42 + bytes(8)); more[504] = 1
open("blocks", "wb").write(head + bytes(more) * 5000)
"#,
    );
    room.sh("python3 make.py").ok();
    for (name, part) in [
        ("huge", "larger than 16 TiB"),
        ("count", "malformed sparse map"),
        ("endless", "malformed sparse map"),
        ("short", "malformed sparse map"),
        ("overlap", "sparse pieces overlap"),
        ("beyond", "beyond the end"),
        ("overflow", "beyond the end"),
        ("less", "does not match its data"),
        ("version", "malformed sparse map"),
        ("both", "malformed sparse map"),
        ("numblocks", "malformed sparse map"),
        ("odd", "malformed PAX"),
        ("pieces", "malformed PAX"),
        ("blocks", "malformed sparse map"),
    ] {
        let ran = room.sh(&format!("prlimit --as=400000000 img-append --base scratch --layer {name}"));
        let error = ran.fails(1, "malformed tar").stderr;
        assert!(error.contains(part), "{name}: no {part:?} in {error}");
    }
}

#[test]
fn headers_of_every_age() {
    needs!(root, "tar");
    let room = Room::new();
    room.sh(
        "mkdir -p t/d/e && echo x >t/d/f && ln -s f t/d/s && ln t/d/f t/h && touch -h -d @1500000000 t/d/* t/d t/*  t",
    )
    .ok();
    let want = tree::list(&room.path("t"));
    for format in ["v7", "oldgnu", "gnu", "ustar", "posix"] {
        room.sh(&format!("tar --format={format} -C t -cf {format}.tar .")).ok();
        unpacked(&room, format);
        tree::assert_equal(&tree::list(&room.path(&format!("{format}/rootfs"))), &want);
    }
}

/// GNU tar keeps an ACL as text, layers of ours as the attribute that the kernel has.
#[test]
fn acls_as_text_and_as_attributes() {
    needs!(root, "tar", "setfacl");
    let room = Room::new();
    room.sh(
        "mkdir -p t/d && touch t/f && setfacl -m u:1234:rx,g:77:w t/f && setfacl -d -m u:1234:rwx t/d && touch -d @1500000000 t/* t \
         && tar --acls --numeric-owner --format=posix -C t -cf text.tar . && layer-diff --whole t >attr.tar",
    )
    .ok();
    assert!(room.sh("grep -ac SCHILY.acl text.tar").ok().parse::<u32>().unwrap() > 0);
    let want = tree::list(&room.path("t"));
    assert!(want[Path::new("f")].xattrs.contains_key("system.posix_acl_access"));
    for name in ["text", "attr"] {
        unpacked(&room, name);
        tree::assert_equal(&tree::list(&room.path(&format!("{name}/rootfs"))), &want);
    }
}

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

/// A label belongs to a machine's policy: it comes along when it is asked for, and never goes into a layer.
#[test]
fn selinux_labels_by_choice() {
    needs!(root, "tar", "setfattr");
    let room = Room::new();
    room.sh(
        "mkdir t && touch t/f && setfattr -n security.selinux -v here_t t/f && setfattr -n user.k -v v t/f && touch -d @1500000000 t \
         && tar --xattrs --xattrs-include='*' --format=posix -C t -cf l.tar . && img-append --base scratch --layer l.tar -t l",
    )
    .ok();
    assert_eq!(room.sh("grep -ac security.selinux l.tar").ok(), "1");
    for (options, keeps) in [("", false), ("--selinux", true)] {
        let ran = room.sh(&format!("rm -rf box && img-unpack {options} l box"));
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
        let attributes = room.sh("getfattr -m - -d box/rootfs/f").ok();
        assert_eq!(attributes.contains("here_t"), keeps, "{options}: {attributes}");
        assert!(attributes.contains("user.k"));
    }
    assert_eq!(room.sh("layer-diff --whole t | grep -ac selinux").stdout, "0\n");
}

/// Decompressors are in the process: neither the host's path nor the image says what is run (CVE-2014-9357 was an
/// `xz` of the image).
#[test]
fn cve_2014_9357_no_decompressor_is_run() {
    needs!(root, "tar", "zstd", "strace");
    let room = Room::new();
    room.sh(
        "mkdir -p t/usr/bin evil && for name in xz gzip unpigz pigz zstd tar; do printf '#!/bin/sh\\ntouch %s/pwned\\n' \"$PWD\" >evil/$name; done \
         && chmod 755 evil/* && cp evil/* t/usr/bin/ && tar -C t -cf l.tar . && gzip <l.tar >l.tgz && zstd -q <l.tar >l.zst",
    )
    .ok();
    for layer in ["l.tgz", "l.zst"] {
        room.sh(&format!(
            "rm -rf box && PATH=$PWD/evil:$PATH && export PATH && img-append --base scratch --layer {layer} -t {layer} >/dev/null \
             && strace -f -e trace=execve -o calls img-unpack {layer} box >/dev/null"
        ))
        .ok();
        assert_eq!(room.sh("grep -c execve calls").ok(), "1", "{layer}");
        assert!(room.path("box/rootfs/usr/bin/xz").exists() && !room.path("pwned").exists());
    }
}

/// All tests: a suite is a file, or a folder of files.
fn sources(dir: &Path) -> String {
    let paths = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    paths.map(|path| if path.is_dir() { sources(&path) } else { fs::read_to_string(path).unwrap() }).collect()
}

/// The weaknesses that others had in unpacking: each has its test, by name.
#[test]
fn every_known_weakness_of_unpacking_has_its_test() {
    let all = sources(&dock_tests::top().join("tests/tests"));
    for (weakness, test) in [
        ("CVE-2018-20990, CVE-2021-38511, CVE-2020-10696", "cve_2018_20990_link_then_an_entry_through_it"),
        ("CVE-2026-42574", "cve_2026_42574_existing_symlink_is_replaced_and_never_written_through"),
        ("CVE-2026-50163", "cve_2026_50163_hard_link_out_of_the_root"),
        ("CVE-2021-29136", "cve_2021_29136_root_entry_is_a_symlink"),
        ("CVE-2021-32760, CVE-2026-33056", "cve_2021_32760_mode_and_time_never_through_a_link"),
        ("CVE-2025-47290", "cve_2025_47290_a_directory_becomes_a_link_while_it_is_written"),
        ("whiteouts through a link", "whiteouts_stay_inside"),
        ("CVE-2025-62518, CVE-2026-33055, CVE-2026-32766", "cve_2025_62518_ambiguous_archives_are_refused"),
        ("CVE-2025-58183, sizes", "cve_2025_58183_counts_of_the_archive_cost_no_memory"),
        ("CVE-2025-58183, sparse maps", "cve_2025_58183_sparse_maps_that_lie"),
        ("CVE-2023-25153", "cve_2023_25153_documents_are_capped"),
        ("CVE-2024-3727", "cve_2024_3727_a_digest_is_no_path"),
        ("CVE-2021-41190", "cve_2021_41190_a_document_of_two_kinds_is_refused"),
        ("CVE-2021-21284, bundles", "cve_2021_21284_a_bundle_is_private"),
        ("CVE-2021-21284, stores", "cve_2021_21284_a_store_is_private"),
        ("CVE-2014-9356, CVE-2014-9358", "what_is_refused_changes_nothing"),
        ("CVE-2014-9357", "cve_2014_9357_no_decompressor_is_run"),
    ] {
        assert!(all.contains(&format!("#[test]\nfn {test}()")), "{weakness}: no test {test}");
    }
}

//! Images made by others for us to read: layers written by Python's tarfile, put together by umoci and pushed by
//! skopeo. Nothing here is made with our own tools.

use crate::{Room, top};

/// Three layers with everything that makes unpacking hard: whiteouts, an opaque directory, hard links, setuid,
/// file capabilities, devices, long and non-ASCII names, types that change from layer to layer.
const LAYERS: &str = r##"
import io, tarfile

def layer(name, entries):
    with tarfile.open(name, "w", format=tarfile.PAX_FORMAT) as out:
        for path, kind, more in entries:
            info = tarfile.TarInfo(path)
            info.mtime = more.get("mtime", 1700000000)
            info.uid, info.gid = more.get("owner", (0, 0))
            data = more.get("data", b"")
            info.type = {"f": tarfile.REGTYPE, "d": tarfile.DIRTYPE, "l": tarfile.SYMTYPE, "h": tarfile.LNKTYPE,
                         "p": tarfile.FIFOTYPE, "c": tarfile.CHRTYPE}[kind]
            info.mode = more.get("mode", 0o755 if kind == "d" else 0o644)
            info.linkname = more.get("to", "")
            info.devmajor, info.devminor = more.get("dev", (0, 0))
            info.size = len(data) if kind == "f" else 0
            info.pax_headers = more.get("pax", {})
            out.addfile(info, io.BytesIO(data) if kind == "f" else None)

long = "n" * 180
cap = "\x01\x00\x00\x02\x00\x20\x00\x00" + "\x00" * 12
layer("1.tar", [
    ("etc", "d", {}),
    ("etc/passwd", "f", {"data": b"root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n"}),
    ("etc/gone", "f", {"data": b"gone"}),
    ("dir", "d", {"mode": 0o1777}),
    ("dir/old", "f", {"data": b"old"}),
    ("dir/sub", "d", {}),
    ("dir/sub/old", "f", {"data": b"old"}),
    ("becomes-file", "d", {}),
    ("becomes-file/inside", "f", {"data": b"x"}),
    ("becomes-dir", "f", {"data": b"x"}),
    ("opaque", "d", {"owner": (1000, 1000)}),
    ("opaque/below", "f", {"data": b"below"}),
    ("bin", "d", {}),
    ("bin/setuid", "f", {"data": b"#!/bin/sh\n", "mode": 0o4755}),
    ("bin/capable", "f", {"data": b"#!/bin/sh\n", "mode": 0o755, "pax": {"SCHILY.xattr.security.capability": cap}}),
    ("bin/user", "f", {"data": b"mine", "mode": 0o600, "owner": (1000, 100)}),
    ("lib", "l", {"to": "usr/lib"}),
    ("usr", "d", {}),
    ("usr/lib", "d", {}),
    ("usr/lib/a", "f", {"data": b"a" * 70000}),
    ("usr/lib/b", "h", {"to": "usr/lib/a"}),
    ("fifo", "p", {}),
    ("null", "c", {"dev": (1, 3), "mode": 0o666}),
    (long, "d", {}),
    (f"{long}/{long}", "d", {}),
    (f"{long}/{long}/{long}", "f", {"data": b"deep"}),
    ("Grüße", "d", {}),
    ("Grüße/日本語", "d", {}),
    ("Grüße/日本語/файл", "f", {"data": "ñ".encode()}),
    ("absolute", "l", {"to": "/etc/passwd"}),
])
layer("2.tar", [
    ("etc/.wh.gone", "f", {}),
    ("dir", "d", {"mode": 0o755}),
    ("dir/new", "f", {"data": b"new", "mtime": 1700000001}),
    ("becomes-file", "f", {"data": b"file now"}),
    ("becomes-dir", "d", {}),
    ("becomes-dir/inside", "f", {"data": b"y"}),
    ("opaque", "d", {"owner": (1000, 1000)}),
    ("opaque/above", "f", {"data": b"above"}),
    ("opaque/.wh..wh..opq", "f", {}),
    ("lib/through-link", "f", {"data": b"usr merge"}),
])
layer("3.tar", [
    ("dir/.wh.sub", "f", {}),
    ("bin/setuid", "f", {"data": b"#!/bin/sh\nexit 0\n", "mode": 0o2755}),
    ("new/implied/parents", "f", {"data": b"deep"}),
])
"##;

impl Room {
    /// Pushes `NAME` with three layers of trouble to the registry: gzip layers, made and pushed by peers.
    pub fn push_layered(&self, host: &str, name: &str) {
        self.write("layers.py", LAYERS);
        self.sh("python3 layers.py && umoci init --layout made && umoci new --image made:latest").ok();
        for layer in 1..=3 {
            self.sh(&format!("umoci raw add-layer --image made:latest {layer}.tar")).ok();
        }
        self.sh(&format!("skopeo copy --dest-tls-verify=false oci:made:latest docker://{host}/{name} && rm -rf made"))
            .ok();
    }

    /// Pushes `NAME`: busybox-static with its applets as links, `CMD ["sh"]`.
    pub fn push_busybox(&self, host: &str, name: &str) {
        self.sh("mkdir -p bb/bin bb/etc bb/tmp && cp $(command -v busybox) bb/bin/busybox && chmod 1777 bb/tmp \
                 && for a in $(busybox --list); do [ $a = busybox ] || ln -s busybox bb/bin/$a; done \
                 && echo root:x:0:0:root:/root:/bin/sh >bb/etc/passwd && echo root:x:0: >bb/etc/group \
                 && tar -C bb --owner=0 --group=0 -cf bb.tar . && rm -rf bb")
            .ok();
        self.push_tar(host, name, "bb.tar", "--config.cmd sh");
    }

    /// Pushes `NAME`: a debootstrapped Debian, kept in tests/.cache between runs. False when there is none.
    pub fn push_debian(&self, host: &str, name: &str) -> bool {
        let tar = self.sh(&top().join("tests/debian").display().to_string());
        if tar.code != 0 {
            return false;
        }
        self.push_tar(host, name, tar.stdout.trim(), "--config.cmd bash --config.env LANG=C.UTF-8");
        true
    }

    fn push_tar(&self, host: &str, name: &str, tar: &str, config: &str) {
        self.sh(&format!(
            "umoci init --layout made && umoci new --image made:latest \
             && umoci raw add-layer --image made:latest {tar} && umoci config --image made:latest {config} \
             && skopeo copy --dest-tls-verify=false oci:made:latest docker://{host}/{name} && rm -rf made"
        ))
        .ok();
    }
}

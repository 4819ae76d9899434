//! img-save and img-load: what we write is read by docker, podman and skopeo, what they write is read by us, and
//! what nobody should write changes nothing.

mod hostile;
mod load;
mod peers;
mod save;

use dock_tests::Room;
use dock_tests::registry::Registry;
use serde_json::Value;

/// As image configurations call it.
const HOST: &str = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };

/// Writes good.tar (docker archive, one plain layer, `web:1`) and the archives that must be refused.
const MAKE: &str = r##"
import gzip, hashlib, io, json, os, tarfile

def sha(data):
    return hashlib.sha256(data).hexdigest()

def tar(files, links=(), format=tarfile.USTAR_FORMAT):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as archive:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for name, kind, target in links:
            info = tarfile.TarInfo(name)
            info.type = kind
            info.linkname = target
            archive.addfile(info)
    return out.getvalue()

def dump(value):
    return json.dumps(value).encode()

layer = tar([("hello", b"hello\n")])
def config_of(*layers, **more):
    return dump({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": ["sha256:" + sha(l) for l in layers]}, **more})
config = config_of(layer)

def docker(tags=("web:1",), config_path="c.json", layers=("1/layer.tar",), files=None, links=(), **more):
    files = files if files is not None else [("c.json", config), ("1/layer.tar", layer)]
    page = dump([{"Config": config_path, "RepoTags": list(tags) if tags is not None else None, "Layers": list(layers), **more}])
    return tar(files + [("manifest.json", page)], links)

def oci(edit=lambda entry: entry, blobs=None, first=()):
    m = dump({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": "sha256:" + sha(config), "size": len(config)},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": "sha256:" + sha(layer), "size": len(layer)}]})
    entry = edit({"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": "sha256:" + sha(m), "size": len(m),
        "annotations": {"io.containerd.image.name": "docker.io/library/web:1", "org.opencontainers.image.ref.name": "1"}})
    files = [("blobs/sha256/" + sha(b), b) for b in (config, layer, m)] if blobs is None else blobs
    return tar(list(first) + files + [("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'), ("index.json", dump({"schemaVersion": 2, "manifests": [entry]}))])

def write(name, data):
    with open(name, "wb") as f:
        f.write(data)

write("good.tar", docker())
write("oci.tar", oci())
# The same in other clothes: all must load, with the same image ID.
os.makedirs("same", exist_ok=True)
write("same/dot-slash.tar", docker(config_path="./c.json", files=[("./c.json", config), ("./1/layer.tar", layer)]))
write("same/symlink.tar", docker(links=[("1/layer.tar", tarfile.SYMTYPE, "../2/layer.tar")], files=[("c.json", config), ("2/layer.tar", layer)]))
write("same/hardlink.tar", docker(links=[("1/layer.tar", tarfile.LNKTYPE, "x/layer.tar")], files=[("c.json", config), ("x/layer.tar", layer)]))
write("same/gzip-layer.tar", docker(files=[("c.json", config), ("1/layer.tar", gzip.compress(layer))]))
write("same/documents-last.tar", oci())
write("same/outer.tar.gz", gzip.compress(docker()))
write("same/members.tar.gz", gzip.compress(docker()[:1000]) + gzip.compress(docker()[1000:]))
write("same/long-names.tar", tar([("n" * 150 + "/c.json", config), ("1/layer.tar", layer), ("manifest.json", dump([{"Config": "n" * 150 + "/c.json", "RepoTags": ["web:1"], "Layers": ["1/layer.tar"]}]))], format=tarfile.GNU_FORMAT))
write("same/pax-names.tar", tar([("n" * 150 + "/c.json", config), ("1/layer.tar", layer), ("manifest.json", dump([{"Config": "n" * 150 + "/c.json", "RepoTags": ["web:1"], "Layers": ["1/layer.tar"]}]))], format=tarfile.PAX_FORMAT))

# NAME, what the error says
bad = {}
def refuse(name, data, says):
    write("bad-" + name + ".tar", data)
    bad[name] = says
blob = "blobs/sha256/" + sha(layer)
refuse("empty", b"", "it is empty")
refuse("not-a-tar", b"hello, world\n" * 100, "not a tar archive")
refuse("no-documents", tar([("c.json", config)]), "neither index.json nor manifest.json")
refuse("name-up", docker(tags=["../../evil:1"]), "not an image reference")
refuse("name-shell", docker(tags=["a b;c"]), "not an image reference")
refuse("oci-name-up", oci(lambda e: {**e, "annotations": {"org.opencontainers.image.ref.name": "../../evil"}}), "not an image reference")
refuse("pin", oci(lambda e: {**e, "annotations": {"org.opencontainers.image.ref.name": "docker.io/library/web@sha256:" + "0" * 64}}), "the image has digest")
refuse("pin-claimed", oci(lambda e: {**e, "annotations": {"org.opencontainers.image.ref.name": "docker.io/library/web@sha256:" + "0" * 64, "dev.dock.source.digest": "sha256:" + "0" * 64}}), "the image has digest")
refuse("pin-tag", docker(tags=["web@sha256:" + "0" * 64]), "the image has digest")
huge = bytearray(tar([("x", b"1")]))
huge[124:136] = b"\xff" * 12
huge[148:156] = b"%06o\0 " % (sum(huge[:148]) + 8 * 32 + sum(huge[156:512]))
refuse("size-huge", bytes(huge), "tar: ")
refuse("layer-up", docker(layers=["../../../../etc/passwd"]), "leads out of the archive")
refuse("layer-absolute", docker(layers=["/etc/passwd"]), "/etc/passwd: not in the archive")
refuse("config-up", docker(config_path="../c.json"), "leads out of the archive")
refuse("symlink-up", docker(links=[("1/layer.tar", tarfile.SYMTYPE, "../../../etc/passwd")], files=[("c.json", config)]), "leads out of the archive")
refuse("symlink-loop", docker(links=[("1/layer.tar", tarfile.SYMTYPE, "../2/layer.tar"), ("2/layer.tar", tarfile.SYMTYPE, "../1/layer.tar")], files=[("c.json", config)]), "too many links")
refuse("layer-missing", docker(files=[("c.json", config)]), "1/layer.tar: not in the archive")
refuse("layer-other", docker(files=[("c.json", config), ("1/layer.tar", tar([("hello", b"hallo\n")]))]), "the configuration wants")
refuse("layer-count", docker(layers=["1/layer.tar", "1/layer.tar"]), "2 layers, but the configuration has 1")
refuse("gzip-layer-other", docker(files=[("c.json", config), ("1/layer.tar", gzip.compress(tar([("hello", b"hallo\n")])))]), "the configuration wants")
refuse("twice", docker(files=[("c.json", config), ("1/layer.tar", layer), ("1/layer.tar", layer + b"x")]), "twice")
refuse("two-indexes", oci(first=[("index.json", b'{"manifests":[]}')]), "index.json: stands in the archive twice")
refuse("digest", oci(blobs=[(blob, layer[:-1] + b"x")]), "hash to")
refuse("blob-name", oci(blobs=[("blobs/sha256/../../../x", layer)]), "leads out of the archive")
refuse("blob-name-short", oci(blobs=[("blobs/sha256/abc", layer)]), "is not a digest")
refuse("index-digest", oci(lambda e: {**e, "digest": "sha256:../../x"}), "is not a digest")
refuse("index-absent", oci(blobs=[(blob, layer)]), "nothing was loaded")
refuse("index-size", oci(lambda e: {**e, "size": 1}), "descriptor says 1")
refuse("document-large", tar([("manifest.json", b" " * (5 << 20))]), "more than 4194304 bytes")
refuse("config-large", docker(files=[("c.json", config + b" " * (5 << 20)), ("1/layer.tar", layer)]), "more than 4194304 bytes")
refuse("not-json", tar([("manifest.json", b"{")]), "manifest.json")
refuse("no-name", tar([("c.json", config), ("manifest.json", dump([{"RepoTags": ["web:1"]}]))]), "Config")
refuse("truncated", docker()[:2500], "ends in the middle")
refuse("truncated-gzip", gzip.compress(docker())[:-20], "incomplete deflate stream")
refuse("checksum", docker()[:100] + b"\x01" + docker()[101:], "checksum")
pax = bytearray(tar([("x" * 200, b"1")], format=tarfile.PAX_FORMAT))
pax[512:515] = b"999"
refuse("pax", bytes(pax), "PAX")
write("bad.json", dump(bad))
"##;

fn record(line: &str) -> Value {
    serde_json::from_str(line).expect(line)
}

fn index(room: &Room, layout: &str) -> Value {
    let text = std::fs::read_to_string(room.path(layout).join("index.json")).expect("index.json");
    serde_json::from_str::<Value>(&text).expect("JSON")["manifests"].clone()
}

#[track_caller]
fn clean(room: &Room, layout: &str) {
    room.sh(&format!("img-fsck --strict {layout}")).ok();
}

/// The image ID of an image record: the digest of its configuration.
#[track_caller]
fn id(room: &Room, layout: &str, record: &Value) -> String {
    let manifest = record["descriptor"]["digest"].as_str().expect("digest").replace(':', "/");
    let text = std::fs::read_to_string(room.path(layout).join("blobs").join(manifest)).expect("manifest");
    serde_json::from_str::<Value>(&text).expect("JSON")["config"]["digest"].as_str().expect("digest").into()
}

/// A layout `l` with `HOST/app:1`, three gzip layers, and `HOST/bb:1`; the host.
fn two_images(room: &Room) -> (Registry, String) {
    let registry = Registry::start();
    let host = registry.host();
    room.push_layered(&host, "app:1");
    room.push_busybox(&host, "bb:1");
    room.sh(&format!("img-pull --layout l {host}/app:1 {host}/bb:1")).ok();
    (registry, host)
}

/// A small image in the layout `l` without any registry: an OCI archive made by Python, loaded.
fn one_image(room: &Room) -> Value {
    room.write("make.py", MAKE);
    room.sh("python3 make.py").ok();
    record(&room.sh("img-load --layout l -i good.tar").ok())
}

//! img-save and img-load: what we write is read by docker, podman and skopeo, what they write is read by us, and
//! what nobody should write changes nothing.

use dock_tests::dockerd::Dockerd;
use dock_tests::registry::Registry;
use dock_tests::{Room, needs, skip};
use serde_json::{Value, json};

/// As image configurations call it.
const HOST: &str = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };

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

#[test]
fn save_and_load_is_identity() {
    needs!("docker-registry", "skopeo", "umoci");
    let room = Room::new();
    let (_registry, host) = two_images(&room);
    for format in ["docker", "oci"] {
        let copy = format!("copy-{format}");
        let loaded = room
            .sh(&format!("img-save --layout l --format {format} {host}/app:1 {host}/bb:1 | img-load --layout {copy}"))
            .ok();
        assert_eq!(loaded.lines().count(), 2, "{loaded}");
        assert_eq!(index(&room, &copy), index(&room, "l"), "names, digests, platforms");
        room.sh(&format!("diff -r l/blobs/sha256 {copy}/blobs/sha256")).ok();
        clean(&room, &copy);
        // The same images are the same bytes, in a file or in a pipe, from the one or the other store.
        room.sh(&format!("img-save --layout l --format {format} -o {format}.tar {host}/app:1 {host}/bb:1")).ok();
        room.sh(&format!("img-save --layout {copy} --format {format} {host}/app:1 {host}/bb:1 | cmp - {format}.tar"))
            .ok();
    }
    // Records in place of operands.
    room.sh(&format!(
        "img-pull --layout l {host}/app:1 | img-save >one.tar && img-save --layout l {host}/app:1 | cmp - one.tar"
    ))
    .ok();
    assert_eq!(room.sh("stat -c %a docker.tar").ok(), "600");
}

#[test]
fn names_are_saved_as_they_were_asked_for() {
    needs!("python3");
    let room = Room::new();
    let web = one_image(&room);
    let image = id(&room, "l", &web);
    // By short name: with it. By ID: without one, as docker does.
    let named = record(&room.sh("img-save --layout l web:1 | img-load --layout a").ok());
    assert_eq!(named["ref"], "docker.io/library/web:1");
    let nameless = record(&room.sh(&format!("img-save --layout l {} | img-load --layout b", &image[7..19])).ok());
    assert_eq!(nameless.get("ref"), None);
    assert_eq!(nameless["descriptor"]["digest"], web["descriptor"]["digest"]);
    let said = room.sh("img-load --layout c --format docker -i good.tar");
    assert_eq!(said.ok(), "Loaded image: web:1");
    let said = room.sh(&format!("img-save --layout l {image} | img-load --layout c --format docker")).ok();
    assert_eq!(said, format!("Loaded image ID: {image}"));
    // Two names, one image, every blob once.
    room.sh("img-tag --layout l web:1 team/web:2").ok();
    let both = room.sh("img-save --layout l web:1 team/web:2 | tee both.tar | img-load --layout d").ok();
    assert_eq!(both.lines().count(), 2);
    assert_eq!(room.sh("tar tf both.tar | sort | uniq -d").ok(), "");
    let page = room.sh("tar xOf both.tar manifest.json").ok();
    assert_eq!(record(&page)[0]["RepoTags"], json!(["web:1", "team/web:2"]));
}

#[test]
fn podman_and_skopeo_read_what_we_write_and_we_what_they_write() {
    needs!(root, "docker-registry", "skopeo", "umoci", "podman");
    let room = Room::new();
    let (_registry, host) = two_images(&room);
    let image = id(&room, "l", &record(&room.sh(&format!("img-pull --layout l {host}/app:1")).ok()));
    let podman = "podman --root $PWD/p --runroot $PWD/pr --storage-driver vfs";
    for format in ["docker", "oci"] {
        room.sh(&format!("img-save --layout l --format {format} -o {format}.tar {host}/app:1")).ok();
        room.sh(&format!("{podman} load -q -i {format}.tar")).ok();
        let theirs = room
            .sh(&format!("{podman} image inspect --format '{{{{.Id}}}}' {host}/app:1 && {podman} rmi -a -f >/dev/null"))
            .ok();
        assert_eq!(format!("sha256:{theirs}"), image, "{format}");
    }
    room.sh("skopeo copy -q docker-archive:docker.tar oci:s1:x").ok();
    room.sh(&format!(
        "skopeo copy -q oci-archive:oci.tar:{host}/app:1 oci:s2:x && diff -r l/blobs s2/blobs | grep -v '^Only in l'"
    ))
    .fails_quietly();

    room.sh(&format!("{podman} load -q -i docker.tar")).ok();
    for (writer, says) in [
        (format!("{podman} save --format docker-archive -o w.tar {host}/app:1"), "podman docker-archive"),
        (format!("{podman} save --format oci-archive -o w.tar {host}/app:1"), "podman oci-archive"),
        (format!("skopeo copy -q oci:l:{host}/app:1 docker-archive:w.tar:{host}/app:1"), "skopeo docker-archive"),
        (format!("skopeo copy -q oci:l:{host}/app:1 oci-archive:w.tar:{host}/app:1"), "skopeo oci-archive"),
    ] {
        room.sh(&format!("rm -rf w.tar in && {writer}")).ok();
        let loaded = record(&room.sh("img-load --layout in <w.tar").ok());
        assert_eq!(
            (&loaded["ref"], id(&room, "in", &loaded)),
            (&json!(format!("{host}/app:1")), image.clone()),
            "{says}"
        );
        clean(&room, "in");
    }
    // Many images in one file.
    room.sh(&format!("img-save --layout l {host}/bb:1 | {podman} load -q && rm -rf in && {podman} save -m -q -o m.tar {host}/app:1 {host}/bb:1")).ok();
    assert_eq!(room.sh("img-load --layout in -i m.tar").ok().lines().count(), 2);
}

#[test]
fn docker_reads_what_we_write_and_we_what_it_writes() {
    needs!(root, "docker-registry", "skopeo", "umoci", "dockerd", "docker");
    let room = Room::new();
    let (_registry, host) = two_images(&room);
    let app = id(&room, "l", &record(&room.sh(&format!("img-pull --layout l {host}/app:1")).ok()));
    let Some(docker) = Dockerd::start(&room) else { return };
    room.sh(&format!("img-save --layout l -o ours.tar {host}/app:1 {host}/bb:1")).ok();
    let ours = room.path("ours.tar");
    let said = docker.docker(&["load", "-i", ours.to_str().unwrap()]).unwrap();
    assert_eq!(said, format!("Loaded image: {host}/app:1\nLoaded image: {host}/bb:1"));
    assert_eq!(docker.docker(&["image", "inspect", "--format", "{{.Id}}", &format!("{host}/app:1")]).unwrap(), app);

    let theirs = room.path("theirs.tar");
    docker
        .docker(&["save", "-o", theirs.to_str().unwrap(), &format!("{host}/app:1"), &format!("{host}/bb:1")])
        .unwrap();
    let said = room.sh("img-load --layout in --format docker -i theirs.tar | sort").ok();
    assert_eq!(said, format!("Loaded image: {host}/app:1\nLoaded image: {host}/bb:1"), "docker's own words");
    // dockerd keeps what it saves in a map: its order is another one each time.
    let loaded = index(&room, "in");
    let ids: Vec<_> = [0, 1].map(|at| id(&room, "in", &json!({"descriptor": loaded[at]}))).into();
    assert!(ids.contains(&app), "{ids:?}");
    clean(&room, "in");
    // By its ID there is no name, for either of us.
    docker.docker(&["save", "-o", theirs.to_str().unwrap(), &app]).unwrap();
    assert_eq!(room.sh("img-load --layout in2 --format docker -i theirs.tar").ok(), format!("Loaded image ID: {app}"));
    // A name whose image is here already keeps the manifest that came from the registry.
    docker.docker(&["save", "-o", theirs.to_str().unwrap(), &format!("{host}/app:1")]).unwrap();
    let before = index(&room, "l");
    room.sh("img-load --layout l -i theirs.tar").ok();
    assert_eq!(index(&room, "l"), before);
    clean(&room, "l");
}

#[test]
fn the_same_image_in_other_clothes() {
    needs!("python3", "zstd", "xz", "bzip2");
    let room = Room::new();
    let image = {
        let web = one_image(&room);
        id(&room, "l", &web)
    };
    room.sh("zstd -q good.tar -o same/outer.tar.zst; xz -k good.tar; bzip2 -k good.tar; mv good.tar.* same/").ok();
    let mut count = 0;
    for name in room.sh("ls same").ok().lines() {
        let loaded = record(&room.sh(&format!("rm -rf in; img-load --layout in <same/{name}")).ok());
        assert_eq!(
            (&loaded["ref"], id(&room, "in", &loaded)),
            (&json!("docker.io/library/web:1"), image.clone()),
            "{name}"
        );
        clean(&room, "in");
        count += 1;
    }
    assert_eq!(count, 12);
}

/// Each one is one line and exit code 1, and a store with an image in it is as it was (CVE-2014-9356, -9358,
/// CVE-2024-3727).
#[test]
fn what_is_refused_changes_nothing() {
    needs!("python3");
    let room = Room::new();
    one_image(&room);
    let before = room.sh("cd l && find . -type f | sort | xargs sha256sum").ok();
    let bad: Value = record(&std::fs::read_to_string(room.path("bad.json")).unwrap());
    for (name, says) in bad.as_object().unwrap() {
        let ran = room.sh(&format!("img-load --layout l -i bad-{name}.tar"));
        assert_eq!(ran.stdout, "", "{name}: {ran:#?}");
        ran.fails(1, says.as_str().unwrap());
        assert_eq!(room.sh("cd l && find . -type f | sort | xargs sha256sum").ok(), before, "{name}");
    }
    clean(&room, "l");
    // A cut anywhere is noticed; what is only the end mark is no loss.
    let whole = std::fs::metadata(room.path("oci.tar")).unwrap().len();
    for cut in (1..whole - 10_240).step_by(399) {
        let ran = room.sh(&format!("head -c {cut} oci.tar | img-load --layout cut"));
        assert!(ran.code == 1 && ran.stdout.is_empty(), "{cut} of {whole}: {ran:#?}");
    }
    assert_eq!(index(&room, "cut"), json!([]));
    clean(&room, "cut");
}

#[test]
fn an_index_that_names_more_than_there_is() {
    needs!("python3");
    let room = Room::new();
    one_image(&room);
    // Docker 25 and later save indexes whose other platforms are not in the file.
    room.write("hybrid.py", r#"
exec(open("make.py").read())
absent = {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": "sha256:" + "0" * 64, "size": 9, "platform": {"os": "linux", "architecture": "s390x"}}
def wrap(entry):
    global nested
    nested = dump({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [absent,
        {**absent, "platform": {"os": "unknown", "architecture": "unknown"}},
        {k: v for k, v in entry.items() if k != "annotations"} | {"platform": {"os": "linux", "architecture": "amd64"}}]})
    return {"mediaType": "application/vnd.oci.image.index.v1+json", "digest": "sha256:" + sha(nested), "size": len(nested), "annotations": entry["annotations"]}
whole = oci(wrap)
first = [("blobs/sha256/" + sha(nested), nested)]
write("nested.tar", oci(wrap, first=first))
"#);
    room.sh("python3 hybrid.py").ok();
    let ran = room.sh("img-load --layout in -i nested.tar");
    assert!(ran.stderr.contains("skipped: web:1 (linux/s390x): lacks sha256:0000"), "{ran:#?}");
    assert_eq!(ran.stderr.lines().count(), 1, "the attestation is no loss: {ran:#?}");
    let loaded = record(&ran.ok());
    assert_eq!(loaded["ref"], "docker.io/library/web:1");
    assert!(loaded["descriptor"]["annotations"]["dev.dock.source.digest"].is_string(), "{loaded}");
}

/// What dock notes about an image itself is not for an archive to claim: `web@DIGEST` would find it.
#[test]
fn an_archive_does_not_claim_a_source() {
    needs!("python3");
    let room = Room::new();
    one_image(&room);
    room.write(
        "claim.py",
        r#"
exec(open("make.py").read())
write("claim.tar", oci(lambda e: {**e, "annotations": {**e["annotations"], "dev.dock.source.digest": "sha256:" + "0" * 64, "org.example": "kept"}}))
"#,
    );
    let loaded = record(&room.sh("python3 claim.py && img-load --layout in -i claim.tar").ok());
    let annotations = json!({"org.example": "kept", "org.opencontainers.image.ref.name": "docker.io/library/web:1"});
    assert_eq!(loaded["descriptor"]["annotations"], annotations);
    room.sh(&format!("img-save --layout in web@sha256:{} >x", "0".repeat(64))).fails(1, "No such image");
}

/// CVE-2026-50195: an archive does not take a name away from the image that has it.
#[test]
fn a_name_moves_only_by_force() {
    needs!("python3");
    let room = Room::new();
    let web = one_image(&room);
    room.write(
        "other.py",
        r#"
exec(open("make.py").read())
config = config_of(layer, author="somebody else")
write("other.tar", docker(tags=("web:1", "new:1"), files=[("c.json", config), ("1/layer.tar", layer)]))
"#,
    );
    room.sh("python3 other.py").ok();
    let ran = room.sh("img-load --layout l -i other.tar");
    assert_eq!(record(ran.stdout.trim())["ref"], "docker.io/library/new:1", "the other name is loaded");
    ran.fails(1, "web:1: the name is that of another image");
    let find = |name: &str| {
        index(&room, "l")
            .as_array()
            .unwrap()
            .iter()
            .find(|e| e["annotations"]["org.opencontainers.image.ref.name"] == name)
            .cloned()
            .unwrap()
    };
    assert_eq!(find("docker.io/library/web:1")["digest"], web["descriptor"]["digest"]);
    room.sh("img-load --force --layout l -i other.tar").ok();
    assert_eq!(find("docker.io/library/web:1")["digest"], find("docker.io/library/new:1")["digest"]);
    let kept = index(&room, "l");
    assert!(
        kept.as_array().unwrap().iter().any(|e| e["digest"] == web["descriptor"]["digest"]),
        "the displaced image stays: {kept}"
    );
    clean(&room, "l");
}

#[test]
fn a_killed_load_leaves_a_clean_store_and_the_next_one_finishes() {
    needs!("python3");
    let room = Room::new();
    one_image(&room);
    room.sh("mkfifo pipe; img-load --layout k <pipe & pid=$!
         exec 3>pipe; head -c 3000 oci.tar >&3
         for i in $(seq 1200); do [ \"$(ls k/blobs/sha256 2>/dev/null | wc -l)\" = 1 ] && [ -n \"$(ls k/.dock/tmp)\" ] && break; sleep 0.05; done
         ls k/.dock/tmp | grep -q . && kill -9 $pid && exec 3>&-; wait $pid; [ $? = 137 ]")
        .ok();
    assert_eq!(index(&room, "k"), json!([]));
    room.sh("img-load --layout k -i oci.tar").ok();
    clean(&room, "k");
}

#[test]
fn a_save_that_fails_says_so_and_replaces_nothing() {
    needs!("python3");
    let room = Room::new();
    let web = one_image(&room);
    room.sh("img-save --layout l web:1 >/dev/full").fails(1, "img-save: <stdout>: No space left on device");
    let ran = room.sh("{ sleep 0.3; img-save --layout l web:1; echo $? >code; } | true; cat code");
    assert_eq!(ran.ok(), "1", "a closed pipe: the copy is not complete");
    room.sh("img-save --layout l nope").fails(1, "No such image: nope:latest");
    room.sh("img-save --layout l </dev/null").fails(1, "no image record on <stdin>");
    room.sh("echo '{\"formatVersion\":\"2.0\",\"kind\":\"image\"}' | img-save").fails(1, "2.0");
    if dock_tests::has("script") {
        let said = room.sh("script -qec 'img-save --layout l web:1' /dev/null; echo $?").ok();
        assert!(said.contains("refusing to write an archive to a terminal") && said.ends_with('2'), "{said}");
    } else {
        skip("needs script");
    }
    // A damaged blob: no archive, and the old file stays.
    let layer = {
        let manifest = room.path("l/blobs").join(web["descriptor"]["digest"].as_str().unwrap().replace(':', "/"));
        let manifest: Value = record(&std::fs::read_to_string(manifest).unwrap());
        manifest["layers"][0]["digest"].as_str().unwrap().replace(':', "/")
    };
    room.sh(&format!("echo old >out.tar && f=l/blobs/{layer} && chmod u+w $f && printf x | dd of=$f bs=1 seek=600 conv=notrunc status=none")).ok();
    room.sh("img-save --layout l -o out.tar web:1").fails(1, "img-save: sha256:");
    assert_eq!(room.sh("cat out.tar && ls -A | grep -c img-save- || true").ok(), "old\n0");
    // What a killed one left goes with the next, but nothing of one that lives, and nothing is waited for.
    room.sh("img-append --base scratch --layout m -t e >/dev/null && mkdir o && cd o && echo x >.img-save-dead && echo x >.img-save-alive").ok();
    room.sh("mkfifo o/.img-save-fifo && flock o/.img-save-alive img-save --layout m -o o/e.tar e").ok();
    assert_eq!(room.sh("ls -A o").ok(), ".img-save-alive\n.img-save-fifo\ne.tar");
}

trait Quietly {
    fn fails_quietly(self);
}

impl Quietly for dock_tests::Ran {
    /// `grep -v` that finds nothing: exit code 1 and no word.
    #[track_caller]
    fn fails_quietly(self) {
        assert!(self.code == 1 && self.stdout.is_empty() && self.stderr.is_empty(), "{self:#?}");
    }
}

/// `-o /dev/null` as root must not make a file of it.
#[test]
fn devices_pipes_and_links_are_written_to_and_not_replaced() {
    needs!(root, "python3");
    let room = Room::new();
    one_image(&room);
    room.sh("img-save --layout l web:1 >want.tar; mknod null c 1 3; mkfifo pipe; : >old.tar; ln -s old.tar link").ok();
    room.sh("img-save --layout l -o null web:1 && test -c null").ok();
    room.sh("cat pipe >got.tar & img-save --layout l -o pipe web:1 && wait && test -p pipe && cmp want.tar got.tar")
        .ok();
    room.sh("img-save --layout l -o link web:1 && test -h link && cmp want.tar old.tar").ok();
    room.sh("img-save --layout l -o . web:1").fails(1, "img-save: .: Is a directory");
}

/// The other registered algorithm makes paths that are longer than a tar header has room for.
#[test]
fn sha512_is_saved_and_loaded() {
    needs!("python3");
    let room = Room::new();
    room.write(
        "make.py",
        r#"
import hashlib, json, os
os.makedirs("s/blobs/sha512")
def put(value, kind):
    data = json.dumps(value).encode(); name = hashlib.sha512(data).hexdigest()
    open("s/blobs/sha512/" + name, "wb").write(data)
    return {"mediaType": "application/vnd.oci.image." + kind + ".v1+json", "digest": "sha512:" + name, "size": len(data)}
config = put({"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": []}}, "config")
entry = put({"schemaVersion": 2, "config": config, "layers": []}, "manifest")
entry["annotations"] = {"org.opencontainers.image.ref.name": "docker.io/library/long:1"}
json.dump({"schemaVersion": 2, "manifests": [entry]}, open("s/index.json", "w"))
open("s/oci-layout", "w").write('{"imageLayoutVersion": "1.0.0"}')"#,
    );
    room.sh("python3 make.py && img-save --layout s long:1 | img-load --layout t").ok();
    assert_eq!(index(&room, "t")[0]["digest"], index(&room, "s")[0]["digest"]);
    clean(&room, "t");
}

/// Two stores that have the base in common: only the new layer travels, over a pipe of one direction each.
#[test]
fn only_what_the_other_side_lacks_is_sent() {
    needs!("python3");
    let room = Room::new();
    one_image(&room);
    room.sh("head -c 300000 /dev/urandom >big && tar -cf big.tar big && echo small >small && tar -cf small.tar small
         img-append --layout l --base web:1 --layer big.tar --compress none -t base:1
         img-append --layout l --base base:1 --layer small.tar -t top:1")
        .ok();
    let size = |file: &str| std::fs::metadata(room.path(file)).unwrap().len();
    // To nobody: everything goes, and dock says it as the tools do.
    room.sh("DOCK_ROOT=$PWD/there dock images --have >nothing.list && wc -l <nothing.list | grep -qx 1").ok();
    room.sh(
        "img-save --layout l --have nothing.list -o whole.tar base:1 && img-save --layout l base:1 | cmp - whole.tar",
    )
    .ok();
    room.sh("DOCK_ROOT=$PWD/there dock load -i whole.tar").ok();
    let said = room
        .sh("mkdir here; cp -r l here/images; DOCK_ROOT=$PWD/there dock images --have \
             | DOCK_ROOT=$PWD/here dock save --have - top:1 | tee thin.tar | DOCK_ROOT=$PWD/there dock load")
        .ok();
    assert_eq!(said, "Loaded image: top:1");
    assert!(size("thin.tar") < 30_000 && size("whole.tar") > 300_000, "{} {}", size("thin.tar"), size("whole.tar"));
    clean(&room, "there/images");
    let find = |layout: &str| record(&room.sh(&format!("img-ls --layout {layout} top:1")).ok())["descriptor"].clone();
    assert_eq!(find("there/images"), find("l"));
    // What a list says twice is the same.
    room.sh("img-ls --layout l --have >all; img-save --layout l --have all -o none.tar top:1 && tar tf none.tar | grep -c blobs/sha256/.").ok();

    // A list of somebody else: every layer that is missing is named, and nothing has changed.
    one_image_in(&room, "other");
    let before = room.sh("cd other && find . -type f | sort | xargs sha256sum").ok();
    let ran = room.sh("img-load --layout other -i thin.tar");
    let layers =
        room.sh("img-inspect --layout l --raw manifest base:1 | tr ',' '\\n' | grep -o 'sha256:[0-9a-f]*'").ok();
    let big = layers.lines().last().unwrap();
    assert!(ran.stdout.is_empty() && ran.stderr.contains(big) && ran.stderr.contains("hint: "), "{ran:#?}");
    ran.fails(1, &format!("nothing was loaded: top:1 (linux/{HOST}): lacks sha256:"));
    let ran = room.sh("img-load --layout empty -i none.tar");
    assert_eq!(ran.stderr.lines().next().unwrap().matches("sha256:").count(), 3, "{ran:#?}");
    assert_eq!(index(&room, "empty"), json!([]));
    assert_eq!(room.sh("cd other && find . -type f | sort | xargs sha256sum").ok(), before);
    // The difference after all: complete.
    room.sh("img-load --layout other -i whole.tar && img-load --layout other -i thin.tar").ok();
    clean(&room, "other");
    // A blob that is cut there is not one that is there.
    room.sh(&format!("truncate -s 5 other/blobs/{}", big.replace(':', "/"))).ok();
    room.sh("img-ls --layout other --have >cut.list && img-save --layout l --have cut.list top:1 | tar t").ok();
    room.sh(&format!("img-save --layout l --have cut.list top:1 | tar t | grep -q {}", &big[7..])).ok();
}

fn one_image_in(room: &Room, layout: &str) {
    room.sh(&format!("img-load --layout {layout} -i good.tar")).ok();
}

#[test]
fn a_list_that_is_none_saves_nothing() {
    needs!("python3");
    let room = Room::new();
    one_image(&room);
    room.sh("img-save --layout l --have /dev/null web:1 >x").fails(1, "--have: /dev/null: empty");
    room.sh("false | img-save --layout l --have - web:1 >x").fails(1, "--have: <stdin>: empty");
    room.sh("echo '{\"formatVersion\":\"2.0\",\"kind\":\"have\"}' | img-save --layout l --have - web:1 >x")
        .fails(1, "line 1");
    room.sh("img-ls --layout l --have | head -c 170 | img-save --layout l --have - web:1 >x").fails(1, ": line ");
    room.sh("img-ls --layout l --have | img-save --layout l --have - >x").fails(2, "stdin can be read once");
    room.sh("img-ls --layout l --have -q").fails(2, "--have");
}

#[test]
fn an_image_gets_another_name_on_its_way() {
    needs!("python3");
    let room = Room::new();
    let web = one_image(&room);
    let loaded = room.sh("img-save --layout l -t team/a:1 -t b web:1 | img-load --layout in | sort").ok();
    let names: Vec<_> = loaded.lines().map(|line| record(line)["ref"].clone()).collect();
    assert_eq!(names, ["docker.io/library/b:latest", "docker.io/team/a:1"]);
    assert_eq!(index(&room, "in")[0]["digest"], web["descriptor"]["digest"]);
    assert_eq!(room.sh("img-save --layout l -t c web:1 | tar xO manifest.json").ok().matches("c:latest").count(), 1);
    room.sh("img-ls --layout l | grep -c . | grep -qx 1").ok();
    let loaded = record(&room.sh("img-load --layout in2 -t mine:1 <oci.tar").ok());
    assert_eq!(loaded["ref"], "docker.io/library/mine:1");
    assert_eq!(index(&room, "in2").as_array().unwrap().len(), 1, "and not under the archive's");
    let at_digest = format!("x@sha256:{}", "0".repeat(64));
    room.sh(&format!("img-save --layout l -t {at_digest} web:1 >x")).fails(2, "cannot have a digest");
    room.sh(&format!("img-load --layout in3 -t {at_digest} <oci.tar")).fails(2, "cannot have a digest");
    room.sh("img-append --layout l --base web:1 -c 'ENV A=1' -t two").ok();
    room.sh("img-save --layout l -t x web:1 two >x").fails(2, "--tag names one image");
    room.sh("img-save --layout l web:1 two | img-load --layout in3 -t x").fails(1, "the archive has 2");
    assert_eq!(index(&room, "in3"), json!([]));
}

/// An index with two images, as `docker save` of a multi-platform store writes it.
#[test]
fn one_platform_of_several() {
    needs!("python3");
    let room = Room::new();
    one_image(&room);
    room.write(
        "many.py",
        r#"
exec(open("make.py").read())
blobs, entries = [], []
for arch in ("s390x", "amd64", "arm64"):
    config = config_of(layer, architecture=arch)
    m = dump({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": "sha256:" + sha(config), "size": len(config)},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": "sha256:" + sha(layer), "size": len(layer)}]})
    blobs += [config, m]
    entries.append({"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": "sha256:" + sha(m), "size": len(m), "platform": {"os": "linux", "architecture": arch}})
nested = dump({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": entries})
top = {"mediaType": "application/vnd.oci.image.index.v1+json", "digest": "sha256:" + sha(nested), "size": len(nested), "annotations": {"io.containerd.image.name": "docker.io/library/web:1"}}
blobs += [nested, layer]
write("many.tar", tar([("index.json", dump({"schemaVersion": 2, "manifests": [top]}))] + [("blobs/sha256/" + sha(b), b) for b in blobs]))
"#,
    );
    room.sh("python3 many.py").ok();
    for (option, architecture) in [("", HOST), ("--platform linux/arm64", "arm64"), ("--platform linux/s390x", "s390x")]
    {
        room.sh(&format!("rm -rf in; img-load --layout in {option} -i many.tar")).ok();
        let config = record(&room.sh("img-inspect --layout in --raw config web:1").ok());
        assert_eq!(config["architecture"], architecture);
        clean(&room, "in");
    }
    room.sh("img-load --layout no --platform linux/riscv64 -i many.tar")
        .fails(1, "no image for linux/riscv64, only for linux/");
    room.sh("img-load --layout no --platform linux/arm64 -i good.tar").fails(1, "no image for linux/arm64");
    assert_eq!(index(&room, "no"), json!([]));
    // The same index in another one.
    room.write(
        "deep.py",
        r#"
exec(open("many.py").read())
inner = {k: v for k, v in top.items() if k != "annotations"}
outer = dump({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [inner, {**inner, "digest": "sha256:" + "0" * 64}]})
top = {**top, "digest": "sha256:" + sha(outer), "size": len(outer)}
write("deep.tar", tar([("index.json", dump({"schemaVersion": 2, "manifests": [top]}))] + [("blobs/sha256/" + sha(b), b) for b in [outer, *blobs]]))
"#,
    );
    room.sh("python3 deep.py").ok();
    for (option, architecture) in [("", HOST), ("--platform linux/s390x", "s390x")] {
        let layout = format!("deep-{architecture}");
        room.sh(&format!("img-load --layout {layout} {option} -i deep.tar")).ok();
        let config = record(&room.sh(&format!("img-inspect --layout {layout} --raw config web:1")).ok());
        assert_eq!(config["architecture"], architecture);
        clean(&room, &layout);
    }
    // A layout with the whole index: save takes one of its platforms.
    room.sh("mkdir multi && tar -C multi -xf many.tar && echo '{\"imageLayoutVersion\":\"1.0.0\"}' >multi/oci-layout")
        .ok();
    let one = room.sh("img-ls --layout multi | img-save --platform linux/s390x | img-load --layout one").ok();
    assert_eq!(record(&one)["descriptor"]["platform"]["architecture"], "s390x");
    room.sh("img-ls --layout multi | img-save --platform linux/riscv64 >x").fails(1, "no image for linux/riscv64");
    // All of it, and back: byte for byte, also under a name that pins the index.
    room.sh(
        "img-load --all-platforms --layout whole -i many.tar && img-save --layout whole --all-platforms web:1 >all.tar",
    )
    .ok();
    room.sh("img-load --all-platforms --layout all -i all.tar && diff -r multi/blobs/sha256 all/blobs/sha256").ok();
    clean(&room, "all");
    room.sh("img-ls --layout all | img-save --all-platforms | cmp - all.tar").ok();
    // The layout is docker's: the name stands in an annotation of its own, and goes when it was not asked for.
    let unnamed =
        room.sh("img-ls --layout multi | img-save --all-platforms | img-load --all-platforms --layout id").ok();
    assert!(record(&unnamed).get("ref").is_none(), "{unnamed}");
    let digest = index(&room, "all")[0]["digest"].as_str().expect("digest").to_owned();
    let pinned = format!("docker.io/library/web@{digest}");
    room.sh(&format!("sed -i 's!docker.io/library/web:1!{pinned}!' all/index.json; img-save --layout all --all-platforms web@{digest} | img-load --all-platforms --layout pinned")).ok();
    assert!(room.sh("img-ls --layout pinned").ok().contains(&format!("\"ref\":\"{pinned}\"")));
    // Who asks for one platform gets it, under the index's name; others read the index and docker's document.
    room.sh("img-load --layout few -i all.tar && img-load --layout few --platform linux/s390x --tag z -i all.tar").ok();
    clean(&room, "few");
    let documents: Value = serde_json::from_str(&room.sh("tar -xOf all.tar manifest.json").ok()).expect("JSON");
    assert_eq!(documents[0]["RepoTags"], json!(["web:1"]));
    let config = room.sh(&format!("tar -xOf all.tar {}", documents[0]["Config"].as_str().expect("path"))).ok();
    assert_eq!(record(&config)["architecture"], HOST);
    if dock_tests::has("skopeo") {
        let raw = room.sh("skopeo inspect --raw oci-archive:all.tar | sha256sum").ok();
        assert_eq!(format!("sha256:{}", &raw[..64]), digest);
        room.sh("skopeo copy -q docker-archive:all.tar:docker.io/library/web:1 oci:copied").ok();
    }
    // The list of who has the layer leaves it out, once; a platform that is not whole saves nothing.
    room.sh("img-load --layout there -i good.tar; img-ls --have --layout there >have").ok();
    room.sh(
        "img-save --layout whole --all-platforms --have have web:1 | img-load --all-platforms --layout there --force",
    )
    .ok();
    let blobs = "img-save --layout whole --all-platforms --have have web:1 | tar -t | grep -c 'blobs/sha256/.'";
    assert_eq!(room.sh(blobs).ok(), "7", "an index, three manifests and configurations");
    assert_eq!(room.sh("diff -r whole/blobs/sha256 there/blobs/sha256 | grep 'Only in whole' || true").ok(), "");
    let s390x = room.sh("img-inspect --layout whole --platform linux/s390x --format '{{.Id}}' web:1").ok();
    room.sh(&format!("rm whole/blobs/sha256/{}", &s390x[7..])).ok();
    let ran = room.sh("img-save --layout whole --all-platforms -o lacking.tar web:1");
    assert!(ran.stderr.contains("hint: img-pull --all-platforms"), "{ran:?}");
    ran.fails(1, &s390x);
    assert!(!room.path("lacking.tar").exists());
    room.sh("img-save --layout whole --all-platforms --platform linux/arm64 web:1 >x").fails(2, "cannot be used with");
}

/// An image of many times the bound, through every tool that touches archives.
#[test]
fn memory_is_flat_in_the_size_of_the_image() {
    if !dock_tests::has("/usr/bin/time") {
        return skip("needs /usr/bin/time");
    }
    let room = Room::new();
    room.sh("head -c 64M /dev/zero >zeros && tar -cf big.tar zeros && rm zeros").ok();
    room.sh("img-append --layout l --base scratch --layer big.tar --compress none -t big").ok();
    for (what, script) in [
        ("save", "img-save --layout l -o a.tar big"),
        ("load", "img-load --layout in -i a.tar"),
        ("load of gzip", "gzip -1 -c a.tar | /usr/bin/time -f %M -o peak img-load --layout in2"),
        ("fsck", "img-fsck -q l"),
    ] {
        let script =
            if script.contains("-o peak") { script.into() } else { format!("/usr/bin/time -f %M -o peak {script}") };
        room.sh(&script).ok();
        let peak: u64 = room.sh("tail -1 peak").ok().parse().unwrap();
        assert!(peak < 16 << 10, "{what}: {peak} KiB");
    }
}

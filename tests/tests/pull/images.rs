//! What arrives: by tag, by digest, for one platform or all, in any compression.

use crate::{INDEX, clean, index, record};
use dock_tests::liar::{Liar, MANIFEST, digest, reply};
use dock_tests::registry::Registry;
use dock_tests::{Room, needs};
use serde_json::{Value, json};
use std::sync::Arc;

/// A layout by hand: one image with a plain, a gzip and a zstd layer.
fn push_three_compressions(room: &Room, host: &str, name: &str) {
    room.sh(&format!(
        r#"set -e; mkdir -p h/blobs/sha256; printf '{{"imageLayoutVersion":"1.0.0"}}' >h/oci-layout
        for n in 1 2 3; do echo "$n" >f$n; tar --owner=0 --group=0 --mtime=@0 -cf $n.tar f$n; done
        diffs=$(for n in 1 2 3; do sha256sum <$n.tar | cut -c1-64; done)
        gzip -n 2.tar; zstd -q --rm 3.tar
        desc() {{ d=$(sha256sum <"$1" | cut -c1-64); cp "$1" h/blobs/sha256/$d; printf '{{"mediaType":"%s","digest":"sha256:%s","size":%s}}' "$2" $d $(stat -c %s "$1"); }}
        set -- $diffs
        printf '{{"architecture":"amd64","os":"linux","config":{{}},"rootfs":{{"type":"layers","diff_ids":["sha256:%s","sha256:%s","sha256:%s"]}}}}' $1 $2 $3 >config
        t=application/vnd.oci.image
        printf '{{"schemaVersion":2,"config":%s,"layers":[%s,%s,%s]}}' "$(desc config $t.config.v1+json)" \
            "$(desc 1.tar $t.layer.v1.tar)" "$(desc 2.tar.gz $t.layer.v1.tar+gzip)" "$(desc 3.tar.zst $t.layer.v1.tar+zstd)" >manifest
        printf '{{"schemaVersion":2,"manifests":[%s]}}' "$(desc manifest $t.manifest.v1+json)" >h/index.json
        skopeo copy -q --preserve-digests --dest-tls-verify=false oci:h docker://{host}/{name}"#
    ))
    .ok();
}

#[test]
fn a_tag_and_its_digest_are_the_same_image_and_the_blobs_are_skopeos() {
    needs!("docker-registry", "skopeo", "umoci");
    let (room, registry) = (Room::new(), Registry::start());
    let host = registry.host();
    room.push_layered(&host, "team/app:1");
    let by_tag = record(&room.sh(&format!("img-pull --layout mine {host}/team/app:1")).ok());
    assert_eq!(by_tag["ref"], format!("{host}/team/app:1"));
    let digest = by_tag["descriptor"]["digest"].as_str().unwrap();
    let by_digest = record(&room.sh(&format!("img-pull --layout mine {host}/team/app@{digest}")).ok());
    assert_eq!(by_digest["ref"], format!("{host}/team/app@{digest}"));
    assert_eq!(by_digest["descriptor"]["digest"], by_tag["descriptor"]["digest"]);
    clean(&room, "mine");
    // Every blob, byte for byte, as skopeo stores it.
    room.sh(&format!("skopeo copy -q --src-tls-verify=false docker://{host}/team/app:1 oci:theirs:x")).ok();
    room.sh("diff -r mine/blobs/sha256 theirs/blobs/sha256").ok();
    // And others read the layout.
    let seen = record(&room.sh(&format!("skopeo inspect oci:mine:{host}/team/app:1")).ok());
    assert_eq!(seen["Digest"], digest);
    room.sh("umoci ls --layout mine").ok();
}

#[test]
fn layers_plain_gzip_and_zstd() {
    needs!("docker-registry", "skopeo", "zstd");
    let (room, registry) = (Room::new(), Registry::start());
    push_three_compressions(&room, &registry.host(), "mixed:1");
    room.sh(&format!("img-pull --layout l {}/mixed:1", registry.host())).ok();
    room.sh("for b in h/blobs/sha256/*; do cmp $b l/blobs/sha256/${b##*/} || exit; done").ok();
    clean(&room, "l");
}

#[test]
fn an_index_gives_the_platform_that_was_asked_for() {
    needs!("docker-registry", "skopeo", "umoci", "curl");
    let (room, registry) = (Room::new(), Registry::start());
    let host = registry.host();
    let mut entries = vec![
        json!({"mediaType": MANIFEST, "digest": digest(b"{}"), "size": 2, "platform": {"os": "unknown", "architecture": "unknown"}}),
    ];
    for (arch, variant) in [("arm64", Some("v8")), ("amd64", None)] {
        room.sh(&format!(
            "umoci init --layout {arch} && umoci new --image {arch}:x && umoci config --image {arch}:x --architecture {arch} \
             && skopeo copy -q --dest-tls-verify=false oci:{arch}:x docker://{host}/multi:{arch}"
        ))
        .ok();
        room.sh(&format!("skopeo inspect --raw --tls-verify=false docker://{host}/multi:{arch} >raw")).ok();
        let manifest = std::fs::read(room.path("raw")).unwrap();
        let mut platform = json!({"os": "linux", "architecture": arch});
        if let Some(variant) = variant {
            platform["variant"] = variant.into();
        }
        entries.push(
            json!({"mediaType": MANIFEST, "digest": digest(&manifest), "size": manifest.len(), "platform": platform}),
        );
    }
    let put = |name: &str, entries: &[Value]| {
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).to_string();
        room.write("index.json", &index);
        room.sh(&format!("curl -sf -X PUT -H 'Content-Type: {INDEX}' --data-binary @index.json http://{host}/v2/multi/manifests/{name}")).ok();
        digest(index.as_bytes())
    };
    // The registry insists that manifests exist; the attestation does not, so it is put in by a second entry.
    entries[0]["digest"] = entries[1]["digest"].clone();
    entries[0]["size"] = entries[1]["size"].clone();
    let source = put("latest", &entries);

    let here = record(&room.sh(&format!("img-pull --layout l --platform linux/amd64 {host}/multi")).ok());
    assert_eq!(here["descriptor"]["digest"], entries[2]["digest"]);
    assert_eq!(here["descriptor"]["platform"], json!({"os": "linux", "architecture": "amd64"}));
    assert_eq!(here["descriptor"]["annotations"]["dev.dock.source.digest"], source.as_str());
    let there = record(&room.sh(&format!("img-pull --layout l2 --platform linux/arm64 {host}/multi")).ok());
    assert_eq!(there["descriptor"]["digest"], entries[1]["digest"]);
    // By the digest of the index, too; and its name is that reference.
    let pinned = record(&room.sh(&format!("img-pull --layout l --platform linux/amd64 {host}/multi@{source}")).ok());
    assert_eq!(pinned["ref"], format!("{host}/multi@{source}"));
    // The index is not stored, so the other side could not check a name that pins it.
    let moved = room.sh(&format!("img-save --layout l {host}/multi@{source} | img-load --layout moved")).ok();
    assert_eq!((&record(&moved)["descriptor"]["digest"], record(&moved).get("ref")), (&entries[2]["digest"], None));
    clean(&room, "l");
    clean(&room, "l2");

    room.sh(&format!("img-pull --layout l3 --platform linux/s390x {host}/multi"))
        .fails(1, "no image for platform linux/s390x; the index offers linux/arm64/v8, linux/amd64");
    room.sh(&format!("img-pull --layout l3 --platform linux/s390x {host}/multi:arm64"))
        .fails(1, "the image is for linux/arm64, not for linux/s390x");
    assert_eq!(index(&room, "l3"), json!([]));
}

/// A layout `h` with an index for two platforms, each with its attestation, as buildx makes it; the index.
fn two_platforms(room: &Room) -> String {
    let put = |kind: &str, bytes: &[u8]| {
        let digest = digest(bytes);
        room.write(&format!("h/blobs/sha256/{}", &digest[7..]), bytes);
        json!({"mediaType": kind, "digest": digest, "size": bytes.len()})
    };
    let mut entries = Vec::new();
    for arch in ["amd64", "arm64"] {
        let mut image = |os: &str, arch: &str, kind: &str, layer: &[u8]| {
            let config = json!({"os": os, "architecture": arch, "config": {}, "rootfs": {"type": "layers", "diff_ids": [digest(layer)]}});
            let config = put("application/vnd.oci.image.config.v1+json", config.to_string().as_bytes());
            let manifest =
                json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [put(kind, layer)]});
            let mut entry = put(MANIFEST, manifest.to_string().as_bytes());
            entry["platform"] = json!({"os": os, "architecture": arch});
            entries.push(entry);
        };
        room.sh(&format!("echo {arch} >f && tar --owner=0 --group=0 --mtime=@0 -cf {arch}.tar f")).ok();
        let layer = std::fs::read(room.path(&format!("{arch}.tar"))).unwrap();
        image("linux", arch, "application/vnd.oci.image.layer.v1.tar", &layer);
        let statement = format!(r#"{{"_type":"https://in-toto.io/Statement/v0.1","subject":"{arch}"}}"#);
        image("unknown", "unknown", "application/vnd.in-toto+json", statement.as_bytes());
    }
    let index =
        put(INDEX, json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).to_string().as_bytes());
    room.write("h/oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#);
    room.write("h/index.json", json!({"schemaVersion": 2, "manifests": [index]}).to_string());
    index["digest"].as_str().unwrap().to_owned()
}

#[test]
fn all_platforms_are_the_index_as_it_stands() {
    needs!("docker-registry", "skopeo");
    let (room, registry, other) = (Room::new(), Registry::start(), Registry::start());
    let (host, elsewhere) = (registry.host(), other.host());
    let source = two_platforms(&room);
    room.sh(&format!("skopeo copy -q --all --preserve-digests --dest-tls-verify=false oci:h docker://{host}/multi:1"))
        .ok();
    let plan = record(&room.sh(&format!("img-pull --plan --all-platforms --layout l {host}/multi:1")).ok());
    assert_eq!((plan["fetch"].as_array().unwrap().len(), &plan["manifest"]), (13, &json!(source)));
    let pulled = room.sh(&format!("img-pull --all-platforms --layout l {host}/multi:1")).ok();
    let whole = |room: &Room| {
        room.sh("diff -r h/blobs/sha256 l/blobs/sha256 && img-fsck --strict l").ok();
    };
    let entry = &record(&pulled)["descriptor"];
    assert_eq!((&entry["digest"], &entry["mediaType"]), (&json!(source), &json!(INDEX)));
    whole(&room);
    // By the digest of the index, which is a name like any other one, and can be checked everywhere.
    room.sh(&format!("img-pull --all-platforms --layout l {host}/multi@{source}")).ok();
    let names = room.sh("img-ls --layout l").ok();
    assert!(names.contains(&format!("\"ref\":\"{host}/multi@{source}\"")), "{names}");
    // Each platform can be opened, and collecting garbage leaves all of them.
    for arch in ["amd64", "arm64"] {
        let shown = room.sh(&format!("img-inspect --platform linux/{arch} --layout l {host}/multi:1")).ok();
        assert_eq!(record(&shown)["Architecture"], arch);
    }
    let gone = room.sh(&format!("img-rm --layout l {host}/multi@{source}")).ok();
    assert_eq!(gone, format!("Untagged: {host}/multi@{source}"), "one name, one line");
    whole(&room);

    let offline = format!("img-pull --offline --all-platforms --layout l {host}/multi:1");
    assert_eq!(room.sh(&offline).ok(), pulled);
    // Elsewhere, byte for byte, and back.
    room.sh(&format!("img-push --layout l --to {elsewhere}/copy:1 {host}/multi:1")).ok();
    room.sh(&format!(
        "skopeo inspect --raw --tls-verify=false docker://{elsewhere}/copy:1 | cmp - h/blobs/sha256/{}",
        &source[7..]
    ))
    .ok();
    room.sh(&format!(
        "img-pull --all-platforms --layout back {elsewhere}/copy:1 && diff -r h/blobs/sha256 back/blobs/sha256"
    ))
    .ok();
    // Through an archive that has the index, with its names; one platform of it is loaded without being told.
    room.sh("tar -C l -cf l.tar oci-layout index.json blobs").ok();
    room.sh("img-load -i l.tar --layout moved").ok();
    assert_eq!(room.sh("ls moved/blobs/sha256 | wc -l").ok(), "3");
    let moved = record(&room.sh("img-load --all-platforms -i l.tar --layout moved").ok());
    assert_eq!((&moved["descriptor"]["digest"], &moved["ref"]), (&json!(source), &json!(format!("{host}/multi:1"))));
    room.sh("diff -r h/blobs/sha256 moved/blobs/sha256 && img-fsck --strict moved").ok();
    room.sh(&format!("sed -i 's!{host}/multi:1!{host}/multi@{source}!' l/index.json; tar -C l -c oci-layout index.json blobs | img-load --all-platforms --layout pinned")).ok();
    assert!(room.sh("img-ls --layout pinned").ok().contains(&format!("{host}/multi@{source}")));
    room.sh(&format!("sed -i 's!{host}/multi@{source}!{host}/multi:1!' l/index.json")).ok();
    let lacks = digest(br#"{"_type":"https://in-toto.io/Statement/v0.1","subject":"amd64"}"#);
    room.sh(&format!(
        "tar -C l --exclude={} -c oci-layout index.json blobs | img-load --all-platforms --layout less",
        &lacks[7..]
    ))
    .fails(1, &format!("lacks {lacks}"));
    assert_eq!(index(&room, "less"), json!([]));
    // One platform again is one image; a lone manifest is its own whole.
    let one = record(&room.sh(&format!("img-pull --platform linux/arm64 --layout l {host}/multi:1")).ok());
    assert_eq!(one["descriptor"]["annotations"]["dev.dock.source.digest"], json!(source));
    let arm = &one["descriptor"]["digest"].as_str().unwrap();
    room.sh(&format!("img-pull --all-platforms --layout lone {host}/multi@{arm} && img-fsck --strict lone")).ok();

    room.sh(&format!("img-pull --all-platforms --layout l {host}/multi:1")).ok();
    let statement = digest(br#"{"_type":"https://in-toto.io/Statement/v0.1","subject":"arm64"}"#);
    room.sh(&format!("rm l/blobs/sha256/{}", &statement[7..])).ok();
    room.sh(&offline).fails(1, &statement);
    room.sh(&format!("img-pull --all-platforms --layout l {host}/multi:1")).ok();
    whole(&room);
    // An index is mended as it was pulled; one platform of it from where the index is.
    room.sh(&format!("rm l/blobs/sha256/{} && img-fsck --repair --from {host}/multi:1 l", &statement[7..])).ok();
    whole(&room);
    room.sh(&format!("img-pull --platform linux/arm64 --layout foreign {host}/multi:1")).ok();
    for from in [format!("{host}/multi:1"), "l.tar".into()] {
        let config = room.sh("img-inspect --layout foreign --format '{{.Id}}' $(img-ls --layout foreign -q)").ok();
        room.sh(&format!("echo x >foreign/blobs/sha256/{} && img-fsck --repair --from {from} foreign", &config[7..]))
            .ok();
        room.sh("img-fsck --strict foreign").ok();
    }
    for id in room.sh("img-ls --layout l -q --no-trunc").ok().lines() {
        room.sh(&format!("img-rm -f --layout l {id}"));
    }
    assert_eq!(room.sh("find l/blobs -type f | wc -l").ok(), "0", "what nothing names goes, whole indexes too");
    room.sh(&format!("img-pull --all-platforms --platform linux/arm64 {host}/multi:1")).fails(2, "cannot be used with");
}

/// Nothing of this needs root. The store is nobody else's business (CVE-2021-21284 and its kin).
#[test]
fn an_ordinary_user_pulls_saves_and_loads() {
    needs!(root, "docker-registry", "skopeo", "umoci", "setpriv");
    let (root, user, registry) = (Room::new(), Room::of_user(1000), Registry::start());
    let host = registry.host();
    root.push_layered(&host, "app:1");
    user.sh(&format!("img-pull {host}/app:1 | img-save | img-load --layout copy")).ok();
    user.sh("diff -r root/images/blobs/sha256 copy/blobs/sha256 && img-fsck --strict copy").ok();
    assert_eq!(user.sh("stat -c '%u %a' root/images copy").ok(), "1000 700\n1000 700");
}

/// The second registered algorithm: the name, the manifest's descriptors, the layout, and the way up again.
#[test]
fn sha512_from_end_to_end() {
    needs!("sha512sum");
    let room = Room::new();
    let hash = |bytes: &[u8]| {
        let digest = room.sh(&format!("sha512sum {} | cut -c1-128", room.write("bytes", bytes).display())).ok();
        format!("sha512:{digest}")
    };
    room.sh("echo x >f && tar --owner=0 --group=0 --mtime=@0 -cf layer.tar f").ok();
    let layer = std::fs::read(room.path("layer.tar")).unwrap();
    let config = json!({"os": "linux", "architecture": "amd64", "config": {}, "rootfs": {"type": "layers", "diff_ids": [hash(&layer)]}}).to_string();
    let describe = |kind: &str, bytes: &[u8]| json!({"mediaType": kind, "digest": hash(bytes), "size": bytes.len()});
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": describe("application/vnd.oci.image.config.v1+json", config.as_bytes()),
        "layers": [describe("application/vnd.oci.image.layer.v1.tar", &layer)],
    })
    .to_string();
    let pin = hash(manifest.as_bytes());
    let blobs: std::collections::HashMap<String, Vec<u8>> = [manifest.as_bytes(), config.as_bytes(), &layer]
        .into_iter()
        .map(|bytes| (hash(bytes), bytes.to_vec()))
        .collect();
    let sent = Arc::new(std::sync::Mutex::new(std::collections::HashMap::new()));
    let liar = Liar::with_body({
        let (blobs, sent) = (blobs.clone(), Arc::clone(&sent));
        move |head, body, _| {
            let mut words = head.split(' ');
            let (method, path) = (words.next().unwrap(), words.next().unwrap());
            let name = path.rsplit('/').next().unwrap();
            match method {
                "HEAD" => reply("404 Not Found", &[], b""),
                "POST" => reply("202 Accepted", &[("Location", "/v2/up/blobs/uploads/1")], b""),
                "PUT" => {
                    let name = path.rsplit(['/', '=']).next().unwrap().replace("%3A", ":");
                    sent.lock().unwrap().insert(name, body.to_vec());
                    reply("201 Created", &[], b"")
                }
                _ => match blobs.get(name) {
                    Some(bytes) => reply("200 OK", &[("Content-Type", MANIFEST)], bytes),
                    None => reply("404 Not Found", &[], b""),
                },
            }
        }
    });
    let host = liar.host();
    let pulled = room.sh(&format!("img-pull --platform linux/amd64 --layout l {host}/app@{pin}")).ok();
    assert_eq!(record(&pulled)["descriptor"]["digest"], pin.as_str());
    room.sh("img-fsck --strict l && test $(ls l/blobs/sha512 | wc -l) = 3 && test $(ls l/blobs/sha256 | wc -l) = 0")
        .ok();
    assert_eq!(room.sh(&format!("img-inspect --raw manifest --layout l {host}/app@{pin}")).ok(), manifest);
    room.sh(&format!("img-push --layout l --to {host}/up@{pin} {host}/app@{pin}")).ok();
    assert_eq!(*sent.lock().unwrap(), blobs, "each one whole, under its own name");
    // Through an archive, as docker's own programs could not: the digest stays.
    let moved = room.sh(&format!("img-save --layout l {host}/app@{pin} | img-load --layout moved")).ok();
    assert_eq!(record(&moved)["descriptor"]["digest"], pin.as_str());
    room.sh("img-fsck --strict moved && diff -r l/blobs moved/blobs").ok();
    // One bit of a layer, and one of the manifest.
    room.sh(&format!("printf y | dd of=l/blobs/sha512/{} bs=1 seek=600 conv=notrunc status=none", &hash(&layer)[7..]))
        .ok();
    room.sh(&format!("img-push --layout l --to {host}/up:2 {host}/app@{pin}")).fails(1, "hash to");
    let other = hash(b"other");
    let lying = Liar::start(move |_, _| reply("200 OK", &[("Content-Type", MANIFEST)], manifest.as_bytes()));
    room.sh(&format!("img-pull --layout l2 {}/app@{other}", lying.host())).fails(1, "the bytes have digest sha512:");
}

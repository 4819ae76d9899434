//! img-pull against a real registry that skopeo filled, and against one that lies.

use dock_tests::liar::{HOLD, Honest, Liar, MANIFEST, digest, reply};
use dock_tests::registry::Registry;
use dock_tests::{Room, needs};
use serde_json::{Value, json};
use std::sync::Arc;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// The layout is whole, and nothing lies around.
#[track_caller]
fn clean(room: &Room, layout: &str) {
    room.sh(&format!("img-fsck {layout}")).ok();
    assert_eq!(room.sh(&format!("ls {layout}/.dock/tmp | wc -l")).ok(), "0", "temp files in {layout}");
}

/// A refused pull names nothing.
#[track_caller]
fn untouched(room: &Room, layout: &str) {
    clean(room, layout);
    assert_eq!(index(room, layout), json!([]));
}

fn index(room: &Room, layout: &str) -> Value {
    let text = std::fs::read_to_string(room.path(layout).join("index.json")).expect("index.json");
    serde_json::from_str::<Value>(&text).expect("JSON")["manifests"].clone()
}

fn record(line: &str) -> Value {
    serde_json::from_str(line).expect(line)
}

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

#[test]
fn an_index_without_end_is_refused() {
    let entry = |below: &String| json!({"mediaType": INDEX, "digest": digest(below.as_bytes()), "size": below.len()});
    let mut many: Vec<String> = (0..300).map(|n| json!({"manifests": [], "n": n}).to_string()).collect();
    many.insert(0, json!({"manifests": many.iter().map(entry).collect::<Vec<_>>()}).to_string());
    let chain = |deep: usize| {
        let mut documents = vec![json!({"schemaVersion": 2, "manifests": []}).to_string()];
        for _ in 0..deep {
            let below = entry(documents.last().unwrap());
            documents.push(json!({"schemaVersion": 2, "manifests": [below]}).to_string());
        }
        documents.reverse();
        documents
    };
    let large = json!([{"mediaType": MANIFEST, "digest": digest(b"x"), "size": 9 << 20}]);
    let lies = json!([{"mediaType": MANIFEST, "digest": digest(&Honest::image(10).manifest), "size": 7}]);
    for (documents, error) in [
        (many, "256 documents"),
        (vec![json!({"manifests": large}).to_string()], "bytes of them"),
        (vec![json!({"manifests": lies}).to_string()], "not those of the index"),
        (chain(4), "an index in an index in an index"),
    ] {
        let room = Room::new();
        let liar = Liar::start(move |head, _| {
            let name = head.split(' ').nth(1).unwrap().rsplit('/').next().unwrap().to_owned();
            if let Some(document) = documents.iter().find(|document| digest(document.as_bytes()) == name) {
                return reply("200 OK", &[("Content-Type", INDEX)], document.as_bytes());
            }
            match name.as_str() {
                "1" => reply("200 OK", &[("Content-Type", INDEX)], documents[0].as_bytes()),
                _ => Honest::image(10).answer(head),
            }
        });
        room.sh(&format!("img-pull --all-platforms --layout l {}/app:1", liar.host())).fails(1, error);
        untouched(&room, "l");
    }
}

#[test]
fn one_failing_reference_does_not_stop_the_others() {
    needs!("docker-registry", "skopeo", "umoci");
    let (room, registry) = (Room::new(), Registry::start());
    let host = registry.host();
    room.push_busybox(&host, "bb:1");
    let ran = room.sh(&format!("img-pull --layout l {host}/none:1 {host}/bb:1"));
    assert_eq!(ran.code, 1, "{ran:#?}");
    assert!(ran.stderr.contains("none:1: GET") && ran.stderr.contains("MANIFEST_UNKNOWN"), "{ran:#?}");
    assert!(ran.stderr.ends_with("img-pull: 1 of 2 images were not pulled\n"), "{ran:#?}");
    assert_eq!(record(&ran.stdout)["ref"], format!("{host}/bb:1"));
    clean(&room, "l");
    room.sh("img-pull --layout l 'UPPER/x:'").fails(2, "not an image reference");
    room.sh("img-pull --layout l").fails(2, "REF");
}

#[test]
fn the_lines_of_docker_pull() {
    needs!("docker-registry", "skopeo", "umoci");
    let (room, registry) = (Room::new(), Registry::start());
    let host = registry.host();
    room.push_busybox(&host, "team/bb:1");
    let first = room.sh(&format!("img-pull --layout l --format docker {host}/team/bb:1")).ok();
    let lines: Vec<&str> = first.lines().collect();
    assert_eq!(lines[0], "1: Pulling from team/bb");
    assert!(lines[1].len() == 27 && lines[1].ends_with(": Pull complete"), "{first}");
    assert!(lines[2].starts_with("Digest: sha256:"), "{first}");
    assert_eq!(lines[3], format!("Status: Downloaded newer image for {host}/team/bb:1"));
    assert_eq!(lines[4], format!("{host}/team/bb:1"));
    let again = room.sh(&format!("img-pull --layout l --format docker {host}/team/bb:1")).ok();
    assert!(again.contains(&format!("\nStatus: Image is up to date for {host}/team/bb:1\n")), "{again}");
    let quiet = room.sh(&format!("img-pull --layout l --format docker -q {host}/team/bb:1")).ok();
    assert_eq!(quiet, format!("{host}/team/bb:1"));
    // What docker makes of a name without a tag it says; dock run says it its own way.
    room.sh(&format!("img-push --layout l --to {host}/bare {host}/team/bb:1")).ok();
    let bare = room.sh(&format!("dock pull {host}/bare")).ok();
    assert!(bare.starts_with("Using default tag: latest\nlatest: Pulling from bare\n"), "{bare}");
    let run = room.sh(&format!("DOCK_ROOT=$PWD/fresh dock create {host}/bare true"));
    let said = format!("Unable to find image '{host}/bare:latest' locally\nlatest: Pulling from bare\n");
    assert!(run.stderr.starts_with(&said), "{run:#?}");
}

/// Every lie is one line, exit code 1, and a store in which nothing is named.
#[test]
fn lies_of_a_registry() {
    let honest = Arc::new(Honest::image(10_000));
    let wrong = digest(b"something else");
    let other = |status: &'static str, headers: &'static [(&str, &str)], body: &'static [u8]| {
        let honest = Arc::clone(&honest);
        move |head: &str| if head.contains("/manifests/") { reply(status, headers, body) } else { honest.answer(head) }
    };
    let layer = |answer: fn(&Honest) -> Vec<u8>| {
        let honest = Arc::clone(&honest);
        move |head: &str| {
            if head.contains(&honest.layer_digest) { answer(&honest) } else { honest.answer(head) }
        }
    };
    type Lie = Box<dyn Fn(&str) -> Vec<u8> + Send + Sync>;
    let lies: Vec<(&str, Lie, &str)> = vec![
        ("a layer of other bytes", Box::new(layer(|h| reply("200 OK", &[], &vec![0; h.layer.len()]))), "hash to"),
        ("a shorter layer", Box::new(layer(|h| reply("200 OK", &[], &h.layer[1..]))), "9999 bytes"),
        ("a longer layer", Box::new(layer(|h| {
            [b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", &h.layer[..], b"more"].concat()
        })), "more than 10000 bytes"),
        ("a layer that is never whole", Box::new(layer(|h| {
            [b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n", &h.layer[..0]].concat()
        })), "GET"),
        ("no layer", Box::new(layer(|_| reply("404 Not Found", &[], br#"{"errors":[{"code":"BLOB_UNKNOWN","message":"a\u001b[31mb"}]}"#))), "404 BLOB_UNKNOWN: a [31mb"),
        ("a manifest of 5 MiB", Box::new(|head: &str| {
            if head.contains("/manifests/") { reply("200 OK", &[("Content-Type", MANIFEST)], &vec![b' '; 5 << 20]) } else { Vec::new() }
        }), "more than 4194304 bytes"),
        ("html", Box::new(other("200 OK", &[("Content-Type", "text/html")], b"<html>")), "manifest: "),
        ("schema 1", Box::new(other("200 OK", &[], br#"{"schemaVersion":1,"fsLayers":[]}"#)), "schema 1"),
        ("manifest and index at once (CVE-2021-41190)", Box::new(other("200 OK", &[], br#"{"manifests":[],"layers":[],"config":{}}"#)), "both manifests and layers"),
        ("an index that is called a manifest", Box::new(other("200 OK", &[("Content-Type", MANIFEST)], br#"{"manifests":[]}"#)), "and is not"),
        ("a digest that leads out of the store (CVE-2024-3727)", Box::new(other("200 OK", &[], br#"{"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:../../x","size":1},"layers":[]}"#)), "is not a digest"),
        ("something else than an image", Box::new(other("200 OK", &[], br#"{"config":{"mediaType":"application/vnd.cncf.helm.config.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"layers":[]}"#)), "not an image"),
        ("a redirect to nowhere", Box::new(other("307 Temporary Redirect", &[("Location", "file:///etc/passwd")], b"")), "not a URL"),
        ("redirects for ever", Box::new(other("302 Found", &[("Location", "/v2/app/manifests/1")], b"")), "too many redirects"),
        ("a realm that is no URL", Box::new(other("401 Unauthorized", &[("WWW-Authenticate", "Bearer realm=\"gopher://x\"")], b"")), "token realm"),
        ("a realm over plain http elsewhere (CVE-2019-10214)", Box::new(other("401 Unauthorized", &[("WWW-Authenticate", "Bearer realm=\"http://192.0.2.1/token\"")], b"")), "plain http leaves this machine"),
        ("a challenge that nobody knows", Box::new(other("401 Unauthorized", &[("WWW-Authenticate", "Negotiate")], b"")), "401 Unauthorized"),
        ("a wrong Docker-Content-Digest", Box::new({
            let (honest, wrong) = (Arc::clone(&honest), wrong.clone());
            move |head: &str| reply("200 OK", &[("Content-Type", MANIFEST), ("Docker-Content-Digest", &wrong)], &honest.clone().manifest).into_iter().filter(|_| head.contains("/manifests/")).collect()
        }), "the bytes have digest"),
    ];
    for (lie, answer, error) in lies {
        let room = Room::new();
        let liar = Liar::start(move |head, _| answer(head));
        let ran = room.sh(&format!("img-pull --layout l {}/app:1", liar.host()));
        assert!(ran.code == 1 && ran.stdout.is_empty(), "{lie}: {ran:#?}");
        ran.fails(1, error);
        untouched(&room, "l");
    }
    // By digest: whatever else comes is refused.
    let room = Room::new();
    let liar = Liar::start({
        let honest = Arc::clone(&honest);
        move |head, _| honest.answer(head)
    });
    room.sh(&format!("img-pull --layout l {}/app@{wrong}", liar.host())).fails(1, "the bytes have digest");
    untouched(&room, "l");
}

/// The token goes to the registry, the password to the token server, and neither one to where the blobs are
/// (CVE-2020-15157 and its kin).
#[test]
fn credentials_stay_at_their_origin() {
    let room = Room::new();
    let honest = Arc::new(Honest::image(1000));
    let store = Liar::start({
        let honest = Arc::clone(&honest);
        move |head, _| honest.answer(head)
    });
    let tokens = Liar::start(|_, _| reply("200 OK", &[], br#"{"token":"t0ken"}"#));
    let registry = Liar::start({
        let (store, realm) = (store.host(), format!("http://{}/token", tokens.host()));
        move |head, _| {
            let path = head.split(' ').nth(1).unwrap();
            if !head.contains("\r\nauthorization: bearer t0ken\r\n") {
                let challenge = format!(r#"Bearer realm="{realm}",service="s",scope="repository:all:push,pull""#);
                return reply("401 Unauthorized", &[("WWW-Authenticate", &challenge)], b"");
            }
            match path.contains("/blobs/") {
                true => reply("307 Temporary Redirect", &[("Location", &format!("http://{store}{path}"))], b""),
                false => honest.answer(head),
            }
        }
    });
    let host = registry.host();
    // "user:pass" for the registry; another registry's entry is nobody's business.
    room.write(
        ".docker/config.json",
        format!(
            r#"{{"auths":{{"{host}":{{"auth":"dXNlcjpwYXNz"}},"{}":{{"auth":"b3RoZXI6b3RoZXI="}}}}}}"#,
            store.host()
        ),
    );
    room.sh(&format!("img-pull --layout l {host}/app:1")).ok();
    clean(&room, "l");
    let asked = tokens.seen();
    assert!(asked.iter().all(|head| head.contains("authorization: basic dxnlcjpwyxnz\r\n")), "{asked:#?}");
    assert!(
        asked[0].contains("scope=repository%3aapp%3apull") || asked[0].contains("scope=repository:app:pull"),
        "our own scope: {asked:#?}"
    );
    assert!(
        !store.seen().is_empty() && store.seen().iter().all(|head| !head.contains("authorization")),
        "{:#?}",
        store.seen()
    );
    assert!(registry.seen().iter().all(|head| !head.contains("basic")), "a password where a token was asked for");
    assert_eq!(asked.len(), 1, "one token serves the whole pull");
}

#[test]
fn a_helper_gives_the_password_and_a_missing_one_is_told() {
    let honest = Honest::image(1000);
    let registry = Liar::start(move |head, _| match head.contains("\r\nauthorization: basic bwu6c2vjcmv0\r\n") {
        true => honest.answer(head),
        false => reply("401 Unauthorized", &[("WWW-Authenticate", "Basic realm=\"r\"")], b""),
    });
    let (room, host) = (Room::new(), registry.host());
    room.sh(&format!("img-pull --layout l {host}/app:1")).fails(1, "wants a user and a password");
    room.write(".docker/config.json", format!(r#"{{"credHelpers":{{"{host}":"test"}}}}"#));
    let ran = room.sh(&format!("img-pull --layout l {host}/app:1"));
    assert!(ran.code == 1 && ran.stderr.contains("docker-credential-test: No such file"), "{ran:#?}");
    let helper = format!(
        "#!/bin/sh\n[ \"$1\" = get ] && [ \"$(cat)\" = {host} ] && echo '{{\"Username\":\"me\",\"Secret\":\"secret\"}}'\n"
    );
    room.write("bin/docker-credential-test", helper);
    room.sh(&format!("chmod +x bin/* && PATH=$PWD/bin:$PATH img-pull --layout l {host}/app:1")).ok();
    clean(&room, "l");
    // A name that would be a path runs nothing.
    room.write(".docker/config.json", r#"{"credsStore":"../bin/x"}"#);
    let ran = room.sh(&format!("img-pull --layout l2 {host}/app:1"));
    assert!(ran.code == 1 && ran.stderr.contains("no name of a credential helper"), "{ran:#?}");
}

#[test]
fn what_fails_in_passing_is_tried_again() {
    let room = Room::new();
    let honest = Honest::image(1000);
    let registry = Liar::start(move |head, count| match count {
        0 => reply("429 Too Many Requests", &[("Retry-After", "0")], b""),
        1 => reply("503 Service Unavailable", &[("Retry-After", "0")], b""),
        2 | 4 => honest.answer(head),
        3 => Vec::new(),
        _ => honest.answer(head),
    });
    room.sh(&format!("img-pull --layout l {}/app:1", registry.host())).ok();
    clean(&room, "l");
    let never = Liar::start(|_, _| reply("500 Internal Server Error", &[("Retry-After", "0")], b""));
    room.sh(&format!("img-pull --layout l {}/app:1", never.host())).fails(1, "500 Internal Server Error");
    assert_eq!(never.seen().len(), 3, "three tries");
    let limit = Liar::start(|_, _| reply("404 Not Found", &[], b""));
    room.sh(&format!("img-pull --layout l {}/app:1", limit.host())).fails(1, "404 Not Found");
    assert_eq!(limit.seen().len(), 1, "what is not there is not there");
}

/// The line is cut in the middle of a layer; the rest is asked for, and only the rest.
#[test]
fn a_cut_layer_is_taken_up_where_it_ended() {
    for ranges in [true, false] {
        let room = Room::new();
        let honest = Honest::image(300_000);
        let registry = Liar::start(move |head, _| {
            if !head.contains(&honest.layer_digest) {
                return honest.answer(head);
            }
            let from = head
                .split("\r\nrange: bytes=")
                .nth(1)
                .map(|rest| rest.split('-').next().unwrap().parse::<usize>().unwrap());
            match (from, ranges) {
                (None, _) => [b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n", &honest.layer[..200_000]].concat(),
                (Some(from), true) => {
                    let range = format!("bytes {from}-299999/300000");
                    reply("206 Partial Content", &[("Content-Range", &range)], &honest.layer[from..])
                }
                (Some(_), false) => reply("200 OK", &[], &honest.layer),
            }
        });
        room.sh(&format!("img-pull --layout l {}/app:1", registry.host())).ok();
        clean(&room, "l");
        let asked: Vec<String> =
            registry.seen().into_iter().filter(|head| head.contains("range: bytes=200000-")).collect();
        assert_eq!(asked.len(), 1, "{:#?}", registry.seen());
    }
}

#[test]
fn a_killed_pull_leaves_a_clean_store_and_the_next_one_finishes() {
    let room = Room::new();
    let honest = Arc::new(Honest::image(2_000_000));
    let stuck = Liar::start({
        let honest = Arc::clone(&honest);
        move |head, _| {
            if head.contains(&honest.layer_digest) {
                let start = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{HOLD}\r\n\r\n", honest.layer.len());
                return [start.as_bytes(), &honest.layer[..1_000_000]].concat();
            }
            honest.answer(head)
        }
    });
    let ran = room.sh(&format!(
        "img-pull --layout l {}/app:1 & pid=$!
         for i in $(seq 1200); do [ \"$(ls l/blobs/sha256 2>/dev/null | wc -l)\" = 1 ] && [ -n \"$(ls l/.dock/partial)\" ] && break; sleep 0.05; done
         ls l/.dock/partial | grep -q . && kill -9 $pid; wait $pid; echo $?",
        stuck.host()
    ));
    assert_eq!(ran.ok(), "137");
    assert_eq!(index(&room, "l"), json!([]));
    let whole = Liar::start(move |head, _| honest.answer(head));
    room.sh(&format!("img-pull --layout l {}/app:1", whole.host())).ok();
    clean(&room, "l");
}

/// TLS with a certificate authority of one's own, in a network namespace where the registry is not loopback.
#[test]
fn https_with_a_private_authority() {
    needs!(root, "docker-registry", "skopeo", "umoci", "openssl", "ip", "curl");
    let room = Room::new();
    room.sh(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=authority \
             -addext basicConstraints=critical,CA:TRUE -keyout ca.key -out ca.pem
         openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=registry -keyout r.key -out r.csr
         printf 'subjectAltName=IP:203.0.113.9,IP:127.0.0.1' >san && openssl x509 -req -in r.csr -CA ca.pem -CAkey ca.key -days 2 -extfile san -out r.pem
         printf 'version: 0.1\nstorage: {filesystem: {rootdirectory: %s/data}}\nhttp: {addr: \"203.0.113.9:5000\", tls: {certificate: %s/r.pem, key: %s/r.key}}\n' $PWD $PWD $PWD >config.yml
         umoci init --layout made && umoci new --image made:x",
    )
    .ok();
    room.write(
        "inside",
        "ip link set lo up && ip addr add 203.0.113.9/32 dev lo || exit
         docker-registry serve config.yml >log 2>&1 & pid=$!
         sed 's/203.0.113.9:/127.0.0.1:/; s!/data!/data2!' config.yml >local.yml
         docker-registry serve local.yml >log2 2>&1 & pids=\"$pid $!\"
         trap 'kill $pids' EXIT
         for i in $(seq 1200); do curl -sk https://203.0.113.9:5000/v2/ && break; sleep 0.05; done
         skopeo copy -q --dest-tls-verify=false oci:made:x docker://203.0.113.9:5000/app:1 || exit
         SSL_CERT_FILE=ca.pem img-pull --layout l 203.0.113.9:5000/app:1 >good 2>&1; echo $?
         skopeo copy -q --dest-tls-verify=false oci:made:x docker://127.0.0.1:5000/app:1 || exit
         SSL_CERT_FILE=ca.pem img-pull --layout l3 127.0.0.1:5000/app:1 >loop 2>&1; echo $?
         mkdir -p web/v2/lies/manifests && cd web
         printf 'HTTP/1.1 307 x\\r\\nLocation: http://203.0.113.9:80/x\\r\\nContent-Length: 0\\r\\n\\r\\n' >v2/lies/manifests/redirect
         printf 'HTTP/1.1 401 x\\r\\nWWW-Authenticate: Bearer realm=\"http://203.0.113.9/t\"\\r\\nContent-Length: 0\\r\\n\\r\\n' >v2/lies/manifests/realm
         printf 'HTTP/1.1 401 x\\r\\nWWW-Authenticate: Bearer realm=\"https://169.254.169.254/t\"\\r\\nContent-Length: 0\\r\\n\\r\\n' >v2/lies/manifests/inside
         openssl s_server -quiet -accept 203.0.113.9:5001 -cert ../r.pem -key ../r.key -HTTP >/dev/null 2>&1 & pids=\"$pids $!\"
         cd .. && for i in $(seq 1200); do curl -sk https://203.0.113.9:5001/ >/dev/null && break; sleep 0.05; done
         for lie in redirect realm inside; do SSL_CERT_FILE=ca.pem img-pull --layout l4 203.0.113.9:5001/lies:$lie 2>$lie; echo $?; done
         img-pull --layout l2 203.0.113.9:5000/app:1 2>stranger; echo $?
         SSL_CERT_FILE=config.yml img-pull --layout l2 203.0.113.9:5000/app:1 2>empty; echo $?
         img-pull --layout l2 --plain-http 203.0.113.9:5000/app:1 2>plain; echo $?",
    );
    let codes = room.sh("unshare --net sh ./inside").ok();
    let said = |name: &str| std::fs::read_to_string(room.path(name)).unwrap();
    assert_eq!(
        codes.split_whitespace().collect::<String>().trim_start_matches("{}"),
        "00111111",
        "{} {}",
        said("loop"),
        said("log")
    );
    assert_eq!(record(&said("good"))["ref"], "203.0.113.9:5000/app:1");
    assert!(said("redirect").contains("from https to plain http"), "{}", said("redirect"));
    assert!(said("realm").contains("only fetched over https"), "CVE-2019-10214: {}", said("realm"));
    assert!(said("inside").contains("must not send us to an internal address"), "CVE-2020-15157: {}", said("inside"));
    assert!(said("stranger").contains("UnknownIssuer"), "{}", said("stranger"));
    assert!(said("empty").contains("no certificate in the file"), "{}", said("empty"));
    assert!(said("plain").contains("400 Bad Request"), "{}", said("plain"));
    clean(&room, "l");
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

/// Docker's daemon.json as it stands: docker.io is never asked when its mirror has everything.
#[test]
fn a_mirror_of_the_hub() {
    needs!("docker-registry", "skopeo", "umoci");
    let (room, mirror) = (Room::new(), Registry::start());
    let host = mirror.host();
    room.push_layered(&host, "library/alpine:3.20");
    room.write("daemon.json", format!(r#"{{"debug":true,"registry-mirrors":["http://127.0.0.1:1","http://{host}"]}}"#));
    let ran = room.sh("img-pull --mirrors daemon.json --layout l alpine:3.20");
    assert_eq!(record(&ran.stdout)["ref"], "docker.io/library/alpine:3.20");
    let lines: Vec<&str> = ran.stderr.lines().collect();
    assert!(lines[0].starts_with("img-pull: 3.20: 127.0.0.1:1: GET http://127.0.0.1:1/v2/"), "{ran:#?}");
    // The dead one is not asked again for every blob.
    assert_eq!(lines.len(), 6, "document, configuration, three layers: {ran:#?}");
    assert!(lines[1..].iter().all(|line| line.ends_with(&format!(": from {host}"))), "{ran:#?}");
    clean(&room, "l");
    room.sh("DOCK_MIRRORS=none img-pull --layout l alpine:3.20").fails(1, "none: No such file");
    room.write("bad.json", r#"{"registry-mirrors":["https://m.example/path"]}"#);
    room.sh("img-pull --mirrors bad.json --layout l alpine:3.20").fails(1, "is no mirror");
}

/// A table for any registry: what the mirror has not, or has wrong, comes from the next one. Each one hears its own
/// password and no other's.
#[test]
fn what_a_mirror_lacks_or_lies_about_comes_from_the_next_one() {
    let honest = Arc::new(Honest::image(10_000));
    type Answer = Arc<dyn Fn(&str) -> Vec<u8> + Send + Sync>;
    let wanting = |user: &'static str, answer: Answer| {
        Liar::start(move |head, _| match head.contains(&format!("\r\nauthorization: basic {user}\r\n")) {
            true => answer(head),
            false => reply("401 Unauthorized", &[("WWW-Authenticate", "Basic realm=\"r\"")], b""),
        })
    };
    let all = {
        let honest = Arc::clone(&honest);
        Arc::new(move |head: &str| honest.answer(head))
    };
    for lie in ["404 Not Found", "200 OK"] {
        let room = Room::new();
        let half = {
            let honest = Arc::clone(&honest);
            Arc::new(move |head: &str| match head.contains(&honest.layer_digest) {
                true => reply(lie, &[], &vec![1; 10_000]),
                false => honest.answer(head),
            })
        };
        // m:m and o:o
        let (mirror, origin) = (wanting("btpt", half), wanting("bzpv", all.clone()));
        let (m, o) = (mirror.host(), origin.host());
        room.write(
            ".docker/config.json",
            format!(r#"{{"auths":{{"{m}":{{"auth":"bTpt"}},"{o}":{{"auth":"bzpv"}}}}}}"#),
        );
        room.write("mirrors.json", format!(r#"{{"mirrors":{{"{o}":["http://{m}"]}}}}"#));
        let ran = room.sh(&format!("img-pull --mirrors mirrors.json --layout l {o}/app:1"));
        assert!(ran.code == 0 && ran.stderr.contains(&format!("from {m}\n")), "{lie}: {ran:#?}");
        assert!(
            ran.stderr.contains("trying the next one\n") && ran.stderr.ends_with(&format!(": from {o}\n")),
            "{lie}: {ran:#?}"
        );
        clean(&room, "l");
        assert!(
            mirror.seen().iter().all(|head| !head.contains("bzpv"))
                && origin.seen().iter().all(|head| !head.contains("btpt"))
        );
    }
}

#[test]
fn all_tags_are_pulled_and_one_that_fails_does_not_stop_the_others() {
    needs!("docker-registry", "skopeo", "umoci");
    let (room, registry) = (Room::new(), Registry::start());
    let host = registry.host();
    room.push_busybox(&host, "team/bb:1");
    room.sh(&format!("skopeo copy -q --src-tls-verify=false --dest-tls-verify=false docker://{host}/team/bb:1 docker://{host}/team/bb:2")).ok();
    let names = |out: &str| {
        let mut names: Vec<_> = out.lines().map(|line| record(line)["ref"].as_str().unwrap().to_owned()).collect();
        names.sort();
        names
    };
    let all = room.sh(&format!("img-pull -a --layout l {host}/team/bb")).ok();
    assert_eq!(names(&all), [format!("{host}/team/bb:1"), format!("{host}/team/bb:2")]);
    clean(&room, "l");
    room.sh(&format!("img-pull -a --layout l {host}/team/bb:1")).fails(2, "tag can't be used with --all-tags/-a");
    room.sh(&format!("img-pull -a --layout l {host}/none")).fails(1, "NAME_UNKNOWN");
    let honest = Honest::image(1000);
    let liar = Liar::start(move |head, _| match head.split(' ').nth(1).unwrap() {
        "/v2/app/tags/list" => reply("200 OK", &[], br#"{"tags":["bad","good","no/tag"]}"#),
        "/v2/app/manifests/bad" => reply("404 Not Found", &[], b""),
        _ => honest.answer(head),
    });
    let ran = room.sh(&format!("img-pull -a --layout l {}/app", liar.host()));
    assert!(ran.code == 1 && ran.stderr.ends_with("1 of 2 images were not pulled\n"), "{ran:#?}");
    assert_eq!(names(&ran.stdout), [format!("{}/app:good", liar.host())]);
}

#[test]
fn a_plan_fetches_no_blob_and_offline_sends_nothing() {
    let room = Room::new();
    let honest = Honest::image(10_000);
    let registry = Liar::start(move |head, _| honest.answer(head));
    let host = registry.host();
    let plan = |layout: &str| record(&room.sh(&format!("img-pull --plan --layout {layout} {host}/app:1")).ok());
    let before = plan("l");
    assert!(!room.path("l").exists() && registry.seen().iter().all(|head| head.contains("/manifests/")));
    assert_eq!((&before["source"], &before["ref"]), (&json!(host), &json!(format!("{host}/app:1"))));
    assert_eq!((before["fetch"].as_array().unwrap().len(), &before["have"]), (3, &json!([])));
    room.sh(&format!("img-pull --offline --layout l {host}/app:1")).fails(1, "not an OCI image layout");
    let pulled = room.sh(&format!("img-pull --layout l {host}/app:1")).ok();
    let after = plan("l");
    assert_eq!((&after["fetchBytes"], &after["haveBytes"]), (&json!(0), &before["fetchBytes"]));
    let moved: u64 = room.sh("cat l/blobs/sha256/* | wc -c").ok().parse().unwrap();
    assert_eq!(before["fetchBytes"], moved);

    let asked = registry.seen().len();
    assert_eq!(room.sh(&format!("img-pull --offline --layout l {host}/app:1")).ok(), pulled);
    room.sh(&format!("img-pull --offline --layout l {host}/app:2")).fails(1, "not in the layout, and --offline");
    let layer = Honest::image(10_000).layer_digest;
    room.sh(&format!("rm l/blobs/sha256/{}", &layer[7..])).ok();
    room.sh(&format!("img-pull --offline --layout l {host}/app:1")).fails(1, &layer);
    assert_eq!(registry.seen().len(), asked, "offline asks nobody");
}

/// What a killed pull has fetched is not fetched again, and what lies there wrong is thrown away.
#[test]
fn a_cut_blob_is_taken_up_by_the_next_run() {
    let room = Room::new();
    let honest = Arc::new(Honest::image(2_000_000));
    let stuck = Liar::start({
        let honest = Arc::clone(&honest);
        move |head, _| {
            if head.contains(&honest.layer_digest) {
                let start = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{HOLD}\r\n\r\n", honest.layer.len());
                return [start.as_bytes(), &honest.layer[..1_500_000]].concat();
            }
            honest.answer(head)
        }
    });
    let whole = Liar::start({
        let honest = Arc::clone(&honest);
        move |head, _| {
            let range = head.split("\r\nrange: bytes=").nth(1).filter(|_| head.contains(&honest.layer_digest));
            match range.map(|rest| rest.split('-').next().unwrap().parse::<usize>().unwrap()) {
                Some(from) => {
                    let range = format!("bytes {from}-1999999/2000000");
                    reply("206 Partial Content", &[("Content-Range", &range)], &honest.layer[from..])
                }
                None => honest.answer(head),
            }
        }
    });
    let part = format!("l/.dock/partial/{}", honest.layer_digest.replace(':', "-"));
    let ran = room.sh(&format!(
        "img-pull --layout l {}/app:1 & pid=$!
         for i in $(seq 1200); do [ \"$(stat -c %s {part} 2>/dev/null || echo 0)\" -ge 1000000 ] && break; sleep 0.05; done
         kill -9 $pid; wait $pid; stat -c %s {part}",
        stuck.host()
    ));
    let kept: usize = ran.ok().parse().unwrap();
    assert!((1_000_000..=1_500_000).contains(&kept), "{kept}");
    room.sh(&format!("img-fsck l; img-pull --layout l {}/app:1", whole.host())).ok();
    clean(&room, "l");
    let asked: Vec<String> = whole.seen().into_iter().filter(|head| head.contains("range:")).collect();
    assert!(asked.len() == 1 && asked[0].contains(&format!("range: bytes={kept}-")), "{asked:#?}");
    assert_eq!(room.sh("ls l/.dock/partial | wc -l").ok(), "0");

    // Wrong bytes that lie there: the digest decides, and all is fetched anew.
    room.sh("img-pull --layout empty 127.0.0.1:1/x").fails(1, "127.0.0.1:1");
    let wrong = ["yes x | head -c 1000000", "yes x | head -c 2000000", "yes x | head -c 2000001"];
    for (name, content) in ["l2", "l3", "l4"].into_iter().zip(wrong) {
        let part = part.replacen("l/", &format!("{name}/"), 1);
        room.sh(&format!("cp -r empty {name} && mkdir -p {name}/.dock/partial && {content} >{part}")).ok();
        room.sh(&format!("img-pull --layout {name} {}/app:1", whole.host())).ok();
        clean(&room, name);
        assert_eq!(room.sh(&format!("ls {name}/.dock/partial | wc -l")).ok(), "0");
    }
    // What nobody came back for goes.
    room.sh("echo old >l/.dock/partial/sha256-x && touch -d '8 days ago' l/.dock/partial/sha256-x && echo new >l/.dock/partial/sha256-y").ok();
    room.sh(&format!("img-pull --layout l {}/app:1", whole.host())).ok();
    assert_eq!(room.sh("ls l/.dock/partial").ok(), "sha256-y");
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

//! Damage: found by img-fsck and while reading, and mended from elsewhere.

use crate::{blob, blobs, config, findings, index, json, lines, manifest, room, sound};
use dock_tests::{Room, needs};
use serde_json::Value;
use std::fs;

/// Each kind of damage is planted into a sound store and found as what it is.
#[test]
fn fsck_finds_each_planted_damage() {
    type Plant = fn(&Room);
    let damages: [(&str, &str, Plant); 11] = [
        ("a flipped byte in a layer", "digest", |room| {
            let path = blob(room, &manifest(room, "base:1")["layers"][0]["digest"]);
            let mut bytes = fs::read(&path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(path, bytes).unwrap();
        }),
        ("a layer that was cut", "size", |room| {
            let path = blob(room, &manifest(room, "base:1")["layers"][0]["digest"]);
            let bytes = fs::read(&path).unwrap();
            fs::write(path, &bytes[..bytes.len() - 1]).unwrap();
        }),
        ("a layer that is gone", "missing", |room| {
            fs::remove_file(blob(room, &manifest(room, "base:1")["layers"][0]["digest"])).unwrap();
        }),
        ("a configuration that is gone", "missing", |room| {
            fs::remove_file(blob(room, &manifest(room, "base:1")["config"]["digest"])).unwrap();
        }),
        ("a manifest that is gone", "missing", |room| {
            fs::remove_file(blob(room, &index(room)["manifests"][0]["digest"])).unwrap();
        }),
        ("a blob that is a link to elsewhere", "digest", |room| {
            let path = blob(room, &manifest(room, "base:1")["layers"][0]["digest"]);
            fs::rename(&path, room.path("moved")).unwrap();
            std::os::unix::fs::symlink(room.path("moved"), path).unwrap();
        }),
        ("another diff ID", "diffID", |room| {
            rewrite(room, |manifest, config| {
                config["rootfs"]["diff_ids"][0] = format!("sha256:{}", "1".repeat(64)).into();
                let _ = manifest;
            });
        }),
        ("plain where gzip was said", "mediaType", |room| {
            rewrite(room, |manifest, _| {
                manifest["layers"][0]["mediaType"] = "application/vnd.oci.image.layer.v1.tar".into()
            });
        }),
        ("a manifest that calls itself an index", "mediaType", |room| {
            rewrite(room, |manifest, _| manifest["mediaType"] = "application/vnd.oci.image.index.v1+json".into());
        }),
        ("two images of one name", "name", |room| {
            let mut index = index(room);
            let twin = index["manifests"][0].clone();
            index["manifests"].as_array_mut().unwrap().push(twin);
            room.write("root/images/index.json", index.to_string());
        }),
        ("an index that is no JSON", "index", |room| {
            room.write("root/images/index.json", "{\"manifests\": [");
        }),
    ];
    let whole = room();
    sound(&whole);
    for (what, class, plant) in damages {
        let room = room();
        plant(&room);
        assert_eq!(findings(&room, 1), [class], "{what}");
    }
    // What a lost manifest reached may still be wanted: nothing is swept.
    let room = self::room();
    fs::remove_file(blob(&room, &index(&room)["manifests"][0]["digest"])).unwrap();
    room.sh("img-rm --prune").fails(1, "no such blob in the layout");
    assert_eq!(blobs(&room).len(), 2);
    room.sh("img-rm base:1").ok();
    assert!(blobs(&room).is_empty(), "unless its entry is taken away");
    let room = self::room();
    room.write(&format!("root/images/blobs/sha256/{}", "a".repeat(64)), "orphan");
    room.write("root/images/blobs/sha256/stray", "stray");
    assert_eq!(findings(&room, 0), ["orphan", "stray"], "garbage is no damage");
    assert_eq!(room.sh("img-fsck --strict").code, 1);
}

/// Replaces manifest and configuration of the one image by changed ones whose digests are right.
fn rewrite(room: &Room, change: fn(&mut Value, &mut Value)) {
    let (mut manifest, mut config) = (manifest(room, "base:1"), config(room, "base:1"));
    change(&mut manifest, &mut config);
    let put = |value: &Value| {
        room.write("document", value.to_string());
        let digest = room.sh("sha256sum <document | cut -c 1-64").ok();
        room.sh(&format!("cp document root/images/blobs/sha256/{digest}")).ok();
        (Value::from(format!("sha256:{digest}")), Value::from(value.to_string().len()))
    };
    let mut index = index(room);
    let old = [index["manifests"][0]["digest"].clone(), manifest["config"]["digest"].clone()];
    (manifest["config"]["digest"], manifest["config"]["size"]) = put(&config);
    (index["manifests"][0]["digest"], index["manifests"][0]["size"]) = put(&manifest);
    let kept = [manifest["config"]["digest"].clone(), index["manifests"][0]["digest"].clone()];
    room.write("root/images/index.json", index.to_string());
    for digest in old.iter().filter(|digest| !kept.contains(digest)) {
        fs::remove_file(blob(room, digest)).unwrap();
    }
}

/// One document that could be read as a manifest and as an index is refused whichever it is called.
#[test]
fn cve_2021_41190_a_document_of_two_kinds_is_refused() {
    let room = room();
    rewrite(&room, |manifest, _| manifest["manifests"] = serde_json::json!([]));
    room.sh("img-inspect base:1").fails(1, "has the members of both a manifest and an index");
    assert_eq!(findings(&room, 1), ["document"]);
    // Nothing that it reaches is collected as garbage.
    let before = blobs(&room);
    assert_eq!(room.sh("img-rm --prune").code, 1);
    assert_eq!(blobs(&room), before);
}

/// A digest in a descriptor is a file name in our store: nothing but a digest gets there.
#[test]
fn cve_2024_3727_a_digest_is_no_path() {
    let room = room();
    room.write("root/secret", "s3cret");
    for evil in ["sha256:../../../secret", "../../secret:x", "sha256:", "sha256:/etc/passwd"] {
        let mut index = index(&room);
        index["manifests"][0]["digest"] = evil.into();
        room.write("root/images/index.json", index.to_string());
        room.sh("img-inspect base:1").fails(1, "is not a digest");
        assert_eq!(findings(&room, 1)[0], "index", "{evil}");
    }
}

/// A document of any size is not read into memory, whatever its descriptor says.
#[test]
fn cve_2023_25153_documents_are_capped() {
    let room = room();
    let mut index = index(&room);
    index["manifests"][0]["size"] = (1u64 << 40).into();
    room.write("root/images/index.json", index.to_string());
    room.sh("img-inspect base:1").fails(1, "more than a document may have");
    room.sh("truncate -s 20M root/images/index.json").ok();
    room.sh("img-ls").fails(1, "more than a document may have");
    assert_eq!(findings(&room, 1), ["index"]);
}

#[test]
fn damage_is_seen_while_reading() {
    let room = room();
    let path = blob(&room, &manifest(&room, "base:1")["config"]["digest"]);
    let text = fs::read_to_string(&path).unwrap().replace("/bin/prog", "/bin/evil");
    fs::write(path, text).unwrap();
    room.sh("img-inspect base:1").fails(1, "the bytes hash to");
}

/// A room with `base:1`, and copies of its store: whole as a layout, as an archive.
fn with_copies() -> Room {
    let room = room();
    room.sh("cp -r root/images good && img-save -o good.tar base:1").ok();
    room
}

fn damage(room: &Room) {
    let manifest_digest = index(room)["manifests"][0]["digest"].clone();
    let manifest = manifest(room, "base:1");
    let layer = blob(room, &manifest["layers"][0]["digest"]);
    let mut bytes = fs::read(&layer).unwrap();
    bytes[100] ^= 1;
    fs::write(layer, bytes).unwrap();
    fs::remove_file(blob(room, &manifest["config"]["digest"])).unwrap();
    // What it leads to is only known when it is there again.
    fs::write(blob(room, &manifest_digest), "cut").unwrap();
}

#[test]
fn fsck_mends_from_a_layout_and_from_an_archive_however_packed() {
    needs!("gzip");
    let room = with_copies();
    room.sh("gzip -k good.tar").ok();
    for (source, stdin) in [("good", "</dev/null"), ("good.tar", "</dev/null"), ("-", "<good.tar.gz")] {
        damage(&room);
        assert_eq!(findings(&room, 1), ["size"]);
        let before = room.sh("img-fsck").fails(1, "1 errors");
        assert!(before.stderr.contains("hint: img-fsck --repair --from"), "{before:#?}");
        room.sh("img-fsck --repair -q").fails(1, "1 errors");
        let said = room.sh(&format!("img-fsck --repair --from {source} {stdin}")).ok();
        let classes: Vec<_> = lines(&said).iter().map(|line| line["class"].as_str().unwrap().to_owned()).collect();
        assert_eq!(classes, ["size", "missing", "digest"], "{said}");
        assert!(lines(&said).iter().all(|line| line["repaired"] == source && line["name"].is_string()), "{said}");
        sound(&room);
        room.sh("img-fsck --strict && diff -r good/blobs root/images/blobs").ok();
        assert_eq!(room.sh("ls root/images/.dock | grep -c repair- || true").ok(), "0");
    }
}

#[test]
fn fsck_mends_from_a_registry_fetching_only_what_is_bad() {
    needs!("docker-registry");
    let room = room();
    let registry = dock_tests::registry::Registry::start();
    let name = format!("{}/base:1", registry.host());
    room.sh(&format!("img-tag base:1 {name} && img-push {name} >/dev/null")).ok();
    damage(&room);
    room.sh(&format!("img-fsck --repair --from {name}")).ok();
    sound(&room);
    // A source that cannot be had, and one that has nothing, do not keep the good one.
    damage(&room);
    room.sh(
        "mkdir -p e && img-append --layout other --base scratch --layer tree.tar -c 'ENV A=1' --compress none -t x",
    )
    .ok();
    let ran = room.sh(&format!("img-fsck --repair --from {}/none:1 --from other --from {name}", registry.host()));
    assert!(ran.stderr.contains("none:1: img-pull"), "{ran:#?}");
    ran.ok();
    sound(&room);
}

#[test]
fn fsck_takes_no_bad_blob_for_a_bad_one() {
    let room = with_copies();
    damage(&room);
    let before = room.sh("cd root/images && find blobs -type f | sort | xargs sha256sum").ok();
    for file in fs::read_dir(room.path("good/blobs/sha256")).unwrap() {
        fs::write(file.unwrap().path(), "cut").unwrap();
    }
    let ran = room.sh("img-fsck --repair --from good");
    assert!(ran.code == 1 && ran.stderr.contains("good: sha256:") && !ran.stdout.contains("repaired"), "{ran:#?}");
    assert_eq!(room.sh("cd root/images && find blobs -type f | sort | xargs sha256sum").ok(), before);
    room.sh("img-fsck --from good").fails(2, "--repair");
    room.sh("img-fsck --repair --from 'no such/thing'").fails(1, "neither a file, a directory nor an image");
}

#[test]
fn an_index_is_made_anew_and_nothing_is_lost() {
    let room = room();
    room.sh("img-append --base base:1 -c 'ENV A=1' -t second && img-append --base base:1 -c 'ENV A=2' --pin key").ok();
    let whole = fs::read_to_string(room.path("root/images/index.json")).unwrap();
    let cut = whole.find("},{").unwrap();
    room.write("root/images/index.json", &whole[..=cut]);
    room.sh("img-ls").fails(1, "index.json");
    let said = room.sh("img-fsck --repair").ok();
    let line = json(&said);
    assert_eq!((&line["class"], &line["repaired"]), (&"index".into(), &"blobs".into()));
    assert_eq!(room.sh("img-ls -q").ok().lines().count(), 2, "the pinned one stays the cache's");
    assert_eq!(room.sh("img-ls -f dangling=true -q").ok().lines().count(), 1, "one name is lost, no image");
    room.sh("img-fsck --strict && img-inspect base:1 && grep -q 'base:1' root/images/.dock/index.json.damaged.0").ok();
    // Gone is not empty: nobody makes a new one by accident, for then the next removal would take everything.
    fs::remove_file(room.path("root/images/index.json")).unwrap();
    room.sh("img-append --base scratch --layer tree.tar -t x").fails(1, "img-fsck --repair makes it anew");
    assert_eq!(findings(&room, 1), ["index"]);
    room.sh("img-fsck --repair").ok();
    assert_eq!(room.sh("img-ls -q").ok().lines().count(), 2);
    sound(&room);
}

/// Side by side or not, findings come in one order.
#[test]
fn fsck_says_the_same_every_time() {
    let room = room();
    for n in 0..12 {
        room.write("tree/n", vec![n; 20_000]);
        room.sh("tar -C tree -c n | img-append --base base:1 --layer - -t next && img-tag next base:1").ok();
    }
    let layers = manifest(&room, "base:1")["layers"].as_array().unwrap().clone();
    for layer in layers.iter().step_by(3) {
        fs::write(blob(&room, &layer["digest"]), "bad").unwrap();
    }
    let first = room.sh("img-fsck");
    assert!(first.code == 1 && first.stdout.lines().count() >= layers.len() / 3, "{first:#?}");
    for _ in 0..5 {
        assert_eq!(room.sh("img-fsck").stdout, first.stdout);
    }
}

/// Room that no image and no bundle needs is waste, not damage.
#[test]
fn fsck_tells_of_unpacked_layers_that_nobody_has() {
    needs!(root);
    let room = room();
    room.sh("img-unpack --overlay base:1 box && img-fsck --strict").ok();
    room.sh("cp root/images/index.json kept && img-append --base scratch --layer tree.tar -c 'ENV A=1' -t base:1").ok();
    room.write("root/images/index.json", "{\"schemaVersion\":2,\"manifests\":[]}");
    assert_eq!(findings(&room, 0), ["orphan"], "its bundle has the layer");
    room.sh("rm -rf box").ok();
    let found = findings(&room, 0);
    assert_eq!(found, ["orphan", "unpacked"]);
    room.sh("img-rm --prune && img-fsck --strict").ok();
}

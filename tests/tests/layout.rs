//! The store: images made by hand, listed, named, removed, collected, damaged and found damaged. Beside skopeo,
//! umoci and tar.

use dock_tests::{Ran, Room, bin, needs};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A room with a tree, its tar, and an image `base` of one layer.
fn room() -> Room {
    let room = Room::new();
    room.write("tree/etc/motd", "hello\n");
    room.write("tree/bin/prog", vec![7u8; 300_000]);
    room.sh("tar -C tree -cf tree.tar .").ok();
    room.sh("img-append --base scratch --layer tree.tar -c 'CMD [\"/bin/prog\"]' -t base:1").ok();
    room
}

fn json(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(json).collect()
}

fn index(room: &Room) -> Value {
    json(&fs::read_to_string(room.path("root/images/index.json")).unwrap())
}

fn manifest(room: &Room, image: &str) -> Value {
    json(&room.sh(&format!("img-inspect --raw manifest {image}")).ok())
}

fn config(room: &Room, image: &str) -> Value {
    json(&room.sh(&format!("img-inspect --raw config {image}")).ok())
}

fn blob(room: &Room, digest: &Value) -> PathBuf {
    room.path("root/images/blobs").join(digest.as_str().unwrap().replace(':', "/"))
}

fn blobs(room: &Room) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(room.path("root/images/blobs/sha256"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[track_caller]
fn sound(room: &Room) {
    let ran = room.sh("img-fsck");
    assert_eq!((ran.code, ran.stdout.as_str()), (0, ""), "{ran:#?}");
}

/// The classes that fsck finds, in the order of their first.
#[track_caller]
fn findings(room: &Room, code: i32) -> Vec<String> {
    let ran: Ran = room.sh("img-fsck");
    assert_eq!(ran.code, code, "{ran:#?}");
    let mut classes = Vec::new();
    for finding in lines(&ran.stdout) {
        let class = finding["class"].as_str().unwrap().to_owned();
        assert!(finding["message"].as_str().is_some_and(|text| !text.is_empty()), "{finding}");
        if !classes.contains(&class) {
            classes.push(class);
        }
    }
    classes
}

#[test]
fn skopeo_and_umoci_read_what_img_append_writes() {
    needs!(root, "skopeo", "umoci", "jq");
    let room = room();
    room.write("more/etc/new", "2");
    room.sh("tar -C more -c . | img-append --base base:1 --layer - -m second -a me -t team/app:2").ok();
    let ours = config(&room, "team/app:2");
    let theirs = json(&room.sh("skopeo inspect --config --raw oci:root/images:docker.io/team/app:2").ok());
    assert_eq!(ours, theirs);
    room.sh("skopeo copy -q oci:root/images:docker.io/team/app:2 oci:out:copy").ok();
    let copied = room.sh("skopeo inspect --raw oci:out:copy | sha256sum").ok();
    assert_eq!(copied, room.sh("img-inspect --raw manifest team/app:2 | sha256sum").ok(), "the digest survives");
    room.sh("img-fsck out && test ! -e out/.dock").ok();
    assert_eq!(room.sh("img-ls --layout out | jq -r .ref").ok(), "copy", "a foreign name stays what it is");
    room.sh("umoci unpack --image out:copy box").ok();
    assert_eq!(room.sh("cat box/rootfs/etc/motd box/rootfs/etc/new").ok(), "hello\n2");
    // And the other way: umoci adds a layer, we read it.
    room.sh("echo x >box/rootfs/etc/x && umoci repack --image out:again box").ok();
    assert_eq!(
        lines(&room.sh("img-inspect --layout out again").ok())[0]["RootFS"]["Layers"].as_array().unwrap().len(),
        3
    );
    room.sh("img-fsck out").ok();
    sound(&room);
}

#[test]
fn an_appended_layer_has_its_two_digests_and_its_history() {
    let room = room();
    let diff_id = format!("sha256:{}", room.sh("sha256sum <tree.tar | cut -c 1-64").ok());
    assert_eq!(config(&room, "base:1")["rootfs"]["diff_ids"][0], diff_id.as_str());
    for (method, kind, cat) in [("none", "tar", "cat"), ("gzip", "tar+gzip", "zcat"), ("zstd", "tar+zstd", "zstdcat")] {
        room.sh(&format!("img-append --base base:1 --layer tree.tar --compress {method} -t {method}")).ok();
        let layer = &manifest(&room, method)["layers"][1];
        assert_eq!(layer["mediaType"], format!("application/vnd.oci.image.layer.v1.{kind}"));
        assert_eq!(config(&room, method)["rootfs"]["diff_ids"][1], diff_id.as_str());
        if dock_tests::has(cat) {
            let there =
                room.sh(&format!("{cat} <{} | sha256sum | cut -c 1-64", blob(&room, &layer["digest"]).display())).ok();
            assert_eq!(format!("sha256:{there}"), diff_id);
        }
    }
    // A compressed layer keeps its bytes.
    let digest = format!("sha256:{}", room.sh("gzip -n <tree.tar >tree.tgz && sha256sum <tree.tgz | cut -c 1-64").ok());
    room.sh("img-append --base scratch --layer - -t kept <tree.tgz").ok();
    assert_eq!(manifest(&room, "kept")["layers"][0]["digest"], digest.as_str());
    assert_eq!(config(&room, "kept")["rootfs"]["diff_ids"][0], diff_id.as_str());
    // Entries that are not empty are as many as layers.
    room.sh("img-append --base gzip -c 'ENV A=b' -m why | img-append -c 'USER 7' -t stepped").ok();
    let history = config(&room, "stepped")["history"].as_array().unwrap().clone();
    let empty: Vec<bool> = history.iter().map(|entry| entry["empty_layer"] == true).collect();
    assert_eq!(empty, [false, false, true, true]);
    assert_eq!((&history[2]["created_by"], &history[2]["comment"]), (&"ENV A=b".into(), &"why".into()));
    sound(&room);
}

#[test]
fn the_same_input_makes_the_same_image() {
    let room = room();
    let make = "SOURCE_DATE_EPOCH=1700000000 img-append --base scratch --layer tree.tar -c 'CMD x' -t";
    room.sh(&format!("{make} one && {make} two")).ok();
    assert_eq!(manifest(&room, "one"), manifest(&room, "two"));
    assert_eq!(config(&room, "one")["created"], "2023-11-14T22:13:20Z");
}

#[test]
fn unknown_members_of_a_configuration_survive() {
    let room = room();
    let json_change = r#"{"config":{"Env":["A=1"],"Strange":{"x":[1]}},"moby.thing":7,"history":{"created_by":"step","empty_layer":true}}"#;
    room.sh(&format!("img-append --base base:1 --change-json '{json_change}' -t odd")).ok();
    room.sh("img-append --base odd -c 'ENV B=$A' -t odder").ok();
    let config = config(&room, "odder");
    assert_eq!(config["config"]["Strange"]["x"][0], 1);
    assert_eq!(config["moby.thing"], 7);
    assert_eq!(config["config"]["Env"], serde_json::json!(["A=1", "B=1"]));
    assert_eq!(config["config"].get("Cmd"), None, "config is replaced whole");
    assert_eq!(config["history"][1]["created_by"], "step");
    for (bad, message) in [
        (r#"{"rootfs":{}}"#, "rootfs follows from the layers"),
        (r#"{"history":{"created_by":"x"}}"#, "set empty_layer"),
        (r#"{"config":7}"#, "config is no JSON object"),
        ("{", "not a JSON object"),
    ] {
        room.sh(&format!("img-append --base odd --change-json '{bad}'")).fails(1, message);
    }
}

#[test]
fn bad_layers_name_nothing() {
    let room = room();
    let before = (index(&room), blobs(&room));
    room.sh("printf 'not a tar' | img-append --base scratch --layer - -t x").fails(1, "<stdin>: malformed tar");
    room.sh("head -c 250000 tree.tar | img-append --base scratch --layer - -t x")
        .fails(1, "malformed tar: the tar ends in the middle");
    room.sh("head -c 9000 tree.tar | gzip | img-append --base scratch --layer - -t x").fails(1, "malformed tar");
    room.sh("gzip <tree.tar | head -c 300 | img-append --base scratch --layer - -t x").fails(1, "<stdin>: read");
    room.sh("true | img-append --base scratch --layer - -t x").fails(1, "empty: not a tar");
    room.sh("img-append --base scratch --layer nosuch.tar -t x").fails(1, "nosuch.tar: open: No such file");
    room.sh("img-append --base nosuch -t x").fails(1, "No such image: nosuch:latest");
    room.sh("true | img-append -t x").fails(1, "no image record on <stdin>");
    room.sh("img-append --layer - -t x <tree.tar").fails(2, "stdin can be read once");
    room.sh("img-append --base base:1 -c 'RUN make' -t x").fails(1, "RUN is not one of");
    room.sh("img-append --base base:1 -t 'Bad Name'").fails(2, "not an image reference");
    assert_eq!((index(&room), blobs(&room)), before, "the store is untouched");
    assert_eq!(fs::read_dir(room.path("root/images/.dock/tmp")).unwrap().count(), 0, "no temporary files");
}

#[test]
fn docker_types_become_ocis_when_an_image_grows() {
    needs!("skopeo");
    let room = room();
    room.sh("skopeo copy -q -f v2s2 oci:root/images:docker.io/library/base:1 dir:d").ok();
    // A layout with docker's types in it, as a pull from a registry leaves it.
    room.sh(
        "set -e; cd d; cp -r ../root/images ../mixed; cd ../mixed; rm -rf .dock
         for f in ../d/*; do cp $f blobs/sha256/$(sha256sum <$f | cut -c 1-64); done
         printf '{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":\"application/vnd.docker.distribution.manifest.v2+json\",\"digest\":\"sha256:%s\",\"size\":%s,\"annotations\":{\"org.opencontainers.image.ref.name\":\"docker.io/library/d:1\"}}]}' \
             $(sha256sum <../d/manifest.json | cut -c 1-64) $(stat -c %s ../d/manifest.json) >index.json",
    )
    .ok();
    assert_eq!(
        json(&room.sh("img-inspect --layout mixed --raw manifest d:1").ok())["config"]["mediaType"],
        "application/vnd.docker.container.image.v1+json"
    );
    room.sh("img-append --layout mixed --base d:1 --layer tree.tar -t grown").ok();
    let manifest = json(&room.sh("img-inspect --layout mixed --raw manifest grown").ok());
    assert!(!manifest.to_string().contains("docker"), "{manifest}");
    room.sh("img-fsck mixed").ok();
}

#[test]
fn names_ids_and_prefixes_find_one_image() {
    let room = room();
    room.sh("img-append --base base:1 -c 'ENV A=1' -t host:5000/team/app:2").ok();
    let id = room.sh("img-ls -q --no-trunc base:1").ok();
    let hex = id.strip_prefix("sha256:").unwrap();
    let record = json(&room.sh("img-ls base:1").ok());
    let manifest = record["descriptor"]["digest"].as_str().unwrap().to_owned();
    for operand in [
        "base:1",
        "library/base:1",
        "docker.io/library/base:1",
        &id,
        hex,
        &hex[..12],
        &hex[..8],
        &manifest,
        &format!("base@{manifest}"),
    ] {
        assert_eq!(json(&room.sh(&format!("img-inspect {operand}")).ok())["Id"], id.as_str(), "{operand}");
    }
    for (operand, message) in [
        ("base", "No such image: base:latest"),
        ("base:2", "No such image: base:2"),
        ("sha256:zz", "No such image: sha256:zz"),
        ("../../etc/passwd", "No such image: ../../etc/passwd"),
        (&"0".repeat(64), "No such image"),
        ("''", "No such image"),
    ] {
        room.sh(&format!("img-inspect {operand}")).fails(1, message);
    }
    // Two hundred images: two of them start with the same digit, and that is said.
    for n in 0..40 {
        room.sh(&format!("img-append --base base:1 -c 'ENV N={n}' --pin k{n} -t many:{n}")).ok();
    }
    let ids = room.sh("img-ls -q --no-trunc 'many' | cut -c 8-8 | sort | uniq -d | head -1").ok();
    room.sh(&format!("img-inspect {ids}")).fails(1, "ambiguous");
}

#[test]
fn tag_moves_a_name_and_keeps_the_image_that_had_it() {
    let room = room();
    room.sh("img-append --base base:1 -c 'ENV A=1' -t other").ok();
    let old = room.sh("img-ls -q other").ok();
    let printed = json(&room.sh("img-tag base:1 other").ok());
    assert_eq!(printed["ref"], "docker.io/library/other:latest");
    assert_eq!(room.sh("img-ls -q other").ok(), room.sh("img-ls -q base").ok());
    let table = room.sh("img-ls --format table").ok();
    assert!(table.lines().any(|line| line.starts_with("<none>       <none>    ") && line.contains(&old)), "{table}");
    room.sh(&format!("img-tag {old} back")).ok();
    let table = room.sh("img-ls --format table").ok();
    assert!(!table.contains("<none>"), "a name ends the state without one: {table}");
    room.sh("img-ls back | img-tag - piped:1").ok();
    room.sh(&format!("img-tag base:1 x@sha256:{}", "0".repeat(64)))
        .fails(2, "refusing to create a tag with a digest reference");
    room.sh("img-tag nosuch x").fails(1, "No such image: nosuch:latest");
    sound(&room);
}

#[test]
fn members_of_the_index_that_we_do_not_know_stay() {
    let room = room();
    let mut index = index(&room);
    index["annotations"] = serde_json::json!({"who": "somebody"});
    index["manifests"][0]["x-foreign"] = serde_json::json!([1, 2]);
    let artifact = serde_json::json!({"mediaType": "application/x-thing", "digest": format!("sha256:{}", "e".repeat(64)), "size": 1});
    index["manifests"].as_array_mut().unwrap().push(artifact.clone());
    room.write("root/images/index.json", index.to_string());
    room.sh("img-tag base:1 second && img-rm second").ok();
    assert_eq!(self::index(&room), index);
}

#[test]
fn rm_says_dockers_words_and_keeps_shared_blobs() {
    let room = room();
    room.sh("printf x >tree/x && tar -C tree -c x | img-append --base base:1 --layer - -t top:1").ok();
    room.sh("img-tag top:1 top:2").ok();
    let (id, short) = (room.sh("img-ls -q --no-trunc top:1").ok(), room.sh("img-ls -q top:1").ok());
    assert_eq!(room.sh("img-rm top:2").ok(), "Untagged: top:2");
    room.sh("img-tag top:1 elsewhere/top").ok();
    room.sh(&format!("img-rm {short}")).fails(
        1,
        &format!("conflict: unable to delete {short} (must be forced) - image is referenced in multiple repositories"),
    );
    let said = room.sh(&format!("img-rm -f {short}")).ok();
    let said: Vec<&str> = said.lines().collect();
    assert_eq!(said[..2], ["Untagged: top:1", "Untagged: elsewhere/top:latest"]);
    assert_eq!(said[2], format!("Deleted: {id}"));
    assert_eq!(said.len(), 4, "one layer of two is shared: {said:?}");
    assert_eq!(blobs(&room).len(), 3, "manifest, configuration and layer of the base");
    sound(&room);
    // One operand that fails does not keep the others.
    let ran = room.sh("img-rm nosuch base:1 neither");
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stdout.starts_with("Untagged: base:1\nDeleted: sha256:"), "{ran:?}");
    assert_eq!(ran.stderr, "img-rm: No such image: nosuch:latest\nimg-rm: No such image: neither:latest\n");
    assert!(blobs(&room).is_empty());
    sound(&room);
    // Whoever forces it has what he wants; as docker's rmi -f.
    let ran = room.sh("img-rm -f nosuch");
    assert_eq!((ran.code, ran.stderr.as_str()), (0, "img-rm: No such image: nosuch:latest\n"), "{ran:?}");
}

#[test]
fn rm_refuses_the_image_of_a_container() {
    let room = room();
    let id = room.sh("img-ls -q --no-trunc base:1").ok();
    let container = "c".repeat(64);
    let meta = format!(
        r#"{{"id":"{container}","name":"n","imageID":"{id}","created":"2026-01-01T00:00:00Z","command":["x"]}}"#
    );
    room.write(&format!("root/containers/{container}/container.json"), meta);
    let short = &id[7..19];
    room.sh("img-rm base:1").fails(
        1,
        &format!("conflict: unable to delete base:1 (must be forced) - container cccccccccccc is using its referenced image {short}"),
    );
    room.sh(&format!("img-rm {short}")).fails(
        1,
        &format!("conflict: unable to delete {short} (must be forced) - image is being used by stopped container cccccccccccc"),
    );
    room.sh("img-tag base:1 two").ok();
    assert_eq!(room.sh("img-rm two").ok(), "Untagged: two:latest", "a second name goes at once");
    room.sh("img-rm -f base:1").ok();
    assert!(blobs(&room).is_empty());
}

#[test]
fn prune_takes_what_has_no_name_and_the_cache_keeps_what_is_pinned() {
    let room = room();
    room.sh("img-append --base base:1 -c 'ENV A=1'").ok();
    room.sh("img-append --base base:1 -c 'ENV A=2' --pin key").ok();
    assert_eq!(room.sh("img-ls -q").ok().lines().count(), 2);
    assert_eq!(room.sh("img-ls -q -a").ok().lines().count(), 3);
    let said = room.sh("img-rm --prune").ok();
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!((lines[0], lines[2], lines.len()), ("Deleted Images:", "", 4), "its layer is the base's: {said}");
    assert!(lines[1].starts_with("deleted: sha256:") && lines[3].starts_with("Total reclaimed space: "), "{said}");
    assert_eq!(room.sh("img-rm --prune").ok(), "Total reclaimed space: 0B");
    assert_eq!(room.sh("img-ls -q").ok().lines().count(), 1);
    assert_eq!(blobs(&room).len(), 5);
    room.sh("img-append --base base:1 --pin ../../escape").fails(1, "not a pin key");
    sound(&room);
}

/// A pull that filled the disk leaves what it had for the next one; who wants the room has it, though there is none
/// for an index without the pruned image.
#[test]
fn prune_takes_what_pulls_left_in_part() {
    needs!(root);
    let room = room();
    room.sh(
        "mkdir -p root/images/.dock/partial && cd root/images/.dock/partial && head -c 2000 /dev/zero >x; echo y >y",
    )
    .ok();
    let said = room.sh("flock root/images/.dock/partial/y img-rm --prune").ok();
    assert_eq!(said, "Total reclaimed space: 2kB");
    assert_eq!(room.sh("ls root/images/.dock/partial").ok(), "y", "somebody is writing it");
    room.write(
        "full.sh",
        "mount -t tmpfs -o size=1m tmpfs full && export DOCK_ROOT=$PWD/full/root || exit 9
        img-append --base scratch --layer tree.tar >/dev/null && mkdir full/root/images/.dock/partial || exit 9
        head -c 9000000 /dev/zero >full/root/images/.dock/partial/x 2>/dev/null && exit 9
        echo x 2>/dev/null >full/more && exit 9
        img-rm --prune && img-fsck --strict -q && img-ls | wc -l",
    );
    let said = room.sh("mkdir full && unshare -m --propagation private sh full.sh").ok();
    assert!(said.starts_with("Deleted Images:\ndeleted: sha256:") && said.ends_with("\n0"), "{said}");
}

/// With no byte left on the disk an image can be removed, and its bytes are free again.
#[test]
fn rm_frees_a_disk_that_is_full_to_the_last_byte() {
    needs!(root);
    let room = room();
    room.write(
        "full.sh",
        "mount -t tmpfs -o size=1m tmpfs full && export DOCK_ROOT=$PWD/full/root || exit 9
        img-append --base scratch --layer tree.tar -t a >/dev/null && img-tag a b >/dev/null || exit 9
        head -c 9000000 /dev/zero >full/filler 2>/dev/null && exit 9
        echo x 2>/dev/null >full/filler2 && exit 9
        img-rm b && img-rm a && img-fsck --strict -q && img-ls | wc -l && ls full/root/images/blobs/sha256 | wc -l",
    );
    let said = room.sh("mkdir full && unshare -m --propagation private sh full.sh").ok();
    assert!(said.starts_with("Untagged: b:latest\nUntagged: a:latest\nDeleted: sha256:"), "{said}");
    assert!(said.ends_with("\n0\n0"), "{said}");
}

#[test]
fn nothing_is_collected_while_somebody_writes() {
    let room = room();
    room.sh("mkfifo pipe").ok();
    // A writer that has stored one layer and waits for the second.
    let mut writer = Command::new(bin().join("img-append"))
        .args(["--base", "scratch", "--layer"])
        .arg(room.path("more.tar"))
        .arg("--layer")
        .arg(room.path("pipe"))
        .args(["-t", "slow"])
        .env("DOCK_ROOT", {
            room.sh("printf y >tree/y && tar -C tree -cf more.tar y").ok();
            room.path("root")
        })
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while blobs(&room).len() < 4 {
        assert!(Instant::now() < deadline, "the first layer does not come");
        std::thread::sleep(Duration::from_millis(10));
    }
    let ran = room.sh("img-rm base:1");
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stderr.contains("images are being written"), "{ran:?}");
    assert_eq!(blobs(&room).len(), 4, "nothing was swept");
    room.sh("cat tree.tar >pipe").ok();
    assert!(writer.wait().unwrap().success());
    room.sh("img-rm --prune").ok();
    assert_eq!(blobs(&room).len(), 4, "two layers, configuration, manifest");
    sound(&room);
}

#[test]
fn kill_9_in_the_middle_leaves_a_sound_store() {
    let room = room();
    let before = index(&room);
    room.sh("mkfifo pipe").ok();
    for _ in 0..3 {
        let mut writer = Command::new(bin().join("img-append"))
            .args(["--base", "base:1", "--compress", "none", "-t", "never", "--layer"])
            .arg(room.path("pipe"))
            .env("DOCK_ROOT", room.path("root"))
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        // Half a megabyte of a tar, then silence: the kill comes in the middle of the blob.
        let mut feeder = Command::new("sh")
            .args(["-c", "exec 3>pipe; { head -c 524288; } <big.tar >&3; sleep 60"])
            .current_dir({
                room.sh("test -e big.tar || { head -c 900000 /dev/urandom >tree/big; tar -C tree -cf big.tar big; }")
                    .ok();
                room.path(".")
            })
            .spawn()
            .unwrap();
        let tmp = room.path("root/images/.dock/tmp");
        let deadline = Instant::now() + Duration::from_secs(60);
        let written = || fs::read_dir(&tmp).unwrap().any(|entry| entry.unwrap().metadata().is_ok_and(|m| m.len() > 0));
        while !written() {
            assert!(Instant::now() < deadline, "nothing is written");
            std::thread::sleep(Duration::from_millis(5));
        }
        writer.kill().unwrap();
        writer.wait().unwrap();
        feeder.kill().unwrap();
        feeder.wait().unwrap();
        assert_eq!(findings(&room, 0), ["temp"]);
        assert_eq!(index(&room), before);
    }
    room.sh("img-append --base base:1 --layer big.tar -t after").ok();
    assert_eq!(fs::read_dir(room.path("root/images/.dock/tmp")).unwrap().count(), 0, "swept by the next writer");
    sound(&room);
}

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

#[test]
fn lists_look_like_dockers() {
    let room = room();
    room.sh("img-append --base base:1 -c 'ENV LONG=this-is-a-long-value-that-does-not-fit' --created 2020-01-01T00:00:00Z -m note -t user/app").ok();
    let table = room.sh("img-ls --format table").ok();
    let rows: Vec<Vec<&str>> =
        table.lines().map(|line| line.split("   ").map(str::trim).filter(|s| !s.is_empty()).collect()).collect();
    assert_eq!(rows[0], ["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"]);
    assert_eq!(rows[1][..2], ["base", "1"]);
    assert!(rows[1][3].ends_with("second ago") || rows[1][3].ends_with("seconds ago"), "{table}");
    assert_eq!(rows[2][..2], ["user/app", "latest"], "the newest first");
    assert!(rows[2][3].ends_with("years ago"), "{table}");
    assert!(rows[2][4].ends_with("B"), "{table}");
    assert_eq!(rows[2][2].len(), 12);
    let history = room.sh("img-inspect --history --format table user/app").ok();
    let lines: Vec<&str> = history.lines().collect();
    assert!(lines[0].starts_with("IMAGE          CREATED"), "{history}");
    assert!(
        lines[1].starts_with(rows[2][2])
            && lines[1].contains("…")
            && lines[1].contains("0B")
            && lines[1].ends_with("note"),
        "{history}"
    );
    assert!(lines[2].starts_with("<missing>      ") && lines[2].contains("CMD [\"/bin/prog\"]"), "{history}");
    let steps: Vec<Value> = self::lines(&room.sh("img-inspect --history user/app").ok());
    assert_eq!((&steps[0]["emptyLayer"], &steps[1]["emptyLayer"]), (&true.into(), &false.into()));
    assert!(steps[1].get("id").is_none() && steps[0]["id"].as_str().unwrap().starts_with("sha256:"));
    assert_eq!(steps[1]["size"], manifest(&room, "base:1")["layers"][0]["size"]);
}

#[test]
fn filters_are_dockers() {
    let room = room();
    let make = "img-append --base base:1 --created";
    room.sh(&format!("{make} 2020-01-01T00:00:00Z -c 'LABEL team=red' -t old:1")).ok();
    room.sh(&format!("{make} 2021-01-01T00:00:00Z -c 'LABEL team=blue' -t mid:1")).ok();
    room.sh(&format!("{make} 2022-01-01T00:00:00Z -c 'ENV A=1'")).ok();
    let list = |options: &str| room.sh(&format!("img-ls --format table {options} | tail -n +2 | cut -d ' ' -f 1")).ok();
    assert_eq!(list(""), "base\n<none>\nmid\nold");
    assert_eq!(list("-f dangling=true"), "<none>");
    assert_eq!(list("-f dangling=false"), "base\nmid\nold");
    assert_eq!(list("--filter label=team"), "mid\nold");
    assert_eq!(list("--filter label=team=red"), "old");
    assert_eq!(list("--filter label=team --filter before=mid:1"), "old");
    assert_eq!(list("--filter since=mid:1"), "base\n<none>");
    assert_eq!(list("--filter 'reference=*:1' --filter since=old:1 mid"), "mid");
    room.sh("img-ls -f colour=red").fails(2, "Invalid filter 'colour'");
    room.sh("img-ls -f since=nosuch").fails(1, "No such image: nosuch:latest");
}

#[test]
fn no_layout_is_an_empty_list_only_where_none_was_asked_for() {
    let room = Room::new();
    assert_eq!(room.sh("img-ls").ok(), "");
    assert_eq!(room.sh("img-ls --format table").ok(), "REPOSITORY   TAG       IMAGE ID   CREATED   SIZE");
    room.sh("img-fsck").ok();
    room.sh("img-ls --layout nosuch").fails(1, "nosuch: not an OCI image layout: no such directory");
    room.write("full/of/things", "");
    room.sh("img-ls --layout full").fails(1, "no file oci-layout in it");
    room.write("tree.txt", "");
    room.sh("tar -c tree.txt | img-append --layout full --base scratch --layer -").fails(1, "not an OCI image layout");
    assert!(!room.path("full/oci-layout").exists(), "somebody's directory is not turned into a layout");
}

/// Trees with setuid programs in them were reachable for local users.
#[test]
fn cve_2021_21284_a_store_is_private() {
    use std::os::unix::fs::PermissionsExt;
    let room = room();
    for dir in ["root", "root/images", "root/images/blobs", "root/images/blobs/sha256", "root/images/.dock"] {
        let mode = fs::metadata(room.path(dir)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{dir}");
    }
}

#[test]
fn stdout_is_checked_and_a_closed_pipe_ends_a_list() {
    let room = room();
    for tool in [
        "img-ls",
        "img-ls --format table",
        "img-inspect base:1",
        "img-inspect --raw config base:1",
        "img-tag base:1 x",
        "img-rm x",
    ] {
        let ran = room.sh(&format!("{tool} >/dev/full"));
        assert_eq!(ran.code, 1, "{ran:?}");
        assert_eq!(ran.stderr.lines().count(), 1, "{ran:?}");
    }
    for n in 0..60 {
        room.sh(&format!("img-tag base:1 n:{n}")).ok();
    }
    let ran = room.sh("{ img-ls; echo $? >&2; } | head -n 1 >/dev/null");
    assert_eq!(ran.stderr, "0\n", "{ran:?}");
}

#[test]
fn many_writers_lose_nothing() {
    let room = room();
    let script = "for n in 1 2 3 4 5 6 7 8; do img-append --base base:1 -c \"ENV N=$n\" -t w:$n >/dev/null & done; \
                  for n in 1 2 3 4; do img-tag base:1 t:$n >/dev/null & done; wait";
    room.sh(script).ok();
    assert_eq!(room.sh("img-ls | wc -l").ok(), "13");
    sound(&room);
}

#[test]
fn an_ordinary_user_has_a_store_too() {
    needs!(root);
    let room = Room::of_user(65534);
    room.sh("echo x >x && tar -c x | img-append --base scratch --layer - -t mine").ok();
    sound(&room);
    assert_eq!(room.sh("img-rm mine | head -1").ok(), "Untagged: mine:latest");
}

#[test]
fn prune_all_takes_what_no_container_uses_in_dockers_words() {
    let room = room();
    room.sh("img-append --base base:1 -c 'LABEL keep=1' --created 2020-01-01T00:00:00Z -t old").ok();
    room.sh("img-append --base base:1 -c 'ENV A=1' -t used && img-append --base base:1 -c 'ENV A=2' -t free").ok();
    let id = room.sh("img-ls -q --no-trunc used").ok();
    let container = "c".repeat(64);
    let meta = format!(
        r#"{{"id":"{container}","name":"n","imageID":"{id}","created":"2026-01-01T00:00:00Z","command":["x"]}}"#
    );
    room.write(&format!("root/containers/{container}/container.json"), meta);
    // Without an answer, and with no, nothing happens.
    for answer in ["</dev/null", "<<E\nn\nE"] {
        let said = room.sh(&format!("dock image prune -a {answer}")).ok();
        assert!(said.starts_with("WARNING! This will remove all images without at least one container"), "{said}");
        assert_eq!(room.sh("img-ls -q").ok().lines().count(), 4);
    }
    assert_eq!(room.sh("dock image prune -f").ok(), "Total reclaimed space: 0B", "all have names");
    let names = || room.sh("img-ls | grep -o '\"ref\":\"[^\"]*\"' | sort | tr -d '\\n'").ok();
    let before = names();
    room.sh("dock image prune -af --filter label=nobody").ok();
    room.sh("dock image prune -af --filter label!=nobody --filter until=2019-01-01").ok();
    assert_eq!(names(), before);
    let said = room.sh("dock image prune -af --filter until=24h").ok();
    assert!(said.starts_with("Deleted Images:\nuntagged: old:latest\ndeleted: sha256:"), "{said}");
    let said = room.sh("dock image prune --all --force").ok();
    assert!(said.contains("untagged: base:1\n") && said.contains("untagged: free:latest\n"), "{said}");
    assert!(!said.contains("used"), "{said}");
    assert_eq!(names(), "\"ref\":\"docker.io/library/used:latest\"");
    sound(&room);
    room.sh("dock image prune -f --filter size=1").fails(2, "invalid filter");
    room.sh("dock image prune x").fails_with_help(1, "accepts no arguments");
    room.sh("dock prune").fails(1, "unknown command: dock prune");
    assert_eq!(
        Room::new().sh("dock image prune -f").ok(),
        "Total reclaimed space: 0B",
        "a store that is not there yet"
    );
}

trait WithHelp {
    fn fails_with_help(self, code: i32, part: &str);
}

impl WithHelp for Ran {
    /// Docker's second line: where the help is.
    #[track_caller]
    fn fails_with_help(self, code: i32, part: &str) {
        assert!(self.code == code && self.stderr.contains(part) && self.stderr.contains("--help'."), "{self:#?}");
    }
}

fn unpacked(room: &Room) -> usize {
    fs::read_dir(room.path("root/layers/sha256")).map_or(0, Iterator::count)
}

#[test]
fn unpacked_layers_go_with_their_last_user() {
    needs!(root);
    let room = room();
    room.sh("printf x >tree/x && tar -C tree -c x | img-append --base base:1 --layer - -t top:1").ok();
    room.sh("img-unpack --overlay top:1 box && img-unpack --overlay base:1 root/containers/c").ok();
    assert_eq!(unpacked(&room), 2);
    assert_eq!(fs::read_dir(room.path("root/layers/users")).unwrap().count(), 1, "a container needs no note");
    // The images go, their bundles do not.
    room.sh("img-rm -f top:1 base:1").ok();
    assert_eq!((blobs(&room).len(), unpacked(&room)), (0, 2));
    room.sh("test -e box/rootfs && cat root/layers/sha256/*/etc/motd").ok();
    // Another layout does not know whose layers these are.
    room.sh("rm -rf box && img-append --layout other --base scratch --layer tree.tar -t x && img-rm --layout other x")
        .ok();
    assert_eq!(unpacked(&room), 2);
    let said = room.sh("img-rm --prune").ok();
    assert!(said.starts_with("Total reclaimed space: ") && !said.ends_with(" 0B"), "{said}");
    assert_eq!(unpacked(&room), 1, "the container's");
    room.sh("rm -rf root/containers/c && img-rm --prune").ok();
    assert_eq!(unpacked(&room), 0);
    // Layers of an image stay for the next container; an unpack that fails leaves no note.
    room.sh("img-append --base scratch --layer tree.tar -t base:1 && img-unpack --overlay base:1 box && rm -r box")
        .ok();
    room.sh("img-append --base scratch --layer tree.tar -c 'USER nobody' -t bad && img-unpack --overlay bad box")
        .fails(1, "nobody");
    room.sh("img-rm --prune").ok();
    assert_eq!(unpacked(&room), 1);
    assert_eq!(fs::read_dir(room.path("root/layers/users")).unwrap().count(), 0);
}

/// Unpacking and removing at once: every bundle that was made has its layers.
#[test]
fn no_bundle_loses_its_layers_to_a_removal() {
    needs!(root);
    let room = room();
    // No image of the root's has the layer: only its bundles keep it.
    room.sh("cp -r root/images images && img-rm base:1").ok();
    room.sh("(while [ ! -e stop ]; do img-rm --prune >/dev/null; done) & sweeper=$!
         for i in $(seq 40); do
             img-unpack --overlay --layout images base:1 box$i >/dev/null || { echo unpack; break; }
             for dir in $(grep -o '\"lower\":\\[[^]]*' box$i/bundle.json | grep -o '/[^\"]*'); do
                 cat $dir/etc/motd >/dev/null || { echo lost; break 2; }
             done
             [ $((i % 3)) = 0 ] || rm -rf box$i
         done >bad 2>&1; : >stop; wait $sweeper; ! grep . bad")
        .ok();
    room.sh("rm -rf box* && img-rm --prune").ok();
    assert_eq!(unpacked(&room), 0);
}

/// A printed digest is a promise: between layer-diff and img-append nobody collects the layer.
#[test]
fn a_layer_that_was_printed_waits_for_its_image() {
    let room = room();
    room.sh("mkdir new && cp -r tree new/rootfs && echo y >new/rootfs/y").ok();
    room.sh("layer-diff --layout root/images tree new/rootfs >layer.json && img-rm --prune && img-rm --prune").ok();
    assert_eq!(blobs(&room).len(), 4);
    sound(&room);
    room.sh("img-fsck --strict && img-append --base base:1 --layers-from layer.json -t with").ok();
    assert_eq!(fs::read_dir(room.path("root/images/.dock/leases")).unwrap().count(), 0, "released");
    room.sh("img-rm with").ok();
    assert_eq!(blobs(&room).len(), 3, "nothing is kept twice");
    // Whoever never comes back has a day.
    room.sh("layer-diff --layout root/images tree new/rootfs >layer.json && touch -d '25 hours ago' root/images/.dock/leases/*").ok();
    room.sh("img-rm --prune").ok();
    assert_eq!(blobs(&room).len(), 3);
    assert_eq!(fs::read_dir(room.path("root/images/.dock/leases")).unwrap().count(), 0);
    room.sh("img-append --base base:1 --layers-from layer.json -t with").fails(1, "no such blob in the layout");
}

/// Writers of every kind beside a collector that never rests: what a writer has printed is whole.
#[test]
fn a_collector_beside_writers_takes_nothing_that_is_theirs() {
    let room = room();
    room.sh("img-append --base base:1 -c 'ENV A=1' -t other && img-save other >other.tar && img-rm other").ok();
    room.sh("mkdir new && cp -r tree new/rootfs && echo y >new/rootfs/y").ok();
    room.sh("(while [ ! -e stop ]; do img-rm --prune >/dev/null 2>&1; done) & sweeper=$!
         (for i in $(seq 25); do img-load -i other.tar && img-save other >/dev/null && img-rm other || echo load; done >load.out 2>&1) & load=$!
         (for i in $(seq 25); do img-append --base base:1 --layer tree.tar -c \"ENV N=$i\" -t n$i >/dev/null && img-save n$i >/dev/null || echo append; done >append.out 2>&1) & append=$!
         for i in $(seq 25); do
             layer-diff --layout root/images tree new/rootfs | img-append --base base:1 --layers-from - -c \"ENV D=$i\" -t d$i >/dev/null && img-save d$i >/dev/null && img-rm d$i >/dev/null || echo diff
         done >diff.out 2>&1
         wait $load $append; : >stop; wait $sweeper
         ! grep -hE '^(load|append|diff)$' *.out")
        .ok();
    sound(&room);
    assert_eq!(room.sh("img-ls -q").ok().lines().count(), 26);
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

/// A pull that has stored blobs and named nothing yet is not robbed by a removal.
#[test]
fn a_collector_beside_pulls_takes_nothing_that_is_theirs() {
    needs!("docker-registry");
    let room = room();
    let registry = dock_tests::registry::Registry::start();
    let name = format!("{}/base:1", registry.host());
    room.sh(&format!("img-tag base:1 {name} && img-push {name} >/dev/null && img-rm {name} base:1 >/dev/null")).ok();
    room.sh(&format!(
        "(while [ ! -e stop ]; do img-rm --prune >/dev/null 2>&1; done) & sweeper=$!
         for i in $(seq 15); do
             img-pull {name} | img-save >/dev/null && img-rm {name} >/dev/null || echo pull
         done >out 2>&1; : >stop; wait $sweeper; ! grep -x pull out"
    ))
    .ok();
    // The last removal may have left its blobs to a collector that had already looked.
    room.sh("img-rm --prune").ok();
    sound(&room);
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

//! img-append: images out of layers, and what of another image stays in the new one.

use crate::{blob, blobs, config, index, json, lines, manifest, room, sound};
use dock_tests::needs;
use std::fs;

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

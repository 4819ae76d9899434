//! Names: found, given, moved, taken away, listed.

use crate::{blobs, index, json, lines, manifest, room, sound};
use dock_tests::Room;
use serde_json::Value;

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

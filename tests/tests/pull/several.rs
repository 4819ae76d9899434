//! Several references at once, what is printed of them, and what is only planned.

use crate::{clean, record};
use dock_tests::liar::{Honest, Liar, reply};
use dock_tests::registry::Registry;
use dock_tests::{Room, needs};
use serde_json::json;

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

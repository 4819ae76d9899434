//! img-push against a real registry, plain, with passwords and with TLS, and against one that cuts and lies.

use dock_tests::liar::{Liar, reply};
use dock_tests::registry::Registry;
use dock_tests::{Room, needs};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

fn record(line: &str) -> Value {
    serde_json::from_str(line).expect(line)
}

/// A layout `l` with the layered image under the name at `host`.
fn image(room: &Room, host: &str, name: &str) -> String {
    let from = Registry::start();
    room.push_layered(&from.host(), "app:1");
    let id = record(&room.sh(&format!("img-pull --layout l {}/app:1", from.host())).ok());
    room.sh(&format!("img-tag --layout l {}/app:1 {host}/{name}", from.host())).ok();
    room.sh(&format!("img-rm --layout l {}/app:1", from.host())).ok();
    id["descriptor"]["digest"].as_str().unwrap().to_owned()
}

#[test]
fn what_is_pushed_comes_back_byte_for_byte() {
    needs!("docker-registry", "skopeo", "umoci");
    let (room, to) = (Room::new(), Registry::start());
    let host = to.host();
    let digest = image(&room, &host, "team/app:2");
    let said = record(&room.sh(&format!("img-push --layout l {host}/team/app:2")).ok());
    assert_eq!(
        (&said["ref"], &said["descriptor"]["digest"]),
        (&format!("{host}/team/app:2").into(), &digest.clone().into())
    );
    let seen = record(
        &room.sh(&format!("skopeo inspect --tls-verify=false docker://{host}/team/app:2")).ok().replace('\n', " "),
    );
    assert_eq!(seen["Digest"], digest.as_str());
    room.sh(&format!(
        "img-pull --layout back {host}/team/app:2 && diff -r l/blobs back/blobs && img-fsck --strict back"
    ))
    .ok();
    // By an ID to elsewhere, and in a pipe.
    room.sh(&format!("img-push --layout l --to {host}/other:x {host}/team/app:2 | img-push --to {host}/third")).ok();
    room.sh(&format!("skopeo inspect --tls-verify=false docker://{host}/other:x && skopeo inspect --tls-verify=false docker://{host}/third:latest")).ok();
}

#[test]
fn the_lines_of_docker_push_and_what_is_there_is_not_sent() {
    needs!("docker-registry", "skopeo", "umoci");
    let (room, to) = (Room::new(), Registry::start());
    let host = to.host();
    let digest = image(&room, &host, "app:2");
    let push = format!("img-push --layout l --format docker {host}/app:2");
    let first = room.sh(&push).ok();
    let lines: Vec<&str> = first.lines().collect();
    assert_eq!(lines[0], format!("The push refers to repository [{host}/app]"));
    assert!(
        lines.len() == 5 && lines[1..4].iter().all(|line| line.len() == 20 && line.ends_with(": Pushed")),
        "{first}"
    );
    let size = room.sh(&format!("stat -c %s l/blobs/sha256/{}", &digest[7..])).ok();
    assert_eq!(lines[4], format!("2: digest: {digest} size: {size}"));
    let again = room.sh(&push).ok();
    assert_eq!(again.matches(": Layer already exists\n").count(), 3, "{again}");
    // The layers are known to be beside: nothing is sent, the registry mounts them.
    room.sh(&format!("img-tag --layout l {host}/app:2 {host}/team/copy:1")).ok();
    let mounted = room.sh(&format!("img-push --layout l --format docker {host}/team/copy:1")).ok();
    assert_eq!(mounted.matches(": Mounted from app\n").count(), 3, "{mounted}");
    room.sh(&format!("img-pull --layout back {host}/team/copy:1 && diff -r l/blobs back/blobs")).ok();
    assert_eq!(room.sh(&format!("{push} -q")).ok(), format!("{host}/app:2"));
    room.sh(&format!("img-tag --layout l {host}/app:2 {host}/bare")).ok();
    let bare = room.sh(&format!("img-push --layout l --format docker {host}/bare")).ok();
    assert!(bare.starts_with("Using default tag: latest\nThe push refers to repository ["), "{bare}");
}

/// A layout of somebody else's, or on a read-only medium: who pushes writes nothing.
#[test]
fn a_layout_that_may_only_be_read_is_pushed() {
    needs!(root, "docker-registry");
    let (room, registry) = (Room::new(), Registry::start());
    let host = registry.host();
    image(&room, &host, "app:1");
    let reader = "setpriv --reuid 65534 --regid 65534 --clear-groups";
    room.sh(&format!("chmod -R a+rX . && {reader} img-push --layout l --to {host}/copy:1 {host}/app:1")).ok();
    room.sh(&format!("img-pull --layout copy {host}/copy:1 && img-fsck --strict copy")).ok();
}

#[test]
fn all_tags_and_names_that_are_not_there() {
    needs!("docker-registry", "skopeo", "umoci");
    let (room, to) = (Room::new(), Registry::start());
    let host = to.host();
    image(&room, &host, "app:2");
    room.sh(&format!("img-tag --layout l {host}/app:2 {host}/app:3; img-tag --layout l {host}/app:2 {host}/no:4")).ok();
    room.sh(&format!("img-push --layout l -a {host}/app")).ok();
    let tags =
        record(&room.sh(&format!("skopeo list-tags --tls-verify=false docker://{host}/app")).ok().replace('\n', " "));
    assert!(tags["Tags"] == json!(["2", "3"]) || tags["Tags"] == json!(["3", "2"]), "{tags}");
    room.sh(&format!("img-push --layout l -a {host}/app:2")).fails(2, "tag can't be used with --all-tags/-a");
    room.sh(&format!("img-push --layout l --format docker {host}/none"))
        .fails(1, &format!("An image does not exist locally with the tag: {host}/none"));
    // One that fails does not stop the others.
    room.sh(&format!("img-tag --layout l {host}/app:2 127.0.0.1:1/x:1")).ok();
    let ran = room.sh(&format!("img-push --layout l 127.0.0.1:1/x:1 {host}/app:2"));
    assert!(ran.code == 1 && ran.stderr.ends_with("img-push: 1 of 2 images were not pushed\n"), "{ran:#?}");
    assert_eq!(record(&ran.stdout)["ref"], format!("{host}/app:2"));
}

#[test]
fn dock_push_says_what_docker_says() {
    needs!("docker-registry", "skopeo", "umoci", "busybox");
    let (room, to) = (Room::new(), Registry::start());
    let host = to.host();
    image(&room, &host, "app:2");
    room.sh("mkdir -p root && mv l root/images").ok();
    for shell in ["dash", "busybox sh"] {
        let said = room.command(shell, &format!("dock push {host}/app:2")).ok();
        assert!(said.starts_with(&format!("The push refers to repository [{host}/app]\n")), "{said}");
        assert!(said.lines().last().unwrap().starts_with("2: digest: sha256:"), "{said}");
    }
    room.sh(&format!("dock push {host}/app:5")).fails(1, "An image does not exist locally with the tag: ");
}

#[test]
fn chunks_make_the_same_blobs() {
    needs!("docker-registry", "skopeo", "umoci");
    let (room, to) = (Room::new(), Registry::start());
    let host = to.host();
    image(&room, &host, "app:2");
    room.sh(&format!("img-push --layout l --chunk-size 100 {host}/app:2")).ok();
    room.sh(&format!("img-pull --layout back {host}/app:2 && diff -r l/blobs back/blobs")).ok();
}

#[test]
fn an_index_goes_up_with_all_its_manifests() {
    needs!("docker-registry", "skopeo", "umoci");
    let (room, to) = (Room::new(), Registry::start());
    let host = to.host();
    let digest = image(&room, &host, "app:2");
    room.sh(&format!(
        r#"cd l; size=$(stat -c %s blobs/sha256/{hex}); t=application/vnd.oci.image
        printf '{{"schemaVersion":2,"mediaType":"%s.index.v1+json","manifests":[{{"mediaType":"%s.manifest.v1+json","digest":"{digest}","size":%s,"platform":{{"os":"linux","architecture":"amd64"}}}}]}}' $t $t $size >../index
        d=$(sha256sum <../index | cut -c1-64); cp ../index blobs/sha256/$d
        printf '{{"schemaVersion":2,"manifests":[{{"mediaType":"%s.index.v1+json","digest":"sha256:%s","size":%s,"annotations":{{"org.opencontainers.image.ref.name":"{host}/multi:1"}}}}]}}' $t $d $(stat -c %s ../index) >index.json"#,
        hex = &digest[7..],
    ))
    .ok();
    room.sh(&format!("img-push --layout l {host}/multi:1 && skopeo inspect --raw --tls-verify=false docker://{host}/multi:1 | cmp - index")).ok();
    room.sh(&format!("img-pull --platform linux/amd64 --layout back {host}/multi:1 && img-fsck back")).ok();
    // A manifest that nobody has.
    room.sh(&format!("rm l/blobs/sha256/{}", &digest[7..])).ok();
    room.sh(&format!("img-push --layout l --to {host}/elsewhere:1 {host}/multi:1"))
        .fails(1, "neither the layout nor the registry has it");
}

#[test]
fn a_registry_with_passwords() {
    needs!("docker-registry", "skopeo", "umoci");
    let room = Room::new();
    let to = Registry::with_password(&room);
    let host = to.host();
    image(&room, &host, "app:2");
    room.sh(&format!("img-push --layout l {host}/app:2")).fails(1, "wants a user and a password");
    // me:wrong
    room.write(".docker/config.json", format!(r#"{{"auths":{{"{host}":{{"auth":"bWU6d3Jvbmc="}}}}}}"#));
    room.sh(&format!("img-push --layout l {host}/app:2")).fails(1, "Unauthorized: log in");
    room.write(".docker/config.json", format!(r#"{{"auths":{{"{host}":{{"auth":"bWU6c2VjcmV0"}}}}}}"#));
    room.sh(&format!(
        "img-push --layout l {host}/app:2 && img-pull --layout back {host}/app:2 && diff -r l/blobs back/blobs"
    ))
    .ok();
}

#[test]
fn tls_with_a_private_authority() {
    needs!("docker-registry", "skopeo", "umoci", "openssl");
    let room = Room::new();
    let to = room.registry_of_own_authority();
    let host = to.host();
    image(&room, &host, "app:2");
    room.sh(&format!("SSL_CERT_FILE=ca.pem img-push --layout l {host}/app:2")).ok();
    room.sh(&format!("SSL_CERT_FILE=ca.pem img-pull --layout back {host}/app:2 && diff -r l/blobs back/blobs")).ok();
    room.sh(&format!("img-push --layout l {host}/app:2")).fails(1, "UnknownIssuer");
}

/// A registry says how small a chunk may be (distribution-spec, "Pushing a blob in chunks").
#[test]
fn no_chunk_is_smaller_than_the_registry_wants() {
    let room = Room::new();
    let liar = Liar::start(|head, _| match head.split(' ').next().unwrap() {
        "head" => reply("404 Not Found", &[], b""),
        "post" => {
            let place = [("Location", "/v2/app/blobs/uploads/one"), ("OCI-Chunk-Min-Length", "4096")];
            reply("202 Accepted", &place, b"")
        }
        "patch" => reply("202 Accepted", &[("Location", "/v2/app/blobs/uploads/one")], b""),
        _ => reply("201 Created", &[], b""),
    });
    room.sh("head -c 10240 /dev/urandom >f && tar -cf t.tar f && img-append --layout l --base scratch --layer t.tar --tag made").ok();
    room.sh(&format!("img-push --layout l --chunk-size 5000 --to {}/app:1 made", liar.host())).ok();
    room.sh(&format!("img-push --layout l --chunk-size 100 --to {}/app:2 made", liar.host())).ok();
    let ranges: Vec<String> = liar
        .seen()
        .iter()
        .filter_map(|head| Some(head.split("\r\ncontent-range: ").nth(1)?.split("\r\n").next()?.to_owned()))
        .collect();
    let starts: Vec<&str> = ranges.iter().map(String::as_str).filter(|range| !range.starts_with("10")).collect();
    assert_eq!(starts[..2], ["0-4999", "5000-9999"], "{ranges:?}");
    assert!(starts[2..].starts_with(&["0-4095", "4096-8191"]) && ranges.len() == 6, "{ranges:?}");
}

/// A registry that takes `part` bytes of the first request with a blob, and cuts the line. It says how far it is.
#[test]
fn a_cut_upload_goes_on_where_the_registry_stands() {
    needs!("docker-registry", "skopeo", "umoci");
    let room = Room::new();
    let cuts = Arc::new(AtomicUsize::new(0));
    let got = Arc::new(Mutex::new(Vec::new()));
    let liar = Liar::start({
        let (cuts, got) = (Arc::clone(&cuts), Arc::clone(&got));
        move |head, _| {
            let path = head.split(' ').nth(1).unwrap_or_default();
            let place = [("Location", "/v2/app/blobs/uploads/one?_state=x"), ("Range", "0-4")];
            if head.starts_with("head ") {
                return reply("404 Not Found", &[], b"");
            }
            if head.starts_with("post ") {
                return reply("202 Accepted", &place[..1], b"");
            }
            if head.starts_with("get ") && path.contains("/uploads/") {
                return reply("204 No Content", &place, b"");
            }
            if head.starts_with("patch ") {
                got.lock().unwrap().push(head.to_owned());
                return reply("202 Accepted", &place[..1], b"");
            }
            if head.starts_with("put ") && path.contains("/blobs/") && cuts.fetch_add(1, Ordering::SeqCst) == 0 {
                return Vec::new();
            }
            reply("201 Created", &[], b"")
        }
    });
    let host = liar.host();
    room.sh("mkdir t && echo x >t/x && tar -C t -cf t.tar . && img-append --layout l --base scratch --layer t.tar --tag made").ok();
    room.sh(&format!("img-push --layout l --to {host}/app:1 made")).ok();
    let got = got.lock().unwrap();
    assert_eq!(got.len(), 1, "{:#?}", liar.seen());
    assert!(got[0].contains("\r\ncontent-range: 5-"), "only what is missing: {}", got[0]);
}

/// Where an upload goes is the registry's word; that we are somebody there is not (CVE-2020-15157 and its kin).
#[test]
fn an_upload_elsewhere_gets_no_credentials() {
    needs!("docker-registry", "skopeo", "umoci");
    let room = Room::new();
    let store = Liar::start(|_, _| reply("201 Created", &[], b""));
    let registry = Liar::start({
        let store = store.host();
        move |head, _| {
            if !head.contains("\r\nauthorization: basic bwu6c2vjcmv0\r\n") {
                return reply("401 Unauthorized", &[("WWW-Authenticate", "Basic realm=\"r\"")], b"");
            }
            match head.split(' ').next().unwrap() {
                "head" => reply("404 Not Found", &[], b""),
                "post" => reply("202 Accepted", &[("Location", &format!("http://{store}/put?x=y"))], b""),
                _ => reply("201 Created", &[], b""),
            }
        }
    });
    let host = registry.host();
    room.write(".docker/config.json", format!(r#"{{"auths":{{"{host}":{{"auth":"bWU6c2VjcmV0"}}}}}}"#));
    room.sh("mkdir t && echo x >t/x && tar -C t -cf t.tar . && img-append --layout l --base scratch --layer t.tar --tag made").ok();
    room.sh(&format!("img-push --layout l --to {host}/app:1 made")).ok();
    let seen = store.seen();
    assert_eq!(seen.len(), 2, "layer and configuration: {seen:#?}");
    assert!(
        seen.iter().all(|head| head.starts_with("put /put?x=y&digest=sha256") && !head.contains("authorization")),
        "{seen:#?}"
    );
}

#[test]
fn refusals_are_one_line() {
    needs!("docker-registry", "skopeo", "umoci");
    let room = Room::new();
    room.sh("mkdir t && echo x >t/x && tar -C t -cf t.tar . && img-append --layout l --base scratch --layer t.tar --tag made").ok();
    let other = format!("sha256:{}", "a".repeat(64));
    for (put, error) in [
        (
            reply("400 Bad Request", &[], br#"{"errors":[{"code":"MANIFEST_INVALID","message":"no"}]}"#),
            "400 MANIFEST_INVALID: no",
        ),
        (reply("201 Created", &[("Docker-Content-Digest", &other)], b""), "the registry calls it sha256:aaaa"),
        (reply("307 Temporary Redirect", &[("Location", "http://192.0.2.1/")], b""), "what we send is not sent on"),
        (reply("403 Forbidden", &[], b""), "Forbidden"),
        (reply("500 Internal Server Error", &[("Retry-After", "0")], b""), "500"),
    ] {
        let liar = Liar::start(move |head, _| match head.starts_with("put ") {
            true => put.clone(),
            false => reply("200 OK", &[], b""),
        });
        let ran = room.sh(&format!("img-push --layout l --to {}/app:1 made", liar.host()));
        assert_eq!(ran.stdout, "");
        ran.fails(1, error);
    }
    room.sh(&format!("img-push --layout l --to 127.0.0.1:1/a@{other} made")).fails(1, "pins another digest");
    room.sh("img-push --layout l --chunk-size 0 made").fails(2, "chunk-size");
}

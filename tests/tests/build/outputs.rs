//! Where a build goes: directories, archives, registries, several platforms.

use super::files;
use dock_tests::registry::Registry;
use dock_tests::{Room, needs};
use serde_json::{Value, json};

#[test]
fn outputs() {
    needs!(root, "tar", "skopeo", "umoci", "podman", "runc");
    let room = Room::new();
    room.write("ctx/f", "f");
    room.write("ctx/Dockerfile", "FROM scratch\nCOPY --chown=7:8 --chmod=4750 f /d/\nLABEL a=1\n");
    room.write("old/d/f", "old");
    room.write("old/kept", "kept");
    room.sh("dfile-build -q -o old ctx && dfile-build -q -o - ctx >out.tar && dfile-build -q --output type=tar,dest=file.tar ctx").ok();
    assert_eq!(files(&room, "old"), "d/f kept");
    assert_eq!(room.sh("cat old/d/f; stat -c '%u %a' old/d/f").ok(), "f0 4750");
    assert_eq!(room.sh("tar -tf out.tar | grep -v '/$'; cmp out.tar file.tar && tar -tvf file.tar --numeric-owner d/f | cut -d' ' -f1-2").ok(), "d/f\n-rwsr-x--- 7/8");
    assert_eq!(room.sh("img-ls").ok(), "", "an output is not in the store");
    room.sh(
        "dfile-build -q -t one -o type=oci,dest=o.tar -o type=docker,dest=d.tar -o type=oci,tar=false,dest=lay ctx",
    )
    .ok();
    assert_eq!(room.sh("img-ls").ok(), "");
    let labels = |what: &str| room.sh(&format!("skopeo inspect --config {what} | jq -c .config.Labels")).ok();
    assert_eq!(labels("oci-archive:o.tar"), "{\"a\":\"1\"}");
    assert_eq!(labels("docker-archive:d.tar:docker.io/library/one:latest"), "{\"a\":\"1\"}");
    assert_eq!(labels("oci:lay:docker.io/library/one:latest"), "{\"a\":\"1\"}");
    room.sh("umoci unpack --image lay:docker.io/library/one:latest unpacked").ok();
    assert_eq!(room.sh("stat -c '%u %g %a' unpacked/rootfs/d/f").ok(), "7 8 4750");
    let podman = room.podman();
    for archive in ["o.tar", "d.tar"] {
        room.sh(&format!("{podman} load -q -i {archive}")).ok();
        let labels = format!("{podman} image inspect -f '{{{{.Labels}}}}' one && {podman} rmi -f one >/dev/null");
        assert_eq!(room.sh(&labels).ok(), "map[a:1]", "{archive}");
    }
    let record = room
        .sh("dfile-build -q -t x:1 -t y --label b=2 --label a=0 --iidfile id --metadata-file meta -o type=image,name=z ctx")
        .ok();
    assert_eq!(record.lines().count(), 3, "{record}");
    let meta: Value = serde_json::from_str(&room.sh("cat meta").ok()).unwrap();
    let first: Value = serde_json::from_str(record.lines().next().unwrap()).unwrap();
    assert_eq!(meta["containerimage.digest"], first["descriptor"]["digest"]);
    assert_eq!(meta["containerimage.config.digest"], json!(room.sh("cat id").ok()));
    assert_eq!(meta["image.name"], "docker.io/library/x:1,docker.io/library/y:latest,docker.io/library/z:latest");
    let config: Value = serde_json::from_str(&room.sh("img-inspect z").ok()).unwrap();
    assert_eq!(config["Config"]["Labels"], json!({"a": "0", "b": "2"}));
    assert_eq!(room.sh("img-inspect --history z").ok().matches("LABEL").count(), 1, "only the file's own");
    room.sh("dfile-build -q -o type=local ctx").fails(2, "type=local needs dest=DIR");
    room.sh("dfile-build -q -o /dev/null/x ctx").fails(1, "--output: /dev/null/x");
}

#[test]
fn another_platform() {
    needs!(root);
    let room = Room::new();
    room.write("ctx/Dockerfile", "FROM scratch\nARG TARGETPLATFORM\nARG BUILDOS\nLABEL p=$TARGETPLATFORM/$BUILDOS\n");
    room.sh("dfile-build -q -t it --platform linux/arm64 ctx").ok();
    let shown: Value = serde_json::from_str(&room.sh("img-inspect it").ok()).unwrap();
    assert_eq!(
        (&shown["Architecture"], &shown["Config"]["Labels"]["p"]),
        (&json!("arm64"), &json!("linux/arm64/linux"))
    );
    // What is in the cache of one machine is not the other's.
    room.write("same/Dockerfile", "FROM scratch\nCOPY Dockerfile /\n");
    for platform in ["amd64", "arm64"] {
        room.sh(&format!("dfile-build -q -t it --platform linux/{platform} same")).ok();
        assert_eq!(room.sh("img-inspect --format '{{.Architecture}}' it").ok(), platform);
    }
}

/// Straight to a registry, and what skopeo finds there; an annotation does not change the image ID.
#[test]
fn outputs_to_a_registry() {
    needs!(root, "skopeo", "docker-registry", "jq");
    let room = Room::new();
    let registry = Registry::start();
    let host = registry.host();
    room.write("ctx/f", "f");
    room.write("ctx/Dockerfile", "FROM scratch\nCOPY f /\n");
    let raw = |name: &str, filter: &str| {
        room.sh(&format!("skopeo inspect --raw --tls-verify=false docker://{host}/{name} | jq -c '{filter}'")).ok()
    };
    room.sh("dfile-build -q --iidfile plain ctx").ok();
    let options = "--annotation b=2 --annotation manifest:a=1=1 --iidfile id --metadata-file meta";
    room.sh(&format!("dfile-build -q -t {host}/app:1 --push {options} ctx")).ok();
    assert_eq!(raw("app:1", ".annotations"), r#"{"a":"1=1","b":"2"}"#);
    assert_eq!(room.sh("cmp plain id && cat id").ok(), raw("app:1", ".config.digest").trim_matches('"'));
    let digest = room.sh("jq -r '.\"containerimage.digest\"' meta").ok();
    assert_eq!(
        room.sh(&format!("img-pull --raw {host}/app:1 | sha256sum | cut -d' ' -f1")).ok(),
        digest["sha256:".len()..]
    );
    room.sh(&format!("dfile-build -q -o type=image,name={host}/app:2,push=true ctx")).ok();
    room.sh(&format!("dfile-build -q -o type=registry,name={host}/app:3 ctx")).ok();
    room.sh("dfile-build -q --load -t kept ctx && img-inspect kept").ok();
    assert_eq!((raw("app:2", ".annotations"), raw("app:3", ".layers | length")), ("null".into(), "1".into()));
    room.sh("dfile-build -q --annotation index:a=b ctx")
        .fails(1, "index annotations not supported for single platform export");
    room.sh("dfile-build -q --annotation a ctx").fails(2, "want KEY=VALUE");
    room.sh("img-fsck").ok();
}

/// An index of images; what is not of this machine needs no emulator as long as nothing runs.
#[test]
fn several_platforms_are_one_name() {
    needs!(root, "skopeo", "docker-registry", "jq", "busybox");
    let room = Room::new();
    let registry = Registry::start();
    let host = registry.host();
    room.sh("mkdir ctx && cp $(command -v busybox) ctx/sh && echo mine >ctx/amd64 && echo other >ctx/s390x").ok();
    room.write(
        "ctx/Dockerfile",
        "FROM scratch\nARG TARGETARCH\nCOPY $TARGETARCH /f\nCOPY sh /bin/sh\nLABEL arch=$TARGETARCH\n",
    );
    let both = "--platform linux/amd64,linux/s390x,linux/amd64";
    room.sh(&format!("dfile-build -q -t {host}/two:1 --push {both} --annotation index:a=b --metadata-file meta ctx"))
        .ok();
    let raw = room.sh(&format!("skopeo inspect --raw --tls-verify=false docker://{host}/two:1")).ok();
    let index: Value = serde_json::from_str(&raw).unwrap();
    let platforms: Vec<&Value> =
        index["manifests"].as_array().unwrap().iter().map(|one| &one["platform"]["architecture"]).collect();
    assert_eq!((platforms, &index["annotations"]["a"]), (vec![&json!("amd64"), &json!("s390x")], &json!("b")));
    let arch = |from: &str, arch: &str| {
        room.sh(&format!("skopeo --override-arch {arch} inspect --config --tls-verify=false {from} | jq -r '[.architecture, .config.Labels.arch] | join(\" \")'")).ok()
    };
    assert_eq!(arch(&format!("docker://{host}/two:1"), "s390x"), "s390x s390x");
    room.sh(&format!("img-fsck && img-unpack --flat --platform linux/s390x {host}/two:1 box")).ok();
    assert_eq!(room.sh("cat box/rootfs/f").ok(), "other");
    room.sh(&format!(
        "dfile-build -q -t two {both} -o out -o type=oci,dest=two.tar -o type=oci,tar=false,dest=lay ctx"
    ))
    .ok();
    assert_eq!(room.sh("cat out/linux_amd64/f out/linux_s390x/f").ok(), "mine\nother");
    room.sh("tar -xOf two.tar index.json | jq -e '.manifests | length == 1' && img-fsck lay").ok();
    assert_eq!(arch("oci:lay:docker.io/library/two:latest", "s390x"), "s390x s390x");
    room.sh(&format!("dfile-build -q {both} -o type=docker,dest=x ctx"))
        .fails(2, "docker exporter does not currently support exporting manifest lists");
    // A base of another machine does not take the name, and is asked for once.
    room.write("ctx/Dockerfile", format!("FROM {host}/two:1\nCOPY amd64 /g\n"));
    let build = |room: &Room, options: &str| room.sh(&format!("dfile-build {options} ctx"));
    room.sh(&format!("img-rm -f {host}/two:1")).ok();
    build(&room, "--platform linux/s390x -t g").ok();
    assert_eq!(room.sh("img-inspect --format '{{.Architecture}}' g").ok(), "s390x");
    room.sh(&format!("img-inspect {host}/two:1")).fails(1, "two:1");
    build(&room, "").ok();
    assert_eq!(room.sh(&format!("img-inspect --format '{{{{.Architecture}}}}' {host}/two:1")).ok(), "amd64");
    drop(registry);
    build(&room, "--platform linux/s390x").ok();
    room.write("ctx/Dockerfile", format!("FROM {host}/two:1\nRUN true\n"));
    build(&room, "-q").ok();
    room.sh("img-fsck").ok();
}

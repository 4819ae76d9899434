//! The build of `examples/twelve-steps` on a real Debian: built by us, then run with the same configuration by
//! us, by dockerd and by podman.

use dock_tests::{Room, dockerd::Dockerd, needs, registry::Registry, top};
use serde_json::{Value, json};

/// A room in which `twelve` is built; None, after a counted skip, without a Debian.
fn built() -> Option<(Room, Registry, String)> {
    let (room, registry) = (Room::new(), Registry::start());
    let host = registry.host();
    if !room.push_debian(&host, "debian") {
        dock_tests::skip("no Debian could be bootstrapped");
        return None;
    }
    room.sh(&format!("cp -r {} ctx", top().join("examples/twelve-steps").display())).ok();
    let build = format!("dfile-build --build-arg BASE={host}/debian --build-arg VERSION=1.2 -t twelve ctx");
    room.sh(&build).ok();
    Some((room, registry, build))
}

/// What the Dockerfile says, as every engine must report it.
fn assert_config(config: &Value) {
    assert_eq!(config["User"], "app");
    assert_eq!(config["WorkingDir"], "/srv/app");
    assert_eq!(config["Entrypoint"], json!(["/usr/local/bin/greet"]));
    assert_eq!(config["Cmd"], json!(["from", "twelve", "steps"]));
    assert_eq!(config["StopSignal"], "SIGINT");
    assert_eq!(config["ExposedPorts"], json!({"8080/tcp": {}}));
    assert_eq!(config["Volumes"], json!({"/srv/state": {}}));
    assert_eq!(config["Labels"], json!({"org.opencontainers.image.title": "twelve steps", "maintainer": "nobody"}));
    let env: Vec<&str> = config["Env"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    for assignment in ["VERSION=1.2", "LANG=C.UTF-8", "GREETING=hello, world"] {
        assert!(env.contains(&assignment), "{env:?}");
    }
}

#[test]
fn builds_then_is_all_cached_and_equal_by_digest() {
    needs!(root, "docker-registry", "skopeo", "umoci", "debootstrap");
    let Some((room, _registry, build)) = built() else { return };
    let digest = |record: &str| serde_json::from_str::<Value>(record).unwrap()["descriptor"]["digest"].clone();
    let before = room.sh("img-ls twelve").ok();
    let again = room.sh(&build);
    assert_eq!(again.code, 0, "{again:?}");
    assert_eq!(digest(&again.stdout), digest(&before));
    assert!(again.stderr.matches("CACHED").count() >= 6, "{}", again.stderr);
    room.sh("img-fsck").ok();

    assert_eq!(room.sh("dock run --rm twelve").ok(), "greeter 1.2: from twelve steps");
    assert_eq!(room.sh("dock run --rm twelve hi").ok(), "greeter 1.2: hi");
    let seen = room.sh(
        "dock run --rm --entrypoint sh twelve -c 'id -un; pwd; cat main.txt log data/rows/a.csv; ls; stat -c %U data'",
    );
    assert_eq!(seen.ok(), "app\n/srv/app\nmain\nline 1\nline 2\nline 3\n1,2\ndata\nlog\nmain.txt\napp");
    let inspected: Value = serde_json::from_str(&room.sh("dock inspect twelve").ok()).unwrap();
    assert_config(&inspected[0]["Config"]);

    // A file of the context changes: what stands before its COPY stays cached, what comes after is built anew.
    room.write("ctx/src/main.txt", "changed\n");
    let changed = room.sh(&build);
    assert!(changed.stderr.contains("CACHED"), "{changed:?}");
    assert_ne!(digest(&changed.stdout), digest(&before));
    assert_eq!(room.sh("dock run --rm --entrypoint cat twelve main.txt").ok(), "changed");
}

#[test]
fn runs_in_dockerd_with_the_same_config() {
    needs!(root, "docker-registry", "skopeo", "umoci", "debootstrap", "dockerd", "docker");
    let Some((room, _registry, _)) = built() else { return };
    let Some(dockerd) = Dockerd::start(&room) else { return };
    room.sh("img-save -o twelve.tar twelve").ok();
    let archive = room.path("twelve.tar").display().to_string();
    dockerd.docker(&["load", "-i", &archive]).unwrap();
    let inspected = dockerd.docker(&["image", "inspect", "twelve"]).unwrap();
    let inspected: Value = serde_json::from_str(&inspected).unwrap();
    assert_config(&inspected[0]["Config"]);
    assert_eq!(inspected[0]["Config"]["Healthcheck"]["Test"], json!(["CMD-SHELL", "greet ok"]));
    let ours: Value = serde_json::from_str(&room.sh("img-inspect twelve").ok()).unwrap();
    assert_eq!(ours["Id"], inspected[0]["Id"], "the image ID is the same on both sides");
    let greeting = dockerd.docker(&["run", "--rm", "--network", "none", "twelve", "docker"]).unwrap();
    assert_eq!(greeting, "greeter 1.2: docker");
}

#[test]
fn runs_in_podman_with_the_same_config() {
    needs!(root, "docker-registry", "skopeo", "umoci", "debootstrap", "podman", "runc");
    let Some((room, _registry, _)) = built() else { return };
    let podman = room.podman();
    room.sh(&format!("img-save --format oci -o twelve.tar twelve && {podman} load -i twelve.tar")).ok();
    let inspected: Value = serde_json::from_str(&room.sh(&format!("{podman} image inspect twelve")).ok()).unwrap();
    let config = &inspected[0]["Config"];
    assert_eq!(config["Entrypoint"], json!(["/usr/local/bin/greet"]));
    assert_eq!(config["User"], "app");
    let run = format!("{podman} run --rm --network none --log-driver none twelve podman");
    assert_eq!(room.sh(&run).ok(), "greeter 1.2: podman");
    room.sh(&format!("{podman} rmi -f twelve >/dev/null")).ok();
}

//! A cache that is kept elsewhere: in a directory, in a registry, in the image itself.

use dock_tests::registry::Registry;
use dock_tests::{Room, needs};
use serde_json::Value;

const CACHED: &str = "FROM base AS one\nRUN date +%N >/1; echo >/0\nFROM base\nCOPY --from=one /1 /\nWORKDIR /w\nRUN date +%N >/2\nCMD [\"x\"]\n";

/// Another machine: a store with nothing but the base image.
fn another(room: &Room) {
    room.sh("[ -e base.tar ] || img-save -o base.tar base; rm -rf root && img-load -i base.tar").ok();
}

fn id(room: &Room) -> String {
    room.sh("img-inspect --format '{{.Id}}' it").ok()
}

#[test]
fn a_cache_that_is_kept_elsewhere() {
    needs!(root, "busybox");
    let room = Room::with_base();
    let text = "FROM base AS one\nRUN date +%N >/1\nFROM base\nCOPY --from=one /1 /\nWORKDIR /w\nRUN date +%N >/2\n";
    room.build(text, "--cache-to type=local,dest=kept");
    let digest = room.sh("img-inspect --format '{{.Id}}' it").ok();
    room.sh("img-fsck kept").ok();
    let moved = |room: &Room| {
        room.sh("rm -rf old; mv root old; dfile-build -q -t other base >/dev/null; img-save -o base.tar --layout old/images base && img-load -i base.tar").ok();
    };
    moved(&room);
    let out = room.build(text, "--cache-from type=local,src=kept --cache-from type=local,src=gone");
    assert_eq!(out.matches("DONE").count(), 0, "{out}");
    assert_eq!(room.sh("img-inspect --format '{{.Id}}' it").ok(), digest);
    room.sh("img-fsck").ok();
    // Of what was tampered with nothing is used, and nothing stays.
    moved(&room);
    room.sh("for f in kept/blobs/sha256/*; do head -c 2 $f | od -An -tx1 | grep -q '1f 8b' && printf '\\1' | dd of=$f bs=1 seek=20 conv=notrunc status=none; done; true").ok();
    let out = room.build(text, "--cache-from type=local,src=kept");
    assert!(out.matches("DONE").count() >= 3, "{out}");
    room.sh("img-fsck").ok();
    room.sh("dfile-build --cache-to type=gha ctx").fails(2, "type=gha is not supported");
}

#[test]
fn a_cache_in_a_registry() {
    needs!(root, "busybox", "docker-registry");
    let room = Room::with_base();
    let registry = Registry::start();
    let cache = format!("type=registry,ref={}/app/cache:main", registry.host());
    another(&room);
    room.build(CACHED, &format!("--cache-to {cache}"));
    let first = id(&room);
    another(&room);
    let out = room.build(CACHED, &format!("--cache-from {cache}"));
    assert_eq!((out.matches("DONE").count(), id(&room)), (0, first.clone()), "{out}");
    assert_eq!(room.sh("img-ls --format json | wc -l").ok(), "2", "a cache gives no names");
    room.sh("img-fsck").ok();
    // Docker's short form; what the steps read has changed.
    another(&room);
    let out = room.build(&CACHED.replace(">/2", ">/3"), &format!("--cache-from {}/app/cache:main", registry.host()));
    assert_eq!(out.matches("DONE").count(), 1, "{out}");
    // Of the image alone, without what it copied from.
    let min = format!("type=registry,ref={}/app/cache:min", registry.host());
    another(&room);
    room.build(CACHED, &format!("--cache-to {min},mode=min --cache-from {cache}"));
    let count = |tag: &str| -> Value {
        let index = room.sh(&format!("img-pull --raw {}/app/cache:{tag}", registry.host())).ok();
        serde_json::from_str::<Value>(&index).unwrap()["manifests"].as_array().unwrap().len().into()
    };
    assert!(count("min").as_u64() < count("main").as_u64(), "{} {}", count("min"), count("main"));
}

/// BuildKit's "inline" cache: the image that one machine pushed is the cache of the next, byte for byte.
#[test]
fn a_cache_in_the_image_itself() {
    needs!(root, "busybox", "docker-registry", "jq");
    let room = Room::with_base();
    let registry = Registry::start();
    let name = format!("{}/app:1", registry.host());
    // What is copied from the first stage is made again on each machine, and the same.
    let text = "FROM base AS one\nRUN echo 1 >/1; date +%N >/0\nFROM base\nRUN mkdir -m 777 /tmp\nENV A=b\nCOPY --from=one /1 /\nRUN date +%N >/2\nUSER 5\nRUN date +%N >/tmp/3\nCMD [\"x\"]\n";
    another(&room);
    room.build(text, "--cache-to type=inline");
    room.sh(&format!("img-push -q it --to {name}")).ok();
    let first = id(&room);
    let config = room.sh("img-inspect --raw config it | jq -c '.\"dev.dock.build.cache\" | map(.layers)'").ok();
    assert_eq!(config, "[5,6,7,8,8]", "each layer above the four of the base, and the end of the stage");
    // From our own store the same image comes out, and docker's way to ask is the same.
    assert_eq!(room.build(text, "--cache-to type=inline").matches("DONE").count(), 0);
    assert_eq!(id(&room), first);
    room.build(text, "--build-arg BUILDKIT_INLINE_CACHE=1");
    assert_eq!(id(&room), first);
    room.build(text, "");
    let plain = id(&room);
    assert_ne!(plain, first);
    // Another machine: all of the target's stage is there, the layers of others are not.
    another(&room);
    let out = room.build(text, &format!("--cache-from {name} --cache-to type=inline"));
    assert_eq!((out.matches("DONE").count(), id(&room)), (1, first.clone()), "{out}");
    another(&room);
    let out = room.build(text, &format!("--cache-from type=registry,ref={name} --target 1"));
    assert!(id(&room) == plain && out.contains("CACHED"), "{out}");
    another(&room);
    let out = room.build(&text.replace(">/2", ">/4"), &format!("--cache-from {name}"));
    assert_eq!(out.matches("DONE").count(), 3, "only what follows the change: {out}");
    // Whoever writes such an image cannot give a step other layers.
    let change = r#"{"dev.dock.build.cache": KEYS, "history": []}"#;
    let lie = "map(.layers = 3)";
    another(&room);
    room.sh(&format!("img-pull -q {name} && img-inspect --raw config {name} | jq -c '.\"dev.dock.build.cache\" | {lie}' >keys && img-append --base {name} --change-json \"$(echo '{change}' | sed \"s/KEYS/$(cat keys)/\")\" -t {name} && img-push {name}")).ok();
    another(&room);
    let out = room.build(text, &format!("--cache-from {name}"));
    assert!(out.matches("DONE").count() >= 3, "{out}");
    room.sh("img-fsck && dfile-build --cache-from type=inline ctx 2>&1 | grep 'name the image'").ok();
}

/// What is no cache, or not there, costs a warning and no build; what cannot be kept is an error.
#[test]
fn a_registry_without_a_cache() {
    needs!(root, "busybox", "docker-registry");
    let room = Room::with_base();
    let registry = Registry::start();
    let host = registry.host();
    room.sh(&format!("img-push base --to {host}/app:1")).ok();
    for (name, why) in [("app:1", "holds no build cache"), ("none:1", "none:1")] {
        let out = room.build("FROM base\nRUN true\n", &format!("--no-cache --cache-from {host}/{name}"));
        assert!(out.contains("warning: --cache-from") && out.contains(why), "{out}");
    }
    let refused = "localhost:1/none/cache";
    room.sh(&format!("DOCK_REGISTRY_TIMEOUT=2 dfile-build -q -t kept --cache-to type=registry,ref={refused} ctx"))
        .fails(1, "--cache-to");
    assert!(!room.sh("img-ls").stdout.contains("kept"), "an error gives no name");
    room.sh(&format!(
        "DOCK_REGISTRY_TIMEOUT=2 dfile-build -q --cache-to type=registry,ref={refused},ignore-error=true ctx"
    ))
    .ok();
}

/// Whoever can write to a cache may say that a key stands for another image: only one that stands on the image of the
/// step before it, and has its configuration, is taken. The bytes are those of their digests anyway.
#[test]
fn a_cache_elsewhere_that_was_tampered_with_is_not_used() {
    needs!(root, "busybox", "docker-registry", "jq");
    let room = Room::with_base();
    let registry = Registry::start();
    let cache = format!("{}/app/cache:main", registry.host());
    another(&room);
    let text = "FROM base\nRUN date +%N >/1\nRUN date +%N >/2\n";
    room.build(text, &format!("--cache-to type=registry,ref={cache} --cache-to type=local,dest=kept"));
    let first = id(&room);
    // Strangers: an image of another configuration, one that adds more than a layer, one that stands on another image.
    room.sh("echo evil >1 && tar -cf evil.tar 1 && echo more >2 && tar -cf more.tar 2").ok();
    let other = "cp -r base other && printf x >>other/busybox && dfile-build -q -t other other >/dev/null";
    for (name, make) in [
        ("config", "img-append --base base --layer evil.tar -c 'ENV PATH=/evil'".to_owned()),
        ("layers", "img-append --base base --layer evil.tar --layer more.tar".to_owned()),
        ("base", format!("{other} && img-append --base other --layer evil.tar")),
    ] {
        room.sh(&format!("rm -rf tampered && cp -a kept tampered && {make} -t evil-{name} >/dev/null && img-save --format oci evil-{name} | img-load --layout tampered")).ok();
        room.sh("cd tampered && jq -c '(.manifests[] | select(.annotations[\"org.opencontainers.image.ref.name\"] | test(\"evil\"))) as $evil
            | .manifests |= map(if .annotations[\"org.opencontainers.image.ref.name\"] | startswith(\"build-\") then $evil + {annotations} else . end)' index.json >i && mv i index.json")
        .ok();
        another(&room);
        let out = room.build(text, "--cache-from type=local,src=tampered");
        assert_eq!(out.matches("DONE").count(), 2, "{name}: {out}");
        assert_ne!(id(&room), first);
        assert_eq!(room.sh("ls root/images/.dock/pins | grep -c incoming").stdout, "0\n");
    }
    // In the registry a blob changes, and nothing hashes to its digest any more.
    another(&room);
    registry.damage_layers();
    let out = room.build(text, &format!("--cache-from {cache}"));
    assert!(out.matches("DONE").count() >= 1, "{out}");
    room.sh("img-fsck").ok();
}

//! dfile-build: stages side by side, the cache and where else it may be kept, and what is said meanwhile.

use dock_tests::registry::Registry;
use dock_tests::{Room, needs};
use serde_json::Value;

/// Each of two stages waits for a file of the other, in a cache that both see: one after the other they never end.
#[test]
fn independent_stages_run_at_the_same_time() {
    needs!(root, "busybox");
    let room = Room::with_base();
    let meet = |own: &str, other: &str| {
        format!(
            "RUN --mount=type=cache,id=m,target=/m touch /m/{own}; for i in $(seq 600); do [ -e /m/{other} ] && exit 0; sleep 0.1; done; exit 9"
        )
    };
    let text = format!(
        "FROM base AS one\n{}\nRUN echo 1 >/f\nFROM base AS two\n{}\nRUN echo 2 >/f\nFROM base\nCOPY --from=one /f /1\nCOPY --from=two /f /2\n",
        meet("a", "b"),
        meet("b", "a")
    );
    let out = room.build(&text, "");
    assert!(out.contains("[one 2/3] RUN") && out.contains("[two 2/3] RUN"), "{out}");
    room.sh("img-fsck && img-unpack --flat it box").ok();
    assert_eq!(room.sh("cat box/rootfs/1 box/rootfs/2").ok(), "1\n2");
    assert_eq!(room.build(&text, "").matches("DONE").count(), 0);
    // What two stages have in common is made once.
    let twins = "FROM base AS a\nRUN --mount=type=cache,id=n,target=/n echo x >>/n/log\nFROM base AS b\nRUN --mount=type=cache,id=n,target=/n echo x >>/n/log\nFROM scratch\nCOPY --from=a /bin /a\nCOPY --from=b /bin /b\n";
    room.build(twins, "");
    assert_eq!(room.sh("cat root/cache/mounts/n/log").ok(), "x");
}

#[test]
fn a_stage_that_fails_ends_the_others() {
    needs!(root, "busybox");
    let room = Room::with_base();
    room.write(
        "ctx/Dockerfile",
        "FROM base AS slow\nRUN --mount=type=cache,id=m,target=/m touch /m/up; sleep 300\n\
         FROM base AS bad\nRUN --mount=type=cache,id=m,target=/m while ! [ -e /m/up ]; do sleep 0.1; done; echo why; exit 7\n\
         FROM scratch\nCOPY --from=slow /bin /a\nCOPY --from=bad /bin /b\n",
    );
    let ran = room.sh("timeout 120 dfile-build -q -t never ctx");
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.starts_with("why\ndfile-build: Dockerfile:4: RUN"), "{ran:?}");
    assert!(ran.stderr.contains("exit code 7"), "{ran:?}");
    assert_eq!(ran.stderr.lines().count(), 3, "only the first failure is told: {ran:?}");
    assert_eq!(room.sh("ls root/cache/failed | wc -l").ok(), "1");
    room.sh("img-fsck").ok();
}

#[test]
fn which_stages_go_without_the_cache() {
    needs!(root, "busybox");
    let room = Room::with_base();
    let text = "FROM base AS one\nRUN echo >/1\nFROM base AS two\nRUN echo >/2\nFROM scratch\nCOPY --from=one /1 /\nCOPY --from=two /2 /\n";
    room.build(text, "");
    let again = |room: &Room, filter: &str| {
        let out = room.build(text, filter);
        let number = |line: &str| line.split(' ').next().unwrap_or_default().to_owned();
        let done: Vec<String> = out.lines().filter(|line| line.contains(" DONE ")).map(number).collect();
        let mut titles: Vec<String> = out
            .lines()
            .filter(|line| line.contains("] ") && done.contains(&number(line)))
            .map(|line| line.split(['[', ' ']).nth(2).unwrap_or_default().to_owned())
            .collect();
        titles.sort();
        titles.join(" ")
    };
    assert_eq!(again(&room, "--no-cache-filter one"), "one");
    assert_eq!(again(&room, "--no-cache-filter one,two"), "one two");
    assert_eq!(again(&room, ""), "");
}

/// What is cached needs no file of its source: the image is not unpacked again to find that out.
#[test]
fn a_cached_step_does_not_unpack_what_it_reads() {
    needs!(root, "busybox", "strace");
    let room = Room::with_base();
    room.write("ctx/f", "1");
    let text = |word: &str| {
        format!(
            "FROM base AS one\nRUN mkdir /o && echo same >/o/f && echo {word} >/other\nFROM base\nCOPY --from=one /o /o\n\
                 RUN --mount=from=one,source=/o,target=/m cp /m/f /g\nRUN --mount=from=one,target=/m cp /m/o/f /h\n"
        )
    };
    room.build(&text("a"), "");
    room.sh("strace -f -o trace -e trace=execve dfile-build -q -t it ctx").ok();
    assert_eq!(room.sh("grep -c execve trace").ok(), "1", "a build that is all cached starts nothing");
    // Another image with the same files below /o is as good for all but the step that sees all of it.
    let out = room.build(&text("b"), "");
    let done: Vec<&str> = out.lines().filter(|line| line.contains(" DONE ")).collect();
    assert_eq!(done.len(), 2, "the stage, and the last step: {out}");
    room.sh("strace -f -o trace -e trace=execve dfile-build -q -t it ctx").ok();
    assert_eq!(room.sh("grep -c execve trace").ok(), "1", "also by the second key");
}

/// Cached steps are believed in a row; when the last turns out not to be whole, all that is not is made again.
#[test]
fn a_row_of_cached_steps_is_proven_at_its_end() {
    needs!(root, "busybox");
    let room = Room::with_base();
    let text = "FROM base AS one\nRUN echo 1 >/1\nRUN echo 2 >/2\nRUN echo 3 >/3\nFROM one\nRUN cat /1 /2 /3 >/4\n";
    let last =
        "jq -r .layers[-1].digest root/images/blobs/sha256/$(img-ls it | jq -r .descriptor.digest | cut -d: -f2)";
    for (at, left) in [("-3", 2), ("-2", 3)] {
        room.write("ctx/Dockerfile", text);
        room.sh("dfile-build -q -t it ctx").ok();
        room.sh(&format!("rm -r root/layers; rm root/images/blobs/sha256/$({} | cut -d: -f2)", last.replace("-1", at)))
            .ok();
        // The image before stays as damaged as it is.
        let out = room.sh("dfile-build -t it ctx").stderr;
        assert!(out.contains("note: the cache is damaged"), "{out}");
        assert_eq!(out.matches(" DONE ").count(), 5 - left, "{at}: {out}");
        room.sh("img-unpack --flat it box").ok();
        assert_eq!(room.sh("cat box/rootfs/4; rm -r box").ok(), "1\n2\n3");
    }
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

const CACHED: &str = "FROM base AS one\nRUN date +%N >/1; echo >/0\nFROM base\nCOPY --from=one /1 /\nWORKDIR /w\nRUN date +%N >/2\nCMD [\"x\"]\n";

/// Another machine: a store with nothing but the base image.
fn another(room: &Room) {
    room.sh("[ -e base.tar ] || img-save -o base.tar base; rm -rf root && img-load -i base.tar").ok();
}

fn id(room: &Room) -> String {
    room.sh("img-inspect --format '{{.Id}}' it").ok()
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

#[test]
fn pull_asks_the_registry_again() {
    needs!(root, "busybox");
    let room = Room::with_base();
    room.write("ctx/Dockerfile", "FROM localhost:1/none/base\nRUN true\n");
    room.sh("img-tag base localhost:1/none/base").ok();
    room.sh("dfile-build -q ctx").ok();
    room.sh("DOCK_REGISTRY_TIMEOUT=2 dfile-build -q --pull ctx").fails(1, "localhost:1");
}

#[test]
fn progress_as_buildkits_json() {
    needs!(root, "busybox");
    let room = Room::with_base();
    room.write("ctx/Dockerfile", "FROM base\nRUN echo hello\nRUN exit 3\n");
    let ran = room.sh("dfile-build --progress rawjson ctx");
    let objects: Vec<Value> = ran
        .stderr
        .lines()
        .take_while(|line| line.starts_with('{'))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let vertexes: Vec<&Value> = objects.iter().filter_map(|object| object["vertexes"].get(0)).collect();
    let of = |name: &str| {
        vertexes.iter().filter(|v| v["name"].as_str().unwrap().contains(name)).copied().collect::<Vec<_>>()
    };
    assert_eq!(of("FROM base")[1]["cached"], true);
    let run = of("RUN echo hello");
    assert!(run[0]["completed"].is_null() && run[1]["completed"].is_string(), "{run:?}");
    assert_eq!(run[0]["digest"], run[1]["digest"]);
    let log = objects.iter().find_map(|object| object["logs"].get(0)).unwrap();
    assert_eq!((&log["vertex"], &log["data"]), (&run[0]["digest"], &"aGVsbG8K".into()));
    assert_eq!(of("RUN exit 3")[0]["inputs"], serde_json::json!([run[0]["digest"]]));
    assert_eq!(of("FROM base")[0].get("inputs"), None);
    assert!(of("RUN exit 3")[1]["error"].as_str().unwrap().contains("exit code 3"));
}

/// On a terminal: what is finished stays, what runs is drawn again, and colours are the caller's choice.
#[test]
fn the_live_view_of_a_terminal() {
    needs!(root, "busybox", "script");
    let room = Room::with_base();
    room.write(
        "ctx/Dockerfile",
        "FROM base\nRUN echo passing; sleep 0.5; printf '\\033[2Jevil'\nRUN echo reason; exit 3\n",
    );
    let ran = room.sh("TERM=xterm script -qec 'dfile-build ctx' /dev/null </dev/null");
    assert!(ran.stdout.contains("=> [2/3] RUN echo passing") && ran.stdout.contains("=> => passing"), "{ran:?}");
    assert!(ran.stdout.contains("\x1b[J") && ran.stdout.contains("\x1b[34m=> [2/3]"), "{ran:?}");
    assert!(!ran.stdout.contains("\x1b[2J"), "what a step prints does not steer the terminal: {ran:?}");
    assert!(ran.stdout.contains("reason") && ran.stdout.contains("enter it with"), "{ran:?}");
    let plain = room.sh("NO_COLOR=1 TERM=xterm script -qec 'dfile-build ctx' /dev/null </dev/null");
    assert!(!plain.stdout.contains("\x1b[34m") && plain.stdout.contains("=> [2/3]"), "{plain:?}");
    let dumb = room.sh("TERM=dumb script -qec 'dfile-build ctx' /dev/null </dev/null");
    assert!(!dumb.stdout.contains('\x1b') && dumb.stdout.contains("#2 [2/3]"), "{dumb:?}");
}

/// `dock builder prune` in docker's words: what nobody shares, or with -a all; by age and by what is to be kept.
#[test]
fn the_cache_is_listed_and_pruned() {
    needs!(root, "busybox", "jq");
    let room = Room::with_base();
    let dock = |words: &str| room.sh(&format!("dock {words}"));
    let ids = |filter: &str| room.sh(&format!("dfile-cache --quiet {filter} | wc -l")).ok();
    dock("builder prune -af").ok();
    assert_eq!(dock("builder prune -f").ok(), "Total:\t 0B");
    let text = "FROM base AS one\nRUN --mount=type=cache,id=c,target=/c head -c 300000 /dev/urandom >/c/f; head -c 100000 /dev/urandom >/1\nFROM base\nRUN head -c 200000 /dev/urandom >/2\nRUN --mount=from=one,target=/o true\n";
    room.build(text, "");
    let entry = |what: &str, member: &str| {
        room.sh(&format!("dfile-cache | jq -c 'select(.description | contains(\"{what}\")) | .{member}' | tail -n 1"))
            .ok()
    };
    assert_eq!((entry(">/1", "shared"), entry(">/2", "shared")), ("false".into(), "true".into()));
    let size: u64 = room
        .sh("dfile-cache | jq -s 'map(select(.description | contains(\">/1\")) | .size) | add'")
        .ok()
        .parse()
        .unwrap();
    assert!((100_000..110_000).contains(&size), "{size}");
    let mount: u64 = room.sh("dfile-cache --format '{{.Bytes}}' --filter type=exec.cachemount").ok().parse().unwrap();
    assert_eq!(mount, 300_000);
    assert_eq!(
        // Columns are as wide as what stands in them, which is "Less than a second ago" or "2 seconds ago".
        room.sh("dfile-cache --format table | head -n 1 | tr -s ' '").ok(),
        "CACHE ID CACHE TYPE SIZE LAST USED IN USE SHARED"
    );
    let df = dock("system df").ok();
    let row: Vec<&str> = df.lines().last().unwrap().split_whitespace().collect();
    assert_eq!((&row[..2], row[3]), (&["Build", "Cache"][..], "0"), "{df}");
    let kilobytes: f64 = row[4].strip_suffix("kB").unwrap_or_else(|| panic!("{df}")).parse().unwrap();
    assert!((400.0..450.0).contains(&kilobytes), "{df}");
    let asked = dock("builder prune </dev/null").ok();
    assert_eq!(asked, "WARNING! This will remove all dangling build cache. Are you sure you want to continue? [y/N] ");
    // What was used lately stays, and so does what fits.
    let all = ids("");
    dock("builder prune -af --filter until=24h").ok();
    dock("builder prune -af --keep-storage 1GB").ok();
    assert_eq!(ids(""), all);
    assert_eq!(room.build(text, "").matches("DONE").count(), 0);
    // Aged, all but the mount; a hit makes a step young again.
    room.sh("touch -d @1000000000 root/images/.dock/pins/*").ok();
    room.build("FROM base AS one\nRUN head -c 200000 /dev/urandom >/2\n", "");
    let out = dock("builder prune -af --filter until=24h").ok();
    assert!(out.starts_with("Deleted build cache objects:\nbuild-") && out.contains("\n\nTotal:\t "), "{out}");
    assert_eq!((ids("--filter type=regular"), ids("--filter type=exec.cachemount")), ("1".into(), "1".into()));
    let last = dock("builder prune -af --keep-storage 100").ok();
    assert!(last.contains("\nc\n"), "{last}");
    dock("builder prune -af").ok();
    assert_eq!((ids(""), room.sh("ls root/cache/mounts | wc -l").ok()), ("0".into(), "0".into()));
    room.sh("img-fsck && img-unpack --flat it box && [ -s box/rootfs/2 ]").ok();
    dock("builder prune -f --filter x=y").fails(1, "invalid filter");
    // What a build has a lock on stays.
    room.sh("mkdir -p root/cache/mounts/held && flock root/cache/mounts/held dock builder prune -af && ls -d root/cache/mounts/held").ok();
}

/// What a build that was killed has left goes with a prune; what a living one has stays.
#[test]
fn a_prune_takes_what_killed_builds_left() {
    needs!(root, "flock");
    let room = Room::new();
    room.sh(
        "mkdir -p root/cache/build-dead/1 root/cache/build-alive root/cache/mounts/.seed-dead/seed root/cache/mounts/c",
    )
    .ok();
    assert_eq!(room.sh("dfile-cache --format '{{.ID}}'").ok(), "c", "half a cache is none");
    room.sh("flock root/cache/mounts dock builder prune -f </dev/null").ok();
    assert_eq!(room.sh("ls -A root/cache/mounts").ok(), ".seed-dead", "somebody is filling a cache");
    room.sh("mkdir -p root/cache/build-dead && flock root/cache/build-alive dock builder prune -f").ok();
    assert_eq!(
        room.sh("ls -A root/cache root/cache/mounts").ok(),
        "root/cache:\nbuild-alive\nmounts\n\nroot/cache/mounts:"
    );
}

//! The cache: its key, what a cached step costs, and how it is listed and pruned.

use super::{config, digest};
use dock_tests::{Room, needs};

#[test]
fn the_cache_is_keyed_by_content() {
    needs!(root, "busybox");
    let room = Room::with_base();
    room.write("ctx/one", "1");
    room.write("ctx/two", "2");
    room.write(
        "ctx/Dockerfile",
        "FROM base\nARG V=1\nCOPY one /\nRUN echo $V >/v\nWORKDIR /w\nCOPY two /\nRUN cat /one /two >/both\nLABEL a=b\n",
    );
    let build = |options: &str| {
        let ran = room.sh(&format!("dfile-build -t it {options} ctx"));
        assert_eq!(ran.code, 0, "{ran:?}");
        (digest(&ran.stdout), ran.stderr.matches("CACHED").count(), ran.stderr.matches("DONE").count())
    };
    let (first, _, done) = build("");
    assert_eq!(done, 5);
    assert_eq!(build(""), (first.clone(), 6, 0), "everything cached, equal by digest");
    room.sh("touch -d @1 ctx/one ctx/two").ok();
    assert_eq!(build(""), (first.clone(), 6, 0), "times are not content");
    room.write("ctx/two", "changed");
    let (changed, cached, done) = build("");
    assert_eq!((cached, done), (4, 2), "from the changed file on");
    assert_ne!(changed, first);
    room.write("ctx/two", "2");
    assert_eq!(build(""), (first.clone(), 6, 0), "the old content has its old image");
    room.sh("chmod 600 ctx/one").ok();
    assert_eq!(build("").1, 1, "the mode is content");
    room.sh("chmod 644 ctx/one").ok();
    assert_eq!(build("--build-arg V=2").1, 1, "an argument in scope counts");
    let (again, cached, _) = build("--no-cache");
    assert_eq!(cached, 1);
    assert_ne!(again, first, "run again: other times");
    room.sh("img-fsck").ok();
}

#[test]
fn a_damaged_cache_entry_is_built_again() {
    needs!(root);
    let room = Room::new();
    room.write("ctx/f", "content");
    room.write("ctx/Dockerfile", "FROM scratch\nCOPY f /\n");
    room.sh("dfile-build -q -t it ctx").ok();
    let layer = room.sh("img-inspect it >/dev/null; ls -S root/images/blobs/sha256 | while read b; do head -c 2 root/images/blobs/sha256/$b | od -An -tx1 | grep -q '1f 8b' && echo $b; done").ok();
    room.sh(&format!("truncate -s 1 root/images/blobs/sha256/{layer}")).ok();
    let ran = room.sh("dfile-build -t it ctx");
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stderr.contains("DONE"), "{ran:?}");
    room.sh("img-fsck").ok();
    // A byte that has changed, and the time of the file set back: the inode tells.
    room.sh(&format!("b=root/images/blobs/sha256/{layer}; touch -r $b old; printf '\\1' | dd of=$b bs=1 seek=12 conv=notrunc status=none; touch -r old $b; ! img-fsck")).ok();
    let ran = room.sh("dfile-build -t it ctx");
    assert!(ran.code == 0 && ran.stderr.contains("DONE"), "{ran:?}");
    room.sh("img-fsck").ok();
    // One that was only written again, as a copy of the store is, costs a look, and no build.
    room.sh(&format!("b=root/images/blobs/sha256/{layer}; cp $b again && mv again $b")).ok();
    let ran = room.sh("dfile-build -t it ctx");
    assert!(ran.code == 0 && !ran.stderr.contains("DONE"), "{ran:?}");
}

#[test]
fn cve_2024_24557_a_forged_history_is_not_the_cache() {
    needs!(root, "tar");
    let room = Room::new();
    room.write("ctx/f", "honest");
    room.write("evil/f", "forged");
    room.write("ctx/Dockerfile", "FROM scratch\nCOPY f /\n");
    let forge =
        "tar -C evil -c f | img-append --base scratch --layer - --created-by 'COPY f / # buildkit' --tag forged";
    room.sh(forge).ok();
    let ran = room.sh("dfile-build -t it ctx");
    assert!(ran.stderr.contains("#2 DONE"), "{ran:?}");
    config(&room, "it");
    assert_eq!(room.sh("cat box/rootfs/f").ok(), "honest");
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
fn pull_asks_the_registry_again() {
    needs!(root, "busybox");
    let room = Room::with_base();
    room.write("ctx/Dockerfile", "FROM localhost:1/none/base\nRUN true\n");
    room.sh("img-tag base localhost:1/none/base").ok();
    room.sh("dfile-build -q ctx").ok();
    room.sh("DOCK_REGISTRY_TIMEOUT=2 dfile-build -q --pull ctx").fails(1, "localhost:1");
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

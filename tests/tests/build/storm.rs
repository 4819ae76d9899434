//! Builds side by side, builds that are killed, and builds on a disk that fills up: the store stays whole, nothing
//! half-built has a name, and the next build makes what one that nobody disturbed makes.

use super::config;
use dock_tests::dice::{self, Dice};
use dock_tests::{Room, bin, needs};
use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

#[test]
fn two_builds_at_once() {
    needs!(root, "busybox");
    let room = Room::with_base();
    room.write("ctx/Dockerfile", "FROM base\nARG N\nRUN echo $N >/n; sleep 0.3\nRUN cat /n >/m\n");
    room.sh("for n in 1 2 3 4; do dfile-build -q --build-arg N=$n -t it$n ctx & pids=\"$pids $!\"; done
         for pid in $pids; do wait $pid || exit 1; done")
        .ok();
    for n in ["1", "2", "3", "4"] {
        config(&room, &format!("it{n}"));
        assert_eq!(room.sh("cat box/rootfs/m").ok(), n);
    }
    room.sh("img-fsck").ok();
}

#[test]
fn kill_9_in_the_middle_leaves_a_clean_store() {
    needs!(root, "busybox");
    let room = Room::with_base();
    // A word of the command that no other process of the machine has.
    let word = room.path("").file_name().unwrap().to_string_lossy().replace('.', "");
    room.write("ctx/Dockerfile", format!("FROM base\nRUN echo 1 >/1\nRUN : {word}; sleep 300\n"));
    let mut child = Command::new(dock_tests::bin().join("dfile-build"))
        .args(["-q", "-t", "it"])
        .arg(room.path("ctx"))
        .env("DOCK_ROOT", room.path("root"))
        .env("DOCK_RUN", room.path("run"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (first, others) = word.split_at(1);
    let sleeping = || room.sh(&format!("grep -l -s -a ': [{first}]{others}; sleep' /proc/[0-9]*/cmdline")).stdout;
    for _ in 0..1200 {
        if !sleeping().is_empty() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    room.sh("img-fsck").ok();
    // The RUN goes with its build: nothing runs any more in its working place below this room.
    let left = || room.sh("grep -l -s -a \"$PWD/[r]oot/cache\" /proc/[0-9]*/cmdline").stdout;
    for _ in 0..1200 {
        if left().is_empty() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert_eq!(left(), "");
    room.write("ctx/Dockerfile", "FROM base\nRUN echo 1 >/1\nRUN echo 2 >/2\n");
    let ran = room.sh("dfile-build -t it ctx");
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(ran.stderr.matches("CACHED").count(), 2, "{}", ran.stderr);
    assert_eq!(room.sh("ls root/cache/failed | wc -l").ok(), "0");
    room.sh("img-fsck").ok();
}

/// Stages side by side, layers of some MB that do not compress, a cache mount, and files that are only copied.
const DOCKERFILE: &str = "FROM base AS one\nCOPY noise /\nRUN cat /noise /noise >/more\n\
    FROM base AS two\nRUN --mount=type=cache,id=c,target=/c --mount=source=noise,target=/n cp /n /c/n && cp /c/n /kept\nADD t.tar /t/\n\
    FROM base\nCOPY --from=one /more /\nCOPY --from=two /kept /t /both/\nWORKDIR /w\nRUN cp /both/kept . && rm /both/kept\n";

fn room() -> Room {
    let room = Room::with_base();
    room.sh("head -c 1500000 /dev/urandom >ctx/noise && tar -C ctx -cf t.tar noise && mv t.tar ctx").ok();
    room.write("ctx/Dockerfile", DOCKERFILE);
    room
}

/// The record of a build that has to succeed; with the same time in it for everyone.
#[track_caller]
fn built(room: &Room, store: &str) -> String {
    let script = format!(
        "DOCK_ROOT=$PWD/{store} SOURCE_DATE_EPOCH=1000000000 dfile-build -q -t whole ctx | jq -r .descriptor.digest"
    );
    room.sh(&script).ok()
}

/// The process and all that came from it, as /proc has them at this moment.
fn family(pid: u32) -> Vec<u32> {
    let mut all = vec![pid];
    let mut at = 0;
    while let Some(one) = all.get(at) {
        let children = fs::read_to_string(format!("/proc/{one}/task/{one}/children")).unwrap_or_default();
        all.extend(children.split_whitespace().filter_map(|word| word.parse::<u32>().ok()));
        at += 1;
    }
    all
}

/// `DOCK_ROUNDS=100` for more of them.
#[test]
fn a_kill_at_any_moment_leaves_a_clean_store() {
    needs!(root, "busybox", "jq");
    let room = room();
    let want = built(&room, "root");
    let started = Instant::now();
    room.sh("dfile-build -q --no-cache ctx").ok();
    let whole = u64::try_from(started.elapsed().as_micros()).unwrap();
    let mut dice = Dice::new();
    for round in 0..dice::rounds(6) {
        let mut command = Command::new(bin().join("dfile-build"));
        command.args(["-q", "-t", "victim"]).args((dice.roll(3) > 0).then_some("--no-cache")).arg(room.path("ctx"));
        command.env("DOCK_ROOT", room.path("root")).env("DOCK_RUN", room.path("run"));
        command.env("SOURCE_DATE_EPOCH", "1000000000");
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_micros(dice.roll(whole)));
        let family = family(child.id());
        // The builder itself every second time; not yet waited for, its number is nobody else's.
        let victim = if dice.roll(2) == 0 { 0 } else { usize::try_from(dice.roll(family.len() as u64)).unwrap() };
        let _ = Command::new("kill").args(["-9", &family[victim].to_string()]).stderr(Stdio::null()).status();
        let code = child.wait().unwrap().code();
        // What the builder had started ends with it.
        let until = Instant::now() + Duration::from_secs(60);
        let left = || room.sh("grep -l -s -a \"$PWD/[r]oot\" /proc/[0-9]*/cmdline").stdout;
        while !left().is_empty() {
            assert!(Instant::now() < until, "round {round}: {} still runs", left());
            std::thread::sleep(Duration::from_millis(20));
        }
        room.sh("img-fsck").ok();
        let named = !room.sh("img-ls victim").ok().is_empty();
        assert!(named || code != Some(0), "round {round}: a build that ended well has its name");
        if named {
            // Killed when all was done, or not at all.
            assert_eq!(room.sh("img-ls victim | jq -r .descriptor.digest").ok(), want, "round {round}");
            room.sh("img-rm victim").ok();
        }
    }
    assert_eq!(built(&room, "root"), want);
    room.sh("dfile-build -q --no-cache -t again ctx && img-fsck").ok();
    assert_eq!(room.mounts(), [""; 0]);
    room.sh("dock builder prune -af && img-rm --prune && img-fsck").ok();
    let left: BTreeSet<_> = room.sh("ls root/cache").ok().lines().map(str::to_owned).collect();
    assert!(!left.iter().any(|name| name.starts_with("build-")), "{left:?}");
}

/// At each size another write is the one that fails.
#[test]
fn a_disk_that_is_full_leaves_a_clean_store() {
    needs!(root, "busybox", "unshare", "jq");
    let room = room();
    room.sh("cp -a root before").ok();
    let want = built(&room, "root");
    room.write(
        "try",
        "mount -t tmpfs -o size=64m tmpfs small && cp -a before/. small && export DOCK_ROOT=$PWD/small
         used=$(df -k --output=used small | tail -n 1) && mount -o remount,size=$((used + $1))k small || exit
         SOURCE_DATE_EPOCH=1000000000 dfile-build -q -t victim ctx >/dev/null; echo code $?
         img-fsck >/dev/null && echo clean; img-ls victim | grep -q . && echo named
         mount -o remount,size=64m small && SOURCE_DATE_EPOCH=1000000000 dfile-build -q -t whole ctx | jq -r .descriptor.digest
         img-fsck && dock builder prune -f </dev/null >/dev/null; ls small/cache | grep build-",
    );
    let room_for = [0, 24, 300, 1600, 3500, 5200, 7000, 9500];
    for free in room_for {
        let ran = room.sh(&format!("mkdir -p small && unshare -m sh try {free}"));
        assert_eq!(ran.stdout, format!("code 1\nclean\n{want}\n"), "{free} KiB: {ran:?}");
        assert!(ran.stderr.contains("No space left on device"), "{free} KiB: {ran:?}");
    }
    let ran = room.sh("unshare -m sh try 60000");
    assert_eq!(ran.stdout, format!("code 0\nclean\nnamed\n{want}\n"), "{ran:?}");
}

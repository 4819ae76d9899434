//! What no name reaches goes, and nothing else, whoever writes meanwhile.

use crate::{blobs, findings, index, room, sound};
use dock_tests::{Ran, Room, bin, needs};
use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

#[test]
fn prune_takes_what_has_no_name_and_the_cache_keeps_what_is_pinned() {
    let room = room();
    room.sh("img-append --base base:1 -c 'ENV A=1'").ok();
    room.sh("img-append --base base:1 -c 'ENV A=2' --pin key").ok();
    assert_eq!(room.sh("img-ls -q").ok().lines().count(), 2);
    assert_eq!(room.sh("img-ls -q -a").ok().lines().count(), 3);
    let said = room.sh("img-rm --prune").ok();
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!((lines[0], lines[2], lines.len()), ("Deleted Images:", "", 4), "its layer is the base's: {said}");
    assert!(lines[1].starts_with("deleted: sha256:") && lines[3].starts_with("Total reclaimed space: "), "{said}");
    assert_eq!(room.sh("img-rm --prune").ok(), "Total reclaimed space: 0B");
    assert_eq!(room.sh("img-ls -q").ok().lines().count(), 1);
    assert_eq!(blobs(&room).len(), 5);
    room.sh("img-append --base base:1 --pin ../../escape").fails(1, "not a pin key");
    sound(&room);
}

/// A pull that filled the disk leaves what it had for the next one; who wants the room has it, though there is none
/// for an index without the pruned image.
#[test]
fn prune_takes_what_pulls_left_in_part() {
    needs!(root);
    let room = room();
    room.sh(
        "mkdir -p root/images/.dock/partial && cd root/images/.dock/partial && head -c 2000 /dev/zero >x; echo y >y",
    )
    .ok();
    let said = room.sh("flock root/images/.dock/partial/y img-rm --prune").ok();
    assert_eq!(said, "Total reclaimed space: 2kB");
    assert_eq!(room.sh("ls root/images/.dock/partial").ok(), "y", "somebody is writing it");
    room.write(
        "full.sh",
        "mount -t tmpfs -o size=1m tmpfs full && export DOCK_ROOT=$PWD/full/root || exit 9
        img-append --base scratch --layer tree.tar >/dev/null && mkdir full/root/images/.dock/partial || exit 9
        head -c 9000000 /dev/zero >full/root/images/.dock/partial/x 2>/dev/null && exit 9
        echo x 2>/dev/null >full/more && exit 9
        img-rm --prune && img-fsck --strict -q && img-ls | wc -l",
    );
    let said = room.sh("mkdir full && unshare -m --propagation private sh full.sh").ok();
    assert!(said.starts_with("Deleted Images:\ndeleted: sha256:") && said.ends_with("\n0"), "{said}");
}

/// With no byte left on the disk an image can be removed, and its bytes are free again.
#[test]
fn rm_frees_a_disk_that_is_full_to_the_last_byte() {
    needs!(root);
    let room = room();
    room.write(
        "full.sh",
        "mount -t tmpfs -o size=1m tmpfs full && export DOCK_ROOT=$PWD/full/root || exit 9
        img-append --base scratch --layer tree.tar -t a >/dev/null && img-tag a b >/dev/null || exit 9
        head -c 9000000 /dev/zero >full/filler 2>/dev/null && exit 9
        echo x 2>/dev/null >full/filler2 && exit 9
        img-rm b && img-rm a && img-fsck --strict -q && img-ls | wc -l && ls full/root/images/blobs/sha256 | wc -l",
    );
    let said = room.sh("mkdir full && unshare -m --propagation private sh full.sh").ok();
    assert!(said.starts_with("Untagged: b:latest\nUntagged: a:latest\nDeleted: sha256:"), "{said}");
    assert!(said.ends_with("\n0\n0"), "{said}");
}

#[test]
fn nothing_is_collected_while_somebody_writes() {
    let room = room();
    room.sh("mkfifo pipe").ok();
    // A writer that has stored one layer and waits for the second.
    let mut writer = Command::new(bin().join("img-append"))
        .args(["--base", "scratch", "--layer"])
        .arg(room.path("more.tar"))
        .arg("--layer")
        .arg(room.path("pipe"))
        .args(["-t", "slow"])
        .env("DOCK_ROOT", {
            room.sh("printf y >tree/y && tar -C tree -cf more.tar y").ok();
            room.path("root")
        })
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while blobs(&room).len() < 4 {
        assert!(Instant::now() < deadline, "the first layer does not come");
        std::thread::sleep(Duration::from_millis(10));
    }
    let ran = room.sh("img-rm base:1");
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stderr.contains("images are being written"), "{ran:?}");
    // Not every file system gives its locks the device that stat(2) says.
    let told = room.sh("stat -c '%Hd %Ld %i' root/images/.dock/blobs.lock | { read a b i; grep -q \"$(printf '%02x:%02x:%s ' $a $b $i)\" /proc/locks; }");
    let who = format!(" by img-append ({}): ", writer.id());
    assert!(told.code != 0 || ran.stderr.contains(&who), "{ran:?}");
    assert_eq!(blobs(&room).len(), 4, "nothing was swept");
    room.sh("cat tree.tar >pipe").ok();
    assert!(writer.wait().unwrap().success());
    room.sh("img-rm --prune").ok();
    assert_eq!(blobs(&room).len(), 4, "two layers, configuration, manifest");
    sound(&room);
}

#[test]
fn kill_9_in_the_middle_leaves_a_sound_store() {
    let room = room();
    let before = index(&room);
    for _ in 0..3 {
        // A pipe of its own: what the last feeder had left to say must not come first.
        room.sh("rm -f pipe && mkfifo pipe").ok();
        // What the last one has left is there until this one sweeps it.
        let there = || fs::read_dir(room.path("root/images/.dock/tmp")).unwrap().map(|entry| entry.unwrap().path());
        let old: Vec<_> = there().collect();
        let mut writer = Command::new(bin().join("img-append"))
            .args(["--base", "base:1", "--compress", "none", "-t", "never", "--layer"])
            .arg(room.path("pipe"))
            .env("DOCK_ROOT", room.path("root"))
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        // Half a megabyte of a tar, then silence: the kill comes in the middle of the blob.
        let mut feeder = Command::new("sh")
            .args(["-c", "exec 3>pipe; head -c 524288 <big.tar >&3; exec sleep 60"])
            .current_dir({
                room.sh("test -e big.tar || { head -c 900000 /dev/urandom >tree/big; tar -C tree -cf big.tar big; }")
                    .ok();
                room.path(".")
            })
            .spawn()
            .unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        let written = || there().any(|path| !old.contains(&path) && fs::metadata(path).is_ok_and(|m| m.len() > 0));
        while !written() {
            assert!(Instant::now() < deadline, "nothing is written");
            std::thread::sleep(Duration::from_millis(5));
        }
        writer.kill().unwrap();
        writer.wait().unwrap();
        feeder.kill().unwrap();
        feeder.wait().unwrap();
        assert_eq!(findings(&room, 0), ["temp"]);
        assert_eq!(index(&room), before);
    }
    room.sh("img-append --base base:1 --layer big.tar -t after").ok();
    assert_eq!(fs::read_dir(room.path("root/images/.dock/tmp")).unwrap().count(), 0, "swept by the next writer");
    sound(&room);
}

#[test]
fn many_writers_lose_nothing() {
    let room = room();
    let script = "for n in 1 2 3 4 5 6 7 8; do img-append --base base:1 -c \"ENV N=$n\" -t w:$n >/dev/null & done; \
                  for n in 1 2 3 4; do img-tag base:1 t:$n >/dev/null & done; wait";
    room.sh(script).ok();
    assert_eq!(room.sh("img-ls | wc -l").ok(), "13");
    sound(&room);
}

#[test]
fn prune_all_takes_what_no_container_uses_in_dockers_words() {
    let room = room();
    room.sh("img-append --base base:1 -c 'LABEL keep=1' --created 2020-01-01T00:00:00Z -t old").ok();
    room.sh("img-append --base base:1 -c 'ENV A=1' -t used && img-append --base base:1 -c 'ENV A=2' -t free").ok();
    let id = room.sh("img-ls -q --no-trunc used").ok();
    let container = "c".repeat(64);
    let meta = format!(
        r#"{{"id":"{container}","name":"n","imageID":"{id}","created":"2026-01-01T00:00:00Z","command":["x"]}}"#
    );
    room.write(&format!("root/containers/{container}/container.json"), meta);
    // Without an answer, and with no, nothing happens.
    for answer in ["</dev/null", "<<E\nn\nE"] {
        let said = room.sh(&format!("dock image prune -a {answer}")).ok();
        assert!(said.starts_with("WARNING! This will remove all images without at least one container"), "{said}");
        assert_eq!(room.sh("img-ls -q").ok().lines().count(), 4);
    }
    assert_eq!(room.sh("dock image prune -f").ok(), "Total reclaimed space: 0B", "all have names");
    let names = || room.sh("img-ls | grep -o '\"ref\":\"[^\"]*\"' | sort | tr -d '\\n'").ok();
    let before = names();
    room.sh("dock image prune -af --filter label=nobody").ok();
    room.sh("dock image prune -af --filter label!=nobody --filter until=2019-01-01").ok();
    assert_eq!(names(), before);
    let said = room.sh("dock image prune -af --filter until=24h").ok();
    assert!(said.starts_with("Deleted Images:\nuntagged: old:latest\ndeleted: sha256:"), "{said}");
    let said = room.sh("dock image prune --all --force").ok();
    assert!(said.contains("untagged: base:1\n") && said.contains("untagged: free:latest\n"), "{said}");
    assert!(!said.contains("used"), "{said}");
    assert_eq!(names(), "\"ref\":\"docker.io/library/used:latest\"");
    sound(&room);
    room.sh("dock image prune -f --filter size=1").fails(1, "Error response from daemon: Invalid filter 'size'");
    room.sh("dock image prune x").fails_with_help(1, "accepts no arguments");
    room.sh("dock prune").fails(1, "unknown command: dock prune");
    assert_eq!(
        Room::new().sh("dock image prune -f").ok(),
        "Total reclaimed space: 0B",
        "a store that is not there yet"
    );
}

fn unpacked(room: &Room) -> usize {
    fs::read_dir(room.path("root/layers/sha256")).map_or(0, Iterator::count)
}

#[test]
fn unpacked_layers_go_with_their_last_user() {
    needs!(root);
    let room = room();
    room.sh("printf x >tree/x && tar -C tree -c x | img-append --base base:1 --layer - -t top:1").ok();
    room.sh("img-unpack --overlay top:1 box && img-unpack --overlay base:1 root/containers/c").ok();
    assert_eq!(unpacked(&room), 2);
    assert_eq!(fs::read_dir(room.path("root/layers/users")).unwrap().count(), 1, "a container needs no note");
    // The images go, their bundles do not.
    room.sh("img-rm -f top:1 base:1").ok();
    assert_eq!((blobs(&room).len(), unpacked(&room)), (0, 2));
    room.sh("test -e box/rootfs && cat root/layers/sha256/*/etc/motd").ok();
    // Another layout does not know whose layers these are.
    room.sh("rm -rf box && img-append --layout other --base scratch --layer tree.tar -t x && img-rm --layout other x")
        .ok();
    assert_eq!(unpacked(&room), 2);
    let said = room.sh("img-rm --prune").ok();
    assert!(said.starts_with("Total reclaimed space: ") && !said.ends_with(" 0B"), "{said}");
    assert_eq!(unpacked(&room), 1, "the container's");
    room.sh("rm -rf root/containers/c && img-rm --prune").ok();
    assert_eq!(unpacked(&room), 0);
    // Layers of an image stay for the next container; an unpack that fails leaves no note.
    room.sh("img-append --base scratch --layer tree.tar -t base:1 && img-unpack --overlay base:1 box && rm -r box")
        .ok();
    room.sh("img-append --base scratch --layer tree.tar -c 'USER nobody' -t bad && img-unpack --overlay bad box")
        .fails(1, "nobody");
    room.sh("img-rm --prune").ok();
    assert_eq!(unpacked(&room), 1);
    assert_eq!(fs::read_dir(room.path("root/layers/users")).unwrap().count(), 0);
}

/// Unpacking and removing at once: every bundle that was made has its layers.
#[test]
fn no_bundle_loses_its_layers_to_a_removal() {
    needs!(root);
    let room = room();
    // No image of the root's has the layer: only its bundles keep it.
    room.sh("cp -r root/images images && img-rm base:1").ok();
    room.sh("(while [ ! -e stop ]; do img-rm --prune >/dev/null; done) & sweeper=$!
         for i in $(seq 40); do
             img-unpack --overlay --layout images base:1 box$i >/dev/null || { echo unpack; break; }
             for dir in $(grep -o '\"lower\":\\[[^]]*' box$i/bundle.json | grep -o '/[^\"]*'); do
                 cat $dir/etc/motd >/dev/null || { echo lost; break 2; }
             done
             [ $((i % 3)) = 0 ] || rm -rf box$i
         done >bad 2>&1; : >stop; wait $sweeper; ! grep . bad")
        .ok();
    room.sh("rm -rf box* && img-rm --prune").ok();
    assert_eq!(unpacked(&room), 0);
}

/// A printed digest is a promise: between layer-diff and img-append nobody collects the layer.
#[test]
fn a_layer_that_was_printed_waits_for_its_image() {
    let room = room();
    room.sh("mkdir new && cp -r tree new/rootfs && echo y >new/rootfs/y").ok();
    room.sh("layer-diff --layout root/images tree new/rootfs >layer.json && img-rm --prune && img-rm --prune").ok();
    assert_eq!(blobs(&room).len(), 4);
    sound(&room);
    room.sh("img-fsck --strict && img-append --base base:1 --layers-from layer.json -t with").ok();
    assert_eq!(fs::read_dir(room.path("root/images/.dock/leases")).unwrap().count(), 0, "released");
    room.sh("img-rm with").ok();
    assert_eq!(blobs(&room).len(), 3, "nothing is kept twice");
    // Whoever never comes back has a day.
    room.sh("layer-diff --layout root/images tree new/rootfs >layer.json && touch -d '25 hours ago' root/images/.dock/leases/*").ok();
    room.sh("img-rm --prune").ok();
    assert_eq!(blobs(&room).len(), 3);
    assert_eq!(fs::read_dir(room.path("root/images/.dock/leases")).unwrap().count(), 0);
    room.sh("img-append --base base:1 --layers-from layer.json -t with").fails(1, "no such blob in the layout");
}

/// Writers of every kind beside a collector that never rests: what a writer has printed is whole.
#[test]
fn a_collector_beside_writers_takes_nothing_that_is_theirs() {
    let room = room();
    room.sh("img-append --base base:1 -c 'ENV A=1' -t other && img-save other >other.tar && img-rm other").ok();
    room.sh("mkdir new && cp -r tree new/rootfs && echo y >new/rootfs/y").ok();
    room.sh("(while [ ! -e stop ]; do img-rm --prune >/dev/null 2>&1; done) & sweeper=$!
         (for i in $(seq 25); do img-load -i other.tar && img-save other >/dev/null && img-rm other || echo load; done >load.out 2>&1) & load=$!
         (for i in $(seq 25); do img-append --base base:1 --layer tree.tar -c \"ENV N=$i\" -t n$i >/dev/null && img-save n$i >/dev/null || echo append; done >append.out 2>&1) & append=$!
         for i in $(seq 25); do
             layer-diff --layout root/images tree new/rootfs | img-append --base base:1 --layers-from - -c \"ENV D=$i\" -t d$i >/dev/null && img-save d$i >/dev/null && img-rm d$i >/dev/null || echo diff
         done >diff.out 2>&1
         wait $load $append; : >stop; wait $sweeper
         ! grep -hE '^(load|append|diff)$' *.out")
        .ok();
    // The last removals may have left their blobs to a collector that had already looked.
    room.sh("img-rm --prune").ok();
    sound(&room);
    assert_eq!(room.sh("img-ls -q").ok().lines().count(), 26);
}

/// A pull that has stored blobs and named nothing yet is not robbed by a removal.
#[test]
fn a_collector_beside_pulls_takes_nothing_that_is_theirs() {
    needs!("docker-registry");
    let room = room();
    let registry = dock_tests::registry::Registry::start();
    let name = format!("{}/base:1", registry.host());
    room.sh(&format!("img-tag base:1 {name} && img-push {name} >/dev/null && img-rm {name} base:1 >/dev/null")).ok();
    room.sh(&format!(
        "(while [ ! -e stop ]; do img-rm --prune >/dev/null 2>&1; done) & sweeper=$!
         for i in $(seq 15); do
             img-pull {name} | img-save >/dev/null && img-rm {name} >/dev/null || echo pull
         done >out 2>&1; : >stop; wait $sweeper; ! grep -x pull out"
    ))
    .ok();
    // The last removal may have left its blobs to a collector that had already looked.
    room.sh("img-rm --prune").ok();
    sound(&room);
}

trait WithHelp {
    fn fails_with_help(self, code: i32, part: &str);
}

impl WithHelp for Ran {
    /// Docker's second line: where the help is.
    #[track_caller]
    fn fails_with_help(self, code: i32, part: &str) {
        assert!(self.code == code && self.stderr.contains(part) && self.stderr.contains("--help'."), "{self:#?}");
    }
}

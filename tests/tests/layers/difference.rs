//! layer-diff: what was added, changed and removed, between two trees and in what an overlay mount wrote.

use crate::{TROUBLE, apart, assert_same_views, image};
use dock_tests::{Room, needs, tree};
use std::path::Path;

/// Numbers that are the same again for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// A shell script that makes or changes a tree at random.
fn random_steps(random: &mut Random, steps: usize) -> String {
    let mut script = String::from("set +e; exec 2>/dev/null\n");
    let path = |random: &mut Random| {
        let depth = 1 + random.below(3);
        (0..depth)
            .map(|_| ["a", "b", "c d", "e", "é"][usize::try_from(random.below(5)).unwrap()])
            .collect::<Vec<_>>()
            .join("/")
    };
    for _ in 0..steps {
        let (p, q) = (path(random), path(random));
        let n = random.below(10_000);
        script += &match random.below(12) {
            0..=1 => format!("mkdir -p '{p}'\n"),
            2..=4 => format!("test -p '{p}' || echo {n} >'{p}' && touch -d @{n}.{n:09} '{p}'\n"),
            5 => format!("ln -s '{q}' '{p}'\n"),
            6 => format!("ln '{q}' '{p}'\n"),
            7 => format!("rm -rf '{p}'\n"),
            8 => format!("chmod {:o} '{p}'\n", 0o500 + n % 0o300),
            9 => format!("chown -h {}:{} '{p}'\n", n % 3, n % 5),
            10 => format!("setfattr -n user.k{} -v {n} '{p}'\n", n % 2),
            _ => format!("mkfifo '{p}' || mknod '{p}' c 1 {}\n", n % 9),
        };
    }
    script
}

#[test]
fn a_tree_plus_the_difference_is_the_other_tree() {
    needs!(root, "umoci", "python3", "setfattr");
    let seed = std::env::var("SEED").map_or_else(|_| u64::from(std::process::id()), |text| text.parse().unwrap());
    eprintln!("SEED={seed}");
    let mut random = Random(seed);
    for round in 0..8 {
        let room = Room::new();
        room.write("a.sh", format!("mkdir a; cd a\n{}", random_steps(&mut random, 60)));
        room.write("b.sh", format!("cp -a --preserve=all a b; cd b\n{}", random_steps(&mut random, 40)));
        room.sh("sh a.sh; sh b.sh; true").ok();
        room.sh("layer-diff a a | cmp - /dev/zero -n 1024 && test $(layer-diff a a | wc -c) = 1024").ok();
        room.sh("layer-diff a b >1 && layer-diff a b >2 && cmp 1 2").ok();
        // No path twice.
        assert_eq!(room.sh("tar -tf 1 | sort | uniq -d").ok(), "", "seed {seed} round {round}");
        room.sh("layer-diff --whole a >a.tar && layer-diff --whole b >b.tar").ok();
        room.sh("umoci init --layout made && umoci new --image made:latest && umoci raw add-layer --image made:latest a.tar \
                 && umoci raw add-layer --image made:latest 1")
            .ok();
        room.sh("img-unpack --layout made latest flat && img-unpack --layout made latest --overlay overlay").ok();
        tree::assert_equal(&tree::list(&room.path("flat/rootfs")), &tree::list(&room.path("b")));
        assert_same_views(&room);
    }
}

#[test]
fn what_an_overlay_mount_changed() {
    needs!(root, "umoci", "python3");
    let room = image(TROUBLE);
    room.sh("img-unpack --layout made --overlay latest box >box.json && img-unpack --layout made latest flat").ok();
    assert_eq!(room.sh("layer-diff box --list").ok(), "");
    room.sh("unshare -m sh -ec '\
             lower=$(tr , \"\\n\" <box/bundle.json | sed -n \"/lower/,/]/p\" | grep -o \"/[^\\\"]*\" | paste -sd:); \
             mount -t overlay overlay -o lowerdir=$lower,upperdir=box/upper,workdir=box/work box/rootfs; cd box/rootfs; \
             echo new >usr/new; echo more >>usr/lib/a; rm null; rm -r opaque; mkdir opaque; echo x >opaque/x; mv bin/su bin/su2; \
             ln usr/new usr/new2; chmod 700 run; touch gone; rm gone; python3 -c \"import socket; socket.socket(1).bind(\\\"sock\\\")\"; \
             cd ../..; cp -a --preserve=all box/rootfs seen'; rm -f seen/sock")
        .ok();
    let lines = room.sh("layer-diff --list <box.json").ok();
    for line in [
        "A /usr/new",
        "A /usr/new2",
        "C /usr/lib/a",
        "D /null",
        "C /opaque",
        "A /opaque/x",
        "D /opaque/above",
        "D /opaque/deep",
        "D /bin/su",
        "A /bin/su2",
        "C /run",
    ] {
        assert!(lines.lines().any(|l| l == line), "no {line:?} in\n{lines}");
    }
    assert!(!lines.contains("gone") && !lines.contains("sock"), "{lines}");
    // The layer on top of the image is what was to be seen; and the whole is, too.
    room.sh("layer-diff box >5.tar && umoci raw add-layer --image made:latest 5.tar && img-unpack --layout made latest again").ok();
    let mut seen = tree::list(&room.path("seen"));
    let again = tree::list(&room.path("again/rootfs"));
    seen.get_mut(Path::new("")).unwrap().mtime = again[Path::new("")].mtime;
    tree::assert_equal(&apart(again), &apart(seen.clone()));
    room.sh(
        "layer-diff --whole box | cat >all.tar && mkdir all && tar -C all --xattrs --xattrs-include='*' -xpf all.tar",
    )
    .ok();
    let whole = tree::list(&room.path("all"));
    assert_eq!(whole.keys().collect::<Vec<_>>(), seen.keys().collect::<Vec<_>>());
    // Changed content under an old time and an equal size needs --checksum.
    room.sh("cp -a flat/rootfs x; printf EVIL >x/dir/new; touch -r flat/rootfs/dir/new x/dir/new").ok();
    assert_eq!(room.sh("layer-diff --list flat/rootfs x").ok(), "");
    assert_eq!(room.sh("layer-diff --list --checksum flat/rootfs x").ok(), "C /dir\nC /dir/new");
    assert_eq!(room.sh("layer-diff --list --checksum --exclude /dir flat/rootfs x").ok(), "");
}

#[test]
fn layers_go_into_a_layout_and_are_the_same_bytes_anywhere() {
    needs!(root, "umoci", "python3", "zstd");
    let room = image(TROUBLE);
    room.sh("img-unpack --layout made latest flat").ok();
    let diff_id = format!("sha256:{}", room.sh("layer-diff --whole flat | sha256sum | cut -c1-64").ok());
    for compress in ["none", "gzip", "zstd"] {
        let record = room.sh(&format!("layer-diff --whole --layout lay --compress {compress} flat")).ok();
        assert!(record.contains(&diff_id), "{record}");
        assert_eq!(
            record,
            room.sh(&format!("taskset -c 0 layer-diff --whole --layout lay --compress {compress} flat")).ok()
        );
    }
    assert_eq!(
        format!(
            "sha256:{}",
            room.sh("layer-diff --whole --compress gzip flat | gzip -dc | sha256sum | cut -c1-64").ok()
        ),
        diff_id
    );
    assert_eq!(
        format!(
            "sha256:{}",
            room.sh("layer-diff --whole --compress zstd flat | zstd -dc | sha256sum | cut -c1-64").ok()
        ),
        diff_id
    );
    let clamped = room
        .sh("SOURCE_DATE_EPOCH=1000000000 layer-diff --whole flat | tar --full-time -tvf - | grep -c 2001-09-09")
        .ok();
    assert!(clamped.parse::<u32>().unwrap() > 20);
    assert_eq!(room.sh("layer-diff --whole flat >/dev/full").code, 1);
}

/// A file that a container wrote is in the layer, also when what wrote it put size and time back: npm gives every
/// file of every version the time 1985-10-26.
#[test]
fn a_written_file_counts_though_size_and_time_are_the_same() {
    needs!(root, "umoci", "python3");
    let room = image(r#"layer("1.tar", [("f", "f", {"data": b"old"}), ("g", "f", {"data": b"old"})])"#);
    room.sh("img-unpack --layout made --overlay latest o && cp -a root/layers/sha256/*/[fg] o/upper/").ok();
    room.sh("printf new >o/upper/f && touch -r o/upper/g o/upper/f").ok();
    assert_eq!(room.sh("layer-diff --list o").ok(), "C /f");
    assert_eq!(room.sh("layer-diff o | tar -xO f").ok(), "new");
}

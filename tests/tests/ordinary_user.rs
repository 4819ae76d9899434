//! Containers of an ordinary user who has ranges in subuid(5): with many users in them, and nothing left on the disk that
//! he could not remove. What an ordinary user without ranges can do is in rows.rs and spawn.rs.

use dock_tests::background::Yard;
use dock_tests::{Room, needs};
use std::os::unix::fs::{MetadataExt, chown};

/// An ordinary user that no machine has, and his range.
const ANN: u32 = 4321;
const RANGES: &str = "roomer:400000:65536\n";

fn yard() -> Yard {
    Yard::of(Room::of_user_with_ranges(ANN, RANGES))
}

/// Everything in the store that does not belong to the user himself.
fn of_others(room: &Room) -> Vec<(String, u32)> {
    let listing = Room::new().sh(&format!("find {} ! -uid {ANN} -printf '%P %U\\n'", room.path("root").display())).ok();
    let line = |line: &str| line.rsplit_once(' ').map(|(name, uid)| (name.to_owned(), uid.parse().unwrap()));
    listing.lines().filter_map(line).collect()
}

const SECRET: &str = "mkdir /secret && echo hi >/secret/f && chmod 700 /secret && busybox chown -R 33:34 /secret";

#[test]
fn a_container_has_many_users_from_its_start_to_its_end() {
    needs!(root, "busybox", "setpriv", "newuidmap", "unshare");
    let yard = yard();
    let ids = "cat /proc/self/uid_map | busybox tr -s \" \"; busybox chown 33 /tmp && busybox stat -c %u /tmp; id -u";
    assert_eq!(yard.sh(&format!("dock run --rm busybox sh -c '{ids}'")).ok(), " 0 4321 1\n 1 400000 65536\n33\n0");
    assert_eq!(yard.sh("dock run --rm -u www busybox id").ok(), "uid=33(www) gid=34(www) groups=34(www)");
    let told = "echo told >/dev/stdout; echo 7 >/v/n; busybox chown -R 33 /v; busybox chmod 700 /v";
    yard.sh(&format!("dock run -d --name box -v vol:/v busybox sh -c '{SECRET}; {told}; exec sleep 1000' >/dev/null"))
        .ok();
    yard.until("dock exec -u 33:34 box cat /secret/f /v/n", "hi\n7");
    // In its middle: looked into, copied from and to, as it runs.
    assert_eq!(yard.sh("dock cp box:/secret out && cat out/f && stat -c %u out").ok(), format!("hi\n{ANN}"));
    yard.sh("echo new >new && dock cp new box:/secret/new").ok();
    assert_eq!(yard.sh("dock exec box busybox stat -c %u:%g /secret/new").ok(), "0:0");
    assert_eq!(yard.sh("dock diff box | grep secret").ok(), "A /secret\nA /secret/f\nA /secret/new");
    assert!(yard.sh("dock ps -s").ok().contains("7B (virtual"), "3 bytes and 4, whoever owns them");
    yard.sh("dock stop -t 0 box").ok();
    // Behind its end: the same, by mounting what is left.
    assert_eq!(
        yard.sh("dock cp box:/secret/f - | tar -xO; dock cp -a box:/secret out2 && stat -c %u out2").ok(),
        format!("hi\n{ANN}")
    );
    assert_eq!(
        yard.sh("dock export box | tar -t --numeric-owner -v | grep secret/f | cut -c1-25")
            .ok()
            .split_whitespace()
            .nth(1),
        Some("33/34")
    );
    yard.sh("dock commit box snap >/dev/null").ok();
    assert_eq!(
        yard.sh("dock run --rm -u 33:34 snap busybox stat -c %a:%u:%g /secret /secret/f").ok(),
        "700:33:34\n644:33:34"
    );
    // A volume keeps them, too, and an empty one gets those of the image.
    assert_eq!(yard.sh("dock run --rm -v vol:/v -u 33 busybox cat /v/n").ok(), "7");
    assert_eq!(yard.sh("dock run --rm -v fresh:/secret snap busybox stat -c %u:%g /secret/f").ok(), "33:34");
    let foreign = of_others(&yard.room);
    for (part, owner) in [("upper/secret/f", 400_032), ("vol/_data/n", 400_032), ("layers/", 400_032)] {
        assert!(foreign.iter().any(|(name, uid)| name.contains(part) && *uid == owner), "{part} {owner}: {foreign:?}");
    }
    // And at the end nothing of that is left.
    assert_eq!(yard.sh("dock start box && dock rm -f box && dock volume rm vol fresh").ok(), "box\nbox\nvol\nfresh");
    yard.sh("dock system prune --all --force").ok();
    assert_eq!(of_others(&yard.room), []);
    assert_eq!(
        yard.sh("ls root/containers root/volumes root/layers/sha256").ok().lines().filter(|l| !l.is_empty()).count(),
        3
    );
}

#[test]
fn a_container_that_removes_itself_takes_everything_along() {
    needs!(root, "busybox", "setpriv", "newuidmap", "unshare");
    let yard = yard();
    yard.sh(&format!("dock run --rm busybox sh -c '{SECRET}'")).ok();
    yard.sh(&format!("dock run -d --rm --name back busybox sh -c '{SECRET}; exec sleep 1000' >/dev/null")).ok();
    yard.until("dock exec back cat /secret/f", "hi");
    assert!(!of_others(&yard.room).is_empty(), "it has written");
    yard.sh("dock stop -t 0 back").ok();
    yard.until("ls root/containers | wc -l", "0\n");
    // A process of another user of the container is killed by force, too: from outside of its namespace.
    yard.sh("dock run -d --name other -u 33 busybox sleep 1000 >/dev/null && dock rm -f other").ok();
    assert_eq!(yard.sh("dock run -d --name says -u 33 busybox sh -c 'echo told >/dev/stdout' >/dev/null; dock wait says; dock logs says").ok(), "0\ntold");
    yard.sh("dock rm says").ok();
    let foreign = of_others(&yard.room);
    assert!(foreign.iter().all(|(name, _)| name.starts_with("layers/")), "{foreign:?}");
}

#[test]
fn a_build_has_many_users_and_leaves_none_behind() {
    needs!(root, "busybox", "setpriv", "newuidmap", "unshare");
    let yard = yard();
    yard.room.write(
        "ctx/Dockerfile",
        format!(
            "FROM busybox AS made\nRUN {SECRET}\nUSER www\nRUN echo more >>/secret/f\nFROM busybox\n\
             COPY --from=made /secret /copied\nCOPY --from=made --chown=5:6 /secret /given\n\
             RUN --mount=type=cache,target=/c,uid=33 busybox stat -c %u:%g:%a /c /copied/f /given/f >/seen\n"
        ),
    );
    yard.room.write("bad/Dockerfile", format!("FROM busybox\nRUN {SECRET} && false\n"));
    yard.sh("dock build -q -t made ctx").ok();
    assert_eq!(yard.sh("dock run --rm made cat /seen /copied/f").ok(), "33:0:755\n33:34:644\n5:6:644\nhi\nmore");
    // The state of a failed step is his to enter, and goes with the next build.
    let ran = yard.sh("dock build --progress plain bad");
    let enter = ran.stderr.lines().find_map(|line| line.strip_prefix("hint: the state is kept; enter it with: "));
    let enter = enter.unwrap_or_else(|| panic!("no way in: {ran:#?}")).replace(" -t ", " ").replace(" -- sh", " -- ");
    assert_eq!(yard.sh(&format!("{enter} busybox stat -c %u /secret/f")).ok(), "33");
    yard.room.write("bad/Dockerfile", "FROM busybox\nRUN true\n");
    yard.sh("dock build -q bad").ok();
    assert_eq!(yard.sh("ls root/cache/failed").ok(), "");
    // What stays for the next build, he can remove as well.
    assert!(!of_others(&yard.room).is_empty());
    yard.sh("dock unshare rm -r root && ! [ -e root ]").ok();
}

#[test]
fn one_store_has_one_mapping() {
    needs!(root, "busybox", "setpriv", "newuidmap", "unshare");
    // Begun with one ID: it goes on so, and what is lost is said with what would have kept it.
    let yard = Yard::of(Room::of_user_with_ranges(ANN, ""));
    assert_eq!(yard.sh("dock run --rm busybox cat /proc/self/uid_map | tr -s ' '").ok(), " 0 4321 1");
    yard.sh(
        "tar -C t --owner=9 --group=9 -cf nine.tar . && img-append --base scratch --layer nine.tar -t nine >/dev/null",
    )
    .ok();
    let ran = yard.sh("img-unpack --overlay nine a");
    assert!(ran.stderr.contains("\nhint: /etc/subuid: no range for user roomer; with the package uidmap"), "{ran:#?}");
    yard.room.write("etc/ranges", RANGES);
    yard.sh("img-unpack --overlay --owners subids nine b").fails(1, "was begun with one ID");
    assert_eq!(yard.sh("dock run --rm busybox cat /proc/self/uid_map | tr -s ' '").ok(), " 0 4321 1");
    // Empty, it is begun anew, with the ranges that there are by now.
    yard.sh(
        "rm -r a && dock system prune --all --force && img-append --base scratch --layer nine.tar -t nine >/dev/null",
    )
    .ok();
    assert_eq!(yard.sh("dock run --rm nine busybox stat -c %u /bin/busybox").ok(), "9");
    yard.sh("img-unpack --overlay --owners mine nine c").fails(1, "was begun with subordinate IDs");
    // Without them nobody gets at it; a flat tree is the user's own as ever.
    yard.room.write("etc/ranges", "");
    let ran = yard.sh("dock run --rm nine true");
    let words = "dock: Error response from daemon: newuidmap: uid range ";
    assert!(ran.code == 125 && ran.stderr.starts_with(words), "{ran:#?}");
    assert_eq!(
        yard.sh("img-unpack nine flat >/dev/null 2>&1; stat -c %u flat/rootfs/bin/busybox; rm -r flat").ok(),
        "4321"
    );
    yard.room.write("etc/ranges", RANGES);
}

/// The user namespace of a host on which the kernel gives none: the parameter is one of each namespace's.
#[test]
fn a_host_without_user_namespaces_is_told_what_to_change() {
    needs!(root, "busybox", "setpriv", "newuidmap", "unshare");
    let yard = yard();
    let room = &yard.room;
    // A user namespace in which everybody is who he was: its root is an ordinary one, and its limit its own.
    room.write(
        "nested",
        r#"mkfifo go
unshare --user --mount sh -c 'read word <go; exec sh -c "$1"' sh "$1" & p=$!
while [ "$(readlink /proc/$p/ns/user)" = "$(readlink /proc/self/ns/user)" ]; do sleep .01; done
echo 0 0 500000 >/proc/$p/uid_map && echo 0 0 500000 >/proc/$p/gid_map
echo go >go && wait $p; code=$?; rm go; exit $code"#,
    );
    let host = |script: &str| {
        let ranges = "mount --bind etc/ranges /etc/subuid && mount --bind etc/ranges /etc/subgid && mount --bind etc/passwd /etc/passwd";
        let user = format!("setpriv --reuid {ANN} --regid {ANN} --clear-groups");
        let top = Room::new();
        top.sh(&format!(
            "cd {} && PATH={}:$PATH HOME=$PWD DOCK_ROOT=$PWD/root DOCK_RUN=$PWD/run sh nested '{ranges} && echo 0 >/proc/sys/user/max_user_namespaces && exec {user} {script}'",
            room.path("").display(),
            dock_tests::bin().display()
        ))
    };
    let why = "user.max_user_namespaces is 0, so ordinary users have no user namespaces: root allows them with sysctl -w user.max_user_namespaces=10000";
    let ran = host("dock run --rm busybox true");
    assert!(
        ran.code == 125 && ran.stderr.contains(&format!("unshare(CLONE_NEWUSER): No space left on device: {why}")),
        "{ran:#?}"
    );
    room.write("etc/ranges", "");
    let ran = host("dock run --rm busybox true");
    assert!(ran.code == 125 && ran.stderr.contains(&format!("\nhint: {why}")), "{ran:#?}");
    room.write("etc/ranges", RANGES);
}

/// Directories of the image that only another user of it may enter: not even the user himself from outside.
#[test]
fn closed_directories_of_an_image_are_no_obstacle() {
    needs!(root, "busybox", "setpriv", "newuidmap", "unshare");
    let yard = yard();
    yard.sh(
        "mkdir -m 700 c c/etc && printf 'www:x:33:34::/:/bin/sh\n' >c/etc/passwd && tar -C c --owner=33 --group=34 -cf c.tar . \
         && img-append --base busybox --layer c.tar -t closed >/dev/null",
    )
    .ok();
    let seen = "33:34 700 /\n33:34 700 /etc\n0:0 644 /etc/hosts";
    let look = "busybox stat -c '%u:%g %a %n' / /etc /etc/hosts";
    assert_eq!(yard.sh(&format!("dock run --rm closed {look}")).ok(), seen);
    assert_eq!(
        yard.sh(&format!("img-unpack --overlay closed box | ctr-spawn -- {look}; dock unshare rm -r box")).ok(),
        seen
    );
    let ran = yard.sh("dock run --rm -u 70000 closed true");
    assert!(ran.code == 125 && ran.stderr.contains("\nhint: no such ID in the container"), "{ran:#?}");
    // What is in closed directories counts, too.
    yard.sh("dock run --name big -v vol:/v closed sh -c 'for d in /d /v/d; do busybox mkdir -m 700 $d; head -c 2000000 /dev/zero >$d/f; busybox chown -R 33 $d; done'").ok();
    let used = yard.sh("dock system df | grep -cE '^(Containers .* 2MB +2MB|Local Volumes .* 2\\.0[0-9]*MB)'");
    assert_eq!(used.ok(), "2");
    yard.sh("dock rm big && dock volume rm vol").ok();
    yard.sh("dock run --name made closed busybox touch /etc/new").ok();
    assert_eq!(yard.sh("dock diff made").ok(), "C /etc\nA /etc/new");
    yard.sh("dock commit made snap >/dev/null && dock rm made").ok();
    assert_eq!(yard.sh(&format!("dock run --rm -u www snap {look}")).ok(), seen);
}

/// Namespaces of another container belong to the user namespace of that one, and those of the host to nobody here.
#[test]
fn namespaces_are_shared() {
    needs!(root, "busybox", "setpriv", "newuidmap", "unshare");
    for ranges in [RANGES, ""] {
        let yard = Yard::of(Room::of_user_with_ranges(ANN, ranges));
        yard.sh("dock run -d --name first busybox sleep 1000 >/dev/null").ok();
        let names = "for n in user net pid ipc uts mnt; do busybox readlink /proc/self/ns/$n; done";
        let first = yard.sh(&format!("dock exec first sh -c '{names}'")).ok();
        let run = "dock run --rm --network container:first --pid container:first busybox sh -c";
        let second = yard.sh(&format!("{run} '{names}'")).ok();
        let same: Vec<bool> = first.lines().zip(second.lines()).map(|(one, other)| one == other).collect();
        assert_eq!(same, [true, true, true, false, false, false], "{first} {second}");
        assert_eq!(
            yard.sh(&format!("{run} 'ls /sys/class/net; busybox ps -o args | busybox sed 2q'")).ok(),
            "lo\nCOMMAND\nsleep 1000"
        );
        // One more that joins the one that has joined.
        yard.sh("dock run -d --name next --pid container:first busybox sleep 2000 >/dev/null").ok();
        assert_eq!(yard.sh("dock run --rm --pid container:next busybox ps | grep -c 'sleep [12]000'").ok(), "2");
        assert_eq!(yard.sh("dock exec next ps | grep -c 'sleep [12]000'").ok(), "2");
        yard.sh("dock run -d --name shm --ipc shareable busybox sleep 1000 >/dev/null").ok();
        let ran = yard.sh("dock run --rm --ipc container:shm busybox true");
        assert!(ran.code == 125 && ran.stderr.contains("\nhint: it belongs to another user namespace"), "{ran:#?}");
        let of_host = yard.sh("readlink /proc/self/ns/pid /proc/self/ns/ipc; ls -d /dev/mqueue 2>/dev/null; true").ok();
        let look = "for n in pid ipc; do busybox readlink /proc/self/ns/$n; done; ls -d /dev/mqueue 2>/dev/null; cat /proc/sys/net/ipv4/ip_unprivileged_port_start; (echo 0 >/proc/sys/kernel/hostname) 2>&1";
        let seen = yard.sh(&format!("dock run --rm --pid host --ipc host busybox sh -c '{look}'"));
        assert_eq!(
            seen.stdout,
            format!("{of_host}\n0\nsh: can't create /proc/sys/kernel/hostname: Read-only file system\n"),
            "{seen:#?}"
        );
    }
}

#[test]
fn files_of_a_container_by_any_program() {
    needs!(root, "busybox", "setpriv", "newuidmap", "unshare");
    let yard = yard();
    yard.sh(&format!(
        "mkdir host && dock run --rm -v \"$PWD/host:/host\" busybox sh -c '{SECRET} && busybox mv /secret /host'"
    ))
    .ok();
    assert_eq!(std::fs::metadata(yard.room.path("host/secret")).unwrap().uid(), 400_032);
    yard.sh("rm -r host/secret").fails(1, "Permission denied");
    assert_eq!(yard.sh("dock unshare cat host/secret/f && dock unshare stat -c %u:%g host/secret").ok(), "hi\n33:34");
    assert_eq!(
        yard.sh("dock unshare sh -c 'echo $DOCK_ROOT $DOCK_RUN; img-ls | wc -l'").ok(),
        format!("{0}/root {0}/run\n1", yard.room.path("").display().to_string().trim_end_matches('/'))
    );
    yard.sh("dock unshare rm -r host/secret && rmdir host").ok();
    assert_eq!(yard.sh("dock unshare sh -c 'exit 3'").code, 3);
    yard.sh("ctr-unshare ./none").fails(127, "ctr-unshare: ./none: entity not found");
    yard.sh("ctr-unshare ./etc/ranges").fails(126, "permission denied");
    // Files of root stay root's.
    chown(yard.room.write("roots", "x"), Some(0), Some(0)).unwrap();
    assert_eq!(yard.sh("chmod 755 . ; dock unshare stat -c %u roots; dock unshare chown 0 roots").code, 1);
    assert_eq!(Room::new().sh("ctr-unshare id -u").ok(), "0", "root is root without that");
    assert_eq!(Room::of_user(ANN).sh("ctr-unshare id -u").ok(), "4321", "one ID needs no other");
}

/// Runs a script as the user on a machine of which root has changed something before.
fn on_a_machine(room: &Room, change: &str, script: &str) -> dock_tests::Ran {
    let here = room.path("").display().to_string();
    Room::new().sh(&format!(
        "cd {here} && exec unshare --mount sh -ec '
            for f in subuid subgid; do mount --bind etc/ranges /etc/$f; done; mount --bind etc/passwd /etc/passwd
            {change}
            export PATH={}:$PATH HOME=$PWD DOCK_ROOT=$PWD/root DOCK_RUN=$PWD/run
            exec setpriv --reuid {ANN} --regid {ANN} --clear-groups $nnp sh -c \"$0\"' '{script}'",
        dock_tests::bin().display()
    ))
}

#[test]
fn what_of_the_host_is_in_the_way_is_said_with_what_helps() {
    needs!(root, "busybox", "setpriv", "newuidmap", "unshare");
    let yard = yard();
    let helper = "h=$(command -v newuidmap); cp $h helper";
    for (change, why) in [
        (
            format!("{helper}; chmod 755 helper; mount --bind helper $h"),
            "is not set-user-ID root: root mends that with chmod u+s",
        ),
        (
            format!("{helper}; chmod 4755 helper; mount --bind helper $h; mount -o remount,bind,nosuid $h"),
            "is on a file system mounted nosuid",
        ),
        ("nnp=--no-new-privs".into(), "no_new_privs is set, as by a unit"),
    ] {
        let ran = on_a_machine(&yard.room, &change, "dock run --rm busybox true");
        let (first, rest) = ran.stderr.split_once('\n').unwrap_or_default();
        assert!(ran.code == 125 && first.contains("Operation not permitted: ") && first.contains(why), "{ran:#?}");
        // The tools behind the one that failed have nothing to add.
        assert_eq!(rest, "See 'dock run --help'.\n");
    }
    for (change, options, why) in [
        ("mount --bind /proc/sys /proc/sys", "", "\nhint: parts of /proc are covered here"),
        ("mount --bind /proc/sys /proc/sys", "--network host --pid host", ""),
        (
            "mkdir -p o/l o/u o/w; mount -t tmpfs o o; mkdir o/l o/u o/w; mount -t overlay -o lowerdir=o/l,upperdir=o/u,workdir=o/w o root/containers; chmod 777 root/containers",
            "",
            "\nhint: it lies on an overlay itself",
        ),
    ] {
        let ran = on_a_machine(&yard.room, change, &format!("dock run --rm {options} busybox true"));
        assert!(ran.code == if why.is_empty() { 0 } else { 125 } && ran.stderr.contains(why), "{change}: {ran:#?}");
    }
}

/// By cron, su or sudo there is no XDG_RUNTIME_DIR, or another user's.
#[test]
fn a_container_is_found_again_without_a_session() {
    needs!(root, "busybox", "setpriv", "newuidmap", "unshare");
    let yard = yard();
    let machine = format!(
        "mount -t tmpfs none /run; mkdir -p /run/user/{ANN} /run/user/1 state; chown {ANN} /run/user/{ANN} state; chmod 700 /run/user/*"
    );
    let script = format!(
        "unset DOCK_RUN; export XDG_RUNTIME_DIR=/run/user/{ANN}
        dock run -d --name here busybox sleep 1000 >/dev/null && dock exec here echo login
        unset XDG_RUNTIME_DIR; dock exec here echo cron
        XDG_RUNTIME_DIR=/run/user/1 dock exec here echo su
        XDG_RUNTIME_DIR=/none dock exec here echo none
        XDG_RUNTIME_DIR=$PWD/state dock ps -q; dock rm -f here"
    );
    let ran = on_a_machine(&yard.room, &machine, &script);
    assert_eq!(ran.ok(), "login\ncron\nsu\nnone\nhere");
    // Without any, it is kept with the rest.
    let ran = on_a_machine(
        &yard.room,
        "mount -t tmpfs none /run",
        "unset DOCK_RUN; dock run --rm busybox true && ls -d .local/share/dock/run/dock",
    );
    assert_eq!(ran.ok(), ".local/share/dock/run/dock");
}

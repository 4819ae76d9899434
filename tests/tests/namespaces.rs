//! Namespaces that exist already, clocks, and mounts of the less usual kinds.

use dock_tests::bundle::{config, configure, room};
use dock_tests::{Ran, Room, needs};
use serde_json::{Value, json};
use std::fs;

/// Replaces a namespace of the configuration, or adds it.
fn namespace(config: &mut Value, kind: &str, path: Option<&str>) {
    let list = config["linux"]["namespaces"].as_array_mut().unwrap();
    list.retain(|namespace| namespace["type"] != kind);
    list.push(path.map_or_else(|| json!({"type": kind}), |path| json!({"type": kind, "path": path})));
}

/// Runs ctr-spawn beside a process that `unshare` has put into namespaces of its own; its files are in `ns/`.
fn beside(room: &Room, unshare: &str, script: &str) -> Ran {
    room.sh(&format!(
        r"mkfifo up; unshare {unshare} sh -c 'echo $$ >up; exec sleep 60' >/dev/null 2>&1 & outer=$!
        read -r pid <up; pid=$(cat /proc/$outer/task/$outer/children); pid=${{pid:-$outer}}; pid=${{pid% }}
        rm -f ns; ln -s /proc/$pid/ns ns; {script}; code=$?; kill -KILL $pid $outer 2>/dev/null; wait 2>/dev/null; exit $code"
    ))
}

#[test]
fn namespaces_that_exist_are_joined() {
    needs!(root, "busybox", "unshare");
    for (kind, file, unshare) in [
        ("pid", "pid", "--fork --pid"),
        ("uts", "uts", "--uts"),
        ("ipc", "ipc", "--ipc"),
        ("network", "net", "--net"),
        ("cgroup", "cgroup", "--cgroup"),
        ("mount", "mnt", "--mount"),
        ("user", "user", "--user"),
        ("time", "time", "--fork --time"),
    ] {
        let room = room();
        let mut config = config(&["readlink", &format!("/proc/self/ns/{file}")]);
        namespace(&mut config, kind, Some(&room.path(&format!("ns/{file}")).display().to_string()));
        if kind == "uts" {
            config.as_object_mut().unwrap().remove("hostname");
        }
        configure(&room, &config);
        // The map of a user namespace is its maker's to write.
        let map = if kind == "user" { "for m in uid gid; do echo 0 0 65536 >/proc/$pid/${m}_map; done; " } else { "" };
        let ran = beside(&room, unshare, &format!("{map}readlink ns/{file}; ctr-spawn box"));
        let text = ran.ok();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines.len(), lines.first()), (2, lines.last()), "{kind}");
    }
}

#[test]
fn the_hosts_mounts_are_not_joined() {
    needs!(root, "busybox");
    let room = room();
    let mut config = config(&["true"]);
    namespace(&mut config, "mount", Some("/proc/self/ns/mnt"));
    configure(&room, &config);
    room.sh("ctr-spawn box").fails(125, "is the host's");
    namespace(&mut config, "mount", None);
    namespace(&mut config, "nosuch", None);
    configure(&room, &config);
    room.sh("ctr-spawn box").fails(125, "nosuch: no such namespace");
}

#[test]
fn clocks_of_its_own() {
    needs!(root, "busybox");
    let room = room();
    let mut config = config(&["cut", "-d.", "-f1", "/proc/uptime"]);
    config["process"]["args"] = json!(["busybox", "cut", "-d.", "-f1", "/proc/uptime"]);
    namespace(&mut config, "time", None);
    config["linux"]["timeOffsets"] = json!({"boottime": {"secs": 1_000_000}, "monotonic": {"secs": 5, "nanosecs": 7}});
    config["hooks"] = json!({"poststart": [{"path": "/bin/sh", "args": ["sh", "-c", format!("readlink /proc/self/ns/time >{}", room.path("hook").display())]}]});
    configure(&room, &config);
    let uptime: u64 = room.sh("ctr-spawn box").ok().parse().unwrap();
    assert!(uptime >= 1_000_000, "{uptime}");
    let ours = fs::read_link("/proc/self/ns/time").unwrap().display().to_string();
    assert_eq!(fs::read_to_string(room.path("hook")).unwrap().trim(), ours, "hooks have the host's clocks");
    config["linux"]["timeOffsets"] = json!({"realtime": {"secs": 1}});
    configure(&room, &config);
    room.sh("ctr-spawn box").fails(125, "realtime: want monotonic or boottime");
}

fn bind(config: &mut Value, source: &Room, options: &[&str]) {
    let mount = json!({"destination": "/data", "type": "bind", "source": source.path("data"), "options": options});
    config["mounts"].as_array_mut().unwrap().push(mount);
}

#[test]
fn attributes_of_a_mount_and_of_those_below() {
    needs!(root, "busybox", "unshare", "runc");
    let room = room();
    fs::create_dir_all(room.path("data")).unwrap();
    let script = "touch /data/x 2>/dev/null && echo rw || echo ro; touch /data/sub/x 2>/dev/null && echo rw || echo ro; \
        grep ' /data/sub ' /proc/self/mountinfo | cut -d' ' -f6";
    for (options, want) in [
        (&["rbind"][..], "rw\nrw\nrw,relatime"),
        (&["rbind", "rro"], "ro\nro\nro,relatime"),
        (&["rbind", "rnosuid", "rnoexec"], "rw\nrw\nrw,nosuid,noexec,relatime"),
        (&["rbind", "rro", "rexec"], "ro\nro\nro,relatime"),
    ] {
        let mut config = config(&["sh", "-c", script]);
        bind(&mut config, &room, options);
        configure(&room, &config);
        for runtime in ["ctr-spawn box", "timeout 60 runc --root rr run -b box attributes-$$ </dev/null"] {
            let mount = "mount -t tmpfs x data && mkdir data/sub && mount -t tmpfs y data/sub";
            let ran = room.sh(&format!("unshare -m sh -c '{mount} && {runtime}'"));
            assert_eq!(ran.ok(), want, "{options:?} {runtime}");
        }
    }
}

#[test]
fn propagation_both_ways_only_where_it_was_asked_for() {
    needs!(root, "busybox", "unshare");
    let room = room();
    fs::create_dir_all(room.path("data")).unwrap();
    for (options, rootfs, seen) in
        [(&["rbind", "rshared"][..], "shared", "1"), (&["rbind", "rslave"], "rslave", "0"), (&["rbind"], "", "0")]
    {
        let mut config = config(&[
            "sh",
            "-c",
            "mkdir -p /data/in /tmp/in && mount -t tmpfs inner /data/in && mount -t tmpfs other /tmp/in; grep -c inner /proc/self/mountinfo",
        ]);
        for set in ["bounding", "effective", "permitted"] {
            config["process"]["capabilities"][set] = json!(["CAP_SYS_ADMIN"]);
        }
        bind(&mut config, &room, options);
        config["linux"]["rootfsPropagation"] = json!(rootfs);
        configure(&room, &config);
        // The host of this test is a mount namespace whose mounts are all shared.
        let script = "mount --bind / / && mount --make-rshared / && mount -t tmpfs d data && mount --make-shared data; \
            before=$(grep -c . /proc/self/mountinfo); ctr-spawn box; grep -c inner /proc/self/mountinfo; \
            grep -c other /proc/self/mountinfo; umount data/in 2>/dev/null; echo $(($(grep -c . /proc/self/mountinfo) - before))";
        let text = room.sh(&format!("unshare -m sh -c '{script}'")).ok();
        assert_eq!(text, format!("1\n{seen}\n0\n0"), "{options:?}: inside, on the host, of another place, left");
    }
}

/// What the container's root is to the mounts around it, as the kernel tells it, under ctr-spawn and under runc.
#[test]
fn the_propagation_of_the_root_is_the_one_that_was_asked_for() {
    needs!(root, "busybox", "unshare", "runc");
    let room = room();
    for (wanted, tells) in [
        ("private", "-"),
        ("rprivate", "-"),
        ("slave", "master"),
        ("rslave", "master"),
        ("shared", "shared"),
        ("rshared", "shared"),
        ("unbindable", "unbindable"),
        ("runbindable", "unbindable"),
    ] {
        let mut config = config(&[
            "sh",
            "-c",
            "grep -E '^[0-9]+ [0-9]+ [^ ]+ [^ ]+ / ' /proc/self/mountinfo | cut -d' ' -f7 | cut -d: -f1",
        ]);
        config["linux"]["rootfsPropagation"] = json!(wanted);
        configure(&room, &config);
        let runc = "timeout 60 runc --root rr run -b box propagation-$$ </dev/null";
        // runc leaves a root private that was to be shared, and cannot start on one that nobody may bind.
        let runtimes = if matches!(tells, "shared" | "unbindable") { 1 } else { 2 };
        for runtime in ["ctr-spawn box", runc].iter().take(runtimes) {
            let ran = room.sh(&format!("unshare -m --propagation shared sh -c '{runtime}'"));
            assert_eq!(ran.ok(), tells, "{wanted:?} {runtime}");
        }
    }
}

/// A mount on the host's root, as some rescue systems have it, came along on top of the container's root.
#[test]
fn a_stack_of_roots_does_not_lead_out() {
    needs!(root, "busybox", "unshare");
    let room = room();
    configure(&room, &config(&["sh", "-c", "ls /..; cut -d' ' -f5 /proc/self/mountinfo | grep -c '^/$'"]));
    let stack = "mount --bind / / && mount --bind / / && ctr-spawn box";
    let text = room.sh(&format!("unshare -m sh -c '{stack}'")).ok();
    assert!(text.starts_with("bin\ndev\nproc\nsys\ntmp\n1"), "{text}");
}

#[test]
fn owners_are_mapped_by_a_mount() {
    needs!(root, "busybox");
    let room = room();
    room.write("data/file", "x");
    room.sh("chown 1000:1000 data && chown 1000:1001 data/file").ok();
    let mut config =
        config(&["sh", "-c", "stat -c '%u %g' /data/file; echo y >/data/made; stat -c '%u %g' /data/made"]);
    let map = json!([{"containerID": 1000, "hostID": 0, "size": 10}]);
    let mount = json!({"destination": "/data", "type": "bind", "source": room.path("data"), "options": ["bind"], "uidMappings": map, "gidMappings": map});
    config["mounts"].as_array_mut().unwrap().push(mount);
    configure(&room, &config);
    let ran = room.sh("ctr-spawn box");
    if ran.stderr.contains("MOUNT_ATTR_IDMAP): Invalid argument") {
        return dock_tests::skip("the file system below the temporary directory cannot map owners");
    }
    assert_eq!(ran.ok(), "0 1\n0 0");
    assert_eq!(room.sh("stat -c '%u %g' data/made").ok(), "1000 1000");
    config["mounts"].as_array_mut().unwrap().last_mut().unwrap()["options"] = json!(["bind", "idmap"]);
    config["mounts"].as_array_mut().unwrap().last_mut().unwrap()["uidMappings"] = json!([]);
    configure(&room, &config);
    room.sh("ctr-spawn box").fails(125, "takes uidMappings and gidMappings");
}

#[test]
fn a_tmpfs_that_starts_with_the_images_files() {
    needs!(root, "busybox");
    let room = room();
    room.sh("cd box/rootfs && mkdir -p d/sub && echo a >d/file && ln -s file d/link && echo b >d/sub/deep && chmod 644 d/file && chown 7:8 d/file && touch -d @1000 d/file").ok();
    let mut config = config(&[
        "sh",
        "-c",
        "cd /d; cat file link sub/deep; stat -c '%n %a %u:%g' . file; stat -c %Y file; echo c >new",
    ]);
    config["mounts"].as_array_mut().unwrap().push(json!({"destination": "/d", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "tmpcopyup", "mode=755"]}));
    configure(&room, &config);
    assert_eq!(room.sh("ctr-spawn box").ok(), "a\na\nb\n. 755 0:0\nfile 644 7:8\n1000");
    assert!(!room.path("box/rootfs/d/new").exists());
}

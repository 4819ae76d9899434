//! The less usual members of config.json, each as the process sees it, and runc beside us on the same file.

use dock_tests::bundle::{config, configure, room, with};
use dock_tests::{Ran, Room, needs, skip};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

/// The same configuration under ctr-spawn and under runc.
fn both(room: &Room, config: &Value) -> (Ran, Ran) {
    configure(room, config);
    let ours = room.sh("ctr-spawn box");
    (ours, room.sh("timeout 60 runc --root rr run -b box dock-config-$$ </dev/null"))
}

#[test]
fn a_process_looks_the_same_under_runc() {
    needs!(root, "busybox", "runc");
    let room = room();
    let script = "cat /proc/self/status /proc/self/limits; ls -l /dev | tr -s ' ' | cut -d' ' -f1-6,9-; env; umask; \
        cut -d' ' -f5 /proc/self/mountinfo | sort; id; cat /proc/self/oom_score_adj; stat -c '%n %a %u %g %F' /dev/* /proc /";
    let mut config = config(&["sh", "-c", script]);
    config["process"]["user"] = json!({"uid": 1000, "gid": 1001, "additionalGids": [5, 6], "umask": 0o27});
    config["process"]["rlimits"] =
        json!([{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 1000}, {"type": "RLIMIT_CORE", "soft": 0, "hard": 0}]);
    config["process"]["oomScoreAdj"] = json!(100);
    config["process"]["noNewPrivileges"] = json!(false);
    config["process"]["env"] = json!(["PATH=/bin", "A=b c", "HOME=/"]);
    // cgroup file systems of version 1 differ: only the trees in which something is limited are shown.
    config["mounts"].as_array_mut().unwrap().retain(|mount| mount["type"] != "cgroup");
    for (capability_sets, no_new_privileges) in [(json!([]), true), (json!(["CAP_KILL", "CAP_CHOWN"]), false)] {
        config["process"]["noNewPrivileges"] = json!(no_new_privileges);
        for set in ["inheritable", "ambient"] {
            config["process"]["capabilities"][set] = capability_sets.clone();
        }
        let (ours, theirs) = both(&room, &config);
        let plain = |ran: Ran| -> Vec<String> {
            let of_this_run = [
                "VmPeak",
                "VmSize",
                "VmHWM",
                "VmRSS",
                "RssAnon",
                "RssFile",
                "Vm",
                "voluntary_",
                "nonvoluntary_",
                "SigQ",
                "SigIgn",
                "FDSize",
                "Pid:",
                "Tgid:",
                "NSpid",
                "NStgid",
                "Ngid",
                "PPid",
            ];
            let lines = ran.ok();
            let lines = lines.lines().filter(|line| !of_this_run.iter().any(|start| line.starts_with(start)));
            // Device numbers and super block options of one mount are another's.
            lines.map(Into::into).collect()
        };
        let (ours, theirs) = (plain(ours), plain(theirs));
        for line in &theirs {
            assert!(ours.contains(line), "runc has {line:?}: {ours:#?}");
        }
        for line in &ours {
            assert!(theirs.contains(line), "runc has not {line:?}: {theirs:#?}");
        }
    }
}

/// Each line: what is changed, what the process does, and whether it starts at all. What it prints is what it prints
/// under runc.
#[test]
fn odd_configurations_are_taken_and_refused_as_runc_does() {
    needs!(root, "busybox", "runc");
    type Change = fn(&mut Value);
    let tmpfs = |config: &mut Value, options: Value| {
        let mount = json!({"destination": "/tmp/made", "type": "tmpfs", "source": "tmpfs", "options": options});
        config["mounts"].as_array_mut().unwrap().push(mount);
    };
    let rows: [(Change, &str, bool); 24] = [
        (|_| {}, "echo $HOME; cat /etc/passwd", true),
        (|config| config["process"]["user"] = json!({"uid": 7, "gid": 7}), "echo $HOME", true),
        (|config| config["process"]["user"] = json!({"uid": 8, "gid": 8}), "echo $HOME", true),
        (|config| config["process"]["env"] = json!(["PATH=/bin", "HOME=/mine"]), "echo $HOME", true),
        (|config| config["process"]["cwd"] = json!("relative"), "pwd", false),
        (|config| config["process"]["cwd"] = json!("/new/dir"), "pwd", true),
        (|config| config["process"]["args"] = json!([]), "", false),
        (|config| drop(config["process"].as_object_mut().unwrap().remove("args")), "", false),
        (|config| drop(config.as_object_mut().unwrap().remove("root")), "", false),
        (|config| config["root"]["path"] = json!("nosuch"), "true", false),
        (|config| config["ociVersion"] = json!("1.9.9-dev"), "true", true),
        (|config| config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "pid"})), "true", false),
        (|config| config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"})), "true", false),
        (
            |config| {
                config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
                config["linux"]["uidMappings"] = json!([{"containerID": 0, "hostID": 0, "size": 10}]);
            },
            "true",
            false,
        ),
        (|config| config["linux"]["rootfsPropagation"] = json!("nosuch"), "true", false),
        (|config| config["linux"]["sysctl"] = json!({"kernel.msgmax": "8192"}), "cat /proc/sys/kernel/msgmax", true),
        (|config| config["linux"]["sysctl"] = json!({"kernel.hostname": "x"}), "true", false),
        (
            |config| config["linux"]["sysctl"] = json!({"fs.mqueue.queues_max": "100"}),
            "cat /proc/sys/fs/mqueue/queues_max",
            true,
        ),
        (
            |config| config["linux"]["maskedPaths"] = json!(["/etc", "/file"]),
            "cat /file; ls /etc; echo >/etc/x || echo no",
            true,
        ),
        (|config| config["linux"]["readonlyPaths"] = json!(["/etc"]), "ls /etc; echo >/etc/x || echo no", true),
        (
            |config| {
                config["linux"]["devices"] =
                    json!([{"path": "/dev/x/y", "type": "p", "fileMode": 0o640, "uid": 3, "gid": 4}])
            },
            "stat -c '%F %a %u %g' /dev/x/y",
            true,
        ),
        (
            |config| config["process"]["rlimits"] = json!([{"type": "RLIMIT_NOSUCH", "soft": 1, "hard": 1}]),
            "true",
            false,
        ),
        (|config| config["process"]["rlimits"] = json!([{"type": "RLIMIT_CORE", "soft": 2, "hard": 1}]), "true", false),
        (|config| config["mounts"][0]["type"] = json!("nosuchfs"), "true", false),
    ];
    let room = room();
    room.write("box/rootfs/etc/passwd", "root:x:0:0::/root:/bin/sh\nseven:x:7:7::/home/seven:/bin/sh\n");
    room.write("box/rootfs/file", "content");
    let compare = |config: &Value, starts: bool| {
        let (ours, theirs) = both(&room, config);
        assert_eq!((ours.code == 0, theirs.code == 0), (starts, starts), "{ours:#?} {theirs:#?} {config:#}");
        assert_eq!(ours.stdout, theirs.stdout, "{config:#}");
        assert!(starts || ours.stderr.lines().filter(|line| !line.starts_with("hint: ")).count() == 1, "{ours:#?}");
        ours.stdout
    };
    for (change, script, starts) in rows {
        let mut config = config(&["sh", "-c", &format!("{script}; true")]);
        change(&mut config);
        compare(&config, starts);
    }
    // The mode of a directory that is covered, unless the mount has one.
    room.sh("mkdir -m 710 box/rootfs/tmp/made").ok();
    for (options, mode) in [(json!([]), "710\n"), (json!(["ro", "nosuid"]), "710\n")] {
        let mut config = config(&["stat", "-c", "%a", "/tmp/made"]);
        tmpfs(&mut config, options);
        assert_eq!(compare(&config, true), mode);
    }
    let mut config = config(&["stat", "-c", "%a", "/tmp/made"]);
    tmpfs(&mut config, json!(["mode=0444"]));
    configure(&room, &config);
    assert_eq!(room.sh("ctr-spawn box").ok(), "444");
}

/// The kernel shows the policy with each mapping.
#[test]
fn memory_comes_from_the_nodes_that_were_asked_for() {
    needs!(root, "busybox");
    let policy = |policy: Value| {
        with(|config| config["linux"]["memoryPolicy"] = policy, "head -n 1 /proc/self/numa_maps | cut -d ' ' -f 2")
    };
    assert_eq!(policy(json!({"mode": "MPOL_BIND", "nodes": "0"})).ok(), "bind:0");
    let flags = json!({"mode": "MPOL_PREFERRED", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]});
    assert_eq!(policy(flags).ok(), "prefer=static:0");
    assert_eq!(policy(json!({"mode": "MPOL_DEFAULT"})).ok(), "default");
    for (wrong, words) in [
        (json!({"mode": "MPOL_WHATEVER"}), "MPOL_WHATEVER: no such mode"),
        (json!({"mode": "MPOL_BIND", "nodes": "3-1"}), "3-1: not a list of memory nodes"),
        (json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_X"]}), "MPOL_F_X: no such flag"),
        (json!({"mode": "MPOL_BIND", "nodes": "1000"}), "set_mempolicy(MPOL_BIND, {1000}): Invalid argument"),
    ] {
        policy(wrong).fails(125, words);
    }
}

#[test]
fn another_major_version_is_refused() {
    needs!(root, "busybox");
    with(|config| config["ociVersion"] = json!("2.0.0"), "true").fails(125, "ociVersion 2.0.0: this program reads 1.x");
}

#[test]
fn capability_sets_are_those_that_are_named() {
    needs!(root, "busybox", "runc");
    let room = room();
    let mut config = config(&["grep", "^Cap", "/proc/self/status"]);
    let all = ["CAP_KILL", "CAP_CHOWN", "CAP_SETUID"];
    for (uid, inheritable, ambient) in [
        (0, &all[..0], &all[..0]),
        (0, &all[..1], &all[..0]),
        (1000, &all[..0], &all[..]),
        (1000, &all[..2], &all[..1]),
        (1000, &all[..2], &all[..]),
    ] {
        config["process"]["user"] = json!({"uid": uid, "gid": uid});
        let sets = &mut config["process"]["capabilities"];
        for set in ["bounding", "effective", "permitted"] {
            sets[set] = json!(all);
        }
        (sets["inheritable"], sets["ambient"]) = (json!(inheritable), json!(ambient));
        let (ours, theirs) = both(&room, &config);
        assert_eq!(ours.ok(), theirs.ok(), "{uid} {inheritable:?} {ambient:?}");
    }
}

#[test]
fn scheduler_priorities_and_personality() {
    needs!(root, "busybox");
    // Of /proc/PID/stat: nice, real-time priority, policy.
    let stat = "cut -d' ' -f19,40,41 /proc/self/stat";
    let scheduler = |value: Value| with(|config| config["process"]["scheduler"] = value, stat);
    assert_eq!(scheduler(json!({"policy": "SCHED_BATCH", "nice": 7})).ok(), "7 0 3");
    // What it says nothing of stays as it is for us.
    let nice = dock_tests::Room::new().sh("nice").ok();
    assert_eq!(scheduler(json!({"policy": "SCHED_RR", "priority": 5})).ok(), format!("{nice} 5 2"));
    scheduler(json!({"policy": "SCHED_X"})).fails(125, "SCHED_X: no such policy");
    scheduler(json!({"policy": "SCHED_OTHER", "flags": ["X"]})).fails(125, "X: no such flag");
    scheduler(json!({"policy": "SCHED_FIFO", "priority": 100}))
        .fails(125, "sched_setattr(SCHED_FIFO): Invalid argument");
    let io = |value: Value| with(|config| config["process"]["ioPriority"] = value, "busybox ionice -p $$");
    assert_eq!(io(json!({"class": "IOPRIO_CLASS_BE", "priority": 6})).ok(), "best-effort: prio 6");
    assert!(io(json!({"class": "IOPRIO_CLASS_IDLE"})).ok().starts_with("idle"));
    io(json!({"class": "IOPRIO_CLASS_BE", "priority": 8})).fails(125, "8: not 0 to 7");
    let personality = |value: Value| with(|config| config["linux"]["personality"] = value, "busybox uname -m");
    assert_ne!(personality(json!({"domain": "LINUX32"})).ok(), personality(json!({"domain": "LINUX"})).ok());
    personality(json!({"domain": "BSD"})).fails(125, "BSD: want LINUX or LINUX32");
    // For what comes in later only.
    with(|config| config["process"]["execCPUAffinity"] = json!({"initial": "0"}), "true").ok();
}

/// Only the tree of version 2, in a mount namespace of one's own.
const VERSION_2: &str =
    "unshare -m sh -c 'umount -R /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup && exec \"$@\"' sh";

#[test]
fn version_2_decides_on_devices_by_a_program() {
    needs!(root, "busybox", "unshare");
    let open = |name: &str| format!("head -c 1 {name} >/dev/null 2>&1 && echo yes || echo no;");
    let script = format!(
        "busybox mknod /dev/zero2 c 1 5; busybox mknod /dev/kmsg2 c 1 11; {}{}{}",
        open("/dev/zero2"),
        open("/dev/kmsg2"),
        open("/dev/random")
    );
    let room = room();
    let mut config = config(&["sh", "-c", &script]);
    for set in ["bounding", "effective", "permitted"] {
        config["process"]["capabilities"][set] = json!(["CAP_MKNOD"]);
    }
    config["linux"]["resources"] = json!({"devices": [
        {"allow": false, "access": "rwm"},
        {"allow": false, "type": "c", "major": 1, "minor": 8, "access": "r"},
    ]});
    configure(&room, &config);
    let ran = room.sh(&format!("{VERSION_2} ctr-spawn --id bpf-devices box"));
    assert_eq!(ran.stdout, "yes\nno\nno\n", "what every container has, what none has, what is refused: {ran:#?}");
    assert_eq!(
        room.sh(&format!("{VERSION_2} ls -d /sys/fs/cgroup/dock/bpf-devices 2>&1 | grep -c cannot")).ok(),
        "1",
        "it goes with the container"
    );
    // A limit whose controller this tree has not is an error; which ones it has depends on the host.
    config["linux"]["resources"] = json!({"network": {"classID": 7}});
    configure(&room, &config);
    room.sh(&format!("{VERSION_2} ctr-spawn box")).fails(125, "no net_cls controller");
}

#[test]
fn limits_of_version_1_that_few_ask_for() {
    needs!(root, "busybox");
    if !Path::new("/sys/fs/cgroup/blkio/blkio.throttle.read_bps_device").exists() {
        return skip("needs the blkio controller of cgroup v1");
    }
    let disks = fs::read_dir("/sys/block").unwrap().flatten();
    let Some(device) = disks.filter_map(|disk| fs::read_to_string(disk.path().join("dev")).ok()).next() else {
        return skip("needs a block device");
    };
    let (major, minor) = device.trim().split_once(':').unwrap();
    let number = |text: &str| text.parse::<u32>().unwrap();
    let rate = |rate: u64| json!([{"major": number(major), "minor": number(minor), "rate": rate}]);
    let cat = |files: &str| format!("cd /sys/fs/cgroup; cat {files}");
    let text = with(
        |config| {
            config["linux"]["resources"] = json!({
                "blockIO": {"throttleReadBpsDevice": rate(1_048_576), "throttleWriteIOPSDevice": rate(55)},
                "cpu": {"quota": 50_000, "period": 100_000, "burst": 1000, "idle": 0},
                "memory": {"limit": 33_554_432, "swappiness": 10, "disableOOMKiller": true},
            });
        },
        &cat(
            "blkio/blkio.throttle.read_bps_device blkio/blkio.throttle.write_iops_device cpu/cpu.cfs_burst_us memory/memory.swappiness memory/memory.oom_control | head -5",
        ),
    );
    let device = device.trim();
    assert_eq!(text.ok(), format!("{device} 1048576\n{device} 55\n1000\n10\noom_kill_disable 1"));
    for (resources, message) in [
        (json!({"network": {"classID": 7}}), "no net_cls controller"),
        (json!({"rdma": {"mlx": {"hcaHandles": 3}}}), "no rdma controller"),
        (json!({"hugepageLimits": [{"pageSize": "7MB", "limit": 0}]}), "hugetlb"),
    ] {
        let ran = with(|config| config["linux"]["resources"] = resources.clone(), "true");
        assert_eq!(ran.code, 125, "a limit that cannot be set is an error: {resources} {ran:#?}");
        assert!(ran.stderr.contains(message) || ran.stderr.contains("write("), "{ran:#?}");
    }
}

#[test]
fn a_cgroup_stands_where_systemd_would_make_it() {
    needs!(root, "busybox");
    if !Path::new("/sys/fs/cgroup/pids/cgroup.procs").exists() {
        return skip("needs cgroup v1");
    }
    let change = |config: &mut Value| {
        config["linux"]["cgroupsPath"] = json!("dockt-a.slice:pre:name");
        config["linux"]["resources"] = json!({"pids": {"limit": 50}});
        let kinds = ["pid", "network", "ipc", "uts", "mount"].map(|kind| json!({"type": kind}));
        config["linux"]["namespaces"] = json!(kinds);
    };
    let text = with(change, "grep pids /proc/self/cgroup").ok();
    assert!(text.ends_with("/dockt.slice/dockt-a.slice/pre-name.scope"), "{text}");
    assert!(!Path::new("/sys/fs/cgroup/pids/dockt.slice/dockt-a.slice").exists());
}

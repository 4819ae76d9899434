//! Limits, devices and parameters of the kernel.

use crate::v1;
use dock_tests::bundle::{config, configure, room, with};
use dock_tests::{needs, skip};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

#[test]
fn limits_are_in_force_and_go_with_the_container() {
    needs_a_container!();
    let Some(memory) = v1("memory") else { return skip("needs cgroup v1") };
    let room = room();
    // Cgroups are the machine's.
    let id = |name: &str| format!("{name}-test-{}", std::process::id());
    let mut config = config(&[
        "sh",
        "-c",
        "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/cpu/cpu.cfs_quota_us; touch /sys/fs/cgroup/memory/x || echo ro; cat /proc/self/cgroup | grep -v ':/$'",
    ]);
    config["linux"]["resources"] =
        json!({"memory": {"limit": 67_108_864}, "pids": {"limit": 33}, "cpu": {"quota": 50_000, "period": 100_000}});
    configure(&room, &config);
    let ran = room.sh(&format!("ctr-spawn --id {} box", id("limits")));
    assert_eq!(ran.stdout, "67108864\n33\n50000\nro\n", "{ran:#?}");
    assert!(!memory.join("dock").join(id("limits")).exists());

    // More memory than allowed: the kernel ends it.
    config["process"]["args"] =
        json!(["sh", "-c", "head -c 200000000 /dev/zero | tail -c 199999999 >/dev/null; exit 3"]);
    config["linux"]["resources"] = json!({"memory": {"limit": 16_777_216}});
    configure(&room, &config);
    room.write("box/container.json", "{}");
    let ran = room.sh(&format!("ctr-spawn --id {} box", id("oom")));
    let exit: Value = serde_json::from_slice(&fs::read(room.path("box/exit.json")).unwrap()).unwrap();
    assert_eq!(exit["oomKilled"], true, "{ran:#?} {exit}");
    assert!(exit["usage"]["cgroupMemoryPeak"].as_u64().unwrap() > 1 << 20, "{exit}");
    assert!(!memory.join("dock").join(id("oom")).exists());

    // What cannot be applied is an error, not a wish.
    config["linux"]["resources"] = json!({"unified": {"nosuch.max": "1"}});
    configure(&room, &config);
    room.sh("ctr-spawn box").fails(125, "no nosuch controller");
    config["linux"]["resources"] = json!({"cpu": {"cpus": "4000"}});
    configure(&room, &config);
    room.sh(&format!("ctr-spawn --id {} box", id("cpus"))).fails(125, "cpuset.cpus");
    assert!(!Path::new("/sys/fs/cgroup/cpuset/dock").join(id("cpus")).exists());
}

#[test]
fn device_nodes_open_only_what_the_list_allows() {
    needs_a_container!();
    if v1("devices").is_none() {
        return skip("needs cgroup v1");
    }
    let open = |name: &str| format!("head -c 1 {name} >/dev/null 2>&1 && echo yes || echo no;");
    let script = format!(
        "mknod /dev/zero2 c 1 5; mknod /dev/kmsg2 c 1 11; mknod /tmp/zero3 c 1 5; {}{}{}",
        open("/dev/zero2"),
        open("/dev/kmsg2"),
        open("/tmp/zero3")
    );
    let room = room();
    symlink("busybox", room.path("box/rootfs/bin/mknod")).unwrap();
    let mut config = config(&["sh", "-c", &script]);
    for set in ["bounding", "effective", "permitted"] {
        config["process"]["capabilities"][set] = json!(["CAP_MKNOD"]);
    }
    config["linux"]["resources"] = json!({"devices": [{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "access": "m"}, {"allow": true, "type": "c", "major": 1, "minor": 3, "access": "rwm"}, {"allow": true, "type": "c", "major": 1, "minor": 5, "access": "rwm"}]});
    configure(&room, &config);
    assert_eq!(
        room.sh("ctr-spawn box").ok(),
        "yes\nno\nno",
        "allowed, not in the list, on a file system without devices"
    );
}

#[test]
fn cve_2022_0811_only_sysctls_of_a_namespace() {
    needs_a_container!();
    with(|config| config["linux"]["sysctl"] = json!({"kernel.core_pattern": "|/x"}), "true")
        .fails(125, "belongs to no namespace");
    with(|config| config["linux"]["sysctl"] = json!({"kernel.shm_rmid_forced+kernel.core_pattern": "1"}), "true")
        .fails(125, "belongs to no namespace");
    let text = with(
        |config| config["linux"]["sysctl"] = json!({"net.ipv4.ip_forward": "1"}),
        "cat /proc/sys/net/ipv4/ip_forward",
    )
    .ok();
    assert_eq!(text, "1");
}

/// Every limit that Linux has, as the process sees it, here and under runc.
#[test]
fn each_rlimit_by_its_name() {
    needs!(root, "busybox", "runc");
    let room = room();
    let mut config = config(&["cat", "/proc/self/limits"]);
    // None is raised: there are machines whose root may not.
    let (large, most) = (1_u64 << 40, u64::MAX);
    config["process"]["rlimits"] = [
        ("CPU", 5000, 6000),
        ("FSIZE", 1 << 30, most),
        ("DATA", large, large + 4096),
        ("STACK", 4 << 20, 64 << 20),
        ("CORE", 0, 4096),
        ("RSS", 1 << 30, 1 << 31),
        ("NPROC", 30_000, 40_000),
        ("NOFILE", 200, 300),
        ("MEMLOCK", 65536, 131_072),
        ("AS", large, most),
        ("LOCKS", 70, 80),
        ("SIGPENDING", 500, 501),
        ("MSGQUEUE", 4096, 8192),
        ("NICE", 0, 0),
        ("RTPRIO", 0, 0),
        ("RTTIME", 1_000_000, 2_000_000),
    ]
    .map(|(name, soft, hard)| json!({"type": format!("RLIMIT_{name}"), "soft": soft, "hard": hard}))
    .into();
    configure(&room, &config);
    let ours = room.sh("ctr-spawn box").ok();
    assert_eq!(ours, room.sh("timeout 60 runc --root rr run -b box rlimits-$$ </dev/null").ok());
    for line in [
        "Max cpu time              5000                 6000",
        "Max realtime timeout      1000000              2000000",
    ] {
        assert!(ours.contains(line), "{ours}");
    }
}

#[test]
fn a_limit_that_root_may_not_raise_is_clamped_and_said() {
    needs_a_container!();
    let room = room();
    let mut config = config(&["sh", "-c", "ulimit -Sn; ulimit -Hn"]);
    config["process"]["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 1000}]);
    configure(&room, &config);
    assert_eq!(room.sh("ctr-spawn box").ok(), "100\n1000");
    config["process"]["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 5000, "hard": 5000}]);
    configure(&room, &config);
    let ran = room.sh("ulimit -n 2000; ulimit -Sn 500; setpriv --bounding-set -sys_resource ctr-spawn box");
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "2000\n2000\n"), "{ran:#?}");
    assert!(ran.stderr.starts_with("ctr-spawn: note: RLIMIT_NOFILE: "), "{ran:#?}");
}

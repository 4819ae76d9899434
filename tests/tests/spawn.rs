//! ctr-spawn: a real kernel, busybox as the root file system, bundles made by hand.

use dock_tests::bundle::{busybox, config, configure, room};
use dock_tests::{Ran, Room, has, is_root, needs, skip};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// An ordinary user that no machine has.
const NOBODY: u32 = 12_345;

/// Runs a shell script in the container of a fresh bundle.
fn inside(script: &str) -> Ran {
    let room = room();
    configure(&room, &config(&["sh", "-c", script]));
    room.sh("ctr-spawn box")
}

/// The same with changes to the configuration.
fn with(change: impl FnOnce(&mut Value), script: &str) -> Ran {
    let room = room();
    let mut config = config(&["sh", "-c", script]);
    change(&mut config);
    configure(&room, &config);
    room.sh("ctr-spawn box")
}

macro_rules! needs_a_container {
    () => {
        needs!(root, "busybox")
    };
}

#[test]
fn the_process_is_alone() {
    needs_a_container!();
    let text = inside("echo $$ $(hostname) $(ps | wc -l); echo \"$A\"; ip addr show lo | grep -c 'LOOPBACK,UP'; ip link | grep -c mtu; cat /proc/1/cgroup | grep -v ':/$' || echo none").ok();
    let lines: Vec<&str> = text.lines().collect();
    // ps, its subshell, the shell and the title
    assert!(lines[0].starts_with("1 inside "), "{text}");
    assert!(lines[0].rsplit(' ').next().unwrap().parse::<u32>().unwrap() <= 6, "{text}");
    assert_eq!(lines[1..], ["b c", "1", "1", "none"], "environment, loopback up, no other device, cgroup root");
}

#[test]
fn it_sees_its_own_mounts_and_the_host_does_not() {
    needs_a_container!();
    let room = room();
    configure(&room, &config(&["sh", "-c", "mount; mkdir -p /tmp/m && mount -t tmpfs x /tmp/m; echo $?"]));
    let text = room.sh_without_mounts_left("ctr-spawn box").ok();
    let wanted = [
        "proc on /proc type proc (rw,nosuid,nodev,noexec",
        "tmpfs on /dev type tmpfs",
        "devpts on /dev/pts",
        "sysfs on /sys type sysfs (ro,",
        "mqueue on /dev/mqueue",
        "tmpfs on /dev/shm",
        "proc on /proc/sys type proc (ro",
    ];
    for wanted in wanted {
        assert!(text.contains(wanted), "no {wanted:?} in {text}");
    }
    assert!(
        !text.contains("vda on /etc") && text.lines().filter(|line| line.contains(" on / ")).count() == 1,
        "{text}"
    );
    assert_eq!(
        text.lines().last(),
        Some("255").filter(|_| text.ends_with("255")).or(Some("1")),
        "no CAP_SYS_ADMIN: {text}"
    );
}

#[test]
fn descriptors_signals_and_privileges_start_clean() {
    needs_a_container!();
    let room = room();
    configure(&room, &config(&["ls", "/proc/self/fd"]));
    // Descriptors of the caller that are not close-on-exec, and an ignored signal.
    let caller = "trap '' PIPE USR1 INT QUIT; exec 7</etc/passwd 9</; ctr-spawn box";
    assert_eq!(room.sh(caller).ok(), "0\n1\n2\n3", "CVE-2016-9962; 3 is ls's own directory");
    let text = room.sh(&format!("{caller} -- cat /proc/self/status")).ok();
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    for name in ["CapInh:", "CapAmb:", "SigIgn:", "SigBlk:"] {
        assert_eq!(u64::from_str_radix(&field(name), 16).unwrap(), 0, "{name} CVE-2022-29162");
    }
    assert_eq!(field("CapBnd:"), "00000000000004e1");
    assert_eq!(field("CapEff:"), "00000000000004e1");
    assert_eq!(field("NoNewPrivs:"), "1");
    assert_eq!(field("Umask:"), "0022");
}

#[test]
fn cve_2024_21626_no_descriptor_of_ours_is_a_working_directory() {
    needs_a_container!();
    let room = room();
    for number in 3..32 {
        let mut config = config(&["sh", "-c", "pwd; ls /"]);
        config["process"]["cwd"] = json!(format!("/proc/self/fd/{number}"));
        configure(&room, &config);
        // Descriptors of the caller's, beside our own.
        let ran = room.sh("exec 7</ 8</etc 9</proc/self; ctr-spawn box");
        assert_eq!(ran.code, 125, "{ran:#?}");
        assert!(ran.stderr.starts_with("ctr-spawn: working directory: "), "{ran:#?}");
    }
}

#[test]
fn a_missing_working_directory_is_made() {
    needs_a_container!();
    assert_eq!(with(|config| config["process"]["cwd"] = json!("/srv/a/b"), "pwd").ok(), "/srv/a/b");
}

#[test]
fn masked_and_read_only_paths() {
    needs_a_container!();
    let text = inside("wc -c </proc/kcore; wc -c </proc/keys; ls /proc/acpi /sys/firmware | grep -c -v :; echo x >/proc/sys/kernel/hostname || echo ro; echo x >/proc/sysrq-trigger || echo ro; touch /sys/x || echo ro").ok();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines.iter().filter(|line| **line == "ro").count() == 3, "{text}");
    assert!(lines.contains(&"0"), "masked files are empty: {text}");
}

#[test]
fn exit_codes() {
    needs_a_container!();
    let room = room();
    room.write("box/rootfs/tmp/notexec", "x");
    room.write("box/rootfs/tmp/noint", "#!/no/such\n");
    room.write("box/rootfs/tmp/crlf", "#!/bin/sh\r\ntrue\n");
    room.write("box/rootfs/tmp/text", "just text");
    room.write("box/rootfs/tmp/other", b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\xb7\0\x01\0\0\0");
    for name in ["noint", "crlf", "text", "other"] {
        let path = room.path(&format!("box/rootfs/tmp/{name}"));
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    configure(&room, &config(&["true"]));
    room.sh("ctr-spawn box").ok();
    assert_eq!(room.sh("ctr-spawn box -- sh -c 'exit 42'").code, 42);
    room.sh("ctr-spawn box -- nosuch").fails(127, "exec: nosuch: not found in the container's PATH");
    room.sh("ctr-spawn box -- /no/such").fails(127, "exec: /no/such: no such file");
    room.sh("ctr-spawn box -- /tmp").fails(126, "is a directory");
    room.sh("ctr-spawn box -- /tmp/notexec").fails(126, "no execute permission");
    room.sh("ctr-spawn box -- /tmp/noint").fails(127, "its #! line names /no/such, which is not in the container");
    room.sh("ctr-spawn box -- /tmp/crlf").fails(127, "DOS line ends");
    room.sh("ctr-spawn box -- /tmp/text").fails(126, "no #! line");
    room.sh("ctr-spawn box -- /tmp/other").fails(126, "arm64");
    room.sh("ctr-spawn nobox").fails(125, "nobox");
    room.sh("ctr-spawn --no-such-option").fails(125, "--no-such-option");
    room.sh("ctr-spawn </dev/null").fails(125, "no bundle record on <stdin>");
    room.write("box/config.json", "{");
    room.sh("ctr-spawn box").fails(125, "config.json");
}

#[test]
fn signals_are_passed_on() {
    needs_a_container!();
    let room = room();
    configure(&room, &config(&["sh", "-c", "trap 'echo got; exit 7' TERM; echo ready; while :; do sleep 0.05; done"]));
    let ran = room.sh("mkfifo f; ctr-spawn box >f & pid=$!; { read ready; kill -TERM $pid; cat; } <f; wait $pid");
    assert_eq!((ran.code, ran.stdout.as_str()), (7, "got\n"), "{ran:#?}");
    // A signal that ends the process: 128 + n. PID 1 has no default action, so its child does it from outside.
    configure(&room, &config(&["sleep", "100"]));
    let ran = room.sh(
        "ctr-spawn --id sig box & pid=$!
        for n in $(seq 1000); do child=$(tr -d ' ' </proc/$pid/task/$pid/children); grep -qsx sleep /proc/$child/comm && break; sleep 0.02; done
        kill -KILL $child; wait $pid",
    );
    assert_eq!(ran.code, 137, "{ran:#?}");
}

#[test]
fn the_rest_of_stdin_is_the_containers() {
    needs_a_container!();
    let room = room();
    configure(&room, &config(&["cat"]));
    let record = json!({"formatVersion": "1.0", "kind": "bundle", "path": room.path("box")});
    let text = room.sh(&format!("{{ echo '{record}'; echo one; echo two; }} | ctr-spawn")).ok();
    assert_eq!(text, "one\ntwo");
    room.sh("printf '' | ctr-spawn").fails(125, "no bundle record");
}

/// Where this host has a controller, as a directory of version 1, or none.
fn v1(controller: &str) -> Option<PathBuf> {
    let path = Path::new("/sys/fs/cgroup").join(controller);
    path.join("cgroup.procs").exists().then_some(path)
}

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

fn overlay(room: &Room, name: &str) -> String {
    for dir in ["rootfs", "upper", "work"] {
        fs::create_dir_all(room.path(&format!("{name}/{dir}"))).unwrap();
    }
    json!({"formatVersion": "1.0", "kind": "bundle", "path": room.path(name), "overlay": {
        "lower": [room.path("layer2"), room.path("layer1")], "upper": room.path(&format!("{name}/upper")),
        "work": room.path(&format!("{name}/work"))}})
    .to_string()
}

#[test]
fn two_containers_of_one_image_do_not_see_each_other() {
    needs_a_container!();
    let room = Room::new();
    busybox(&room.path("layer1"));
    room.write("layer2/etc/motd", "from the image\n");
    for name in ["one", "two"] {
        let record = overlay(&room, name);
        room.write(&format!("{name}/bundle.json"), record);
        room.write(&format!("{name}/config.json"), config(&["sh", "-c", "cat /etc/motd"]).to_string());
    }
    room.sh("ctr-spawn one -- sh -c 'echo changed >/etc/motd; echo x >/new'").ok();
    assert_eq!(room.sh("ctr-spawn one").ok(), "changed");
    assert_eq!(room.sh("ctr-spawn two").ok(), "from the image");
    assert_eq!(fs::read_to_string(room.path("layer2/etc/motd")).unwrap(), "from the image\n");
    assert!(room.path("one/upper/new").exists() && !room.path("two/upper/new").exists());
    assert!(fs::read_dir(room.path("one/rootfs")).unwrap().next().is_none(), "nothing is mounted on the host");
    assert!(!room.path("one/work/work/incompat").exists(), "overlayfs's mark is removed");
    room.sh("ctr-spawn --rm one").ok();
    assert!(!room.path("one").exists() && room.path("layer1/bin/busybox").exists());
}

#[test]
fn a_killed_ctr_spawn_leaves_nothing() {
    needs_a_container!();
    let room = Room::new();
    busybox(&room.path("layer1"));
    fs::create_dir_all(room.path("layer2")).unwrap();
    let record = overlay(&room, "box");
    room.write("box/bundle.json", record);
    let mut config = config(&["sleep", "1000"]);
    config["linux"]["resources"] = json!({"pids": {"limit": 9}});
    configure(&room, &config);
    let id = |name: &str| format!("{name}-{}", std::process::id());
    let mut child = Command::new(dock_tests::bin().join("ctr-spawn"))
        .args(["--id", &id("killed")])
        .arg(room.path("box"))
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let children = format!("/proc/{0}/task/{0}/children", child.id());
    let pid = eventually(|| {
        let pid = fs::read_to_string(&children).ok()?.trim().parse::<u32>().ok()?;
        fs::read(format!("/proc/{pid}/cmdline")).ok().filter(|line| line.starts_with(b"sleep")).map(|_| pid)
    });
    child.kill().unwrap();
    child.wait().unwrap();
    eventually(|| (!Path::new(&format!("/proc/{pid}")).exists()).then_some(()));
    assert_eq!(room.mounts(), [""; 0]);
    // It runs again, and what the killed one could not clean up goes then.
    config["process"]["args"] = json!(["true"]);
    configure(&room, &config);
    eventually(|| {
        room.sh(&format!("ctr-spawn --id {} box", id("again"))).ok();
        let left = |name: &str| v1("pids").is_some_and(|pids| pids.join("dock").join(id(name)).exists());
        (!left("killed") && !left("again")).then_some(())
    });
}

#[test]
fn killed_at_any_moment_it_takes_the_container_with_it() {
    needs_a_container!();
    let room = room();
    // No other process of the machine sleeps that long.
    let number_of_ours = format!("{}", 10_000_000 + u64::from(std::process::id()));
    let mut config = config(&["sleep", &number_of_ours]);
    config["linux"]["resources"] = json!({"pids": {"limit": 9}});
    configure(&room, &config);
    let id = |name: &str| format!("storm-{}-{name}", std::process::id());
    for number in 0..60 {
        let mut child = Command::new(dock_tests::bin().join("ctr-spawn"))
            .args(["--id", &id(&number.to_string())])
            .arg(room.path("box"))
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_micros(number * 200));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let box_ = room.path("box");
    let ours = || {
        let of_ours = |pid: &Path| {
            let line = fs::read(pid.join("cmdline")).unwrap_or_default();
            line == format!("sleep\0{number_of_ours}\0").as_bytes()
                || line.windows(box_.as_os_str().len()).any(|part| part == box_.as_os_str().as_encoded_bytes())
        };
        fs::read_dir("/proc")
            .unwrap()
            .flatten()
            .map(|entry| entry.path())
            .find(|path| path.join("stat").exists() && of_ours(path))
    };
    eventually(|| ours().is_none().then_some(()));
    assert_eq!(room.mounts(), [""; 0]);
    // Whoever makes a cgroup at that moment keeps the sweeper out; the next one is let in.
    eventually(|| {
        room.sh(&format!("ctr-spawn --id {} box -- true", id("end"))).ok();
        let left = v1("pids").and_then(|pids| fs::read_dir(pids.join("dock")).ok());
        let stale = |entry: fs::DirEntry| entry.file_name().to_string_lossy().starts_with(&id(""));
        (!left.into_iter().flatten().flatten().any(stale)).then_some(())
    });
}

fn eventually<T>(mut probe: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "did not happen");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn cve_2026_41579_kernel_directories_are_no_links() {
    needs_a_container!();
    for name in ["proc", "dev", "sys"] {
        let room = room();
        fs::create_dir_all(room.path("outside")).unwrap();
        fs::create_dir_all(room.path("box/rootfs/etc")).unwrap();
        symlink("/etc", room.path(&format!("box/rootfs/{name}"))).unwrap();
        configure(&room, &config(&["true"]));
        room.sh("ctr-spawn box").fails(125, "a symbolic link in the image stands there");
        assert!(fs::read_dir(room.path("box/rootfs/etc")).unwrap().next().is_none(), "{name}");
    }
}

#[test]
fn cve_2019_16884_no_volume_on_proc() {
    needs_a_container!();
    let volume = |config: &mut Value| {
        config["mounts"]
            .as_array_mut()
            .unwrap()
            .push(json!({"destination": "/proc/", "type": "bind", "source": "/tmp", "options": ["rbind"]}));
    };
    with(volume, "true").fails(125, "only a proc file system may stand there");
    // Nor below it, nor where a link of the image leads; lxcfs may give its numbers.
    let at = |destination: &str, code: i32| {
        let room = room();
        room.write("numbers", "of lxcfs");
        symlink("/proc", room.path("box/rootfs/link")).unwrap();
        let mut config = config(&["cat", "/proc/meminfo"]);
        config["mounts"].as_array_mut().unwrap().push(
            json!({"destination": destination, "type": "bind", "source": room.path("numbers"), "options": ["bind"]}),
        );
        configure(&room, &config);
        let ran = room.sh("ctr-spawn box");
        assert_eq!(ran.code, code, "{destination}: {ran:#?}");
        ran
    };
    for destination in ["/proc/version", "/link/meminfo"] {
        at(destination, 125).fails(125, "lies in the container's /proc");
    }
    assert_eq!(at("/proc/meminfo", 0).ok(), "of lxcfs");
}

#[test]
fn cve_2021_30465_a_bind_target_stays_in_the_root() {
    needs_a_container!();
    let room = room();
    room.write("data/file", "bound");
    fs::create_dir_all(room.path("outside")).unwrap();
    symlink("../../../../../../../../../../../tmp", room.path("box/rootfs/up")).unwrap();
    let mut config = config(&["sh", "-c", "cat /tmp/vol/file; cat /file; touch /tmp/vol/x || echo ro"]);
    let mounts = config["mounts"].as_array_mut().unwrap();
    mounts.push(
        json!({"destination": "/up/vol", "type": "bind", "source": room.path("data"), "options": ["rbind", "ro"]}),
    );
    mounts.push(json!({"destination": "/file", "type": "bind", "source": room.path("data/file"), "options": ["bind"]}));
    configure(&room, &config);
    assert_eq!(room.sh("ctr-spawn box").ok(), "boundboundro");
    assert!(!Path::new("/tmp/vol").exists());
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

#[test]
fn cve_2025_31133_a_device_of_the_image_is_not_taken_for_ours() {
    needs_a_container!();
    let room = room();
    fs::create_dir_all(room.path("box/rootfs/dev")).unwrap();
    symlink("/proc/sysrq-trigger", room.path("box/rootfs/dev/null")).unwrap();
    let mut config = config(&["true"]);
    // Without the tmpfs the image's own /dev shows.
    config["mounts"].as_array_mut().unwrap().retain(|mount| mount["destination"] == "/proc");
    configure(&room, &config);
    room.sh("ctr-spawn box").fails(125, "something else stands there");
}

#[test]
fn cve_2019_5736_our_own_program_is_not_executed_inside() {
    needs_a_container!();
    let room = room();
    room.write("box/rootfs/bin/evil", "#!/proc/self/exe\n");
    fs::set_permissions(room.path("box/rootfs/bin/evil"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    symlink("/proc/self/exe", room.path("box/rootfs/bin/link")).unwrap();
    configure(&room, &config(&["true"]));
    for command in ["/proc/self/exe", "evil", "link"] {
        room.sh(&format!("ctr-spawn box -- {command}")).fails(126, "leads to the program that starts the container");
    }
}

#[test]
fn the_user_has_its_groups_and_no_more() {
    needs_a_container!();
    let change = |config: &mut Value| {
        config["process"]["user"] = json!({"uid": 1000, "gid": 1001, "additionalGids": [5, 1001], "umask": 63});
    };
    let text = with(change, "id -u; id -G; grep -E 'CapEff|CapPrm|CapAmb' /proc/self/status | tr -d '\\n'; umask").ok();
    assert_eq!(text, "1000\n1001 5\nCapPrm:\t0000000000000000CapEff:\t0000000000000000CapAmb:\t00000000000000000077");
}

#[test]
fn a_read_only_root() {
    needs_a_container!();
    let text =
        with(|config| config["root"]["readonly"] = json!(true), "touch /x || echo ro; touch /dev/shm/x && echo shm")
            .ok();
    assert_eq!(text, "ro\nshm");
}

#[test]
fn what_is_not_built_is_refused() {
    needs_a_container!();
    with(|config| config["linux"]["intelRdt"] = json!({"closID": "x"}), "true").fails(125, "linux.intelRdt");
    for (member, name, message) in [
        ("apparmorProfile", "docker-default", "docker-default: this kernel runs without AppArmor"),
        ("selinuxLabel", "a:b:c:s0", "a:b:c:s0: this kernel runs without SELinux"),
    ] {
        // Where the kernel has the module, there is no such name.
        let ran = with(|config| config["process"][member] = json!(name), "true");
        assert_eq!(ran.code, 125, "{ran:#?}");
        assert!(ran.stderr.contains(message) || ran.stderr.contains("security module: "), "{ran:#?}");
    }
    with(|config| config["linux"]["namespaces"] = json!([{"type": "pid"}]), "true").fails(125, "no mount namespace");
    with(|config| config["process"]["capabilities"]["bounding"] = json!(["CAP_X"]), "true")
        .fails(125, "CAP_X: no such capability");
}

#[test]
fn a_limit_that_root_may_not_raise_is_clamped_and_said() {
    needs_a_container!();
    let room = room();
    let mut config = config(&["sh", "-c", "ulimit -Hn"]);
    config["process"]["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 1000}]);
    configure(&room, &config);
    assert_eq!(room.sh("ctr-spawn box").ok(), "1000");
    config["process"]["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 5000, "hard": 5000}]);
    configure(&room, &config);
    let ran = room.sh("ulimit -n 2000; setpriv --bounding-set -sys_resource ctr-spawn box");
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "2000\n"), "{ran:#?}");
    assert!(ran.stderr.starts_with("ctr-spawn: note: RLIMIT_NOFILE: "), "{ran:#?}");
}

#[test]
fn a_terminal() {
    needs!(root, "busybox", "script");
    let room = room();
    configure(
        &room,
        &config(&["sh", "-c", "tty; stty size; [ -c /dev/console ] && echo x >/dev/tty; readlink /proc/self/fd/0"]),
    );
    // script(1) types what it reads; at the end of its stdin it would type an end of file, at any moment.
    room.sh("mkfifo never").ok();
    let text = room
        .sh("script -qec 'stty rows 33 cols 77; ctr-spawn -t box; stty -a | grep -o \" echo \"' /dev/null <>never")
        .ok();
    assert_eq!(
        text.replace('\r', "").lines().collect::<Vec<_>>(),
        ["/dev/pts/0", "33 77", "x", "/dev/pts/0", " echo "],
        "{text:?}"
    );
    // In a pipe the terminal is /dev/tty, and stdin the record's.
    let record = json!({"formatVersion": "1.0", "kind": "bundle", "path": room.path("box")});
    room.write("record", format!("{record}\n"));
    let text = room.sh("script -qec 'stty rows 20 cols 50; cat record | ctr-spawn -t' /dev/null <>never").ok();
    assert!(text.contains("20 50"), "{text}");
}

#[test]
fn the_plan_is_the_list_that_runs() {
    needs_a_container!();
    let room = room();
    configure(&room, &config(&["true"]));
    let plan: Value = serde_json::from_str(&room.sh("ctr-spawn --plan box").ok()).unwrap();
    assert_eq!((&plan["formatVersion"], &plan["kind"]), (&json!("1.0"), &json!("plan")));
    let planned: Vec<&str> =
        plan["steps"].as_array().unwrap().iter().map(|step| step["shell"].as_str().unwrap()).collect();
    let explained = room.sh("ctr-spawn --explain box");
    assert_eq!(explained.code, 0);
    let explained: Vec<&str> = explained.stderr.lines().map(|line| line.strip_prefix("+ ").unwrap()).collect();
    assert_eq!(explained, planned);
    for word in [
        "unshare ",
        "mount -t proc ",
        "mknod -m 666 $rootfs/dev/null c 1 3",
        "pivot_root . .",
        "setpriv ",
        "hostname inside",
        "ip link set lo up",
        "exec env -i PATH=/bin 'A=b c' true",
    ] {
        assert!(planned.iter().any(|line| line.contains(word)), "no {word:?} in {planned:#?}");
    }
    // Every line is one that a shell can read.
    for line in planned {
        let status = Command::new("sh").args(["-n", "-c", line]).status().unwrap();
        assert!(status.success(), "{line}");
    }
}

#[test]
fn runcs_own_configuration_runs_and_ours_runs_in_runc() {
    needs!(root, "busybox", "runc");
    let room = room();
    room.sh("cd box && runc spec").ok();
    // It asks for a terminal, so lines end as terminals end them.
    let text = room.sh("ctr-spawn box -- sh -c 'echo $$; hostname; tty' </dev/null").ok();
    assert_eq!(text, "1\r\nrunc\r\n/dev/pts/0\r");
    // And what our tests run, runc runs.
    let mut config = config(&["sh", "-c", "hostname"]);
    config["process"]["capabilities"]["inheritable"] = json!([]);
    config["process"]["capabilities"]["ambient"] = json!([]);
    configure(&room, &config);
    assert_eq!(room.sh("ctr-spawn box").ok(), room.sh("runc --root rr run -b box dock-test-$$ </dev/null").ok());
}

#[test]
fn state_is_written_for_a_container_of_the_store() {
    needs_a_container!();
    let room = room();
    configure(&room, &config(&["sh", "-c", "while [ ! -e /over ]; do sleep 0.02; done; exit 5"]));
    room.write("box/container.json", "{}");
    let ran = room.sh("ctr-spawn --id kept box & pid=$!
        for n in $(seq 1000); do grep -qs running run/containers/kept/state.json && break; sleep 0.02; done
        cat run/containers/kept/state.json; ctr-spawn --id kept box; echo \" $?\"; touch box/rootfs/over; wait $pid");
    assert_eq!(ran.code, 5, "{ran:#?}");
    assert!(
        ran.stdout.contains("\"status\": \"running\"") || ran.stdout.contains("\"status\":\"running\""),
        "{ran:#?}"
    );
    assert!(ran.stdout.trim_end().ends_with("125"), "a second one on the same bundle is refused: {ran:#?}");
    let exit: Value = serde_json::from_slice(&fs::read(room.path("box/exit.json")).unwrap()).unwrap();
    assert_eq!((&exit["exitCode"], &exit["oomKilled"]), (&json!(5), &json!(false)));
    assert!(!room.path("run/containers/kept").exists());
}

#[test]
fn root_of_a_user_namespace_is_nobody_outside() {
    needs_a_container!();
    let room = room();
    let map = json!([{"containerID": 0, "hostID": 200_000, "size": 65_536}]);
    let mut config =
        config(&["sh", "-c", "id -u; touch /tmp/made; stat -c %u /tmp/made; echo x >/dev/null && echo null"]);
    config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
    config["linux"]["uidMappings"] = map.clone();
    config["linux"]["gidMappings"] = map;
    configure(&room, &config);
    room.sh("chmod 711 . && chown -R 200000:200000 box").ok();
    assert_eq!(room.sh("ctr-spawn box").ok(), "0\n0\nnull");
    assert_eq!(room.sh("stat -c %u box/rootfs/tmp/made").ok(), "200000");
}

#[test]
fn an_ordinary_user() {
    if !is_root() || !has("busybox") || !has("setpriv") {
        return skip("needs root to become an ordinary user, busybox and setpriv");
    }
    let room = Room::of_user(NOBODY);
    busybox(&room.path("box/rootfs"));
    configure(
        &room,
        &config(&[
            "sh",
            "-c",
            "id -u; echo $$; hostname; echo x >/dev/null && echo null; touch /made && stat -c %u /made; grep CapEff /proc/self/status",
        ]),
    );
    for dir in ["box", "box/rootfs", "box/rootfs/tmp", "box/rootfs/bin"] {
        std::os::unix::fs::chown(room.path(dir), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    let text = room.sh("ctr-spawn box").ok();
    assert_eq!(text.lines().collect::<Vec<_>>(), ["0", "1", "inside", "null", "0", "CapEff:\t00000000000004e1"]);
    // As another user inside: the one ID that the kernel lets us map is that one.
    let mut other = config(&["id", "-u"]);
    other["process"]["user"] = json!({"uid": 70, "gid": 70});
    configure(&room, &other);
    assert_eq!(room.sh("ctr-spawn box").ok(), "70");
    // A limit that this user cannot have is an error.
    other["linux"]["resources"] = json!({"pids": {"limit": 5}});
    configure(&room, &other);
    let ran = room.sh("ctr-spawn box");
    assert!(ran.code == 0 || ran.stderr.contains("\nhint: limits need a cgroup"), "{ran:#?}");
}

/// The parent may be gone before the kernel was asked to tell of its end.
#[test]
fn a_parent_that_is_gone_already_is_noticed() {
    needs!("busybox");
    let room = room();
    configure(&room, &config(&["true"]));
    room.sh("ctr-spawn --die-with-parent 1 box").fails(125, "no longer, the process that started this one");
}

/// Without root more than one ID is mapped by the set-user-ID helpers, from the ranges of subuid(5).
#[test]
fn an_ordinary_user_with_a_range_of_ids() {
    needs!(root, "busybox", "setpriv", "newuidmap", "unshare");
    let room = room();
    room.write("ranges", "nobody:300000:65536\n");
    let mut config = config(&[
        "sh",
        "-c",
        "id -u; id -G; cat /proc/self/uid_map | tr -s ' '; touch /tmp/made; stat -c '%u %g' /tmp/made",
    ]);
    config["process"]["user"] = json!({"uid": 70, "gid": 71, "additionalGids": [72]});
    config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
    let map =
        json!([{"containerID": 0, "hostID": 65534, "size": 1}, {"containerID": 1, "hostID": 300_000, "size": 65535}]);
    config["linux"]["uidMappings"] = map.clone();
    config["linux"]["gidMappings"] = map;
    configure(&room, &config);
    room.sh("chmod 755 . && chown -R 65534:65534 box && chmod 777 box/rootfs/tmp").ok();
    let as_nobody = |ranges: &str| {
        room.sh(&format!(
            "unshare -m sh -c 'mount --bind {ranges} /etc/subuid && mount --bind {ranges} /etc/subgid && exec setpriv --reuid 65534 --regid 65534 --clear-groups ctr-spawn box'"
        ))
    };
    room.write("none", "");
    let text = as_nobody("ranges").ok();
    assert_eq!(text, "70\n71 72\n 0 65534 1\n 1 300000 65535\n70 71");
    assert_eq!(room.sh("stat -c '%u %g' box/rootfs/tmp/made").ok(), "300069 300070");
    let ran = as_nobody("none");
    assert_eq!(ran.code, 125, "{ran:#?}");
    assert!(ran.stderr.starts_with("ctr-spawn: user namespace: newuidmap "), "{ran:#?}");
}

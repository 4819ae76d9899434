//! ctr-spec, ctr-ls and ctr-rm: options become config.json, which runc reads too; containers are directories.

use dock_tests::image::{dock, image};
use dock_tests::{Room, is_root, needs};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

const PORTS: &str = "net.ipv4.ip_unprivileged_port_start";
const PING: &str = "net.ipv4.ping_group_range";

/// A room with a flat bundle `box` and an overlay bundle `over`, of an image with an entrypoint and a user.
fn room() -> Room {
    let room = Room::new();
    let accounts = "echo 1000:x:0:0::/root:/bin/sh >>t/etc/passwd; echo more:x:50:www >>t/etc/group";
    let facts = r#"-c 'ENTRYPOINT ["/bin/echo","e"]' -c 'CMD ["c"]' -c 'ENV A=1 B=2' -c 'USER www' -c 'LABEL run.oci.handler=evil of.image=yes'"#;
    image(&room, accounts, &format!("-t img {facts}"));
    room.sh("img-unpack img box && img-unpack --overlay img over").ok();
    room
}

fn config(room: &Room, bundle: &str) -> Value {
    serde_json::from_slice(&fs::read(room.path(bundle).join("config.json")).expect("config.json")).expect("JSON")
}

#[test]
fn each_option_edits_its_members_and_nothing_else() {
    needs!(root, "busybox");
    let room = room();
    let fresh = config(&room, "box");
    for (options, pointer, want) in [
        ("-e A=3 -e C", "/process/env/2", json!("A=3")),
        ("-w /d", "/process/cwd", json!("/d")),
        ("-u 7:8", "/process/user", json!({"uid": 7, "gid": 8, "additionalGids": [8]})),
        ("-u root", "/process/user", json!({"uid": 0, "gid": 0, "additionalGids": [0]})),
        ("-h other", "/hostname", json!("other")),
        ("-t", "/process/terminal", json!(true)),
        ("--entrypoint /x", "/process/args", json!(["/x"])),
        ("--entrypoint ''", "/process/args", json!([])),
        ("-m 64m", "/linux/resources/memory", json!({"limit": 67_108_864, "swap": 134_217_728})),
        ("-m 64m --memory-swap -1", "/linux/resources/memory/swap", json!(-1)),
        ("--cpus 1.5", "/linux/resources/cpu", json!({"quota": 150_000, "period": 100_000})),
        ("-c 512", "/linux/resources/cpu/shares", json!(512)),
        ("--cpuset-cpus 0-0,0", "/linux/resources/cpu/cpus", json!("0-0,0")),
        ("--cpu-period 50000 --cpu-quota 25000", "/linux/resources/cpu", json!({"period": 50_000, "quota": 25_000})),
        ("--cpu-rt-period 1000 --cpu-rt-runtime 900", "/linux/resources/cpu/realtimeRuntime", json!(900)),
        ("-m 64m --memory-swappiness 7", "/linux/resources/memory/swappiness", json!(7)),
        ("-m 64m --oom-kill-disable", "/linux/resources/memory/disableOOMKiller", json!(true)),
        ("--memory-reservation 32m", "/linux/resources/memory", json!({"reservation": 33_554_432})),
        ("--blkio-weight 300", "/linux/resources/blockIO", json!({"weight": 300})),
        ("--cgroup-parent /a/b", "/linux/cgroupsPath", json!(null)),
        ("--device /dev/null:/dev/n:r", "/linux/devices/0/path", json!("/dev/n")),
        (
            "--device /dev/null:/dev/n:r",
            "/linux/resources/devices/12",
            json!({"allow": true, "type": "c", "major": 1, "minor": 3, "access": "r"}),
        ),
        (
            "--device-cgroup-rule 'b 7:* rw'",
            "/linux/resources/devices/12",
            json!({"allow": true, "type": "b", "access": "rw", "major": 7}),
        ),
        ("--capabilities docker", "/process/capabilities/bounding/9", json!("CAP_NET_RAW")),
        ("--capabilities docker --cap-drop mknod", "/process/capabilities/bounding/11", json!("CAP_AUDIT_WRITE")),
        ("--privileged", "/linux/maskedPaths", json!([])),
        ("--privileged", "/process/capabilities/effective/40", json!("CAP_CHECKPOINT_RESTORE")),
        ("--privileged", "/linux/resources/devices", json!([{"allow": true, "access": "rwm"}])),
        ("--privileged", "/mounts/2/options", json!(["nosuid", "noexec", "nodev"])),
        ("--security-opt systempaths=unconfined", "/linux/readonlyPaths", json!([])),
        ("--security-opt apparmor=mine", "/process/apparmorProfile", json!("mine")),
        ("--security-opt label=type:t", "/process/selinuxLabel", json!("system_u:system_r:t:s0")),
        (
            "--security-opt label=level:s0:c1,c2",
            "/linux/mountLabel",
            json!("system_u:object_r:container_file_t:s0:c1,c2"),
        ),
        ("--security-opt label=filetype:f_t", "/linux/mountLabel", json!("system_u:object_r:f_t:s0")),
        ("--security-opt label=type:t --security-opt label=disable", "/linux/mountLabel", json!(null)),
        ("--group-add more --group-add 7", "/process/user/additionalGids", json!([34, 50, 7])),
        ("--domainname example.org", "/domainname", json!("example.org")),
        ("--annotation a=b=c", "/annotations", json!({"a": "b=c"})),
        ("--cgroupns host", "/linux/namespaces/5", json!(null)),
        ("--ipc host", "/linux/namespaces/2/type", json!("uts")),
        ("--ipc host", "/mounts/5/source", json!("/dev/shm")),
        ("--ipc none", "/mounts/5/destination", json!("/sys/fs/cgroup")),
        ("--userns host --pid private", "/linux/namespaces/0/type", json!("pid")),
        ("--pids-limit 9", "/linux/resources/pids/limit", json!(9)),
        ("--pids-limit 0", "/linux/resources/pids/limit", json!(-1)),
        ("--ulimit nofile=5:6", "/process/rlimits", json!([{"type": "RLIMIT_NOFILE", "soft": 5, "hard": 6}])),
        ("--read-only", "/root/readonly", json!(true)),
        ("--cap-drop all --cap-add chown", "/process/capabilities/bounding", json!(["CAP_CHOWN"])),
        ("--cap-add net_admin", "/process/capabilities/bounding/9", json!("CAP_NET_ADMIN")),
        ("--security-opt no-new-privileges", "/process/noNewPrivileges", json!(true)),
        ("--oom-score-adj -5", "/process/oomScoreAdj", json!(-5)),
        ("--sysctl net.ipv4.ip_forward=1", "/linux/sysctl/net.ipv4.ip_forward", json!("1")),
        ("--sysctl net.ipv4.ping_group_range='0 7'", "/linux/sysctl", json!({PORTS: "0", PING: "0 7"})),
        ("--network none", "/linux/sysctl", json!({PORTS: "0", PING: "0 2147483647"})),
        ("--network host", "/linux/sysctl", json!(null)),
        ("--network host", "/linux/namespaces/1/type", json!("ipc")),
        ("--pid host", "/linux/namespaces/0/type", json!("network")),
        (
            "-v /etc:/e:ro",
            "/mounts/3",
            json!({"destination": "/e", "type": "bind", "source": "/etc", "options": ["rbind", "ro", "rprivate"]}),
        ),
        ("--shm-size 1m", "/mounts/5/options/4", json!("size=1048576")),
    ] {
        room.sh("rm -rf box && img-unpack img box").ok();
        room.sh(&format!("ctr-spec {options} box >/dev/null")).ok();
        let edited = config(&room, "box");
        match edited.pointer(pointer) {
            Some(Value::String(path)) if options.starts_with("--cgroup-parent") => {
                assert!(path.starts_with("/a/b/") && path.len() == 5 + 64, "a name of its own below: {path}");
            }
            found => assert_eq!(found.unwrap_or(&Value::Null), &want, "{options}: {edited}"),
        }
        // What the option is not about is what it was.
        for member in ["ociVersion", "/process/noNewPrivileges", "/linux/maskedPaths", "/linux/readonlyPaths"] {
            let pointer = format!("/{}", member.trim_start_matches('/'));
            if !["no-new", "privileged", "systempaths"].iter().any(|word| options.contains(word)) {
                assert_eq!(edited.pointer(&pointer), fresh.pointer(&pointer), "{options}");
            }
        }
        assert!(!edited.to_string().contains(":null"), "no empty members: {edited}");
    }
}

/// The image's user is www.
#[test]
fn who_is_not_root_listens_on_port_80_and_sends_pings() {
    needs!(root, "busybox");
    let room = room();
    let listen = "/bin/busybox httpd -p 127.0.0.1:80 && echo listens";
    let run = |options: &str, script: &str| {
        dock(&room, &format!("dock run --rm --cap-drop all --entrypoint sh {options} img -c '{script}' 2>&1"))
    };
    assert_eq!(run("", &format!("{listen}; cat /proc/sys/net/ipv4/ping_group_range")).ok(), "listens\n0\t2147483647");
    assert!(run(&format!("--sysctl {PORTS}=81"), listen).stdout.contains("Permission denied"));
    // What is the host's, or another container's, stays as it is; a change of mind takes the usual back.
    room.sh("ctr-spec over >/dev/null && ctr-spec --network host over >/dev/null").ok();
    assert!(config(&room, "over").pointer("/linux/sysctl/net.ipv4.ip_unprivileged_port_start").is_none());
    let other = format!("dock run -d --name other --sysctl {PORTS}=99 --entrypoint sleep img 100 >/dev/null
        dock run --rm --network container:other --entrypoint cat img /proc/sys/net/ipv4/ip_unprivileged_port_start; code=$?
        dock rm -f other >/dev/null; exit $code");
    assert_eq!(dock(&room, &other).ok(), "99");
}

#[test]
fn unknown_members_survive_and_arguments_replace_cmd_only() {
    needs!(root, "busybox");
    let room = room();
    let mut config_json = config(&room, "box");
    config_json["linux"]["later"] = json!({"x": [1]});
    config_json["annotations"] = json!({"mine": "kept"});
    room.write("box/config.json", config_json.to_string());
    room.sh("ctr-spec box -e C=3 -- one 'two words' >/dev/null").ok();
    let edited = config(&room, "box");
    assert_eq!(edited["linux"]["later"], json!({"x": [1]}));
    assert_eq!(edited["annotations"], json!({"mine": "kept"}));
    assert_eq!(edited["process"]["args"], json!(["/bin/echo", "e", "one", "two words"]));
    room.sh("ctr-spec box -- only >/dev/null").ok();
    assert_eq!(
        config(&room, "box")["process"]["args"],
        json!(["/bin/echo", "e", "only"]),
        "not joined to the last ones"
    );
}

#[test]
fn environment_follows_docker() {
    needs!(root, "busybox");
    let room = room();
    room.write("vars", "# comment\n\nX= spaced \nFROM_HERE\nNOT_HERE\nA=file\n");
    room.sh("FROM_HERE=yes ctr-spec box --env-file vars -e A=option -e B >/dev/null").ok();
    let env = config(&room, "box")["process"]["env"].clone();
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    assert_eq!(env, json!([path, "HOSTNAME=box", "A=option", "HOME=/srv", "X= spaced ", "FROM_HERE=yes"]));
    room.write("bad", "A B=1\n");
    room.sh("ctr-spec box --env-file bad").fails(2, "invalid env file (bad): variable 'A B' contains whitespaces");
    room.sh("ctr-spec box -t >/dev/null").ok();
    assert_eq!(config(&room, "box")["process"]["env"][2], "TERM=xterm", "only with a terminal");
}

#[test]
fn users_are_found_in_the_bundle_and_home_follows() {
    needs!(root, "busybox");
    let room = room();
    for bundle in ["box", "over"] {
        let user = &config(&room, bundle)["process"]["user"];
        assert_eq!(user, &json!({"uid": 33, "gid": 34, "additionalGids": [34, 50]}), "USER of the image, {bundle}");
        room.sh(&format!("ctr-spec -u root {bundle} >/dev/null")).ok();
        assert!(config(&room, bundle).to_string().contains("HOME=/root"), "{bundle}");
    }
    room.sh("ctr-spec -u 0 -e HOME=/mine box >/dev/null").ok();
    assert!(config(&room, "box").to_string().contains("HOME=/mine"));
    // The container's own change of passwd counts.
    room.write("over/upper/etc/passwd", "www:x:77:78::/new:/bin/sh\n");
    room.sh("ctr-spec -u www over >/dev/null").ok();
    assert_eq!(config(&room, "over")["process"]["user"]["uid"], 77);
    room.sh("ctr-spec -u root over").fails(1, "unable to find user root: no matching entries in passwd file");
}

#[test]
fn cve_2024_40635_users_out_of_range_and_cve_2026_46680_digits_as_names() {
    needs!(root, "busybox");
    let room = room();
    for user in ["4294967296", "2147483648", "0:4294967296"] {
        room.sh(&format!("ctr-spec -u {user} box")).fails(1, "uids and gids must be in range 0-2147483647");
    }
    room.sh("ctr-spec -u 1000 box >/dev/null").ok();
    assert_eq!(config(&room, "box")["process"]["user"]["uid"], 1000);
}

#[test]
fn cve_2024_9676_passwd_as_link_or_fifo() {
    needs!(root, "busybox");
    let room = room();
    let passwd = room.path("box/rootfs/etc/passwd");
    fs::remove_file(&passwd).unwrap();
    room.write("host-passwd", "www:x:0:0::/root:/bin/sh\n");
    symlink(room.path("host-passwd"), &passwd).unwrap();
    room.sh("ctr-spec -u www box").fails(1, "unable to find user www");
    fs::remove_file(&passwd).unwrap();
    room.sh("mkfifo box/rootfs/etc/passwd && timeout 5 ctr-spec -u www box").fails(1, "not a regular file");
}

#[test]
fn cve_2026_53488_labels_of_an_image_are_data() {
    needs!(root, "busybox");
    let room = room();
    assert!(!fs::read_to_string(room.path("box/config.json")).unwrap().contains("run.oci"));
}

#[test]
fn wrong_command_lines_are_refused_and_change_nothing() {
    needs!(root, "busybox");
    let room = room();
    let before = fs::read_to_string(room.path("box/config.json")).unwrap();
    for (options, code, message) in [
        ("-m 5m", 1, "Minimum memory limit allowed is 6MB"),
        ("-m lots", 2, "invalid size: 'lots'"),
        ("--memory-swap 1g", 1, "You should always set the Memory limit when using Memoryswap limit, see usage"),
        ("--cpus 0.001", 1, "Range of CPUs is from 0.01"),
        ("--cpus x", 2, "failed to parse x as a rational number"),
        ("--cap-add SYS_GOD", 1, "invalid CapAdd: unknown capability: \"CAP_SYS_GOD\""),
        ("-v a/b:/c", 1, "includes invalid characters for a local volume name"),
        ("-v /a:/b:rx", 1, "invalid mode: rx"),
        ("-v /a:/b -v /c:/b", 1, "Duplicate mount point: /b"),
        ("--tmpfs x", 1, "invalid mount path: 'x' mount path must be absolute"),
        ("-w rel", 1, "the working directory 'rel' is invalid, it needs to be an absolute path"),
        ("--ulimit x=1", 2, "invalid ulimit type: x"),
        ("--sysctl kernel.core_pattern=x", 2, "sysctl 'kernel.core_pattern=x' is not allowed"),
        ("--network web", 1, "network web not found"),
        ("--network bridge", 1, "network bridge: not in this release: want none, host or container:NAME"),
        ("--network container:none", 1, "No such container: none"),
        ("--pid x", 2, "--pid: invalid PID mode"),
        ("--ipc x", 1, "Invalid IPC mode: x"),
        ("--uts container:x", 2, "--uts: invalid UTS mode"),
        ("--userns x", 2, "--userns: invalid USER mode"),
        ("--cgroupns x", 2, "--cgroupns: invalid CGROUP mode"),
        ("--uts host -h name", 2, "conflicting options: hostname and the UTS mode"),
        ("--security-opt nonsense", 2, "Invalid --security-opt: \"nonsense\""),
        ("--security-opt no=sense", 2, "Invalid --security-opt: \"no=sense\""),
        ("--cpus 4096", 1, "Range of CPUs is from 0.01 to "),
        ("--cpus 0.5 --cpu-quota 5000", 1, "Conflicting options: Nano CPUs and CPU Quota cannot both be set"),
        ("--cpu-period 999", 1, "CPU cfs period can not be less than 1ms"),
        ("--cpu-quota 999", 1, "CPU cfs quota can not be less than 1ms"),
        ("--cpuset-cpus 4095", 1, "Requested CPUs are not available - requested 4095, available: "),
        ("--cpuset-cpus 0-a", 1, "Invalid value 0-a for cpuset cpus"),
        ("--memory-swappiness 101", 2, "invalid value: 101. Valid memory swappiness range is 0-100"),
        ("--memory-reservation 1m", 1, "Minimum memory reservation allowed is 6MB"),
        ("-m 8m --memory-reservation 9m", 1, "Minimum memory limit can not be less than memory reservation limit"),
        ("-m 8m --memory-swap 7m", 1, "Minimum memoryswap limit should be larger than memory limit, see usage"),
        ("--blkio-weight 9", 1, "Range of blkio weight is from 10 to 1000"),
        ("--device-read-bps /dev/none:1m", 1, "/dev/none"),
        ("--device-read-bps /dev/null:x", 2, "invalid rate for device: /dev/null:x"),
        ("--oom-score-adj 1001", 1, "Invalid value 1001, range for oom score adj is [-1000, 1000]"),
        ("--device /dev/none", 1, "error gathering device information while adding custom device \"/dev/none\""),
        ("--device /etc/passwd", 1, "not a device node"),
        ("--device /dev/null:/x:q", 2, "bad mode specified: q"),
        ("--device-cgroup-rule 'c 1'", 2, "invalid device cgroup format 'c 1'"),
        ("--cgroup-parent ../x", 1, "a path without .. is wanted"),
        ("--group-add nobody", 1, "unable to find group nobody: no matching entries in group file"),
        ("--group-add 4294967296", 1, "must be in range"),
        ("--mount type=bind,src=/nope,dst=/x", 1, "bind source path does not exist: /nope"),
        ("--mount type=volume,src=a/b,dst=/x", 1, "includes invalid characters for a local volume name"),
        ("--mount dst=/x -v /etc:/x", 1, "Duplicate mount point: /x"),
        ("--volumes-from nobody", 1, "No such container: nobody"),
        ("--annotation x", 2, "invalid argument \"x\" for \"--annotation\" flag"),
        ("--dns 1.2", 2, "1.2 is not an ip address"),
        ("--env-file nowhere", 2, "open nowhere"),
        ("-h 'a b'", 1, "invalid hostname format: a b"),
        ("--add-host db", 2, "bad format for add-host"),
        ("--name x1", 2, "--name and --label are for a bundle in $DOCK_ROOT/containers/<ID>"),
        ("--privilege", 2, "unexpected argument '--privilege'"),
    ] {
        let ran = room.sh(&format!("ctr-spec {options} box")).fails(code, message);
        assert_eq!(ran.stdout, "", "{options}");
        assert_eq!(fs::read_to_string(room.path("box/config.json")).unwrap(), before, "{options}");
    }
    room.sh("ctr-spec </dev/null").fails(1, "no bundle record on <stdin>");
    room.sh("ctr-spec nowhere").fails(1, "nowhere");
    room.sh("ctr-spec box >/dev/full").fails(1, "<stdout>");
}

#[test]
fn runc_reads_what_is_written() {
    needs!(root, "busybox", "runc");
    let room = room();
    room.sh("ctr-spec -u www -e A=runc -w /etc -h spec --read-only --ulimit nofile=77 -m 64m --pids-limit 20 --entrypoint /bin/sh --tmpfs /tmp -v \"$PWD/t:/data:ro\" box -- -c 'id -u; echo $A $HOME $HOSTNAME; ulimit -n; busybox pwd; ls /data; echo x 2>/dev/null >/f || echo ro' >/dev/null").ok();
    let id = format!("dock-test-{}", std::process::id());
    let out = room.sh(&format!("runc --root \"$PWD/runc\" run --bundle box {id} </dev/null")).ok();
    assert_eq!(out, "33\nrunc /srv spec\n77\n/etc\nbin\netc\ntmp\nro");
}

#[test]
fn mount_points_are_a_layer_of_their_own() {
    needs!(root, "busybox");
    let room = room();
    room.sh("chmod 711 root/layers/sha256/*/etc").ok();
    // The record from the pipe does not know the layer the second time; the bundle does.
    let record = fs::read_to_string(room.path("over/bundle.json")).unwrap();
    room.write("record", &record);
    for _ in 0..2 {
        assert_eq!(room.sh("ctr-spawn -- echo hi <record").ok(), "hi");
        let record: Value = serde_json::from_str(&fs::read_to_string(room.path("over/bundle.json")).unwrap()).unwrap();
        let lower = record["overlay"]["lower"].as_array().unwrap();
        assert_eq!((lower.len(), lower[0].as_str()), (2, room.path("over/init").to_str()), "once");
    }
    let names = room.sh("cd over/init && find . -mindepth 1 | sort | tr '\\n' ' '").ok();
    assert_eq!(names, "./dev ./etc ./etc/hostname ./etc/hosts ./etc/resolv.conf ./proc ./sys ");
    assert_eq!(room.sh("stat -c %a over/init/etc over/init/dev").ok(), "711\n755", "a merged directory keeps its mode");
    assert_eq!(room.sh("find over/upper -mindepth 1").ok(), "");
}

/// A bundle below the root is a container: it has a name, is listed and removed.
fn container(room: &Room, digit: &str, options: &str) -> String {
    let id = digit.repeat(64);
    room.sh(&format!("img-unpack --overlay img root/containers/{id} | ctr-spec {options}")).ok();
    id
}

#[test]
fn containers_are_listed_newest_first_and_by_prefix() {
    needs!(root, "busybox");
    let room = room();
    let a = container(&room, "a", "--name first -l k=v");
    let b = container(&room, "b", "");
    let list = room.sh("ctr-ls -a").ok();
    let records: Vec<Value> = list.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(records.iter().map(|r| r["id"].as_str().unwrap()).collect::<Vec<_>>(), [&b, &a]);
    assert_eq!(records[1]["labels"], json!({"run.oci.handler": "evil", "of.image": "yes", "k": "v"}));
    assert_eq!(records[1]["command"], json!(["/bin/echo", "e", "c"]));
    assert!(records[0]["name"].as_str().unwrap().contains('_'), "a random name");
    assert_eq!(room.sh("ctr-ls -q aa").ok(), a[..12]);
    assert_eq!(room.sh("ctr-ls -lq --no-trunc").ok(), b);
    assert_eq!(room.sh("ctr-ls -n 1 -q").ok(), b[..12]);
    assert_eq!(room.sh("ctr-ls").ok(), "", "none runs");
    room.sh("ctr-ls nothing").fails(1, "No such container: nothing");
    room.sh("ctr-ls --filter colour=x").fails(2, "Invalid filter 'colour'");
    // Stale state: its process is gone, or is another one by now.
    let me = std::process::id();
    let state = json!({"ociVersion": "1.0.2", "id": a, "status": "running", "pid": me, "bundle": "/x", "annotations": {"dev.dock.pid.start": "1"}});
    room.write(&format!("run/containers/{a}/state.json"), state.to_string());
    assert!(
        room.sh("ctr-ls first").ok().contains(r#""status":"exited""#),
        "the same process ID is not the same process"
    );
}

#[test]
fn removal_stays_inside_the_container() {
    needs!(root, "busybox");
    let room = room();
    let id = container(&room, "c", "--name gone -v /data -v kept:/k");
    room.write("outside/file", "");
    symlink(room.path("outside"), room.path(&format!("root/containers/{id}/upper/link"))).unwrap();
    let work = room.path(&format!("root/containers/{id}/work/work"));
    fs::create_dir(&work).unwrap();
    fs::set_permissions(&work, fs::Permissions::from_mode(0o000)).unwrap();
    assert_eq!(room.sh("ctr-rm -v gone").ok(), "gone");
    assert!(room.path("outside/file").exists());
    assert!(!room.path(&format!("root/containers/{id}")).exists());
    assert_eq!(room.sh("ls root/volumes").ok(), "kept", "volumes without a name go, named ones stay");
    room.sh("ctr-rm gone").fails(1, "No such container: gone");
    room.sh("ctr-rm -f gone").fails(0, "ctr-rm: No such container: gone");
    room.sh("ctr-rm </dev/null").fails(1, "no container record on <stdin>");
    let id = container(&room, "d", "");
    assert_eq!(room.sh("ctr-ls -a | ctr-rm").ok(), id);
}

#[test]
fn an_ordinary_user_removes_his_own() {
    needs!(root, "busybox", "setpriv");
    assert!(is_root());
    let room = Room::of_user(1234);
    let id = "e".repeat(64);
    let script = format!(
        "mkdir -p root/containers/{id}/work/work && cd root/containers/{id} && echo '{{\"id\":\"{id}\",\"name\":\"mine\",\"created\":\"\",\"command\":[]}}' >container.json && chmod 000 work/work && ctr-rm mine"
    );
    assert_eq!(room.sh(&script).ok(), "mine");
    assert!(!room.path(&format!("root/containers/{id}")).exists());
}

#[test]
fn labels_and_variables_of_files() {
    needs!(root, "busybox");
    let room = room();
    room.write("labels", "# no\nfrom=file\nbare\n  k=v w \n");
    container(&room, "a", "--label-file labels -l from=option --name labelled");
    let record: Value = serde_json::from_str(&room.sh("ctr-ls labelled").ok()).unwrap();
    for (name, want) in [("from", "option"), ("bare", ""), ("k", "v w "), ("of.image", "yes")] {
        assert_eq!(record["labels"][name], want, "{name}");
    }
    room.write("latin", b"A=1\nB=\xe9\n");
    room.sh("ctr-spec --env-file latin box").fails(2, "invalid env file (latin): invalid utf8 bytes at line 2");
    room.write("mark", "\u{feff}A=marked\r\n");
    room.sh("ctr-spec --env-file mark box >/dev/null").ok();
    assert!(config(&room, "box").to_string().contains("\"A=marked\""), "a byte order mark and CRLF do not count");
}

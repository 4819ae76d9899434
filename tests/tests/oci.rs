//! ctr-oci: runc's habits, and podman, buildah, containerd, dockerd and a Swarm service running on it.

use dock_tests::dockerd::Dockerd;
use dock_tests::ends::Script;
use dock_tests::{Room, bin, needs, skip};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A room with a bundle `box` that runs busybox, made by runc's own `spec`, and a runtime whose state is in the room.
struct Oci {
    room: Room,
    /// A name that no other test has: cgroups are the machine's.
    id: String,
}

impl Oci {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let room = Room::new();
        let applets = "sh sleep true cat echo id env pwd ps ls readlink touch tty stty kill grep sed test";
        room.sh(&format!(
            "mkdir -p box/rootfs/bin box/rootfs/tmp && cp $(command -v busybox) box/rootfs/bin/busybox \
             && for name in {applets}; do ln -s busybox box/rootfs/bin/$name; done && cd box && runc spec"
        ))
        .ok();
        let id = format!("dock-test-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let oci = Self { room, id };
        oci.configure(&["sleep", "1000"], |_| {});
        oci
    }

    fn configure(&self, args: &[&str], change: impl FnOnce(&mut Value)) {
        let file = self.room.path("box/config.json");
        let mut config: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        config["process"]["terminal"] = false.into();
        config["process"]["args"] = json!(args);
        config["root"]["readonly"] = false.into();
        config["linux"]["cgroupsPath"] = format!("/{}", self.id).into();
        change(&mut config);
        fs::write(file, config.to_string()).unwrap();
    }

    /// Runs a script in which `$oci` is ctr-oci with its root, and `$id` the container.
    fn sh(&self, script: &str) -> dock_tests::Ran {
        self.with("ctr-oci", script)
    }

    fn with(&self, runtime: &str, script: &str) -> dock_tests::Ran {
        let (root, id) = (self.room.path("state"), &self.id);
        self.room.sh(&format!("oci='{runtime} --root {}' id={id}; {script}", root.display()))
    }

    fn cgroup_is_gone(&self) -> bool {
        let trees = fs::read_dir("/sys/fs/cgroup").unwrap().map(|entry| entry.unwrap().path());
        !trees.chain([Path::new("/sys/fs/cgroup").to_path_buf()]).any(|tree| tree.join(&self.id).exists())
    }
}

impl Drop for Oci {
    fn drop(&mut self) {
        for runtime in ["ctr-oci", "runc"] {
            let _ = self.with(runtime, "$oci delete --force $id; $oci delete --force $id-2");
        }
    }
}

#[track_caller]
fn eventually(mut done: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < until, "waited in vain");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What runc answers to a row of operations, ctr-oci answers too: codes, states, and the words callers look for.
#[test]
fn runc_s_habits() {
    needs!(root, "busybox", "runc");
    let ended = "for i in $(seq 300); do $oci state $id | grep -q stopped && break; sleep 0.1; done";
    let rows = [
        ("$oci state $id", "container does not exist"),
        ("$oci start $id", "container does not exist"),
        ("$oci delete $id", "container does not exist"),
        ("$oci kill $id", "container does not exist"),
        ("$oci delete --force $id", ""),
        ("$oci list -f json", ""),
        ("$oci create -b box --pid-file pid $id </dev/null >/dev/null 2>err; echo $?", ""),
        ("test $(cat pid) = $($oci state $id | sed -n 's/.*\"pid\": \\([0-9]*\\).*/\\1/p') && echo same", ""),
        ("$oci state $id | grep -E '\"(status|bundle|rootfs|id)\"'", ""),
        ("$oci ps -f json $id | tr -d '[0-9]'", ""),
        ("$oci pause $id; $oci state $id | grep status", ""),
        ("$oci start $id", "cannot start a container in the paused state"),
        ("$oci resume $id; $oci state $id | grep status", ""),
        ("$oci start $id", ""),
        ("$oci start $id", "cannot start an already running container"),
        ("$oci state $id | grep status", ""),
        ("test $($oci list -q) = $id && echo listed", ""),
        (
            "for i in $(seq 300); do $oci ps $id | grep -q sleep && break; sleep 0.1; done; $oci ps $id | grep -c sleep",
            "",
        ),
        ("$oci exec $id sh -c 'id -u; pwd; echo $PATH; exit 7'", ""),
        ("$oci exec --cwd /tmp -e A=b -u 5:6 $id sh -c 'id -u; id -g; pwd; echo $A'", ""),
        (
            "$oci exec -d --pid-file epid $id sleep 999 </dev/null >/dev/null 2>&1; test -d /proc/$(cat epid) && $oci ps -f json $id | tr -d '[0-9]'",
            "",
        ),
        ("$oci exec $id grep -E '^(Cap|NoNew|Uid|Gid)' /proc/self/status", ""),
        ("$oci exec --cap CAP_SYS_ADMIN --no-new-privs $id grep -E '^(Cap|NoNew)' /proc/self/status", ""),
        ("$oci exec -u 1000 $id sh -c 'echo $HOME'; $oci exec -e A=1 -e A=2 $id sh -c 'echo $A'", ""),
        ("echo in | $oci exec $id cat; echo held >pf; $oci exec --preserve-fds 1 $id cat /proc/self/fd/3 3<pf", ""),
        (
            "echo '{\"user\":{\"uid\":7,\"gid\":8,\"additionalGids\":[9]},\"args\":[\"sh\",\"-c\",\"id; ulimit -c; echo $HOME\"],\"env\":[\"PATH=/bin\"],\"cwd\":\"/\",\"rlimits\":[{\"type\":\"RLIMIT_CORE\",\"soft\":77,\"hard\":88}]}' >p; $oci exec -p p $id",
            "",
        ),
        ("$oci exec -u 1000:1000 -d $id true </dev/null; stat -c %u:%g /dev/null", ""),
        (
            "for s in 0 WINCH SIGWINCH sigwinch 28; do $oci kill $id $s || echo $s; done; $oci kill --all $id 0; echo $?",
            "",
        ),
        ("$oci delete $id", "that is not stopped: running"),
        ("$oci pause $id; $oci state $id | grep status", ""),
        ("$oci exec $id true", "paused container"),
        ("$oci resume $id; $oci state $id | grep status", ""),
        ("$oci resume $id", "container not paused"),
        (
            "$oci update --pids-limit 77 --memory 67108864 $id; cat /sys/fs/cgroup/pids/$id/pids.max /sys/fs/cgroup/memory/$id/memory.limit_in_bytes",
            "",
        ),
        ("echo '{\"pids\": {\"limit\": 66}}' | $oci update -r - $id; cat /sys/fs/cgroup/pids/$id/pids.max", ""),
        ("$oci update --cpu-share 512 $id; cat /sys/fs/cgroup/cpu/$id/cpu.shares", ""),
        ("$oci update --cpu-period 50000 --cpu-quota 20000 $id; cat /sys/fs/cgroup/cpu/$id/cpu.cfs_quota_us", ""),
        ("$oci update --cpuset-cpus 0 $id; cat /sys/fs/cgroup/cpuset/$id/cpuset.cpus; $oci update $id; echo $?", ""),
        ("echo '{' | $oci update -r - $id", "EOF"),
        ("$oci events --stats $id | grep -o '\"current\":[0-9]*'", ""),
        ("$oci kill $id NOPE", "unknown signal"),
        ("$oci kill $id KILL; echo $?", ""),
        (ended, ""),
        ("$oci state $id | grep -E '\"(status|pid)\"'", ""),
        ("$oci kill $id KILL", "container not running"),
        ("$oci start $id", "cannot start a container that has stopped"),
        ("$oci exec $id true", "cannot exec in a stopped container"),
        ("$oci delete $id", ""),
        ("$oci state $id", "container does not exist"),
        ("ls state", ""),
    ];
    let (ours, theirs) = (Oci::new(), Oci::new());
    let hybrid = Path::new("/sys/fs/cgroup/pids").exists();
    for (script, words) in rows.into_iter().filter(|(script, _)| hybrid || !script.contains("/sys/fs/cgroup")) {
        let (our, their) = (ours.sh(script), theirs.with("runc", script));
        let plain =
            |text: &str, oci: &Oci| text.replace(&oci.id, "ID").replace(&*oci.room.path("").to_string_lossy(), "ROOM/");
        let (our_out, their_out) = (plain(&our.stdout, &ours), plain(&their.stdout, &theirs));
        assert_eq!((our_out, our.code == 0), (their_out, their.code == 0), "{script}\n{our:#?}\n{their:#?}");
        if words.is_empty() {
            assert_eq!(our.code, their.code, "{script}\n{our:#?}\n{their:#?}");
        } else {
            assert!(their.stderr.contains(words), "{script}: not runc's words: {their:#?}");
            assert!(our.stderr.contains(words), "{script}: {our:#?}");
        }
    }
    assert!(ours.cgroup_is_gone());
}

/// Limits that runc 1.1 cannot change yet; and one that this kernel has not is named, not passed over.
#[test]
fn the_less_usual_limits_change_too() {
    needs!(root, "busybox", "runc");
    let oci = Oci::new();
    oci.configure(&["sleep", "1000"], |config| config["linux"]["resources"]["cpu"] = json!({"shares": 100}));
    oci.sh("$oci run -d -b box $id </dev/null >/dev/null 2>&1").ok();
    if Path::new("/sys/fs/cgroup/cpu/cpu.cfs_quota_us").exists() {
        let files = |names: &str| oci.sh(&format!("cd /sys/fs/cgroup/cpu/$id && cat {names}")).ok();
        oci.sh("$oci update --cpu-quota 50000 --cpu-burst 2000 $id").ok();
        assert_eq!(files("cpu.cfs_burst_us"), "2000");
        oci.sh("echo '{\"cpu\": {\"idle\": 1}}' | $oci update -r - $id").ok();
        assert_eq!(files("cpu.idle"), "1");
        if !Path::new("/sys/fs/cgroup/cpu/cpu.rt_runtime_us").exists() {
            oci.sh("$oci update --cpu-rt-runtime 1000 $id").fails(1, "cpu.rt_runtime_us");
        }
    }
    oci.sh("$oci update --blkio-weight 100000 $id").fails(2, "100000 is not in 0..=1000");
    // Of an option that is given twice the last one counts.
    assert_eq!(oci.sh("$oci --root $PWD/state --root $PWD/other list -q").ok(), "");
}

/// One that cannot be read is a warning, and the others are listed.
#[test]
fn a_damaged_state_hides_no_other() {
    needs!(root, "busybox", "runc");
    let oci = Oci::new();
    oci.sh("$oci create -b box $id </dev/null >/dev/null 2>&1; mkdir state/bad; echo '{' >state/bad/state.json").ok();
    let ran = oci.sh("$oci list -q");
    assert_eq!((ran.code, ran.stdout.trim()), (0, oci.id.as_str()), "{ran:#?}");
    assert!(ran.stderr.contains("level=warning") && ran.stderr.contains("state.json"), "{ran:#?}");
}

/// dockerd and podman find out what was wrong by words of the log's last line.
#[test]
fn a_command_that_is_not_there_is_an_error_of_create_in_the_log() {
    needs!(root, "busybox", "runc");
    let oci = Oci::new();
    fs::write(oci.room.path("box/rootfs/tmp/plain"), "x").unwrap();
    for (command, words) in [
        ("nosuch", "executable file not found in $PATH"),
        ("/no/such", "no such file or directory"),
        ("/tmp", "permission denied"),
        ("/tmp/plain", "permission denied"),
    ] {
        oci.configure(&[command], |_| {});
        let ran = oci.sh("$oci --log log --log-format json create -b box $id");
        assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{ran:#?}");
        let log = fs::read_to_string(oci.room.path("log")).unwrap();
        let line: Value = serde_json::from_str(log.trim()).unwrap();
        assert_eq!(line["level"], "error");
        assert!(line["msg"].as_str().unwrap().contains(words), "{line}");
        assert_eq!(oci.room.sh("ls state; rm log").ok(), "", "nothing is left");
        assert!(oci.cgroup_is_gone());
    }
    oci.configure(&["sleep", "1000"], |_| {});
    oci.sh("$oci run -d -b box $id </dev/null >/dev/null 2>&1").ok();
    let ran = oci.sh("$oci --log log --log-format json exec $id nosuch");
    assert_eq!(ran.code, 127, "{ran:#?}");
    assert!(fs::read_to_string(oci.room.path("log")).unwrap().contains("executable file not found in $PATH"));
    let ran =
        oci.sh("rm log; $oci --log log exec $id sh -c 'echo out; echo err >&2; exit 3'; echo $?; cat log 2>/dev/null");
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("out\n3\n", "err\n"), "the process's own words are no log");
}

/// What is done, and no secret.
#[test]
fn debug_tells_what_is_run() {
    needs!(root, "busybox", "runc");
    let oci = Oci::new();
    oci.sh("$oci --debug --log log --log-format json create -b box $id </dev/null >/dev/null 2>&1 && $oci start $id")
        .ok();
    let text = fs::read_to_string(oci.room.path("log")).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.iter().all(|line| line["level"] == "debug" && line["time"].is_string()), "{text}");
    assert!(text.contains("create") && text.contains("ctr-spawn") && text.contains("exit status: 0"), "{text}");
    let ran = oci.sh("$oci --debug exec -e NAME=canary $id sh -c 'echo $NAME'");
    assert_eq!(ran.stdout, "canary\n");
    assert!(ran.stderr.contains("level=debug") && ran.stderr.contains("NAME=..."), "{ran:#?}");
    assert!(!ran.stderr.contains("canary"), "{ran:#?}");
    assert_eq!(oci.sh("$oci exec $id true").stderr, "");
}

#[test]
fn run_in_the_foreground_ends_with_the_process() {
    needs!(root, "busybox", "runc", "script");
    let oci = Oci::new();
    oci.configure(&["sh", "-c", "echo in: $(cat); exit 5"], |_| {});
    let ran = oci.sh("echo x | $oci run -b box $id; echo $?; $oci list -q");
    assert_eq!(ran.stdout, "in: x\n5\n");
    oci.configure(&["sh", "-c", "trap 'echo got; exit 9' TERM; echo ready; while :; do sleep 0.05; done"], |_| {});
    let ran = oci.sh("mkfifo f; $oci run -b box $id >f & pid=$!; { read x; kill -TERM $pid; cat; } <f; wait $pid");
    assert_eq!((ran.code, ran.stdout.as_str()), (9, "got\n"), "{ran:#?}");
    oci.configure(&["sh", "-c", "tty; stty size; exit 4"], |config| config["process"]["terminal"] = true.into());
    let ran = oci.sh("export oci id; script -qec 'stty rows 31 cols 41; $oci run -b box $id' /dev/null");
    assert_eq!(ran.code, 4, "{ran:#?}");
    assert!(ran.stdout.contains("/dev/pts/0\r\n"), "{ran:#?}");
    oci.sh("$oci create -b box $id").fails(1, "console socket");
    assert!(oci.cgroup_is_gone());
}

#[test]
fn what_is_preserved_arrives_and_nothing_else() {
    needs!(root, "busybox", "runc");
    let oci = Oci::new();
    oci.configure(&["sh", "-c", "ls /proc/self/fd; cat <&3"], |_| {});
    oci.room.write("three", "3\n");
    let ran = oci.sh("exec 3<three 4<three 7</; $oci run --preserve-fds 2 -b box $id");
    assert_eq!(ran.stdout, "0\n1\n2\n3\n4\n5\n3\n", "5 is ls's own: {ran:#?}");
    let ran = oci.sh("exec 3<three 4<three 7</; LISTEN_FDS=1 $oci run -b box $id");
    assert_eq!(ran.stdout, "0\n1\n2\n3\n4\n3\n", "{ran:#?}");
    let ran = oci.sh("exec 3<three 7</; $oci run -b box $id");
    assert!(ran.stdout.starts_with("0\n1\n2\n3\n") && !ran.stdout.contains('4'), "{ran:#?}");
}

#[test]
fn a_made_container_may_go_without_a_start() {
    needs!(root, "busybox", "runc");
    let oci = Oci::new();
    oci.sh("$oci create -b box $id </dev/null >/dev/null 2>&1").ok();
    oci.sh("$oci create -b box $id").fails(1, "already exists");
    assert_eq!(oci.sh("$oci exec $id sh -c 'echo early'").ok(), "early");
    oci.sh("$oci delete $id").ok();
    assert!(oci.cgroup_is_gone());
    // One that was killed while it waited is stopped, and not to be started.
    oci.sh("$oci create -b box $id </dev/null >/dev/null 2>&1; $oci kill $id 9").ok();
    eventually(|| oci.sh("$oci state $id").stdout.contains("stopped"));
    oci.sh("$oci start $id").fails(1, "cannot start a container that has stopped");
    oci.sh("$oci delete $id").ok();
    // What is left of a creation that was broken off.
    oci.sh("mkdir state/$id && $oci list -q").ok();
    oci.sh("$oci state $id").fails(1, "container does not exist");
    oci.sh("$oci delete -f $id && test ! -e state/$id").ok();
    // The state of another runtime is not ours to remove.
    oci.with("runc", "$oci create -b box $id </dev/null >/dev/null 2>&1").ok();
    assert_eq!(oci.sh("$oci delete -f $id").code, 1);
    oci.with("runc", "$oci delete -f $id").ok();
}

/// Without a PID namespace the end of the first process is not the end of the others.
#[test]
fn kill_all_and_delete_force_reach_every_process() {
    needs!(root, "busybox", "runc");
    let oci = Oci::new();
    oci.configure(&["sh", "-c", "sleep 1001 & sleep 1001"], |config| {
        let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.retain(|namespace| namespace["type"] != "pid");
    });
    oci.sh("$oci run -d -b box $id </dev/null >/dev/null 2>&1").ok();
    eventually(|| oci.sh("$oci ps -f json $id").stdout.matches(',').count() == 1);
    oci.sh("$oci kill $id KILL").ok();
    eventually(|| oci.sh("$oci ps -f json $id").stdout.matches(',').count() == 0);
    oci.sh("$oci kill --all $id KILL").ok();
    eventually(|| oci.sh("$oci ps -f json $id").stdout == "[]\n");
    oci.sh("$oci delete --force $id").ok();
    assert!(oci.cgroup_is_gone());
}

#[test]
fn a_name_or_a_cgroup_that_leads_elsewhere_is_refused() {
    needs!(root, "busybox", "runc");
    let oci = Oci::new();
    for id in ["../x", "", "a/b", ".hidden"] {
        let ran = oci.sh(&format!("$oci create -b box '{id}'"));
        assert_eq!(ran.code, 1, "{ran:#?}");
        assert!(ran.stderr.contains("invalid id format"), "{ran:#?}");
    }
    // The root of a tree holds everybody's processes.
    for path in ["/", "/a/../..", "//"] {
        oci.configure(&["true"], |config| config["linux"]["cgroupsPath"] = path.into());
        oci.sh("$oci create -b box $id").fails(1, "not a path below the root of a tree");
    }
    oci.configure(&["true"], |config| config["linux"]["cgroupsPath"] = "system.slice:x:y".into());
    oci.sh("$oci --systemd-cgroup create -b box $id").fails(1, "systemd");
    oci.sh("$oci checkpoint $id").fails(1, "cannot be saved");
    assert_eq!(oci.sh("ls state 2>/dev/null; true").ok(), "");
}

#[test]
fn a_cgroup_in_use_is_left_alone() {
    needs!(root, "busybox", "runc");
    let oci = Oci::new();
    oci.sh("$oci run -d -b box $id </dev/null >/dev/null 2>&1").ok();
    oci.sh("$oci run -d -b box $id-2").fails(1, "busy");
    assert!(oci.sh("$oci state $id").ok().contains("running"), "the first one goes on");
}

#[test]
fn hooks_run_in_the_order_of_the_specification() {
    needs!(root, "busybox", "runc");
    let told = |runtime: &str| {
        let oci = Oci::new();
        let log = oci.room.path("hooks.log").display().to_string();
        oci.configure(&["sleep", "1000"], |config| {
            for moment in ["prestart", "createRuntime", "createContainer", "poststart", "poststop"] {
                let script = format!("read state; echo {moment} $(echo $state | grep -c {}) >>{log}", oci.id);
                config["hooks"][moment] =
                    json!([{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"]}]);
            }
        });
        oci.with(runtime, "$oci create -b box $id </dev/null >/dev/null 2>err || cat err >&2; echo created >>hooks.log; $oci start $id; echo started >>hooks.log; $oci delete --force $id").ok();
        fs::read_to_string(log).unwrap()
    };
    // The specification has poststart behind the start; runc runs it before create returns.
    let order =
        ["prestart 1", "createRuntime 1", "createContainer 1", "created", "poststart 1", "started", "poststop 1"];
    let ours = told("ctr-oci");
    assert_eq!(ours.lines().collect::<Vec<_>>(), order);
    let theirs = told("runc");
    let without =
        |text: &str| text.lines().filter(|line| *line != "poststart 1").map(Into::into).collect::<Vec<String>>();
    assert_eq!(without(&ours), without(&theirs));
}

/// runtime-spec 1.3, and runc from its first day on.
#[test]
fn a_hook_that_fails_behind_the_start_ends_the_container() {
    needs!(root, "busybox");
    let oci = Oci::new();
    let log = oci.room.path("hooks.log").display().to_string();
    oci.configure(&["sleep", "1000"], |config| {
        let told = format!("echo poststop >>{log}");
        config["hooks"] = json!({"poststart": [{"path": "/bin/false"}],
            "poststop": [{"path": "/bin/sh", "args": ["sh", "-c", told]}]});
    });
    oci.sh("$oci create -b box $id </dev/null >/dev/null 2>&1").ok();
    oci.sh("$oci start $id").fails(1, "hooks: poststart: /bin/false: exit status 1");
    oci.sh("$oci state $id").fails(1, "container does not exist");
    oci.sh("$oci run -b box $id").fails(1, "hooks: poststart: ");
    oci.sh("$oci state $id").fails(1, "container does not exist");
    assert_eq!(fs::read_to_string(log).unwrap(), "poststop\npoststop\n");
}

/// `--pidfd-socket`, as runc 1.2 has it: a word that says which process it is, and its descriptor.
#[test]
fn a_descriptor_of_the_process_goes_to_who_wants_it() {
    needs!(root, "busybox", "python3");
    let oci = Oci::new();
    oci.configure(&["sleep", "1000"], |_| {});
    oci.room.write(
        "listen.py",
        "import os, signal, socket
listener = socket.socket(socket.AF_UNIX)
listener.bind('new')
listener.listen()
os.rename('new', 'socket')
word, fds, _, _ = socket.recv_fds(listener.accept()[0], 100, 1)
os.unlink('socket')
signal.pidfd_send_signal(fds[0], signal.SIGKILL)
print(word.decode())",
    );
    let listen = "python3 listen.py & until [ -S socket ]; do sleep 0.01; done";
    let stopped = "n=0; until $oci state $id | grep -q stopped || [ $((n += 1)) -gt 500 ]; do sleep 0.02; done; wait; $oci delete $id";
    for verb in ["create", "run -d"] {
        let script =
            format!("{listen}; $oci {verb} -b box --pidfd-socket socket $id </dev/null >/dev/null 2>&1; {stopped}");
        assert_eq!(oci.sh(&script).ok(), "standard", "{verb}");
    }
    oci.sh("$oci run -d -b box $id </dev/null >/dev/null 2>&1").ok();
    let ran = oci.sh(&format!("{listen}; $oci exec --pidfd-socket socket $id sleep 1000; echo $?; wait"));
    let mut lines: Vec<&str> = ran.stdout.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["137", "setns"], "{ran:#?}");
    oci.sh("$oci delete --force $id").ok();
    oci.sh("$oci create -b box --pidfd-socket nosuch $id </dev/null").fails(1, "connect(\"nosuch\")");
    oci.sh("$oci state $id").fails(1, "container does not exist");
}

#[test]
fn events_tell_of_want_of_memory() {
    needs!(root, "busybox");
    let oci = Oci::new();
    oci.configure(
        &["sh", "-c", "while :; do busybox dd if=/dev/zero of=/dev/null bs=64M count=1; sleep 0.1; done"],
        |config| {
            config["linux"]["resources"] = json!({"memory": {"limit": 16 << 20, "swap": 16 << 20}});
        },
    );
    let started = oci.sh("$oci run -d -b box $id </dev/null >/dev/null 2>err || cat err");
    if started.stdout.contains("controller") {
        return skip("no memory controller");
    }
    let line = oci.sh("timeout 60 $oci events --interval 50ms $id | grep -m 1 oom").ok();
    assert_eq!(line, format!(r#"{{"type":"oom","id":"{}"}}"#, oci.id));
}

/// An image of busybox as an OCI archive, in the room.
fn image(room: &Room) {
    room.sh("mkdir -p tree/bin tree/tmp && cp $(command -v busybox) tree/bin/busybox \
         && for name in sh sleep cat echo id ps tty true hostname; do ln -s busybox tree/bin/$name; done \
         && tar -C tree -cf tree.tar . && img-append --base scratch --layer tree.tar --tag docker.io/library/box:1 \
            --change 'CMD [\"/bin/sleep\",\"1000\"]' --change 'ENV PATH=/bin' | img-save -o image.tar")
        .ok();
}

#[test]
fn podman_and_buildah_run_on_it() {
    needs!(root, "busybox", "podman", "buildah");
    let room = Room::new();
    image(&room);
    let ours = bin().join("ctr-oci").display().to_string();
    let podman = room.podman().replace("--runtime runc", &format!("--runtime {ours}"));
    let p = |words: &str| room.sh(&format!("timeout 60 env {podman} {words} </dev/null"));
    let image = p("load -q -i image.tar").ok().rsplit(' ').next().unwrap().to_owned();
    assert_eq!(p(&format!("run --rm --network none {image} sh -c 'echo hi; exit 3'")).stdout, "hi\n");
    let id = p(&format!("run -d --name web --network none --memory 64m {image}")).ok();
    let _end = Script(&room, format!("timeout 60 env {podman} rm -f -t 0 web"));
    for (words, code, want) in [
        ("exec web echo in".to_owned(), 0, "in\n"),
        ("exec -t web tty".into(), 0, "/dev/pts/0\r\n"),
        ("exec web nosuch".into(), 127, ""),
        ("exec web /tmp".into(), 126, ""),
        ("pause web".into(), 0, "web\n"),
        ("inspect -f {{.State.Status}} web".into(), 0, "paused\n"),
        ("unpause web".into(), 0, "web\n"),
        ("update --memory 100m web".into(), 0, &*format!("{id}\n")),
        ("top web pid".into(), 0, "PID\n1\n"),
        ("kill web".into(), 0, "web\n"),
        ("wait web".into(), 0, "143\n"),
        ("inspect -f {{.State.ExitCode}} web".into(), 0, "143\n"),
        ("start web".into(), 0, "web\n"),
        (format!("run --rm --network none {image} nosuch"), 127, ""),
        (format!("run --rm --network none {image} /tmp"), 126, ""),
        (format!("run --rm -t --network none {image} tty"), 0, "/dev/pts/0\r\n"),
    ] {
        // The first process has no default action for TERM.
        let words = if words == "kill web" { "kill -s KILL web".to_owned() } else { words };
        let want = want.replace("143", "137");
        let ran = p(&words);
        assert_eq!((ran.code, ran.stdout.as_str()), (code, want.as_str()), "{words}: {ran:#?}");
    }
    let dir = room.path("podman");
    let buildah = format!("buildah --root {dir}/root --runroot {dir}/run --storage-driver vfs", dir = dir.display());
    let script = format!(
        "box=$({buildah} from {image}) && timeout 60 {buildah} run --network none --runtime {ours} $box -- sh -c 'echo built >/made; cat /made'; {buildah} rm $box >/dev/null"
    );
    assert_eq!(room.sh(&script).stdout, "built\n", "{:#?}", room.sh(&script));
}

#[test]
fn dockerd_containerd_and_a_swarm_service_run_on_it() {
    needs!(root, "busybox", "dockerd", "docker", "ctr");
    let room = Room::new();
    image(&room);
    let ours = bin().join("ctr-oci").display().to_string();
    let Some(daemon) = Dockerd::start_with(&room, &format!("--add-runtime ours={ours} --default-runtime ours")) else {
        return;
    };
    let docker = |words: &str| {
        room.sh(&format!(
            "export DOCKER_HOST={} DOCKER_CONFIG=$PWD/dockerd; timeout -s KILL 60 docker {words} </dev/null",
            daemon.host()
        ))
    };
    docker("load -q -i image.tar").ok();
    for (words, code, want) in [
        ("run --rm box:1 sh -c 'echo hi; exit 3'", 3, "hi\n"),
        ("run --rm -t box:1 tty", 0, "/dev/pts/0\r\n"),
        ("run --rm box:1 nosuch", 127, ""),
        ("run --rm box:1 /tmp", 126, ""),
        ("run -d --init --name web -m 64m box:1 sh -c 'echo said; sleep 1000'", 0, "*"),
        ("exec web echo in", 0, "in\n"),
        ("exec -t web tty", 0, "/dev/pts/0\r\n"),
        ("exec web nosuch", 126, "*"),
        ("pause web", 0, "web\n"),
        ("inspect -f '{{.State.Status}}' web", 0, "paused\n"),
        ("unpause web", 0, "web\n"),
        ("update -m 100m --memory-swap 200m web", 0, "web\n"),
        ("logs web", 0, "said\n"),
        ("stats --no-stream --format '{{.Name}} {{.PIDs}}' web", 0, "web 2\n"),
        ("kill web", 0, "web\n"),
        ("wait web", 0, "137\n"),
        ("start web", 0, "web\n"),
        ("rm -f web", 0, "web\n"),
    ] {
        let ran = docker(words);
        assert_eq!(ran.code, code, "{words}: {ran:#?}");
        assert!(want == "*" || ran.stdout == want, "{words}: {ran:#?}");
    }
    // A service of a cluster of one: its task runs, and one that dies is replaced.
    docker("swarm init --advertise-addr 127.0.0.1").ok();
    docker("service create --detach --name service --network host --restart-delay 1ms box:1").ok();
    let running = || docker("ps -q --filter name=service").stdout;
    eventually(|| !running().is_empty());
    let first = running();
    docker(&format!("kill {}", first.trim())).ok();
    eventually(|| !running().is_empty() && running() != first);
    docker("service rm service").ok();
    eventually(|| running().is_empty());
    // containerd alone, by its own client.
    let ctr =
        format!("timeout -s KILL 60 ctr -a {}/exec/containerd/containerd.sock -n own", room.path("dockerd").display());
    room.sh(&format!("{ctr} images import --snapshotter native image.tar")).ok();
    let ran = room.sh(&format!(
        "{ctr} run --rm --snapshotter native --fifo-dir $PWD/fifos --runc-binary {ours} --runc-root $PWD/shim docker.io/library/box:1 one sh -c 'echo ctr; exit 6'"
    ));
    assert_eq!((ran.code, ran.stdout.as_str()), (6, "ctr\n"), "{ran:#?}");
}

/// What is promised is built: one configuration that has all of it becomes a plan.
#[test]
fn the_features_are_those_that_are_built() {
    needs!(root, "busybox", "runc");
    let oci = Oci::new();
    let features: Value = serde_json::from_str(&oci.room.sh("ctr-oci features").ok()).unwrap();
    let words = |list: &Value| -> Vec<String> { serde_json::from_value(list.clone()).unwrap() };
    let (linux, seccomp) = (&features["linux"], &features["linux"]["seccomp"]);
    // Those of bind mounts mean nothing on a tmpfs.
    let options = words(&features["mountOptions"]);
    let options: Vec<_> = options.iter().filter(|word| !word.ends_with("bind") && !word.ends_with("idmap")).collect();
    oci.configure(&["true"], |config| {
        let kinds = words(&linux["namespaces"]);
        config["linux"]["namespaces"] = kinds.iter().map(|kind| json!({ "type": kind })).collect();
        config["linux"]["uidMappings"] = json!([{ "containerID": 0, "hostID": 0, "size": 65536 }]);
        config["linux"]["gidMappings"] = config["linux"]["uidMappings"].clone();
        config["process"]["capabilities"]["bounding"] = linux["capabilities"].clone();
        config["process"]["capabilities"]["permitted"] = linux["capabilities"].clone();
        let mount = json!({ "destination": "/all", "type": "tmpfs", "source": "tmpfs", "options": options });
        config["mounts"].as_array_mut().unwrap().push(mount);
        for kind in words(&features["hooks"]) {
            config["hooks"][kind] = json!([{ "path": "/bin/true" }]);
        }
        let actions = words(&seccomp["actions"]);
        let rules =
            actions.iter().zip(["mkdir", "rmdir", "chdir", "mknod", "chmod", "chown", "fchmod", "fchown", "link"]);
        let mut rules: Vec<Value> = rules.map(|(action, name)| json!({ "names": [name], "action": action })).collect();
        assert_eq!(rules.len(), actions.len());
        let compare = |op: &String| json!({ "index": 0, "value": 1, "op": op });
        let args: Vec<Value> = words(&seccomp["operators"]).iter().map(compare).collect();
        rules.push(json!({ "names": ["socket"], "action": "SCMP_ACT_ERRNO", "args": args }));
        config["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW", "architectures": seccomp["archs"], "flags": seccomp["supportedFlags"],
            "listenerPath": "/run/nobody", "syscalls": rules
        });
        config["linux"]["netDevices"] = json!({ "eth0": {} });
        assert_eq!(linux["netDevices"]["enabled"], true);
    });
    let plan: Value = serde_json::from_str(&oci.room.sh("ctr-spawn --plan box").ok()).unwrap();
    let steps = plan["steps"].as_array().unwrap();
    let all = steps.iter().find(|step| step["target"] == "/all").unwrap();
    assert_eq!(all["options"], json!([]), "no word is left for the file system");
    for step in ["timeNamespace", "idMap", "netDevices", "seccomp", "listener"] {
        assert!(steps.iter().any(|found| found["step"] == step), "{step}");
    }
    assert_eq!(steps.iter().filter(|found| found["step"] == "hooks").count(), words(&features["hooks"]).len());
    for mode in words(&linux["memoryPolicy"]["modes"]) {
        let policy = json!({ "mode": mode, "nodes": "0", "flags": linux["memoryPolicy"]["flags"] });
        oci.configure(&["true"], |config| config["linux"]["memoryPolicy"] = policy);
        oci.room.sh("ctr-spawn --plan box").ok();
    }
    oci.configure(&["true"], |config| config["linux"]["intelRdt"] = json!({ "closID": "x" }));
    assert_eq!(linux["intelRdt"]["enabled"], false);
    oci.room.sh("ctr-spawn --plan box").fails(125, "linux.intelRdt");
}

//! ctr-exec and `dock exec`: one more process in containers that really run.

mod container;
mod hostile;
mod others;
mod words;

use container::Web;
use dock_tests::needs;
use serde_json::{Value, json};
use std::fs;

#[test]
fn the_process_is_in_the_container() {
    needs!(root, "busybox");
    let web = Web::start("-m 64m --pids-limit 50 --security-opt no-new-privileges --ulimit nofile=99:111");
    let inside = web.sh("ctr-exec web -- sh -c 'echo $$; hostname; ls /; cat /proc/1/cmdline'").ok();
    assert_ne!(inside.lines().next(), Some("1"));
    assert!(inside.contains(&web.id[..12]) && inside.contains("sleep\u{0}1000"), "{inside}");
    // What the kernel says of the two processes is the same, but for what is a process's own.
    let of = |process: &str| {
        let mut text = web.sh(&format!("ctr-exec web -- cat /proc/{process}/status /proc/{process}/limits")).ok();
        text +=
            &web.sh(&format!("ctr-exec web -- sh -c 'for file in /proc/{process}/ns/*; do readlink $file; done; cat /proc/{process}/cgroup'")).ok();
        let same = |line: &&str| {
            [
                "Cap",
                "NoNewPrivs",
                "Seccomp:",
                "Umask",
                "Uid",
                "Gid",
                "Groups",
                "SigIgn",
                "SigBlk",
                "Max ",
                "mnt:",
                "pid:",
                "net:",
            ]
            .iter()
            .chain(&["ipc:", "uts:", "cgroup:", "user:", "0::"])
            .any(|name| line.starts_with(name))
                || line.contains(":/")
        };
        text.lines().filter(same).map(Into::into).collect::<Vec<String>>()
    };
    let (first, second) = (of("1"), of("self"));
    assert!(first.len() > 45, "{first:?}");
    assert_eq!(first, second);
    let empty = second.iter().filter(|line| line.starts_with("CapInh") || line.starts_with("CapAmb"));
    for line in empty {
        assert!(line.ends_with("0000000000000000"), "CVE-2022-29162: {line}");
    }
    // As the host sees it, it is in the same cgroups.
    web.sh("ctr-exec -d --pid-file pid web -- sleep 999").ok();
    let other: i32 = fs::read_to_string(web.room.path("pid")).unwrap().parse().unwrap();
    let cgroups = |pid: i32| fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    assert_eq!(cgroups(other), cgroups(web.pid()));
    assert!(cgroups(other).contains(&web.id));
    assert!(web.sh("ctr-exec web -- ps").ok().contains("sleep 999"), "-d lives on");
}

#[test]
fn the_clocks_are_the_containers_and_a_label_that_cannot_be_set_is_refused() {
    needs!(root, "busybox");
    let web = Web::start_with("", |config| {
        config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "time" }));
        config["linux"]["timeOffsets"] = json!({ "boottime": { "secs": 900_000_000, "nanosecs": 0 } });
    });
    let uptime = web.sh("ctr-exec web -- sh -c 'read -r up rest </proc/uptime; echo ${up%.*}'").ok();
    assert!(uptime.parse::<u64>().unwrap() > 900_000_000, "{uptime}");
    if fs::read_to_string("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.starts_with('Y')) {
        return;
    }
    let process = json!({ "args": ["true"], "cwd": "/", "apparmorProfile": "confined" });
    fs::write(web.room.path("process.json"), process.to_string()).unwrap();
    web.sh("ctr-exec --process process.json web").fails(125, "confined: this kernel runs without AppArmor");
}

#[test]
fn a_limit_of_the_container_holds_for_both() {
    needs!(root, "busybox");
    let web = Web::start("-m 16m --memory-swap 16m");
    let ran = web.sh("ctr-exec web -- sh -c 'head -c 200000000 /dev/zero | tail -c 199999999 >/dev/null; exit $?'");
    assert_eq!(ran.code, 137, "{ran:#?}");
}

#[test]
fn options_change_what_config_json_says() {
    needs!(root, "busybox");
    let web = Web::start("-e HOME=/set");
    web.room.write("file", "# no\nF=file\nA=file\nOUTER\nUNSET\n");
    for (options, command, want) in [
        ("-e A=2 -e 'B=b  c'", "sh -c 'echo \"$A $B\"'", "2 b  c"),
        ("--env-file file -e A=3", "sh -c 'echo $F $A $OUTER ${UNSET-none}'", "file 3 o none"),
        ("-e OUTER -e A", "sh -c 'echo $OUTER ${A-none}'", "o none"),
        ("-w /dir", "pwd", "/dir"),
        ("-w ''", "pwd", "/"),
        ("-u ann", "sh -c 'id -u; id -G; echo $HOME'", "1000\n1000 10\n/set"),
        ("-u 12:13", "sh -c 'id -u; id -G'", "12\n13"),
        ("-u 70", "id -u", "70"),
        ("", "cat", ""),
        (
            "",
            "sh -c 'readlink /proc/self/fd/0; readlink /proc/self/ns/mnt >/dev/null && ls /dev/null'",
            "/dev/null\n/dev/null",
        ),
    ] {
        let ran = web.sh(&format!("export OUTER=o; echo in | ctr-exec {options} web -- {command}"));
        assert_eq!(ran.ok(), want, "{options} {command}");
    }
    let all = web.sh("grep CapBnd /proc/self/status").ok().replace("Bnd", "Eff");
    assert_eq!(web.sh("ctr-exec --privileged web -- grep CapEff /proc/self/status").ok(), all);
    assert_eq!(web.sh("echo in | ctr-exec -i web -- cat").ok(), "in");
    assert_eq!(web.sh("{ ctr-ls; echo more; } | ctr-exec -i -- cat").ok(), "more", "a record, and the rest of stdin");
    let ran = web.sh("ctr-exec web -- sh -c 'echo out; echo err >&2'");
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("out\n", "err\n"));
    web.sh("ctr-exec -w dir web -- true").fails(125, "needs to be an absolute path");
    web.sh("ctr-exec -w /no/such web -- true").fails(125, "working directory: chdir(\"/no/such\"): No such file");
    web.sh("ctr-exec -u nobody web -- true").fails(125, "unable to find user nobody: no matching entries in passwd");
    web.sh("ctr-exec -u 4294967296 web -- true").fails(125, "uids and gids must be in range");
    web.sh("ctr-exec -e =x web -- true").fails(125, "invalid environment variable: =x");
}

#[test]
fn home_follows_the_user_unless_somebody_set_it() {
    needs!(root, "busybox");
    let web = Web::start("");
    assert_eq!(web.sh("ctr-exec web -- sh -c 'echo $HOME'").ok(), "/root");
    assert_eq!(web.sh("ctr-exec -u ann web -- sh -c 'echo $HOME'").ok(), "/home/ann");
    assert_eq!(web.sh("ctr-exec -u 99 web -- sh -c 'echo $HOME'").ok(), "/");
    // Users are those that the container has now.
    web.sh("ctr-exec web -- sh -c 'echo new:x:7:8::/new: >>/etc/passwd'").ok();
    assert_eq!(web.sh("ctr-exec -u new web -- sh -c 'id -u; echo $HOME'").ok(), "7\n/new");
}

/// How the process is scheduled: as the first one is, and on its own processors before and in the cgroup.
#[test]
fn scheduler_priority_and_processors() {
    needs!(root, "busybox");
    let web = Web::start_with("", |config| {
        config["process"]["scheduler"] = json!({"policy": "SCHED_BATCH", "nice": 7});
        config["process"]["ioPriority"] = json!({"class": "IOPRIO_CLASS_BE", "priority": 6});
        config["process"]["execCPUAffinity"] = json!({"initial": "0", "final": "1"});
    });
    let show =
        "busybox cut -d' ' -f19,40,41 /proc/self/stat; busybox ionice -p $$; grep Cpus_allowed_list /proc/self/status";
    web.room.write("show", show);
    let ran = web.sh("ctr-exec web -- sh -c \"$(cat show)\"").ok();
    assert_eq!(ran, "7 0 3\nbest-effort: prio 6\nCpus_allowed_list:\t1");
    let process = |affinity: Value| {
        json!({"args": ["sh", "-c", show], "env": ["PATH=/bin"], "cwd": "/",
            "scheduler": {"policy": "SCHED_RR", "priority": 5}, "execCPUAffinity": affinity})
    };
    web.room.write("process.json", process(json!({"initial": "0"})).to_string());
    let ran = web.sh("ctr-exec --process process.json web").ok();
    // The nice value is what the caller has: a process in real time has no use for it.
    let ran = ran.split_once(' ').unwrap().1;
    assert_eq!(ran, "5 2\nbest-effort: prio 6\nCpus_allowed_list:\t0");
    for wrong in ["x", "1-0", "0,,1", "0-999999"] {
        web.room.write("process.json", process(json!({ "final": wrong })).to_string());
        web.sh("ctr-exec --process process.json web").fails(125, &format!("CPU affinity: {wrong}: not a list of proc"));
    }
}

/// What `linux` has for every process of the container, and not for its first alone.
#[test]
fn personality_and_memory_policy_are_the_containers() {
    needs!(root, "busybox");
    let web = Web::start_with("", |config| {
        config["linux"]["personality"] = json!({"domain": "LINUX32"});
        config["linux"]["memoryPolicy"] = json!({"mode": "MPOL_BIND", "nodes": "0"});
    });
    web.room.write("show", "busybox uname -m; head -n 1 /proc/self/numa_maps | busybox cut -d ' ' -f 2");
    let ran = web.sh("ctr-exec web -- sh -c \"$(cat show)\"").ok();
    let (machine, policy) = ran.split_once('\n').unwrap();
    let here = web.sh("uname -m; setarch linux32 uname -m").ok();
    let (wide, narrow) = here.split_once('\n').unwrap();
    assert_eq!((machine, policy), (narrow, "bind:0"));
    assert_ne!(wide, narrow, "it can be told");
}

#[test]
fn a_cgroup_below_the_containers() {
    needs!(root, "busybox");
    let web = Web::start("-m 64m");
    let groups = web.sh(&format!("find /sys/fs/cgroup -type d -name {}", web.id)).ok();
    // Limits of memory are a tree of its own, or the one of version 2.
    let group = groups.lines().find(|group| group.contains("/memory/")).or(groups.lines().next()).unwrap();
    let version_1 = group.contains("/memory/");
    let tree = if version_1 { ":memory:" } else { "^0:" };
    web.sh(&format!("mkdir {group}/sub {group}/sub/deep")).ok();
    let inside = |options: &str| web.sh(&format!("ctr-exec {options} web -- grep -E '{tree}' /proc/self/cgroup"));
    let (own, below, deep) = (inside(""), inside("--cgroup /sub"), inside("--cgroup sub/deep/"));
    let by_name = inside("--cgroup pids,memory:sub");
    let by_oci =
        web.sh(&format!("ctr-exec --cgroup sub --state run/containers/{}/state.json -- sh -c 'exit 3'", web.id));
    let refused = ["nosuch", "../x", "/sub/../../x", "nosuch:/sub"].map(|wish| inside(&format!("--cgroup {wish}")));
    web.sh(&format!("rmdir {group}/sub/deep {group}/sub")).ok();
    assert!(!own.ok().contains("sub"));
    assert!(below.ok().ends_with("/sub") && deep.ok().ends_with("/sub/deep"));
    assert_eq!(by_oci.code, 3);
    if version_1 {
        by_name.fails(125, "--cgroup pids,memory:sub: the container has no cgroup of its own for pids");
    }
    for ran in refused {
        ran.fails(125, "--cgroup ");
    }
}

#[test]
fn a_terminal_is_the_containers_own() {
    needs!(root, "busybox", "script");
    let web = Web::start("");
    web.room.write("in", "stty rows 33 cols 44; ctr-exec -it web -- sh -c 'tty; stty size; echo $TERM'");
    let text = web.sh("script -qec 'sh in' /dev/null").stdout;
    // script echoes the end of its own stdin, anywhere.
    assert!(text.replace("^@", "").ends_with("/dev/pts/0\r\n33 44\r\nxterm\r\n"), "{text:?}");
    // Keys go in, the code comes out.
    // What is typed before the terminal is the container's may be lost, and at the end of its stdin script types ^D:
    // so the word comes after the prompt, and the end never.
    let ran = web.sh(
        "mkfifo keys; script -qec 'ctr-exec -it web -- sh' /dev/null <>keys >shown & shell=$!
        n=0; until grep -qs '# ' shown || [ $n -gt 3000 ]; do sleep 0.02; n=$((n+1)); done; echo 'exit 5' >keys; wait $shell",
    );
    assert_eq!(ran.code, 5, "{ran:#?}");
}

#[test]
fn the_plan_is_what_runs() {
    needs!(root, "busybox");
    let web = Web::start("-m 64m");
    let plan: Value = serde_json::from_str(&web.sh("ctr-exec --plan web -- touch /tmp/made").ok()).unwrap();
    let steps: Vec<&str> =
        plan["steps"].as_array().unwrap().iter().map(|step| step["step"].as_str().unwrap()).collect();
    assert_eq!(steps.first(), Some(&"enterPid"));
    assert!(steps.contains(&"enterCgroups") && steps.last() == Some(&"exec"), "{steps:?}");
    web.sh("ctr-exec web -- ls /tmp/made").fails(1, "No such file");
    let ran = web.sh("ctr-exec --explain web -- touch /tmp/made");
    let shown: Vec<&str> = ran.stderr.lines().filter_map(|line| line.strip_prefix("+ ")).collect();
    let planned: Vec<&str> =
        plan["steps"].as_array().unwrap().iter().map(|step| step["shell"].as_str().unwrap()).collect();
    assert_eq!(shown, planned);
    web.sh("ctr-exec web -- ls /tmp/made").ok();
}

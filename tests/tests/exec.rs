//! ctr-exec and `dock exec`: one more process in containers that really run, ours and runc's.

use dock_tests::{Ran, Room, needs, unfit};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// An ordinary user that no machine has.
const NOBODY: u32 = 12_345;

/// A container named `web` that runs `sleep`, in a room of its own. Ends with the value.
struct Web {
    room: Room,
    id: String,
    child: Kill,
}

impl Web {
    fn start(options: &str) -> Self {
        Self::start_with(options, |_| {})
    }

    fn start_with(options: &str, change: impl FnOnce(&mut Value)) -> Self {
        Self::in_room(Room::new(), options, change)
    }

    fn in_room(room: Room, options: &str, change: impl FnOnce(&mut Value)) -> Self {
        let passwd = "root:x:0:0::/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\n70:x:0:0::/:/bin/sh\n";
        let applets = "sh sleep true cat id env pwd ps hostname ls head tail readlink touch stty tty mkfifo grep sed";
        let script = format!(
            "mkdir -p tree/bin tree/etc tree/tmp tree/dir && cp $(command -v busybox) tree/bin/busybox \
             && for name in {applets}; do ln -s busybox tree/bin/$name; done \
             && printf '{passwd}' >tree/etc/passwd && printf 'ann:x:1000:\\nwheel:x:10:ann\\n' >tree/etc/group \
             && tar -C tree -cf tree.tar . \
             && img-append --base scratch --layer tree.tar --change 'ENV PATH=/bin A=1' --tag t >image \
             && dock create --name web {options} t sleep 1000"
        );
        let id = room.sh(&script).ok().lines().last().unwrap().to_owned();
        let bundle = room.path("root/containers").join(&id);
        let file = bundle.join("config.json");
        let mut config: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        change(&mut config);
        fs::write(&file, config.to_string()).unwrap();
        let mut spawn = Command::new(dock_tests::bin().join("ctr-spawn"));
        spawn.arg(&bundle).env("DOCK_ROOT", room.path("root")).env("DOCK_RUN", room.path("run"));
        spawn.stdin(Stdio::null()).stdout(Stdio::null());
        if room.uid().is_some() {
            std::os::unix::process::CommandExt::uid(&mut spawn, NOBODY);
            std::os::unix::process::CommandExt::gid(&mut spawn, NOBODY);
        }
        let child = Kill(spawn.spawn().unwrap());
        let web = Self { room, id, child };
        web.eventually(|| web.sh("ctr-ls -q").stdout.len() > 1);
        web
    }

    fn sh(&self, script: &str) -> Ran {
        self.room.sh(script)
    }

    /// The first process, as the host sees it.
    fn pid(&self) -> i32 {
        let state = self.room.path("run/containers").join(&self.id).join("state.json");
        let state: Value = serde_json::from_slice(&fs::read(state).unwrap()).unwrap();
        i32::try_from(state["pid"].as_i64().unwrap()).unwrap()
    }

    #[track_caller]
    fn eventually(&self, mut done: impl FnMut() -> bool) {
        let until = Instant::now() + Duration::from_secs(60);
        while !done() {
            assert!(Instant::now() < until, "waited in vain");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

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

#[test]
fn exit_codes_and_errors_say_what_is_missing() {
    needs!(root, "busybox");
    let web = Web::start("");
    unfit::write(&Path::new("/proc").join(web.pid().to_string()).join("root/tmp"));
    assert_eq!(web.sh("ctr-exec web -- sh -c 'exit 42'").code, 42);
    assert_eq!(web.sh("ctr-exec web -- sh -c 'kill -9 $$'").code, 137);
    for (command, code, words) in unfit::COMMANDS {
        web.sh(&format!("ctr-exec web -- {command}")).fails(code, words);
    }
    web.sh("ctr-exec web").fails(125, "no command");
    web.sh("ctr-exec nope -- true").fails(125, "No such container: nope");
    web.sh("ctr-exec --no-such-option").fails(125, "--no-such-option");
    web.sh("ctr-exec </dev/null").fails(125, "no container record on <stdin>");
    web.sh("ctr-exec web -d -- nosuch").fails(127, "not found");
}

#[test]
fn one_that_does_not_run_is_told_from_one_with_its_process_id() {
    needs!(root, "busybox");
    let mut web = Web::start("");
    let state = web.room.path("run/containers").join(&web.id).join("state.json");
    let right = fs::read_to_string(&state).unwrap();
    let mut other: Value = serde_json::from_str(&right).unwrap();
    other["annotations"]["dev.dock.pid.start"] = "1".into();
    fs::write(&state, other.to_string()).unwrap();
    let not_running = format!("container {} is not running", web.id);
    web.sh("ctr-exec web -- true").fails(125, &not_running);
    let file = state.display().to_string();
    web.sh(&format!("ctr-exec --state {file} -- true")).fails(125, &not_running);
    other["pid"] = 1.into();
    fs::write(&state, other.to_string()).unwrap();
    web.sh(&format!("ctr-exec --state {file} -- true")).fails(125, "1 is no process ID of a container");
    fs::write(&state, right).unwrap();
    web.sh("ctr-exec web -- true").ok();
    web.child.0.kill().unwrap();
    web.child.0.wait().unwrap();
    web.eventually(|| web.sh("ctr-exec web -- true").stderr.contains(&not_running));
}

#[test]
fn docker_exec_s_words_and_codes() {
    needs!(root, "busybox");
    let mut web = Web::start("");
    assert_eq!(web.sh("dock exec web sh -c 'echo \"$0 $1\"' 'a  b' c").ok(), "a  b c");
    assert_eq!(
        web.sh("echo in | dock exec -i -e A='x  y' -u ann -w /dir web sh -c 'cat; id -u; pwd; echo \"$A\"'").ok(),
        "in\n1000\n/dir\nx  y"
    );
    assert_eq!(web.sh("dock exec web cat").ok(), "");
    assert_eq!(web.sh("dock exec -d web sh -c 'echo done >/tmp/done'").ok(), "");
    web.eventually(|| web.sh("dock exec web cat /tmp/done").stdout == "done\n");
    assert_eq!(web.sh("dock exec web sh -c 'exit 9'").code, 9);
    let trace = web.sh("dock -n exec -it -e 'A=b c' web sh -c 'echo $A' </dev/null");
    assert_eq!((trace.code, trace.stderr.as_str()), (1, "the input device is not a TTY\n"));
    let line = web.sh("dock -n exec -t -e 'A=b c' web sh -c 'echo $A'").ok();
    assert_eq!(line, "ctr-exec --docker --env 'A=b c' --tty web -- sh -c 'echo $A'");
    for (words, code, message) in [
        ("nope true", 1, "Error response from daemon: No such container: nope\n".to_owned()),
        (
            "web nosuch",
            127,
            "OCI runtime exec failed: exec failed: exec: nosuch: not found in the container's PATH\n".into(),
        ),
        ("web /dir", 126, "OCI runtime exec failed: exec failed: exec: /dir: is a directory\n".into()),
        ("--nope web true", 125, "unknown flag: --nope\nSee 'dock exec --help'.\n".into()),
        ("-u", 125, "flag needs an argument: 'u' in -u\nSee 'dock exec --help'.\n".into()),
    ] {
        let ran = web.sh(&format!("dock exec {words}"));
        assert_eq!((ran.code, ran.stderr.as_str()), (code, message.as_str()), "{words}");
    }
    let ran = web.sh("dock exec web");
    assert!(ran.code == 1 && ran.stderr.starts_with("\"dock exec\" requires at least 2 arguments.\n"), "{ran:#?}");
    web.child.0.kill().unwrap();
    web.child.0.wait().unwrap();
    let message = format!("Error response from daemon: container {} is not running\n", web.id);
    web.eventually(|| {
        let ran = web.sh("dock exec web true");
        ran.code == 1 && ran.stderr == message
    });
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
fn cve_2016_9962_no_descriptor_and_no_ignored_signal_comes_along() {
    needs!(root, "busybox");
    let web = Web::start("");
    let caller = "trap '' PIPE USR1 INT QUIT; exec 7</etc/passwd 9</; ctr-exec";
    assert_eq!(web.sh(&format!("{caller} web -- ls /proc/self/fd")).ok(), "0\n1\n2\n3", "3 is ls's own directory");
    let text = web.sh(&format!("{caller} web -- grep -E '^Sig(Ign|Blk)' /proc/self/status")).ok();
    assert_eq!(text, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000");
    assert_eq!(web.sh("exec 3</dev/null; ctr-exec --preserve-fds 1 web -- ls /proc/self/fd").ok(), "0\n1\n2\n3\n4");
}

/// A process of the container that comes upon one that is still ctr-exec does not see its file. A long PATH keeps it at
/// the last moment, with no more rights than the spy, for most of its life.
#[test]
fn cve_2016_9962_nobody_looks_into_a_process_that_enters() {
    needs!(root, "busybox");
    let web = Web::start("");
    let spy = "while :; do for dir in /proc/[0-9]*; do read -r name <$dir/comm || continue
        case $name in ctr-exec) echo met; readlink $dir/exe;; esac; done; done >/tmp/seen 2>/dev/null";
    web.sh(&format!("ctr-exec -d web -- sh -c '{spy}'")).ok();
    let path = format!("PATH={}/bin", "n:".repeat(40_000));
    for user in ["root", "ann"] {
        let met = |web: &Web| web.sh("ctr-exec web -- grep -c met /tmp/seen").stdout.trim().parse().unwrap_or(0);
        let before: u32 = met(&web);
        web.eventually(|| {
            web.sh(&format!("ctr-exec -u {user} -e {path} web -- true")).ok();
            met(&web) >= before + 5
        });
    }
    // What it finds may be the command by then, never the program that entered.
    assert_eq!(web.sh("ctr-exec web -- cat /tmp/seen").ok().matches("ctr-exec").count(), 0);
}

#[test]
fn cve_2019_5736_our_own_file_is_not_executed_inside() {
    needs!(root, "busybox");
    let web = Web::start("");
    web.sh("ctr-exec web -- /proc/self/exe --version").fails(126, "leads to the program that starts the container");
    web.sh("ctr-exec web -- sh -c 'printf \"#!/proc/self/exe\\n\" >/tmp/s; busybox chmod 755 /tmp/s'").ok();
    web.sh("ctr-exec web -- /tmp/s").fails(126, "leads to the program that starts the container");
}

/// Who may trace reaches the file behind a process that enters, and keeps it until nobody executes it any more: then
/// it could be written to.
#[test]
fn cve_2019_5736_who_may_trace_finds_a_sealed_copy() {
    needs!(root, "busybox");
    for (options, given) in [("--cap-add SYS_PTRACE", ""), ("", "--cap-add SYS_PTRACE")] {
        let web = Web::start(options);
        web.sh("mkdir own && cp \"$(command -v ctr-exec)\" own/ctr-exec && cp own/ctr-exec before").ok();
        let keep = "( exec 9<$1/exe; readlink /proc/self/fd/9; n=0
            while [ $n -lt 30 ]; do { echo evil >>/proc/self/fd/9; } 2>/dev/null && echo written; n=$((n+1)); sleep 0.05; done; echo over ) >>/tmp/seen";
        let spy = format!(
            "keep() {{ {keep}; exit; }}; echo >/tmp/ready; while :; do for dir in /proc/[0-9]*; do
            read -r name <$dir/comm || continue; case $name in ctr-exec) keep $dir;; esac; done; done 2>/tmp/err"
        );
        web.room.write("spy", spy);
        web.sh(&format!("ctr-exec {given} -d web -- sh -c \"$(cat spy)\"")).ok();
        let path = (0..2000).fold("PATH=".to_owned(), |path, number| format!("{path}/none{number}:"));
        web.eventually(|| {
            web.sh(&format!("own/ctr-exec -e {path}/bin web -- true")).ok();
            web.sh("ctr-exec web -- cat /tmp/seen").stdout.contains("ctr-exec")
        });
        web.eventually(|| web.sh("ctr-exec web -- cat /tmp/seen").stdout.contains("over"));
        assert_eq!(web.sh("ctr-exec web -- cat /tmp/seen").ok(), "/memfd:ctr-exec (deleted)\nover", "{options}{given}");
        web.sh("cmp own/ctr-exec before").ok();
        // Its last child leads a session that has the terminal.
        web.room.write("in", "own/ctr-exec -t web -- sh -c 'busybox cut -d\\  -f1,5,6 /proc/$$/stat; echo $$; echo here >/dev/tty; exit 3'");
        let ran = web.sh("script -qec 'sh in' /dev/null </dev/null");
        let text = ran.stdout.replace("^@", "");
        let words: Vec<&str> = text.split_whitespace().collect();
        assert_eq!((&words[..4], words[4], ran.code), (&[words[0]; 4][..], "here", 3), "{ran:#?}");
        web.sh("own/ctr-exec -u nobody-there web -- true").fails(125, "nobody-there");
        // The copy is as good as the original: records and logs, too.
        assert_eq!(web.sh("ctr-ls web | { own/ctr-exec -i -- cat; }; echo x | own/ctr-exec -i web -- cat").ok(), "x");
        assert_eq!(web.sh("ctr-ls web | own/ctr-exec --log said -- nosuch").code, 127);
        let said = fs::read_to_string(web.room.path("said")).unwrap();
        assert!(said.starts_with("ctr-exec: ") && said.contains("nosuch: not found"), "{said}");
    }
}

/// Who may trace stops whatever of ours he sees and looks at all that it has. He sees it only when that is the command's.
#[test]
fn cve_2016_9962_who_may_trace_finds_nothing_of_the_host() {
    needs!(root, "busybox");
    let web = Web::start("--cap-add SYS_PTRACE");
    let rights = "grep -E '^(Cap|Uid|Gid|Groups|Seccomp:)'";
    let names = |dir: &str| format!("for kind in mnt pid net uts ipc cgroup; do readlink {dir}/ns/$kind; done");
    web.room.write("marker", "");
    let marker = web.room.path("marker").display().to_string();
    let spy = format!(
        "look() {{
            {}; {rights} $1/status; cat $1/environ
            [ ! -e $1/root{marker} ] || echo the root of the host; [ ! -e $1/cwd{marker} ] || echo a directory of the host
            for fd in $1/fd/*; do echo fd $(readlink $fd); done
        }}
        while :; do for dir in /proc/[0-9]*; do
            read -r name <$dir/comm || continue
            case $name in ctr-exec)
                kill -STOP ${{dir#/proc/}}; look $dir >/tmp/found; mv /tmp/found /tmp/seen$((n += 1)); kill -CONT ${{dir#/proc/}}
                while read -r name <$dir/comm; do :; done;;
            esac
        done; done 2>/dev/null",
        names("$1")
    );
    web.room.write("spy", spy);
    web.room.write("itself", format!("{}; {rights} /proc/self/status", names("/proc/self")));
    let itself = web.sh("ctr-exec web -- sh -c \"$(cat itself)\"").ok();
    web.sh("ctr-exec -d web -- sh -c \"$(cat spy)\"").ok();
    // A long search keeps it where it can be met.
    let path = format!("PATH={}/bin", "n:".repeat(40_000));
    let seen = web.room.path("root/containers").join(&web.id).join("upper/tmp");
    for number in 1..=5 {
        let mut found = String::new();
        web.eventually(|| {
            let caller = "exec 7</etc/passwd 9</; export SECRET=canary; ctr-exec";
            assert_eq!(web.sh(&format!("{caller} -e {path} web -- sh -c 'echo it ran; exit 7'")).code, 7);
            found = fs::read_to_string(seen.join(format!("seen{number}"))).unwrap_or_default().replace('\0', "");
            !found.is_empty()
        });
        let (descriptors, rest): (Vec<&str>, Vec<&str>) = found.lines().partition(|line| line.starts_with("fd "));
        assert!(itself.contains("mnt:[") && itself.contains("CapPrm"), "{itself}");
        assert_eq!(rest.join("\n"), itself);
        let right = |line: &&str| line.starts_with("fd pipe:[") || *line == "fd /dev/null";
        assert!(
            descriptors.len() == 4 && descriptors.iter().all(right),
            "its own three and the report: {descriptors:?}"
        );
    }
}

#[test]
fn cve_2024_21626_no_descriptor_of_ours_is_a_working_directory() {
    needs!(root, "busybox");
    let web = Web::start("");
    for number in 3..16 {
        web.sh(&format!("ctr-exec -w /proc/self/fd/{number} web -- ls /")).fails(125, "working directory: ");
    }
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

/// What stands at /etc/passwd is the container's doing.
#[test]
fn a_passwd_that_is_no_file_is_refused_and_links_stay_inside() {
    needs!(root, "busybox");
    let web = Web::start("");
    web.sh("ctr-exec web -- sh -c 'busybox mv /etc/passwd /tmp/p && mkfifo /etc/passwd'").ok();
    web.sh("timeout 30 ctr-exec -u ann web -- true").fails(125, "/etc/passwd: in the container: is not a regular file");
    web.room.write("secret", "ann:x:0:0::/:\n");
    let secret = web.room.path("secret").display().to_string();
    for target in [secret.as_str(), "/proc/1/root/tmp/p", "../../../../../../../../tmp/none"] {
        web.sh(&format!("ctr-exec web -- sh -c 'busybox rm /etc/passwd; busybox ln -s {target} /etc/passwd'")).ok();
        let ran = web.sh("ctr-exec -u ann web -- true");
        assert_eq!(ran.code, 125, "{target}: {ran:#?}");
    }
    web.sh("ctr-exec web -- busybox ln -sf /tmp/p /etc/passwd").ok();
    assert_eq!(web.sh("ctr-exec -u ann web -- id -u").ok(), "1000");
}

#[test]
fn a_user_namespace_is_entered_with_the_rest() {
    needs!(root, "busybox");
    let web = Web::start("");
    web.sh("chmod 711 . && img-unpack --flat t flat && chown -R 200000:200000 flat && echo {} >flat/container.json")
        .ok();
    let file = web.room.path("flat/config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let map = json!([{"containerID": 0, "hostID": 200_000, "size": 65_536}]);
    config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
    config["linux"]["uidMappings"] = map.clone();
    config["linux"]["gidMappings"] = map;
    config["process"]["args"] = json!(["sleep", "997"]);
    fs::write(&file, config.to_string()).unwrap();
    let mut spawn = Command::new(dock_tests::bin().join("ctr-spawn"));
    spawn.args(["--id", "mapped"]).arg(web.room.path("flat")).env("DOCK_RUN", web.room.path("run"));
    let _mapped = Kill(spawn.stdin(Stdio::null()).spawn().unwrap());
    let exec = "ctr-exec --state run/containers/mapped/state.json";
    web.eventually(|| web.sh(&format!("{exec} -- true")).code == 0);
    web.sh(&format!("{exec} -d --pid-file pid -- sleep 998 </dev/null >/dev/null 2>&1")).ok();
    let pid = fs::read_to_string(web.room.path("pid")).unwrap();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    assert!(status.contains("Uid:\t200000\t200000"), "{status}");
    assert_eq!(web.sh(&format!("{exec} -u ann -- id -u")).ok(), "1000");
    assert_eq!(web.sh(&format!("{exec} -- sh -c 'readlink /proc/1/ns/user; ps'")).ok().matches("user:[").count(), 1);
}

/// A process that ends with the value.
struct Kill(Child);

impl Drop for Kill {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn an_ordinary_user_enters_his_own() {
    needs!(root, "busybox", "setpriv");
    let web = Web::in_room(Room::of_user(NOBODY), "", |_| {});
    let text =
        web.sh("ctr-exec web -- sh -c 'id -u; hostname; cat /proc/1/cmdline; echo x >/tmp/f && cat /tmp/f'").ok();
    assert!(text.starts_with(&format!("0\n{}\nsleep", &web.id[..12])) && text.ends_with('x'), "{text}");
    assert_eq!(web.sh("ctr-exec web -- sh -c 'exit 3'").code, 3);
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

/// The state that another runtime prints is enough to enter its container.
#[test]
fn a_container_of_runc_is_entered_by_its_state() {
    needs!(root, "busybox", "runc");
    let room = Room::new();
    fs::create_dir_all(room.path("box/rootfs/bin")).unwrap();
    room.sh("cp $(command -v busybox) box/rootfs/bin/busybox").ok();
    for name in ["sh", "sleep", "id", "hostname"] {
        symlink("busybox", room.path("box/rootfs/bin").join(name)).unwrap();
    }
    room.sh("cd box && runc spec && sed -i 's/\"terminal\": true/\"terminal\": false/; s/\"sh\"/\"sleep\", \"1000\"/' config.json").ok();
    let runc = format!("runc --root {}", room.path("runc").display());
    let id = format!("r3-{}", std::process::id());
    room.sh(&format!("{runc} run -d --bundle box {id} </dev/null >/dev/null 2>err")).ok();
    let _end = End(&room, format!("{runc} delete --force {id}"));
    room.sh(&format!("{runc} state {id} >state.json")).ok();
    let ours = room.sh("ctr-exec --state state.json -- sh -c 'hostname; id -u; grep CapBnd /proc/self/status'");
    let theirs = room.sh(&format!("{runc} exec {id} sh -c 'hostname; id -u; grep CapBnd /proc/self/status'"));
    assert_eq!(ours.ok(), theirs.ok());
    room.write(
        "process.json",
        json!({"cwd": "/bin", "args": ["sh", "-c", "pwd; echo $A; cat"], "env": ["PATH=/bin", "A=b"]}).to_string(),
    );
    assert!(Path::new(&room.path("process.json")).exists());
    let text = room.sh("echo in | ctr-exec --state state.json --process process.json 2>&1").ok();
    assert!(text.starts_with("/bin\nb\n"), "{text}");
}

/// Runs a script when it goes.
struct End<'a>(&'a Room, String);

impl Drop for End<'_> {
    fn drop(&mut self) {
        let _ = self.0.sh(&self.1);
    }
}

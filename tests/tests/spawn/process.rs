//! The process: alone, started clean, its streams, signals, terminal, user and exit code.

use crate::inside;
use dock_tests::bundle::{config, configure, room, with};
use dock_tests::{needs, unfit};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::symlink;

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
fn exit_codes() {
    needs_a_container!();
    let room = room();
    unfit::write(&room.path("box/rootfs/tmp"));
    configure(&room, &config(&["true"]));
    room.sh("ctr-spawn box").ok();
    assert_eq!(room.sh("ctr-spawn box -- sh -c 'exit 42'").code, 42);
    for (command, code, words) in unfit::COMMANDS {
        room.sh(&format!("ctr-spawn box -- {command}")).fails(code, words);
    }
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

/// The parent may be gone before the kernel was asked to tell of its end.
#[test]
fn a_parent_that_is_gone_already_is_noticed() {
    needs!("busybox");
    let room = room();
    configure(&room, &config(&["true"]));
    room.sh("ctr-spawn --die-with-parent 1 box").fails(125, "no longer, the process that started this one");
}

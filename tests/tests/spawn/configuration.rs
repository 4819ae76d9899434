//! config.json and the list of steps: what is refused, what is planned, what runc makes of it, what is written down.

use dock_tests::bundle::{config, configure, room, with};
use dock_tests::needs;
use serde_json::{Value, json};
use std::fs;
use std::process::Command;

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
    let twice = json!([{"type": "RLIMIT_CORE", "soft": 0, "hard": 1}, {"type": "RLIMIT_CORE", "soft": 0, "hard": 2}]);
    with(|config| config["process"]["rlimits"] = twice, "true").fails(125, "rlimits: RLIMIT_CORE: twice");
}

/// The specification: one that cannot be granted is a warning.
#[test]
fn a_capability_that_nobody_knows_is_a_note() {
    needs_a_container!();
    let ran = with(
        |config| {
            for set in ["bounding", "permitted"] {
                config["process"]["capabilities"][set] = json!(["CAP_X", "CAP_CHOWN"]);
            }
        },
        "grep CapBnd /proc/self/status",
    );
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "CapBnd:\t0000000000000001\n"), "{ran:#?}");
    assert_eq!(ran.stderr, "ctr-spawn: note: capabilities: CAP_X: no such capability\n");
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
        "exec env -i PATH=/bin 'A=b c' HOME=/ true",
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

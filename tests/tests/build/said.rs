//! What a build says: progress, findings, and what docker's users read.

use dock_tests::{Room, needs};
use serde_json::Value;

#[test]
fn progress_as_buildkits_json() {
    needs!(root, "busybox");
    let room = Room::with_base();
    room.write("ctx/Dockerfile", "FROM base\nRUN echo hello\nRUN exit 3\n");
    let ran = room.sh("dfile-build --progress rawjson ctx");
    let objects: Vec<Value> = ran
        .stderr
        .lines()
        .take_while(|line| line.starts_with('{'))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let vertexes: Vec<&Value> = objects.iter().filter_map(|object| object["vertexes"].get(0)).collect();
    let of = |name: &str| {
        vertexes.iter().filter(|v| v["name"].as_str().unwrap().contains(name)).copied().collect::<Vec<_>>()
    };
    assert_eq!(of("FROM base")[1]["cached"], true);
    let run = of("RUN echo hello");
    assert!(run[0]["completed"].is_null() && run[1]["completed"].is_string(), "{run:?}");
    assert_eq!(run[0]["digest"], run[1]["digest"]);
    let log = objects.iter().find_map(|object| object["logs"].get(0)).unwrap();
    assert_eq!((&log["vertex"], &log["data"]), (&run[0]["digest"], &"aGVsbG8K".into()));
    assert_eq!(of("RUN exit 3")[0]["inputs"], serde_json::json!([run[0]["digest"]]));
    assert_eq!(of("FROM base")[0].get("inputs"), None);
    assert!(of("RUN exit 3")[1]["error"].as_str().unwrap().contains("exit code 3"));
}

/// On a terminal: what is finished stays, what runs is drawn again, and colours are the caller's choice.
#[test]
fn the_live_view_of_a_terminal() {
    needs!(root, "busybox", "script");
    let room = Room::with_base();
    room.write(
        "ctx/Dockerfile",
        "FROM base\nRUN echo passing; sleep 0.5; printf '\\033[2Jevil'\nRUN echo reason; exit 3\n",
    );
    let ran = room.sh("TERM=xterm script -qec 'dfile-build ctx' /dev/null </dev/null");
    assert!(ran.stdout.contains("=> [2/3] RUN echo passing") && ran.stdout.contains("=> => passing"), "{ran:?}");
    assert!(ran.stdout.contains("\x1b[J") && ran.stdout.contains("\x1b[34m=> [2/3]"), "{ran:?}");
    assert!(!ran.stdout.contains("\x1b[2J"), "what a step prints does not steer the terminal: {ran:?}");
    assert!(ran.stdout.contains("reason") && ran.stdout.contains("enter it with"), "{ran:?}");
    let plain = room.sh("NO_COLOR=1 TERM=xterm script -qec 'dfile-build ctx' /dev/null </dev/null");
    assert!(!plain.stdout.contains("\x1b[34m") && plain.stdout.contains("=> [2/3]"), "{plain:?}");
    let dumb = room.sh("TERM=dumb script -qec 'dfile-build ctx' /dev/null </dev/null");
    assert!(!dumb.stdout.contains('\x1b') && dumb.stdout.contains("#2 [2/3]"), "{dumb:?}");
}

/// Rule names, the line with its neighbours, exit 1; a build says the same in its last lines, and only fails when the
/// file itself asks for that.
#[test]
fn check_prints_findings_by_buildkits_names() {
    let room = Room::new();
    room.write("c/Dockerfile", "FROM scratch\nENV A b\nLABEL x=$unknown\nCMD echo hi\n");
    let ran = room.sh("dfile-build --check c");
    assert_eq!(ran.code, 1, "{ran:?}");
    for part in [
        "WARNING: LegacyKeyValueFormat\n",
        "WARNING: UndefinedVar\nUsage of undefined variable '$unknown'\nDockerfile:3\n--------------------\n   1 |     FROM scratch\n",
        "   4 | >>> CMD echo hi\n",
        "Check complete, 3 warnings have been found!\n",
    ] {
        assert!(ran.stdout.contains(part), "no {part:?} in {}", ran.stdout);
    }
    let built = room.sh("dfile-build --progress plain c 2>&1 >/dev/null");
    assert!(built.stdout.contains(" 3 warnings found"), "{built:?}");
    assert!(built.stdout.contains(" - JSONArgsRecommended: JSON arguments recommended for CMD"), "{built:?}");
    room.write("c/Dockerfile", "# check=skip=all\nFROM scratch\nCMD echo hi\n");
    assert_eq!(room.sh("dfile-build --check c").ok(), "Check complete, no warnings found.");
    room.write("c/Dockerfile", "# check=error=true\nFROM scratch\nCMD echo hi\n");
    room.sh("dfile-build -q c").fails(1, "Dockerfile: lint violation found for rules: JSONArgsRecommended");
}

/// What docker's users read from stdout: the ID with -q, and nothing else without.
#[test]
fn dock_build_prints_what_docker_build_does() {
    let room = Room::new();
    room.write("c/Dockerfile", "FROM scratch\nLABEL a=b\n");
    assert_eq!(room.sh("dock build -t web c").ok(), "");
    let id = room.sh("dock build -q c").ok();
    assert_eq!(id, room.sh("dock images -q --no-trunc web").ok());
    for wrong in ["--nope c", "--build-arg =x c", "-t Bad c", "", "c c"] {
        assert_eq!(room.sh(&format!("dock build {wrong}")).code, 125, "{wrong}");
    }
    room.write("c/Dockerfile", "FOO\n");
    assert_eq!(room.sh("dock build c").code, 1);
}

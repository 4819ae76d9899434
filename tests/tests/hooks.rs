//! Hooks of every kind, and runc beside us.

use dock_tests::bundle::{config, configure, room};
use dock_tests::{Room, needs};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;

const MOMENTS: [&str; 6] = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/// A script of the room's that is a program.
fn script(room: &Room, name: &str, text: &str) -> String {
    let path = room.write(name, format!("#!/bin/sh\n{text}\n"));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("chmod");
    path.display().to_string()
}

fn with_hooks(room: &Room, hooks: &Value, args: &[&str]) {
    let mut config = config(args);
    for set in ["inheritable", "ambient"] {
        config["process"]["capabilities"][set] = json!([]);
    }
    config["annotations"] = json!({"org.example.a": "b"});
    config["hooks"] = hooks.clone();
    configure(room, &config);
}

/// One line of JSON a hook: its moment, where it was and what it was told.
fn told(room: &Room) -> Vec<Value> {
    let text = fs::read_to_string(room.path("told")).unwrap_or_default();
    let mut lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    for line in &mut lines {
        let state = line["state"].as_object_mut().expect("a state");
        assert_eq!(state["bundle"], json!(room.path("box")), "{state:#?}");
        assert_eq!(state["annotations"], json!({"org.example.a": "b"}));
        let pid = state.remove("pid").and_then(|pid| pid.as_i64());
        // 0 and absent say the same.
        state.insert("has pid".into(), pid.is_some_and(|pid| pid > 0).into());
        state.remove("ociVersion");
        state.remove("id");
    }
    lines
}

#[test]
fn each_hears_of_its_moment_in_order_and_runc_s_hear_the_same() {
    needs!(root, "busybox", "runc");
    let room = room();
    let text = format!(
        r#"printf '{{"moment":"%s","mounts":"%s","hostname":"%s","env":"%s","directory":"%s","state":%s}}\n' "$1" \
        "$([ "$(readlink /proc/self/ns/mnt)" = "$(readlink /proc/{}/ns/mnt)" ] && echo host || echo own)" "$(hostname)" "$(env | grep -c MARK=)$HOME" "$(basename "$PWD")" "$(cat)" >>{}"#,
        std::process::id(),
        room.path("told").display()
    );
    let path = script(&room, "hook", &text);
    let hook =
        |moment: &str| json!([{"path": path, "args": ["named", moment], "env": ["MARK=1", "PATH=/bin:/usr/bin"]}]);
    // The one in the container has the container's files only.
    let inside = r#"printf '%s %s %s' "$(id -u)" "$(ls /)" "$(cat | grep -c '"status":"created"')" >/tmp/started"#;
    let inside_path = room.path("box/rootfs/inside");
    fs::copy(script(&room, "inside", inside), &inside_path).expect("copy");
    let mut hooks: Value = MOMENTS.iter().map(|moment| ((*moment).to_owned(), hook(moment))).collect();
    hooks["startContainer"] = json!([{"path": "/inside", "env": ["PATH=/bin"]}]);
    with_hooks(&room, &hooks, &["cat", "/tmp/started"]);

    let ours = room.sh("HOME=/nowhere ctr-spawn --id told box").ok();
    assert!(ours.starts_with("0 bin\n") && ours.ends_with(" 1"), "{ours}");
    let heard = told(&room);
    fs::remove_file(room.path("told")).expect("told");
    let moments: Vec<&Value> = heard.iter().map(|line| &line["moment"]).collect();
    assert_eq!(moments, ["prestart", "createRuntime", "createContainer", "poststart", "poststop"]);
    let statuses: Vec<&Value> = heard.iter().map(|line| &line["state"]["status"]).collect();
    assert_eq!(statuses, ["creating", "creating", "creating", "running", "stopped"]);
    let mounts: Vec<&Value> = heard.iter().map(|line| &line["mounts"]).collect();
    assert_eq!(mounts, ["host", "host", "own", "host", "host"]);

    assert_eq!(room.sh("HOME=/nowhere timeout 60 runc --root rr run -b box dock-hooks-$$ </dev/null").ok(), ours);
    let mut theirs = told(&room);
    // runc looks before the command is executed; the specification calls the state behind it "running".
    theirs[3]["state"]["status"] = json!("running");
    assert_eq!(heard, theirs);
}

#[test]
fn one_that_fails_before_the_start_is_the_end() {
    needs!(root, "busybox");
    let room = room();
    let fail = script(&room, "fail", "echo heard >&1; exit 3");
    let slow = script(&room, "slow", "exec sleep 60");
    let after = script(&room, "after", &format!("echo after >>{}", room.path("after-log").display()));
    for (moment, path, message) in [
        ("prestart", &fail, "hooks: prestart: "),
        ("createRuntime", &fail, "/fail: exit status 3"),
        ("createContainer", &fail, "/fail: exit status 3"),
        ("createRuntime", &slow, "/slow: took longer than 1 s"),
        ("createRuntime", &"/no/such".to_owned(), "/no/such: No such file or directory"),
        ("startContainer", &"/no/such".to_owned(), "/no/such: No such file or directory"),
    ] {
        let timeout = if path == &slow { 1 } else { 60 };
        let hooks =
            json!({moment: [{"path": path, "timeout": timeout}, {"path": after}], "poststop": [{"path": after}]});
        with_hooks(&room, &hooks, &["echo", "never"]);
        let ran = room.sh("ctr-spawn box");
        assert_eq!((ran.code, ran.stdout.as_str()), (125, ""), "{moment} {ran:#?}");
        assert!(ran.stderr.contains(message), "{moment} {ran:#?}");
        let log = fs::read_to_string(room.path("after-log")).expect("the poststop hook");
        assert_eq!(log, "after\n", "{moment}: the second is not run, that of the end is");
        fs::remove_file(room.path("after-log")).expect("log");
    }
}

/// Behind the start: the container is stopped. Behind the end nothing is left to stop, and the next one is told.
#[test]
fn one_that_fails_later_stops_what_there_is_to_stop() {
    needs!(root, "busybox");
    let room = room();
    let fail = script(&room, "fail", "exit 4");
    let after = script(&room, "after", "echo told >>told");
    let poststop = json!([{"path": fail}, {"path": after}]);
    with_hooks(
        &room,
        &json!({"poststart": [{"path": fail}, {"path": after}], "poststop": poststop}),
        &["sleep", "1000"],
    );
    let ran = room.sh("ctr-spawn box");
    assert_eq!(ran.code, 125, "{ran:#?}");
    for words in ["ctr-spawn: hooks: poststart: ", "ctr-spawn: note: hooks: poststop: "] {
        assert!(ran.stderr.contains(words), "{ran:#?}");
    }
    assert_eq!(fs::read_to_string(room.path("box/told")).expect("the second at the end"), "told\n");
    with_hooks(&room, &json!({"poststop": poststop}), &["sh", "-c", "exit 7"]);
    let ran = room.sh("ctr-spawn box");
    assert_eq!(ran.code, 7, "{ran:#?}");
}

#[test]
fn what_is_wrong_with_hooks_is_said() {
    needs!(root, "busybox");
    let room = room();
    for (hooks, message) in [
        (json!({"before": []}), "before: no such hooks"),
        (json!({"prestart": [{"path": "bin/true"}]}), "bin/true: not an absolute path"),
        (json!({"prestart": [{"path": "/bin/true", "timeout": 0}]}), "timeout 0: not above 0"),
    ] {
        with_hooks(&room, &hooks, &["true"]);
        room.sh("ctr-spawn box").fails(125, message);
    }
}

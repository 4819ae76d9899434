//! Exit codes and errors: our own, and docker's.

use super::Web;
use dock_tests::{needs, unfit};
use serde_json::Value;
use std::fs;
use std::path::Path;

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

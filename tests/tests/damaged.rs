//! Records that are not what a tool wrote, and processes that were killed: what the next command makes of them.

use dock_tests::background::Yard;
use dock_tests::image::{dock, image};
use dock_tests::{Room, needs};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// The same document with every number, or every value, replaced.
fn replaced(value: &Value, with: &impl Fn(&Value) -> Option<Value>) -> Value {
    match value {
        Value::Object(members) => members.iter().map(|(name, one)| (name.clone(), replaced(one, with))).collect(),
        Value::Array(list) => list.iter().map(|one| replaced(one, with)).collect(),
        other => with(other).unwrap_or_else(|| other.clone()),
    }
}

/// What may stand in a file instead of the record.
fn damages(record: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let json: Value = serde_json::from_slice(record).unwrap();
    let huge = replaced(&json, &|one| one.is_number().then(|| json!(1e30)));
    let types = replaced(&json, &|one| Some(if one.is_string() { json!(7) } else { json!("x") }));
    let mut pid = json.clone();
    pid["pid"] = (-1).into();
    vec![
        ("empty", Vec::new()),
        ("cut", record[..record.len() / 2].to_vec()),
        ("list", b"[]".to_vec()),
        ("huge numbers", huge.to_string().into_bytes()),
        ("other types", types.to_string().into_bytes()),
        ("every process", pid.to_string().into_bytes()),
    ]
}

/// The directory of a container below `root` or `run`.
fn directory(yard: &Yard, below: &str, id: &str) -> PathBuf {
    yard.room.path(below).join("containers").join(id)
}

/// One line and the right code, nobody is signalled, and what others have goes on.
#[test]
fn a_damaged_record_is_one_line_and_hides_nobody() {
    needs!(root, "busybox");
    let yard = Yard::new();
    yard.sh("dock run -d --name other busybox sleep 600 >/dev/null").ok();
    let id = yard.sh("dock run -d --name web busybox sleep 600").ok();
    let (bundle, state) = (directory(&yard, "root", &id), directory(&yard, "run", &id));
    fs::write(bundle.join("exit.json"), r#"{"exitCode": 3, "finishedAt": "2026-01-01T00:00:00Z"}"#).unwrap();
    let pid = yard.member("web", "pid");
    let started = || yard.sh(&format!("cut -d' ' -f3,22 /proc/{pid}/stat")).ok();
    let before = started();
    let b = bundle.display();
    let commands = [
        "ctr-ls web",
        "ctr-ls --inspect web",
        "ctr-logs web",
        "ctr-exec web -- true",
        "ctr-kill -s CONT web",
        "ctr-top web",
        "ctr-cp web:/etc/passwd -",
        "ctr-limit web",
        "ctr-rm web",
        &format!("ctr-spec -m 64m --read-only {b}"),
        &format!("ctr-spawn {b}"),
        &format!("ctr-spawn -d {b}"),
        &format!("layer-diff --list {b}"),
    ];
    let whole = |path: &Path| fs::read(path).unwrap();
    let files = ["container.json", "config.json", "bundle.json", "exit.json"].map(|name| bundle.join(name));
    let files: Vec<PathBuf> =
        files.into_iter().chain(["state.json", "keeper.json"].map(|name| state.join(name))).collect();
    let records: Vec<Vec<u8>> = files.iter().map(|file| whole(file)).collect();
    for (file, record) in files.iter().zip(&records) {
        for (damage, text) in damages(record) {
            for command in &commands {
                fs::write(file, &text).unwrap();
                let ran = yard.sh(&format!("{command} >/dev/null </dev/null"));
                let what = format!("{} {damage}: {command}: {ran:#?}", file.display());
                assert!(matches!(ran.code, 0 | 1 | 125), "{what}");
                let lines = ran.stderr.lines().filter(|line| !line.starts_with("hint: ")).count();
                assert!(lines <= 1 && lines >= usize::from(ran.code != 0), "{what}");
                assert!(!ran.stderr.contains("panicked"), "{what}");
                assert_eq!(started(), before, "{what}");
                files.iter().zip(&records).for_each(|(file, record)| fs::write(file, record).unwrap());
            }
        }
        // The rest of the machine does not notice.
        fs::write(file, "{").unwrap();
        let rest = "ctr-exec other -- true && dock run --rm --name new busybox true && dock ps --format '{{.Names}}' && ctr-kill -s CONT other";
        let ran = yard.sh(rest);
        assert!(ran.code == 0 && ran.stdout.contains("other\n"), "{}: {ran:#?}", file.display());
        fs::write(file, record).unwrap();
    }
}

#[test]
fn a_damaged_container_is_named_and_can_be_removed() {
    needs!(root, "busybox");
    for (below, file, paused) in
        [("root", "container.json", false), ("run", "state.json", false), ("run", "state.json", true)]
    {
        let yard = Yard::new();
        let id = yard.sh("dock run -d --name web busybox sleep 600").ok();
        if paused {
            yard.sh("dock pause web").ok();
        }
        fs::write(directory(&yard, below, &id).join(file), "{").unwrap();
        let ran = yard.sh("ctr-ls --all");
        assert_eq!((ran.code, ran.stdout.as_str()), (0, ""), "{ran:#?}");
        assert!(ran.stderr.starts_with("ctr-ls: note: ") && ran.stderr.contains(file), "{ran:#?}");
        assert!(
            ran.stderr.ends_with(&format!("hint: ctr-rm --force {} removes this container\n", &id[..12])),
            "{ran:#?}"
        );
        yard.sh(&format!("ctr-rm {id}")).fails(1, file);
        assert_eq!(yard.sh(&format!("dock rm -f {}", &id[..12])).ok(), id[..12]);
        assert!(!directory(&yard, "root", &id).exists() && !directory(&yard, "run", &id).exists());
        yard.until_alone();
        yard.sh(&format!("! ls -d /sys/fs/cgroup/freezer/dock/{id} /sys/fs/cgroup/dock/{id} 2>/dev/null")).ok();
    }
}

/// The keeper, the container's first process, both, one that stands still, and everything at once with what /run held.
#[test]
fn whoever_is_killed_the_next_command_says_the_truth() {
    needs!(root, "busybox");
    for (who, code) in [("keeper", 255), ("first", 137), ("keeper first", 255), ("paused keeper", 255), ("power", 255)]
    {
        let yard = Yard::new();
        let id = yard.sh("dock run -d --name web busybox sh -c 'echo said; exec sleep 600'").ok();
        yard.until("dock logs web", "said");
        if who.contains("paused") {
            yard.sh("dock pause web").ok();
        }
        let keeper = yard.keeper("web")["pid"].to_string();
        let pids = [("keeper", keeper.clone()), ("first", yard.member("web", "pid")), ("power", keeper)];
        for (_, pid) in pids.iter().filter(|(name, _)| who.contains(name)) {
            yard.sh(&format!("kill -9 {pid}")).ok();
        }
        if who == "power" {
            yard.until_alone();
            fs::remove_dir_all(yard.room.path("run")).unwrap();
        }
        // One that is frozen cannot die before it is woken; until then it is there, and paused.
        if who.contains("paused") && yard.member("web", "status") != "exited" {
            assert_eq!(yard.member("web", "status"), "paused");
            yard.sh("dock unpause web").ok();
        }
        yard.until("dock ps -a", &format!("Exited ({code})"));
        let stopped = format!("container {id} is not running");
        for (command, want, words) in [
            ("ctr-wait web", 0, &*format!("{code}\n")),
            ("dock wait web", 0, &format!("{code}\n")),
            ("ctr-logs web", 0, "said\n"),
            ("ctr-exec web -- true", 125, &stopped),
            ("ctr-kill web", 1, "is not running"),
            ("ctr-kill --pause web", 1, "is not running"),
            ("ctr-attach web", 1, "You cannot attach to a stopped container"),
            ("ctr-top web", 1, "is not running"),
            ("ctr-limit web", 1, "is not running"),
            ("ctr-cp web:/etc/passwd - | tar -xO", 0, "root:x:0:0"),
            (
                "dock inspect -f '{{.State.Status}} {{.State.Running}} {{.State.Pid}} {{.State.ExitCode}}' web",
                0,
                &format!("exited false 0 {code}\n"),
            ),
            ("dock stop web", 0, "web\n"),
            ("dock start web", 0, "web\n"),
            ("dock inspect -f '{{.State.Status}}' web", 0, "running\n"),
            ("dock restart -t 0 web", 0, "web\n"),
            ("dock rm -f web", 0, "web\n"),
        ] {
            let ran = yard.sh(&format!("timeout 60 sh -c \"{command}\" </dev/null"));
            assert_eq!(ran.code, want, "{who}: {command}: {ran:#?}");
            assert!(format!("{}{}", ran.stdout, ran.stderr).contains(words), "{who}: {command}: {ran:#?}");
        }
        assert_eq!(yard.sh("ls root/containers run/containers").ok(), "root/containers:\n\nrun/containers:");
        yard.until_alone();
    }
}

/// The kernel gives the number of the container's first process to a stranger, who is none of ours.
#[test]
fn a_stranger_with_the_number_of_a_container_is_left_alone() {
    needs!(root, "busybox", "unshare");
    let yard = Yard::new();
    let script = r#"number() { sed -n 's/.*"pid": \([0-9]*\).*/\1/p' run/containers/*/$1.json; }
        dock run -d --name web busybox sleep 600 >/dev/null
        first=$(number state) keeper=$(number keeper); kill -9 $keeper $first
        until dock ps -a | grep -q Exited; do :; done
        # In each round a process takes the next number; the shell's own commands may take it first.
        until [ "$stranger" = "$first" ]; do
            [ -z "$stranger" ] || kill -9 $stranger
            true "$(true)"; echo $((first - 1)) >/proc/sys/kernel/ns_last_pid; sleep 1000 & stranger=$!
        done
        dock ps -a --format '{{.Status}}'; dock exec web true; dock kill web; dock pause web; dock top web; dock rm -f web
        kill -0 $stranger && echo lives; kill -9 $stranger"#;
    fs::write(yard.room.path("script"), script).unwrap();
    let ran = yard.sh("timeout -s KILL 60 unshare --mount --pid --fork --kill-child --mount-proc sh script 2>errors");
    assert_eq!(ran.stdout, "Exited (255)\nweb\nlives\n", "{ran:#?} {}", yard.sh("cat errors").stdout);
    assert_eq!(yard.sh("grep -c 'is not running' errors").ok(), "4");
}

#[test]
fn an_image_that_cannot_be_unpacked_is_said_once() {
    needs!(root, "busybox");
    let room = Room::new();
    image(&room, "", "-t img");
    room.sh("rm root/images/blobs/sha256/$(img-inspect --raw manifest img | sed 's/.*\"layers\":.*sha256:\\([0-9a-f]*\\).*/\\1/')").ok();
    let ran = dock(&room, "dock run --rm img true");
    ran.fails(125, "dock: Error response from daemon: ");
    assert_eq!(room.sh("ls -A root/containers | grep -v lock | wc -l").ok(), "0");
}

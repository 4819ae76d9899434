//! A disk that is full, or that nobody may write to, in the life of a container: one line that says so, docker's code,
//! nothing half-written, and what runs goes on.

use dock_tests::{Ran, Room, needs};

const SHELL: &str = "fill() { cat /dev/zero >$1/.fill; dd if=/dev/zero of=$1/.rest bs=1; } 2>/dev/null
    unfill() { rm $1/.fill $1/.rest; }
    forbid() { mount --bind $1 $1 && mount -o remount,bind,ro $1; }
    answer() { \"$@\" >out 2>err </dev/null; echo \"$? $(grep -v '^See \\|^Error: failed to ' err | tr '\\n' '~')\"; }
    mkdir root run && mount -t tmpfs -o size=40m none root && mount -t tmpfs -o size=1m none run
    tar -C tree -c . | dock import -c 'CMD [\"sh\"]' - busybox >/dev/null && dock create --name made busybox true >/dev/null &&
    dock run --name dead busybox true && dock run -d --name up busybox sleep 600 >/dev/null\n";

/// A script where root and run are small file systems of their own, with a container that runs, one that was made and
/// one that has ended. Whatever a failed test leaves ends with its namespaces.
fn on_small_disks(script: &str) -> Ran {
    let room = Room::new();
    room.sh("mkdir -p tree/bin tree/tmp && cp \"$(command -v busybox)\" tree/bin && for name in sh sleep true echo; do ln -s busybox tree/bin/$name; done").ok();
    room.write("script", format!("{SHELL}{script}"));
    room.sh("unshare --mount --pid --fork --kill-child --mount-proc sh script")
}

/// What each command says and its code, where something is `disturb`ed before and mended behind.
#[track_caller]
fn table(disturb: &str, mend: &str, rows: &[(&str, i32, &str)]) {
    let commands: String = rows.iter().map(|(command, ..)| format!("answer {command}\n")).collect();
    let left = "for name in up made dead; do ctr-ls $name | sed 's/.*\"status\":\"\\([a-z]*\\)\".*\"exitCode\":\\([0-9a-z]*\\).*/\\1 \\2/'; done
        find root/containers run -name '.[a-z]*.[0-9a-f]*'; id=$(ctr-ls --quiet --no-trunc up); dock rm -f up made dead >/dev/null; ls root/containers run/containers
        find /sys/fs/cgroup -name $id";
    let ran = on_small_disks(&format!("{disturb}\n{commands}{mend}\n{left}"));
    let lines: Vec<&str> = ran.stdout.lines().collect();
    for (line, (command, code, part)) in lines.iter().zip(rows) {
        let (found, said) = line.split_once(' ').unwrap();
        assert_eq!(found, code.to_string(), "{command}: {ran:#?}");
        assert_eq!(said.matches('~').count(), usize::from(*code != 0), "one line, {command}: {ran:#?}");
        assert!(said.contains(part), "{command}: no {part:?} in {said}");
    }
    let state = lines[rows.len()..].join("; ");
    assert_eq!(state, "running null; created null; exited 0; root/containers:; ; run/containers:", "{ran:#?}");
}

#[test]
fn no_room_for_containers() {
    needs!(root, "busybox");
    let full = "No space left on device";
    table(
        "fill root",
        "unfill root",
        &[
            ("dock create busybox", 1, full),
            ("dock run --rm busybox true", 125, full),
            ("dock run -d busybox true", 125, full),
            ("dock start made", 1, full),
            ("dock exec up true", 0, ""),
            ("dock rename up upper", 1, full),
            ("dock update -m 64m up", 1, full),
            ("dock commit up image", 1, full),
            ("dock cp up:/bin/busybox got", 0, ""),
            ("dock logs up", 0, ""),
            ("dock pause up", 0, ""),
            ("dock unpause up", 0, ""),
            ("dock restart -t 0 up", 1, full),
            ("dock wait dead", 0, ""),
        ],
    );
}

#[test]
fn no_room_for_states() {
    needs!(root, "busybox");
    let full = "No space left on device";
    table(
        "fill run",
        "unfill run; rm made",
        &[
            ("dock create --cidfile made busybox", 0, ""),
            ("dock run --rm busybox sleep 600", 125, full),
            ("dock run -d --rm busybox sleep 600", 125, full),
            ("dock exec up true", 0, ""),
            ("dock pause up", 1, full),
            ("dock unpause up", 1, "is not paused"),
            ("dock commit up image", 1, full),
            ("dock cp up:/bin/busybox got", 0, ""),
            ("sh -c 'dock rm $(cat made)'", 0, ""),
        ],
    );
}

#[test]
fn a_disk_that_is_read_only() {
    needs!(root, "busybox");
    let only = "Read-only file system";
    table(
        "forbid root",
        "umount root",
        &[
            ("dock create busybox", 1, only),
            ("dock run --rm busybox true", 125, only),
            ("dock start made", 1, only),
            ("dock exec up true", 0, ""),
            ("dock rename up upper", 1, only),
            ("dock update -m 64m up", 1, only),
            ("dock stop up", 1, only),
            ("dock rm dead", 1, only),
            ("dock rm -f up", 1, only),
        ],
    );
}

/// What does not fit is lost, line by line; the container goes on, and so does its log when there is room again.
#[test]
fn a_log_on_a_full_disk() {
    needs!(root, "busybox");
    let script = "mkfifo root/said; log() { cat root/containers/*/log.json* | wc -c; }
        dock run -d --name talks --log-opt max-size=6k --log-opt max-file=2 -v $PWD/root/said:/said busybox sh -c 'while read -r line; do echo $line; done </said' >/dev/null
        exec 3>root/said; echo before >&3; until dock logs talks | grep -q before; do sleep 0.02; done
        fill root; n=0; while [ $n -lt 300 ]; do echo a line that is as long as others are $n >&3; n=$((n+1)); done
        unfill root; until dock logs talks | grep -q behind; do echo behind >&3; sleep 0.02; done
        cat root/containers/*/log.json* | grep -vc '^{[^{}]*}$'; ls root/containers/*/log.json.new 2>/dev/null; dock ps -q --filter name=talks | wc -l";
    assert_eq!(on_small_disks(script).ok(), "0\n1");
}

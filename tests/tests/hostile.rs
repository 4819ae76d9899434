//! An image that was made to harm: its tree holds links, FIFOs and devices where a runtime looks. It starts safely,
//! or is refused in a line; the host stays as it is, and nothing waits for ever.

use dock_tests::image::image;
use dock_tests::{Room, needs};

/// An image whose tree `script` has changed, as the bundle `box`; `None` when img-unpack refused it.
fn unpacked(room: &Room, script: &str, options: &str) -> bool {
    image(room, &format!("cd t; {script}; cd .."), &format!("-t img {options}"));
    let ran = room.sh("timeout 60 img-unpack img box >/dev/null");
    assert!(ran.code < 124, "{ran:#?}");
    ran.code == 0
}

#[test]
fn links_fifos_and_devices_where_a_runtime_looks() {
    needs!(root, "busybox");
    let outside = "secret-of-the-host";
    for (script, options, run) in [
        ("rm etc/passwd && mkfifo etc/passwd", "", "ctr-spec -u daemon box | ctr-spawn -- id -u"),
        ("rm etc/passwd && mkfifo etc/passwd", "-c 'USER daemon'", "ctr-spawn box -- id -u"),
        (
            "rm etc/passwd && ln -s ../../../../../../etc/shadow etc/passwd",
            "",
            "ctr-spec -u daemon box | ctr-spawn -- id -u",
        ),
        ("rm etc/passwd && mkdir etc/passwd", "", "ctr-spec -u root box | ctr-spawn -- id -u"),
        ("rm etc/group && mkfifo etc/group", "", "ctr-spec -u root:daemon box | ctr-spawn -- id -g"),
        ("rm etc/passwd && mknod etc/passwd c 1 5", "", "ctr-spec -u root box | ctr-spawn -- id -u"),
        ("ln -s ../../../../OUTSIDE proc", "", "ctr-spawn box -- ls /proc"),
        ("ln -s ../../../../OUTSIDE dev", "", "ctr-spawn box -- ls /dev"),
        ("ln -s ../../../../OUTSIDE sys", "", "ctr-spawn box -- ls /sys"),
        ("mkdir dev && ln -s ../../../../OUTSIDE dev/shm", "", "ctr-spawn box -- ls /dev/shm"),
        ("mkdir dev && ln -s ../../../../OUTSIDE dev/pts", "", "ctr-spawn -t box -- ls /dev/pts"),
        (
            "mkdir dev && ln -s /proc/sysrq-trigger dev/null && ln -s /proc/sysrq-trigger dev/console",
            "",
            "ctr-spawn -t box -- ls /dev",
        ),
        ("mkdir sys && ln -s ../../../../OUTSIDE sys/fs", "", "ctr-spawn box -- ls /sys/fs"),
        ("ln -s /proc/self/fd/3 work", "-c 'WORKDIR /work'", "ctr-spawn box -- ls ."),
        ("ln -s /proc/1/root work", "-c 'WORKDIR /work'", "ctr-spawn box -- ls ."),
        ("ln -s ../../../../OUTSIDE work", "-c 'WORKDIR /work/deep'", "ctr-spawn box -- ls ."),
        ("ln -s ../../../../OUTSIDE vol", "", "ctr-spec -v $PWD/t:/vol/x box | ctr-spawn -- ls /vol"),
        ("mknod disk b 8 0; mknod mem c 1 1; mknod kmsg c 1 11", "", "ctr-spawn box -- cat /disk /mem /kmsg"),
        ("rm bin/sh; mkfifo bin/sh; chmod 755 bin/sh", "", "ctr-spawn box -- sh"),
        ("rm bin/sh; ln -s sh bin/sh", "", "ctr-spawn box -- sh"),
        ("printf '#!/bin/loop\\n' >bin/loop; chmod 755 bin/loop", "", "ctr-spawn box -- loop"),
        ("printf '#!/proc/self/fd/0\\n' >bin/evil; chmod 755 bin/evil", "", "ctr-spawn box -- evil"),
        ("ln -s /proc/self/exe bin/evil", "-c 'CMD [\"evil\"]'", "ctr-spawn box"),
    ] {
        let room = Room::new();
        room.write("outside/file", outside);
        let before = room.sh("find outside -printf '%p %m %U %T@\\n'").ok();
        let outside_path = room.path("outside").display().to_string();
        let script = script.replace("/OUTSIDE", &outside_path);
        if !unpacked(&room, &script, options) {
            continue;
        }
        let ran = room.sh_without_mounts_left(&format!("timeout -k 1 60 sh -c '{run}' </dev/null"));
        assert!(ran.code != 124 && ran.code != 137, "it waits for ever: {script}: {ran:#?}");
        assert!(!format!("{}{}", ran.stdout, ran.stderr).contains(outside), "{script}: {ran:#?}");
        assert!(!ran.stdout.contains("\nfile") && ran.stdout != "file\n", "it sees the host: {script}: {ran:#?}");
        let lines = ran.stderr.lines().filter(|line| line.starts_with("ctr-") && !line.contains(": note: ")).count();
        assert!(lines <= 2, "a refusal is a line of each tool: {script}: {ran:#?}");
        assert!(!ran.stderr.contains("panicked"), "{script}: {ran:#?}");
        assert_eq!(room.sh("find outside -printf '%p %m %U %T@\\n'").ok(), before, "{script}");
    }
}

/// A node of the image's that is a disk, or the memory, of the host's opens nothing, whatever cgroup there is.
#[test]
fn device_nodes_of_an_image_open_nothing() {
    needs!(root, "busybox");
    let room = Room::new();
    if unpacked(&room, "mknod null2 c 1 3; chmod 666 null2", "") {
        let ran = room.sh("ctr-spawn box -- cat /null2");
        assert_eq!(ran.code, 1, "{ran:#?}");
        assert!(ran.stderr.contains("Permission denied"), "{ran:#?}");
    }
}

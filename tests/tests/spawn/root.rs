//! The root directory and what is mounted in it.

use crate::{inside, overlay};
use dock_tests::Room;
use dock_tests::bundle::{busybox, config, configure, room, with};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::symlink;

#[test]
fn it_sees_its_own_mounts_and_the_host_does_not() {
    needs_a_container!();
    let room = room();
    configure(&room, &config(&["sh", "-c", "mount; mkdir -p /tmp/m && mount -t tmpfs x /tmp/m; echo $?"]));
    let text = room.sh_without_mounts_left("ctr-spawn box").ok();
    let wanted = [
        "proc on /proc type proc (rw,nosuid,nodev,noexec",
        "tmpfs on /dev type tmpfs",
        "devpts on /dev/pts",
        "sysfs on /sys type sysfs (ro,",
        "mqueue on /dev/mqueue",
        "tmpfs on /dev/shm",
        "proc on /proc/sys type proc (ro",
    ];
    for wanted in wanted {
        assert!(text.contains(wanted), "no {wanted:?} in {text}");
    }
    assert!(
        !text.contains("vda on /etc") && text.lines().filter(|line| line.contains(" on / ")).count() == 1,
        "{text}"
    );
    assert_eq!(
        text.lines().last(),
        Some("255").filter(|_| text.ends_with("255")).or(Some("1")),
        "no CAP_SYS_ADMIN: {text}"
    );
}

#[test]
fn masked_and_read_only_paths() {
    needs_a_container!();
    let text = inside("wc -c </proc/kcore; wc -c </proc/keys; ls /proc/acpi /sys/firmware | grep -c -v :; echo x >/proc/sys/kernel/hostname || echo ro; echo x >/proc/sysrq-trigger || echo ro; touch /sys/x || echo ro").ok();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines.iter().filter(|line| **line == "ro").count() == 3, "{text}");
    assert!(lines.contains(&"0"), "masked files are empty: {text}");
}

#[test]
fn two_containers_of_one_image_do_not_see_each_other() {
    needs_a_container!();
    let room = Room::new();
    busybox(&room.path("layer1"));
    room.write("layer2/etc/motd", "from the image\n");
    for name in ["one", "two"] {
        let record = overlay(&room, name);
        room.write(&format!("{name}/bundle.json"), record);
        room.write(&format!("{name}/config.json"), config(&["sh", "-c", "cat /etc/motd"]).to_string());
    }
    room.sh("ctr-spawn one -- sh -c 'echo changed >/etc/motd; echo x >/new'").ok();
    assert_eq!(room.sh("ctr-spawn one").ok(), "changed");
    assert_eq!(room.sh("ctr-spawn two").ok(), "from the image");
    assert_eq!(fs::read_to_string(room.path("layer2/etc/motd")).unwrap(), "from the image\n");
    assert!(room.path("one/upper/new").exists() && !room.path("two/upper/new").exists());
    assert!(fs::read_dir(room.path("one/rootfs")).unwrap().next().is_none(), "nothing is mounted on the host");
    assert!(!room.path("one/work/work/incompat").exists(), "overlayfs's mark is removed");
    room.sh("ctr-spawn --rm one").ok();
    assert!(!room.path("one").exists() && room.path("layer1/bin/busybox").exists());
}

#[test]
fn cve_2026_41579_kernel_directories_are_no_links() {
    needs_a_container!();
    for name in ["proc", "dev", "sys"] {
        let room = room();
        fs::create_dir_all(room.path("outside")).unwrap();
        fs::create_dir_all(room.path("box/rootfs/etc")).unwrap();
        symlink("/etc", room.path(&format!("box/rootfs/{name}"))).unwrap();
        configure(&room, &config(&["true"]));
        room.sh("ctr-spawn box").fails(125, "a symbolic link in the image stands there");
        assert!(fs::read_dir(room.path("box/rootfs/etc")).unwrap().next().is_none(), "{name}");
    }
}

#[test]
fn cve_2019_16884_no_volume_on_proc() {
    needs_a_container!();
    let volume = |config: &mut Value| {
        config["mounts"]
            .as_array_mut()
            .unwrap()
            .push(json!({"destination": "/proc/", "type": "bind", "source": "/tmp", "options": ["rbind"]}));
    };
    with(volume, "true").fails(125, "only a proc file system may stand there");
    // Nor below it, nor where a link of the image leads; lxcfs may give its numbers.
    let at = |destination: &str, code: i32| {
        let room = room();
        room.write("numbers", "of lxcfs");
        symlink("/proc", room.path("box/rootfs/link")).unwrap();
        let mut config = config(&["cat", "/proc/meminfo"]);
        config["mounts"].as_array_mut().unwrap().push(
            json!({"destination": destination, "type": "bind", "source": room.path("numbers"), "options": ["bind"]}),
        );
        configure(&room, &config);
        let ran = room.sh("ctr-spawn box");
        assert_eq!(ran.code, code, "{destination}: {ran:#?}");
        ran
    };
    for destination in ["/proc/version", "/link/meminfo"] {
        at(destination, 125).fails(125, "lies in the container's /proc");
    }
    assert_eq!(at("/proc/meminfo", 0).ok(), "of lxcfs");
}

#[test]
fn cve_2021_30465_a_bind_target_stays_in_the_root() {
    needs_a_container!();
    let room = room();
    room.write("data/file", "bound");
    let outside = room.path("outside").display().to_string();
    fs::create_dir_all(&outside).unwrap();
    symlink(format!("../../../../../../../../../../..{outside}"), room.path("box/rootfs/up")).unwrap();
    let mut config =
        config(&["sh", "-c", &format!("cat {outside}/vol/file; cat /file; touch {outside}/vol/x || echo ro")]);
    let mounts = config["mounts"].as_array_mut().unwrap();
    mounts.push(
        json!({"destination": "/up/vol", "type": "bind", "source": room.path("data"), "options": ["rbind", "ro"]}),
    );
    mounts.push(json!({"destination": "/file", "type": "bind", "source": room.path("data/file"), "options": ["bind"]}));
    configure(&room, &config);
    assert_eq!(room.sh("ctr-spawn box").ok(), "boundboundro");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
}

#[test]
fn cve_2025_31133_a_device_of_the_image_is_not_taken_for_ours() {
    needs_a_container!();
    let room = room();
    fs::create_dir_all(room.path("box/rootfs/dev")).unwrap();
    symlink("/proc/sysrq-trigger", room.path("box/rootfs/dev/null")).unwrap();
    let mut config = config(&["true"]);
    // Without the tmpfs the image's own /dev shows.
    config["mounts"].as_array_mut().unwrap().retain(|mount| mount["destination"] == "/proc");
    configure(&room, &config);
    room.sh("ctr-spawn box").fails(125, "something else stands there");
}

#[test]
fn a_read_only_root() {
    needs_a_container!();
    let text =
        with(|config| config["root"]["readonly"] = json!(true), "touch /x || echo ro; touch /dev/shm/x && echo shm")
            .ok();
    assert_eq!(text, "ro\nshm");
}

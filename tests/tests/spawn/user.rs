//! Who is root inside: user namespaces, with root and without.

use crate::NOBODY;
use dock_tests::bundle::{busybox, config, configure, room};
use dock_tests::{Room, has, is_root, needs, skip};
use serde_json::json;

#[test]
fn root_of_a_user_namespace_is_nobody_outside() {
    needs_a_container!();
    let room = room();
    let map = json!([{"containerID": 0, "hostID": 200_000, "size": 65_536}]);
    let mut config =
        config(&["sh", "-c", "id -u; touch /tmp/made; stat -c %u /tmp/made; echo x >/dev/null && echo null"]);
    config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
    config["linux"]["uidMappings"] = map.clone();
    config["linux"]["gidMappings"] = map;
    configure(&room, &config);
    room.sh("chmod 711 . && chown -R 200000:200000 box").ok();
    assert_eq!(room.sh("ctr-spawn box").ok(), "0\n0\nnull");
    assert_eq!(room.sh("stat -c %u box/rootfs/tmp/made").ok(), "200000");
}

#[test]
fn an_ordinary_user() {
    if !is_root() || !has("busybox") || !has("setpriv") {
        return skip("needs root to become an ordinary user, busybox and setpriv");
    }
    let room = Room::of_user(NOBODY);
    busybox(&room.path("box/rootfs"));
    configure(
        &room,
        &config(&[
            "sh",
            "-c",
            "id -u; echo $$; hostname; echo x >/dev/null && echo null; touch /made && stat -c %u /made; grep CapEff /proc/self/status",
        ]),
    );
    for dir in ["box", "box/rootfs", "box/rootfs/tmp", "box/rootfs/bin"] {
        std::os::unix::fs::chown(room.path(dir), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    let text = room.sh("ctr-spawn box").ok();
    assert_eq!(text.lines().collect::<Vec<_>>(), ["0", "1", "inside", "null", "0", "CapEff:\t00000000000004e1"]);
    // As another user inside: the one ID that the kernel lets us map is that one.
    let mut other = config(&["id", "-u"]);
    other["process"]["user"] = json!({"uid": 70, "gid": 70});
    configure(&room, &other);
    assert_eq!(room.sh("ctr-spawn box").ok(), "70");
    // A limit that this user cannot have is an error.
    other["linux"]["resources"] = json!({"pids": {"limit": 5}});
    configure(&room, &other);
    let ran = room.sh("ctr-spawn box");
    assert!(ran.code == 0 || ran.stderr.contains("\nhint: limits need a cgroup"), "{ran:#?}");
}

/// Without root more than one ID is mapped by the set-user-ID helpers, from the ranges of subuid(5).
#[test]
fn an_ordinary_user_with_a_range_of_ids() {
    needs!(root, "busybox", "setpriv", "newuidmap", "unshare");
    let room = room();
    room.write("ranges", "nobody:300000:65536\n");
    let mut config = config(&[
        "sh",
        "-c",
        "id -u; id -G; cat /proc/self/uid_map | tr -s ' '; touch /tmp/made; stat -c '%u %g' /tmp/made",
    ]);
    config["process"]["user"] = json!({"uid": 70, "gid": 71, "additionalGids": [72]});
    config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
    let map =
        json!([{"containerID": 0, "hostID": 65534, "size": 1}, {"containerID": 1, "hostID": 300_000, "size": 65535}]);
    config["linux"]["uidMappings"] = map.clone();
    config["linux"]["gidMappings"] = map;
    configure(&room, &config);
    room.sh("chmod 755 . && chown -R 65534:65534 box && chmod 777 box/rootfs/tmp").ok();
    let as_nobody = |ranges: &str| {
        room.sh(&format!(
            "unshare -m sh -c 'mount --bind {ranges} /etc/subuid && mount --bind {ranges} /etc/subgid && exec setpriv --reuid 65534 --regid 65534 --clear-groups ctr-spawn box'"
        ))
    };
    room.write("none", "");
    let text = as_nobody("ranges").ok();
    assert_eq!(text, "70\n71 72\n 0 65534 1\n 1 300000 65535\n70 71");
    assert_eq!(room.sh("stat -c '%u %g' box/rootfs/tmp/made").ok(), "300069 300070");
    let ran = as_nobody("none");
    assert_eq!(ran.code, 125, "{ran:#?}");
    assert!(ran.stderr.starts_with("ctr-spawn: user namespace: newuidmap "), "{ran:#?}");
}

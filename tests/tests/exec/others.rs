//! Containers of a user namespace, of an ordinary user, and of runc.

use super::Web;
use super::container::NOBODY;
use dock_tests::ends::{Kill, Script};
use dock_tests::{Room, needs};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

#[test]
fn a_user_namespace_is_entered_with_the_rest() {
    needs!(root, "busybox");
    let web = Web::start("");
    web.sh("chmod 711 . && img-unpack --flat t flat && chown -R 200000:200000 flat && echo {} >flat/container.json")
        .ok();
    let file = web.room.path("flat/config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let map = json!([{"containerID": 0, "hostID": 200_000, "size": 65_536}]);
    config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
    config["linux"]["uidMappings"] = map.clone();
    config["linux"]["gidMappings"] = map;
    config["process"]["args"] = json!(["sleep", "997"]);
    fs::write(&file, config.to_string()).unwrap();
    let mut spawn = Command::new(dock_tests::bin().join("ctr-spawn"));
    spawn.args(["--id", "mapped"]).arg(web.room.path("flat")).env("DOCK_RUN", web.room.path("run"));
    let _mapped = Kill(spawn.stdin(Stdio::null()).spawn().unwrap());
    let exec = "ctr-exec --state run/containers/mapped/state.json";
    web.eventually(|| web.sh(&format!("{exec} -- true")).code == 0);
    web.sh(&format!("{exec} -d --pid-file pid -- sleep 998 </dev/null >/dev/null 2>&1")).ok();
    let pid = fs::read_to_string(web.room.path("pid")).unwrap();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    assert!(status.contains("Uid:\t200000\t200000"), "{status}");
    assert_eq!(web.sh(&format!("{exec} -u ann -- id -u")).ok(), "1000");
    assert_eq!(web.sh(&format!("{exec} -- sh -c 'readlink /proc/1/ns/user; ps'")).ok().matches("user:[").count(), 1);
}

#[test]
fn an_ordinary_user_enters_his_own() {
    needs!(root, "busybox", "setpriv");
    let web = Web::in_room(Room::of_user(NOBODY), "", |_| {});
    let text =
        web.sh("ctr-exec web -- sh -c 'id -u; hostname; cat /proc/1/cmdline; echo x >/tmp/f && cat /tmp/f'").ok();
    assert!(text.starts_with(&format!("0\n{}\nsleep", &web.id[..12])) && text.ends_with('x'), "{text}");
    assert_eq!(web.sh("ctr-exec web -- sh -c 'exit 3'").code, 3);
}

/// The state that another runtime prints is enough to enter its container.
#[test]
fn a_container_of_runc_is_entered_by_its_state() {
    needs!(root, "busybox", "runc");
    let room = Room::new();
    fs::create_dir_all(room.path("box/rootfs/bin")).unwrap();
    room.sh("cp $(command -v busybox) box/rootfs/bin/busybox").ok();
    for name in ["sh", "sleep", "id", "hostname"] {
        symlink("busybox", room.path("box/rootfs/bin").join(name)).unwrap();
    }
    room.sh("cd box && runc spec && sed -i 's/\"terminal\": true/\"terminal\": false/; s/\"sh\"/\"sleep\", \"1000\"/' config.json").ok();
    let runc = format!("runc --root {}", room.path("runc").display());
    let id = format!("r3-{}", std::process::id());
    room.sh(&format!("{runc} run -d --bundle box {id} </dev/null >/dev/null 2>err")).ok();
    let _end = Script(&room, format!("{runc} delete --force {id}"));
    room.sh(&format!("{runc} state {id} >state.json")).ok();
    let ours = room.sh("ctr-exec --state state.json -- sh -c 'hostname; id -u; grep CapBnd /proc/self/status'");
    let theirs = room.sh(&format!("{runc} exec {id} sh -c 'hostname; id -u; grep CapBnd /proc/self/status'"));
    assert_eq!(ours.ok(), theirs.ok());
    room.write(
        "process.json",
        json!({"cwd": "/bin", "args": ["sh", "-c", "pwd; echo $A; cat"], "env": ["PATH=/bin", "A=b"]}).to_string(),
    );
    assert!(Path::new(&room.path("process.json")).exists());
    let text = room.sh("echo in | ctr-exec --state state.json --process process.json 2>&1").ok();
    assert!(text.starts_with("/bin\nb\n"), "{text}");
}

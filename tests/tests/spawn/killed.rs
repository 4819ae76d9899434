//! ctr-spawn killed: nothing of it, and nothing of the container, stays.

use crate::{eventually, overlay, v1};
use dock_tests::Room;
use dock_tests::bundle::{busybox, config, configure, room};
use serde_json::json;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

#[test]
fn a_killed_ctr_spawn_leaves_nothing() {
    needs_a_container!();
    let room = Room::new();
    busybox(&room.path("layer1"));
    fs::create_dir_all(room.path("layer2")).unwrap();
    let record = overlay(&room, "box");
    room.write("box/bundle.json", record);
    let mut config = config(&["sleep", "1000"]);
    config["linux"]["resources"] = json!({"pids": {"limit": 9}});
    configure(&room, &config);
    let id = |name: &str| format!("{name}-{}", std::process::id());
    let mut child = Command::new(dock_tests::bin().join("ctr-spawn"))
        .args(["--id", &id("killed")])
        .arg(room.path("box"))
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let children = format!("/proc/{0}/task/{0}/children", child.id());
    let pid = eventually(|| {
        let pid = fs::read_to_string(&children).ok()?.trim().parse::<u32>().ok()?;
        fs::read(format!("/proc/{pid}/cmdline")).ok().filter(|line| line.starts_with(b"sleep")).map(|_| pid)
    });
    child.kill().unwrap();
    child.wait().unwrap();
    eventually(|| (!Path::new(&format!("/proc/{pid}")).exists()).then_some(()));
    assert_eq!(room.mounts(), [""; 0]);
    // It runs again, and what the killed one could not clean up goes then.
    config["process"]["args"] = json!(["true"]);
    configure(&room, &config);
    eventually(|| {
        room.sh(&format!("ctr-spawn --id {} box", id("again"))).ok();
        let left = |name: &str| v1("pids").is_some_and(|pids| pids.join("dock").join(id(name)).exists());
        (!left("killed") && !left("again")).then_some(())
    });
}

#[test]
fn killed_at_any_moment_it_takes_the_container_with_it() {
    needs_a_container!();
    let room = room();
    // No other process of the machine sleeps that long.
    let number_of_ours = format!("{}", 10_000_000 + u64::from(std::process::id()));
    let mut config = config(&["sleep", &number_of_ours]);
    config["linux"]["resources"] = json!({"pids": {"limit": 9}});
    configure(&room, &config);
    let id = |name: &str| format!("storm-{}-{name}", std::process::id());
    for number in 0..60 {
        let mut child = Command::new(dock_tests::bin().join("ctr-spawn"))
            .args(["--id", &id(&number.to_string())])
            .arg(room.path("box"))
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_micros(number * 200));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let box_ = room.path("box");
    let ours = || {
        let of_ours = |pid: &Path| {
            let line = fs::read(pid.join("cmdline")).unwrap_or_default();
            line == format!("sleep\0{number_of_ours}\0").as_bytes()
                || line.windows(box_.as_os_str().len()).any(|part| part == box_.as_os_str().as_encoded_bytes())
        };
        fs::read_dir("/proc")
            .unwrap()
            .flatten()
            .map(|entry| entry.path())
            .find(|path| path.join("stat").exists() && of_ours(path))
    };
    eventually(|| ours().is_none().then_some(()));
    assert_eq!(room.mounts(), [""; 0]);
    // Whoever makes a cgroup at that moment keeps the sweeper out; the next one is let in.
    eventually(|| {
        room.sh(&format!("ctr-spawn --id {} box -- true", id("end"))).ok();
        let left = v1("pids").and_then(|pids| fs::read_dir(pids.join("dock")).ok());
        let stale = |entry: fs::DirEntry| entry.file_name().to_string_lossy().starts_with(&id(""));
        (!left.into_iter().flatten().flatten().any(stale)).then_some(())
    });
}

//! `dock inspect` beside a real dockerd: the same options give the same object, member by member.

use dock_tests::dockerd::Dockerd;
use dock_tests::image::{dock, image};
use dock_tests::{Room, needs};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A room with an image `img`, also as the archive img.tar.
fn room() -> Room {
    let room = Room::new();
    let facts = r#"-c 'CMD ["sleep","100"]' -c 'VOLUME /vol' -c 'ENV A=1 PATH=/bin' -c 'LABEL l=1' -c 'EXPOSE 80' \
        -c 'WORKDIR /data' -c 'STOPSIGNAL INT'"#;
    image(&room, "", &format!("-t img {facts}"));
    room.sh("img-save img >img.tar").ok();
    room
}

/// Every leaf of a document by its path; an empty list or object is a leaf.
fn leaves(value: &Value, path: &str, into: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            members.iter().for_each(|(name, value)| leaves(value, &format!("{path}.{name}"), into));
        }
        Value::Array(list) if !list.is_empty() => {
            list.iter().enumerate().for_each(|(at, value)| leaves(value, &format!("{path}.{at}"), into));
        }
        leaf => drop(into.insert(path.into(), leaf.clone())),
    }
}

/// What cannot be equal, each with its reason.
const OTHER: [&str; 14] = [
    // Made by chance, by the clock, or a place of the daemon's.
    ".Id",
    ".Created",
    ".Name",
    ".Image",
    "Path",
    ".GraphDriver",
    ".Driver",
    ".NetworkSettings",
    ".Config.Hostname",
    // Two runtimes have two versions of the lists; docker 20.10 leaves it to the host on cgroup v1.
    ".HostConfig.MaskedPaths",
    ".HostConfig.ReadonlyPaths",
    ".HostConfig.CgroupnsMode",
    // The daemon's default when the options share something with the host.
    ".HostConfig.SecurityOpt",
    // The order of a map.
    ".Mounts",
];

#[test]
fn the_same_options_give_dockers_object() {
    needs!(root, "busybox", "dockerd", "docker");
    let room = room();
    let Some(docker) = Dockerd::start(&room) else { return };
    docker.docker(&["load", "-i", room.path("img.tar").to_str().unwrap()]).unwrap();
    let tmp = room.path("h");
    std::fs::create_dir(&tmp).unwrap();
    let bind = format!("{}:/t:ro", tmp.display());
    let mount = format!("type=bind,src={},dst=/e,ro", tmp.display());
    let all = [
        "--network",
        "none",
        "-m",
        "64m",
        "--cpus",
        "0.5",
        "--pids-limit",
        "9",
        "-v",
        "named:/n",
        "-v",
        &bind,
        "--mount",
        "type=tmpfs,dst=/m,tmpfs-size=1m",
        "--mount",
        &mount,
        "--tmpfs",
        "/tt:size=1m",
        "-e",
        "B=2",
        "-e",
        "A=3",
        "-u",
        "7:8",
        "-h",
        "hn",
        "--domainname",
        "dn",
        "--add-host",
        "db:1.2.3.4",
        "--dns",
        "1.1.1.1",
        "--cap-add",
        "NET_ADMIN",
        "--cap-drop",
        "CHOWN",
        "--ulimit",
        "nofile=9:10",
        "--device",
        "/dev/null:/dev/n",
        "--shm-size",
        "1m",
        "--sysctl",
        "net.ipv4.ip_forward=1",
        "--label",
        "x=y",
        "--group-add",
        "5",
        "--oom-score-adj",
        "5",
        "--read-only",
        "--entrypoint",
        "sleep",
        "--memory-swappiness",
        "5",
        "--cpu-shares",
        "100",
        "--cpuset-cpus",
        "0",
        "--expose",
        "80",
        "--expose",
        "90-92/udp",
        "--expose",
        "9/TCP",
    ];
    let host = ["--network", "none", "--privileged", "--ipc", "host", "--uts", "host", "--pid", "host"];
    let more =
        ["--entrypoint", "", "--cgroup-parent", "/a/b", "--mount", "type=volume,src=lab,dst=/l,volume-label=k=v"];
    let cases: [(&str, &[&str], &[&str]); 4] = [
        ("plain", &["--network", "none"], &[]),
        ("full", &all, &["50"]),
        ("host", &host, &[]),
        ("more", &[&["--network", "none"], &more[..]].concat(), &["true"]),
    ];
    for (name, options, command) in cases {
        let line = [&["create", "--name", name], options, &["img"], command].concat();
        docker.docker(&line).unwrap();
        let quoted: Vec<String> = line.iter().map(|word| format!("'{word}'")).collect();
        dock(&room, &format!("dock {} >/dev/null", quoted.join(" "))).ok();
        // Docker reads these lists out of a map: their order is chance.
        let read = |text: &str| -> Value {
            let mut object: Value = serde_json::from_str(text).unwrap();
            for unordered in ["/0/Config/Env", "/0/HostConfig/Binds", "/0/HostConfig/Ulimits"] {
                if let Some(list) = object.pointer_mut(unordered).and_then(Value::as_array_mut) {
                    list.sort_by_key(Value::to_string);
                }
            }
            object
        };
        let theirs = read(&docker.docker(&["inspect", name]).unwrap());
        let ours = read(&dock(&room, &format!("dock inspect {name}")).ok());
        let (mut theirs_by_path, mut ours_by_path) = (BTreeMap::new(), BTreeMap::new());
        leaves(&theirs[0], "", &mut theirs_by_path);
        leaves(&ours[0], "", &mut ours_by_path);
        let other = |path: &String| OTHER.iter().any(|other| path.starts_with(other) || path.ends_with(other));
        theirs_by_path.retain(|path, _| !other(path));
        ours_by_path.retain(|path, _| !other(path));
        let differ: Vec<String> = theirs_by_path
            .keys()
            .chain(ours_by_path.keys())
            .filter(|path| theirs_by_path.get(*path) != ours_by_path.get(*path))
            .map(|path| format!("{path}: docker {:?}, dock {:?}", theirs_by_path.get(path), ours_by_path.get(path)))
            .collect();
        assert!(differ.is_empty(), "{name}: {differ:#?}");
        assert!(theirs_by_path.len() > 80, "{theirs_by_path:#?}");
        let mounts = |object: &Value| -> BTreeMap<String, Value> {
            let list = object[0]["Mounts"].as_array().unwrap().iter().cloned();
            let own = |mut mount: Value| {
                let at = mount["Destination"].as_str().unwrap().to_owned();
                // The name of an anonymous volume is chance, its place the store's; rslave where the daemon lives below.
                for member in ["Name", "Source", "Propagation"] {
                    mount.as_object_mut().unwrap().remove(member);
                }
                (at, mount)
            };
            list.map(own).collect()
        };
        assert_eq!(mounts(&ours), mounts(&theirs), "{name}");
    }
}

#[test]
fn templates_sizes_and_states() {
    needs!(root, "busybox");
    let room = room();
    dock(&room, "dock run --name ended img sh -c 'echo x >/new; exit 3'; dock create --name fresh --stop-signal INT img >/dev/null 2>&1 || dock create --name fresh img").ok();
    let get = |format: &str, name: &str| dock(&room, &format!("dock inspect -f '{format}' {name}")).ok();
    assert_eq!(
        get("{{.State.Status}} {{.State.ExitCode}} {{.State.Running}} {{.Name}}", "ended"),
        "exited 3 false /ended"
    );
    assert_eq!(get("{{.State.Status}} {{.State.StartedAt}}", "fresh"), "created 0001-01-01T00:00:00Z");
    assert_eq!(
        get("{{json .Config.Cmd}} {{.Config.WorkingDir}} {{index .Config.Labels \"l\"}}", "fresh"),
        "[\"sleep\",\"100\"] /data 1"
    );
    assert_eq!(get("{{range .Mounts}}{{.Destination}} {{.Type}}{{end}}", "fresh"), "/vol volume");
    // What docker goes on to say of one that has ended.
    dock(&room, "dock run --name probed --health-cmd true img true; dock run -d --restart on-failure:2 --name again img false; dock wait again").ok();
    assert_eq!(get("{{.State.Health.Status}} {{.State.Health.FailingStreak}}", "probed"), "unhealthy 0");
    assert_eq!(dock(&room, "dock ps -aq --filter health=unhealthy | wc -l").ok(), "1");
    assert_eq!(get("{{.RestartCount}}", "again"), "2");
    let sized: Value = serde_json::from_str(&dock(&room, "dock inspect -s ended").ok()).unwrap();
    assert_eq!(sized[0]["SizeRw"], json!(2));
    // What was written down stands in files that anybody can read with any tool.
    let upper = get("{{.GraphDriver.Data.UpperDir}}", "ended");
    assert_eq!(room.sh(&format!("cat {upper}/new")).ok(), "x");
}

#[test]
fn a_container_that_wanted_more_memory_than_it_had_is_seen_as_such() {
    needs!(root, "busybox");
    let room = room();
    let eats =
        "dock run --name eats -m 16m --memory-swap 16m img /bin/busybox dd if=/dev/zero of=/dev/null bs=64M count=1";
    let ran = dock(&room, eats);
    if ran.stderr.contains("memory") && ran.code == 125 {
        return dock_tests::skip("needs a memory cgroup");
    }
    assert_eq!(ran.code, 137, "{ran:#?}");
    assert_eq!(dock(&room, "dock inspect -f '{{.State.OOMKilled}} {{.State.ExitCode}}' eats").ok(), "true 137");
    dock(&room, "dock run --name fine -m 64m img /bin/busybox true").ok();
    assert_eq!(dock(&room, "dock inspect -f '{{.State.OOMKilled}}' fine").ok(), "false");
}

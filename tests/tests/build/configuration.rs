//! Every instruction of the configuration, beside buildah and docker.

use super::{build, tree};
use dock_tests::{Room, dockerd::Dockerd, needs};
use serde_json::Value;

/// Every instruction of the configuration, in a form on which the peers agree.
const FACTS: &str = "FROM localhost/base\nARG V=7\nENV A=1 B=\"x y\" V=$V\nENV C old style\nENV P=$PATH:/x Q='$A' R=${A:+set} S=${NONE:-unset}\n\
    LABEL l=1 \"m n\"='o p'\nEXPOSE 80 53/udp\nVOLUME /data /more\nWORKDIR /srv\nWORKDIR app\nUSER app:app\nSTOPSIGNAL SIGUSR1\n\
    CMD echo $A\nENTRYPOINT [\"/bin/echo\", \"e\"]\nSHELL [\"/bin/sh\", \"-ec\"]\nONBUILD RUN true\n";

#[track_caller]
fn assert_same_config(ours: &Value, theirs: &Value, names: &[&str]) {
    let of = |config: &Value, name: &str| match config.get(name) {
        None | Some(Value::Null) => Value::Null,
        Some(Value::Array(list)) if list.is_empty() => Value::Null,
        Some(value) => value.clone(),
    };
    for name in names {
        assert_eq!(of(ours, name), of(theirs, name), "{name}");
    }
}

const MEMBERS: [&str; 10] =
    ["Env", "ExposedPorts", "Volumes", "WorkingDir", "User", "StopSignal", "Shell", "Cmd", "Entrypoint", "OnBuild"];

#[test]
fn the_configuration_is_what_buildah_makes_of_it() {
    needs!(root, "busybox", "buildah");
    let room = Room::with_base();
    room.sh("img-save --format oci -o base.tar localhost/base").ok();
    let ours = build(&room, FACTS, "");
    let storage = "--root $PWD/s --runroot $PWD/r --storage-driver vfs";
    let script = format!(
        "buildah {storage} pull -q oci-archive:base.tar >id && buildah {storage} tag $(cat id) localhost/base:latest \
         && buildah {storage} build -q --pull-never --format docker --isolation chroot -t theirs -f ctx/Dockerfile ctx >/dev/null \
         && buildah {storage} inspect --type image theirs"
    );
    let theirs: Value = serde_json::from_str(&room.sh(&script).ok()).unwrap();
    let theirs = &theirs["Docker"]["config"];
    assert_same_config(&ours["config"], theirs, &MEMBERS);
    let mut labels = theirs["Labels"].clone();
    labels.as_object_mut().unwrap().remove("io.buildah.version");
    assert_eq!(ours["config"]["Labels"], labels);
}

#[test]
fn configuration_and_tree_are_what_docker_makes_of_it() {
    needs!(root, "busybox", "dockerd", "docker");
    let room = Room::with_base();
    let Some(dockerd) = Dockerd::start(&room) else { return };
    room.sh("img-save -o base.tar localhost/base").ok();
    dockerd.docker(&["load", "-i", &room.path("base.tar").display().to_string()]).unwrap();
    for name in ["ctx/d/a", "ctx/d/sub/b", "ctx/x1.txt", "ctx/x2.txt"] {
        room.write(name, name);
    }
    room.sh("cd ctx && tar cf t.tar d && ln -s x1.txt link && ln -s /nowhere d/dangling && chmod 700 d/sub && chmod 600 x2.txt").ok();
    let files = "COPY d /whole\nCOPY d x?.txt /many/\nCOPY --chown=app d /owned/\nCOPY --chown=1002 x1.txt /number\nCOPY link /\nADD t.tar /un/\n\
         ADD x1.txt /added\nCOPY x1.txt .\nUSER root\nRUN [\"/bin/rm\", \"/many/x1.txt\"]\n";
    let facts = format!("{FACTS}HEALTHCHECK --interval=90s --retries=3 CMD true\n{files}EXPOSE 7000-7001\n");
    let ours = build(&room, &facts, "");
    let our_tree = tree(&room);
    let context = room.path("ctx").display().to_string();
    dockerd.docker(&["build", "-q", "--network", "none", "-t", "theirs", &context]).unwrap();
    let theirs: Value = serde_json::from_str(&dockerd.docker(&["image", "inspect", "theirs"]).unwrap()).unwrap();
    assert_same_config(&ours["config"], &theirs[0]["Config"], &MEMBERS);
    assert_same_config(&ours["config"], &theirs[0]["Config"], &["Labels", "Healthcheck"]);
    let archive = room.path("theirs.tar").display().to_string();
    dockerd.docker(&["save", "-o", &archive, "theirs"]).unwrap();
    room.sh("img-load -i theirs.tar && rm -rf box && img-unpack --flat theirs box").ok();
    // What the engines make as places to mount on differs: docker makes the volumes for its RUN, too.
    let stub = |line: &&str| {
        let path = line.splitn(4, ' ').nth(3).unwrap_or_default();
        ["bin/", "etc/", "dev", "data", "more", ".dockerenv"].iter().any(|start| path.starts_with(start))
    };
    let stubs = |tree: String| tree.lines().filter(|line| !stub(line)).collect::<Vec<_>>().join("\n");
    assert_eq!(stubs(our_tree), stubs(tree(&room)));
}

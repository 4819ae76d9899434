//! dfile-build: Dockerfiles built for real and run for real, by mechanism.

mod beside;
mod cache;
mod cases;
mod configuration;
mod context;
mod copy;
mod elsewhere;
mod ignore;
mod mounts;
mod outputs;
mod plan;
mod run;
mod said;
mod same;
mod stages;
mod storm;
mod web;

use dock_tests::{Room, needs};
use serde_json::{Value, json};

/// Builds `ctx` with a Dockerfile; the answer is the image's configuration document.
#[track_caller]
fn build(room: &Room, dockerfile: &str, options: &str) -> Value {
    room.write("ctx/Dockerfile", dockerfile);
    room.sh(&format!("dfile-build -q -t it {options} ctx")).ok();
    room.sh("img-fsck").ok();
    config(room, "it")
}

fn config(room: &Room, image: &str) -> Value {
    room.sh(&format!("rm -rf box && img-unpack --flat {image} box")).ok();
    serde_json::from_str(&room.sh("cat box/image.json").ok()).unwrap()
}

/// The tree of the image that [`build`] made, one line an entry: mode, owner, group, path, link or size.
fn tree(room: &Room) -> String {
    room.sh("cd box/rootfs && find . -mindepth 1 -printf '%M %U %G %P %l\\n' | sed 's/ $//' | sort -k 4").ok()
}

/// Files and links of a directory of the room.
fn files(room: &Room, dir: &str) -> String {
    room.sh(&format!("cd {dir} && find . ! -type d -printf '%P\n' | sort | paste -sd ' '")).ok()
}

#[track_caller]
fn unpacked(room: &Room, image: &str) -> String {
    room.sh(&format!("img-fsck && rm -rf box && img-unpack --flat {image} box")).ok();
    files(room, "box/rootfs")
}

#[track_caller]
fn fails(room: &Room, dockerfile: &str, options: &str, part: &str) {
    room.write("ctx/Dockerfile", dockerfile);
    room.sh(&format!("dfile-build -q -t never {options} ctx")).fails(1, part);
}

/// The paths of the topmost layer of `it`.
fn last_layer(room: &Room) -> String {
    room.sh("img-unpack --overlay it top >/dev/null && d=$(jq -r '.overlay.lower[0]' top/bundle.json) && cd $d && find . -mindepth 1 -printf '%P\\n' | sort; rm -rf \"$OLDPWD/top\"").ok()
}

fn digest(record: &str) -> Value {
    serde_json::from_str::<Value>(record).unwrap()["descriptor"]["digest"].clone()
}

#[test]
fn from_scratch_without_privilege() {
    needs!(root, "setpriv");
    let room = Room::of_user(4321);
    room.write("ctx/hello", "#!/bin/true\n");
    room.write("ctx/Dockerfile", "FROM scratch\nCOPY hello /\nCMD [\"/hello\"]\n");
    let record = room.sh("dfile-build -q -t hello ctx").ok();
    assert!(record.contains("\"ref\":\"docker.io/library/hello:latest\""), "{record}");
    let config: Value = serde_json::from_str(&room.sh("img-inspect hello").ok()).unwrap();
    assert_eq!(config["Config"]["Cmd"], json!(["/hello"]));
    let history = room.sh("img-inspect --history hello").ok();
    assert!(history.contains("COPY hello / # buildkit"), "{history}");
    room.sh("img-fsck").ok();
}

#[test]
fn run_as_an_ordinary_user() {
    needs!(root, "busybox", "setpriv");
    let room = Room::of_user(4321);
    room.sh("mkdir ctx && cp $(command -v busybox) ctx/busybox").ok();
    room.write("ctx/Dockerfile", "FROM scratch\nCOPY busybox /bin/sh\nRUN echo made >/made\nRUN cat /made >/again\n");
    room.sh("dfile-build -q -t it ctx").ok();
    room.sh("img-unpack --flat it box").ok();
    assert_eq!(room.sh("cat box/rootfs/again").ok(), "made");
    room.sh("img-fsck").ok();
}

#[test]
fn mistakes_name_file_line_and_cause() {
    let room = Room::new();
    room.write("ctx/f", "");
    room.write("ctx/d/g", "");
    for (dockerfile, part) in [
        ("FROM scratch\n\nRUNN x\n", "Dockerfile:3: unknown instruction \"RUNN\": did you mean RUN?"),
        ("FROM scratch\nCOPY nope /\n", "Dockerfile:2: COPY: nope: not found"),
        ("FROM scratch\nCOPY nope \\\n  /x\n", "\nhint: that line is: COPY nope \\\n"),
        ("FROM scratch\nCOPY --form=a b /\n", "did you mean --from?\nhint: that line is: COPY --form=a b /\n"),
        (
            "FROM scratch\nENV a=1 b\n",
            "Dockerfile:2: ENV: no = in \"b\": want NAME=VALUE\nhint: that line is: ENV a=1 b\n",
        ),
        ("FROM scratch\nCOPY f d/g /x\n", "Dockerfile:2: COPY has more than one source"),
        ("FROM scratch\nCOPY --chmod=u+y f /\n", "Dockerfile:2: --chmod=u+y: want octal digits, or changes like"),
        ("FROM scratch\nRUN --mount=type=tmpfs y\n", "Dockerfile:2: --mount=type=tmpfs: needs target=PATH"),
        ("FROM scratch\nRUN x\n", "Dockerfile:2: FROM scratch has nothing that could run"),
        ("FROM scratch\nENV a=${b\n", "Dockerfile:2: "),
        ("FROM scratch\nCOPY f /f\nCOPY d /f\n", "Dockerfile:3: COPY: "),
        ("FROM scratch\nCOPY d /d\nCOPY f /d/g/\n", "Dockerfile:3: COPY: "),
        ("FROM scratch\nCOPY --chown=nobody f /f\n", "Dockerfile:2: --chown=nobody"),
        ("# only a comment\n", "Dockerfile: no FROM"),
        ("RUN x\n", "Dockerfile:1: RUN before the first FROM"),
        ("FROM scratch\nCOPY --from=2 f /\n", "Dockerfile:2: --from=2"),
    ] {
        room.write("ctx/Dockerfile", dockerfile);
        room.sh("dfile-build -q -t never ctx").fails(1, part);
    }
    for (make, part) in [
        ("mkdir Dockerfile", "Dockerfile: read: Is a directory"),
        ("mkfifo Dockerfile", "Dockerfile: open: not a regular file"),
        (": >Dockerfile", "Dockerfile: no FROM"),
        ("head -c 3000 /dev/zero | tr '\\0' '\\377' >Dockerfile", "Dockerfile: not UTF-8 text"),
        ("head -c 17000000 /dev/zero >Dockerfile", "Dockerfile: longer than 16777216 bytes"),
        ("echo FROM scratch >Dockerfile; mkfifo .dockerignore", ".dockerignore: read: not a regular file"),
        (
            "echo FROM scratch >Dockerfile; printf '\\377' >.dockerignore",
            ".dockerignore: read: stream did not contain valid UTF-8",
        ),
        ("echo FROM scratch >Dockerfile; mkdir .dockerignore", ".dockerignore: read: Is a directory"),
        ("true", "Dockerfile: open: No such file"),
    ] {
        room.sh(&format!("cd ctx && rm -rf Dockerfile .dockerignore && {make}")).ok();
        room.sh("timeout 60 dfile-build -q -t never ctx").fails(1, part);
    }
    room.write("ctx/Dockerfile", "FROM scratch AS only\n");
    room.sh("dfile-build -q --target nope ctx").fails(1, "--target nope: no such stage; the file has: only");
    room.sh("dfile-build ctx -t Bad").fails(2, "not an image reference");
    assert_eq!(room.sh("img-ls").ok(), "", "nothing half-built has a name");
}

#[test]
fn onbuild_runs_in_the_child_and_only_there() {
    needs!(root, "busybox");
    let room = Room::with_base();
    room.write("ctx/f", "x");
    room.write("parent", "FROM base\nONBUILD COPY f /from-child\nONBUILD RUN echo ran >/ran\n");
    room.sh("dfile-build -q -f parent -t parent ctx").ok();
    let child = build(&room, "FROM parent\nRUN cat /ran\n", "");
    assert_eq!(room.sh("cat box/rootfs/from-child box/rootfs/ran").ok(), "xran");
    assert_eq!(child["config"].get("OnBuild"), None);
}

#[test]
fn cve_2024_23653_a_syntax_line_runs_nothing() {
    needs!(root);
    let room = Room::new();
    room.write("ctx/f", "");
    room.write("ctx/Dockerfile", "# syntax=registry.invalid/evil:1\nFROM scratch\nCOPY f /\n");
    let ran = room.sh("dfile-build ctx");
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stderr.contains("syntax=registry.invalid/evil:1 is not fetched"), "{}", ran.stderr);
}

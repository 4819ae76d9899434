//! dfile-build: Dockerfiles built for real, run for real, and compared with what buildah makes of them.

use dock_tests::{Room, dockerd::Dockerd, needs};
use serde_json::{Value, json};
use std::process::{Command, Stdio};

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
fn what_copy_does_with_directories_patterns_and_links() {
    needs!(root);
    let room = Room::new();
    for name in ["ctx/d/a", "ctx/d/sub/b", "ctx/x1.txt", "ctx/x2.txt", "ctx/e/sub/c"] {
        room.write(name, name);
    }
    room.sh("cd ctx && chmod 700 e/sub && ln -s ../x1.txt d/link && ln -s d dirlink && chmod 4755 x2.txt").ok();
    build(
        &room,
        "FROM scratch\nCOPY d /whole\nCOPY d/a x1.txt /many/\nCOPY x?.txt /glob/\nCOPY d/a /renamed\n\
         COPY d e /merged/\nCOPY dirlink /followed/\nCOPY d/link /deref\nCOPY [\"x[1].txt\", \"/json dir/\"]\n\
         WORKDIR /w/v\nCOPY d/a .\nCOPY d/a ../up\nCOPY --chmod=0750 d /modes\n",
        "",
    );
    let found = tree(&room);
    for line in [
        "-rw-r--r-- 0 0 whole/a",
        "-rw-r--r-- 0 0 whole/sub/b",
        "lrwxrwxrwx 0 0 whole/link ../x1.txt",
        "-rw-r--r-- 0 0 many/a",
        "-rw-r--r-- 0 0 many/x1.txt",
        "-rw-r--r-- 0 0 glob/x1.txt",
        "-rwsr-xr-x 0 0 glob/x2.txt",
        "-rw-r--r-- 0 0 renamed",
        "drwx------ 0 0 merged/sub",
        "-rw-r--r-- 0 0 merged/sub/b",
        "-rw-r--r-- 0 0 merged/sub/c",
        "-rw-r--r-- 0 0 followed/a",
        "-rw-r--r-- 0 0 deref",
        "-rw-r--r-- 0 0 json dir/x1.txt",
        "-rw-r--r-- 0 0 w/v/a",
        "-rw-r--r-- 0 0 w/up",
        "-rwxr-x--- 0 0 modes/a",
        "drwxr-x--- 0 0 modes/sub",
        "lrwxrwxrwx 0 0 modes/link ../x1.txt",
    ] {
        assert!(found.lines().any(|own| own == line), "no {line:?} in\n{found}");
    }
    assert_eq!(room.sh("cat box/rootfs/deref").ok(), "ctx/x1.txt");
}

#[test]
fn cve_2019_14271_and_kin_a_source_never_leaves_the_context() {
    needs!(root);
    let room = Room::new();
    room.write("secret", "outside");
    room.write("ctx/inside/ok", "inside");
    room.sh("cd ctx && ln -s ../secret out && ln -s /etc/passwd abs && ln -s .. up && ln -s /inside rooted").ok();
    for (source, part) in [
        ("out", "not found"),
        ("abs", "not found"),
        ("../secret", "not found"),
        ("up/secret", "not found"),
        ("inside/../../secret", "not found"),
    ] {
        room.write("ctx/Dockerfile", format!("FROM scratch\nCOPY {source} /x\n"));
        let ran = room.sh("dfile-build -q ctx").fails(1, part);
        assert!(ran.stderr.starts_with("dfile-build: Dockerfile:2: COPY: "), "{}", ran.stderr);
    }
    // Absolute links end at the root of the context, as in a chroot; links inside a directory stay links.
    build(&room, "FROM scratch\nCOPY rooted /r\nCOPY . /all/\n", "");
    assert_eq!(
        room.sh("cat box/rootfs/r/ok; readlink box/rootfs/all/abs box/rootfs/all/out").ok(),
        "inside/etc/passwd\n../secret"
    );
}

#[test]
fn cve_2018_15664_a_destination_link_stays_in_the_image() {
    needs!(root);
    let room = Room::new();
    room.sh("mkdir -p ctx/tree/var ctx/tree/run && ln -s /run ctx/tree/var/run").ok();
    let outside = room.path("outside");
    std::fs::create_dir(&outside).unwrap();
    std::os::unix::fs::symlink(&outside, room.path("ctx/tree/x")).unwrap();
    std::os::unix::fs::symlink("../../../../../../etc", room.path("ctx/tree/y")).unwrap();
    room.write("ctx/file", "f");
    build(
        &room,
        "FROM scratch\nCOPY tree /\nCOPY file /var/run/\nCOPY file /var/run/deep/er/\nCOPY file /x/\nCOPY file /y/passwd\n",
        "",
    );
    let found = tree(&room);
    for line in ["-rw-r--r-- 0 0 run/file", "-rw-r--r-- 0 0 run/deep/er/file", "-rw-r--r-- 0 0 etc/passwd"] {
        assert!(found.lines().any(|own| own == line), "no {line:?} in\n{found}");
    }
    assert!(found.contains("var/run /run"), "the link is still a link:\n{found}");
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
    let below = room.sh(&format!("find box/rootfs{} -type f", outside.display())).ok();
    assert!(below.ends_with("/file"), "{below}");
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
fn run_sees_the_image_and_the_arguments_and_nothing_of_the_caller() {
    needs!(root, "busybox");
    let room = Room::with_base();
    room.write(
        "ctx/Dockerfile",
        "ARG GLOBAL=g\nFROM base\nARG A=1\nARG B\nARG GLOBAL\nENV C=\"two words\" A=env\nRUN env | sort >/env; id >/id; ip addr >/net; pwd >/pwd\n\
         USER app\nWORKDIR /home/app\nRUN id; pwd; echo $A-$B-$GLOBAL-$C\n",
    );
    let script = "SECRET_CANARY=leak AWS_TOKEN=leak dfile-build --build-arg B=b --build-arg A=ignored --progress plain -t it ctx";
    let ran = room.sh(script);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stderr.contains("env-b-g-two words"), "{}", ran.stderr);
    assert!(ran.stderr.contains("uid=1000(app) gid=1001(app)"), "{}", ran.stderr);
    assert!(ran.stderr.contains("/home/app"), "{}", ran.stderr);
    config(&room, "it");
    let env = room.sh("grep -v -e ^SHLVL= -e ^PWD= -e ^HOSTNAME= box/rootfs/env").ok();
    assert_eq!(env, "A=env\nB=b\nC=two words\nGLOBAL=g\nHOME=/root\nPATH=/bin", "CVE-2021-3602");
    assert_eq!(room.sh("cat box/rootfs/pwd").ok(), "/");
    let net = room.sh("grep -c '^[0-9]' box/rootfs/net; grep -o LOOPBACK box/rootfs/net").ok();
    assert_eq!(net, "1\nLOOPBACK");
    assert_ne!(room.sh("grep -r -l SECRET_CANARY root").code, 0);
    let history = room.sh("img-inspect --history it").ok();
    assert!(history.contains("RUN |3 A=env B=b GLOBAL=g /bin/sh -c env | sort"), "{history}");
}

#[test]
fn stages_and_what_is_copied_between_them() {
    needs!(root, "busybox");
    let room = Room::with_base();
    build(
        &room,
        "FROM base AS build\nRUN mkdir /out && echo made >/out/file && chown 7:8 /out/file && chmod 640 /out/file\n\
         FROM base AS unused\nRUN exit 9\n\
         FROM scratch\nCOPY --from=build /out /a/\nCOPY --from=0 /out/file /b\nCOPY --from=base /etc/group /c\nCOPY --from=build --chown=5:6 /out/file /d\n",
        "",
    );
    assert_eq!(
        tree(&room),
        "drwxr-xr-x 0 0 a\n-rw-r----- 7 8 a/file\n-rw-r----- 7 8 b\n-rw-r--r-- 0 0 c\n-rw-r----- 5 6 d"
    );
    build(
        &room,
        "FROM base AS one\nENV X=1\nRUN echo $X >/x\nFROM one\nRUN echo $X$X >/y\nFROM base\nRUN exit 9\n",
        "--target 1",
    );
    assert_eq!(room.sh("cat box/rootfs/x box/rootfs/y").ok(), "1\n11");
}

#[test]
fn add_unpacks_archives_by_their_content() {
    needs!(root, "tar", "gzip", "zstd");
    let room = Room::new();
    room.sh(
        "mkdir -p t/dir && echo 1 >t/dir/f && ln t/dir/f t/dir/hard && ln -s f t/dir/soft && chmod 2750 t/dir && chown 3:4 t/dir/f
         mkdir ctx && cd t && tar cf ../ctx/plain.bin dir && gzip <../ctx/plain.bin >../ctx/gz && zstd -q <../ctx/plain.bin >../ctx/zst
         echo text | gzip >../ctx/note.gz; echo no >../ctx/no.tar",
    )
    .ok();
    build(
        &room,
        "FROM scratch\nADD plain.bin /p\nADD gz /g/\nADD zst /z\nADD note.gz no.tar /n/\nADD --chown=9 gz /o\nCOPY gz /c/\n",
        "",
    );
    let found = tree(&room);
    for line in [
        "drwxr-s--- 0 0 p/dir",
        "-rw-r--r-- 3 4 p/dir/f",
        "-rw-r--r-- 3 4 g/dir/hard",
        "lrwxrwxrwx 0 0 z/dir/soft f",
        "-rw-r--r-- 0 0 n/note.gz",
        "-rw-r--r-- 0 0 n/no.tar",
        "-rw-r--r-- 9 9 o/dir/f",
        "-rw-r--r-- 0 0 c/gz",
    ] {
        assert!(found.lines().any(|own| own == line), "no {line:?} in\n{found}");
    }
    assert_eq!(room.sh("stat -c %h box/rootfs/p/dir/f").ok(), "2");
    room.sh("cd t && tar cPf ../ctx/evil --transform 's,^dir,../../up,' dir").ok();
    room.write("ctx/Dockerfile", "FROM scratch\nADD evil /\n");
    room.sh("dfile-build -q ctx").fails(1, "the path has .. in it");
    room.write("ctx/.wh.bin", "");
    room.write("ctx/Dockerfile", "FROM scratch\nCOPY .wh.bin /\n");
    room.sh("dfile-build -q ctx").fails(1, "cannot hold a name that starts with .wh.");
}

#[test]
fn dockerignore_takes_files_out_of_the_context() {
    needs!(root);
    let room = Room::new();
    for name in
        ["a.md", "README.md", "src/x.o", "src/x.c", "node_modules/m/i.js", "keep/deep/k", "keep/other", "secret"]
    {
        room.write(&format!("ctx/{name}"), name);
    }
    room.write(
        "ctx/.dockerignore",
        "# comment\n*.md\n!README.md\n**/*.o\nnode_modules\nkeep\n!keep/deep\nsecret\nDockerfile\n.dockerignore\n",
    );
    build(&room, "FROM scratch\nCOPY . /\n", "");
    let files = |room: &Room| room.sh("cd box/rootfs && find . -type f -printf '%P\\n' | sort").ok();
    assert_eq!(files(&room), "README.md\nkeep/deep/k\nsrc/x.c");
    room.sh("ln -s secret ctx/alias").ok();
    for source in ["secret", "alias"] {
        room.write("ctx/Dockerfile", format!("FROM scratch\nCOPY {source} /\n"));
        room.sh("dfile-build -q ctx").fails(1, ".dockerignore excludes it");
    }
    room.write("other", "FROM scratch\nCOPY . /\n");
    room.write("other.dockerignore", "*\n!secret\n");
    room.sh("dfile-build -q -f other -t it ctx").ok();
    config(&room, "it");
    assert_eq!(files(&room), "secret");
}

#[test]
fn the_cache_is_keyed_by_content() {
    needs!(root, "busybox");
    let room = Room::with_base();
    room.write("ctx/one", "1");
    room.write("ctx/two", "2");
    room.write(
        "ctx/Dockerfile",
        "FROM base\nARG V=1\nCOPY one /\nRUN echo $V >/v\nWORKDIR /w\nCOPY two /\nRUN cat /one /two >/both\nLABEL a=b\n",
    );
    let build = |options: &str| {
        let ran = room.sh(&format!("dfile-build -t it {options} ctx"));
        assert_eq!(ran.code, 0, "{ran:?}");
        (digest(&ran.stdout), ran.stderr.matches("CACHED").count(), ran.stderr.matches("DONE").count())
    };
    let (first, _, done) = build("");
    assert_eq!(done, 5);
    assert_eq!(build(""), (first.clone(), 6, 0), "everything cached, equal by digest");
    room.sh("touch -d @1 ctx/one ctx/two").ok();
    assert_eq!(build(""), (first.clone(), 6, 0), "times are not content");
    room.write("ctx/two", "changed");
    let (changed, cached, done) = build("");
    assert_eq!((cached, done), (4, 2), "from the changed file on");
    assert_ne!(changed, first);
    room.write("ctx/two", "2");
    assert_eq!(build(""), (first.clone(), 6, 0), "the old content has its old image");
    room.sh("chmod 600 ctx/one").ok();
    assert_eq!(build("").1, 1, "the mode is content");
    room.sh("chmod 644 ctx/one").ok();
    assert_eq!(build("--build-arg V=2").1, 1, "an argument in scope counts");
    let (again, cached, _) = build("--no-cache");
    assert_eq!(cached, 1);
    assert_ne!(again, first, "run again: other times");
    room.sh("img-fsck").ok();
}

#[test]
fn a_damaged_cache_entry_is_built_again() {
    needs!(root);
    let room = Room::new();
    room.write("ctx/f", "content");
    room.write("ctx/Dockerfile", "FROM scratch\nCOPY f /\n");
    room.sh("dfile-build -q -t it ctx").ok();
    let layer = room.sh("img-inspect it >/dev/null; ls -S root/images/blobs/sha256 | while read b; do head -c 2 root/images/blobs/sha256/$b | od -An -tx1 | grep -q '1f 8b' && echo $b; done").ok();
    room.sh(&format!("truncate -s 1 root/images/blobs/sha256/{layer}")).ok();
    let ran = room.sh("dfile-build -t it ctx");
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stderr.contains("DONE"), "{ran:?}");
    room.sh("img-fsck").ok();
    // A byte that has changed, and the time of the file set back: the inode tells.
    room.sh(&format!("b=root/images/blobs/sha256/{layer}; touch -r $b old; printf '\\1' | dd of=$b bs=1 seek=12 conv=notrunc status=none; touch -r old $b; ! img-fsck")).ok();
    let ran = room.sh("dfile-build -t it ctx");
    assert!(ran.code == 0 && ran.stderr.contains("DONE"), "{ran:?}");
    room.sh("img-fsck").ok();
    // One that was only written again, as a copy of the store is, costs a look, and no build.
    room.sh(&format!("b=root/images/blobs/sha256/{layer}; cp $b again && mv again $b")).ok();
    let ran = room.sh("dfile-build -t it ctx");
    assert!(ran.code == 0 && !ran.stderr.contains("DONE"), "{ran:?}");
}

#[test]
fn source_date_epoch_makes_builds_equal() {
    needs!(root, "busybox");
    let room = Room::with_base();
    room.write("ctx/f", "x");
    room.write("ctx/Dockerfile", "FROM base\nCOPY f /\nWORKDIR /w\nRUN date >/dev/null && echo y >/y\nCMD [\"x\"]\n");
    let build = || digest(&room.sh("SOURCE_DATE_EPOCH=1000000000 dfile-build -q --no-cache ctx").ok());
    let first = build();
    room.sh("sleep 1.1; touch ctx/f").ok();
    assert_eq!(build(), first);
    let by_argument = |value: &str| {
        digest(&room.sh(&format!("dfile-build -q --no-cache --build-arg SOURCE_DATE_EPOCH={value} ctx")).ok())
    };
    assert_eq!(by_argument("1000000000"), first);
    assert_ne!(by_argument("1000000001"), first);
    // The cache keeps them apart, too.
    let cached = |value: u32| digest(&room.sh(&format!("SOURCE_DATE_EPOCH={value} dfile-build -q ctx")).ok());
    assert_eq!(cached(1_000_000_000), first);
    assert_ne!(cached(1_000_000_001), first);
    let ran = room.sh("SOURCE_DATE_EPOCH=7 dfile-build -q -t it --build-arg SOURCE_DATE_EPOCH= ctx && img-inspect --format '{{.Created}}' it");
    assert!(!ran.stdout.contains("1970-01-01T00:00:07Z"), "an empty one is none: {ran:?}");
    room.sh("dfile-build --build-arg SOURCE_DATE_EPOCH=soon ctx").fails(2, "invalid SOURCE_DATE_EPOCH");
    room.write("ctx/Dockerfile", "FROM base\nARG SOURCE_DATE_EPOCH\nRUN echo $SOURCE_DATE_EPOCH >/e\n");
    room.sh("SOURCE_DATE_EPOCH=5 dfile-build -q -t it ctx && rm -rf box && img-unpack --flat it box").ok();
    assert_eq!(room.sh("cat box/rootfs/e").ok(), "5", "an ARG has it");
}

/// Another directory, another day, another user, another order of making the files: the same bytes.
#[test]
fn the_same_inputs_are_the_same_image_everywhere() {
    needs!(root);
    let made = |room: &Room, dir: &str, order: &str| {
        let text = "FROM scratch\nCOPY --chown=3:4 --chmod=640 . /app/\nWORKDIR /app/w\nCOPY <<E /note\nhi\nE\nLABEL a=b\nENV c=d\nCMD [\"x\"]\n";
        room.write(&format!("{dir}/Dockerfile"), text);
        room.sh(&format!(
            "cd {dir} && for f in {order}; do mkdir -p d-$f; echo $f >d-$f/$f; ln -sf $f d-$f/link; done"
        ))
        .ok();
        let ran = room.sh(&format!(
            "umask 077; SOURCE_DATE_EPOCH=1000000000 TZ=Asia/Tokyo LC_ALL=C HOME=/x dfile-build -q --no-cache {dir}"
        ));
        digest(&ran.ok())
    };
    let (root, user) = (Room::new(), Room::of_user(4321));
    user.sh("mkdir -p elsewhere/deep").ok();
    std::os::unix::fs::chown(user.write("elsewhere/deep/Dockerfile", ""), Some(4321), Some(4321)).unwrap();
    let first = made(&root, "ctx", "a b c");
    assert_eq!(made(&root, "other", "c a b"), first);
    assert_eq!(made(&user, "elsewhere/deep", "b c a"), first);
}

#[test]
fn a_failed_run_keeps_its_state() {
    needs!(root, "busybox");
    let room = Room::with_base();
    room.write("ctx/Dockerfile", "FROM base\n\nRUN echo evidence >/left; echo said; exit 3\n");
    let ran = room.sh("dfile-build -q -t it ctx");
    assert_eq!(ran.code, 1);
    let lines: Vec<&str> = ran.stderr.lines().collect();
    assert_eq!(lines[0], "said");
    assert_eq!(lines[1], "dfile-build: Dockerfile:3: RUN echo evidence >/left; echo said; exit 3: exit code 3");
    let enter = lines[2].split("enter it with: ctr-spawn -t ").nth(1).unwrap().strip_suffix(" -- sh").unwrap();
    assert_eq!(room.sh(&format!("ctr-spawn {enter} -- sh -c 'cat /left'")).ok(), "evidence");
    assert!(!room.sh("img-ls").stdout.contains("it:"));
    room.sh("dfile-build -q -t it ctx");
    assert_eq!(room.sh("ls root/cache/failed | wc -l").ok(), "1", "the new state replaces the old one");
    // Where the shell does not find the tools, the line says where they are.
    let bin = dock_tests::bin().canonicalize().unwrap();
    let far = room.sh(&format!("PATH=/usr/bin:/bin {}/dfile-build -q ctx", bin.display()));
    assert!(far.stderr.contains(&format!("enter it with: {}/ctr-spawn -t ", bin.display())), "{far:?}");
    room.sh("img-fsck").ok();
}

#[test]
fn kill_9_in_the_middle_leaves_a_clean_store() {
    needs!(root, "busybox");
    let room = Room::with_base();
    // A word of the command that no other process of the machine has.
    let word = room.path("").file_name().unwrap().to_string_lossy().replace('.', "");
    room.write("ctx/Dockerfile", format!("FROM base\nRUN echo 1 >/1\nRUN : {word}; sleep 300\n"));
    let mut child = Command::new(dock_tests::bin().join("dfile-build"))
        .args(["-q", "-t", "it"])
        .arg(room.path("ctx"))
        .env("DOCK_ROOT", room.path("root"))
        .env("DOCK_RUN", room.path("run"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (first, others) = word.split_at(1);
    let sleeping = || room.sh(&format!("grep -l -s -a ': [{first}]{others}; sleep' /proc/[0-9]*/cmdline")).stdout;
    for _ in 0..1200 {
        if !sleeping().is_empty() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    room.sh("img-fsck").ok();
    // The RUN goes with its build: nothing runs any more in its working place below this room.
    let left = || room.sh("grep -l -s -a \"$PWD/[r]oot/cache\" /proc/[0-9]*/cmdline").stdout;
    for _ in 0..1200 {
        if left().is_empty() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert_eq!(left(), "");
    room.write("ctx/Dockerfile", "FROM base\nRUN echo 1 >/1\nRUN echo 2 >/2\n");
    let ran = room.sh("dfile-build -t it ctx");
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(ran.stderr.matches("CACHED").count(), 2, "{}", ran.stderr);
    assert_eq!(room.sh("ls root/cache/failed | wc -l").ok(), "0");
    room.sh("img-fsck").ok();
}

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
fn the_plan_says_what_is_needed() {
    let room = Room::new();
    room.write("ctx/Dockerfile", "FROM scratch AS a\nCOPY x /\nFROM scratch AS b\nCOPY y /\nFROM a\nCMD x\n");
    let plan: Value = serde_json::from_str(&room.sh("dfile-build --plan ctx").ok()).unwrap();
    let needed: Vec<_> = plan["stages"].as_array().unwrap().iter().map(|stage| stage["needed"].clone()).collect();
    assert_eq!(needed, [json!(true), json!(false), json!(true)]);
    assert!(!room.path("root").exists(), "a plan writes nothing");
}

/// Up to the first step that is not cached; facts have nothing to say; neither the store nor a clock in it is touched.
#[test]
fn the_plan_says_what_the_cache_has_and_writes_nothing() {
    needs!(root, "busybox");
    let room = Room::with_base();
    room.write("ctx/f", "1");
    let steps = "FROM base AS one\nRUN echo >/1\nFROM scratch AS no\nCOPY f /\nFROM base\nENV A=1\nCOPY --from=one /1 /\nWORKDIR /w\nCOPY f ./\nRUN cat f\n";
    let plan = |room: &Room, text: &str, options: &str| {
        room.write("ctx/Dockerfile", text);
        let before = room.sh("find root -printf '%p %s %T@ %C@\\n' | sort").stdout;
        let plan = room.sh(&format!(
            "dfile-build --plan {options} ctx | jq -r '[.stages[].steps[] | .cache // \"-\"] | join(\" \")'"
        ));
        assert_eq!(room.sh("find root -printf '%p %s %T@ %C@\\n' | sort").stdout, before, "a plan writes nothing");
        plan.ok()
    };
    assert_eq!(plan(&room, steps, ""), "unknown - - unknown unknown unknown unknown");
    room.sh("dfile-build -q -t it ctx").ok();
    assert_eq!(plan(&room, steps, ""), "cached - - cached cached cached cached");
    assert_eq!(plan(&room, steps, "--target no"), "- unknown - - - - -");
    assert_eq!(plan(&room, steps, "--no-cache"), "unknown - - unknown unknown unknown unknown");
    assert_eq!(plan(&room, steps, "--no-cache-filter one"), "unknown - - unknown unknown unknown unknown");
    assert_eq!(
        plan(&room, &steps.replace("WORKDIR /w", "WORKDIR /v"), ""),
        "cached - - cached unknown unknown unknown"
    );
    room.write("ctx/f", "2");
    assert_eq!(plan(&room, steps, ""), "cached - - cached cached unknown unknown");
    let missing = "FROM base\nRUN echo >/1\nCOPY not-there /\n";
    assert_eq!(plan(&room, missing, ""), "cached unknown", "only a build complains");
    assert_eq!(plan(&room, "FROM not-there:1\nRUN x\n", ""), "unknown");
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

#[test]
fn cve_2024_24557_a_forged_history_is_not_the_cache() {
    needs!(root, "tar");
    let room = Room::new();
    room.write("ctx/f", "honest");
    room.write("evil/f", "forged");
    room.write("ctx/Dockerfile", "FROM scratch\nCOPY f /\n");
    let forge =
        "tar -C evil -c f | img-append --base scratch --layer - --created-by 'COPY f / # buildkit' --tag forged";
    room.sh(forge).ok();
    let ran = room.sh("dfile-build -t it ctx");
    assert!(ran.stderr.contains("#2 DONE"), "{ran:?}");
    config(&room, "it");
    assert_eq!(room.sh("cat box/rootfs/f").ok(), "honest");
}

#[test]
fn two_builds_at_once() {
    needs!(root, "busybox");
    let room = Room::with_base();
    room.write("ctx/Dockerfile", "FROM base\nARG N\nRUN echo $N >/n; sleep 0.3\nRUN cat /n >/m\n");
    room.sh("for n in 1 2 3 4; do dfile-build -q --build-arg N=$n -t it$n ctx & pids=\"$pids $!\"; done
         for pid in $pids; do wait $pid || exit 1; done")
        .ok();
    for n in ["1", "2", "3", "4"] {
        config(&room, &format!("it{n}"));
        assert_eq!(room.sh("cat box/rootfs/m").ok(), n);
    }
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

/// Rule names, the line with its neighbours, exit 1; a build says the same in its last lines, and only fails when the
/// file itself asks for that.
#[test]
fn check_prints_findings_by_buildkits_names() {
    let room = Room::new();
    room.write("c/Dockerfile", "FROM scratch\nENV A b\nLABEL x=$unknown\nCMD echo hi\n");
    let ran = room.sh("dfile-build --check c");
    assert_eq!(ran.code, 1, "{ran:?}");
    for part in [
        "WARNING: LegacyKeyValueFormat\n",
        "WARNING: UndefinedVar\nUsage of undefined variable '$unknown'\nDockerfile:3\n--------------------\n   1 |     FROM scratch\n",
        "   4 | >>> CMD echo hi\n",
        "Check complete, 3 warnings have been found!\n",
    ] {
        assert!(ran.stdout.contains(part), "no {part:?} in {}", ran.stdout);
    }
    let built = room.sh("dfile-build --progress plain c 2>&1 >/dev/null");
    assert!(built.stdout.contains(" 3 warnings found"), "{built:?}");
    assert!(built.stdout.contains(" - JSONArgsRecommended: JSON arguments recommended for CMD"), "{built:?}");
    room.write("c/Dockerfile", "# check=skip=all\nFROM scratch\nCMD echo hi\n");
    assert_eq!(room.sh("dfile-build --check c").ok(), "Check complete, no warnings found.");
    room.write("c/Dockerfile", "# check=error=true\nFROM scratch\nCMD echo hi\n");
    room.sh("dfile-build -q c").fails(1, "Dockerfile: lint violation found for rules: JSONArgsRecommended");
}

/// What each step takes files from, beside the context.
#[test]
fn the_plan_names_the_sources_of_a_step() {
    let room = Room::new();
    room.write("c/Dockerfile", "FROM a AS x\nFROM scratch\nCOPY --from=x /a /\nCOPY --from=img:1 /b /\nCOPY c /\n");
    let plan = room.sh("dfile-build --plan c | jq -c '[.stages[1].steps[].from], [.stages[].needed]'").ok();
    assert_eq!(plan, "[[{\"stage\":0}],[{\"image\":\"img:1\"}],null]\n[true,true]");
}

/// What docker's users read from stdout: the ID with -q, and nothing else without.
#[test]
fn dock_build_prints_what_docker_build_does() {
    let room = Room::new();
    room.write("c/Dockerfile", "FROM scratch\nLABEL a=b\n");
    assert_eq!(room.sh("dock build -t web c").ok(), "");
    let id = room.sh("dock build -q c").ok();
    assert_eq!(id, room.sh("dock images -q --no-trunc web").ok());
    for wrong in ["--nope c", "--build-arg =x c", "-t Bad c", "", "c c"] {
        assert_eq!(room.sh(&format!("dock build {wrong}")).code, 125, "{wrong}");
    }
    room.write("c/Dockerfile", "FOO\n");
    assert_eq!(room.sh("dock build c").code, 1);
}

//! Stages: what is copied between them, and that they run side by side.

use super::{build, tree};
use dock_tests::{Room, needs};

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

/// Each of two stages waits for a file of the other, in a cache that both see: one after the other they never end.
#[test]
fn independent_stages_run_at_the_same_time() {
    needs!(root, "busybox");
    let room = Room::with_base();
    let meet = |own: &str, other: &str| {
        format!(
            "RUN --mount=type=cache,id=m,target=/m touch /m/{own}; for i in $(seq 600); do [ -e /m/{other} ] && exit 0; sleep 0.1; done; exit 9"
        )
    };
    let text = format!(
        "FROM base AS one\n{}\nRUN echo 1 >/f\nFROM base AS two\n{}\nRUN echo 2 >/f\nFROM base\nCOPY --from=one /f /1\nCOPY --from=two /f /2\n",
        meet("a", "b"),
        meet("b", "a")
    );
    let out = room.build(&text, "");
    assert!(out.contains("[one 2/3] RUN") && out.contains("[two 2/3] RUN"), "{out}");
    room.sh("img-fsck && img-unpack --flat it box").ok();
    assert_eq!(room.sh("cat box/rootfs/1 box/rootfs/2").ok(), "1\n2");
    assert_eq!(room.build(&text, "").matches("DONE").count(), 0);
    // What two stages have in common is made once.
    let twins = "FROM base AS a\nRUN --mount=type=cache,id=n,target=/n echo x >>/n/log\nFROM base AS b\nRUN --mount=type=cache,id=n,target=/n echo x >>/n/log\nFROM scratch\nCOPY --from=a /bin /a\nCOPY --from=b /bin /b\n";
    room.build(twins, "");
    assert_eq!(room.sh("cat root/cache/mounts/n/log").ok(), "x");
}

#[test]
fn a_stage_that_fails_ends_the_others() {
    needs!(root, "busybox");
    let room = Room::with_base();
    room.write(
        "ctx/Dockerfile",
        "FROM base AS slow\nRUN --mount=type=cache,id=m,target=/m touch /m/up; sleep 300\n\
         FROM base AS bad\nRUN --mount=type=cache,id=m,target=/m while ! [ -e /m/up ]; do sleep 0.1; done; echo why; exit 7\n\
         FROM scratch\nCOPY --from=slow /bin /a\nCOPY --from=bad /bin /b\n",
    );
    let ran = room.sh("timeout 120 dfile-build -q -t never ctx");
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.starts_with("why\ndfile-build: Dockerfile:4: RUN"), "{ran:?}");
    assert!(ran.stderr.contains("exit code 7"), "{ran:?}");
    assert_eq!(ran.stderr.lines().count(), 3, "only the first failure is told: {ran:?}");
    assert_eq!(room.sh("ls root/cache/failed | wc -l").ok(), "1");
    room.sh("img-fsck").ok();
}

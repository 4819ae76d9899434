//! The same inputs are the same image.

use super::digest;
use dock_tests::{Room, needs};

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

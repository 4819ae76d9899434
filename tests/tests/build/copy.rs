//! COPY and ADD, flag by flag: what the reference says, and that nothing leaves the context or the image.

use super::{build, files, tree};
use dock_tests::{Room, needs};

fn layers(room: &Room, image: &str) -> Vec<String> {
    let layout = "root/images/blobs/sha256";
    let manifest = format!("img-ls {image} | jq -r .descriptor.digest | cut -d: -f2");
    room.sh(&format!("jq -r '.layers[].digest' {layout}/$({manifest})")).ok().lines().map(Into::into).collect()
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

/// Reference, "COPY --exclude": Go's wildcards as in `.dockerignore`, below each source or on a file's own name.
#[test]
fn exclude_leaves_out() {
    needs!(root);
    let room = Room::new();
    for name in ["hom.txt", "home.md", "homely", "d/a.txt", "d/b.md", "d/sub/c.txt", "d/sub/keep.txt", "d/node/x"] {
        room.write(&format!("ctx/{name}"), name);
    }
    for (line, want) in [
        ("COPY --exclude=*.txt hom* /m/", "m/home.md m/homely"),
        ("COPY --exclude=*.txt --exclude=*.md hom* /m/", "m/homely"),
        ("COPY --exclude=*.txt d /", "b.md node/x sub/c.txt sub/keep.txt"),
        ("COPY --exclude=**/*.txt --exclude=!sub/keep.txt d /", "b.md node/x sub/keep.txt"),
        ("COPY --exclude=node --exclude=sub d /", "a.txt b.md"),
        ("ADD --exclude=sub/* d /x/", "x/a.txt x/b.md x/node/x"),
    ] {
        build(&room, &format!("FROM scratch\n{line}\n"), "");
        assert_eq!(files(&room, "box/rootfs"), want, "{line}");
    }
    assert_eq!(room.sh("ls -d box/rootfs/x/sub").ok(), "box/rootfs/x/sub", "only what is in it is excluded");
    room.write("ctx/Dockerfile", "FROM scratch\nCOPY --exclude=[ d /\n");
    room.sh("dfile-build -q ctx").fails(1, "Dockerfile:2: --exclude=[: bad pattern");
}

/// Reference, "COPY --parents": the examples there, and BuildKit's own cases of pivots and wildcards.
#[test]
fn parents_come_along() {
    needs!(root);
    let room = Room::new();
    for name in ["b/c/d/foo", "b/c/d/e/bay", "b2/c/d/e/bar", "b/c2/d/e/baz", "b/c2/d/e2/baz"] {
        room.write(&format!("ctx/test/a/{name}"), name);
    }
    room.sh("chmod 700 ctx/test ctx/test/a/b2; mkdir ctx/empty; ln -s b ctx/test/a/blink").ok();
    for (line, want) in [
        ("COPY --parents test/a/b/./c/d /out/", "out/c/d/e/bay out/c/d/foo"),
        ("COPY --parents /test/a/b/c/d/. /", "test/a/b/c/d/e/bay test/a/b/c/d/foo"),
        ("COPY --parents ./test/a/b/c/d/foo /out/", "out/test/a/b/c/d/foo"),
        ("COPY --parents /test/a/./b/./c /out/", "out/b/c/d/e/bay out/b/c/d/foo"),
        ("COPY --parents /test/a/./*/c /out/", "out/b/c/d/e/bay out/b/c/d/foo out/b2/c/d/e/bar"),
        ("COPY --parents test/a/b*/./c/**/e /out/", "out/c/d/e/bar out/c/d/e/bay"),
        ("COPY --parents test/a/b/c*/./d/**/baz test/a/b*/./c/**/bar /out/", "out/c/d/e/bar out/d/e/baz out/d/e2/baz"),
        ("COPY --parents --exclude=**/e2 test/a/b/c2 /", "test/a/b/c2/d/e/baz"),
        ("COPY --parents **/bay /", "test/a/b/c/d/e/bay"),
        ("COPY --parents --link empty /", ""),
    ] {
        build(&room, &format!("FROM scratch\n{line}\n"), "");
        assert_eq!(files(&room, "box/rootfs"), want, "{line}");
    }
    assert_eq!(tree(&room), "drwxr-xr-x 0 0 empty");
    build(&room, "FROM scratch\nCOPY --parents --chown=7:8 test/a/b2/c/d/e/bar /\n", "");
    let found = tree(&room);
    assert!(found.starts_with("drwx------ 7 8 test\n"), "directories keep their mode: {found}");
    assert!(found.contains("drwx------ 7 8 test/a/b2\n") && !found.contains("test/a/b\n"), "{found}");
    assert_eq!(room.sh("img-inspect --history it").ok().matches("COPY --parents --chown=7:8 test").count(), 1);
    room.write("ctx/Dockerfile", "FROM scratch\nCOPY --parents test/nothing/here /\n");
    room.sh("dfile-build -q ctx").fails(1, "Dockerfile:2: COPY: test/nothing/here: not found");
}

/// Reference, "COPY --link": the same layer on every base, made once; links of the image are not followed.
#[test]
fn a_linked_layer_does_not_know_its_base() {
    needs!(root, "jq");
    let room = Room::new();
    room.write("ctx/f", "content");
    room.write("ctx/t/real/x", "x");
    room.sh("cd ctx/t && ln -s real link").ok();
    room.write("one", "FROM scratch\nCOPY t /\nCOPY --link --chown=3:4 f /link/f\n");
    room.write("two", "FROM scratch\nCOPY f /other\nCOPY --link --chown=3:4 f /link/f\nCOPY f /after/\n");
    room.sh("dfile-build -q -f one -t one ctx && dfile-build -q -f two -t two ctx && img-fsck").ok();
    let (one, two) = (layers(&room, "one"), layers(&room, "two"));
    assert_eq!((one.len(), two.len()), (2, 3));
    assert_eq!(one[1], two[1]);
    room.sh("img-unpack --flat one box").ok();
    assert_eq!(tree(&room).lines().next().unwrap(), "drwxr-xr-x 3 4 link", "a directory now, no link any more");
}

/// Reference, "COPY --chmod": symbolic modes as chmod(1) has them, files and directories apart.
#[test]
fn symbolic_modes() {
    needs!(root);
    let room = Room::new();
    room.sh("mkdir -p ctx/d/sub && echo x >ctx/d/sub/run && echo y >ctx/d/text && chmod 700 ctx/d/sub/run && chmod 664 ctx/d/text && chmod 2770 ctx/d/sub").ok();
    build(
        &room,
        "FROM scratch\nCOPY --chmod=u=rwX,go=rX d /a/\nCOPY --chmod=+x d/text /b\nCOPY --chmod=u+s,o-r <<E /c\nx\nE\nARG M=go-w\nCOPY --chmod=$M d/text /d\n",
        "",
    );
    assert_eq!(
        tree(&room),
        "drwxr-xr-x 0 0 a\ndrwxr-sr-x 0 0 a/sub\n-rwxr-xr-x 0 0 a/sub/run\n-rw-r--r-- 0 0 a/text\n-rwxrwxr-x 0 0 b\n-rwSr----- 0 0 c\n-rw-r--r-- 0 0 d"
    );
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

/// Of an archive the bytes decide, not the name; `--unpack` turns it on for COPY's sister or off.
#[test]
fn archives_in_every_compression() {
    needs!(root, "tar", "gzip", "bzip2", "xz", "zstd");
    let room = Room::new();
    room.sh(
        "mkdir ctx t && echo 1 >t/f && tar -C t -cf a.tar . && cp a.tar ctx/0 && gzip -c a.tar >ctx/1 && bzip2 -c a.tar >ctx/2 \
         && xz -c a.tar >ctx/3 && zstd -q -c a.tar >ctx/4 && echo no tar | xz -c >ctx/5 && head -c 100 ctx/2 >ctx/6",
    )
    .ok();
    let lines: String = (0..7).map(|n| format!("ADD {n} /{n}\n")).collect();
    build(&room, &format!("FROM scratch\n{lines}ADD --unpack=false 1 /7\nADD --unpack=true 1 /8\nCOPY 1 /9\n"), "");
    assert_eq!(files(&room, "box/rootfs"), "0/f 1/f 2/f 3/f 4/f 5 6 7 8/f 9");
}

/// As BuildKit has it since 0.23: what comes out of an archive belongs to whom --chown says and keeps its own modes.
#[test]
fn owners_and_modes_of_an_archive_that_add_unpacks() {
    needs!(root, "tar");
    let room = Room::new();
    room.sh("mkdir -p ctx/d && echo x >ctx/d/f && chmod 750 ctx/d && chmod 4710 ctx/d/f && ln -s f ctx/d/l && tar --owner=5 --group=6 -C ctx -cf ctx/t.tar d").ok();
    let seen = |flags: &str| {
        build(&room, &format!("FROM scratch\nADD {flags} t.tar /x/\n"), "");
        room.sh("rm -rf box && img-unpack --flat it box >/dev/null && cd box/rootfs/x && stat -c '%n %a %u:%g' d d/f && stat -c '%u:%g' d/l | paste -sd ' '").ok()
    };
    assert_eq!(seen(""), "d 750 5:6\nd/f 4710 5:6\n5:6");
    assert_eq!(seen("--chown=7:8"), "d 750 7:8\nd/f 4710 7:8\n7:8");
    assert_eq!(seen("--chown=7 --chmod=644"), "d 750 7:7\nd/f 4710 7:7\n7:7");
}

/// COPY looks into layers that are unpacked, and reads the headers of those that are not: both say the same, and what is
/// unpacked is not read a second time.
#[test]
fn what_lies_below_is_the_same_from_directories_and_from_headers() {
    needs!(root, "busybox", "strace");
    let room = Room::new();
    room.sh("mkdir -p ctx/d/in && cp $(command -v busybox) ctx/busybox && echo x >ctx/d/f && echo y >ctx/d/in/g").ok();
    room.sh("cd ctx && mkdir -p t/new t/was && echo z | tee t/new/f t/was/f >/dev/null && tar -cf t.tar -C t .").ok();
    let base = "FROM scratch AS base\nCOPY busybox /bin/\nRUN [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]\nENV PATH=/bin\n\
        RUN mkdir -p /etc /a/b /gone/x /opaque/old /was && echo app:x:7:8::/:/bin/sh >/etc/passwd && ln -s a/b /link && touch /was/f\n\
        RUN rm -r /gone /opaque && mkdir -p /opaque/new && ln -s ../a /opaque/link && rm -r /was && ln -s a /was\n\
        RUN echo app:x:17:18::/:/bin/sh >/etc/passwd; mkdir /gone\n";
    // Each COPY starts from what lies below; the last RUN has all of it unpacked.
    let copies: String = ["/", "/link/", "/gone/x/", "/opaque/", "/opaque/old/", "/opaque/link/c/", "/was/"]
        .map(|to| format!("FROM base\nCOPY --chown=app d {to}\nCOPY d {to}\nWORKDIR {to}wd\nADD t.tar {to}\n"))
        .join("");
    room.write("ctx/Dockerfile", format!("{base}{copies}"));
    let build = |stage: usize| {
        room.sh(&format!("SOURCE_DATE_EPOCH=1 dfile-build -q --no-cache-filter {stage} --target {stage} ctx | jq -r .descriptor.digest"))
            .ok()
    };
    build(0);
    // Without the last layer, without any, and with all of them.
    let some: Vec<String> = (1..8).map(build).collect();
    let headers: Vec<String> = (1..8)
        .map(|stage| {
            room.sh("rm -rf root/layers").ok();
            build(stage)
        })
        .collect();
    assert!(headers.iter().all(|digest| digest.starts_with("sha256:")), "{headers:?}");
    assert_eq!(some, headers);
    room.sh("SOURCE_DATE_EPOCH=1 dfile-build -q --target base -t base ctx && dock run --rm base true").ok();
    let directories: Vec<String> = (1..8).map(build).collect();
    assert_eq!(directories, headers);
    room.sh(
        "SOURCE_DATE_EPOCH=1 strace -o trace -e trace=openat,openat2 dfile-build -q --no-cache-filter 1 --target 1 ctx",
    )
    .ok();
    let layers = room.sh("img-inspect --raw manifest base | jq -r '.layers[].digest' | cut -d: -f2").ok();
    let trace = std::fs::read_to_string(room.path("trace")).unwrap();
    assert_eq!(layers.lines().filter(|hex| trace.contains(*hex)).count(), 0, "{layers}");
}

/// What a large tree takes is less than 300 bytes a file, its name included; beside buffers, which it fills early.
#[test]
fn memory_of_a_large_copy() {
    if !dock_tests::has("/usr/bin/time") {
        return dock_tests::skip("needs /usr/bin/time");
    }
    let room = Room::new();
    let peak = |files: u32| -> u64 {
        for number in 0..files {
            room.write(&format!("ctx/dir-{}/some-file-{number}.txt", number / 500), "x");
        }
        room.write("file", "FROM scratch\nCOPY . /src/\n");
        room.sh("/usr/bin/time -f %M -o peak dfile-build -q -f file ctx && tail -n 1 peak >kib").ok();
        room.sh("cat kib").ok().parse().unwrap()
    };
    let (few, many) = (5_000, 20_000);
    let (small, large) = (peak(few), peak(many));
    assert!((large - small) * 1024 < u64::from(many - few) * 300, "{large} KiB beside {small}");
}

//! `dock cp`: docker's rules for what goes where, running and stopped, and nothing leads out of the container.

use dock_tests::image::{dock, image};
use dock_tests::swap::Swap;
use dock_tests::{Room, needs, top};
use std::os::unix::fs::symlink;

/// A room with a container `box` that has run (`ran`) or runs (`runs`), both with a volume on /vol, and a directory
/// `src` on the host.
fn room() -> Room {
    let room = Room::new();
    let tree = "mkdir -p t/in/sub; echo inside >t/in/file; chown 7:8 t/in/file; chmod 640 t/in/file
        ln -s /in/file t/in/link; ln -s /in t/dirlink";
    image(&room, tree, "-t img -c 'CMD [\"/bin/sh\"]'");
    room.sh("mkdir -p src/sub && echo outside >src/file && chown 1234:1235 src/file && chmod 600 src/file").ok();
    // Behind a function in the background a shell would keep this test's pipes open.
    let later = format!("later='sh {}'\n", top().join("tools/dock/dock").display());
    dock(
        &room,
        &(later + r#"dock create --name ran -v vol1:/vol img >/dev/null
        mkdir flag; $later run --name runs -v vol2:/vol -v "$PWD/flag:/flag" img sh -c 'touch /flag/up; for i in $(seq 3000); do [ -e /flag/stop ] || sleep 0.1; done' >/dev/null 2>&1 &
        while [ ! -e flag/up ]; do sleep 0.02; done"#),
    )
    .ok();
    room
}

/// Lets the container `runs` end, also when a test fails.
struct Runs<'a>(&'a Room);

impl Drop for Runs<'_> {
    fn drop(&mut self) {
        self.0.sh(
            "touch flag/stop; for i in $(seq 1000); do ls root/containers/*/exit.json >/dev/null 2>&1 && break; sleep 0.05; done",
        );
    }
}

#[test]
fn files_go_where_docker_puts_them() {
    needs!(root, "busybox");
    let room = room();
    let _end = Runs(&room);
    for name in ["ran", "runs"] {
        // Out: the caller owns it, unless -a; names and directories by docker's rules.
        dock(
            &room,
            &format!("rm -rf out && mkdir out && dock cp {name}:/in/file out && dock cp -a {name}:/in/file out/kept"),
        )
        .ok();
        assert_eq!(room.sh("cat out/file; stat -c '%u:%g %a' out/file out/kept").ok(), "inside\n0:0 640\n7:8 640");
        dock(&room, &format!("cd out; dock cp {name}:/in . && dock cp {name}:/in new && dock cp {name}:/in/. . && dock cp {name}:in/sub/ here")).ok();
        assert_eq!(
            room.sh("cd out; find . | sort | tr '\\n' ' '").ok(),
            ". ./file ./here ./in ./in/file ./in/link ./in/sub ./kept ./link ./new ./new/file ./new/link ./new/sub ./sub "
        );
        assert_eq!(room.sh("readlink out/in/link").ok(), "/in/file", "a link stays one");
        dock(&room, &format!("dock cp -L {name}:/in/link out/followed && dock cp {name}:/dirlink/ out/dir && dock cp {name}:/dirlink out/link2")).ok();
        assert_eq!(room.sh("cat out/followed out/dir/file; readlink out/link2").ok(), "inside\ninside\n/in");
        // In: with its owner, below links of the container, into volumes.
        dock(&room, &format!("dock cp src {name}:/one && dock cp src/. {name}:/two && dock cp src/file {name}:/dirlink/ && dock cp src/file {name}:/in/link && dock cp src {name}:/vol")).ok();
        let listed = dock(&room, &format!("for p in /one/file /two/file /in/file /vol/src/file; do dock cp -a {name}:$p x && stat -c '%u:%g %a' x && cat x; done")).ok();
        assert_eq!(listed, ["1234:1235 600\noutside"; 4].join("\n"), "{name}");
        // Tars on both sides; a directory's content replaces, and adds to, what is there.
        dock(
            &room,
            &format!(
                "tar -C src -c . | gzip | dock cp - {name}:/one/sub && dock cp {name}:/one - | tar -t | sort >list"
            ),
        )
        .ok();
        assert_eq!(room.sh("tr '\\n' ' ' <list").ok(), "one/ one/file one/sub/ one/sub/file one/sub/sub/ ");
    }
    assert_eq!(
        room.sh("cat root/volumes/vol1/_data/src/file root/volumes/vol2/_data/src/file").ok(),
        "outside\noutside"
    );
    assert_eq!(room.mounts(), [""; 0], "what is mounted to copy is mounted for the copier alone");
}

/// A copy is no layer: what would remove files there is a name here, in both directions and as a tar.
#[test]
fn names_of_whiteouts_are_names() {
    needs!(root, "busybox");
    let room = room();
    let _end = Runs(&room);
    room.sh("mkdir -p w/dir w/.wh.dir && echo 1 >w/.wh.file && echo 2 >w/file && echo 3 >w/.wh..wh..opq && echo 4 >w/.wh.dir/.wh.x && touch w/.wh.")
        .ok();
    for name in ["ran", "runs"] {
        dock(
            &room,
            &format!(
                "rm -rf out; mkdir out; dock cp w {name}:/one && dock cp w/. {name}:/one && tar -C w -c . | dock cp - {name}:/one/dir &&
                dock cp w/.wh.file {name}:/one/ && dock cp {name}:/one out/all && dock cp {name}:/one/.wh.dir out/below &&
                dock cp {name}:/one - | tar -C out -x && dock cp {name}:/one/.wh.file out/.wh.below"
            ),
        )
        .ok();
        room.sh("cp -a w want; cp -a w/. want/dir; diff -r want out/all && diff -r want out/one && diff -r w/.wh.dir out/below && rm -r want")
            .ok();
        assert_eq!(
            room.sh("cat out/.wh.below; ls -d out/below").ok(),
            "1\nout/below",
            "nothing was taken for a whiteout"
        );
    }
    dock(&room, "dock export ran >ran.tar && tar -xf ran.tar one && diff -r w/.wh.dir one/.wh.dir").ok();
    let ran = dock(&room, "dock commit ran new");
    assert!(
        ran.code == 1 && ran.stderr.contains("a name that begins with .wh. means a whiteout in a layer"),
        "{ran:#?}"
    );
    // The same where a volume is filled.
    dock(&room, "dock create --name fills -v filled:/in img >/dev/null").ok();
    assert_eq!(room.sh("ls -A root/volumes/filled/_data").ok(), "file\nlink\nsub");
}

#[test]
fn what_docker_refuses_is_refused_in_its_words() {
    needs!(root, "busybox");
    let room = room();
    let _end = Runs(&room);
    room.sh("mkdir -p clash/in/file; touch plainfile; mkdir -p clash2; touch clash2/in").ok();
    for name in ["ran", "runs"] {
        for (line, words) in [
            ("src/file NAME:/none/", "no such directory"),
            ("src/file NAME:/none/f", "Error response from daemon: Could not find the file /none in container NAME"),
            ("src NAME:/in/file", "cannot copy directory"),
            ("NAME:/in plainfile", "cannot copy directory"),
            ("NAME:/in out/none/x", "invalid output path: directory \"PWD/out/none\" does not exist"),
            ("NAME:/nope .", "Error response from daemon: Could not find the file /nope in container NAME"),
            ("NAME:/in/file/ .", "Error response from daemon: Could not find the file /in/file/ in container NAME"),
            ("nope NAME:/", "lstat nope: no such file or directory"),
            ("NAME:/in NAME:/x", "copying between containers is not supported"),
            ("aa bb", "must specify at least one container source"),
            ("nobody:/x .", "Error response from daemon: No such container: nobody"),
            ("NAME:/in clash", "cannot overwrite directory \"in/file\" with non-directory"),
            ("NAME:/in clash2", "cannot overwrite non-directory \"in\" with directory"),
            ("- NAME:/in/file", "destination \"NAME:/in/file\" must be a directory"),
        ] {
            let line = line.replace("NAME", name);
            let words =
                words.replace("NAME", name).replace("PWD", room.path("").to_str().unwrap().trim_end_matches('/'));
            let ran = dock(&room, &format!("dock cp {line} </dev/null"));
            assert_eq!((ran.code, ran.stderr.trim_end()), (1, words.as_str()), "{line}");
        }
    }
    let ran = dock(
        &room,
        "dock create --name ro --read-only -v vol3:/vol img >/dev/null; dock cp src ro:/vol && dock cp src ro:/in",
    );
    assert_eq!(
        (ran.code, ran.stderr.as_str()),
        (1, "Error response from daemon: container rootfs is marked read-only\n")
    );
    assert_eq!(room.sh("cat root/volumes/vol3/_data/src/file").ok(), "outside");
}

/// CVE-2018-15664, CVE-2019-14271: the container's links and files are data, also while they change.
#[test]
fn cve_2018_15664_no_link_leads_out_of_the_container() {
    needs!(root, "busybox");
    let room = room();
    let _end = Runs(&room);
    room.write("secret/key", "of the host\n");
    room.write("payload/key", "of the guest");
    let upper = room.sh("ls -d root/containers/*/upper").ok();
    for upper in upper.lines() {
        symlink(room.path("secret"), room.path(upper).join("abs")).unwrap();
        symlink(format!("../../../../../../../../..{}", room.path("secret").display()), room.path(upper).join("rel"))
            .unwrap();
    }
    for name in ["ran", "runs"] {
        for link in ["abs", "rel"] {
            let out = dock(
                &room,
                &format!(
                    "rm -rf got; dock cp {name}:/{link}/key got; dock cp -L {name}:/{link} got; cat got 2>/dev/null"
                ),
            );
            assert!(!out.stdout.contains("of the host"), "{out:#?}");
            dock(
                &room,
                &format!(
                    "dock cp payload/key {name}:/{link}/; dock cp payload/. {name}:/{link}; dock cp payload/key {name}:/{link}/key"
                ),
            );
            assert_eq!(room.sh("cat secret/key; ls secret").ok(), "of the host\nkey", "{name} {link}");
        }
    }
    // A directory and a link to the host change places all the time; not one copy may end outside.
    room.write("swap/d/key", "of the guest");
    symlink(room.path("secret"), room.path("swap/l")).unwrap();
    dock(&room, "dock create --name racer -v \"$PWD/swap:/swap\" img").ok();
    let swap = Swap::start(room.path("swap/d"), room.path("swap/l"));
    let ran = dock(
        &room,
        "for i in $(seq 40); do dock cp payload/key racer:/swap/d/; dock cp racer:/swap/d/key got; cat got; done 2>/dev/null",
    );
    drop(swap);
    assert_eq!(room.sh("cat secret/key; ls secret").ok(), "of the host\nkey");
    assert!(ran.stdout.contains("of the guest") && !ran.stdout.contains("of the host"), "{ran:#?}");
}

#[test]
fn a_hostile_tar_stays_in_its_directory() {
    needs!(root, "busybox", "python3");
    let room = room();
    let _end = Runs(&room);
    // A name that nobody else has: where it must not come to be, others write, too.
    let name = format!("escape-{}", room.path("").file_name().unwrap().display());
    let script = "import tarfile, io\n\
        def tar(name, members):\n\
        \x20   with tarfile.open(name, 'w') as t:\n\
        \x20       for n, kind, link in members:\n\
        \x20           i = tarfile.TarInfo(n); i.type = kind; i.linkname = link\n\
        \x20           t.addfile(i, io.BytesIO(b''))\n\
        tar('dots.tar', [('../../escape', tarfile.REGTYPE, '')])\n\
        tar('abs.tar', [('/escape', tarfile.REGTYPE, '')])\n\
        tar('link.tar', [('l', tarfile.SYMTYPE, '/'), ('l/escape', tarfile.REGTYPE, '')])\n\
        tar('hard.tar', [('h', tarfile.LNKTYPE, '../../../etc/passwd')])\n";
    room.write("make.py", script.replace("escape", &name));
    room.sh("python3 make.py").ok();
    for name in ["ran", "runs"] {
        for tar in ["dots", "abs", "link", "hard"] {
            dock(&room, &format!("dock cp - {name}:/in/sub <{tar}.tar"));
        }
    }
    assert_eq!(room.sh(&format!("ls -d /{name} {name} ../{name} 2>/dev/null | wc -l")).ok(), "0");
    let ran = dock(&room, "dock cp - ran:/in/sub <src/file");
    assert_ne!(ran.code, 0, "no tar: {ran:#?}");
}

//! Bad input, each kind with its one line, its exit code and an untouched store. What belongs to one tool alone
//! stands in that tool's own tests; here is what every user meets.

use dock_tests::{Room, needs, registry::Registry};
use std::time::Instant;

/// A room with one image, `good`, and what its store holds.
fn room_with_image() -> (Room, String) {
    let room = Room::new();
    room.sh("mkdir -p t/bin && cp $(command -v busybox) t/bin/sh && tar -C t -cf t.tar . && rm -r t").ok();
    room.sh("img-append --base scratch --layer t.tar --change 'CMD [\"/bin/sh\"]' --tag good >good.json").ok();
    let store = contents(&room);
    (room, store)
}

/// Every file of the store with its size and digest.
fn contents(room: &Room) -> String {
    room.sh("cd root && find . -type f ! -name '*.lock' -exec sha256sum {} + | sort -k 2").ok()
}

/// Asserts that a script fails in one line with the code, and that the store is as it was.
#[track_caller]
fn refuses(room: &Room, store: &str, script: &str, code: i32, part: &str) {
    room.sh(script).fails(code, part);
    assert_eq!(contents(room), store, "{script} changed the store");
    room.sh("img-fsck").ok();
}

#[test]
fn operands_that_name_nothing() {
    needs!("busybox");
    let (room, store) = room_with_image();
    for script in ["img-unpack --flat nope box", "img-save nope", "img-inspect nope", "img-tag nope a", "img-rm nope"] {
        refuses(&room, &store, script, 1, "nope");
    }
    refuses(&room, &store, "img-tag good 'Not A Name'", 2, "not an image reference");
    refuses(
        &room,
        &store,
        "img-ls --nope",
        2,
        "img-ls: unexpected argument '--nope' found; to pass '--nope' as a value",
    );
    refuses(&room, &store, "ctr-spawn /no/such/bundle", 125, "/no/such/bundle");
    refuses(&room, &store, "dfile-build /no/such/context", 1, "/no/such/context");
}

#[test]
fn an_empty_stdin_is_a_failure_of_the_tool_before() {
    needs!("busybox");
    let (room, store) = room_with_image();
    for (script, code, kind) in [
        ("img-unpack --flat box </dev/null", 1, "image"),
        ("ctr-spec </dev/null", 1, "bundle"),
        ("ctr-spawn </dev/null", 125, "bundle"),
        ("layer-diff </dev/null", 1, "bundle"),
        ("img-save </dev/null", 1, "image"),
    ] {
        refuses(&room, &store, script, code, &format!("no {kind} record on <stdin>"));
    }
    refuses(
        &room,
        &store,
        "echo '{\"formatVersion\":\"2.0\",\"kind\":\"image\"}' | img-unpack --flat box",
        1,
        "format version 2.0",
    );
    refuses(&room, &store, "echo junk | img-unpack --flat box", 1, "not a record");
}

#[test]
fn archives_that_end_early_or_lie() {
    needs!("busybox", "python3");
    let (room, store) = room_with_image();
    room.sh("img-save --format oci -o good.tar good && size=$(stat -c %s good.tar) && head -c $((size / 2)) good.tar >cut.tar").ok();
    // One byte of the layer is another: a blob that does not hash.
    room.write(
        "flip.py",
        "data = bytearray(open('good.tar', 'rb').read())\ndata[len(data) // 2] ^= 1\nopen('flipped.tar', 'wb').write(data)\n",
    );
    room.sh("python3 flip.py").ok();
    room.sh("rm -rf root && mkdir -m 700 root && img-append --base scratch --layer t.tar --tag other").ok();
    let other = contents(&room);
    assert_ne!(other, store);
    refuses(&room, &other, "img-load -i cut.tar", 1, "cut.tar");
    refuses(&room, &other, "img-load -i flipped.tar", 1, "flipped.tar");
    refuses(&room, &other, "echo no tar at all | img-load", 1, "<stdin>");
    refuses(&room, &other, "img-load -i missing.tar", 1, "missing.tar");
    refuses(&room, &other, "img-append --base scratch --layer cut.tar --tag cut", 1, "cut.tar");
}

#[test]
fn layers_that_reach_outside() {
    needs!(root, "busybox", "python3");
    let (room, _) = room_with_image();
    room.write("victim/file", "untouched");
    room.write(
        "hostile.py",
        "import io, sys, tarfile\n\
         victim = sys.argv[1]\n\
         def layer(name, entries):\n\
         \x20   with tarfile.open(name, 'w') as out:\n\
         \x20       for path, kind, target in entries:\n\
         \x20           info = tarfile.TarInfo(path)\n\
         \x20           info.type = kind\n\
         \x20           info.linkname = target if kind != tarfile.REGTYPE else ''\n\
         \x20           info.size = 5 if kind == tarfile.REGTYPE else 0\n\
         \x20           info.mode = 0o755\n\
         \x20           out.addfile(info, io.BytesIO(b'owned'))\n\
         F, L, H, D = tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE\n\
         layer('dots.tar', [('../victim/file', F, '')])\n\
         layer('link.tar', [('d', L, victim), ('d/file', F, '')])\n\
         layer('hard.tar', [('h', H, victim + '/file'), ('h', F, '')])\n\
         layer('root.tar', [('.', L, victim), ('file', F, '')])\n\
         layer('white.tar', [('d', L, victim), ('d/.wh.file', F, '')])\n\
         layer('mode.tar', [('d', L, victim), ('d', D, '')])\n",
    );
    room.sh("python3 hostile.py \"$PWD/victim\"").ok();
    for name in ["dots", "link", "hard", "root", "white", "mode"] {
        room.sh(&format!("img-append --base good --layer {name}.tar --tag {name}")); // may refuse already
        for mode in ["--flat", "--overlay"] {
            let ran = room.sh(&format!("img-unpack {mode} {name} box{mode}-{name}"));
            assert!(ran.code <= 1, "{name}: {ran:?}");
            let victim = room.sh("ls -A victim; stat -c %a,%h victim/file victim; cat victim/file").ok();
            assert_eq!(victim, "file\n644,1\n755,2\nuntouched", "{name} {mode}");
        }
    }
}

#[test]
fn a_dockerfile_error_names_file_and_line() {
    needs!("busybox");
    let (room, store) = room_with_image();
    room.write("ctx/Dockerfile", "FROM good\n\nRUNN echo\n");
    refuses(&room, &store, "dfile-build ctx", 1, "Dockerfile:3: ");
    room.write("ctx/Dockerfile", "FROM good\nCOPY missing /\n");
    refuses(&room, &store, "dfile-build -q -t half ctx", 1, "Dockerfile:2: ");
    assert!(!room.sh("img-ls").ok().contains("half"), "nothing half-built gets a name");
}

#[test]
fn a_note_that_nobody_can_read_ends_nothing() {
    let room = Room::new();
    let damaged = "d".repeat(64);
    room.sh(&format!("mkdir -p root/containers/{damaged} && echo '{{' >root/containers/{damaged}/container.json")).ok();
    for (script, noted) in [("ctr-rm --force nosuch", "nosuch"), ("ctr-ls --all --root root", &damaged)] {
        assert!(room.sh(script).stderr.contains(noted), "{script}");
        for lost in ["2>/dev/full", "2>&-", "2>&1 >/dev/null | true"] {
            let ran = room.sh(&format!("({script}; echo code $? >&3) 3>code {lost}; cat code"));
            assert_eq!(ran.stdout.lines().last(), Some("code 0"), "{script} {lost}: {ran:?}");
        }
    }
}

#[test]
fn lost_output_is_an_error_and_a_closed_pipe_ends_lists_quietly() {
    needs!("busybox");
    let (room, _) = room_with_image();
    for script in ["img-ls", "img-inspect good", "img-save good", "img-inspect --history good"] {
        let ran = room.sh(&format!("{script} >/dev/full"));
        assert_eq!(ran.code, 1, "{ran:?}");
        assert!(ran.stderr.contains("No space left"), "{ran:?}");
    }
    let pipe = |tool: &str| room.sh(&format!("{{ sleep 0.2; {tool}; echo code $? >&2; }} | true"));
    assert_eq!(pipe("img-ls").stderr.trim(), "code 0");
    let save = pipe("img-save good");
    assert!(save.stderr.contains("code 1") && save.stderr.contains("Broken pipe"), "{save:?}");
}

/// Killed at several moments: the store is valid, and the next run succeeds.
#[test]
fn kill_9_at_any_moment_leaves_a_valid_store() {
    needs!(root, "docker-registry", "skopeo", "umoci");
    let (room, registry) = (Room::new(), Registry::start());
    let host = registry.host();
    room.push_busybox(&host, "busybox");
    room.sh(&format!(
        "head -c 60000000 /dev/urandom >big && tar -cf big.tar big && img-pull {host}/busybox >/dev/null"
    ))
    .ok();
    room.sh(&format!("img-append --base {host}/busybox --layer big.tar --tag big && img-save -o big-image.tar big"))
        .ok();
    room.sh(&format!(
        "skopeo copy --dest-tls-verify=false oci:root/images:docker.io/library/big:latest docker://{host}/big"
    ))
    .ok();
    room.write("ctx/Dockerfile", format!("FROM {host}/busybox\nCOPY big /\nRUN echo hi >/hi && sleep 1\n"));
    room.sh("mv big ctx/big && rm -rf root").ok();
    for (what, script) in [
        ("pull", format!("img-pull {host}/big")),
        ("load", "img-load -i big-image.tar".to_owned()),
        ("build", format!("img-pull {host}/busybox >/dev/null && dfile-build -t built ctx")),
    ] {
        let mut interrupted = 0;
        room.sh("rm -rf root").ok();
        let start = Instant::now();
        room.sh(&script).ok();
        let whole = start.elapsed();
        for percent in [5, 20, 40, 60, 80] {
            room.sh("rm -rf root pid").ok();
            let wait = whole * percent / 100;
            let kill = format!(
                "setsid sh -c 'echo $$ >pid; exec sh -c \"$0\"' '{script}' >out 2>&1 & until [ -s pid ]; do sleep 0.005; done; sleep {:.3}; kill -s KILL -- -$(cat pid) && echo killed; wait",
                wait.as_secs_f64()
            );
            interrupted += usize::from(room.sh(&kill).stdout.contains("killed"));
            let check = room.sh("[ ! -d root/images ] || img-fsck");
            assert_eq!(check.code, 0, "{what} killed after {wait:?}: {check:?}");
            room.sh(&script).ok();
            room.sh("img-fsck").ok();
        }
        assert!(interrupted >= 2, "{what}: only {interrupted} runs were interrupted; make the work larger");
    }
}

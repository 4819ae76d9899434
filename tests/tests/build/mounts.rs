//! `RUN --mount`: what a command sees beside the image, and that nothing of it stays.

use super::{fails, last_layer};
use dock_tests::{Room, needs};
use std::process::{Command, Stdio};

#[test]
fn a_bind_mount_shows_the_context_and_takes_nothing_back() {
    needs!(root, "busybox");
    let room = Room::with_base();
    room.write("ctx/src/a", "one");
    room.write("ctx/src/ignored", "secret");
    room.write("ctx/.dockerignore", "src/ignored\n");
    room.sh("chown 5:6 ctx/src/a && chmod 640 ctx/src/a").ok();
    let out = room.build(
        "FROM base\nWORKDIR /w\n\
         RUN --mount=source=src,target=/new/deep/dir --mount=type=bind,source=src/a,dst=rel stat -c 'at %U %a %n' /new/deep/dir/* /w/rel; touch /new/deep/dir/x || echo read-only\n\
         RUN --mount=source=src,target=/m,rw echo changed >/m/a && touch /m/new && cat /m/a && touch /made\n",
        "",
    );
    assert!(out.contains("at root 640 /new/deep/dir/a") && out.contains("at root 640 /w/rel"), "{out}");
    assert!(!out.contains("ignored ") && out.contains("read-only") && out.contains("changed"), "{out}");
    assert_eq!(room.sh("cat ctx/src/a; ls ctx/src").ok(), "onea\nignored");
    assert_eq!(last_layer(&room), "made");
    room.sh("rm -rf box && img-unpack --flat it box").ok();
    assert_eq!(room.sh("ls box/rootfs").ok(), "bin\netc\nmade\nw", "no place to mount on is left");
    // What the step reads is its input.
    room.write("ctx/other", "x");
    let out = room.build(&std::fs::read_to_string(room.path("ctx/Dockerfile")).unwrap(), "");
    assert_eq!(out.matches("CACHED").count(), 4, "{out}");
    room.write("ctx/src/a", "two");
    let out = room.build(&std::fs::read_to_string(room.path("ctx/Dockerfile")).unwrap(), "");
    assert_eq!(out.matches("CACHED").count(), 2, "{out}");
}

#[test]
fn a_bind_mount_from_a_stage_or_an_image() {
    needs!(root, "busybox");
    let room = Room::with_base();
    let out = room.build(
        "FROM base AS made\nRUN mkdir /out && echo stage >/out/f && chown 7:8 /out/f\n\
         FROM base\nRUN --mount=from=made,source=/out,target=/o --mount=from=base,target=/i cat /o/f /i/etc/group; stat -c 'owner %u:%g' /o/f; rm /o/f || echo kept\n\
         RUN --mount=from=made,source=/out,target=/o,rw rm /o/f && echo removed\n\
         RUN --mount=from=made,source=/out,target=/o cat /o/f >/still\n",
        "",
    );
    for part in [" stage\n", " www:x:33:app\n", " owner 7:8\n", " kept\n", " removed\n"] {
        assert!(out.contains(part), "no {part:?} in {out}");
    }
    assert_eq!(last_layer(&room), "still");
    fails(&room, "FROM base\nRUN --mount=source=nope,target=/x true\n", "", "nope: not found");
    fails(&room, "FROM base\nRUN --mount=from=base,source=/nope,target=/x true\n", "", "not found");
    fails(&room, "FROM base\nRUN --mount=target=/ true\n", "", "invalid mount target");
}

#[test]
fn cve_2024_1753_and_9675_a_source_of_a_mount_never_leaves_its_tree() {
    needs!(root, "busybox");
    let room = Room::with_base();
    let outside = room.path("outside");
    room.write("outside/canary", "of the host");
    std::os::unix::fs::symlink(&outside, room.path("ctx/link")).unwrap();
    fails(&room, "FROM base\nRUN --mount=source=link,target=/x cat /x/canary\n", "", "not found");
    fails(&room, "FROM base\nRUN --mount=source=../outside,target=/x cat /x/canary\n", "", "not found");
    let from = format!(
        "FROM base AS evil\nRUN ln -s {} /link && ln -s / /up\nFROM base\nRUN --mount=from=evil,source=/link,target=/x cat /x/canary\n",
        outside.display()
    );
    fails(&room, &from, "", "not found");
    // A link to the root is the tree's own root.
    let up = from.replace("source=/link,target=/x cat /x/canary", "source=/up,target=/x ls /x");
    assert!(room.build(&up, "").contains("link"));
    // CVE-2024-23651: a step leaves a link in a cache, the next one asks for what is below it.
    let cache = format!(
        "FROM base\nRUN --mount=type=cache,id=c,target=/c ln -s {} /c/sub\nRUN --mount=type=cache,id=c,source=sub,target=/x cat /x/canary\n",
        outside.display()
    );
    fails(&room, &cache, "", "sub: not found");
    assert_eq!(room.sh("cat outside/canary").ok(), "of the host");
}

#[test]
fn cve_2024_23652_places_to_mount_on_follow_links_inside_only() {
    needs!(root, "busybox");
    let room = Room::with_base();
    let outside = room.path("outside");
    room.write("outside/keep", "k");
    let text = format!(
        "FROM base\nRUN mkdir -p /real && ln -s /real /var && ln -s {} /evil\n\
         RUN --mount=type=tmpfs,target=/var/t --mount=type=tmpfs,target=/evil/t rm -rf /var/gone; ls -d /real/t && touch /z\n",
        outside.display()
    );
    assert!(room.build(&text, "").contains("/real/t"));
    assert_eq!(last_layer(&room), "z");
    assert_eq!(room.sh("ls outside").ok(), "keep");
}

#[test]
fn a_cache_mount_is_a_plain_directory() {
    needs!(root, "busybox", "tar");
    let room = Room::with_base();
    let text = "FROM base\nARG N\nRUN --mount=type=cache,id=my/cache,target=/root/.cache echo $N >>/root/.cache/log; cat /root/.cache/log >/seen; stat -c 'mode %a %u' /root/.cache\n\
         USER app\nRUN --mount=type=cache,target=/own,uid=1000,mode=0700 touch /own/$N && stat -c 'mode %a %u' /own\n";
    let out = room.build(text, "--build-arg N=1");
    assert!(out.contains("mode 755 0") && out.contains("mode 700 1000"), "{out}");
    assert_eq!(room.sh("cat root/cache/mounts/my%2Fcache/log").ok(), "1");
    room.sh("tar -C root/cache -cf saved.tar mounts && rm -rf root/cache/mounts && tar -C root/cache -xf saved.tar")
        .ok();
    room.build(text, "--build-arg N=2");
    room.sh("rm -rf box && img-unpack --flat it box").ok();
    assert_eq!(room.sh("cat box/rootfs/seen; ls -A box/rootfs/root 2>/dev/null").code, 2, "no /root in the image");
    assert_eq!(room.sh("cat box/rootfs/seen").ok(), "1\n2");
    assert_eq!(room.sh("ls -A root/cache/mounts/%2Fown").ok(), "1\n2");
    let seeded = "FROM base AS seed\nRUN mkdir /s && echo seed >/s/f && chown 3:4 /s\nFROM base\nRUN --mount=type=cache,id=seeded,from=seed,source=/s,target=/c cat /c/f; stat -c 'own %u' /c; echo more >>/c/f\n";
    let out = room.build(seeded, "");
    assert!(out.contains(" seed\n") && out.contains("own 3"), "{out}");
    let out = room.build(seeded, "--no-cache");
    assert!(out.contains(" more\n"), "it is filled only once: {out}");
    room.sh("rm root/cache/mounts/seeded/f").ok();
    let out = room.build(seeded, "--no-cache");
    assert!(out.contains(" seed\n") && !out.contains(" more\n"), "an empty one is filled again: {out}");
}

/// Two builds at the same time, with the three ways to share.
#[test]
fn who_shares_a_cache_with_whom() {
    needs!(root, "busybox");
    let room = Room::with_base();
    for (sharing, want, tries, end) in
        [("shared", "met", 300, "true"), ("locked", "alone", 4, "rm -f"), ("private", "alone", 4, "rm -f")]
    {
        // One that came after the other had ended would be alone in any case, and two private ones would be one.
        let both = if sharing == "private" {
            "--mount=type=cache,id=both,target=/b touch /b/in$N; for i in $(seq 300); do [ $(ls /b | wc -l) = 2 ] && break; sleep 0.2; done;"
        } else {
            ""
        };
        room.write(
            "ctx/Dockerfile",
            format!("FROM base\nARG N\nRUN --mount=type=cache,id={sharing},target=/c,sharing={sharing} {both} touch /c/in$N; for i in $(seq {tries}); do [ $(ls /c | wc -l) = 2 ] && echo met >/r && break; sleep 0.2; done; [ -e /r ] || echo alone >/r; {end} /c/in$N\n"),
        );
        room.sh("for n in 1 2; do dfile-build -q --build-arg N=$n -t it$n ctx & pids=\"$pids $!\"; done; for p in $pids; do wait $p || exit 1; done").ok();
        for n in [1, 2] {
            let found = room.sh(&format!("rm -rf x; img-unpack --flat it{n} x >/dev/null && cat x/rootfs/r"));
            assert!(found.stdout.contains(want), "{sharing}: {found:?}");
        }
    }
    assert_eq!(room.sh("ls root/cache/mounts | grep -c private").ok(), "2");
}

/// Nowhere in the store, in no layer, and in no state of the machine.
#[track_caller]
fn no_canary(room: &Room) {
    room.sh("rm -rf box; ! img-ls it | grep -q . || img-unpack --flat it box").ok();
    assert_eq!(room.sh("grep -r -l -a -e canary- root run box").stdout, "");
    let layers = "for f in root/images/blobs/sha256/*; do gzip -dc <$f 2>/dev/null; done | grep -c -a canary-";
    assert_eq!(room.sh(layers).stdout, "0\n");
}

/// The canary of a secret is nowhere in the store, in no state, and no other secret opens the cache.
#[test]
fn a_secret_is_seen_by_its_command_and_by_nobody_after_it() {
    needs!(root, "busybox");
    let room = Room::with_base();
    room.write("token", "canary-in-file");
    let text = "FROM base\nRUN --mount=type=secret,id=token,mode=0440,gid=5 --mount=type=secret,id=key,env=KEY cat /run/secrets/token | wc -c; stat -c 'at %a %g' /run/secrets/token; echo ${#KEY}; ls /run && touch /done\n\
         RUN --mount=type=secret,id=none ls /run/secrets 2>/dev/null || echo no secret\n";
    room.write("ctx/Dockerfile", text);
    let script = "KEY=canary-in-env dfile-build -t it --secret id=token,src=token --secret id=key,env=KEY ctx";
    let ran = room.sh(script);
    assert_eq!(ran.code, 0, "{ran:?}");
    for part in [" 14\n", "at 440 5", " 13\n", "no secret"] {
        assert!(ran.stderr.contains(part), "no {part:?} in {}", ran.stderr);
    }
    room.sh("rm -rf box && img-unpack --flat it box").ok();
    assert_eq!(room.sh("ls -d box/rootfs/run box/rootfs/done 2>/dev/null").stdout, "box/rootfs/done\n");
    no_canary(&room);
    let plan = room.sh("dfile-build --plan --secret id=token,src=token ctx").ok();
    assert!(!plan.contains("canary"), "{plan}");
    // What is written beside the image: progress, metadata, a cache that is kept elsewhere.
    let beside = "-t it --no-cache --progress rawjson --metadata-file root/meta --cache-to type=local,dest=root/kept";
    let ran = room.sh(&format!(
        "{} 2>root/progress && jq -r '.logs[]?.data | @base64d' root/progress",
        script.replace("-t it", beside)
    ));
    assert!(ran.code == 0 && ran.stdout.contains("at 440 5") && !ran.stdout.contains("canary"), "{ran:?}");
    no_canary(&room);
    assert_eq!(room.sh("ls -A run/build").ok(), "", "nothing is left of the mount");
    room.write("token", "canary-in-another");
    let again = room.sh(script);
    assert_eq!(again.stderr.matches("CACHED").count(), 3, "a secret is not part of the key: {again:?}");
    room.write(
        "ctx/Dockerfile",
        "FROM base\nRUN --mount=type=secret,id=token --mount=type=secret,id=key,env=KEY exit 4\n",
    );
    let ran = room.sh(&script.replace("-t it", "-q"));
    assert_eq!(ran.code, 1, "{ran:?}");
    no_canary(&room);
    fails(&room, "FROM base\nRUN --mount=type=secret,id=none,required true\n", "", "secret none: not found");
    room.sh("dfile-build --secret src=x ctx").fails(2, "secret requires id");
}

#[test]
fn an_agent_is_reached_through_its_mount() {
    needs!(root, "busybox", "cc");
    let room = Room::with_base();
    // Not an agent, but something that answers on a socket.
    room.write("agent.py", "import socket\ns=socket.socket(socket.AF_UNIX)\ns.bind('canary-of-host')\ns.listen()\nprint('ready',flush=True)\nwhile 1:\n c,_=s.accept()\n c.sendall(b'canary-of-agent '+c.recv(99))\n c.close()\n");
    let client = "#include <stdio.h>\n#include <string.h>\n#include <sys/socket.h>\n#include <sys/un.h>\n#include <unistd.h>\n\
        int main(int n, char **arg) { struct sockaddr_un to = { AF_UNIX }; char text[99]; int s = socket(AF_UNIX, SOCK_STREAM, 0);\n\
        strcpy(to.sun_path, arg[1]); if (connect(s, (void *)&to, sizeof to)) { perror(\"connect\"); return 1; }\n\
        write(s, \"there\\n\", 6); n = read(s, text, 99); return n < 0 || write(1, text, n) != n; }\n";
    room.write("client.c", client);
    room.sh("cc -w -static -o ctx/client client.c").ok();
    let mut agent =
        Command::new("python3").arg("agent.py").current_dir(room.path("")).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(agent.stdout.take().unwrap()), &mut line).unwrap();
    room.write(
        "ctx/Dockerfile",
        "FROM base\nUSER app\nRUN --mount=source=client,target=/client --mount=type=ssh,uid=1000 /client $SSH_AUTH_SOCK | wc -c; stat -c 'at %n %a %u' $SSH_AUTH_SOCK\nRUN --mount=type=ssh,id=x echo \"sock=$SSH_AUTH_SOCK\"\n",
    );
    let ran = room.sh("SSH_AUTH_SOCK=$PWD/canary-of-host dfile-build -t it --ssh default ctx");
    let stat = ran.stderr.contains("at /run/buildkit/ssh_agent.0 600 1000");
    agent.kill().unwrap();
    agent.wait().unwrap();
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(stat && ran.stderr.contains("sock=\n") && ran.stderr.contains(" 22\n"), "{}", ran.stderr);
    no_canary(&room);
    fails(&room, "FROM base\nRUN --mount=type=ssh,required true\n", "", "ssh default: not found");
}

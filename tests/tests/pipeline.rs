//! The whole line on real input: images made and pushed by peers, pulled by us, read by skopeo and umoci, run by
//! us, runc and crun; the pipes of the README; the twelve-step build whose image others run.

use dock_tests::{Room, needs, registry::Registry, tree};

/// crun refuses the hybrid cgroup tree of some hosts; without its v2 half it runs. runc does not care.
const WITHOUT_HYBRID: &str =
    "unshare -m sh -c 'mount --make-rprivate /; umount /sys/fs/cgroup/unified 2>/dev/null; exec \"$@\"' sh";

#[test]
fn what_we_pull_is_read_by_skopeo_and_umoci_and_our_tree_equals_umocis() {
    needs!(root, "docker-registry", "skopeo", "umoci", "python3", "debootstrap");
    let (room, registry) = (Room::new(), Registry::start());
    let host = registry.host();
    room.push_layered(&host, "layered");
    room.push_busybox(&host, "busybox");
    let mut names = vec!["layered", "busybox"];
    if room.push_debian(&host, "debian") {
        names.push("debian");
    }
    for name in names {
        let reference = format!("{host}/{name}:latest");
        room.sh(&format!("img-pull {reference} && img-fsck")).ok();
        let ours = room.sh(&format!("skopeo inspect --format '{{{{.Digest}}}}' oci:root/images:{reference}")).ok();
        let theirs =
            room.sh(&format!("skopeo inspect --tls-verify=false --format '{{{{.Digest}}}}' docker://{reference}")).ok();
        assert_eq!(ours, theirs, "{name}: the digest survives the pull");

        room.sh(&format!("umoci unpack --image root/images:{reference} umoci-{name}")).ok();
        room.sh(&format!("img-unpack --flat {name} flat-{name}")).fails(1, "No such image");
        room.sh(&format!("img-unpack --flat {reference} flat-{name}")).ok();
        let listing = |dir: &str| {
            let mut entries = tree::list(&room.path(&format!("{dir}-{name}/rootfs")));
            for (path, entry) in &mut entries {
                // umoci 0.4.7 cuts times to whole seconds, and gives what no layer has an entry for the time of
                // the day; so does nobody who wants the same tree twice.
                entry.mtime.1 = 0;
                if ["", "new", "new/implied"].contains(&path.to_str().unwrap_or("not UTF-8")) {
                    entry.mtime.0 = 0;
                }
            }
            entries
        };
        tree::assert_equal(&listing("umoci"), &listing("flat"));
    }
}

#[test]
fn the_layered_image_has_what_its_layers_say() {
    needs!(root, "docker-registry", "skopeo", "umoci", "python3");
    let (room, registry) = (Room::new(), Registry::start());
    let host = registry.host();
    room.push_layered(&host, "layered");
    room.sh(&format!("img-pull {host}/layered | img-unpack --flat box")).ok();
    let sees = |script: &str| room.sh(&format!("cd box/rootfs && {script}")).ok();
    assert_eq!(sees("ls etc dir opaque"), "dir:\nnew\nold\n\netc:\npasswd\n\nopaque:\nabove");
    assert_eq!(sees("cat becomes-file becomes-dir/inside"), "file nowy");
    assert_eq!(sees("stat -c %h,%s usr/lib/b; cat usr/lib/through-link"), "2,70000\nusr merge");
    assert_eq!(
        sees("stat -c %a bin/setuid; stat -c %a dir; stat -c %F:%t:%T null"),
        "2755\n755\ncharacter special file:1:3"
    );
    assert_eq!(sees("getcap bin/capable"), "bin/capable cap_net_raw=ep");
    assert_eq!(sees("cat Gr*/*/*"), "ñ");
}

#[test]
fn our_bundle_runs_under_runc_and_crun() {
    needs!(root, "docker-registry", "skopeo", "umoci", "runc", "crun");
    let (room, registry) = (Room::new(), Registry::start());
    let host = registry.host();
    room.push_busybox(&host, "busybox");
    room.sh(&format!("img-pull {host}/busybox | img-unpack --flat box | ctr-spec -e LANG=C -- sh -c 'echo $LANG $$'"))
        .ok();
    assert_eq!(room.sh("ctr-spawn box").ok(), "C 1");
    assert_eq!(room.sh("runc --root runc run -b box dock-test-runc-$$").ok(), "C 1");
    assert_eq!(room.sh(&format!("{WITHOUT_HYBRID} crun --root crun run -b box dock-test-crun-$$")).ok(), "C 1");
}

#[test]
fn two_containers_of_one_image_do_not_see_each_other() {
    needs!(root, "docker-registry", "skopeo", "umoci");
    let (room, registry) = (Room::new(), Registry::start());
    let host = registry.host();
    room.push_busybox(&host, "busybox");
    let before = room.sh(&format!("img-pull {host}/busybox")).ok();
    room.sh(&format!("for c in one two; do img-unpack --overlay {host}/busybox $c; done")).ok();
    let run = |bundle: &str, script: &str| room.sh(&format!("ctr-spawn {bundle} -- sh -c '{script}'")).ok();
    run("one", "echo changed >/etc/passwd; rm /bin/vi; echo new >/new");
    assert_eq!(run("one", "cat /etc/passwd /new; ls /bin/vi 2>/dev/null || echo gone"), "changed\nnew\ngone");
    assert_eq!(
        run("two", "cat /etc/passwd; ls /new 2>/dev/null; ls /bin/vi"),
        "root:x:0:0:root:/root:/bin/sh\n/bin/vi"
    );
    assert_eq!(room.sh("layer-diff --list one").ok(), "C /bin\nD /bin/vi\nC /etc\nC /etc/passwd\nA /new");
    assert_eq!(room.sh("layer-diff --list two").ok(), "");
    assert_eq!(room.sh("img-ls | head -n 1").ok().contains("sha256:"), before.contains("sha256:"));
    room.sh("img-fsck").ok();
}

#[test]
fn the_pipes_of_the_readme() {
    needs!(root, "docker-registry", "skopeo", "umoci");
    let (room, registry) = (Room::new(), Registry::start());
    let host = registry.host();
    room.push_busybox(&host, "busybox");
    let pull = format!("img-pull {host}/busybox");
    let pipe = format!("{pull} | img-unpack --overlay box | ctr-spec -m 256m -e LANG=C | ctr-spawn -- echo hello");
    assert_eq!(room.sh(&pipe).ok(), "hello");
    assert_eq!(room.sh(&format!("{pull} | img-unpack --flat flat | ctr-spawn -- echo flat")).ok(), "flat");
    // The rest of stdin is the container's, to the byte.
    let record = format!("{{ {pull} | img-unpack --overlay in; printf 'one\\ntwo\\n'; }} | ctr-spawn -- cat");
    assert_eq!(room.sh(&record).ok(), "one\ntwo");

    room.write("web/Dockerfile", format!("FROM {host}/busybox\nCOPY index.html /\nCMD [\"cat\", \"/index.html\"]\n"));
    room.write("web/index.html", "served");
    room.sh("dfile-build -t web web | img-save | DOCK_ROOT=$PWD/other img-load").ok();
    assert_eq!(room.sh("DOCK_ROOT=$PWD/other dock run --rm web").ok(), "served");
    room.sh("mkdir site && echo hi >site/hi && tar -C site -c . | img-append --base web --layer - --tag web2").ok();
    assert_eq!(room.sh("dock run --rm web2 cat /hi").ok(), "hi");
    assert_eq!(
        room.sh("img-unpack --overlay web2 b2 | ctr-spawn -- touch /tmp/x && layer-diff b2 | tar -t").ok(),
        "tmp/\ntmp/x"
    );
    // A failure travels down the pipe, without pipefail.
    room.sh(&format!("img-pull {host}/none 2>/dev/null | img-unpack --flat none 2>err; cat err >&2; exit 1"))
        .fails(1, "img-unpack: no image record on <stdin>");
}

#[test]
fn the_whole_line_as_an_ordinary_user() {
    needs!(root, "docker-registry", "skopeo", "umoci", "setpriv");
    let (room, user, registry) = (Room::new(), Room::of_user(12345), Registry::start());
    let host = registry.host();
    room.push_busybox(&host, "busybox");
    let seen = user.sh(&format!(
        "img-pull {host}/busybox | img-unpack --flat box | ctr-spawn -- sh -c 'id -u; echo $$; hostname; touch /x'"
    ));
    let seen = seen.ok();
    let lines: Vec<&str> = seen.lines().collect();
    assert_eq!(lines[..2], ["0", "1"], "{seen}");
    assert_eq!(user.sh("stat -c %u box/rootfs/x").ok(), "12345");
    user.sh("img-fsck && rm -rf box").ok();
}

#[test]
fn diff_append_unpack_gives_back_the_tree() {
    needs!(root, "docker-registry", "skopeo", "umoci", "debootstrap");
    let (room, registry) = (Room::new(), Registry::start());
    let host = registry.host();
    if !room.push_debian(&host, "debian") {
        return dock_tests::skip("no Debian could be bootstrapped");
    }
    room.sh(&format!("img-pull {host}/debian:latest && img-tag {host}/debian debian && img-unpack --flat debian a"))
        .ok();
    room.sh("cp -a a b && cd b/rootfs && rm -r usr/share/doc && mkdir usr/share/doc && echo new >usr/share/doc/new \
         && chmod 700 root && chown 1:2 etc/hostname && ln etc/passwd etc/linked && rm etc/motd && mkdir etc/motd \
         && ln -sfn /elsewhere bin && setfattr -n user.note -v hi etc/debian_version && mkfifo var/fifo")
        .ok();
    room.sh("layer-diff a/rootfs b/rootfs >1.tar && layer-diff a/rootfs b/rootfs >2.tar && cmp 1.tar 2.tar").ok();
    room.sh("img-append --base debian --layer 1.tar --tag changed && img-fsck && img-unpack --flat changed c").ok();
    tree::assert_equal(&tree::list(&room.path("b/rootfs")), &tree::list(&room.path("c/rootfs")));
    assert_eq!(room.sh("layer-diff --list b/rootfs c/rootfs").ok(), "");
    // The overlay shows what the flat tree has, but for what is mounted in it.
    let names = "LC_ALL=C find . -xdev ! -path './dev/*' ! -path ./etc/hosts | LC_ALL=C sort";
    let overlay = room.sh(&format!("img-unpack --overlay changed o | ctr-spawn -- sh -c \"cd / && {names}\"")).ok();
    assert_eq!(overlay, room.sh(&format!("cd c/rootfs && {names}")).ok());
}

#[test]
fn any_record_by_a_template() {
    let room = Room::new();
    room.sh(r#"printf '{"a":{"b":1}}\n{"a":\n{"b":"<x>"}} {"c":[1,2]}' | rec-format '{{with .a}}{{.b}}{{else}}{{json .c}}{{end}}' >out"#)
        .fails(1, "template parsing error");
    assert_eq!(room.sh("cat out").ok(), "1\n<x>");
    assert_eq!(room.sh(r#"echo '{"b":[1], "a":"<"}' | rec-format json"#).ok(), r#"{"b":[1],"a":"<"}"#);
    for (line, code, words) in [
        ("rec-format '{{' </dev/null", 2, "unclosed action"),
        ("rec-format . </dev/null", 1, "no JSON document on <stdin>"),
        ("printf '{\"a\":1} {' | rec-format '{{.a}}'", 1, "<stdin>: EOF"),
    ] {
        room.sh(line).fails(code, words);
    }
}

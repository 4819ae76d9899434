//! What a container sees of the host: volumes, named and not, filled from the image; bind mounts; another
//! container's volumes and namespaces.

use dock_tests::image::{dock, image};
use dock_tests::{Room, needs};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::symlink;

/// A room with an image `img`, whose /data has an owner, a mode, a link and a file, and is a VOLUME of `vol`.
fn room() -> Room {
    let room = Room::new();
    let tree =
        "mkdir -p t/data/sub; echo one >t/data/file; ln -s /etc/passwd t/data/link; ln t/data/file t/data/sub/hard
        chown 7:8 t/data t/data/file; chmod 1750 t/data; chmod 640 t/data/file";
    image(&room, tree, "-t img -c 'CMD [\"/bin/sh\"]'");
    room.sh("img-append --base img -t vol -c 'VOLUME /data'").ok();
    room
}

#[test]
fn an_empty_volume_is_filled_from_the_image_with_owners_modes_and_links() {
    needs!(root, "busybox");
    let room = room();
    let look = "sh -c 'stat -c \"%u:%g %a %h %n\" /data /data/file /data/sub/hard; readlink /data/link'";
    let want = "7:8 1750 3 /data\n7:8 640 2 /data/file\n7:8 640 2 /data/sub/hard\n/etc/passwd";
    assert_eq!(dock(&room, &format!("dock run --rm -v data:/data img {look}")).ok(), want);
    assert_eq!(room.sh("cat root/volumes/data/_data/file").ok(), "one");
    // Once filled, it stays as the user left it, also for another image.
    dock(&room, "dock run --rm -v data:/data img sh -c 'echo two >/data/file; echo x >/data/new'").ok();
    assert_eq!(dock(&room, "dock run --rm -v data:/data img cat /data/file /data/new").ok(), "two\nx");
    // An empty one that was there before is filled in place; nocopy leaves it alone.
    room.sh("mkdir -p root/volumes/empty/_data root/volumes/other/_data").ok();
    assert_eq!(dock(&room, &format!("dock run --rm -v empty:/data img {look}")).ok(), want);
    assert_eq!(dock(&room, "dock run --rm -v other:/data:nocopy img ls /data").ok(), "");
    assert_eq!(dock(&room, "dock run --rm --mount src=third,dst=/data,volume-nocopy img ls /data").ok(), "");
    // Where the image has nothing, or a file, the volume is empty.
    assert_eq!(dock(&room, "dock run --rm -v fresh:/nowhere img ls /nowhere").ok(), "");
    assert_ne!(dock(&room, "dock run --rm -v filed:/data/file img true").code, 0, "a directory on a file");
    assert_eq!(room.sh("ls root/volumes/filed/_data").ok(), "");
}

/// CVE-2018-15664's kind: what is copied is the image's, whatever its links say.
#[test]
fn filling_follows_links_inside_the_image_only() {
    needs!(root, "busybox");
    let room = room();
    room.write("secret/file", "of the host");
    room.sh("mkdir e && cp -a t/. e && mkdir -p e/real && echo inside >e/real/file").ok();
    for (name, target) in
        [("out", room.path("secret")), ("up", "../../../../../../../..".into()), ("in", "/real".into())]
    {
        symlink(target, room.path("e").join(name)).unwrap();
    }
    room.sh(
        "tar -C e -cf e.tar . && img-append --base scratch --layer e.tar -t evil -c 'CMD [\"/bin/sh\"]' >/dev/null",
    )
    .ok();
    let ran = dock(
        &room,
        "dock create -v a1:/out -v b1:/up/secret -v c1:/in evil; ls root/volumes/a1/_data root/volumes/b1/_data; cat root/volumes/c1/_data/file",
    );
    assert!(ran.stdout.ends_with("root/volumes/a1/_data:\n\nroot/volumes/b1/_data:\ninside\n"), "{ran:#?}");
}

#[test]
fn only_volumes_without_a_name_go_with_their_container() {
    needs!(root, "busybox");
    let room = room();
    let volumes = || room.sh("ls root/volumes 2>/dev/null | wc -l").ok();
    assert_eq!(
        dock(&room, "dock run --rm -v named:/n vol cat /data/file").ok(),
        "one",
        "VOLUME of the image is filled"
    );
    assert_eq!(room.sh("ls root/volumes").ok(), "named", "--rm removes the anonymous one only");
    dock(
        &room,
        "dock create --name aa vol; dock create --name bb -v /more vol; dock create --name cc --volumes-from bb img",
    )
    .ok();
    assert_eq!(volumes(), "4");
    dock(&room, "dock rm aa").ok();
    assert_eq!(volumes(), "4", "rm without -v keeps them");
    dock(&room, "dock rm -v bb").ok();
    assert_eq!(volumes(), "4", "c still mounts them");
    dock(&room, "dock rm -v cc").ok();
    assert_eq!(volumes(), "2", "its last user takes them along");
    // A volume over VOLUME's place: no second one.
    dock(&room, "dock create --name dd -v named:/data vol; dock create --name ee -v \"$PWD:/data\" vol").ok();
    assert_eq!(volumes(), "2");
    // A name that looks like an ID is a name.
    let id = "ab".repeat(32);
    dock(&room, &format!("dock run --rm -v {id}:/x img true")).ok();
    assert_eq!(volumes(), "3");
}

#[test]
fn mounts_of_all_kinds_reach_the_container() {
    needs!(root, "busybox");
    let room = room();
    for (options, command, want) in [
        ("-v \"$PWD/h:/h\"", "sh -c 'echo 1 >/h/f; cat /h/f'", "1"),
        ("-v \"$PWD/h:/h:ro\"", "sh -c 'cat /h/f; echo 2 2>/dev/null >/h/f || echo ro'", "1\nro"),
        ("-v ./h:/h:ro,z", "cat /h/f", "1"),
        ("--mount type=bind,src=./h,dst=/h,readonly", "sh -c 'cat /h/f; echo 2 2>/dev/null >/h/f || echo ro'", "1\nro"),
        (
            "--mount type=tmpfs,dst=/m,tmpfs-size=1m,tmpfs-mode=1770",
            "sh -c 'stat -c %a /m; grep -o size=1024k /proc/mounts'",
            "1770\nsize=1024k",
        ),
        ("--tmpfs /m:size=1m,mode=711", "stat -c %a /m", "711"),
        ("--mount type=volume,dst=/v", "sh -c 'echo 3 >/v/f; cat /v/f'", "3"),
        ("-v \"$PWD/h/f:/one-file\"", "cat /one-file", "1"),
        ("--ipc none", "sh -c 'grep -c /dev/shm /proc/mounts'", "0"),
        ("--shm-size 2m", "sh -c 'grep -o \"/dev/shm.*size=2048k\" /proc/mounts | grep -o size=2048k'", "size=2048k"),
        ("--device /dev/null:/dev/nothing", "sh -c 'echo x >/dev/nothing; cat /dev/nothing'", ""),
        ("--group-add 4711", "id -G", "0 4711"),
        (
            "--dns 9.9.9.9 --dns-search a.test --dns-option rotate",
            "cat /etc/resolv.conf",
            "search a.test\nnameserver 9.9.9.9\noptions rotate",
        ),
        ("--privileged", "grep -o 'CapEff:.000001ff' /proc/self/status", "CapEff:\t000001ff"),
        ("--domainname d.test", "cat /proc/sys/kernel/domainname", "d.test"),
    ] {
        let ran = dock(&room, &format!("dock run --rm {options} img {command}"));
        assert!(ran.code == 0 || command.contains("grep -c"), "{ran:#?}");
        assert_eq!(ran.stdout.trim_end(), want, "{options}: {ran:#?}");
    }
    dock(&room, "dock run --mount type=bind,src=/no/such,dst=/x img true")
        .fails(125, "invalid mount config for type \"bind\": bind source path does not exist: /no/such");
    for (source, cause) in [("/proc/none/x", "no such file or directory"), ("$PWD/t.tar/x", "not a directory")] {
        let ran = dock(&room, &format!("dock run -v \"{source}:/x\" img true"));
        assert!(ran.stderr.contains(": error while creating mount source path '/"), "{ran:#?}");
        ran.fails(125, &format!("/x: {cause}\nhint: make it first"));
    }
    assert_eq!(room.sh("ls -A root/containers | grep -v lock | wc -l").ok(), "0");
}

#[test]
fn what_docker_takes_and_we_cannot_do_is_refused_in_one_line() {
    needs!(root, "busybox");
    let room = room();
    for (options, words) in [
        ("-p 80:80", "-p, --publish: networks with addresses are not in this release"),
        ("--gpus all", "could not select device driver \"\" with capabilities: [[gpu]]"),
        ("--kernel-memory 9m", "kernel memory limits are not supported"),
        ("--kernel-memory=9m", "kernel memory limits are not supported"),
        ("--ip 10.0.0.1", "--ip: networks with addresses"),
        ("--runtime other", "unknown or invalid runtime name: other"),
        ("--volume-driver nfs", "only local is here"),
        ("--storage-opt size=1g", "supported only for overlay over xfs"),
    ] {
        dock(&room, &format!("dock run --rm {options} img true")).fails(125, words);
    }
    dock(&room, "dock run --rm --runtime runc --volume-driver=local img true").ok();
}

#[test]
fn another_containers_namespaces_are_looked_up_at_each_start() {
    needs!(root, "busybox");
    let room = room();
    let ran = dock(
        &room,
        r#"set -e
        mkdir c; dock run --name one --ipc shareable -v "$PWD/c:/c" -h first --add-host db:1.2.3.4 img sh -c 'touch /c/up; for i in $(seq 3000); do [ -e /c/stop ] || sleep 0.1; done' &
        while [ ! -e c/up ]; do sleep 0.05; done
        dock create --name two --network container:one --ipc container:one img sh -c 'readlink /proc/self/ns/net; readlink /proc/self/ns/ipc; grep -c 1.2.3.4 /etc/hosts' >/dev/null
        pid=$(ctr-ls one | sed 's/.*"pid":\([0-9]*\).*/\1/')
        readlink /proc/$pid/ns/net /proc/$pid/ns/ipc; echo 1
        two=$(ctr-ls -q --no-trunc two); ctr-spawn root/containers/$two </dev/null
        touch c/stop; wait
        ctr-spawn root/containers/$two </dev/null 2>err || cat err"#,
    );
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!((lines.len(), &lines[..3]), (7, &lines[3..6]), "{ran:#?}");
    assert!(lines[6].contains("cannot join network of a non running container: "), "{ran:#?}");
}

#[test]
fn shared_memory_is_the_other_containers_where_it_lends_it() {
    needs!(root, "busybox");
    let room = room();
    let ran = dock(
        &room,
        r"set -e
        dock run -d --name lends --ipc shareable --shm-size 1m img sh -c 'echo first >/dev/shm/word; sleep 60' >/dev/null
        dock run -d --name keeps img sleep 60 >/dev/null
        until dock exec lends cat /dev/shm/word; do sleep 0.05; done
        dock run --name joins --ipc container:lends img sh -c 'cat /dev/shm/word; df /dev/shm | grep -c 1024; echo second >/dev/shm/word'
        dock exec lends cat /dev/shm/word
        dock restart -t 0 lends >/dev/null
        until dock exec lends cat /dev/shm/word; do sleep 0.05; done
        dock start -a joins
        dock exec lends cat /dev/shm/word; dock rm -f lends >/dev/null; grep -c ' /dev/shm .*size=1024k' /proc/self/mountinfo || :",
    );
    assert_eq!(ran.ok(), "first\nfirst\n1\nsecond\nfirst\nfirst\n1\nsecond\n0");
    let ran = dock(&room, "dock run --rm --ipc container:keeps img true");
    ran.fails(125, "non-shareable IPC (hint: use IpcMode:shareable for the donor container)");
    dock(&room, "dock rm -f keeps").ok();
    assert_eq!(room.sh("ls root/containers").ok().lines().count(), 1, "--rm also takes what could not be started");
    assert_eq!(dock(&room, "dock start joins").code, 1);
    let shown = "dock inspect -f '{{.State.Status}} {{.State.ExitCode}} {{.State.Error}}' joins";
    assert!(dock(&room, shown).ok().contains(" 125 No such container: "), "why it did not start");
}

#[test]
fn volume_metadata_fits_what_is_on_disk() {
    needs!(root, "busybox");
    let room = room();
    dock(&room, "dock create --name aa --mount 'src=lab,dst=/x,volume-label=k=v' -v /anon img").ok();
    let read = |name: &str| -> Value {
        serde_json::from_slice(&fs::read(room.path(&format!("root/volumes/{name}/volume.json"))).unwrap()).unwrap()
    };
    assert_eq!((&read("lab")["name"], &read("lab")["labels"]["k"]), (&"lab".into(), &"v".into()));
    let other = room.sh("ls root/volumes | grep -v lab").ok();
    assert!(read(&other)["labels"].get("com.docker.volume.anonymous").is_some());
    assert_eq!(room.sh("stat -c %a root/volumes root/volumes/lab root/volumes/lab/_data").ok(), "700\n700\n755");
}

#[test]
fn a_part_of_a_volume_is_mounted() {
    needs!(root, "busybox");
    let room = room();
    room.sh("mkdir -p root/volumes/data/_data/a/b && echo deep >root/volumes/data/_data/a/b/file && ln -s a/b root/volumes/data/_data/inner").ok();
    for (subpath, command, want) in [
        ("a/b", "cat /m/file", "deep"),
        ("inner/", "cat /m/file", "deep"),
        ("./a/../a", "ls /m", "b"),
        ("a/b/file", "cat /m", "deep"),
        ("a/b,ro", "sh -c 'echo x 2>/dev/null >/m/file || echo read-only'", "read-only"),
    ] {
        let line = format!("dock run --rm --mount type=volume,src=data,dst=/m,volume-subpath={subpath} img {command}");
        assert_eq!(dock(&room, &line).ok(), want, "{subpath}");
    }
    let line = "dock create --name aa --mount src=data,dst=/m,volume-subpath=a img >/dev/null
        dock inspect -f '{{(index .HostConfig.Mounts 0).VolumeOptions.Subpath}} {{(index .Mounts 0).Name}}' aa
        dock cp aa:/m/b/file out && cat out; dock run --rm --volumes-from aa img cat /m/b/file; dock volume rm data";
    let ran = dock(&room, line);
    assert!(ran.stdout == "a data\ndeep\ndeep\n" && ran.stderr.contains("volume is in use"), "{ran:#?}");
    let invalid = "invalid mount config for type \"volume\": ";
    for (mount, words) in [
        ("src=data,dst=/m,volume-subpath=../x", format!("{invalid}subpath must be a relative path within the volume")),
        ("src=data,dst=/m,volume-subpath=/a", format!("{invalid}subpath must be a relative path within the volume")),
        ("dst=/m,volume-subpath=a", format!("{invalid}must not set Subpath when using anonymous volumes")),
        ("src=data,dst=/m,volume-subpath=none", "No such file or directory".into()),
    ] {
        dock(&room, &format!("dock run --rm --mount {mount} img true")).fails(125, &words);
    }
}

/// CVE-2024-23651's and CVE-2017-1002101's kind: who writes in a volume says not what of the host another container
/// gets.
#[test]
fn cve_2017_1002101_no_link_leads_out_of_a_volume() {
    needs!(root, "busybox");
    let room = room();
    let secret = room.write("secret/file", "of the host");
    let secret = secret.parent().unwrap();
    room.sh("mkdir -p root/volumes/data/_data/dir").ok();
    let data = room.path("root/volumes/data/_data");
    symlink(secret, data.join("abs")).unwrap();
    symlink("../../../../secret", data.join("rel")).unwrap();
    symlink("/proc/self/root", data.join("magic")).unwrap();
    symlink("..", data.join("dir/up")).unwrap();
    symlink("../../..", data.join("dir/far")).unwrap();
    for subpath in ["abs", "rel", "abs/file", "magic", "dir/far", "dir/up/rel"] {
        let mount = format!("--mount src=data,dst=/m,volume-subpath={subpath}");
        let ran = dock(&room, &format!("dock run --rm {mount} img sh -c 'cat /m /m/file; ls /m'")).fails(125, subpath);
        assert_eq!(ran.stdout, "", "{ran:#?}");
        // Nor where the container does not run, and the copier mounts.
        let ran = dock(&room, &format!("id=$(dock create {mount} img); dock cp $id:/m out; ls out; dock rm $id"));
        assert!(!room.path("out").exists() && ran.stderr.contains(subpath), "{ran:#?}");
    }
    assert_eq!(
        dock(&room, "dock run --rm --mount src=data,dst=/m,volume-subpath=dir/up img ls /m").ok(),
        "abs\ndir\nmagic\nrel"
    );
}

#[test]
fn dock_volume_in_dockers_words() {
    needs!(root, "busybox");
    let room = room();
    assert_eq!(dock(&room, "dock volume create --label k=v one").ok(), "one");
    assert_eq!(dock(&room, "dock volume create one").ok(), "one", "one that is there is no error");
    let anonymous = dock(&room, "dock volume create").ok();
    assert_eq!(anonymous.len(), 64);
    dock(&room, "dock create --name user -v used:/u img").ok();
    let listed = dock(&room, "dock volume ls --filter name=e").ok();
    assert!(
        listed.starts_with("DRIVER    VOLUME NAME\n") && listed.contains("\nlocal     one\nlocal     used"),
        "{listed}"
    );
    assert_eq!(dock(&room, "dock volume ls -q -f label=k=v").ok(), "one");
    assert_eq!(dock(&room, "dock volume ls -q -f dangling=1 -f name=us").ok(), "");
    assert_eq!(dock(&room, "dock volume ls -q -f dangling=0").ok(), "used");
    assert_eq!(dock(&room, "dock volume ls --format '{{.Name}}={{.Driver}}' -f name=one").ok(), "one=local");
    assert_eq!(dock(&room, "dock volume inspect -f '{{.Name}} {{.Labels.k}}' one").ok(), "one v");
    assert_eq!(dock(&room, "dock inspect -f '{{.Name}} {{.Driver}}' one").ok(), "one local", "as any other object");
    dock(&room, "dock inspect --type image one").fails(1, "Error: No such image: one");
    let object: Value = serde_json::from_str(&dock(&room, "dock volume inspect one used").ok()).unwrap();
    let members: std::collections::BTreeSet<&str> = object[0].as_object().unwrap().keys().map(String::as_str).collect();
    let want = ["CreatedAt", "Driver", "Labels", "Mountpoint", "Name", "Options", "Scope"];
    assert_eq!(members.into_iter().collect::<Vec<_>>(), want);
    assert_eq!(object[1]["Mountpoint"].as_str(), room.path("root/volumes/used/_data").to_str());
    let id = dock(&room, "dock ps -aq --no-trunc").ok();
    for (line, words) in [
        ("rm used", format!("Error response from daemon: remove used: volume is in use - [{id}]\n")),
        ("rm none", "Error response from daemon: get none: no such volume\n".into()),
        ("inspect ../x", "Error response from daemon: get ../x: no such volume\n".into()),
        (
            "create ../x",
            "Error response from daemon: create ../x: \"../x\" includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path\n".into(),
        ),
        (
            "create -d nfs two",
            "Error response from daemon: create: error looking up volume plugin nfs: plugin \"nfs\" not found\n".into(),
        ),
        ("ls -f color=red", "Error response from daemon: invalid filter 'color'\n".into()),
    ] {
        let ran = dock(&room, &format!("dock volume {line}"));
        assert_eq!((ran.code, &ran.stderr), (1, &words), "{line}");
    }
    assert_eq!(dock(&room, "dock volume rm -f none").ok(), "none");
    // Nothing without an answer; then the anonymous ones; with -a those with names too; never one that is used.
    dock(&room, "dock volume prune </dev/null").ok();
    assert_eq!(room.sh("ls root/volumes | wc -l").ok(), "3");
    room.write(&format!("root/volumes/{anonymous}/_data/file"), "12345");
    let pruned = dock(&room, "dock volume prune -f").ok();
    assert_eq!(pruned, format!("Deleted Volumes:\n{anonymous}\n\nTotal reclaimed space: 5B"));
    assert_eq!(dock(&room, "dock volume prune -af --filter 'label!=k'").ok(), "Total reclaimed space: 0B");
    assert_eq!(dock(&room, "dock volume prune -af").ok(), "Deleted Volumes:\none\n\nTotal reclaimed space: 0B");
    assert_eq!(room.sh("ls root/volumes").ok(), "used");
}

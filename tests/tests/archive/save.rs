//! What is saved: whole, in part, under another name, for one platform, and only if it can be written.

use crate::{HOST, clean, id, index, one_image, record, two_images};
use dock_tests::{Room, needs, skip};
use serde_json::{Value, json};

#[test]
fn save_and_load_is_identity() {
    needs!("docker-registry", "skopeo", "umoci");
    let room = Room::new();
    let (_registry, host) = two_images(&room);
    for format in ["docker", "oci"] {
        let copy = format!("copy-{format}");
        let loaded = room
            .sh(&format!("img-save --layout l --format {format} {host}/app:1 {host}/bb:1 | img-load --layout {copy}"))
            .ok();
        assert_eq!(loaded.lines().count(), 2, "{loaded}");
        assert_eq!(index(&room, &copy), index(&room, "l"), "names, digests, platforms");
        room.sh(&format!("diff -r l/blobs/sha256 {copy}/blobs/sha256")).ok();
        clean(&room, &copy);
        // The same images are the same bytes, in a file or in a pipe, from the one or the other store.
        room.sh(&format!("img-save --layout l --format {format} -o {format}.tar {host}/app:1 {host}/bb:1")).ok();
        room.sh(&format!("img-save --layout {copy} --format {format} {host}/app:1 {host}/bb:1 | cmp - {format}.tar"))
            .ok();
    }
    // Records in place of operands.
    room.sh(&format!(
        "img-pull --layout l {host}/app:1 | img-save >one.tar && img-save --layout l {host}/app:1 | cmp - one.tar"
    ))
    .ok();
    assert_eq!(room.sh("stat -c %a docker.tar").ok(), "600");
}

#[test]
fn names_are_saved_as_they_were_asked_for() {
    needs!("python3");
    let room = Room::new();
    let web = one_image(&room);
    let image = id(&room, "l", &web);
    // By short name: with it. By ID: without one, as docker does.
    let named = record(&room.sh("img-save --layout l web:1 | img-load --layout a").ok());
    assert_eq!(named["ref"], "docker.io/library/web:1");
    let nameless = record(&room.sh(&format!("img-save --layout l {} | img-load --layout b", &image[7..19])).ok());
    assert_eq!(nameless.get("ref"), None);
    assert_eq!(nameless["descriptor"]["digest"], web["descriptor"]["digest"]);
    let said = room.sh("img-load --layout c --format docker -i good.tar");
    assert_eq!(said.ok(), "Loaded image: web:1");
    let said = room.sh(&format!("img-save --layout l {image} | img-load --layout c --format docker")).ok();
    assert_eq!(said, format!("Loaded image ID: {image}"));
    // Two names, one image, every blob once.
    room.sh("img-tag --layout l web:1 team/web:2").ok();
    let both = room.sh("img-save --layout l web:1 team/web:2 | tee both.tar | img-load --layout d").ok();
    assert_eq!(both.lines().count(), 2);
    assert_eq!(room.sh("tar tf both.tar | sort | uniq -d").ok(), "");
    let page = room.sh("tar xOf both.tar manifest.json").ok();
    assert_eq!(record(&page)[0]["RepoTags"], json!(["web:1", "team/web:2"]));
}

#[test]
fn a_save_that_fails_says_so_and_replaces_nothing() {
    needs!("python3");
    let room = Room::new();
    let web = one_image(&room);
    room.sh("img-save --layout l web:1 >/dev/full").fails(1, "img-save: <stdout>: No space left on device");
    let ran = room.sh("{ sleep 0.3; img-save --layout l web:1; echo $? >code; } | true; cat code");
    assert_eq!(ran.ok(), "1", "a closed pipe: the copy is not complete");
    room.sh("img-save --layout l nope").fails(1, "No such image: nope:latest");
    room.sh("img-save --layout l </dev/null").fails(1, "no image record on <stdin>");
    room.sh("echo '{\"formatVersion\":\"2.0\",\"kind\":\"image\"}' | img-save").fails(1, "2.0");
    if dock_tests::has("script") {
        let said = room.sh("script -qec 'img-save --layout l web:1' /dev/null; echo $?").ok();
        assert!(said.contains("refusing to write an archive to a terminal") && said.ends_with('2'), "{said}");
    } else {
        skip("needs script");
    }
    // A damaged blob: no archive, and the old file stays.
    let layer = {
        let manifest = room.path("l/blobs").join(web["descriptor"]["digest"].as_str().unwrap().replace(':', "/"));
        let manifest: Value = record(&std::fs::read_to_string(manifest).unwrap());
        manifest["layers"][0]["digest"].as_str().unwrap().replace(':', "/")
    };
    room.sh(&format!("echo old >out.tar && f=l/blobs/{layer} && chmod u+w $f && printf x | dd of=$f bs=1 seek=600 conv=notrunc status=none")).ok();
    room.sh("img-save --layout l -o out.tar web:1").fails(1, "img-save: sha256:");
    assert_eq!(room.sh("cat out.tar && ls -A | grep -c img-save- || true").ok(), "old\n0");
    // What a killed one left goes with the next, but nothing of one that lives, and nothing is waited for.
    room.sh("img-append --base scratch --layout m -t e >/dev/null && mkdir o && cd o && echo x >.img-save-dead && echo x >.img-save-alive").ok();
    room.sh("mkfifo o/.img-save-fifo && flock o/.img-save-alive img-save --layout m -o o/e.tar e").ok();
    assert_eq!(room.sh("ls -A o").ok(), ".img-save-alive\n.img-save-fifo\ne.tar");
}

/// `-o /dev/null` as root must not make a file of it.
#[test]
fn devices_pipes_and_links_are_written_to_and_not_replaced() {
    needs!(root, "python3");
    let room = Room::new();
    one_image(&room);
    room.sh("img-save --layout l web:1 >want.tar; mknod null c 1 3; mkfifo pipe; : >old.tar; ln -s old.tar link").ok();
    room.sh("img-save --layout l -o null web:1 && test -c null").ok();
    room.sh("cat pipe >got.tar & img-save --layout l -o pipe web:1 && wait && test -p pipe && cmp want.tar got.tar")
        .ok();
    room.sh("img-save --layout l -o link web:1 && test -h link && cmp want.tar old.tar").ok();
    room.sh("img-save --layout l -o . web:1").fails(1, "img-save: .: Is a directory");
}

/// The other registered algorithm makes paths that are longer than a tar header has room for.
#[test]
fn sha512_is_saved_and_loaded() {
    needs!("python3");
    let room = Room::new();
    room.write(
        "make.py",
        r#"
import hashlib, json, os
os.makedirs("s/blobs/sha512")
def put(value, kind):
    data = json.dumps(value).encode(); name = hashlib.sha512(data).hexdigest()
    open("s/blobs/sha512/" + name, "wb").write(data)
    return {"mediaType": "application/vnd.oci.image." + kind + ".v1+json", "digest": "sha512:" + name, "size": len(data)}
config = put({"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": []}}, "config")
entry = put({"schemaVersion": 2, "config": config, "layers": []}, "manifest")
entry["annotations"] = {"org.opencontainers.image.ref.name": "docker.io/library/long:1"}
json.dump({"schemaVersion": 2, "manifests": [entry]}, open("s/index.json", "w"))
open("s/oci-layout", "w").write('{"imageLayoutVersion": "1.0.0"}')"#,
    );
    room.sh("python3 make.py && img-save --layout s long:1 | img-load --layout t").ok();
    assert_eq!(index(&room, "t")[0]["digest"], index(&room, "s")[0]["digest"]);
    clean(&room, "t");
}

/// Two stores that have the base in common: only the new layer travels, over a pipe of one direction each.
#[test]
fn only_what_the_other_side_lacks_is_sent() {
    needs!("python3");
    let room = Room::new();
    one_image(&room);
    room.sh("head -c 300000 /dev/urandom >big && tar -cf big.tar big && echo small >small && tar -cf small.tar small
         img-append --layout l --base web:1 --layer big.tar --compress none -t base:1
         img-append --layout l --base base:1 --layer small.tar -t top:1")
        .ok();
    let size = |file: &str| std::fs::metadata(room.path(file)).unwrap().len();
    // To nobody: everything goes, and dock says it as the tools do.
    room.sh("DOCK_ROOT=$PWD/there dock images --have >nothing.list && wc -l <nothing.list | grep -qx 1").ok();
    room.sh(
        "img-save --layout l --have nothing.list -o whole.tar base:1 && img-save --layout l base:1 | cmp - whole.tar",
    )
    .ok();
    room.sh("DOCK_ROOT=$PWD/there dock load -i whole.tar").ok();
    let said = room
        .sh("mkdir here; cp -r l here/images; DOCK_ROOT=$PWD/there dock images --have \
             | DOCK_ROOT=$PWD/here dock save --have - top:1 | tee thin.tar | DOCK_ROOT=$PWD/there dock load")
        .ok();
    assert_eq!(said, "Loaded image: top:1");
    assert!(size("thin.tar") < 30_000 && size("whole.tar") > 300_000, "{} {}", size("thin.tar"), size("whole.tar"));
    clean(&room, "there/images");
    let find = |layout: &str| record(&room.sh(&format!("img-ls --layout {layout} top:1")).ok())["descriptor"].clone();
    assert_eq!(find("there/images"), find("l"));
    // What a list says twice is the same.
    room.sh("img-ls --layout l --have >all; img-save --layout l --have all -o none.tar top:1 && tar tf none.tar | grep -c blobs/sha256/.").ok();

    // A list of somebody else: every layer that is missing is named, and nothing has changed.
    one_image_in(&room, "other");
    let before = room.sh("cd other && find . -type f | sort | xargs sha256sum").ok();
    let ran = room.sh("img-load --layout other -i thin.tar");
    let layers =
        room.sh("img-inspect --layout l --raw manifest base:1 | tr ',' '\\n' | grep -o 'sha256:[0-9a-f]*'").ok();
    let big = layers.lines().last().unwrap();
    assert!(ran.stdout.is_empty() && ran.stderr.contains(big) && ran.stderr.contains("hint: "), "{ran:#?}");
    ran.fails(1, &format!("nothing was loaded: top:1 (linux/{HOST}): lacks sha256:"));
    let ran = room.sh("img-load --layout empty -i none.tar");
    assert_eq!(ran.stderr.lines().next().unwrap().matches("sha256:").count(), 3, "{ran:#?}");
    assert_eq!(index(&room, "empty"), json!([]));
    assert_eq!(room.sh("cd other && find . -type f | sort | xargs sha256sum").ok(), before);
    // The difference after all: complete.
    room.sh("img-load --layout other -i whole.tar && img-load --layout other -i thin.tar").ok();
    clean(&room, "other");
    // A blob that is cut there is not one that is there.
    room.sh(&format!("truncate -s 5 other/blobs/{}", big.replace(':', "/"))).ok();
    room.sh("img-ls --layout other --have >cut.list && img-save --layout l --have cut.list top:1 | tar t").ok();
    room.sh(&format!("img-save --layout l --have cut.list top:1 | tar t | grep -q {}", &big[7..])).ok();
}

fn one_image_in(room: &Room, layout: &str) {
    room.sh(&format!("img-load --layout {layout} -i good.tar")).ok();
}

#[test]
fn a_list_that_is_none_saves_nothing() {
    needs!("python3");
    let room = Room::new();
    one_image(&room);
    room.sh("img-save --layout l --have /dev/null web:1 >x").fails(1, "--have: /dev/null: empty");
    room.sh("false | img-save --layout l --have - web:1 >x").fails(1, "--have: <stdin>: empty");
    room.sh("echo '{\"formatVersion\":\"2.0\",\"kind\":\"have\"}' | img-save --layout l --have - web:1 >x")
        .fails(1, "line 1");
    room.sh("img-ls --layout l --have | head -c 170 | img-save --layout l --have - web:1 >x").fails(1, ": line ");
    room.sh("img-ls --layout l --have | img-save --layout l --have - >x").fails(2, "stdin can be read once");
    room.sh("img-ls --layout l --have -q").fails(2, "--have");
}

#[test]
fn an_image_gets_another_name_on_its_way() {
    needs!("python3");
    let room = Room::new();
    let web = one_image(&room);
    let loaded = room.sh("img-save --layout l -t team/a:1 -t b web:1 | img-load --layout in | sort").ok();
    let names: Vec<_> = loaded.lines().map(|line| record(line)["ref"].clone()).collect();
    assert_eq!(names, ["docker.io/library/b:latest", "docker.io/team/a:1"]);
    assert_eq!(index(&room, "in")[0]["digest"], web["descriptor"]["digest"]);
    assert_eq!(room.sh("img-save --layout l -t c web:1 | tar xO manifest.json").ok().matches("c:latest").count(), 1);
    room.sh("img-ls --layout l | grep -c . | grep -qx 1").ok();
    let loaded = record(&room.sh("img-load --layout in2 -t mine:1 <oci.tar").ok());
    assert_eq!(loaded["ref"], "docker.io/library/mine:1");
    assert_eq!(index(&room, "in2").as_array().unwrap().len(), 1, "and not under the archive's");
    let at_digest = format!("x@sha256:{}", "0".repeat(64));
    room.sh(&format!("img-save --layout l -t {at_digest} web:1 >x")).fails(2, "cannot have a digest");
    room.sh(&format!("img-load --layout in3 -t {at_digest} <oci.tar")).fails(2, "cannot have a digest");
    room.sh("img-append --layout l --base web:1 -c 'ENV A=1' -t two").ok();
    room.sh("img-save --layout l -t x web:1 two >x").fails(2, "--tag names one image");
    room.sh("img-save --layout l web:1 two | img-load --layout in3 -t x").fails(1, "the archive has 2");
    assert_eq!(index(&room, "in3"), json!([]));
}

/// An index with two images, as `docker save` of a multi-platform store writes it.
#[test]
fn one_platform_of_several() {
    needs!("python3");
    let room = Room::new();
    one_image(&room);
    room.write(
        "many.py",
        r#"
exec(open("make.py").read())
blobs, entries = [], []
for arch in ("s390x", "amd64", "arm64"):
    config = config_of(layer, architecture=arch)
    m = dump({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": "sha256:" + sha(config), "size": len(config)},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": "sha256:" + sha(layer), "size": len(layer)}]})
    blobs += [config, m]
    entries.append({"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": "sha256:" + sha(m), "size": len(m), "platform": {"os": "linux", "architecture": arch}})
nested = dump({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": entries})
top = {"mediaType": "application/vnd.oci.image.index.v1+json", "digest": "sha256:" + sha(nested), "size": len(nested), "annotations": {"io.containerd.image.name": "docker.io/library/web:1"}}
blobs += [nested, layer]
write("many.tar", tar([("index.json", dump({"schemaVersion": 2, "manifests": [top]}))] + [("blobs/sha256/" + sha(b), b) for b in blobs]))
"#,
    );
    room.sh("python3 many.py").ok();
    for (option, architecture) in [("", HOST), ("--platform linux/arm64", "arm64"), ("--platform linux/s390x", "s390x")]
    {
        room.sh(&format!("rm -rf in; img-load --layout in {option} -i many.tar")).ok();
        let config = record(&room.sh("img-inspect --layout in --raw config web:1").ok());
        assert_eq!(config["architecture"], architecture);
        clean(&room, "in");
    }
    room.sh("img-load --layout no --platform linux/riscv64 -i many.tar")
        .fails(1, "no image for linux/riscv64, only for linux/");
    room.sh("img-load --layout no --platform linux/arm64 -i good.tar").fails(1, "no image for linux/arm64");
    assert_eq!(index(&room, "no"), json!([]));
    // The same index in another one.
    room.write(
        "deep.py",
        r#"
exec(open("many.py").read())
inner = {k: v for k, v in top.items() if k != "annotations"}
outer = dump({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [inner, {**inner, "digest": "sha256:" + "0" * 64}]})
top = {**top, "digest": "sha256:" + sha(outer), "size": len(outer)}
write("deep.tar", tar([("index.json", dump({"schemaVersion": 2, "manifests": [top]}))] + [("blobs/sha256/" + sha(b), b) for b in [outer, *blobs]]))
"#,
    );
    room.sh("python3 deep.py").ok();
    for (option, architecture) in [("", HOST), ("--platform linux/s390x", "s390x")] {
        let layout = format!("deep-{architecture}");
        room.sh(&format!("img-load --layout {layout} {option} -i deep.tar")).ok();
        let config = record(&room.sh(&format!("img-inspect --layout {layout} --raw config web:1")).ok());
        assert_eq!(config["architecture"], architecture);
        clean(&room, &layout);
    }
    // A layout with the whole index: save takes one of its platforms.
    room.sh("mkdir multi && tar -C multi -xf many.tar && echo '{\"imageLayoutVersion\":\"1.0.0\"}' >multi/oci-layout")
        .ok();
    let one = room.sh("img-ls --layout multi | img-save --platform linux/s390x | img-load --layout one").ok();
    assert_eq!(record(&one)["descriptor"]["platform"]["architecture"], "s390x");
    room.sh("img-ls --layout multi | img-save --platform linux/riscv64 >x").fails(1, "no image for linux/riscv64");
    // All of it, and back: byte for byte, also under a name that pins the index.
    room.sh(
        "img-load --all-platforms --layout whole -i many.tar && img-save --layout whole --all-platforms web:1 >all.tar",
    )
    .ok();
    room.sh("img-load --all-platforms --layout all -i all.tar && diff -r multi/blobs/sha256 all/blobs/sha256").ok();
    clean(&room, "all");
    room.sh("img-ls --layout all | img-save --all-platforms | cmp - all.tar").ok();
    // The layout is docker's: the name stands in an annotation of its own, and goes when it was not asked for.
    let unnamed =
        room.sh("img-ls --layout multi | img-save --all-platforms | img-load --all-platforms --layout id").ok();
    assert!(record(&unnamed).get("ref").is_none(), "{unnamed}");
    let digest = index(&room, "all")[0]["digest"].as_str().expect("digest").to_owned();
    let pinned = format!("docker.io/library/web@{digest}");
    room.sh(&format!("sed -i 's!docker.io/library/web:1!{pinned}!' all/index.json; img-save --layout all --all-platforms web@{digest} | img-load --all-platforms --layout pinned")).ok();
    assert!(room.sh("img-ls --layout pinned").ok().contains(&format!("\"ref\":\"{pinned}\"")));
    // Who asks for one platform gets it, under the index's name; others read the index and docker's document.
    room.sh("img-load --layout few -i all.tar && img-load --layout few --platform linux/s390x --tag z -i all.tar").ok();
    clean(&room, "few");
    let documents: Value = serde_json::from_str(&room.sh("tar -xOf all.tar manifest.json").ok()).expect("JSON");
    assert_eq!(documents[0]["RepoTags"], json!(["web:1"]));
    let config = room.sh(&format!("tar -xOf all.tar {}", documents[0]["Config"].as_str().expect("path"))).ok();
    assert_eq!(record(&config)["architecture"], HOST);
    if dock_tests::has("skopeo") {
        let raw = room.sh("skopeo inspect --raw oci-archive:all.tar | sha256sum").ok();
        assert_eq!(format!("sha256:{}", &raw[..64]), digest);
        room.sh("skopeo copy -q docker-archive:all.tar:docker.io/library/web:1 oci:copied").ok();
    }
    // The list of who has the layer leaves it out, once; a platform that is not whole saves nothing.
    room.sh("img-load --layout there -i good.tar; img-ls --have --layout there >have").ok();
    room.sh(
        "img-save --layout whole --all-platforms --have have web:1 | img-load --all-platforms --layout there --force",
    )
    .ok();
    let blobs = "img-save --layout whole --all-platforms --have have web:1 | tar -t | grep -c 'blobs/sha256/.'";
    assert_eq!(room.sh(blobs).ok(), "7", "an index, three manifests and configurations");
    assert_eq!(room.sh("diff -r whole/blobs/sha256 there/blobs/sha256 | grep 'Only in whole' || true").ok(), "");
    let s390x = room.sh("img-inspect --layout whole --platform linux/s390x --format '{{.Id}}' web:1").ok();
    room.sh(&format!("rm whole/blobs/sha256/{}", &s390x[7..])).ok();
    let ran = room.sh("img-save --layout whole --all-platforms -o lacking.tar web:1");
    assert!(ran.stderr.contains("hint: img-pull --all-platforms"), "{ran:?}");
    ran.fails(1, &s390x);
    assert!(!room.path("lacking.tar").exists());
    room.sh("img-save --layout whole --all-platforms --platform linux/arm64 web:1 >x").fails(2, "cannot be used with");
}

/// An image of many times the bound, through every tool that touches archives.
#[test]
fn memory_is_flat_in_the_size_of_the_image() {
    if !dock_tests::has("/usr/bin/time") {
        return skip("needs /usr/bin/time");
    }
    let room = Room::new();
    room.sh("head -c 64M /dev/zero >zeros && tar -cf big.tar zeros && rm zeros").ok();
    room.sh("img-append --layout l --base scratch --layer big.tar --compress none -t big").ok();
    for (what, script) in [
        ("save", "img-save --layout l -o a.tar big"),
        ("load", "img-load --layout in -i a.tar"),
        ("load of gzip", "gzip -1 -c a.tar | /usr/bin/time -f %M -o peak img-load --layout in2"),
        ("fsck", "img-fsck -q l"),
    ] {
        let script =
            if script.contains("-o peak") { script.into() } else { format!("/usr/bin/time -f %M -o peak {script}") };
        room.sh(&script).ok();
        let peak: u64 = room.sh("tail -1 peak").ok().parse().unwrap();
        assert!(peak < 16 << 10, "{what}: {peak} KiB");
    }
}

//! Archives between us and podman, skopeo and docker.

use crate::{clean, id, index, one_image, record, two_images};
use dock_tests::dockerd::Dockerd;
use dock_tests::{Room, needs};
use serde_json::json;

#[test]
fn podman_and_skopeo_read_what_we_write_and_we_what_they_write() {
    needs!(root, "docker-registry", "skopeo", "umoci", "podman");
    let room = Room::new();
    let (_registry, host) = two_images(&room);
    let image = id(&room, "l", &record(&room.sh(&format!("img-pull --layout l {host}/app:1")).ok()));
    let podman = "podman --root $PWD/p --runroot $PWD/pr --storage-driver vfs";
    for format in ["docker", "oci"] {
        room.sh(&format!("img-save --layout l --format {format} -o {format}.tar {host}/app:1")).ok();
        room.sh(&format!("{podman} load -q -i {format}.tar")).ok();
        let theirs = room
            .sh(&format!("{podman} image inspect --format '{{{{.Id}}}}' {host}/app:1 && {podman} rmi -a -f >/dev/null"))
            .ok();
        assert_eq!(format!("sha256:{theirs}"), image, "{format}");
    }
    room.sh("skopeo copy -q docker-archive:docker.tar oci:s1:x").ok();
    room.sh(&format!(
        "skopeo copy -q oci-archive:oci.tar:{host}/app:1 oci:s2:x && diff -r l/blobs s2/blobs | grep -v '^Only in l'"
    ))
    .fails_quietly();

    room.sh(&format!("{podman} load -q -i docker.tar")).ok();
    for (writer, says) in [
        (format!("{podman} save --format docker-archive -o w.tar {host}/app:1"), "podman docker-archive"),
        (format!("{podman} save --format oci-archive -o w.tar {host}/app:1"), "podman oci-archive"),
        (format!("skopeo copy -q oci:l:{host}/app:1 docker-archive:w.tar:{host}/app:1"), "skopeo docker-archive"),
        (format!("skopeo copy -q oci:l:{host}/app:1 oci-archive:w.tar:{host}/app:1"), "skopeo oci-archive"),
    ] {
        room.sh(&format!("rm -rf w.tar in && {writer}")).ok();
        let loaded = record(&room.sh("img-load --layout in <w.tar").ok());
        assert_eq!(
            (&loaded["ref"], id(&room, "in", &loaded)),
            (&json!(format!("{host}/app:1")), image.clone()),
            "{says}"
        );
        clean(&room, "in");
    }
    // Many images in one file.
    room.sh(&format!("img-save --layout l {host}/bb:1 | {podman} load -q && rm -rf in && {podman} save -m -q -o m.tar {host}/app:1 {host}/bb:1")).ok();
    assert_eq!(room.sh("img-load --layout in -i m.tar").ok().lines().count(), 2);
}

#[test]
fn docker_reads_what_we_write_and_we_what_it_writes() {
    needs!(root, "docker-registry", "skopeo", "umoci", "dockerd", "docker");
    let room = Room::new();
    let (_registry, host) = two_images(&room);
    let app = id(&room, "l", &record(&room.sh(&format!("img-pull --layout l {host}/app:1")).ok()));
    let Some(docker) = Dockerd::start(&room) else { return };
    room.sh(&format!("img-save --layout l -o ours.tar {host}/app:1 {host}/bb:1")).ok();
    let ours = room.path("ours.tar");
    let said = docker.docker(&["load", "-i", ours.to_str().unwrap()]).unwrap();
    assert_eq!(said, format!("Loaded image: {host}/app:1\nLoaded image: {host}/bb:1"));
    assert_eq!(docker.docker(&["image", "inspect", "--format", "{{.Id}}", &format!("{host}/app:1")]).unwrap(), app);

    let theirs = room.path("theirs.tar");
    docker
        .docker(&["save", "-o", theirs.to_str().unwrap(), &format!("{host}/app:1"), &format!("{host}/bb:1")])
        .unwrap();
    let said = room.sh("img-load --layout in --format docker -i theirs.tar | sort").ok();
    assert_eq!(said, format!("Loaded image: {host}/app:1\nLoaded image: {host}/bb:1"), "docker's own words");
    // dockerd keeps what it saves in a map: its order is another one each time.
    let loaded = index(&room, "in");
    let ids: Vec<_> = [0, 1].map(|at| id(&room, "in", &json!({"descriptor": loaded[at]}))).into();
    assert!(ids.contains(&app), "{ids:?}");
    clean(&room, "in");
    // By its ID there is no name, for either of us.
    docker.docker(&["save", "-o", theirs.to_str().unwrap(), &app]).unwrap();
    assert_eq!(room.sh("img-load --layout in2 --format docker -i theirs.tar").ok(), format!("Loaded image ID: {app}"));
    // A name whose image is here already keeps the manifest that came from the registry.
    docker.docker(&["save", "-o", theirs.to_str().unwrap(), &format!("{host}/app:1")]).unwrap();
    let before = index(&room, "l");
    room.sh("img-load --layout l -i theirs.tar").ok();
    assert_eq!(index(&room, "l"), before);
    clean(&room, "l");
}

#[test]
fn the_same_image_in_other_clothes() {
    needs!("python3", "zstd", "xz", "bzip2");
    let room = Room::new();
    let image = {
        let web = one_image(&room);
        id(&room, "l", &web)
    };
    room.sh("zstd -q good.tar -o same/outer.tar.zst; xz -k good.tar; bzip2 -k good.tar; mv good.tar.* same/").ok();
    let mut count = 0;
    for name in room.sh("ls same").ok().lines() {
        let loaded = record(&room.sh(&format!("rm -rf in; img-load --layout in <same/{name}")).ok());
        assert_eq!(
            (&loaded["ref"], id(&room, "in", &loaded)),
            (&json!("docker.io/library/web:1"), image.clone()),
            "{name}"
        );
        clean(&room, "in");
        count += 1;
    }
    assert_eq!(count, 12);
}

trait Quietly {
    fn fails_quietly(self);
}

impl Quietly for dock_tests::Ran {
    /// `grep -v` that finds nothing: exit code 1 and no word.
    #[track_caller]
    fn fails_quietly(self) {
        assert!(self.code == 1 && self.stdout.is_empty() && self.stderr.is_empty(), "{self:#?}");
    }
}

//! What loading does to the names that are there, and to a store when it breaks off.

use crate::{clean, index, one_image, record};
use dock_tests::{Room, needs};
use serde_json::json;

/// CVE-2026-50195: an archive does not take a name away from the image that has it.
#[test]
fn a_name_moves_only_by_force() {
    needs!("python3");
    let room = Room::new();
    let web = one_image(&room);
    room.write(
        "other.py",
        r#"
exec(open("make.py").read())
config = config_of(layer, author="somebody else")
write("other.tar", docker(tags=("web:1", "new:1"), files=[("c.json", config), ("1/layer.tar", layer)]))
"#,
    );
    room.sh("python3 other.py").ok();
    let ran = room.sh("img-load --layout l -i other.tar");
    assert_eq!(record(ran.stdout.trim())["ref"], "docker.io/library/new:1", "the other name is loaded");
    ran.fails(1, "web:1: the name is that of another image");
    let find = |name: &str| {
        index(&room, "l")
            .as_array()
            .unwrap()
            .iter()
            .find(|e| e["annotations"]["org.opencontainers.image.ref.name"] == name)
            .cloned()
            .unwrap()
    };
    assert_eq!(find("docker.io/library/web:1")["digest"], web["descriptor"]["digest"]);
    room.sh("img-load --force --layout l -i other.tar").ok();
    assert_eq!(find("docker.io/library/web:1")["digest"], find("docker.io/library/new:1")["digest"]);
    let kept = index(&room, "l");
    assert!(
        kept.as_array().unwrap().iter().any(|e| e["digest"] == web["descriptor"]["digest"]),
        "the displaced image stays: {kept}"
    );
    clean(&room, "l");
}

#[test]
fn a_killed_load_leaves_a_clean_store_and_the_next_one_finishes() {
    needs!("python3");
    let room = Room::new();
    one_image(&room);
    room.sh("mkfifo pipe; img-load --layout k <pipe & pid=$!
         exec 3>pipe; head -c 3000 oci.tar >&3
         for i in $(seq 1200); do [ \"$(ls k/blobs/sha256 2>/dev/null | wc -l)\" = 1 ] && [ -n \"$(ls k/.dock/tmp)\" ] && break; sleep 0.05; done
         ls k/.dock/tmp | grep -q . && kill -9 $pid && exec 3>&-; wait $pid; [ $? = 137 ]")
        .ok();
    assert_eq!(index(&room, "k"), json!([]));
    room.sh("img-load --layout k -i oci.tar").ok();
    clean(&room, "k");
}

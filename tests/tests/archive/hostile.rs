//! Archives that nobody should write.

use crate::{clean, index, one_image, record};
use dock_tests::{Room, needs};
use serde_json::{Value, json};

/// Each one is one line and exit code 1, and a store with an image in it is as it was (CVE-2014-9356, -9358,
/// CVE-2024-3727).
#[test]
fn what_is_refused_changes_nothing() {
    needs!("python3");
    let room = Room::new();
    one_image(&room);
    let before = room.sh("cd l && find . -type f | sort | xargs sha256sum").ok();
    let bad: Value = record(&std::fs::read_to_string(room.path("bad.json")).unwrap());
    for (name, says) in bad.as_object().unwrap() {
        let ran = room.sh(&format!("img-load --layout l -i bad-{name}.tar"));
        assert_eq!(ran.stdout, "", "{name}: {ran:#?}");
        ran.fails(1, says.as_str().unwrap());
        assert_eq!(room.sh("cd l && find . -type f | sort | xargs sha256sum").ok(), before, "{name}");
    }
    clean(&room, "l");
    // A cut anywhere is noticed; what is only the end mark is no loss.
    let whole = std::fs::metadata(room.path("oci.tar")).unwrap().len();
    for cut in (1..whole - 10_240).step_by(399) {
        let ran = room.sh(&format!("head -c {cut} oci.tar | img-load --layout cut"));
        assert!(ran.code == 1 && ran.stdout.is_empty(), "{cut} of {whole}: {ran:#?}");
    }
    assert_eq!(index(&room, "cut"), json!([]));
    clean(&room, "cut");
}

#[test]
fn an_index_that_names_more_than_there_is() {
    needs!("python3");
    let room = Room::new();
    one_image(&room);
    // Docker 25 and later save indexes whose other platforms are not in the file.
    room.write("hybrid.py", r#"
exec(open("make.py").read())
absent = {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": "sha256:" + "0" * 64, "size": 9, "platform": {"os": "linux", "architecture": "s390x"}}
def wrap(entry):
    global nested
    nested = dump({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [absent,
        {**absent, "platform": {"os": "unknown", "architecture": "unknown"}},
        {k: v for k, v in entry.items() if k != "annotations"} | {"platform": {"os": "linux", "architecture": "amd64"}}]})
    return {"mediaType": "application/vnd.oci.image.index.v1+json", "digest": "sha256:" + sha(nested), "size": len(nested), "annotations": entry["annotations"]}
whole = oci(wrap)
first = [("blobs/sha256/" + sha(nested), nested)]
write("nested.tar", oci(wrap, first=first))
"#);
    room.sh("python3 hybrid.py").ok();
    let ran = room.sh("img-load --layout in -i nested.tar");
    assert!(ran.stderr.contains("skipped: web:1 (linux/s390x): lacks sha256:0000"), "{ran:#?}");
    assert_eq!(ran.stderr.lines().count(), 1, "the attestation is no loss: {ran:#?}");
    let loaded = record(&ran.ok());
    assert_eq!(loaded["ref"], "docker.io/library/web:1");
    assert!(loaded["descriptor"]["annotations"]["dev.dock.source.digest"].is_string(), "{loaded}");
}

/// What dock notes about an image itself is not for an archive to claim: `web@DIGEST` would find it.
#[test]
fn an_archive_does_not_claim_a_source() {
    needs!("python3");
    let room = Room::new();
    one_image(&room);
    room.write(
        "claim.py",
        r#"
exec(open("make.py").read())
write("claim.tar", oci(lambda e: {**e, "annotations": {**e["annotations"], "dev.dock.source.digest": "sha256:" + "0" * 64, "org.example": "kept"}}))
"#,
    );
    let loaded = record(&room.sh("python3 claim.py && img-load --layout in -i claim.tar").ok());
    let annotations = json!({"org.example": "kept", "org.opencontainers.image.ref.name": "docker.io/library/web:1"});
    assert_eq!(loaded["descriptor"]["annotations"], annotations);
    room.sh(&format!("img-save --layout in web@sha256:{} >x", "0".repeat(64))).fails(1, "No such image");
}

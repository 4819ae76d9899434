//! What is going to be done, before it is: as JSON, and as the shell lines that do the same.

use crate::choose::Chosen;
use crate::ids;
use crate::stream::{self, Pool};
use anyhow::Context;
use layer_tar::Checked;
use serde_json::{Value, json};
use std::path::Path;
use wire::{Descriptor, WirePath};

/// The layers, the lowest first, whether each is unpacked already, and which IDs own what is in them. Every layer
/// is read and checked; nothing is written.
pub fn json(chosen: &Chosen, overlay: bool, store: &Path) -> anyhow::Result<Value> {
    let chain = chosen.image.chain_ids();
    let mut layers = Vec::new();
    for (at, (blob, diff_id)) in pairs(chosen).enumerate() {
        let mut layer =
            json!({ "digest": blob.digest, "mediaType": blob.media_type, "size": blob.size, "diffID": diff_id });
        if overlay {
            let dir = store.join(chain[at].algorithm().name()).join(chain[at].hex());
            layer["cached"] = dir.is_dir().into();
            layer["path"] = json!(WirePath(dir));
        }
        layers.push(layer);
    }
    let (needed, record) = (needed(chosen)?, chosen.record());
    Ok(json!({
        "image": { "layout": WirePath(chosen.layout.path().into()), "ref": record.reference, "descriptor": record.descriptor },
        "layers": layers,
        "entries": needed.entries,
        "idsNeeded": { "users": u64::from(needed.largest_uid) + 1, "groups": u64::from(needed.largest_gid) + 1 },
    }))
}

/// Refuses an image with owners that this user namespace does not have, before anything is written.
pub fn ids_are_there(chosen: &Chosen) -> anyhow::Result<()> {
    let (have, needed) = (subids::Mapping::of_process()?, needed(chosen)?);
    ids::must_have(&have.users, needed.largest_uid, "user")
        .and_then(|()| ids::must_have(&have.groups, needed.largest_gid, "group"))
        .with_context(|| chosen.name.clone())
}

fn needed(chosen: &Chosen) -> anyhow::Result<Checked> {
    let (pool, mut all) = (Pool::new(), Checked::default());
    for (blob, diff_id) in pairs(chosen) {
        let one = stream::layer(&pool, &chosen.layout, blob, diff_id, |tar| layer_tar::check(tar))
            .with_context(|| chosen.name.clone())?;
        all.entries += one.entries;
        all.largest_uid = all.largest_uid.max(one.largest_uid);
        all.largest_gid = all.largest_gid.max(one.largest_gid);
    }
    Ok(all)
}

/// The lines of a shell that does what is about to be done.
pub fn explain(chosen: &Chosen, overlay: bool, store: &Path, bundle: &Path) -> Vec<String> {
    let quoted = |path: &Path| format!("'{}'", path.display().to_string().replace('\'', r"'\''"));
    let mut lines = vec![format!("mkdir -m 700 {}", quoted(bundle))];
    let chain = chosen.image.chain_ids();
    let mut lower = Vec::new();
    for (at, (blob, _)) in pairs(chosen).enumerate() {
        let from =
            quoted(&chosen.layout.path().join("blobs").join(blob.digest.algorithm().name()).join(blob.digest.hex()));
        let to = if overlay {
            store.join(chain[at].algorithm().name()).join(chain[at].hex())
        } else {
            bundle.join("rootfs")
        };
        if overlay && to.is_dir() {
            lines.push(format!("# {} is there", quoted(&to)));
        } else {
            let how = if overlay { "# .wh.NAME: mknod NAME c 0 0" } else { "# .wh.NAME: rm -r NAME" };
            lines.push(format!("mkdir -p {0} && tar --numeric-owner --xattrs -C {0} -xpf {from}  {how}", quoted(&to)));
        }
        lower.insert(0, to.display().to_string());
    }
    if overlay {
        let at = |name| quoted(&bundle.join(name));
        lines.push(format!("mkdir {} {} {}", at("upper"), at("work"), at("rootfs")));
        lines.push(format!(
            "# later: mount -t overlay -o lowerdir={},upperdir={},workdir={} overlay {}",
            lower.join(":"),
            at("upper"),
            at("work"),
            at("rootfs")
        ));
    }
    lines
}

fn pairs(chosen: &Chosen) -> impl Iterator<Item = (&Descriptor, &wire::Digest)> {
    chosen.image.manifest.layers.iter().zip(&chosen.image.diff_ids)
}

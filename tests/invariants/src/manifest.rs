use crate::parts;
use oci_layout::{Layout, digest_of};
use std::path::Path;
use wire::media_type;

/// A manifest (where `CONFIG` stands for the digest of the configuration), a zero byte, a configuration. What opens
/// is stored byte for byte, has a diff ID and a chain ID for each layer, and its ID is the digest of the configuration.
pub fn manifest(input: &[u8]) {
    let [manifest, config] = parts::<2>(input);
    let dir = tempfile::tempdir_in(memory()).expect("temporary directory");
    let layout = Layout::open_or_create(dir.path()).expect("layout");
    let config = layout.put(media_type::CONFIG, config).expect("put");
    let manifest = String::from_utf8_lossy(manifest)
        .replace("CONFIG", &config.digest.to_string())
        .replace("SIZE", &config.size.to_string());
    let stored = layout.put(media_type::MANIFEST, manifest.as_bytes()).expect("put");
    assert_eq!(stored.digest, digest_of(manifest.as_bytes()));
    let Ok(image) = layout.open_image(&stored, None) else { return };
    assert_eq!(image.manifest_bytes, manifest.as_bytes());
    assert_eq!(*image.id(), digest_of(&image.config_bytes));
    assert_eq!(image.diff_ids.len(), image.manifest.layers.len());
    assert_eq!(image.chain_ids().len(), image.diff_ids.len());
    layout.name("docker.io/library/a:1", stored.clone()).expect("name");
    assert_eq!(layout.find("a:1").expect("find").digest, stored.digest);
    layout.collect().expect("collect");
    assert_eq!(layout.document(&stored).expect("still there"), manifest.as_bytes());
}

/// Directories in memory, where there are such.
pub(crate) fn memory() -> std::path::PathBuf {
    let shm = Path::new("/dev/shm");
    if shm.is_dir() { shm.into() } else { std::env::temp_dir() }
}

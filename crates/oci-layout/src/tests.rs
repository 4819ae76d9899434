use crate::{Error, Layout, digest_of};
use rustix::fs::FlockOperation;
use std::fs;
use std::io::{Read, Write};
use std::thread;
use std::time::Duration;
use tempfile::TempDir;
use wire::{Algorithm, Descriptor, annotation, media_type};

fn layout() -> (TempDir, Layout) {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::open_or_create(&dir.path().join("images")).unwrap();
    (dir, layout)
}

/// An image whose configuration has `text` in it.
fn image(layout: &Layout, text: &str) -> Descriptor {
    let config = format!(r#"{{"os":"linux","architecture":"amd64","author":"{text}","rootfs":{{"diff_ids":[]}}}}"#);
    let config = layout.put(media_type::CONFIG, config.as_bytes()).unwrap();
    let manifest = serde_json::json!({"schemaVersion": 2, "config": config, "layers": []});
    layout.put(media_type::MANIFEST, manifest.to_string().as_bytes()).unwrap()
}

#[test]
fn a_blob_appears_only_under_its_own_digest() {
    let (_dir, layout) = layout();
    let good = Descriptor::new("t", digest_of(b"hello"), 5);
    let write = |bytes: &[u8]| {
        let mut writer = layout.writer().unwrap();
        writer.write_all(bytes).unwrap();
        writer
    };
    assert_eq!(write(b"hello").count(), 5);
    assert!(matches!(write(b"hellO").commit(&good), Err(Error::Digest { .. })));
    assert!(matches!(write(b"hell").commit(&good), Err(Error::Size { .. })));
    drop(write(b"never"));
    assert!(layout.blobs().unwrap().is_empty());
    write(b"hello").commit(&good).unwrap();
    write(b"hello").commit(&good).unwrap();
    assert_eq!(layout.has(&good.digest), Some(5));
    assert_eq!(fs::read_dir(layout.path().join(".dock/tmp")).unwrap().count(), 0);
    // Committing mends a damaged blob.
    fs::write(layout.blob_path(&good.digest), b"hellO").unwrap();
    write(b"hello").commit(&good).unwrap();
    assert_eq!(layout.document(&good).unwrap(), b"hello");
    // The other algorithm.
    let mut writer = layout.writer_for(Algorithm::Sha512).unwrap();
    writer.write_all(b"hello").unwrap();
    let long = writer.finish("t").unwrap();
    assert_eq!(layout.document(&long).unwrap(), b"hello");
    let other = Descriptor::new("t", long.digest, 5);
    assert!(matches!(write(b"hello").commit(&other), Err(Error::Digest { .. })), "hashed with another algorithm");
}

#[test]
fn a_reader_fails_when_the_bytes_are_not_the_descriptors_and_keeps_failing() {
    let (_dir, layout) = layout();
    let bytes: Vec<u8> = (0..700_000u32).map(|n| n.to_le_bytes()[1]).collect();
    let blob = layout.put("t", &bytes).unwrap();
    let mut read = Vec::new();
    layout.read(&blob).unwrap().read_to_end(&mut read).unwrap();
    assert!(read == bytes);
    let path = layout.blob_path(&blob.digest);
    let mut damaged = bytes.clone();
    damaged[350_000] ^= 1;
    fs::write(&path, &damaged).unwrap();
    let mut reader = layout.read(&blob).unwrap();
    for _ in 0..2 {
        let error = reader.read_to_end(&mut Vec::new()).unwrap_err();
        assert!(matches!(error.downcast(), Ok(Error::Digest { .. })));
    }
    let mut start = [0; 10];
    let mut reader = layout.read(&blob).unwrap();
    reader.read_exact(&mut start).unwrap();
    assert!(reader.finish().is_err(), "who stops early is told by finish");
    fs::write(&path, &bytes[1..]).unwrap();
    assert!(matches!(layout.read(&blob), Err(Error::Size { .. })));
    // A file that grows while it is read.
    fs::write(&path, &bytes).unwrap();
    let reader = layout.read(&blob).unwrap();
    fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"more").unwrap();
    assert!(reader.finish().is_err());
    fs::remove_file(&path).unwrap();
    assert!(matches!(layout.read(&blob), Err(Error::Missing(_))));
}

#[test]
fn documents_are_capped() {
    let (_dir, layout) = layout();
    let big = layout.put("t", &vec![b' '; (4 << 20) + 1]).unwrap();
    assert!(matches!(layout.document(&big), Err(Error::TooLarge { .. })));
}

#[test]
fn names_move_and_images_stay() {
    let (_dir, layout) = layout();
    let (a, b) = (image(&layout, "a"), image(&layout, "b"));
    assert_eq!(layout.name("n", a.clone()).unwrap(), None);
    assert_eq!(layout.name("n", a.clone()).unwrap(), None, "the same again displaces nothing");
    assert_eq!(layout.name("n", b.clone()).unwrap().unwrap().digest, a.digest);
    let names = || -> Vec<_> {
        let entries = layout.index().unwrap();
        entries.iter().map(|e| (e.annotation(annotation::REF_NAME).map(str::to_owned), e.digest.clone())).collect()
    };
    assert_eq!(names(), [(Some("n".into()), b.digest.clone()), (None, a.digest.clone())]);
    layout.add_unnamed(a.clone()).unwrap();
    assert_eq!(names().len(), 2);
    layout.name("m", a.clone()).unwrap();
    assert_eq!(names(), [(Some("n".into()), b.digest.clone()), (Some("m".into()), a.digest.clone())]);
    assert_eq!(layout.unname("n").unwrap().unwrap().digest, b.digest);
    assert_eq!(layout.unname("n").unwrap(), None);
    assert_eq!(layout.unname_but_keep("m").unwrap().unwrap().digest, a.digest);
    assert_eq!(names(), [(None, a.digest.clone())]);
    // Many in one step: the answer to each name sees what the ones before have done.
    let wanted = [("k", &b), ("k", &a), ("l", &a)].map(|(name, image)| (name.to_owned(), image));
    let mut there = Vec::new();
    let free = |image: &Descriptor, has: Option<&Descriptor>| {
        there.push(has.map(|has| has.digest.clone()));
        has.is_none().then(|| image.clone())
    };
    layout.name_many(wanted, free).unwrap();
    assert_eq!(there, [None, Some(b.digest.clone()), None]);
    assert_eq!(names(), [(Some("k".into()), b.digest.clone()), (Some("l".into()), a.digest.clone())]);
    layout.name_many([("k".to_owned(), &a), ("l".to_owned(), &a)], |image, _| Some(image.clone())).unwrap();
    let moved = [(Some("k".into()), a.digest.clone()), (Some("l".into()), a.digest.clone()), (None, b.digest.clone())];
    assert_eq!(names(), moved, "what was displaced stays");
    layout.name_many([("k".to_owned(), &b)], |image, _| Some(image.clone())).unwrap();
    assert_eq!(names(), [(Some("k".into()), b.digest.clone()), (Some("l".into()), a.digest.clone())]);
    assert_eq!(layout.forget(&a.digest).unwrap().len(), 1);
    assert_eq!(layout.forget(&b.digest).unwrap().len(), 1);
    assert!(names().is_empty());
}

#[test]
fn what_nothing_reaches_is_collected_and_what_is_pinned_is_not() {
    let (_dir, layout) = layout();
    let (a, b, c) = (image(&layout, "a"), image(&layout, "b"), image(&layout, "c"));
    layout.name("a", a.clone()).unwrap();
    layout.pin("key", &b).unwrap();
    let hold = layout.hold().unwrap();
    assert_eq!(layout.try_collect().unwrap(), None);
    // Not every file system gives its locks the device that stat(2) says: then nobody is named.
    let busy = layout.collect_unless_busy().unwrap_err().to_string();
    let (told, me) = (busy.contains(" by "), format!(" ({}): their layout will be swept", std::process::id()));
    assert!(busy.starts_with("images are being written") && (!told || busy.contains(&me)), "{busy}");
    drop(hold);
    // Another collector is waited for.
    let collector = layout.lock("blobs.lock", FlockOperation::LockExclusive).unwrap();
    let removed = thread::scope(|scope| {
        let waiting = scope.spawn(|| layout.collect_unless_busy());
        thread::sleep(Duration::from_millis(50));
        drop(collector);
        waiting.join().unwrap().unwrap()
    });
    assert_eq!(removed.len(), 2);
    assert!(removed.iter().any(|(digest, _)| *digest == c.digest));
    assert_eq!(layout.pinned("key").unwrap().unwrap(), b);
    assert_eq!(layout.find(&b.digest.to_string()).unwrap().digest, b.digest, "a pinned image by its whole digest");
    assert!(matches!(layout.find(b.digest.short()), Err(Error::NotFound(_))), "and not by a part");
    layout.unpin("key").unwrap();
    layout.unpin("key").unwrap();
    assert_eq!(layout.collect().unwrap().len(), 2);
    for bad in ["", ".", "..", ".x", "a/b", "a\0", "ä", &"x".repeat(201)] {
        assert!(matches!(layout.pin(bad, &a), Err(Error::PinKey(_))), "{bad:?}");
    }
}

#[test]
fn an_index_leads_to_the_manifest_of_the_platform() {
    let (_dir, layout) = layout();
    let mut manifests = Vec::new();
    for architecture in ["amd64", "arm64"] {
        let config = format!(r#"{{"os":"linux","architecture":"{architecture}"}}"#);
        let config = layout.put(media_type::CONFIG, config.as_bytes()).unwrap();
        let manifest = serde_json::json!({"schemaVersion": 2, "config": config, "layers": []});
        let mut manifest = layout.put(media_type::MANIFEST, manifest.to_string().as_bytes()).unwrap();
        manifest.platform = Some(serde_json::json!({"os": "linux", "architecture": architecture}));
        manifests.push(manifest);
    }
    let index = serde_json::json!({"schemaVersion": 2, "manifests": manifests});
    let index = layout.put(media_type::INDEX, index.to_string().as_bytes()).unwrap();
    layout.name("multi", index.clone()).unwrap();
    for (wanted, place) in [("linux/amd64", 0), ("linux/arm64/v8", 1)] {
        let image = layout.open_image(&index, Some(&wanted.parse().unwrap())).unwrap();
        assert_eq!(image.descriptor.digest, manifests[place].digest);
        assert_eq!(layout.find(image.id().short()).unwrap().digest, index.digest, "either ID finds the index");
        assert!(layout.open_image(&image.descriptor, Some(&"linux/s390x".parse().unwrap())).is_err());
    }
    let error = layout.open_image(&index, Some(&"linux/s390x".parse().unwrap())).unwrap_err();
    assert!(error.to_string().ends_with("no image for linux/s390x, only for linux/amd64, linux/arm64"), "{error}");
    assert!(layout.collect().unwrap().is_empty());
    // An index that points to itself ends.
    let deep = serde_json::json!({"schemaVersion": 2, "manifests": [index]});
    let mut deep = layout.put(media_type::INDEX, deep.to_string().as_bytes()).unwrap();
    for _ in 0..4 {
        let next = serde_json::json!({"schemaVersion": 2, "manifests": [deep]});
        deep = layout.put(media_type::INDEX, next.to_string().as_bytes()).unwrap();
    }
    assert!(layout.open_image(&deep, None).unwrap_err().to_string().contains("too deep"));
}

#[test]
fn chain_ids_are_those_of_the_specification() {
    let (_dir, layout) = layout();
    let (first, second) = (digest_of(b"one"), digest_of(b"two"));
    let layer = layout.put(media_type::LAYER, b"x").unwrap();
    let config = serde_json::json!({"rootfs": {"diff_ids": [first, second]}});
    let config = layout.put(media_type::CONFIG, config.to_string().as_bytes()).unwrap();
    let manifest = |layers: &[&Descriptor]| {
        let manifest = serde_json::json!({"schemaVersion": 2, "config": config, "layers": layers});
        layout.put(media_type::MANIFEST, manifest.to_string().as_bytes()).unwrap()
    };
    let image = layout.open_image(&manifest(&[&layer, &layer]), None).unwrap();
    let chain = digest_of(format!("{first} {second}").as_bytes());
    assert_eq!(image.chain_ids(), [first, chain]);
    let error = layout.open_image(&manifest(&[&layer]), None).unwrap_err();
    assert!(error.to_string().contains("2 diff IDs for 1 layers"), "{error}");
}

#[test]
fn temporary_files_of_the_dead_are_swept_and_those_of_the_living_stay() {
    let (_dir, layout) = layout();
    let mut writer = layout.writer().unwrap();
    writer.write_all(b"hello").unwrap();
    fs::write(layout.path().join(".dock/tmp/4711.0"), b"left by kill -9").unwrap();
    Layout::open_or_create(layout.path()).unwrap();
    assert_eq!(fs::read_dir(layout.path().join(".dock/tmp")).unwrap().count(), 1);
    writer.finish("t").unwrap();
    assert_eq!(fs::read_dir(layout.path().join(".dock/tmp")).unwrap().count(), 0);
}

#[test]
fn a_half_made_layout_is_made_whole_and_a_foreign_directory_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let half = dir.path().join("half");
    fs::create_dir_all(half.join("blobs/sha256")).unwrap();
    fs::create_dir_all(half.join(".dock/tmp")).unwrap();
    assert!(matches!(Layout::open(&half), Err(Error::NotALayout { .. })));
    Layout::open_or_create(&half).unwrap();
    fs::remove_file(half.join("index.json")).unwrap();
    assert!(Layout::open_or_create(&half).unwrap().index().unwrap().is_empty());
    fs::write(half.join("oci-layout"), r#"{"imageLayoutVersion":"2.0"}"#).unwrap();
    assert!(Layout::open(&half).unwrap_err().to_string().contains("version"));
    let foreign = dir.path().join("foreign");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("thesis.tex"), "").unwrap();
    assert!(matches!(Layout::open_or_create(&foreign), Err(Error::NotALayout { .. })));
    assert_eq!(fs::read_dir(&foreign).unwrap().count(), 1);
}

#[test]
fn a_layout_appears_whole_however_many_make_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("deep/images");
    fs::create_dir_all(dir.path().join("deep/.images.new.1.0/blobs")).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let layout = Layout::open_or_create(&path).unwrap();
                let entry = image(&layout, "x");
                layout.name(&format!("{:?}", std::thread::current().id()), entry).unwrap();
            });
        }
    });
    assert_eq!(Layout::open(&path).unwrap().index().unwrap().len(), 8);
    let left: Vec<_> = fs::read_dir(dir.path().join("deep")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["images"], "what a killed maker left is gone");
}

use crate::manifest::memory;
use dock_tests::tree;
use layer_tar::{Compare, Flat, LayerWriter, Options, Owners, Stack, Target, apply, diff_trees};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags, open};
use std::fs;
use std::path::Path;

/// A layer, uncompressed. Whatever it says, nothing outside the root changes. What applies once applies again to the
/// same tree; the flat view of it is that tree; and the difference to nothing, applied, is it once more.
pub fn layer(input: &[u8]) {
    let layer = with_checksums(input);
    let dir = tempfile::tempdir_in(memory()).expect("temporary directory");
    let path = |name: &str| dir.path().join(name);
    for name in ["outside", "root", "again", "flat", "copy"] {
        fs::create_dir(path(name)).expect("mkdir");
    }
    fs::write(path("outside/canary"), "sings").expect("write");
    let outside = tree::list(&path("outside"));

    let applied = apply_to(&layer, &path("root"));
    assert_eq!(tree::list(&path("outside")), outside, "it left the root");
    assert_eq!(fs::read_dir(dir.path()).expect("readdir").count(), 5, "it left the root");
    if !applied {
        return;
    }
    let expected = content(&path("root"));
    assert!(apply_to(&layer, &path("again")), "it applies only once");
    assert_eq!(content(&path("again")), expected, "a second time is different");

    let difference = difference_to_nothing(&path("root"));
    assert!(apply_to(&difference, &path("copy")), "our own layer does not apply");
    assert_eq!(content(&path("copy")), expected, "the difference to nothing is something else");

    if let Some(flat) = flat_view(&layer) {
        assert!(apply_to(&flat, &path("flat")), "the flat view does not apply");
        assert_eq!(content(&path("flat")), expected, "the flat view is something else");
    }
}

fn open_dir(path: &Path) -> OwnedFd {
    open(path, OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).expect("open")
}

fn apply_to(layer: &[u8], root: &Path) -> bool {
    let root = open_dir(root);
    let owners = if rustix::process::geteuid().is_root() { Owners::Keep } else { Owners::Mine };
    let options = Options { owners, target: Target::Tree, umask_is_zero: false, selinux: false };
    apply(layer, root.as_fd(), &options).is_ok()
}

/// The tree without the root itself, whose time is that of its last change.
fn content(root: &Path) -> Vec<(std::path::PathBuf, tree::Entry)> {
    tree::list(root).into_iter().filter(|(path, _)| !path.as_os_str().is_empty()).collect()
}

fn difference_to_nothing(root: &Path) -> Vec<u8> {
    let stack = Stack::open(&[root.into()]).expect("stack");
    let mut writer = LayerWriter::new(Vec::new(), None);
    diff_trees(None, &stack, &Compare::default(), &mut writer).expect("diff");
    writer.finish().expect("finish")
}

fn flat_view(layer: &[u8]) -> Option<Vec<u8>> {
    let mut flat = Flat::new();
    flat.add(layer).ok()?;
    let mut writer = flat.writer(Vec::new(), None).ok()?;
    writer.add(layer).ok()?;
    writer.finish().ok()
}

/// Mends the checksum of every header, or no change of a byte would ever get past it.
fn with_checksums(input: &[u8]) -> Vec<u8> {
    let mut tar = input.to_vec();
    tar.truncate(1 << 20);
    let mut at = 0;
    while at + 512 <= tar.len() {
        let header = &mut tar[at..at + 512];
        if header.iter().all(|byte| *byte == 0) {
            at += 512;
            continue;
        }
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let digits = header[124..136].iter().take_while(|byte| (b'0'..=b'7').contains(byte));
        let size = digits.fold(0_usize, |size, byte| (size << 3 | usize::from(byte - b'0')) & 0xF_FFFF);
        at += 512 + size.next_multiple_of(512);
    }
    tar.resize(tar.len().next_multiple_of(512) + 1024, 0);
    tar
}

//! A tree as a list: everything about every entry that an unpacked layer has to get right, for comparison.

use rustix::fs::{lgetxattr, llistxattr};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// `file`, `directory`, `symlink`, `char`, `block`, `fifo`, `socket`.
    pub kind: &'static str,
    /// Permission, set-id and sticky bits.
    pub mode: u32,
    /// Owner and group.
    pub owner: (u32, u32),
    /// Size of a file.
    pub size: u64,
    /// SHA-256 of a file, target of a link.
    pub content: String,
    /// Seconds and nanoseconds.
    pub mtime: (i64, i64),
    /// Device number.
    pub rdev: u64,
    /// Extended attributes, without overlayfs's own.
    pub xattrs: BTreeMap<String, Vec<u8>>,
    /// The first of the names that the file has in this tree, when it has several.
    pub linked_to: Option<PathBuf>,
}

/// Lists the tree below `root`; the root is the empty path.
pub fn list(root: &Path) -> BTreeMap<PathBuf, Entry> {
    let mut entries = BTreeMap::new();
    let mut inodes: BTreeMap<u64, Vec<PathBuf>> = BTreeMap::new();
    visit(root, Path::new(""), &mut entries, &mut inodes);
    for names in inodes.into_values().filter(|names| names.len() > 1) {
        let first = names.iter().min().cloned();
        for name in names {
            entries.get_mut(&name).expect("listed").linked_to.clone_from(&first);
        }
    }
    entries
}

fn visit(root: &Path, path: &Path, entries: &mut BTreeMap<PathBuf, Entry>, inodes: &mut BTreeMap<u64, Vec<PathBuf>>) {
    let full = if path.as_os_str().is_empty() { root.to_owned() } else { root.join(path) };
    let meta = fs::symlink_metadata(&full).expect("lstat");
    let kind = meta.file_type();
    let (kind, content) = match kind {
        _ if kind.is_dir() => ("directory", String::new()),
        _ if kind.is_symlink() => ("symlink", fs::read_link(&full).expect("readlink").display().to_string()),
        _ if kind.is_char_device() => ("char", String::new()),
        _ if kind.is_block_device() => ("block", String::new()),
        _ if kind.is_fifo() => ("fifo", String::new()),
        _ if kind.is_socket() => ("socket", String::new()),
        _ => ("file", hex(&Sha256::digest(fs::read(&full).expect("read")))),
    };
    if kind != "directory" {
        inodes.entry(meta.ino()).or_default().push(path.to_owned());
    }
    let entry = Entry {
        kind,
        mode: meta.mode() & 0o7777,
        owner: (meta.uid(), meta.gid()),
        size: if kind == "file" { meta.len() } else { 0 },
        content,
        mtime: (meta.mtime(), meta.mtime_nsec()),
        rdev: if matches!(kind, "char" | "block") { meta.rdev() } else { 0 },
        xattrs: xattrs(&full),
        linked_to: None,
    };
    entries.insert(path.to_owned(), entry);
    if kind == "directory" {
        for child in fs::read_dir(&full).expect("readdir") {
            visit(root, &path.join(child.expect("readdir").file_name()), entries, inodes);
        }
    }
}

fn xattrs(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut names = vec![0u8; 65536];
    let used = llistxattr(path, &mut names[..]).unwrap_or(0);
    let mut found = BTreeMap::new();
    for name in names[..used].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let name = String::from_utf8_lossy(name).into_owned();
        let mut value = vec![0u8; 65536];
        if !name.contains(".overlay.")
            && let Ok(used) = lgetxattr(path, &name[..], &mut value[..])
        {
            value.truncate(used);
            found.insert(name, value);
        }
    }
    found
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Asserts that two listings are equal, and says where they are not.
#[track_caller]
pub fn assert_equal(left: &BTreeMap<PathBuf, Entry>, right: &BTreeMap<PathBuf, Entry>) {
    assert!(!left.is_empty() && !right.is_empty(), "an empty listing compares with nothing");
    let mut report = String::new();
    for path in left.keys().chain(right.keys().filter(|path| !left.contains_key(*path))) {
        let (a, b) = (left.get(path), right.get(path));
        if a != b {
            let _ = writeln!(report, "{path:?}\n  left  {a:?}\n  right {b:?}");
        }
    }
    assert!(report.is_empty(), "trees differ:\n{report}");
}

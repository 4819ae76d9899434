//! ADD of a local archive: its kind is in its bytes, not in its name, and its entries go into the layer as
//! they stand, below the destination.

use crate::below::{Kind as Place, inside};
use crate::copy::Layer;
use crate::source::{Entry, Root};
use anyhow::{Context, bail};
use layer_tar::codec;
use layer_tar::write::Device;
use layer_tar::{Meta, Time, Xattrs};
use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use tar::EntryType;

const BLOCK: usize = 512;
const MOST_ENTRIES: usize = 4_000_000;
/// What an xz stream may make us remember: `xz -9` takes 65 MiB.
const XZ_MEMORY: u64 = 128 << 20;

/// Whether a file is a tar archive, compressed or not.
pub fn is_one(mut file: File) -> anyhow::Result<bool> {
    file.seek(SeekFrom::Start(0))?;
    // What does not decompress is a file like any other.
    Ok(plain(file).and_then(head).is_ok_and(|start| is_header(&start)))
}

/// The stream without what it is compressed with: people keep archives as .tar.gz, .tar.bz2, .tar.xz, .tar.zst.
pub fn plain<'a>(from: impl Read + Send + 'a) -> std::io::Result<Box<dyn Read + Send + 'a>> {
    codec::decoder(codec::foreign_within(from, XZ_MEMORY)?)
}

pub fn head(stream: impl Read) -> std::io::Result<Vec<u8>> {
    let mut start = Vec::with_capacity(BLOCK);
    stream.take(BLOCK as u64).read_to_end(&mut start)?;
    Ok(start)
}

/// The checksum of a tar header is the sum of its bytes, itself counted as blanks.
pub fn is_header(block: &[u8]) -> bool {
    if block.len() < BLOCK || block[0] == 0 {
        return false;
    }
    let field = String::from_utf8_lossy(&block[148..156]);
    let sum: u64 =
        block.iter().enumerate().map(|(at, b)| u64::from(if (148..156).contains(&at) { b' ' } else { *b })).sum();
    u64::from_str_radix(field.trim_matches(['\0', ' ']), 8) == Ok(sum)
}

/// Writes every entry of the archive below `target`. Of a path that stands there twice the last one counts.
pub fn unpack<W: Write>(layer: &mut Layer<'_, W>, root: &Root, entry: &Entry, target: &Path) -> anyhow::Result<()> {
    let shown = || entry.path.display().to_string();
    layer.directory(target)?;
    let mut last: HashMap<PathBuf, usize> = HashMap::new();
    let mut archive = tar::Archive::new(plain(root.read(&entry.path)?)?);
    for (index, member) in archive.entries()?.enumerate() {
        let member = member.with_context(shown)?;
        last.insert(inside(&member.path()?).with_context(shown)?, index);
        if index > MOST_ENTRIES {
            bail!("{}: more than {MOST_ENTRIES} entries", shown());
        }
    }
    let mut places: HashMap<PathBuf, PathBuf> = HashMap::new();
    let mut archive = tar::Archive::new(plain(root.read(&entry.path)?)?);
    for (index, member) in archive.entries()?.enumerate() {
        let mut member = member.with_context(shown)?;
        let own = inside(&member.path()?)?;
        if own.as_os_str().is_empty() || last.get(&own) != Some(&index) {
            continue;
        }
        self::member(layer, &mut member, &own, target, &mut places)
            .with_context(|| format!("{}: {}", shown(), own.display()))?;
    }
    Ok(())
}

fn member<W: Write>(
    layer: &mut Layer<'_, W>,
    member: &mut tar::Entry<'_, impl Read>,
    own: &Path,
    target: &Path,
    places: &mut HashMap<PathBuf, PathBuf>,
) -> anyhow::Result<()> {
    use std::os::unix::ffi::OsStrExt;
    let name = own.file_name().unwrap_or_default();
    if own.iter().any(|part| part.as_bytes().starts_with(layer_tar::WHITEOUT_PREFIX)) {
        bail!("a layer cannot hold a name that starts with .wh.");
    }
    let parent = layer.below.resolve(&target.join(own.parent().unwrap_or(Path::new(""))))?;
    layer.directory(&parent)?;
    let path = parent.join(name);
    let kind = member.header().entry_type();
    let there = layer.below.kind(&path)?;
    if there == Some(Place::Directory) && !kind.is_dir() {
        bail!("is a directory in the image");
    }
    let mut meta = meta(member)?;
    if let Some((uid, gid)) = layer.owner {
        (meta.uid, meta.gid) = (uid, gid);
    }
    if !layer.remember(&path) {
        if kind.is_dir() {
            return Ok(());
        }
        bail!("two sources bring the same path");
    }
    places.insert(own.to_owned(), path.clone());
    let device = || -> anyhow::Result<Device> {
        let header = member.header();
        Ok(Device { major: header.device_major()?.unwrap_or(0), minor: header.device_minor()?.unwrap_or(0) })
    };
    match kind {
        EntryType::Directory => {
            layer.tar.directory(&path, &meta)?;
            return layer.below.put(&path, Place::Directory);
        }
        EntryType::Symlink => {
            let link = member.link_name()?.context("a link without a target")?.into_owned();
            layer.tar.symlink(&path, &meta, link.as_os_str().as_bytes())?;
            return layer.below.put_link(&path, link);
        }
        EntryType::Link => {
            let link = inside(&member.link_name()?.context("a link without a target")?)?;
            let first = places
                .get(&link)
                .with_context(|| format!("hard link to {}: not in the archive before it", link.display()))?;
            layer.tar.hard_link(&path, &meta, first)?;
        }
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
            let size = member.size();
            layer.tar.file(&path, &meta, size, member)?;
        }
        EntryType::Fifo => layer.tar.fifo(&path, &meta)?,
        EntryType::Char => layer.tar.char_device(&path, &meta, device()?)?,
        EntryType::Block => layer.tar.block_device(&path, &meta, device()?)?,
        other => bail!("entry of unknown type {other:?}"),
    }
    layer.below.put(&path, Place::Other)
}

fn meta(member: &mut tar::Entry<'_, impl Read>) -> anyhow::Result<Meta> {
    let header = member.header();
    let id = |id: u64| u32::try_from(id).context("owner out of range");
    let mut meta = Meta {
        mode: header.mode()? & 0o7777,
        uid: id(header.uid()?)?,
        gid: id(header.gid()?)?,
        mtime: Time::at(i64::try_from(header.mtime()?).unwrap_or(0)),
        xattrs: Xattrs::new(),
    };
    if let Some(records) = member.pax_extensions()? {
        for record in records {
            let record = record?;
            let text = || record.value().context("PAX record");
            match record.key_bytes() {
                b"uid" => meta.uid = text()?.parse()?,
                b"gid" => meta.gid = text()?.parse()?,
                b"mtime" => meta.mtime = time(text()?).context("PAX mtime")?,
                key => {
                    if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                        meta.xattrs.insert(name.to_vec(), record.value_bytes().to_vec());
                    }
                }
            }
        }
    }
    Ok(meta)
}

/// `[-]seconds[.fraction]`
fn time(text: &str) -> Option<Time> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let nanos: u32 = digits.parse().ok()?;
    if text.starts_with('-') && nanos > 0 {
        return Some(Time { seconds: seconds - 1, nanos: 1_000_000_000 - nanos });
    }
    Some(Time { seconds, nanos })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pax_times() {
        for (text, seconds, nanos) in
            [("5", 5, 0), ("1.5", 1, 500_000_000), ("-0.25", -1, 750_000_000), ("-2.5", -3, 500_000_000)]
        {
            assert_eq!(time(text), Some(Time { seconds, nanos }), "{text}");
        }
        assert_eq!(time("x"), None);
    }

    #[test]
    fn headers_have_a_sum() {
        let mut header = tar::Header::new_gnu();
        header.set_path("a").unwrap();
        header.set_size(0);
        header.set_cksum();
        assert!(is_header(header.as_bytes()));
        assert!(!is_header(&[b'x'; 512]));
        assert!(!is_header(&[0; 512]));
        assert!(!is_header(b"short"));
    }
}

//! Writing layers: POSIX tar with PAX records only where a header has no room, and the same bytes for the
//! same entries. No user or group names, no access or change times: they say where a layer was made, not what it is.

use crate::{Error, Meta, OPAQUE_NAME, Result, Time, WHITEOUT_PREFIX};
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

const BLOCK: usize = 512;
const BUFFER: usize = 256 * 1024;
/// What eleven octal digits can say.
const LARGEST_SIZE: u64 = (1 << 33) - 1;
/// What seven octal digits can say.
const LARGEST_ID: u32 = (1 << 21) - 1;
/// Xattr namespaces that describe an overlay mount on this machine and mean nothing in a layer.
const OVERLAY_NAMESPACES: [&[u8]; 2] = [b"trusted.overlay.", b"user.overlay."];

/// Which device a node stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Device {
    /// The driver.
    pub major: u32,
    /// Its unit.
    pub minor: u32,
}

/// Writes the entries of one layer. Paths are relative to the root of the file system (a leading `/` or `./`
/// is dropped; the root itself is `.`). The caller brings each path once, parents before children.
pub struct TarWriter<W: Write> {
    to: W,
    latest: Option<i64>,
    buffer: Vec<u8>,
}

impl<W: Write> std::fmt::Debug for TarWriter<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TarWriter")
    }
}

struct Entry<'a> {
    path: &'a Path,
    flag: u8,
    size: u64,
    link: &'a [u8],
    device: Device,
}

impl<'a> Entry<'a> {
    fn new(path: &'a Path, flag: u8) -> Self {
        Self { path, flag, size: 0, link: b"", device: Device { major: 0, minor: 0 } }
    }
}

impl<W: Write> TarWriter<W> {
    /// A writer to `to`. Times later than `latest` (seconds since 1970, the value of `SOURCE_DATE_EPOCH`)
    /// become `latest`.
    pub fn new(to: W, latest: Option<i64>) -> Self {
        Self { to, latest, buffer: Vec::new() }
    }

    /// A directory.
    pub fn directory(&mut self, path: &Path, meta: &Meta) -> Result<()> {
        self.entry(&Entry::new(path, b'5'), meta)
    }

    /// A regular file whose `size` bytes come from `content`; more or fewer of them are an error.
    pub fn file(&mut self, path: &Path, meta: &Meta, size: u64, mut content: impl Read) -> Result<()> {
        self.entry(&Entry { size, ..Entry::new(path, b'0') }, meta)?;
        let mut left = size;
        self.buffer.resize(BUFFER, 0);
        // One byte more than there should be, to see that it is not there.
        loop {
            let want = usize::try_from(left + 1).unwrap_or(BUFFER).min(BUFFER);
            let read = match content.read(&mut self.buffer[..want]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            };
            if read == 0 || read as u64 > left {
                left = if read == 0 { left } else { u64::MAX };
                break;
            }
            self.to.write_all(&self.buffer[..read])?;
            left -= read as u64;
        }
        if left != 0 {
            let reason = "the file changed while it was read".into();
            return Err(Error::Unsayable { path: path.into(), reason });
        }
        self.pad(size)
    }

    /// A symbolic link.
    pub fn symlink(&mut self, path: &Path, meta: &Meta, target: &[u8]) -> Result<()> {
        self.entry(&Entry { link: target, ..Entry::new(path, b'2') }, meta)
    }

    /// A second name for a file that an earlier entry of this layer brought as `target`.
    pub fn hard_link(&mut self, path: &Path, meta: &Meta, target: &Path) -> Result<()> {
        let target = relative(target);
        self.entry(&Entry { link: target, ..Entry::new(path, b'1') }, meta)
    }

    /// A character device.
    pub fn char_device(&mut self, path: &Path, meta: &Meta, device: Device) -> Result<()> {
        self.entry(&Entry { device, ..Entry::new(path, b'3') }, meta)
    }

    /// A block device.
    pub fn block_device(&mut self, path: &Path, meta: &Meta, device: Device) -> Result<()> {
        self.entry(&Entry { device, ..Entry::new(path, b'4') }, meta)
    }

    /// A named pipe.
    pub fn fifo(&mut self, path: &Path, meta: &Meta) -> Result<()> {
        self.entry(&Entry::new(path, b'6'), meta)
    }

    /// Removes `path` of the layers below.
    pub fn whiteout(&mut self, path: &Path) -> Result<()> {
        let name = path.file_name().map(OsStr::as_bytes).unwrap_or_default();
        let name = [WHITEOUT_PREFIX, name].concat();
        self.entry(&Entry::new(&path.with_file_name(OsStr::from_bytes(&name)), b'0'), &Meta::default())
    }

    /// Empties the directory `path` of everything that the layers below have in it.
    pub fn opaque(&mut self, path: &Path) -> Result<()> {
        self.entry(&Entry::new(&path.join(OsStr::from_bytes(OPAQUE_NAME)), b'0'), &Meta::default())
    }

    /// Writes the end of the archive and gives the sink back.
    pub fn finish(mut self) -> Result<W> {
        self.to.write_all(&[0; 2 * BLOCK])?;
        self.to.flush()?;
        Ok(self.to)
    }

    fn entry(&mut self, entry: &Entry<'_>, meta: &Meta) -> Result<()> {
        let mut path = relative(entry.path).to_vec();
        if path.contains(&0) || entry.link.contains(&0) {
            return Err(Error::Unsayable { path: entry.path.into(), reason: "NUL in a name".into() });
        }
        if entry.flag == b'5' {
            path.push(b'/');
        }
        let mtime = self.clamped(meta.mtime);
        let records = pax_records(&path, entry, meta, mtime)?;
        if !records.is_empty() {
            let name = [b"PaxHeaders.0/", &path[..path.len().min(80)]].concat();
            let record_entry = Entry { size: records.len() as u64, ..Entry::new(Path::new(""), b'x') };
            let plain = Meta { mode: 0o644, ..Meta::default() };
            self.to.write_all(&header(&name, &record_entry, &plain, Time::default()))?;
            self.to.write_all(&records)?;
            self.pad(records.len() as u64)?;
        }
        self.to.write_all(&header(&path, entry, meta, mtime))?;
        Ok(())
    }

    fn clamped(&self, time: Time) -> Time {
        match self.latest {
            Some(latest) if time > Time::at(latest) => Time::at(latest),
            _ => time,
        }
    }

    fn pad(&mut self, written: u64) -> Result<()> {
        let over = usize::try_from(written % BLOCK as u64).unwrap_or(0);
        if over > 0 {
            self.to.write_all(&[0; BLOCK][over..])?;
        }
        Ok(())
    }
}

/// `/a/./b/` and `./a/b` are `a/b`; the root is `.`.
fn relative(path: &Path) -> &[u8] {
    let mut bytes = path.as_os_str().as_bytes();
    while let Some(rest) = bytes.strip_prefix(b"/").or_else(|| bytes.strip_prefix(b"./")) {
        bytes = rest;
    }
    while let Some(rest) = bytes.strip_suffix(b"/") {
        bytes = rest;
    }
    if bytes.is_empty() { b"." } else { bytes }
}

fn header(path: &[u8], entry: &Entry<'_>, meta: &Meta, mtime: Time) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    put(&mut block[0..100], path);
    octal(&mut block[100..108], u64::from(meta.mode));
    octal(&mut block[108..116], u64::from(if meta.uid > LARGEST_ID { 0 } else { meta.uid }));
    octal(&mut block[116..124], u64::from(if meta.gid > LARGEST_ID { 0 } else { meta.gid }));
    octal(&mut block[124..136], if entry.size > LARGEST_SIZE { 0 } else { entry.size });
    octal(&mut block[136..148], u64::try_from(mtime.seconds).unwrap_or(0).min(LARGEST_SIZE));
    block[156] = entry.flag;
    put(&mut block[157..257], entry.link);
    block[257..265].copy_from_slice(b"ustar\x0000");
    octal(&mut block[329..337], u64::from(entry.device.major));
    octal(&mut block[337..345], u64::from(entry.device.minor));
    block[148..156].fill(b' ');
    let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
    octal(&mut block[148..155], sum);
    block
}

/// As much as fits: the whole of a longer text is in a PAX record.
fn put(field: &mut [u8], text: &[u8]) {
    let length = text.len().min(field.len());
    field[..length].copy_from_slice(&text[..length]);
}

fn octal(field: &mut [u8], value: u64) {
    let digits = field.len() - 1;
    put(field, format!("{value:0digits$o}").as_bytes());
}

/// What the header has no room for.
fn pax_records(path: &[u8], entry: &Entry<'_>, meta: &Meta, mtime: Time) -> Result<Vec<u8>> {
    let mut records = Vec::new();
    if path.len() > 100 {
        record(&mut records, b"path", path);
    }
    if entry.link.len() > 100 {
        record(&mut records, b"linkpath", entry.link);
    }
    if entry.size > LARGEST_SIZE {
        record(&mut records, b"size", entry.size.to_string().as_bytes());
    }
    for (key, id) in [(b"uid", meta.uid), (b"gid", meta.gid)] {
        if id > LARGEST_ID {
            record(&mut records, key, id.to_string().as_bytes());
        }
    }
    if mtime.nanos != 0 || u64::try_from(mtime.seconds).is_ok_and(|s| s <= LARGEST_SIZE).eq(&false) {
        record(&mut records, b"mtime", decimal(mtime).as_bytes());
    }
    // A hard link has its attributes where the file itself is.
    let xattrs = meta.xattrs.iter().filter(|_| entry.flag != b'1');
    for (name, value) in xattrs.filter(|(name, _)| !OVERLAY_NAMESPACES.iter().any(|space| name.starts_with(space))) {
        if name.contains(&b'=') {
            let reason = "the name of an extended attribute contains '=', which PAX records cannot say".into();
            return Err(Error::Unsayable { path: entry.path.into(), reason });
        }
        record(&mut records, &[b"SCHILY.xattr.", &name[..]].concat(), value);
    }
    Ok(records)
}

/// `LENGTH key=value\n`, where LENGTH counts itself.
fn record(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let body = key.len() + value.len() + 3;
    let mut length = body;
    loop {
        let whole = body + length.to_string().len();
        if whole == length {
            break;
        }
        length = whole;
    }
    records.extend_from_slice(format!("{length} ").as_bytes());
    records.extend_from_slice(key);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}

/// Seconds with a fraction; before 1970 the fraction counts away from zero as the sign says.
fn decimal(time: Time) -> String {
    let (sign, seconds, nanos) = match (time.seconds < 0, time.nanos) {
        (true, 0) => ("-", time.seconds.unsigned_abs(), 0),
        (true, nanos) => ("-", (time.seconds + 1).unsigned_abs(), 1_000_000_000 - nanos),
        (false, nanos) => ("", time.seconds.unsigned_abs(), nanos),
    };
    let mut text = format!("{sign}{seconds}");
    if nanos != 0 {
        let _ = write!(text, ".{nanos:09}");
        text.truncate(text.trim_end_matches('0').len());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_counts_itself() {
        for (value, length) in [(1, 6), (4, 9), (5, 11), (6, 12), (93, 99), (94, 101), (1000, 1008)] {
            let mut records = Vec::new();
            record(&mut records, b"k", &vec![b'v'; value]);
            assert_eq!(records.len(), length, "{value}");
            assert!(records.starts_with(format!("{length} k=").as_bytes()));
        }
    }

    #[test]
    fn times_before_and_after_1970() {
        for (seconds, nanos, text) in [
            (0, 0, "0"),
            (1, 500_000_000, "1.5"),
            (1_600_000_000, 1, "1600000000.000000001"),
            (-1, 0, "-1"),
            (-1, 750_000_000, "-0.25"),
            (-3, 500_000_000, "-2.5"),
        ] {
            assert_eq!(decimal(Time { seconds, nanos }), text);
        }
    }

    #[test]
    fn names_are_relative() {
        for (path, name) in
            [("/", "."), (".", "."), ("", "."), ("./a", "a"), ("/a/b/", "a/b"), (".//x", "x"), (".x", ".x")]
        {
            assert_eq!(relative(Path::new(path)), name.as_bytes());
        }
    }

    #[test]
    fn a_file_that_grows_or_shrinks_is_an_error() {
        let meta = Meta::default();
        for (size, content) in [(3, "ab"), (1, "ab")] {
            let mut tar = TarWriter::new(Vec::new(), None);
            assert!(tar.file(Path::new("f"), &meta, size, content.as_bytes()).is_err());
        }
    }
}

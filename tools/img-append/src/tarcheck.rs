//! A look at a tar that flies past: are its headers headers, and does it end? A stream that was cut, or is
//! something else altogether, must not become a layer. Names and links are not judged here: who unpacks does.

use anyhow::{bail, ensure};

const BLOCK: usize = 512;
/// One extended header: a path, a link and attributes; the kernel allows 64 KiB of attribute names and values each.
const LARGEST_PAX: u64 = 1 << 20;

/// Feeds on a tar in pieces of any size.
#[derive(Debug, Default)]
pub struct TarCheck {
    block: Vec<u8>,
    /// Bytes of content and padding to pass over.
    skip: u64,
    /// A PAX header being read: its records, its size, and the padding after it.
    pax: Option<(Vec<u8>, u64, u64)>,
    /// `size` of the PAX header before, which wins over the header's own (POSIX pax, "size").
    pax_size: Option<u64>,
    entries: u64,
    ended: bool,
}

impl TarCheck {
    /// The next bytes.
    pub fn feed(&mut self, mut bytes: &[u8]) -> anyhow::Result<()> {
        while !bytes.is_empty() && !self.ended {
            if let Some((records, size, padding)) = &mut self.pax {
                let wanted = usize::try_from(*size - records.len() as u64)?.min(bytes.len());
                records.extend_from_slice(&bytes[..wanted]);
                bytes = &bytes[wanted..];
                if records.len() as u64 == *size {
                    self.pax_size = size_of_records(records)?.or(self.pax_size);
                    self.skip = *padding;
                    self.pax = None;
                }
            } else if self.skip > 0 {
                let passed = usize::try_from(self.skip).unwrap_or(usize::MAX).min(bytes.len());
                self.skip -= passed as u64;
                bytes = &bytes[passed..];
            } else {
                let wanted = (BLOCK - self.block.len()).min(bytes.len());
                self.block.extend_from_slice(&bytes[..wanted]);
                bytes = &bytes[wanted..];
                if self.block.len() == BLOCK {
                    let block = std::mem::take(&mut self.block);
                    self.header(&block)?;
                }
            }
        }
        Ok(())
    }

    /// The end of the stream: only a block of zeros ends a tar.
    pub fn finish(self) -> anyhow::Result<()> {
        ensure!(self.ended, "malformed tar: cut after {} entries", self.entries);
        Ok(())
    }

    fn header(&mut self, block: &[u8]) -> anyhow::Result<()> {
        if block.iter().all(|byte| *byte == 0) {
            self.ended = true;
            return Ok(());
        }
        let place = self.entries;
        ensure!(Some(checksum(block)) == number(&block[148..156]), "malformed tar: entry {place} has a wrong checksum");
        let Some(size) = number(&block[124..136]) else { bail!("malformed tar: entry {place} has no size") };
        let padded = |size: u64| size.next_multiple_of(BLOCK as u64);
        match block[156] {
            b'x' => {
                ensure!(size <= LARGEST_PAX, "malformed tar: extended header of {size} bytes at entry {place}");
                self.pax = Some((Vec::new(), size, padded(size) - size)).filter(|_| size > 0);
            }
            // Long names and global headers belong to the entry after them, and so does its PAX size.
            b'L' | b'K' | b'g' => self.skip = padded(size),
            // Links, devices and directories have no content, whatever their size says.
            b'1'..=b'6' => {
                self.pax_size = None;
                self.entries += 1;
            }
            _ => {
                let size = self.pax_size.take().unwrap_or(size);
                ensure!(size < 1 << 60, "malformed tar: entry {place} of {size} bytes");
                self.skip = padded(size);
                self.entries += 1;
            }
        }
        Ok(())
    }
}

/// The sum of the header's bytes, its own field counted as blanks.
fn checksum(block: &[u8]) -> u64 {
    let field = 148..156;
    block.iter().enumerate().map(|(i, byte)| u64::from(if field.contains(&i) { b' ' } else { *byte })).sum()
}

/// Octal digits, or GNU's base 256 with the top bit set.
fn number(field: &[u8]) -> Option<u64> {
    if field[0] & 0x80 != 0 {
        let (first, rest) = (u64::from(field[0] & 0x7f), &field[1..]);
        return rest.iter().try_fold(first, |n, byte| n.checked_mul(256)?.checked_add(u64::from(*byte)));
    }
    let digits = field.split(|byte| matches!(byte, 0 | b' ')).find(|part| !part.is_empty()).unwrap_or(b"0");
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()
}

/// `size` in records of the form `LENGTH KEY=VALUE\n`.
fn size_of_records(mut records: &[u8]) -> anyhow::Result<Option<u64>> {
    let mut size = None;
    while !records.is_empty() {
        let record = next_record(&mut records);
        let Some((key, value)) = record else { bail!("malformed tar: an extended header that is no list of records") };
        if key == b"size" {
            size = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
            ensure!(size.is_some(), "malformed tar: an extended header whose size is no number");
        }
    }
    Ok(size)
}

fn next_record<'a>(records: &mut &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
    let blank = records.iter().position(|byte| *byte == b' ')?;
    let length: usize = std::str::from_utf8(&records[..blank]).ok()?.parse().ok()?;
    let record = records.get(blank + 1..length)?.strip_suffix(b"\n")?;
    *records = &records[length..];
    let equals = record.iter().position(|byte| *byte == b'=')?;
    Some((&record[..equals], &record[equals + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(kind: u8, size: &str) -> Vec<u8> {
        let mut block = vec![0; BLOCK];
        block[0] = b'f';
        block[124..124 + size.len()].copy_from_slice(size.as_bytes());
        block[156] = kind;
        let sum = format!("{:06o}\0 ", checksum(&block));
        block[148..156].copy_from_slice(sum.as_bytes());
        block
    }

    fn check(tar: &[u8], step: usize) -> anyhow::Result<()> {
        let mut check = TarCheck::default();
        for part in tar.chunks(step) {
            check.feed(part)?;
        }
        check.finish()
    }

    #[test]
    fn a_tar_is_told_from_what_is_none() {
        let mut good = header(b'0', "00000000003");
        good.extend([b'x'; BLOCK]);
        good.extend(header(b'5', "00000000000"));
        good.extend([0; 2 * BLOCK]);
        for step in [1, 7, 512, 100_000] {
            check(&good, step).unwrap();
            for cut in [1, 511, 512, 600, 1024, 1536] {
                assert!(check(&good[..cut], step).is_err(), "cut at {cut}");
            }
        }
        let mut bad = good.clone();
        bad[0] = b'g';
        assert!(check(&bad, 512).unwrap_err().to_string().contains("checksum"));
        assert!(check(b"no tar at all, but longer than one block of tar is ".repeat(20).as_slice(), 512).is_err());
    }

    #[test]
    fn the_size_of_a_pax_header_wins() {
        let records = b"14 size=100000\n".map(|b| b);
        let mut tar = header(b'x', &format!("{:011o}", records.len()));
        tar.extend(records);
        tar.resize(2 * BLOCK, 0);
        tar.extend(header(b'0', "00000000000"));
        tar.extend(vec![b'x'; 100_000usize.next_multiple_of(BLOCK)]);
        tar.extend([0; 2 * BLOCK]);
        assert!(check(&tar, 4096).is_err(), "a length that does not fit its record");
        tar[BLOCK..BLOCK + 2].copy_from_slice(b"15");
        check(&tar, 4096).unwrap();
    }
}

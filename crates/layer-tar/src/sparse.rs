//! Sparse files: the tar holds the pieces of data and a map of where they lie. GNU tar has written the map in four
//! ways: in the header (its old format), in PAX records one by one (0.0) or as a list (0.1), and in front of the
//! data (1.0). See "Sparse Formats" in GNU tar's manual.

use crate::read::{digits, number};

/// Where a piece of data lies in the file, and its length.
pub(crate) type Piece = (u64, u64);

/// A map with more pieces than this is made to exhaust memory (CVE-2025-58183).
const MOST_PIECES: usize = 64 * 1024;
/// The largest file of ext4. A hole costs nothing in the archive, so this is the only bound.
const LARGEST: u64 = 16 << 40;

/// What the PAX records `GNU.sparse.*` of one entry say.
#[derive(Debug, Default)]
pub(crate) struct Records {
    /// The name of the file; that of the entry is for readers who know nothing of sparse files.
    pub name: Option<Vec<u8>>,
    major: Option<u64>,
    minor: Option<u64>,
    size: Option<u64>,
    real_size: Option<u64>,
    count: Option<u64>,
    pieces: Vec<Piece>,
    listed: bool,
    /// An offset that waits for its length.
    offset: Option<u64>,
}

/// Where the map of an entry is.
pub(crate) enum Map {
    Here(Vec<Piece>),
    InFrontOfTheData,
}

impl Records {
    /// Takes one record, its key without `GNU.sparse.`; none when it is malformed or comes twice.
    pub fn set(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let value_number = || digits(value).filter(|n| i64::try_from(*n).is_ok());
        match key {
            b"name" if !value.is_empty() => once(&mut self.name, value.to_vec()),
            b"major" => once(&mut self.major, value_number()?),
            b"minor" => once(&mut self.minor, value_number()?),
            b"size" => once(&mut self.size, value_number()?),
            b"realsize" => once(&mut self.real_size, value_number()?),
            b"numblocks" => once(&mut self.count, value_number()?),
            b"offset" if !self.listed => once(&mut self.offset, value_number()?),
            b"numbytes" => {
                let offset = self.offset.take()?;
                push(&mut self.pieces, (offset, value_number()?))
            }
            b"map" if !self.listed && self.pieces.is_empty() => {
                self.listed = true;
                let mut numbers = value.split(|byte| *byte == b',');
                while let Some(offset) = numbers.next() {
                    push(&mut self.pieces, (digits(offset)?, digits(numbers.next()?)?))?;
                }
                Some(())
            }
            _ => None,
        }
    }

    /// The size of the file, and its map; none when the records contradict each other.
    pub fn finish(self) -> Option<(u64, Map)> {
        let plain = self.pieces.is_empty() && self.offset.is_none() && !self.listed && self.count.is_none();
        match (self.major.unwrap_or(0), self.minor.unwrap_or(0)) {
            (1, 0) if plain && self.size.is_none() && self.name.is_some() => {
                Some((self.real_size?, Map::InFrontOfTheData))
            }
            (0, 0 | 1) if self.real_size.is_none() && self.offset.is_none() => {
                (self.count? == self.pieces.len() as u64).then_some((self.size?, Map::Here(self.pieces)))
            }
            _ => None,
        }
    }
}

/// The old format's pieces: pairs of twelve octal digits, the unused ones empty.
pub(crate) fn old_pieces(area: &[u8], pieces: &mut Vec<Piece>) -> Option<()> {
    for piece in area.chunks_exact(24).filter(|piece| piece[0] != 0) {
        let value = |part: &[u8]| number(part).and_then(|n| u64::try_from(n).ok());
        push(pieces, (value(&piece[..12])?, value(&piece[12..])?))?;
    }
    Some(())
}

/// The map in front of the data: decimal numbers, each with its line feed; the first says how many pairs follow.
#[derive(Default)]
pub(crate) struct MapReader {
    count: Option<u64>,
    number: Option<u64>,
    offset: Option<u64>,
    pieces: Vec<Piece>,
}

impl MapReader {
    /// Takes one block: whether the map is complete; none when it is malformed. The rest of the last block is padding.
    pub fn block(&mut self, block: &[u8]) -> Option<bool> {
        for byte in block {
            if self.is_complete() {
                break;
            }
            match byte {
                b'0'..=b'9' => {
                    let so_far = self.number.unwrap_or(0).checked_mul(10)?;
                    self.number = Some(so_far.checked_add(u64::from(byte - b'0'))?);
                }
                b'\n' => {
                    let number = self.number.take()?;
                    match (self.count, self.offset.take()) {
                        (None, _) => self.count = Some(number).filter(|count| *count <= MOST_PIECES as u64),
                        (Some(_), None) => self.offset = Some(number),
                        (Some(_), Some(offset)) => push(&mut self.pieces, (offset, number))?,
                    }
                    self.count?;
                }
                _ => return None,
            }
        }
        Some(self.is_complete())
    }

    fn is_complete(&self) -> bool {
        self.count == Some(self.pieces.len() as u64)
    }

    pub fn finish(self) -> Vec<Piece> {
        self.pieces
    }
}

/// In order, without overlap, within the file, and as long together as what is stored.
pub(crate) fn check(pieces: &[Piece], stored: u64, size: u64) -> std::result::Result<(), &'static str> {
    if size > LARGEST {
        return Err("a sparse file larger than 16 TiB");
    }
    let (mut end, mut sum) = (0u64, 0u64);
    for (offset, length) in pieces {
        if *offset < end {
            return Err("sparse pieces overlap");
        }
        end = offset.checked_add(*length).filter(|end| *end <= size).ok_or("a sparse piece beyond the end")?;
        sum += length;
    }
    if sum == stored { Ok(()) } else { Err("a sparse map that does not match its data") }
}

fn push(pieces: &mut Vec<Piece>, piece: Piece) -> Option<()> {
    (pieces.len() < MOST_PIECES).then(|| pieces.push(piece))
}

fn once<T>(slot: &mut Option<T>, value: T) -> Option<()> {
    slot.replace(value).is_none().then_some(())
}

//! `--detach-keys`: a sequence that the container never sees.

use std::str::FromStr;

/// The sequence, as the terminal sends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DetachKeys {
    sequence: Vec<u8>,
    /// So many of them have been typed.
    typed: usize,
}

/// What has become of typed bytes.
#[derive(Debug, PartialEq, Eq)]
pub enum Typed {
    /// For the container.
    Keys(Vec<u8>),
    /// The sequence is complete; these came before it.
    Detach(Vec<u8>),
}

impl FromStr for DetachKeys {
    type Err = String;

    /// Docker's grammar: `a` or `ctrl-a`, `ctrl-@`, `ctrl-[`, `ctrl-\`, `ctrl-]`, `ctrl-^`, `ctrl-_`, with commas.
    fn from_str(text: &str) -> Result<Self, String> {
        let key = |word: &str| {
            let wrong = || format!("Unknown character: '{word}'");
            match (word.strip_prefix("ctrl-"), word.as_bytes()) {
                (Some("@"), _) => Ok(0),
                (Some(letter), _) => match letter.as_bytes() {
                    [letter @ (b'a'..=b'z' | b'[' | b'\\' | b']' | b'^' | b'_')] => {
                        Ok(letter.to_ascii_uppercase() & 31)
                    }
                    _ => Err(wrong()),
                },
                (None, [byte]) => Ok(*byte),
                _ => Err(wrong()),
            }
        };
        let sequence = if text.is_empty() { Ok(Vec::new()) } else { text.split(',').map(key).collect() };
        Ok(Self { sequence: sequence?, typed: 0 })
    }
}

impl DetachKeys {
    /// Holds back what may be the start of the sequence until it is known.
    pub fn pass(&mut self, bytes: &[u8]) -> Typed {
        let mut keys = Vec::with_capacity(bytes.len());
        for byte in bytes {
            if self.sequence.get(self.typed) == Some(byte) {
                self.typed += 1;
                if self.typed == self.sequence.len() {
                    return Typed::Detach(keys);
                }
                continue;
            }
            keys.extend_from_slice(&self.sequence[..self.typed]);
            self.typed = usize::from(self.sequence.first() == Some(byte));
            if self.typed == 0 {
                keys.push(*byte);
            }
        }
        Typed::Keys(keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_taken_out() {
        let mut keys: DetachKeys = "ctrl-p,ctrl-q".parse().unwrap();
        assert_eq!(keys.pass(b"ls\n"), Typed::Keys(b"ls\n".into()));
        assert_eq!(keys.pass(b"a\x10"), Typed::Keys(b"a".into()));
        assert_eq!(keys.pass(b"b"), Typed::Keys(b"\x10b".into()), "it was none");
        assert_eq!(keys.pass(b"\x10\x10"), Typed::Keys(b"\x10".into()));
        assert_eq!(keys.pass(b"\x11x"), Typed::Detach(Vec::new()));
        let mut one: DetachKeys = "ctrl-@,x".parse().unwrap();
        assert_eq!(one.pass(b"q\0x"), Typed::Detach(b"q".into()));
        assert_eq!("".parse::<DetachKeys>().unwrap().pass(b"\x10\x11"), Typed::Keys(b"\x10\x11".into()));
        for bad in ["ctrl-", "ctrl-P", "ab", "ctrl-p,", "shift-a"] {
            assert!(bad.parse::<DetachKeys>().is_err(), "{bad}");
        }
    }
}

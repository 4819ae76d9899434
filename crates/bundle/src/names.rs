//! IDs and names of containers.

use crate::{Error, Result};
use rustix::rand::{GetRandomFlags, getrandom};

/// A fresh ID: 256 random bits as 64 hexadecimal digits.
pub fn id() -> String {
    use std::fmt::Write;
    let mut text = String::with_capacity(64);
    for byte in random::<32>() {
        let _ = write!(text, "{byte:02x}");
    }
    // All digits before the first letter would read as a number in `-h`: docker throws such IDs away too.
    if text[..12].bytes().all(|b| b.is_ascii_digit()) { id() } else { text }
}

/// Whether a text is a whole ID.
pub fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// `adjective_surname`, for a container that was given no name. The caller asks again when it is taken.
pub(crate) fn random_name() -> String {
    let words = |data: &'static str| -> Vec<&'static str> {
        data.lines().filter(|line| !line.starts_with('#')).flat_map(|line| line.split(' ')).collect()
    };
    let pick = |words: Vec<&'static str>| words[usize::from(u16::from_ne_bytes(random())) % words.len()];
    let adjective = pick(words(include_str!("../data/adjectives")));
    format!("{adjective}_{}", pick(words(include_str!("../data/surnames"))))
}

/// Docker's grammar: `[a-zA-Z0-9][a-zA-Z0-9_.-]+`, with or without a slash before it.
pub fn check(name: &str) -> Result<&str> {
    let bare = name.strip_prefix('/').unwrap_or(name);
    let inside = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    let first = bare.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    if first && (2..=255).contains(&bare.len()) && bare.bytes().all(inside) {
        return Ok(bare);
    }
    Err(Error::BadName(name.chars().take(150).collect()))
}

#[expect(clippy::expect_used, reason = "getrandom(2) of 32 bytes cannot fail once the pool is filled at boot")]
fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    let got = getrandom(&mut bytes, GetRandomFlags::empty()).expect("getrandom");
    assert_eq!(got, N, "getrandom(2) gives up to 256 bytes whole");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_names_are_fresh_and_well_formed() {
        let (a, b) = (id(), id());
        assert!(is_id(&a) && is_id(&b) && a != b);
        for text in ["", "abc", &a[1..], &"A".repeat(64), &format!("{a}0"), "../x"] {
            assert!(!is_id(text), "{text}");
        }
        for _ in 0..200 {
            let name = random_name();
            let (adjective, surname) = name.split_once('_').unwrap();
            assert!([adjective, surname].iter().all(|w| w.bytes().all(|b| b.is_ascii_lowercase()) && w.len() > 1));
            check(&name).unwrap();
        }
    }

    #[test]
    fn docker_grammar_of_names() {
        for good in ["ab", "a_b.c-d", "A1", "/web"] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in ["", "a", "_a", "a b", "a/b", "../x", "-a", "ä1", "//a", "a\n"] {
            assert!(check(bad).is_err(), "{bad:?}");
        }
    }
}

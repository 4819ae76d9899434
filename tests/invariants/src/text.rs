use wire::{Record, Reference};

/// An image reference: what parses is in its full form, and the full and the familiar form mean the same again.
/// Nothing in it climbs out of a directory or breaks a line.
pub fn reference(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let Ok(parsed) = text.parse::<Reference>() else { return };
    let full = parsed.to_string();
    assert_eq!(full.parse::<Reference>().as_ref(), Ok(&parsed), "{text:?}: {full:?} means something else");
    let familiar = parsed.familiar();
    assert_eq!(familiar.parse::<Reference>().as_ref(), Ok(&parsed), "{text:?}: {familiar:?} means something else");
    assert!(full.chars().all(|c| c.is_ascii_graphic()), "{text:?}: {full:?}");
    assert!(parsed.path().split('/').all(|name| !name.is_empty() && !name.starts_with('.')), "{text:?}: {full:?}");
    assert!(!parsed.host().contains('/') && full.starts_with(parsed.host()), "{text:?}: {full:?}");
    assert!(parsed.tag().is_some() || parsed.digest().is_some(), "{text:?}: {full:?} names nothing");
}

/// A record: what parses, written again, is one line that parses to the same.
pub fn record(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let Ok(parsed) = Record::parse(text) else { return };
    let line = parsed.to_line();
    assert_eq!(line.trim_end_matches('\n').lines().count(), 1, "{line:?}");
    let again = Record::parse(&line).unwrap_or_else(|error| panic!("{text:?}: {line:?}: {error}"));
    assert_eq!(again.to_line(), line, "{text:?}");
}

//! Words that are names and values, and lists.

use crate::parse::Statement;
use crate::words;
use anyhow::{Context, bail};

pub(super) fn arg(word: &str) -> anyhow::Result<(String, Option<String>)> {
    let (name, value) = match word.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (word, None),
    };
    if name.is_empty() {
        bail!("ARG {word}: the name is empty");
    }
    Ok((name.into(), value))
}

/// `k=v k2="v 2"`, or the old form `k the rest of the line`. The words keep their quotes.
pub(super) fn pairs(s: &Statement, escape: char) -> anyhow::Result<Vec<(String, String)>> {
    let words = words::split(&s.text, escape);
    let first = words.first().context("no words")?;
    if !first.contains('=') {
        let (name, rest) = s
            .text
            .split_once(char::is_whitespace)
            .with_context(|| format!("{} {first}: want {0} NAME=VALUE", s.name))?;
        return Ok(vec![(name.into(), rest.trim().into())]);
    }
    let pair = |word: &String| match word.split_once('=') {
        Some(("", _)) => bail!("{} {word}: the name is empty", s.name),
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None => bail!("{}: no = in {word:?}: want NAME=VALUE", s.name),
    };
    words.iter().map(pair).collect()
}

/// A JSON array or words.
pub(super) fn list(s: &Statement) -> anyhow::Result<Vec<String>> {
    let words = s.json()?.unwrap_or_else(|| s.text.split_whitespace().map(Into::into).collect());
    if words.is_empty() || words.iter().any(String::is_empty) {
        bail!("{} has an empty argument", s.name);
    }
    Ok(words)
}

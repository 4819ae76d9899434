//! Words of an instruction, as a Dockerfile has them: quotes, backslashes, and `$NAME` from the image's own
//! environment.

use anyhow::{bail, ensure};

/// Splits at blanks outside quotes; quotes stay for [`unquote`].
pub fn split(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (None, c) if c.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                continue;
            }
            (None | Some('"'), '\\') => {
                word.push(c);
                word.extend(chars.next());
                continue;
            }
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            _ => {}
        }
        word.push(c);
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// Takes quotes and backslashes away and puts variables in, except within single quotes.
pub fn unquote(word: &str, variable: &dyn Fn(&str) -> Option<String>) -> anyhow::Result<String> {
    let mut text = String::new();
    let mut rest = word;
    let mut quote = None;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match (quote, c) {
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            (None, '\\') => rest = push_next(&mut text, rest),
            // Within double quotes a backslash is itself, except before what it could protect.
            (Some('"'), '\\') if rest.starts_with(['"', '$', '\\']) => rest = push_next(&mut text, rest),
            (None | Some('"'), '$') => {
                let (value, after) = expand(rest, variable)?;
                text.push_str(&value);
                rest = after;
            }
            _ => text.push(c),
        }
    }
    ensure!(quote.is_none(), "{word:?}: a quote is not closed");
    Ok(text)
}

fn push_next<'a>(text: &mut String, rest: &'a str) -> &'a str {
    match rest.chars().next() {
        Some(c) => {
            text.push(c);
            &rest[c.len_utf8()..]
        }
        None => rest,
    }
}

/// What follows a dollar sign: `NAME`, `{NAME}`, `{NAME:-word}` or `{NAME:+word}`.
fn expand<'a>(rest: &'a str, variable: &dyn Fn(&str) -> Option<String>) -> anyhow::Result<(String, &'a str)> {
    let name_end = |text: &str| text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    let Some(inner) = rest.strip_prefix('{') else {
        return Ok(match name_end(rest) {
            0 => ("$".into(), rest),
            end => (variable(&rest[..end]).unwrap_or_default(), &rest[end..]),
        });
    };
    let Some(close) = inner.find('}') else { bail!("${rest}: no closing brace") };
    let (inner, after) = (&inner[..close], &inner[close + 1..]);
    let (name, modifier) = inner.split_at(name_end(inner));
    let value = variable(name).filter(|value| !value.is_empty() || !modifier.starts_with(':'));
    let text = match (modifier.get(..2), value) {
        (None, value) if modifier.is_empty() => value.unwrap_or_default(),
        (Some(":-"), Some(value)) => value,
        (Some(":-"), None) | (Some(":+"), Some(_)) => unquote(&modifier[2..], variable)?,
        (Some(":+"), None) => String::new(),
        _ => bail!("${{{inner}}}: want ${{NAME}}, ${{NAME:-WORD}} or ${{NAME:+WORD}}"),
    };
    Ok((text, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_quotes() {
        assert_eq!(split(r#"a  "b c" d\ e 'f g'h"#), [r"a", r#""b c""#, r"d\ e", "'f g'h"]);
        let variable = |name: &str| (name == "A").then(|| "1".to_owned());
        for (word, want) in [
            ("x$A", "x1"),
            ("${A}b", "1b"),
            ("${B:-c$A}", "c1"),
            ("${A:+y}${B:+n}", "y"),
            ("'$A'", "$A"),
            (r#""$A \"q\" \x""#, r#"1 "q" \x"#),
            (r"\$A", "$A"),
            ("$", "$"),
            ("$B.", "."),
        ] {
            assert_eq!(unquote(word, &variable).unwrap(), want, "{word}");
        }
        assert!(unquote("'a", &variable).is_err());
        assert!(unquote("${A", &variable).is_err());
        assert!(unquote("${A:?x}", &variable).is_err());
    }
}

//! Words and variables by the rules of BuildKit's shell lexer: single and double quotes, the escape character,
//! `$x ${x} ${x:-w} ${x-w} ${x:+w} ${x+w} ${x:?w} ${x?w}`, and the patterns `${x#p} ${x##p} ${x%p} ${x%%p}
//! ${x/p/w} ${x//p/w}`.

use anyhow::bail;
use std::iter::Peekable;
use std::str::Chars;

/// Gives the value of a variable.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Nested `${a:-${b:-…}}` deeper than this is not a Dockerfile.
const DEEPEST: usize = 64;

/// The first word of a text, quotes kept, and what follows it.
pub fn first(text: &str, escape: char) -> (&str, &str) {
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match quote {
            _ if escaped => escaped = false,
            Some(open) if c == open => quote = None,
            _ if c == escape && quote != Some('\'') => escaped = true,
            None if c == '"' || c == '\'' => quote = Some(c),
            None if c.is_whitespace() => return (&text[..at], &text[at..]),
            _ => {}
        }
    }
    (text, "")
}

/// Splits at blanks outside quotes; the words keep their quotes.
pub fn split(text: &str, escape: char) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (word, after) = first(rest, escape);
        found.push(word.to_owned());
        rest = after.trim_start();
    }
    found
}

/// Removes quotes and escapes; variables stay as they are.
pub(crate) fn unquote(word: &str, escape: char) -> anyhow::Result<String> {
    let mut lexer = Lexer { chars: word.chars().peekable(), escape, lookup: None, depth: 0 };
    lexer.word(None)
}

/// Removes quotes and escapes and puts in the values of variables; an unset one is empty.
pub fn expand(word: &str, escape: char, lookup: Lookup<'_>) -> anyhow::Result<String> {
    let mut lexer = Lexer { chars: word.chars().peekable(), escape, lookup: Some(lookup), depth: 0 };
    lexer.word(None)
}

/// Puts in the values of variables and leaves quotes alone: the body of a here-document.
pub fn expand_text(text: &str, escape: char, lookup: Lookup<'_>) -> anyhow::Result<String> {
    let mut lexer = Lexer { chars: text.chars().peekable(), escape, lookup: Some(lookup), depth: 0 };
    let mut out = String::new();
    while let Some(c) = lexer.chars.next() {
        match c {
            '$' => lexer.dollar(&mut out)?,
            c if c == escape => match lexer.chars.peek() {
                Some(&next) if next == escape || next == '$' => {
                    out.push(next);
                    lexer.chars.next();
                }
                _ => out.push(c),
            },
            c => out.push(c),
        }
    }
    Ok(out)
}

struct Lexer<'a> {
    chars: Peekable<Chars<'a>>,
    escape: char,
    lookup: Option<Lookup<'a>>,
    depth: usize,
}

impl Lexer<'_> {
    /// Reads up to `end` (and takes it), or to the end of the text.
    fn word(&mut self, end: Option<char>) -> anyhow::Result<String> {
        self.word_until(&end.into_iter().collect::<Vec<_>>()).map(|(text, _)| text)
    }

    fn word_until(&mut self, ends: &[char]) -> anyhow::Result<(String, Option<char>)> {
        self.depth += 1;
        if self.depth > DEEPEST {
            bail!("variables are nested more than {DEEPEST} deep");
        }
        let mut out = String::new();
        while let Some(c) = self.chars.next() {
            match c {
                c if ends.contains(&c) => {
                    self.depth -= 1;
                    return Ok((out, Some(c)));
                }
                '\'' => self.single(&mut out)?,
                '"' => self.double(&mut out)?,
                '$' => self.dollar(&mut out)?,
                c if c == self.escape => out.extend(self.chars.next()),
                c => out.push(c),
            }
        }
        self.depth -= 1;
        match ends {
            [] => Ok((out, None)),
            ends => bail!("${{…}} has no {:?}", ends[ends.len() - 1]),
        }
    }

    fn single(&mut self, out: &mut String) -> anyhow::Result<()> {
        loop {
            match self.chars.next() {
                Some('\'') => return Ok(()),
                Some(c) => out.push(c),
                None => bail!("a single quote has no end"),
            }
        }
    }

    fn double(&mut self, out: &mut String) -> anyhow::Result<()> {
        loop {
            match self.chars.next() {
                Some('"') => return Ok(()),
                Some('$') => self.dollar(out)?,
                Some(c) if c == self.escape => match self.chars.next() {
                    Some(next) if matches!(next, '"' | '$') || next == self.escape => out.push(next),
                    next => {
                        out.push(c);
                        out.extend(next);
                    }
                },
                Some(c) => out.push(c),
                None => bail!("a double quote has no end"),
            }
        }
    }

    /// After a `$`.
    fn dollar(&mut self, out: &mut String) -> anyhow::Result<()> {
        let Some(lookup) = self.lookup else {
            out.push('$');
            return Ok(());
        };
        if self.chars.next_if_eq(&'{').is_none() {
            let name = self.name();
            match name.as_str() {
                "" => out.push('$'),
                name => out.push_str(&lookup(name).unwrap_or_default()),
            }
            return Ok(());
        }
        let name = self.name();
        if name.is_empty() {
            bail!("bad substitution: ${{ without a name");
        }
        let value = lookup(&name);
        let set = value.is_some();
        let value = value.unwrap_or_default();
        let colon = self.chars.next_if_eq(&':').is_some();
        let there = if colon { !value.is_empty() } else { set };
        match self.chars.next() {
            Some('}') if !colon => out.push_str(&value),
            Some('-') => {
                let word = self.word(Some('}'))?;
                out.push_str(if there { &value } else { &word });
            }
            Some('+') => {
                let word = self.word(Some('}'))?;
                out.push_str(if there { &word } else { "" });
            }
            Some('?') => {
                let word = self.word(Some('}'))?;
                if !there {
                    let why = if word.is_empty() { "not allowed to be unset or empty" } else { &word };
                    bail!("{name}: {why}");
                }
                out.push_str(&value);
            }
            Some(side @ ('#' | '%')) if !colon => {
                let longest = self.chars.next_if_eq(&side).is_some();
                let pattern = self.word(Some('}'))?;
                out.push_str(&trim(&value, &pattern, side == '#', longest));
            }
            Some('/') if !colon => {
                let all = self.chars.next_if_eq(&'/').is_some();
                let (pattern, end) = self.word_until(&['/', '}'])?;
                let by = if end == Some('/') { self.word(Some('}'))? } else { String::new() };
                out.push_str(&replace(&value, &pattern, &by, all));
            }
            Some(other) => bail!("bad substitution: ${{{name}{}{other}", if colon { ":" } else { "" }),
            None => bail!("${{{name} has no '}}'"),
        }
        Ok(())
    }

    /// `[A-Za-z_][A-Za-z0-9_]*`, or one of the shell's special parameters, which are never set here.
    fn name(&mut self) -> String {
        let mut name = String::new();
        if let Some(special) = self.chars.next_if(|c| matches!(c, '@' | '*' | '#' | '0'..='9')) {
            name.push(special);
            return name;
        }
        while let Some(c) = self.chars.next_if(|c| c.is_ascii_alphanumeric() || *c == '_') {
            name.push(c);
        }
        name
    }
}

fn trim(value: &str, pattern: &str, front: bool, longest: bool) -> String {
    let cuts: Vec<usize> = value.char_indices().map(|(at, _)| at).chain([value.len()]).collect();
    let hit = |&&at: &&usize| {
        let (head, tail) = value.split_at(at);
        glob(pattern, if front { head } else { tail })
    };
    let cut = if front == longest { cuts.iter().rev().find(hit) } else { cuts.iter().find(hit) };
    match cut {
        Some(&at) if front => value[at..].to_owned(),
        Some(&at) => value[..at].to_owned(),
        None => value.to_owned(),
    }
}

fn replace(value: &str, pattern: &str, by: &str, all: bool) -> String {
    let mut out = String::new();
    let mut rest = value;
    while let Some(c) = rest.chars().next() {
        let ends = rest.char_indices().map(|(at, c)| at + c.len_utf8()).rev();
        if let Some(end) = ends.into_iter().find(|&end| glob(pattern, &rest[..end])) {
            out.push_str(by);
            rest = &rest[end..];
            if !all {
                break;
            }
        } else {
            out.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    out + rest
}

/// `*` is anything, `?` one character, a backslash takes the next one as it is.
fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
                continue;
            }
            Some('?') => {
                (p, t) = (p + 1, t + 1);
                continue;
            }
            Some('\\') if pattern.get(p + 1) == Some(&text[t]) => {
                (p, t) = (p + 2, t + 1);
                continue;
            }
            Some(c) if *c == text[t] && *c != '\\' => {
                (p, t) = (p + 1, t + 1);
                continue;
            }
            _ => {}
        }
        let Some((at, from)) = star else { return false };
        star = Some((at, from + 1));
        (p, t) = (at + 1, from + 1);
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(name: &str) -> Option<String> {
        match name {
            "x" => Some("val".into()),
            "empty" => Some(String::new()),
            "path" => Some("/a/b/c.tar.gz".into()),
            _ => None,
        }
    }

    #[test]
    fn variables() {
        for (word, want) in [
            ("$x", "val"),
            ("${x}y", "valy"),
            ("$xy", ""),
            ("a$", "a$"),
            ("$ x", "$ x"),
            ("\\$x", "$x"),
            ("'$x'", "$x"),
            ("\"$x\"", "val"),
            ("\"\\$x \\a \\\"\"", "$x \\a \""),
            ("${x:-w}", "val"),
            ("${empty:-w}", "w"),
            ("${empty-w}", ""),
            ("${no-w}", "w"),
            ("${no:-${x}}", "val"),
            ("${no:-\"a b\"}", "a b"),
            ("${x:+w}", "w"),
            ("${empty:+w}", ""),
            ("${empty+w}", "w"),
            ("${no+w}", ""),
            ("${x:?oh}", "val"),
            ("${path##*/}", "c.tar.gz"),
            ("${path#*/}", "a/b/c.tar.gz"),
            ("${path%.*}", "/a/b/c.tar"),
            ("${path%%.*}", "/a/b/c"),
            ("${path/a/z}", "/z/b/c.tar.gz"),
            ("${path//\\//_}", "_a_b_c.tar.gz"),
            ("a\\ b", "a b"),
            ("$1x", "x"),
            ("häß$x", "häßval"),
        ] {
            assert_eq!(expand(word, '\\', &value).unwrap(), want, "{word}");
        }
    }

    #[test]
    fn bad_words() {
        for (word, want) in [
            ("${}", "bad substitution"),
            ("${x", "has no"),
            ("${x:-a", "has no"),
            ("${no:?gone}", "no: gone"),
            ("${x!y}", "bad substitution"),
            ("'a", "single quote"),
            ("\"a", "double quote"),
            (&"${no:-".repeat(1000), "nested"),
        ] {
            let error = expand(word, '\\', &value).unwrap_err().to_string();
            assert!(error.contains(want), "{word}: {error}");
        }
    }

    #[test]
    fn splitting() {
        let words = split(r#"a "b c" d\ e 'f "g' h=""#.trim_end_matches('"'), '\\');
        assert_eq!(words, ["a", "\"b c\"", "d\\ e", "'f \"g'", "h="]);
        assert_eq!(expand_text("a '$x' \\$x \\n", '\\', &value).unwrap(), "a 'val' $x \\n");
        assert_eq!(split("a`b c", '`'), ["a`b", "c"]);
    }
}

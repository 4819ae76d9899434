//! Patterns: `.dockerignore` by the rules of moby's patternmatcher, and the wildcards of COPY by Go's
//! `filepath.Match`. Both are anchored at the root of the context.

use anyhow::{Context, bail};

/// A line of `.dockerignore` longer than this, or more lines than this, is not one.
const LONGEST_PATTERN: usize = 4096;
const MOST_PATTERNS: usize = 10_000;

/// The rules of one file, in order: the last one that matches decides.
#[derive(Debug, Default)]
pub struct Ignore {
    rules: Vec<(bool, Pattern)>,
    has_exceptions: bool,
}

impl Ignore {
    /// Reads a `.dockerignore`.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let mut ignore = Self::default();
        for (index, line) in text.strip_prefix('\u{feff}').unwrap_or(text).lines().enumerate() {
            if line.starts_with('#') || line.trim().is_empty() {
                continue;
            }
            ignore.add(line.trim()).with_context(|| format!("line {}", index + 1))?;
        }
        Ok(ignore)
    }

    /// The patterns of `--exclude`, one each.
    pub fn of(patterns: &[String]) -> anyhow::Result<Self> {
        let mut ignore = Self::default();
        for pattern in patterns {
            ignore.add(pattern).with_context(|| format!("--exclude={pattern}"))?;
        }
        Ok(ignore)
    }

    fn add(&mut self, rule: &str) -> anyhow::Result<()> {
        let (exception, pattern) = match rule.strip_prefix('!') {
            Some(rest) => (true, rest.trim()),
            None => (false, rule),
        };
        if pattern.is_empty() {
            bail!("no pattern, or a lone !");
        }
        if pattern.len() > LONGEST_PATTERN || self.rules.len() >= MOST_PATTERNS {
            bail!("too long, or too many patterns");
        }
        let cleaned = clean(pattern);
        if cleaned == "." || leads_out(pattern) {
            return Ok(());
        }
        let Some(pattern) = Pattern::new(&cleaned, true) else { bail!("bad pattern {pattern:?}") };
        self.has_exceptions |= exception;
        self.rules.push((exception, pattern));
        Ok(())
    }

    /// Whether a path below the root (no leading slash) is left out: a rule holds for everything below it too.
    pub fn excludes(&self, path: &str) -> bool {
        let mut out = false;
        for (exception, pattern) in &self.rules {
            if *exception == out && pattern.matches_or_above(path) {
                out = !exception;
            }
        }
        out
    }

    /// Whether an excluded directory may still hold something that an exception brings back.
    pub fn may_return_below(&self) -> bool {
        self.has_exceptions
    }
}

/// Whether `..` of a relative pattern leads above the root, where nothing is that it could match.
fn leads_out(pattern: &str) -> bool {
    let mut depth = 0_usize;
    for part in pattern.split('/') {
        match part {
            "" | "." => {}
            ".." if depth == 0 => return !pattern.starts_with('/'),
            ".." => depth -= 1,
            _ => depth += 1,
        }
    }
    false
}

/// Go's `filepath.Clean`, without a leading slash.
pub fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    if parts.is_empty() { ".".into() } else { parts.join("/") }
}

/// Whether a source of COPY is a pattern.
pub fn has_wildcard(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

#[derive(Debug)]
enum Token {
    Char(char),
    /// `?`
    One,
    /// `*`
    Star,
    /// `**` and the slash after it: any number of whole components.
    Deep,
    /// `**` at the end: everything.
    Rest,
    /// `[a-z]`, `[^a-z]`
    Class(bool, Vec<(char, char)>),
}

/// One compiled pattern.
#[derive(Debug)]
pub struct Pattern(Vec<Token>);

impl Pattern {
    /// None when it is malformed. `deep` gives `**` its meaning.
    pub fn new(text: &str, deep: bool) -> Option<Self> {
        let mut tokens = Vec::new();
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            tokens.push(match c {
                '*' if deep && chars.next_if_eq(&'*').is_some() => {
                    chars.next_if_eq(&'/');
                    if chars.peek().is_none() { Token::Rest } else { Token::Deep }
                }
                '*' => Token::Star,
                '?' => Token::One,
                '\\' => Token::Char(chars.next()?),
                '[' => {
                    let negated = chars.next_if_eq(&'^').is_some();
                    let mut ranges = Vec::new();
                    loop {
                        let low = match chars.next()? {
                            ']' if !ranges.is_empty() => break,
                            ']' | '-' => return None,
                            '\\' => chars.next()?,
                            c => c,
                        };
                        let high = match chars.next_if_eq(&'-') {
                            None => low,
                            Some(_) => match chars.next()? {
                                ']' => return None,
                                '\\' => chars.next()?,
                                c => c,
                            },
                        };
                        ranges.push((low, high));
                    }
                    Token::Class(negated, ranges)
                }
                c => Token::Char(c),
            });
        }
        Some(Self(tokens))
    }

    /// Whether it matches the whole path.
    pub fn matches(&self, path: &str) -> bool {
        self.ends(path).last() == Some(&true)
    }

    /// Whether the path or a directory above it matches.
    pub fn matches_or_above(&self, path: &str) -> bool {
        let ends = self.ends(path);
        let slashes = path.chars().enumerate().filter(|(_, c)| *c == '/').map(|(at, _)| at);
        slashes.chain([ends.len() - 1]).any(|at| ends[at])
    }

    /// For every prefix of the path, whether the whole pattern matches it: one pass over the pattern, without
    /// backtracking, so no pattern is slow.
    fn ends(&self, path: &str) -> Vec<bool> {
        let text: Vec<char> = path.chars().collect();
        let mut at = vec![false; text.len() + 1];
        at[0] = true;
        for token in &self.0 {
            let mut next = vec![false; text.len() + 1];
            match token {
                Token::Star => {
                    let mut open = false;
                    for i in 0..=text.len() {
                        open = at[i] || (open && text[i - 1] != '/');
                        next[i] = open;
                    }
                }
                Token::Rest => {
                    let mut open = false;
                    for i in 0..=text.len() {
                        open |= at[i];
                        next[i] = open;
                    }
                }
                Token::Deep => {
                    let mut open = false;
                    for i in 0..=text.len() {
                        next[i] = at[i] || (open && text[i - 1] == '/');
                        open |= at[i];
                    }
                }
                one => {
                    for i in 0..text.len() {
                        next[i + 1] = at[i] && one.is(text[i]);
                    }
                }
            }
            at = next;
        }
        at
    }
}

impl Token {
    fn is(&self, c: char) -> bool {
        match self {
            Self::Char(own) => *own == c,
            Self::One => c != '/',
            Self::Class(negated, ranges) => {
                c != '/' && ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *negated
            }
            Self::Star | Self::Deep | Self::Rest => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_rule_decides() {
        for (rules, path, want) in [
            ("foo", "foo", true),
            ("foo", "foo/a/b", true),
            ("foo", "a/foo", false),
            ("/foo", "foo", true),
            ("./foo/", "foo", true),
            ("**/foo", "foo", true),
            ("**/foo", "a/b/foo", true),
            ("**/foo", "a/xfoo", false),
            ("*/temp*", "a/temporary.txt", true),
            ("*/temp*", "temp", false),
            ("temp?", "tempa", true),
            ("temp?", "temp/", false),
            ("*.md\n!README.md", "README.md", false),
            ("*.md\n!README*.md\nREADME-secret.md", "README-secret.md", true),
            ("!README.md\n*.md", "README.md", true),
            ("a\n!a/b", "a/b", false),
            ("a\n!a/b", "a/c", true),
            ("a\n!a/b", "a/b/c", false),
            ("**", "x/y", true),
            ("**\n!x", "x/y", false),
            ("a/**", "a/b", true),
            ("a/**", "a", false),
            ("a/**/b", "a/b", true),
            ("a/**/b", "a/x/y/b", true),
            ("# foo\n\n  foo  ", "foo", true),
            ("\\#foo", "#foo", true),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("a\\*", "a*", true),
            ("a\\*", "ab", false),
            (".", "a", false),
            ("x/../y", "y", true),
            ("../y", "y", false),
            ("x/../../y", "y", false),
            ("/../y", "y", true),
            ("y\n!../y", "y", true),
        ] {
            assert_eq!(Ignore::parse(rules).unwrap().excludes(path), want, "{rules:?} on {path:?}");
        }
        assert!(Ignore::parse("[").is_err());
        assert!(Ignore::parse("!").is_err());
    }

    #[test]
    fn copys_wildcards() {
        for (pattern, path, want) in [
            ("*", "a", true),
            ("*", "a/b", false),
            ("*/b", "a/b", true),
            ("**", "a", true),
            ("**", "a/b", false),
            ("hom?.txt", "home.txt", true),
            ("a[0-9]", "a5", true),
            ("arr[[]0]", "arr[0]", true),
        ] {
            assert_eq!(Pattern::new(pattern, false).unwrap().matches(path), want, "{pattern:?} on {path:?}");
        }
        assert!(Pattern::new("[]", false).is_none());
        assert!(Pattern::new("[a-]", false).is_none());
    }

    #[test]
    fn lines_and_their_number_are_bounded() {
        assert!(Ignore::parse(&"a".repeat(LONGEST_PATTERN)).is_ok());
        assert!(Ignore::parse(&"a".repeat(LONGEST_PATTERN + 1)).is_err());
        assert!(Ignore::parse(&"a\n".repeat(MOST_PATTERNS)).is_ok());
        assert!(Ignore::parse(&"a\n".repeat(MOST_PATTERNS + 1)).is_err());
    }

    #[test]
    fn no_pattern_is_slow() {
        let pattern = Pattern::new(&"*a".repeat(500), true).unwrap();
        assert!(!pattern.matches(&"a".repeat(450)));
    }
}

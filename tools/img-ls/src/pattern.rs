//! The NAME operand: a repository, or repository:tag, with the shell's `*` and `?`.

use std::convert::Infallible;
use std::str::FromStr;
use wire::Reference;

/// What names are compared with, in docker's short form.
#[derive(Debug, Clone)]
pub struct Pattern(String);

impl FromStr for Pattern {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl Pattern {
    /// Whether an image of this name is listed.
    pub fn matches(&self, name: Option<&str>) -> bool {
        let Some(name) = name else { return false };
        let Ok(reference) = name.parse::<Reference>() else { return glob(&self.0, name) };
        let forms = [
            name.to_owned(),
            reference.familiar(),
            reference.familiar_repository(),
            reference.repository(),
            reference.path().to_owned(),
        ];
        forms.iter().any(|form| glob(&self.0, form))
    }
}

/// As Go's `path.Match`: `*`, `?` and classes like `[a-z]` and `[^0-9]` stop at a slash, a backslash takes the next
/// character as it is, and a class that is not closed matches nothing.
fn glob(pattern: &str, text: &str) -> bool {
    let mut rest = pattern.chars();
    let first = rest.next();
    let mut chars = text.chars();
    match first {
        None => text.is_empty(),
        Some('*') => {
            let rest = rest.as_str();
            let reach = text.find('/').unwrap_or(text.len());
            text.char_indices()
                .map(|(at, _)| at)
                .chain([text.len()])
                .take_while(|at| *at <= reach)
                .any(|at| glob(rest, &text[at..]))
        }
        Some('[') => {
            let Some((class, rest)) = rest.as_str().split_once(']') else { return false };
            chars.next().is_some_and(|c| c != '/' && is_in(class, c)) && glob(rest, chars.as_str())
        }
        Some(c) => {
            let literal = if c == '\\' { rest.next() } else { Some(c).filter(|c| *c != '?') };
            let same = |t: char| literal.map_or(c == '?' && t != '/', |literal| t == literal);
            chars.next().is_some_and(same) && glob(rest.as_str(), chars.as_str())
        }
    }
}

fn is_in(class: &str, c: char) -> bool {
    let (negated, class) = class.strip_prefix('^').map_or((false, class), |rest| (true, rest));
    let class: Vec<char> = class.chars().collect();
    let mut at = 0;
    let mut found = false;
    while let Some(low) = class.get(at) {
        let high = class.get(at + 2).filter(|_| class.get(at + 1) == Some(&'-'));
        found |= (*low..=*high.unwrap_or(low)).contains(&c);
        at += if high.is_some() { 3 } else { 1 };
    }
    found != negated
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_match() {
        let name = Some("docker.io/library/alpine:3.20");
        for good in [
            "alpine",
            "alpine:3.20",
            "docker.io/library/alpine:3.20",
            "al*",
            "alpine:3.*",
            "alp?ne",
            "library/alpine",
            "[a-c]lpine",
            "alpine:[0-9].2[^1-9]",
            "alpine:3\\.20",
        ] {
            assert!(Pattern(good.into()).matches(name), "{good}");
        }
        for bad in ["alpin", "alpine:3", "*/x", "pine", "", "[b-z]lpine", "[a", "library[/]alpine", "\\"] {
            assert!(!Pattern(bad.into()).matches(name), "{bad}");
        }
        assert!(!Pattern("*".into()).matches(None));
        assert!(!Pattern("*".into()).matches(Some("host:5000/team/app:1")));
    }
}

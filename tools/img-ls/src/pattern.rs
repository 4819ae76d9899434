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

/// `*` and `?` stop at a slash.
fn glob(pattern: &str, text: &str) -> bool {
    let mut rest = pattern.chars();
    match rest.next() {
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
        Some(c) => {
            let mut chars = text.chars();
            chars.next().is_some_and(|t| t == c || (c == '?' && t != '/')) && glob(rest.as_str(), chars.as_str())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_match() {
        let name = Some("docker.io/library/alpine:3.20");
        for good in
            ["alpine", "alpine:3.20", "docker.io/library/alpine:3.20", "al*", "alpine:3.*", "alp?ne", "library/alpine"]
        {
            assert!(Pattern(good.into()).matches(name), "{good}");
        }
        for bad in ["alpin", "alpine:3", "*/x", "pine", ""] {
            assert!(!Pattern(bad.into()).matches(name), "{bad}");
        }
        assert!(!Pattern("*".into()).matches(None));
        assert!(!Pattern("*".into()).matches(Some("host:5000/team/app:1")));
    }
}

//! `--chmod`: octal, or symbolic as chmod(1) has it.

use anyhow::{Context, bail};

/// What permissions a file gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// These.
    Octal(u32),
    /// Changes to those that it has.
    Symbolic(Vec<Change>),
}

/// One clause, `go-w`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The bits of user, group and others that it is about, as in 0o700, 0o070, 0o007.
    who: u32,
    operator: char,
    /// `r`, `w`, `x`, `X`, `s`, `t`
    permissions: Vec<char>,
}

impl Mode {
    /// Reads `755`, `0644`, `u=rwX,go=rX`, `+x`.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        if text.starts_with(|c: char| c.is_ascii_digit()) {
            let octal = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777);
            return octal.map(Self::Octal).with_context(|| format!("--chmod={text}: want octal digits up to 7777"));
        }
        let clauses = text.split(',').map(clauses).collect::<Option<Vec<_>>>();
        match clauses {
            Some(clauses) => Ok(Self::Symbolic(clauses.concat())),
            None => bail!("--chmod={text}: want octal digits, or changes like u=rwX,go-w"),
        }
    }

    /// The permissions of a file that has `mode`.
    pub fn of(&self, mode: u32, is_directory: bool) -> u32 {
        match self {
            Self::Octal(mode) => *mode,
            Self::Symbolic(changes) => {
                changes.iter().fold(mode & 0o7777, |mode, change| change.apply(mode, is_directory))
            }
        }
    }
}

/// `ug+rw-x`: who, and one or more operators with what they change.
fn clauses(text: &str) -> Option<Vec<Change>> {
    let start = text.find(['+', '-', '='])?;
    let who = text[..start].chars().try_fold(0, |who, c| {
        Some(
            who | match c {
                'u' => 0o700,
                'g' => 0o070,
                'o' => 0o007,
                'a' => 0o777,
                _ => return None,
            },
        )
    })?;
    // Nobody named is everybody: there is no umask in a build.
    let who = if who == 0 { 0o777 } else { who };
    let mut found: Vec<Change> = Vec::new();
    for c in text[start..].chars() {
        match c {
            '+' | '-' | '=' => found.push(Change { who, operator: c, permissions: Vec::new() }),
            'r' | 'w' | 'x' | 'X' | 's' | 't' => found.last_mut()?.permissions.push(c),
            _ => return None,
        }
    }
    Some(found)
}

impl Change {
    fn apply(&self, mode: u32, is_directory: bool) -> u32 {
        let mut bits = 0;
        for permission in &self.permissions {
            bits |= match permission {
                'r' => self.who & 0o444,
                'w' => self.who & 0o222,
                'x' => self.who & 0o111,
                'X' if is_directory || mode & 0o111 != 0 => self.who & 0o111,
                's' => {
                    (if self.who & 0o700 != 0 { 0o4000 } else { 0 }) | (if self.who & 0o070 != 0 { 0o2000 } else { 0 })
                }
                't' if self.who & 0o007 != 0 => 0o1000,
                _ => 0,
            };
        }
        match self.operator {
            '+' => mode | bits,
            '-' => mode & !bits,
            _ => mode & !self.who | bits,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes() {
        for (text, before, directory, after) in [
            ("755", 0o600, false, 0o755),
            ("4755", 0o600, false, 0o4755),
            ("u=rwX,go=rX", 0o600, false, 0o644),
            ("u=rwX,go=rX", 0o700, false, 0o755),
            ("u=rwX,go=rX", 0o600, true, 0o755),
            ("+x", 0o644, false, 0o755),
            ("go-w", 0o666, false, 0o644),
            ("a=r,u+w", 0o777, false, 0o644),
            ("u+s,g+s", 0o755, false, 0o6755),
            ("o+t", 0o777, true, 0o1777),
            ("ug+rw-x", 0o711, false, 0o661),
            ("=", 0o777, false, 0),
        ] {
            assert_eq!(Mode::parse(text).unwrap().of(before, directory), after, "{text} of {before:o}");
        }
        for text in ["", "888", "17777", "u", "z+x", "u+q", "u=rw,", "0o7"] {
            assert!(Mode::parse(text).is_err(), "{text:?}");
        }
    }
}

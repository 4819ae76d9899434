//! Bytes to statements: directives, comments, continuations, flags and here-documents, by the rules of
//! BuildKit's parser (frontend/dockerfile/parser). What the words mean is the next file's business.

use crate::words;
use anyhow::{Context, bail};
use serde_json::Value;

/// A Dockerfile is a page of text; more than this is something else.
pub const LONGEST: u64 = 16 << 20;
const MOST_STATEMENTS: usize = 10_000;

/// One instruction as it stands in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// Where it starts, from 1.
    pub line: usize,
    /// The instruction in capitals.
    pub name: String,
    /// The instruction as it is written.
    pub written: String,
    /// `--name=value` in front of the words.
    pub flags: Vec<Flag>,
    /// The rest of the line, continuations joined.
    pub text: String,
    /// The bodies of `<<WORD`, in order.
    pub heredocs: Vec<Heredoc>,
    /// Instruction, flags and text in one line, for progress and messages.
    pub original: String,
    /// The comment on the line above, without its `#`.
    pub comment: Option<String>,
}

/// `--name` or `--name=value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flag {
    /// Without the dashes, in small letters.
    pub name: String,
    /// Behind the `=`.
    pub value: Option<String>,
}

/// A here-document: `<<WORD`, `<<-WORD` (leading tabs go), `<<"WORD"` (nothing is expanded).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heredoc {
    /// The word that ends it.
    pub name: String,
    /// The number in front of `<<`.
    pub descriptor: Option<u32>,
    /// Whether variables are put in.
    pub expand: bool,
    /// Whether leading tabs go.
    pub chomp: bool,
    /// Up to the line with the name.
    pub content: String,
}

/// The whole file.
#[derive(Debug)]
pub struct File {
    /// For messages.
    pub name: String,
    /// `\`, or what `# escape=` says.
    pub escape: char,
    /// `# syntax=`: noted, never fetched (CVE-2024-23653).
    pub syntax: Option<String>,
    /// `# check=`: which rules of the lint are skipped, and whether a finding is an error.
    pub check: Option<String>,
    /// Lines that are empty in the middle of an instruction: allowed, and to be errors one day.
    pub empty_continuations: Vec<usize>,
    /// In order.
    pub statements: Vec<Statement>,
}

/// An error that belongs to a line of the file.
pub fn at<T>(result: anyhow::Result<T>, file: &str, line: usize) -> anyhow::Result<T> {
    result.with_context(|| format!("{file}:{line}"))
}

/// `name` is the file's name for messages.
pub fn parse(bytes: &[u8], name: &str) -> anyhow::Result<File> {
    let text = std::str::from_utf8(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes))
        .map_err(|error| anyhow::anyhow!("not UTF-8 text: byte {}", error.valid_up_to()))?;
    let mut file = directives(text, name)?;
    let mut lines = text.split_inclusive('\n').enumerate().map(|(index, line)| (index + 1, line));
    let mut comment = None;
    while let Some((number, first)) = lines.next() {
        if is_comment(first) || is_blank(first) {
            let text = first.trim().strip_prefix('#').map(str::trim).unwrap_or_default();
            let name = text.split('=').next().unwrap_or_default().trim_end().to_ascii_lowercase();
            let is_directive = file.statements.is_empty() && ["syntax", "escape", "check"].contains(&name.as_str());
            comment = (!text.is_empty() && !is_directive).then(|| text.to_owned());
            continue;
        }
        let (mut joined, mut more) = continued(bare(first).trim_start(), file.escape);
        while more {
            let Some((at, next)) = lines.next() else { break };
            if is_blank(next) {
                file.empty_continuations.push(at);
            }
            if is_comment(next) || is_blank(next) {
                continue;
            }
            let part;
            (part, more) = continued(bare(next), file.escape);
            joined.push_str(&part);
        }
        if joined.trim().is_empty() {
            continue;
        }
        let mut statement = at(Statement::from_line(&joined, number, file.escape), name, number)?;
        statement.comment = comment.take();
        for heredoc in &mut statement.heredocs {
            let mut ended = false;
            for (_, line) in lines.by_ref() {
                let line = if heredoc.chomp { line.trim_start_matches('\t') } else { line };
                if bare(line) == heredoc.name {
                    ended = true;
                    break;
                }
                heredoc.content.push_str(line);
            }
            if !ended {
                return at(Err(anyhow::anyhow!("here-document <<{} has no end", heredoc.name)), name, number);
            }
        }
        file.statements.push(statement);
        if file.statements.len() > MOST_STATEMENTS {
            bail!("more than {MOST_STATEMENTS} instructions");
        }
    }
    Ok(file)
}

/// `# name=value` lines count only at the top, before any other line; a second one of the same name is an error.
fn directives(text: &str, file_name: &str) -> anyhow::Result<File> {
    let mut file = File {
        name: file_name.into(),
        escape: '\\',
        syntax: None,
        check: None,
        empty_continuations: Vec::new(),
        statements: Vec::new(),
    };
    let mut seen = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let Some((name, value)) = line.trim_start().strip_prefix('#').and_then(|rest| rest.split_once('=')) else {
            break;
        };
        let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
        if !matches!(name.as_str(), "syntax" | "escape" | "check") {
            break;
        }
        if seen.contains(&name) {
            return at(Err(anyhow::anyhow!("directive {name} stands twice")), file_name, index + 1);
        }
        match (name.as_str(), value) {
            ("escape", "\\" | "`") => file.escape = value.chars().next().unwrap_or('\\'),
            ("escape", _) => {
                return at(Err(anyhow::anyhow!("directive escape is {value:?}: want \\ or `")), file_name, index + 1);
            }
            ("syntax", _) => file.syntax = Some(value.into()),
            _ => file.check = Some(value.into()),
        }
        seen.push(name);
    }
    Ok(file)
}

fn bare(line: &str) -> &str {
    let line = line.strip_suffix('\n').unwrap_or(line);
    line.strip_suffix('\r').unwrap_or(line)
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with('#')
}

fn is_blank(line: &str) -> bool {
    line.trim().is_empty()
}

/// A line goes on when it ends in one escape character and blanks; two escapes are a literal one.
fn continued(line: &str, escape: char) -> (String, bool) {
    let trimmed = line.trim_end_matches([' ', '\t']);
    match trimmed.strip_suffix(escape) {
        Some(rest) if !rest.ends_with(escape) => (rest.to_owned(), true),
        _ => (line.to_owned(), false),
    }
}

impl Statement {
    /// Also the body of ONBUILD is such a line.
    pub fn from_line(line: &str, number: usize, escape: char) -> anyhow::Result<Self> {
        let line = line.trim();
        let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let (name, written) = (name.to_ascii_uppercase(), name.to_owned());
        let (flags, text) = take_flags(rest.trim(), escape)?;
        let mut statement = Self {
            line: number,
            flags,
            text: text.trim().to_owned(),
            heredocs: Vec::new(),
            comment: None,
            original: [name.as_str(), rest.trim()].join(" ").trim_end().to_owned(),
            name,
            written,
        };
        let holder = match statement.name.as_str() {
            "ONBUILD" => statement.text.split_whitespace().next().unwrap_or_default().to_ascii_uppercase(),
            other => other.to_owned(),
        };
        if matches!(holder.as_str(), "RUN" | "COPY" | "ADD") && statement.text.contains("<<") {
            statement.heredocs = heredocs(&statement.text, escape)?;
        }
        Ok(statement)
    }

    /// The words as a JSON array of strings, when they are one.
    ///
    /// # Errors
    /// When they are an array with something else in it.
    pub fn json(&self) -> anyhow::Result<Option<Vec<String>>> {
        json(&self.text)
    }
}

/// A text as a JSON array of strings; none when it is no JSON array.
pub(crate) fn json(text: &str) -> anyhow::Result<Option<Vec<String>>> {
    match serde_json::from_str(text) {
        Ok(Value::Array(items)) => {
            let word = |item: Value| match item {
                Value::String(word) => Ok(word),
                other => bail!("{other} in a JSON array: it holds strings only"),
            };
            items.into_iter().map(word).collect::<anyhow::Result<_>>().map(Some)
        }
        _ => Ok(None),
    }
}

/// Flags stand before the first word that does not start with `--`; a bare `--` ends them.
fn take_flags(text: &str, escape: char) -> anyhow::Result<(Vec<Flag>, &str)> {
    let mut flags = Vec::new();
    let mut rest = text;
    while rest.starts_with("--") {
        let (word, after) = words::first(rest, escape);
        rest = after.trim_start();
        if word == "--" {
            break;
        }
        let word = words::unquote(word, escape)?;
        let word = &word[2..];
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (word, None),
        };
        flags.push(Flag { name: name.to_ascii_lowercase(), value });
    }
    Ok((flags, rest))
}

/// Every word `[n]<<[-]NAME` of a line.
fn heredocs(text: &str, escape: char) -> anyhow::Result<Vec<Heredoc>> {
    let mut found = Vec::new();
    if text.trim_start().starts_with('[') && serde_json::from_str::<Vec<String>>(text).is_ok() {
        return Ok(found);
    }
    for word in words::split(text, escape) {
        let Some((before, after)) = word.split_once("<<") else { continue };
        if !before.bytes().all(|b| b.is_ascii_digit()) || after.contains('<') {
            continue;
        }
        let (chomp, raw) = match after.strip_prefix('-') {
            Some(raw) => (true, raw),
            None => (false, after),
        };
        let name = words::unquote(raw, escape)?;
        if name.is_empty() {
            continue;
        }
        let expand = !raw.contains(['"', '\'', escape]);
        found.push(Heredoc { name, descriptor: before.parse().ok(), expand, chomp, content: String::new() });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statements(text: &str) -> Vec<(usize, String, String)> {
        parse(text.as_bytes(), "Dockerfile").unwrap().statements.into_iter().map(|s| (s.line, s.name, s.text)).collect()
    }

    #[test]
    fn lines_become_statements() {
        type Want<'a> = &'a [(usize, &'a str, &'a str)];
        let table: [(&str, Want<'_>); 10] = [
            ("FROM a\nRUN b\n", &[(1, "FROM", "a"), (2, "RUN", "b")]),
            ("\u{feff}from a\r\nrun b\r\n", &[(1, "FROM", "a"), (2, "RUN", "b")]),
            ("RUN a \\\n  b \\  \n  c", &[(1, "RUN", "a   b   c")]),
            ("RUN a \\\n# no\n\n   # no\n  b\nRUN c", &[(1, "RUN", "a   b"), (6, "RUN", "c")]),
            ("RUN a \\\r\n  b\r\n", &[(1, "RUN", "a   b")]),
            ("# c\n\n  RUN x # y", &[(3, "RUN", "x # y")]),
            ("# escape=`\nRUN a `\n b\\\nRUN c", &[(2, "RUN", "a  b\\"), (4, "RUN", "c")]),
            ("\n# escape=`\nRUN a \\\n b", &[(3, "RUN", "a  b")]),
            ("RUN a \\\\\nRUN b", &[(1, "RUN", "a \\\\"), (2, "RUN", "b")]),
            ("RUN\ta", &[(1, "RUN", "a")]),
        ];
        for (text, want) in table {
            let want: Vec<_> = want.iter().map(|(l, n, t)| (*l, (*n).to_owned(), (*t).to_owned())).collect();
            assert_eq!(statements(text), want, "{text:?}");
        }
    }

    #[test]
    fn flags_stand_in_front() {
        let file = parse(b"COPY --from=a --chown=\"1:2\" --link -- --b /c", "Dockerfile").unwrap();
        let flags: Vec<_> = file.statements[0].flags.iter().map(|f| (f.name.as_str(), f.value.as_deref())).collect();
        assert_eq!(flags, [("from", Some("a")), ("chown", Some("1:2")), ("link", None)]);
        assert_eq!(file.statements[0].text, "--b /c");
    }

    #[test]
    fn here_documents() {
        let text = "RUN <<A cat > /a && 3<<-'B' cat\nx $y\nA\n\tz\n\t\tB\nCOPY <<\"E T\" /f\n1\nE T\nRUN echo $((1<<2)) <<<x\n";
        let found: Vec<_> = parse(text.as_bytes(), "Dockerfile").unwrap().statements;
        assert_eq!(found.len(), 3);
        let of = |i: usize| -> Vec<_> {
            found[i].heredocs.iter().map(|h| (h.name.as_str(), h.expand, h.chomp, h.content.as_str())).collect()
        };
        assert_eq!(of(0), [("A", true, false, "x $y\n"), ("B", false, true, "z\n")]);
        assert_eq!(found[0].heredocs[1].descriptor, Some(3));
        assert_eq!(of(1), [("E T", false, false, "1\n")]);
        assert!(of(2).is_empty());
    }

    #[test]
    fn errors_name_the_line() {
        for (text, want) in [
            ("FROM a\nRUN <<E\nx", "Dockerfile:2: here-document <<E has no end"),
            ("# escape=x\nFROM a", "Dockerfile:1: directive escape is \"x\""),
            ("# escape=\\\n# escape=`\n", "Dockerfile:2: directive escape stands twice"),
        ] {
            let error = format!("{:#}", parse(text.as_bytes(), "Dockerfile").unwrap_err());
            assert!(error.starts_with(want), "{error}");
        }
        assert!(parse(b"FROM \xff", "Dockerfile").is_err());
    }
}

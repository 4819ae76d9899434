//! `COPY` and `ADD`: sources, here-documents, and a destination.

use super::flags::{flag, flags, switch};
use crate::parse::{Heredoc, Statement};
use crate::words;
use anyhow::bail;

/// `COPY` or `ADD`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the instruction")]
pub struct Copy {
    /// ADD unpacks local archives and fetches.
    pub add: bool,
    /// A stage, an image or a named context.
    pub from: Option<String>,
    /// `user:group`, names or numbers.
    pub chown: Option<String>,
    /// Octal or symbolic, once its variables are put in.
    pub chmod: Option<String>,
    /// The layer does not look at what is below it.
    pub link: bool,
    /// Sources keep their directories, from `/./` on.
    pub parents: bool,
    /// Patterns of what is left out.
    pub exclude: Vec<String>,
    /// What a fetched file must hash to.
    pub checksum: Option<String>,
    /// Of a git repository, keep `.git`.
    pub keep_git_dir: bool,
    /// Whether archives are unpacked; when unsaid, local ones are and fetched ones are not.
    pub unpack: Option<bool>,
    /// Paths, patterns, URLs.
    pub sources: Vec<String>,
    /// Files whose content stands in the Dockerfile itself.
    pub inline: Vec<Heredoc>,
    /// A directory when it ends in a slash.
    pub destination: String,
}

pub(super) fn copy(s: &Statement, escape: char) -> anyhow::Result<Copy> {
    let mut words = match s.json()? {
        Some(words) => words,
        None if s.heredocs.is_empty() => s.text.split_whitespace().map(Into::into).collect(),
        None => words::split(&s.text, escape),
    };
    let destination = words.pop().unwrap_or_default();
    if words.is_empty() {
        bail!("{} needs at least one source and a destination", s.name);
    }
    let before = words.len();
    if !s.heredocs.is_empty() {
        words.retain(|word| !word.starts_with("<<"));
    }
    if before - words.len() != s.heredocs.len() {
        bail!("{}: the destination cannot be a here-document", s.name);
    }
    let add = s.name == "ADD";
    if before > 1 && !is_directory_form(&destination) {
        bail!("{} has more than one source: the destination {destination:?} must end with /", s.name);
    }
    Ok(Copy {
        add,
        from: flag(s, "from"),
        chown: flag(s, "chown"),
        chmod: flag(s, "chmod"),
        link: switch(s, "link")?.unwrap_or(false),
        parents: switch(s, "parents")?.unwrap_or(false),
        exclude: flags(s, "exclude"),
        checksum: flag(s, "checksum"),
        keep_git_dir: switch(s, "keep-git-dir")?.unwrap_or(false),
        unpack: switch(s, "unpack")?,
        sources: words,
        inline: s.heredocs.clone(),
        destination,
    })
}

/// `.`, `..` and what ends in a slash; a variable may turn out to.
fn is_directory_form(destination: &str) -> bool {
    destination.ends_with('/')
        || matches!(destination, "." | "..")
        || destination.ends_with("/.")
        || destination.contains('$')
}

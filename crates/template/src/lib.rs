//! Docker's `--format`: Go's text/template over a JSON document, with docker's functions, words and errors.
//!
//! Parsing and running are the crate gotmpl's. What docker's users see beyond it is added here: errors that name
//! the place (`template: :1:2: executing "" at <.Nope>: …`), structs that print as `{a b}` and maps as
//! `map[a:b]`, JSON with its members in the order of the document, and `.Label "name"`, a field that takes an
//! argument. A JSON document does not say which of its objects docker keeps in a map: the module value knows by name.
//!
//! The language: <https://pkg.go.dev/text/template>; docker's additions:
//! <https://docs.docker.com/engine/cli/formatting/>.

#![forbid(unsafe_code)]

mod call;
mod functions;
mod listing;
mod tree;
mod value;

pub use listing::{Listing, Row, Sheet};

use call::For;
use gotmpl::TemplateError;
use gotmpl::parse::Parser;
use serde::Serialize;
use serde_json::Value;
use serde_json::ser::{PrettyFormatter, Serializer};
use std::fmt;
use std::sync::Arc;
use tree::Tree;

/// No output of a template is longer: a range in a range over a long list could go on for ever.
const LONGEST_OUTPUT: usize = 64 << 20;
/// Nor has it more turns of its ranges, all of them together.
const MOST_TURNS: u64 = 10_000_000;
/// Nor is a template: what comes on a command line is shorter.
const LONGEST_TEMPLATE: usize = 1 << 20;

/// What is wrong with a template, in docker's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It does not parse. `docker inspect` exits with 64 then, everything else with 1.
    #[error("template parsing error: {0}")]
    Parse(String),
    /// It does not fit the data.
    #[error("template parsing error: {0}")]
    Execute(String),
}

impl Error {
    /// The part behind docker's prefix, which is another one for some commands.
    pub fn cause(&self) -> &str {
        match self {
            Self::Parse(cause) | Self::Execute(cause) => cause,
        }
    }
}

/// A template that has been parsed.
#[derive(Debug, Clone)]
pub struct Template {
    tree: Arc<Tree>,
}

impl Template {
    /// Parses a template.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let wrong = |error| Error::Parse(in_gos_words(error));
        if text.len() > LONGEST_TEMPLATE {
            return Err(Error::Parse("template: the template is too long".into()));
        }
        let (main, defined) = Parser::new(text, "{{", "}}").map_err(wrong)?.parse().map_err(wrong)?;
        let tree = Tree::new(text, main, defined).map_err(Error::Parse)?;
        Ok(Self { tree: Arc::new(tree) })
    }

    /// Runs it over one document, as `docker inspect -f` does. A member that the document has not is an error;
    /// an entry that a map has not is `<no value>`.
    pub fn render(&self, document: &Value) -> Result<String, Error> {
        self.run(document, &For::Document)
    }

    fn run(&self, data: &Value, used: &For) -> Result<String, Error> {
        let (data, known) = value::Known::of(data);
        let state = Arc::new(call::State { tree: Arc::clone(&self.tree), known, used: used.clone() });
        let mut engine = gotmpl::Template::new("").max_range_iters(MOST_TURNS).funcs(call::functions(&state));
        for (name, body) in &self.tree.bodies {
            engine = engine.add_parse_tree(name, body.clone());
        }
        let mut written = Capped(String::new());
        match engine.execute_template_fmt(&mut written, tree::MAIN, &data) {
            Ok(()) => Ok(written.0),
            Err(error) => Err(Error::Execute(in_gos_words(error))),
        }
    }
}

/// A document as an element of the array that `docker inspect` prints: indented by four, and by four again.
pub fn element(document: &Value) -> String {
    let mut text = b"    ".to_vec();
    let indent = PrettyFormatter::with_indent(b"    ");
    // Neither writing to memory nor a value with text keys fails.
    let _ = document.serialize(&mut Serializer::with_formatter(&mut text, indent));
    String::from_utf8_lossy(&text).replace('\n', "\n    ")
}

/// Go's texts: of a parser's error only the line is said, and what was said with its place stays as it is.
fn in_gos_words(error: TemplateError) -> String {
    match error {
        TemplateError::Parse { line, message, .. } | TemplateError::Lex { line, message, .. } => {
            format!("template: :{line}: {message}")
        }
        TemplateError::Exec(said) if said.starts_with("template: ") => said,
        TemplateError::Write => "template: the output is too long".into(),
        other => format!("template: {other}"),
    }
}

/// Text of a bounded length.
struct Capped(String);

impl fmt::Write for Capped {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.0.len() + text.len() > LONGEST_OUTPUT {
            return Err(fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

#[cfg(test)]
mod tests;

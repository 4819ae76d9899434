//! Prints what of a document is wanted: docker's --format for every record, and every other JSON, in a pipe.
//!
//! Mechanism: none of the kernel's. A shell wants a word, a tool prints an object; between the two stands a template
//! that names the members. Where jq is at hand:
//!
//! ```sh
//! ctr-ls | jq -r '.name + " " + .status'
//! ```
//!
//! Read dock-wire(5) for the members of records, and Go's text/template for the language.

#![forbid(unsafe_code)]

use anyhow::{Context, bail};
use clap::Parser;
use serde_json::{Deserializer, Value};
use std::io::{BufReader, IsTerminal, stdin};
use std::process::ExitCode;
use template::Template;
use toolkit::{Out, usage};

/// Print JSON documents by a Go template
#[derive(Debug, Parser)]
#[command(name = "rec-format", version, about)]
struct Args {
    /// What to print of each document: a Go template with docker's functions, or json for all of it
    template: String,
}

fn main() -> ExitCode {
    toolkit::main(run)
}

#[expect(clippy::needless_pass_by_value, reason = "toolkit::main gives them away")]
fn run(args: Args, out: &mut Out) -> anyhow::Result<()> {
    let text = if args.template == "json" { "{{json .}}" } else { &args.template };
    let template = Template::parse(text).map_err(|error| usage(error.to_string()))?;
    if stdin().is_terminal() {
        return Err(usage("no JSON on <stdin>, which is a terminal"));
    }
    let mut documents = Deserializer::from_reader(BufReader::new(stdin().lock())).into_iter::<Value>().peekable();
    if documents.peek().is_none() {
        bail!("no JSON document on <stdin>");
    }
    for document in documents {
        let text = template.render(&document.context("<stdin>")?)?;
        out.text(&format!("{text}\n"))?;
    }
    Ok(())
}

//! What a tool reads from stdin: records, one record and not a byte more, a secret.

use crate::usage;
use anyhow::{Context, bail};
use std::fs::File;
use std::io::{BufRead, IsTerminal, Read};
use std::path::Path;
use wire::Record;

/// A record is one line of paths, digests and annotations; more than this is not a record.
const LONGEST_RECORD: u64 = 1 << 20;

/// Reads records from stdin, one a line, until its end. `kind` is the word for the error message: an empty
/// stdin means that the tool before this one failed, and a shell without pipefail would hide it.
pub fn read_records(kind: &str) -> anyhow::Result<Vec<Record>> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        return Err(usage(format!("no operand, and stdin is a terminal: name the {kind} or pipe its record in")));
    }
    let mut records = Vec::new();
    for line in stdin.lock().take(64 * LONGEST_RECORD).lines() {
        let line = line.context("<stdin>")?;
        if !line.trim().is_empty() {
            records.push(Record::parse(&line).context("<stdin>")?);
        }
    }
    if records.is_empty() {
        bail!("no {kind} record on <stdin>");
    }
    Ok(records)
}

/// A password or token from a file that only we hear, `-` being stdin: so that it never stands on a command line.
pub fn read_secret(path: &Path) -> anyhow::Result<String> {
    let from: (Box<dyn Read>, _) = match path.to_str() {
        Some("-") => (Box::new(std::io::stdin()), "<stdin>".into()),
        _ => (Box::new(File::open(path).with_context(|| path.display().to_string())?), path.display().to_string()),
    };
    let mut text = String::new();
    from.0.take(LONGEST_RECORD).read_to_string(&mut text).context(from.1)?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// The operands of a tool that takes containers; without any, the IDs in the container records on stdin.
pub fn containers(operands: &[String]) -> anyhow::Result<Vec<String>> {
    if !operands.is_empty() {
        return Ok(operands.to_vec());
    }
    let id = |record| match record {
        Record::Container(container) => Ok(container.id),
        other => bail!("<stdin>: {} record where a container record is wanted", other.kind()),
    };
    read_records("container")?.into_iter().map(id).collect()
}

/// Reads stdin to its end and wants exactly one record.
pub fn one_record(kind: &str) -> anyhow::Result<Record> {
    let mut records = read_records(kind)?;
    match (records.pop(), records.is_empty()) {
        (Some(record), true) => Ok(record),
        _ => bail!("<stdin>: more than one record; this tool takes one {kind}"),
    }
}

/// Reads exactly one line and not a byte more: the rest of stdin belongs to the container.
pub fn record_unbuffered(kind: &str) -> anyhow::Result<Record> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        return Err(usage(format!("no operand, and stdin is a terminal: name the {kind} or pipe its record in")));
    }
    let mut line = Vec::new();
    let mut byte = [0];
    while rustix::io::read(&stdin, &mut byte).context("<stdin>")? == 1 && byte[0] != b'\n' {
        line.push(byte[0]);
        if line.len() as u64 > LONGEST_RECORD {
            bail!("<stdin>: the first line is longer than any record");
        }
    }
    if line.iter().all(u8::is_ascii_whitespace) {
        bail!("no {kind} record on <stdin>");
    }
    let line = String::from_utf8(line).context("<stdin>")?;
    Record::parse(&line).context("<stdin>")
}

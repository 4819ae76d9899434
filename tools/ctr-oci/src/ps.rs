//! ps: the processes of a container's cgroups, as numbers, or as ps(1) of the host shows them.

use crate::cgroups;
use crate::store::Store;
use anyhow::{Context, bail};
use serde_json::json;
use std::process::Command;
use toolkit::Out;

#[derive(Debug, clap::Args)]
pub struct Options {
    /// ID of the container
    id: String,

    /// table or json
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    format: Format,

    /// Options of ps(1)
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTION")]
    words: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    Table,
    Json,
}

pub fn verb(store: &Store, options: &Options, out: &mut Out) -> anyhow::Result<()> {
    let container = store.find(&options.id)?;
    let processes = cgroups::processes(&container.cgroups());
    if options.format == Format::Json {
        return out.text(&format!("{}\n", json!(processes)));
    }
    let mut ps = Command::new("ps");
    if options.words.is_empty() {
        ps.arg("-ef")
    } else {
        ps.args(&options.words)
    };
    let output = ps.output().context("ps")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let heading = text.lines().next().unwrap_or_default();
    let Some(column) = heading.split_whitespace().position(|title| title == "PID") else {
        bail!("ps: {}: no column PID in what it prints", options.words.join(" "));
    };
    out.text(&format!("{heading}\n"))?;
    for line in text.lines().skip(1) {
        let pid = line.split_whitespace().nth(column).and_then(|word| word.parse().ok());
        if pid.is_some_and(|pid| processes.contains(&pid)) {
            out.text(&format!("{line}\n"))?;
        }
    }
    Ok(())
}

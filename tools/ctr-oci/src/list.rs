//! list: every container of the root.

use crate::log::Log;
use crate::state;
use crate::store::Store;
use serde_json::Value;
use toolkit::Out;

#[derive(Debug, clap::Args)]
pub struct Options {
    /// table or json
    #[arg(short, long, value_enum, default_value_t = crate::ps::Format::Table)]
    format: crate::ps::Format,

    /// Only IDs
    #[arg(short, long)]
    quiet: bool,
}

pub fn verb(store: &Store, log: &Log, options: &Options, out: &mut Out) -> anyhow::Result<()> {
    let states: Vec<Value> = store.list(log)?.iter().map(state::of).collect();
    let text = |state: &Value, name: &str| match &state[name] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    if options.quiet {
        return states.iter().try_for_each(|state| out.text(&format!("{}\n", text(state, "id"))));
    }
    if options.format == crate::ps::Format::Json {
        // As runc: nothing is null.
        let list = if states.is_empty() { Value::Null } else { Value::Array(states) };
        return out.text(&format!("{list}\n"));
    }
    let names = ["id", "pid", "status", "bundle", "created", "owner"];
    let rows: Vec<[String; 6]> = states.iter().map(|state| names.map(|name| text(state, name))).collect();
    out.text(&table::columns(["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"], &rows))
}

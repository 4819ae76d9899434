//! Hooks behind the start and behind the end, which are verbs of their own here; ctr-spawn runs all others.

use crate::store::Container;
use anyhow::Context;
use linux_sandbox::{Hook, Hooks, Moment, State};
use serde::Deserialize;
use std::path::PathBuf;
use std::time::Duration;

/// A hook as `config.json` has it.
#[derive(Debug, Deserialize)]
struct Wanted {
    path: PathBuf,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    env: Vec<String>,
    timeout: Option<u64>,
}

/// Tells all of one moment. One that fails behind the end can stop nothing: it is a warning.
pub fn tell(container: &Container, moment: Moment, pid: Option<i32>) -> anyhow::Result<Vec<String>> {
    let config = container.config()?;
    let list = &config["hooks"][moment.name()];
    if list.is_null() {
        return Ok(Vec::new());
    }
    let wanted: Vec<Wanted> = serde_json::from_value(list.clone()).context("config.json: hooks")?;
    let directory = container.state.bundle.as_path().to_path_buf();
    let state = State {
        oci_version: container.state.oci_version.clone(),
        id: container.state.id.clone(),
        status: String::new(),
        pid: None,
        bundle: directory.clone(),
        annotations: serde_json::from_value(config["annotations"].clone()).unwrap_or_default(),
    };
    let hook = |hook: Wanted| Hook {
        path: hook.path,
        args: hook.args,
        env: hook.env,
        timeout: hook.timeout.map(Duration::from_secs),
    };
    let hooks = wanted.into_iter().map(hook).collect();
    let hooks = Hooks { moment, hooks, directory, state, program: "ctr-oci".into() };
    let warnings = hooks.tell(pid).context("hooks")?;
    Ok(warnings.iter().map(|warning| format!("hooks: {warning}")).collect())
}

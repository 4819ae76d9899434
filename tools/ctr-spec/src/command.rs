//! What runs, as whom, where, with which environment.

use anyhow::{Context, bail};
use bundle::config::{has_env, set_env};
use clap::Args;
use serde_json::{Value, json};
use std::path::PathBuf;

#[derive(Debug, Args)]
#[group(skip)]
pub struct Options {
    /// Set an environment variable; NAME alone takes its value from ctr-spec's own environment
    #[arg(short, long = "env", value_name = "NAME[=VALUE]")]
    env: Vec<String>,

    /// Set the environment variables of a file, one a line
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,

    /// The working directory
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,

    /// The user, by name or number, and optionally the group
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,

    /// The host name
    #[arg(short, long, value_name = "NAME")]
    pub hostname: Option<String>,

    /// The program in place of the image's ENTRYPOINT; empty for none
    #[arg(long, value_name = "PROGRAM")]
    entrypoint: Option<String>,

    /// Give the process a terminal
    #[arg(short, long)]
    tty: bool,
}

pub fn set_host_name(config: &mut Value, options: &Options) -> anyhow::Result<()> {
    let Some(name) = &options.hostname else { return Ok(()) };
    if !bundle::config::is_hostname(name) {
        bail!("invalid hostname format: {name}");
    }
    config["hostname"] = name.as_str().into();
    let mut env = environment(config)?;
    set_env(&mut env, &format!("HOSTNAME={name}"));
    config["process"]["env"] = env.into();
    Ok(())
}

/// Arguments replace the image's CMD, `--entrypoint` replaces ENTRYPOINT and drops CMD. Once joined in
/// `process.args` the two cannot be told apart; the image's own configuration can.
pub fn set_arguments(config: &mut Value, image: &Value, options: &Options, args: &[String]) -> anyhow::Result<()> {
    if options.entrypoint.is_none() && args.is_empty() {
        return Ok(());
    }
    let (image_entrypoint, _) = bundle::config::image_command(image)?;
    let entrypoint = match options.entrypoint.as_deref() {
        None => image_entrypoint,
        Some("") => Vec::new(),
        Some(program) => vec![program.to_owned()],
    };
    config["process"]["args"] = [&entrypoint, args].concat().into();
    Ok(())
}

/// Files first, then options, each in the order given; the last one wins.
pub fn set_environment(config: &mut Value, options: &Options) -> anyhow::Result<()> {
    let mut env = environment(config)?;
    for path in &options.env_file {
        let text = std::fs::read_to_string(path).with_context(|| format!("{}", path.display()))?;
        for line in text.trim_start_matches('\u{feff}').lines().map(str::trim_start) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let name = line.split('=').next().unwrap_or(line);
            if name.is_empty() {
                bail!("{}: no variable name on line '{line}'", path.display());
            }
            if name.contains(char::is_whitespace) {
                bail!("{}: variable '{name}' contains whitespaces", path.display());
            }
            if line.contains('=') || std::env::var_os(name).is_some() {
                assign(&mut env, line)?;
            }
        }
    }
    for assignment in &options.env {
        if assignment.is_empty() || assignment.starts_with('=') {
            bail!("invalid environment variable: {assignment}");
        }
        assign(&mut env, assignment)?;
    }
    config["process"]["env"] = env.into();
    Ok(())
}

/// `NAME` alone is the value of our own environment; where that has none, the image's goes too, as in docker.
fn assign(env: &mut Vec<String>, assignment: &str) -> anyhow::Result<()> {
    if assignment.contains('=') {
        set_env(env, assignment);
        return Ok(());
    }
    match std::env::var_os(assignment) {
        Some(value) => {
            let value = value.into_string().ok().with_context(|| format!("{assignment}: not UTF-8"))?;
            set_env(env, &format!("{assignment}={value}"));
        }
        None => env.retain(|old| old.split('=').next() != Some(assignment)),
    }
    Ok(())
}

/// Looks the user up in the bundle's own passwd and group. A HOME that nobody set follows the user.
pub fn set_user(config: &mut Value, image: &Value, record: &wire::Bundle, options: &Options) -> anyhow::Result<()> {
    let Some(wish) = &options.user else { return Ok(()) };
    let passwd = bundle::rootfs_file(record, "etc/passwd")?;
    let group = bundle::rootfs_file(record, "etc/group")?;
    let user = bundle::users::resolve(wish, passwd.as_deref(), group.as_deref())?;
    bundle::config::set_user(config, &user);
    let mut env = environment(config)?;
    let of_image = image["config"]["Env"].as_array().into_iter().flatten();
    let given = of_image.chain(&[]).filter_map(Value::as_str).chain(options.env.iter().map(String::as_str));
    let given: Vec<String> = given.map(Into::into).collect();
    if !has_env(&env, "HOME") || !image.is_null() && !has_env(&given, "HOME") && options.env_file.is_empty() {
        set_env(&mut env, &format!("HOME={}", user.home.as_deref().unwrap_or("/")));
    }
    config["process"]["env"] = env.into();
    Ok(())
}

/// A process with a terminal is told which kind it is.
pub fn set_terminal_and_directory(config: &mut Value, options: &Options) -> anyhow::Result<()> {
    if options.tty {
        config["process"]["terminal"] = true.into();
        let mut env = environment(config)?;
        if !has_env(&env, "TERM") {
            env.insert(env.len().min(2), "TERM=xterm".into());
        }
        config["process"]["env"] = env.into();
    }
    // Empty is not given, as in docker: scripts say -w "$DIR".
    if let Some(dir) = options.workdir.as_deref().filter(|dir| !dir.is_empty()) {
        if !dir.starts_with('/') {
            bail!("the working directory '{dir}' is invalid, it needs to be an absolute path");
        }
        config["process"]["cwd"] = json!(dir);
    }
    Ok(())
}

fn environment(config: &Value) -> anyhow::Result<Vec<String>> {
    match &config["process"]["env"] {
        Value::Null => Ok(Vec::new()),
        list => serde_json::from_value(list.clone()).context("config.json: process.env: not a list of strings"),
    }
}

//! What runs, as whom, where, with which environment.

use anyhow::{Context, bail};
use bundle::config::{has_env, set_env};
use clap::Args;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

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

    /// The NIS domain name
    #[arg(long, value_name = "NAME")]
    domainname: Option<String>,

    /// One more group for the process, by name or number
    #[arg(long, value_name = "GROUP")]
    group_add: Vec<String>,

    /// The program in place of the image's ENTRYPOINT; empty for none
    #[arg(long, value_name = "PROGRAM")]
    entrypoint: Option<String>,

    /// Run a first process that reaps, ctr-init, and the command as its child
    #[arg(long)]
    init: bool,

    /// Give the process a terminal
    #[arg(short, long)]
    tty: bool,
}

pub fn set_host_name(config: &mut Value, options: &Options, on_network_of_host: bool) -> anyhow::Result<()> {
    if let Some(name) = options.domainname.as_deref().filter(|name| !name.is_empty()) {
        if !bundle::config::is_hostname(name) {
            bail!("invalid domainname format: {name}");
        }
        config["domainname"] = name.into();
    }
    // Who has the host's network has the name by which it is known there.
    let of_host = Some(crate::naming::host_name());
    let of_host = of_host.filter(|name| on_network_of_host && bundle::config::is_hostname(name));
    let asked = options.hostname.clone().filter(|name| !name.is_empty());
    let Some(name) = asked.or(of_host) else { return Ok(()) };
    if !bundle::config::is_hostname(&name) {
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

/// Where docker has its own.
const INIT: &str = "/sbin/docker-init";

/// Puts ctr-init before the command, and mounts it: the file that lies beside this program.
pub fn set_init(config: &mut Value, host: &mut Map<String, Value>, options: &Options) -> anyhow::Result<Vec<Value>> {
    if options.init {
        host.insert("init".into(), true.into());
    }
    if host.get("init").is_none_or(|init| init != true) {
        return Ok(Vec::new());
    }
    let args = config["process"]["args"].as_array_mut().context("config.json: process.args: not a list")?;
    if args.first().is_none_or(|first| first != INIT) {
        args.splice(0..0, [json!(INIT), json!("--")]);
    }
    let own = std::env::current_exe().context("/proc/self/exe")?.with_file_name("ctr-init");
    if !own.is_file() {
        bail!("{}: not there: --init needs it", own.display());
    }
    let options = ["bind", "ro", "nosuid", "nodev", "rprivate"];
    Ok(vec![json!({ "destination": INIT, "type": "bind", "source": own.to_string_lossy(), "options": options })])
}

/// The command without what [`set_init`] puts before it.
pub fn without_init(config: &Value) -> Vec<String> {
    let args: Vec<String> = serde_json::from_value(config["process"]["args"].clone()).unwrap_or_default();
    if args.first().is_some_and(|first| first == INIT) { args.into_iter().skip(2).collect() } else { args }
}

/// Files first, then options, each in the order given; the last one wins.
pub fn set_environment(config: &mut Value, options: &Options) -> anyhow::Result<()> {
    let mut env = environment(config)?;
    for path in &options.env_file {
        for line in lines_of(path, outer)? {
            bundle::env::assign(&mut env, &line, outer)?;
        }
    }
    for assignment in &options.env {
        bundle::env::assign(&mut env, assignment, outer)
            .map_err(|why| crate::flag::refused("-e, --env", assignment, why))?;
    }
    config["process"]["env"] = env.into();
    Ok(())
}

/// The lines of a file of `NAME=VALUE`. A name alone that `outer` does not have is left out.
pub fn lines_of(path: &Path, outer: impl Fn(&str) -> Option<String>) -> anyhow::Result<Vec<String>> {
    bundle::env::read_file(path, outer).map_err(|why| toolkit::usage(why.to_string()))
}

/// The value of our own environment.
fn outer(name: &str) -> Option<String> {
    std::env::var(name).ok()
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

/// Groups by name are those of the bundle's own group file.
pub fn add_groups(
    config: &mut Value,
    host: &mut Map<String, Value>,
    record: &wire::Bundle,
    options: &Options,
) -> anyhow::Result<()> {
    if options.group_add.is_empty() {
        return Ok(());
    }
    let group = bundle::rootfs_file(record, "etc/group")?;
    let list = &mut config["process"]["user"]["additionalGids"];
    let mut gids: Vec<u32> = serde_json::from_value(list.clone()).unwrap_or_default();
    for wish in &options.group_add {
        let gid = bundle::users::group(wish, group.as_deref())?;
        if !gids.contains(&gid) {
            gids.push(gid);
        }
    }
    *list = gids.into();
    host.insert("groupAdd".into(), json!(options.group_add));
    Ok(())
}

/// What docker's inspect shows as Config and cannot be seen in config.json any more.
pub fn note(image: &Value, options: &Options, args: &[String], before: &Value) -> anyhow::Result<Map<String, Value>> {
    let old = |name: &str, of_image: &Value| match &before[name] {
        Value::Null => of_image.clone(),
        known => known.clone(),
    };
    let of_image = &image["config"];
    let entrypoint = match options.entrypoint.as_deref() {
        None => old("entrypoint", &of_image["Entrypoint"]),
        Some("") => json!([""]),
        Some(program) => json!([program]),
    };
    let cmd = match (options.entrypoint.is_some(), args.is_empty()) {
        (_, false) => json!(args),
        (true, true) => Value::Null,
        (false, true) => old("cmd", &of_image["Cmd"]),
    };
    let mut lines: Vec<String> = Vec::new();
    for path in &options.env_file {
        lines.extend(lines_of(path, outer)?);
    }
    let mut env: Vec<String> = Vec::new();
    for line in lines.iter().chain(&options.env) {
        bundle::env::assign(&mut env, line, outer)?;
    }
    let earlier = old("env", &of_image["Env"]);
    for line in earlier.as_array().into_iter().flatten().filter_map(Value::as_str) {
        let name = line.split('=').next().unwrap_or(line);
        let unset = options.env.iter().any(|wish| wish == name);
        if !has_env(&env, name) && !unset {
            env.push(line.into());
        }
    }
    let user = options.user.as_ref().map_or_else(|| old("user", &of_image["User"]), |user| json!(user));
    let mut note = Map::new();
    for (name, value) in [("user", user), ("env", env.into()), ("cmd", cmd), ("entrypoint", entrypoint)] {
        note.insert(name.into(), value);
    }
    Ok(note)
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

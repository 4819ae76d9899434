//! What the process may do although it is not root on the host, or may not do although it is root inside.

use crate::{devices, seccomp};
use anyhow::{Context, bail};
use clap::Args;
use serde_json::{Map, Value, json};

#[derive(Debug, Args)]
#[group(skip)]
pub struct Options {
    /// Add a capability, or ALL
    #[arg(long, value_name = "CAPABILITY")]
    cap_add: Vec<String>,

    /// Take a capability away, or ALL
    #[arg(long, value_name = "CAPABILITY")]
    cap_drop: Vec<String>,

    /// The set to start from: podman's eleven or docker's fourteen
    #[arg(long, value_name = "SET", default_value = "podman", value_parser = ["podman", "docker"], hide_default_value = true)]
    capabilities: String,

    /// All capabilities and devices, nothing masked or read-only, no system call filter
    #[arg(long)]
    pub privileged: bool,

    /// no-new-privileges[=true|false], seccomp=unconfined|builtin|FILE, systempaths=unconfined, apparmor=PROFILE, label=OPTION
    #[arg(long, value_name = "OPTION")]
    security_opt: Vec<String>,
}

pub fn set(config: &mut Value, host: &mut Map<String, Value>, options: &Options) -> anyhow::Result<()> {
    let before = seccomp::capabilities(config);
    let mut profile = options.privileged.then_some("unconfined");
    set_capabilities(config, options)?;
    if options.privileged {
        set_privileged(config)?;
        host.insert("privileged".into(), true.into());
    }
    for option in &options.security_opt {
        set_security(config, option, &mut profile)?;
    }
    seccomp::set(config, &before, profile)?;
    let whole = |name: &String| bundle::parse_capability(name).map_or_else(|_| name.to_ascii_uppercase(), Into::into);
    let names = |list: &[String]| -> Vec<String> { list.iter().map(whole).collect() };
    for (name, list) in [
        ("capAdd", names(&options.cap_add)),
        ("capDrop", names(&options.cap_drop)),
        ("securityOpt", options.security_opt.clone()),
    ] {
        if !list.is_empty() {
            host.insert(name.into(), json!(list));
        }
    }
    Ok(())
}

/// Docker's rule: with `--cap-add ALL` everything but what is dropped, with `--cap-drop ALL` only what is added.
fn set_capabilities(config: &mut Value, options: &Options) -> anyhow::Result<()> {
    let parse = |names: &[String], list| -> anyhow::Result<(bool, Vec<&'static str>)> {
        let all = names.iter().any(|name| name.eq_ignore_ascii_case("all"));
        let named = names.iter().filter(|name| !name.eq_ignore_ascii_case("all"));
        let parsed: Result<_, _> = named.map(|name| bundle::parse_capability(name)).collect();
        Ok((all, parsed.with_context(|| format!("invalid {list}"))?))
    };
    let (add_all, add) = parse(&options.cap_add, "CapAdd")?;
    let (drop_all, drop) = parse(&options.cap_drop, "CapDrop")?;
    let start = match options.capabilities.as_str() {
        "docker" => bundle::docker_capabilities(),
        _ => bundle::default_capabilities(),
    };
    if options.cap_add.is_empty() && options.cap_drop.is_empty() && options.capabilities != "docker" {
        return Ok(());
    }
    let kept = |name: &&'static str| match (add_all, drop_all) {
        (true, _) => !drop.contains(name),
        (false, true) => add.contains(name),
        (false, false) => add.contains(name) || start.contains(name) && !drop.contains(name),
    };
    let names: Vec<_> = bundle::all_capabilities().into_iter().filter(kept).collect();
    config["process"]["capabilities"] = bundle::config::capabilities(&names);
    Ok(())
}

/// As docker: everything that stands between the container and the kernel goes, but for its namespaces.
fn set_privileged(config: &mut Value) -> anyhow::Result<()> {
    config["process"]["capabilities"] = bundle::config::capabilities(&bundle::all_capabilities());
    unmask(config);
    if let Some(process) = config["process"].as_object_mut() {
        process.shift_remove("apparmorProfile");
    }
    for mount in config["mounts"].as_array_mut().into_iter().flatten() {
        if ["sysfs", "cgroup"].iter().any(|kind| mount["type"] == *kind)
            && let Some(options) = mount["options"].as_array_mut()
        {
            options.retain(|option| option != "ro");
        }
    }
    devices::set_all(config)
}

fn unmask(config: &mut Value) {
    config["linux"]["maskedPaths"] = json!([]);
    config["linux"]["readonlyPaths"] = json!([]);
}

/// Docker's options; a colon after the name is its older form.
fn set_security<'a>(config: &mut Value, option: &'a str, profile: &mut Option<&'a str>) -> anyhow::Result<()> {
    let (name, value) = match option.split_once('=').or_else(|| option.split_once(':')) {
        Some((name, value)) => (name, Some(value)),
        None => (option, None),
    };
    match (name, value) {
        ("no-new-privileges", None | Some("true")) => config["process"]["noNewPrivileges"] = true.into(),
        ("no-new-privileges", Some("false")) => config["process"]["noNewPrivileges"] = false.into(),
        ("seccomp", Some(wish)) => *profile = Some(wish),
        ("systempaths", Some("unconfined")) => unmask(config),
        ("apparmor", Some("unconfined")) => {
            if let Some(process) = config["process"].as_object_mut() {
                process.shift_remove("apparmorProfile");
            }
        }
        ("apparmor", Some(profile)) if !profile.is_empty() => config["process"]["apparmorProfile"] = profile.into(),
        ("label", Some("disable")) => {
            if let Some(process) = config["process"].as_object_mut() {
                process.shift_remove("selinuxLabel");
            }
            if let Some(linux) = config["linux"].as_object_mut() {
                linux.shift_remove("mountLabel");
            }
        }
        ("label", Some(part)) if !part.is_empty() => set_label(config, part)?,
        _ => return Err(toolkit::usage(format!("Invalid --security-opt: {option:?}"))),
    }
    Ok(())
}

/// `user:role:type:level`, of which each option sets one part: of the process, and where its files have the same part,
/// of its mounts. Without any, nobody asks for labels.
fn set_label(config: &mut Value, part: &str) -> anyhow::Result<()> {
    let label = |old: &Value, usual: &str| -> Vec<String> {
        old.as_str().unwrap_or(usual).splitn(4, ':').map(Into::into).collect()
    };
    let mut process = label(&config["process"]["selinuxLabel"], "system_u:system_r:container_t:s0");
    let mut mounts = label(&config["linux"]["mountLabel"], "system_u:object_r:container_file_t:s0");
    let wish = part.split_once(':').filter(|(_, value)| !value.is_empty());
    let (at, both) = match wish.map(|(name, _)| name) {
        Some("user") => (0, true),
        Some("role") => (1, false),
        Some("type" | "filetype") => (2, false),
        Some("level") => (3, true),
        _ => bail!(
            "Bad label option {part:?}, valid options 'disable' or 'user, role, level, type, filetype' followed by ':' and a value"
        ),
    };
    let (name, value) = wish.unwrap_or_default();
    let labels = [(&mut process, name != "filetype"), (&mut mounts, both || name == "filetype")];
    for (label, _) in labels.into_iter().filter(|(_, wanted)| *wanted) {
        label.resize(label.len().max(at + 1), String::new());
        value.clone_into(&mut label[at]);
    }
    config["process"]["selinuxLabel"] = process.join(":").into();
    config["linux"]["mountLabel"] = mounts.join(":").into();
    Ok(())
}

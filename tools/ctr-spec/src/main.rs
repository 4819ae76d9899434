//! Turns run options into the `config.json` of a bundle: the one file in which everything that a container
//! may do is written down before anything runs (OCI runtime-spec config.md).
//!
//! Mechanism: no mechanism at all. A container is a list of wishes in JSON; each option edits a few members,
//! and whatever else is in the file stays. With a text editor, or in shell:
//!
//! ```sh
//! jq '.process.env += ["LANG=C"] | .linux.resources.memory.limit = 268435456' config.json > new
//! mv new config.json
//! ```
//!
//! Read capabilities(7), cgroups(7), namespaces(7), getrlimit(2).

#![forbid(unsafe_code)]

mod command;
mod limits;
mod mounts;
mod naming;
mod seccomp;

use anyhow::{Context, bail};
use clap::Parser;
use serde_json::Value;
use std::path::PathBuf;
use std::process::ExitCode;
use toolkit::Out;
use wire::Record;

/// Turn run options into the config.json of a bundle
#[derive(Debug, Parser)]
#[command(name = "ctr-spec", version, about, disable_help_flag = true)]
struct Args {
    /// The bundle's directory; without it, a bundle record is read from stdin
    bundle: Option<PathBuf>,

    #[command(flatten)]
    command: command::Options,

    #[command(flatten)]
    mounts: mounts::Options,

    #[command(flatten)]
    limits: limits::Options,

    #[command(flatten)]
    naming: naming::Options,

    /// Add a capability, or ALL
    #[arg(long, value_name = "CAPABILITY")]
    cap_add: Vec<String>,

    /// Take a capability away, or ALL
    #[arg(long, value_name = "CAPABILITY")]
    cap_drop: Vec<String>,

    /// no-new-privileges[=true|false], or seccomp=unconfined|builtin|FILE: which system calls are allowed
    #[arg(long, value_name = "OPTION")]
    security_opt: Vec<String>,

    /// Set a kernel parameter of the container's own namespaces
    #[arg(long, value_name = "NAME=VALUE")]
    sysctl: Vec<String>,

    /// The network: none (only a loopback interface), or host
    #[arg(long, visible_alias = "net", value_name = "NETWORK")]
    network: Option<String>,

    /// The PID namespace: host for the host's
    #[arg(long, value_name = "NAMESPACE")]
    pid: Option<String>,

    /// The UTS namespace: host for the host's
    #[arg(long, value_name = "NAMESPACE")]
    uts: Option<String>,

    /// Where images, volumes and containers are kept [default: /var/lib/dock]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,

    /// Print help
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,

    /// The command and its arguments, in place of the image's CMD
    #[arg(last = true, value_name = "ARGS")]
    arguments: Vec<String>,
}

fn main() -> ExitCode {
    toolkit::main(run)
}

#[expect(clippy::needless_pass_by_value, reason = "toolkit::main gives them away")]
fn run(args: Args, out: &mut Out) -> anyhow::Result<()> {
    let record = bundle_record(&args)?;
    let dir = record.path.as_path();
    let root = toolkit::root_dir(args.root.as_deref());
    let containers = bundle::Containers::new(&root, &toolkit::run_dir());
    let id = containers.id_of(dir);
    naming::check(&args.naming, id.is_some())?;
    let image = bundle::read_image_config(dir)?;
    let mut config = bundle::read_config(dir)?;

    command::set_host_name(&mut config, &args.command)?;
    command::set_arguments(&mut config, &image, &args.command, &args.arguments)?;
    command::set_environment(&mut config, &args.command)?;
    command::set_user(&mut config, &image, &record, &args.command)?;
    command::set_terminal_and_directory(&mut config, &args.command)?;
    set_privileges(&mut config, &args)?;
    set_namespaces(&mut config, &args)?;
    limits::set(&mut config, &args.limits)?;
    let own = naming::files(dir, &mut config, &args.naming, id.is_some())?;
    let to_make = mounts::set(&mut config, &args.mounts, &root, own)?;
    if id.is_some() && config["process"]["args"].as_array().is_none_or(Vec::is_empty) {
        bail!("No command specified");
    }

    mounts::make_sources(&to_make)?;
    bundle::save(dir, &record, &config)?;
    if let Some(id) = &id {
        naming::register(&containers, id, &record, &image, &config, &args.naming)?;
    }
    out.record(&Record::Bundle(record))
}

fn bundle_record(args: &Args) -> anyhow::Result<wire::Bundle> {
    match &args.bundle {
        Some(dir) => Ok(bundle::load(dir)?),
        None => match toolkit::one_record("bundle")? {
            Record::Bundle(record) => Ok(record),
            other => bail!("<stdin>: {} record where a bundle record is wanted", other.kind()),
        },
    }
}

/// Docker's rule: with `--cap-add ALL` everything but what is dropped, with `--cap-drop ALL` only what is added.
fn set_privileges(config: &mut Value, args: &Args) -> anyhow::Result<()> {
    let parse = |names: &[String]| -> anyhow::Result<(bool, Vec<&'static str>)> {
        let all = names.iter().any(|name| name.eq_ignore_ascii_case("all"));
        let named = names.iter().filter(|name| !name.eq_ignore_ascii_case("all"));
        Ok((all, named.map(|name| bundle::parse_capability(name)).collect::<Result<_, _>>()?))
    };
    let before = seccomp::capabilities(config);
    let (add_all, add) = parse(&args.cap_add)?;
    let (drop_all, drop) = parse(&args.cap_drop)?;
    if !args.cap_add.is_empty() || !args.cap_drop.is_empty() {
        let kept = |name: &&'static str| match (add_all, drop_all) {
            (true, _) => !drop.contains(name),
            (false, true) => add.contains(name),
            (false, false) => {
                add.contains(name) || bundle::default_capabilities().contains(name) && !drop.contains(name)
            }
        };
        let names: Vec<_> = bundle::all_capabilities().into_iter().filter(kept).collect();
        config["process"]["capabilities"] = bundle::config::capabilities(&names);
    }
    let mut profile = None;
    for option in &args.security_opt {
        match option.split_once(['=', ':']).unwrap_or((option, "true")) {
            ("no-new-privileges", "true") => config["process"]["noNewPrivileges"] = true.into(),
            ("no-new-privileges", "false") => config["process"]["noNewPrivileges"] = false.into(),
            ("seccomp", wish) => profile = Some(wish),
            _ => {
                let known = "no-new-privileges[=true|false] or seccomp=unconfined|builtin|FILE";
                return Err(toolkit::usage(format!("--security-opt {option}: want {known}")));
            }
        }
    }
    seccomp::set(config, &before, profile)
}

fn set_namespaces(config: &mut Value, args: &Args) -> anyhow::Result<()> {
    let mut leave = |kind: &str| {
        if let Some(list) = config["linux"]["namespaces"].as_array_mut() {
            list.retain(|namespace| namespace["type"] != kind);
        }
    };
    for (option, kind, wish) in [("pid", "pid", &args.pid), ("uts", "uts", &args.uts)] {
        match wish.as_deref() {
            None | Some("private" | "") => {}
            Some("host") => leave(kind),
            Some(other) => return Err(toolkit::usage(format!("--{option} {other}: want host"))),
        }
    }
    match args.network.as_deref() {
        None | Some("none") => {}
        Some("host") => leave("network"),
        Some(other) => return Err(toolkit::usage(format!("--network {other}: want none or host"))),
    }
    if args.uts.as_deref() == Some("host") {
        if args.command.hostname.is_some() {
            return Err(toolkit::usage("conflicting options: hostname and the UTS mode"));
        }
        if let Some(members) = config.as_object_mut() {
            members.shift_remove("hostname");
        }
    }
    for setting in &args.sysctl {
        let (name, value) = setting.split_once('=').with_context(|| format!("invalid sysctl '{setting}'"))?;
        if !is_namespaced(name, args.network.as_deref() == Some("host")) {
            bail!("sysctl '{setting}' is not allowed");
        }
        config["linux"]["sysctl"][name] = value.into();
    }
    Ok(())
}

/// Kernel parameters that belong to an IPC or network namespace, by exact grammar: anything else, or a name
/// that hides a second one (CVE-2022-0811), would change the host.
fn is_namespaced(name: &str, host_network: bool) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    let ipc = ["msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced"];
    name.bytes().all(plain)
        && !name.split('.').any(str::is_empty)
        && (name.strip_prefix("kernel.").is_some_and(|rest| ipc.contains(&rest))
            || name.starts_with("fs.mqueue.")
            || !host_network && name.starts_with("net."))
}

#[cfg(test)]
mod tests {
    #[test]
    fn cve_2022_0811_only_namespaced_parameters() {
        for (name, host_network, want) in [
            ("net.ipv4.ip_forward", false, true),
            ("net.ipv4.ip_forward", true, false),
            ("kernel.shmmax", true, true),
            ("fs.mqueue.msg_max", false, true),
            ("kernel.core_pattern", false, false),
            ("kernel.shmmax+kernel.core_pattern", false, false),
            ("net.ipv4/../../kernel.core_pattern", false, false),
            ("net..x", false, false),
            ("vm.swappiness", false, false),
            ("", false, false),
        ] {
            assert_eq!(super::is_namespaced(name, host_network), want, "{name:?}");
        }
    }
}

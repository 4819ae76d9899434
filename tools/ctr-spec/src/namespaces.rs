//! Which namespaces are the container's own, which are the host's, and which another container's.

use crate::sysctls;
use anyhow::{Context, bail};
use bundle::Containers;
use clap::Args;
use serde_json::{Map, Value, json};

#[derive(Debug, Args)]
#[group(skip)]
pub struct Options {
    /// The network: none (only a loopback interface), host, or container:NAME for that of another container
    #[arg(long, visible_alias = "net", value_name = "NETWORK")]
    network: Option<String>,

    /// The PID namespace: host, or container:NAME
    #[arg(long, value_name = "NAMESPACE")]
    pid: Option<String>,

    /// The IPC namespace and /dev/shm: private, shareable (others may join), none (no /dev/shm), host, or container:NAME
    #[arg(long, value_name = "NAMESPACE")]
    ipc: Option<String>,

    /// The UTS namespace: host for the host's
    #[arg(long, value_name = "NAMESPACE")]
    uts: Option<String>,

    /// The user namespace: host for the host's, which it is
    #[arg(long, value_name = "NAMESPACE")]
    userns: Option<String>,

    /// The cgroup namespace: private, or host
    #[arg(long, value_name = "NAMESPACE")]
    cgroupns: Option<String>,

    /// Set a kernel parameter of the container's own namespaces
    #[arg(long, value_name = "NAME=VALUE")]
    sysctl: Vec<String>,
}

impl Options {
    /// Whether it is on the host's network.
    pub fn on_network_of_host(&self) -> bool {
        self.network.as_deref() == Some("host")
    }
}

/// Where a namespace comes from.
#[derive(Debug, PartialEq, Eq)]
enum From<'a> {
    Own,
    Host,
    Container(&'a str),
}

fn read<'a>(wish: Option<&'a String>, allowed: &[&str], invalid: &str) -> anyhow::Result<From<'a>> {
    let wish = wish.map_or("", String::as_str);
    match wish.split_once(':') {
        None if wish.is_empty() || wish == "private" && allowed.contains(&wish) => Ok(From::Own),
        None if wish == "host" => Ok(From::Host),
        Some(("container", name)) if allowed.contains(&"container") && !name.is_empty() => Ok(From::Container(name)),
        _ => Err(toolkit::usage(invalid)),
    }
}

/// Edits the list of namespaces; `host` gets docker's word for each that is not the usual one. `named`: a host name
/// was asked for.
pub fn set(
    config: &mut Value,
    host: &mut Map<String, Value>,
    options: &Options,
    containers: &Containers,
    named: bool,
) -> anyhow::Result<()> {
    set_network(config, host, options, containers, named)?;
    let pid = read(options.pid.as_ref(), &["private", "container"], "--pid: invalid PID mode")?;
    take(config, host, containers, ("pid", "pidMode"), &pid)?;
    set_ipc(config, host, options, containers)?;
    match read(options.uts.as_ref(), &["private"], "--uts: invalid UTS mode")? {
        From::Own => {}
        _ if named => return Err(toolkit::usage("conflicting options: hostname and the UTS mode")),
        from => {
            take(config, host, containers, ("uts", "utsMode"), &from)?;
            if let Some(members) = config.as_object_mut() {
                members.shift_remove("hostname");
                members.shift_remove("domainname");
            }
        }
    }
    if read(options.userns.as_ref(), &[], "--userns: invalid USER mode")? == From::Host {
        host.insert("usernsMode".into(), "host".into());
    }
    let cgroup = read(options.cgroupns.as_ref(), &["private"], "--cgroupns: invalid CGROUP mode")?;
    take(config, host, containers, ("cgroup", "cgroupnsMode"), &cgroup)?;
    sysctls::set(config, host, &options.sysctl)
}

fn set_network(
    config: &mut Value,
    host: &mut Map<String, Value>,
    options: &Options,
    containers: &Containers,
    named: bool,
) -> anyhow::Result<()> {
    match options.network.as_deref() {
        None => Ok(()),
        Some("none") => {
            host.insert("networkMode".into(), "none".into());
            Ok(())
        }
        Some("bridge" | "default") => bail!("network bridge: not in this release: want none, host or container:NAME"),
        Some(name) if name != "host" && !name.starts_with("container:") => bail!("network {name} not found"),
        wish => {
            let wish = wish.map(str::to_owned);
            let from = read(wish.as_ref(), &["container"], "--network: invalid network mode")?;
            if named && matches!(from, From::Container(_)) {
                return Err(toolkit::usage("conflicting options: hostname and the network mode"));
            }
            take(config, host, containers, ("network", "networkMode"), &from)
        }
    }
}

/// With the namespace goes /dev/shm: it is where POSIX keeps what the namespace does not know.
fn set_ipc(
    config: &mut Value,
    host: &mut Map<String, Value>,
    options: &Options,
    containers: &Containers,
) -> anyhow::Result<()> {
    let replace = |config: &mut Value, mount: Option<Value>| {
        if let Some(mounts) = config["mounts"].as_array_mut()
            && let Some(at) = mounts.iter().position(|mount| mount["destination"] == "/dev/shm")
        {
            match mount {
                Some(mount) => mounts[at] = mount,
                None => drop(mounts.remove(at)),
            }
        }
    };
    match options.ipc.as_deref() {
        Some("none") => {
            host.insert("ipcMode".into(), "none".into());
            replace(config, None);
            return Ok(());
        }
        Some("shareable") => {
            host.insert("ipcMode".into(), "shareable".into());
            return Ok(());
        }
        _ => {}
    }
    let invalid = |_| anyhow::anyhow!("Invalid IPC mode: {}", options.ipc.as_deref().unwrap_or_default());
    let from = read(options.ipc.as_ref(), &["private", "container"], "").map_err(invalid)?;
    // The other container's, as its process sees it: ctr-spawn takes it out of that mount namespace.
    let source = match &from {
        From::Own => None,
        From::Host => Some(("/dev/shm".to_owned(), "rbind")),
        From::Container(name) => {
            let pid = containers.find(name)?.started.map_or(0, |started| started.pid);
            Some((format!("/proc/{pid}/root/dev/shm"), "bind"))
        }
    };
    if let Some((source, bind)) = source {
        let options = [bind, "nosuid", "noexec", "nodev", "rprivate"];
        replace(
            config,
            Some(json!({ "destination": "/dev/shm", "type": "bind", "source": source, "options": options })),
        );
    }
    take(config, host, containers, ("ipc", "ipcMode"), &from)
}

/// Leaves a namespace out of the list, or gives it the path of another container's. The path is that of the
/// process that runs now: ctr-spawn looks it up anew when the container starts.
fn take(
    config: &mut Value,
    host: &mut Map<String, Value>,
    containers: &Containers,
    (kind, member): (&str, &str),
    from: &From<'_>,
) -> anyhow::Result<()> {
    let list = config["linux"]["namespaces"].as_array_mut().context("config.json: linux.namespaces: not a list")?;
    match from {
        From::Own => {}
        From::Host => {
            list.retain(|namespace| namespace["type"] != kind);
            host.insert(member.into(), "host".into());
        }
        From::Container(name) => {
            let found = containers.find(name)?;
            let pid = found.started.as_ref().map_or(0, |started| started.pid);
            let path = bundle::join::path(pid, kind);
            list.retain(|namespace| namespace["type"] != kind);
            list.push(json!({ "type": kind, "path": path }));
            host.insert(member.into(), format!("container:{}", found.meta.id).into());
        }
    }
    Ok(())
}

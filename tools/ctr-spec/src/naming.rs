//! What a container is called: its name and labels, and the files by which it knows itself and others.

use crate::flag;
use crate::resolv;
use anyhow::Context;
use bundle::{Containers, Meta};
use clap::Args;
use serde_json::{Map, Value, json};
use std::fmt::Write;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use wire::Reference;

#[derive(Debug, Args)]
#[group(skip)]
pub struct Options {
    /// The container's name [default: a random one]
    #[arg(long)]
    name: Option<String>,

    /// Set a label
    #[arg(short, long = "label", value_name = "NAME[=VALUE]")]
    label: Vec<String>,

    /// Set the labels of a file, one a line
    #[arg(long, value_name = "FILE")]
    label_file: Vec<PathBuf>,

    /// Set an annotation, for runtimes that obey some
    #[arg(long, value_name = "NAME=VALUE")]
    annotation: Vec<String>,

    /// Add a line to /etc/hosts
    #[arg(long, value_name = "HOST:ADDRESS")]
    add_host: Vec<String>,

    #[command(flatten)]
    resolv: resolv::Options,
}

impl Options {
    /// Whether hosts or resolv.conf become others by them.
    pub fn changes_files(&self) -> bool {
        !self.add_host.is_empty() || !self.resolv.is_empty()
    }
}

/// Only a container below the root is listed, and so has a name.
pub fn check(options: &Options, container: bool) -> anyhow::Result<()> {
    if !container && (options.name.is_some() || !options.label.is_empty() || !options.label_file.is_empty()) {
        return Err(toolkit::usage("--name and --label are for a bundle in $DOCK_ROOT/containers/<ID>"));
    }
    options.name.as_deref().map_or(Ok(()), |name| Ok(bundle::names::check(name).map(drop)?))
}

/// What a container is noted as, besides its name.
pub struct Notes {
    /// `hostConfig`, `config`, `mounts`: what docker's inspect repeats.
    pub members: Map<String, Value>,
    /// Those of the image, then those of files and options.
    pub labels: Map<String, Value>,
}

/// The labels: of the image or of an earlier time, of files, of options.
pub fn labels(options: &Options, image: &Value, before: Option<&Meta>) -> anyhow::Result<Map<String, Value>> {
    let mut labels = match before.map(|before| &before.labels).or(image["config"]["Labels"].as_object()) {
        Some(labels) => labels.clone(),
        None => Map::new(),
    };
    let mut put = |label: &str| {
        let (name, value) = label.split_once('=').unwrap_or((label, ""));
        labels.insert(name.into(), value.into());
    };
    for path in &options.label_file {
        crate::command::lines_of(path, |_| Some(String::new()))?.iter().for_each(|line| put(line));
    }
    for label in &options.label {
        if label.is_empty() || label.starts_with('=') {
            return Err(flag::refused("-l, --label", label, format!("invalid label '{label}': empty name")));
        }
        put(label);
    }
    Ok(labels)
}

/// Annotations of config.json; runtimes may obey them, so none comes from an image.
pub fn annotate(config: &mut Value, host: &mut Map<String, Value>, options: &Options) -> anyhow::Result<()> {
    for text in &options.annotation {
        let Some((name, value)) = text.split_once('=').filter(|(name, _)| !name.is_empty()) else {
            return Err(flag::refused("--annotation", text, "want NAME=VALUE"));
        };
        config["annotations"][name] = value.into();
        if !host.get("annotations").is_some_and(Value::is_object) {
            host.insert("annotations".into(), json!({}));
        }
        host["annotations"][name] = value.into();
    }
    Ok(())
}

/// Writes `container.json` under the lock of all names.
pub fn register(
    containers: &Containers,
    id: &str,
    record: &wire::Bundle,
    config: &Value,
    options: &Options,
    notes: Notes,
) -> anyhow::Result<()> {
    let naming = containers.naming()?;
    let before = containers.read(id)?.map(|found| found.meta);
    let wanted = options.name.as_deref().or(before.as_ref().map(|before| before.name.as_str()));
    let source = record.image.as_ref();
    let mut rest = before.as_ref().map(|before| before.rest.clone()).unwrap_or_default();
    rest.extend(notes.members);
    let meta = Meta {
        id: id.into(),
        name: naming.choose(wanted, id)?,
        image: source.map(shown),
        image_id: source.map(|image| match image.rest.get("imageID").and_then(Value::as_str) {
            Some(id) => id.to_owned(),
            None => image.descriptor.digest.to_string(),
        }),
        created: before.as_ref().map_or_else(bundle::life::now, |before| before.created.clone()),
        command: crate::command::without_init(config),
        labels: notes.labels,
        rest,
    };
    Ok(naming.save(&meta)?)
}

/// As users write it: `alpine` for docker.io/library/alpine:latest.
fn shown(image: &wire::Image) -> String {
    let Some(name) = &image.reference else { return image.descriptor.digest.short().into() };
    let familiar = name.parse::<Reference>().map_or_else(|_| name.clone(), |reference| reference.familiar());
    familiar.strip_suffix(":latest").map(str::to_owned).unwrap_or(familiar)
}

/// A container gets hosts, hostname and resolv.conf of its own, kept in its bundle and mounted over the
/// image's; another bundle only what is asked for. In the network of another container they are that one's.
pub fn files(
    dir: &Path,
    config: &mut Value,
    host: &mut Map<String, Value>,
    options: &Options,
    containers: &Containers,
    container: bool,
) -> anyhow::Result<Vec<Value>> {
    let mut mounts = Vec::new();
    let mut mount = |path: &Path, name: &str| -> anyhow::Result<()> {
        let path = path.to_str().with_context(|| format!("{}: not UTF-8", path.display()))?;
        let (at, options) = (format!("/etc/{name}"), ["rbind", "rprivate"]);
        mounts.push(json!({ "destination": at, "type": "bind", "source": path, "options": options }));
        Ok(())
    };
    let network = host.get("networkMode").and_then(Value::as_str).unwrap_or_default();
    if let Some(other) = network.strip_prefix("container:") {
        for (given, what) in
            [(!options.add_host.is_empty(), "custom host-to-IP mapping"), (!options.resolv.is_empty(), "dns")]
        {
            if given {
                return Err(toolkit::usage(format!("conflicting options: {what} and the network mode")));
            }
        }
        let other = containers.find(other)?.dir;
        for name in ["hosts", "hostname", "resolv.conf"].iter().filter(|name| other.join(name).exists()) {
            mount(&other.join(name), name)?;
        }
        return Ok(mounts);
    }
    let mut add = |name: &str, text: &str| -> anyhow::Result<()> {
        bundle::write_file(dir, name, text.as_bytes())?;
        let path = dir.join(name);
        // Every user in the container reads them; the bundle's own directory is 0700.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644))
            .with_context(|| format!("{}: chmod", path.display()))?;
        mount(&path, name)
    };
    if container || !options.add_host.is_empty() {
        // In the host's network its names mean what they mean there.
        let of_host = if container && network == "host" { std::fs::read_to_string("/etc/hosts").ok() } else { None };
        add("hosts", &hosts(of_host, config["hostname"].as_str(), &options.add_host)?)?;
    }
    if container {
        // With the host's name: no member says it then.
        let name = config["hostname"].as_str().map_or_else(host_name, str::to_owned);
        add("hostname", &format!("{name}\n"))?;
    }
    if container || !options.resolv.is_empty() {
        let of_host = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        add("resolv.conf", &options.resolv.file(&of_host)?)?;
    }
    options.resolv.note(host);
    if !options.add_host.is_empty() {
        host.insert("extraHosts".into(), json!(options.add_host));
    }
    Ok(mounts)
}

/// That of the machine.
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// hosts(5): of the host where it is given, what the container itself is called, and `more`.
fn hosts(of_host: Option<String>, own: Option<&str>, more: &[String]) -> anyhow::Result<String> {
    let mut text =
        of_host.unwrap_or_else(|| "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n".into());
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    if let Some(own) = own.filter(|own| !knows(&text, own)) {
        let _ = writeln!(text, "127.0.1.1\t{own}");
    }
    for line in more {
        let refused = |why: String| flag::refused("--add-host", line, why);
        let parts = line.split_once([':', '=']);
        let Some((host, address)) = parts.filter(|(host, _)| !host.is_empty() && !host.contains(char::is_whitespace))
        else {
            return Err(refused(format!("bad format for add-host: {line:?}")));
        };
        let address: IpAddr = address
            .trim_matches(['[', ']'])
            .parse()
            .map_err(|_| refused(format!("invalid IP address in add-host: {address:?}")))?;
        let _ = writeln!(text, "{address}\t{host}");
    }
    Ok(text)
}

fn knows(hosts: &str, name: &str) -> bool {
    let names =
        |line: &str| line.split('#').next().unwrap_or_default().split_whitespace().skip(1).any(|other| other == name);
    hosts.lines().any(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_s_names_come_first_and_its_own_name_once() {
        let of_host = "127.0.0.1 localhost box # other\n10.0.0.1 db";
        let text = |own| hosts(Some(of_host.into()), Some(own), &["x:1.2.3.4".into()]).unwrap();
        assert_eq!(text("box"), format!("{of_host}\n1.2.3.4\tx\n"));
        assert_eq!(text("other"), format!("{of_host}\n127.0.1.1\tother\n1.2.3.4\tx\n"));
    }

    #[test]
    fn hosts_are_checked_lines() {
        let text = hosts(None, Some("box"), &["db:10.0.0.2".into(), "six=[fe80::1]".into()]).unwrap();
        assert!(text.ends_with("127.0.1.1\tbox\n10.0.0.2\tdb\nfe80::1\tsix\n"), "{text}");
        for bad in ["db", "db:", "db:x", ":1.2.3.4", "a b:1.2.3.4", "a\nb:1.2.3.4"] {
            assert!(hosts(None, None, &[bad.into()]).is_err(), "{bad:?}");
        }
    }
}

//! What a container is called: its name and labels, and the files by which it knows itself and others.

use anyhow::{Context, bail};
use bundle::{Containers, Meta};
use clap::Args;
use serde_json::{Map, Value, json};
use std::fmt::Write;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
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

    /// Add a line to /etc/hosts
    #[arg(long, value_name = "HOST:ADDRESS")]
    add_host: Vec<String>,
}

/// Only a container below the root is listed, and so has a name.
pub fn check(options: &Options, container: bool) -> anyhow::Result<()> {
    if !container && (options.name.is_some() || !options.label.is_empty()) {
        return Err(toolkit::usage("--name and --label are for a bundle in $DOCK_ROOT/containers/<ID>"));
    }
    options.name.as_deref().map_or(Ok(()), |name| Ok(bundle::names::check(name).map(drop)?))
}

/// Writes `container.json` under the lock of all names.
pub fn register(
    containers: &Containers,
    id: &str,
    record: &wire::Bundle,
    image: &Value,
    config: &Value,
    options: &Options,
) -> anyhow::Result<()> {
    let naming = containers.naming()?;
    let before = containers.read(id)?.map(|found| found.meta);
    let wanted = options.name.as_deref().or(before.as_ref().map(|before| before.name.as_str()));
    let mut labels = match before.as_ref().map(|before| &before.labels).or(image["config"]["Labels"].as_object()) {
        Some(labels) => labels.clone(),
        None => Map::new(),
    };
    for label in &options.label {
        let (name, value) = label.split_once('=').unwrap_or((label, ""));
        labels.insert(name.into(), value.into());
    }
    let source = record.image.as_ref();
    let meta = Meta {
        id: id.into(),
        name: naming.choose(wanted, id)?,
        image: source.map(shown),
        image_id: source.map(|image| match image.rest.get("imageID").and_then(Value::as_str) {
            Some(id) => id.to_owned(),
            None => image.descriptor.digest.to_string(),
        }),
        created: before.as_ref().map_or_else(bundle::life::now, |before| before.created.clone()),
        command: serde_json::from_value(config["process"]["args"].clone()).unwrap_or_default(),
        labels,
        rest: before.map(|before| before.rest).unwrap_or_default(),
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
/// image's; another bundle only what is asked for.
pub fn files(dir: &Path, config: &mut Value, options: &Options, container: bool) -> anyhow::Result<Vec<Value>> {
    let mut mounts = Vec::new();
    let mut add = |name: &str, text: &str| -> anyhow::Result<()> {
        bundle::write_file(dir, name, text.as_bytes())?;
        let path = dir.join(name);
        // Every user in the container reads them; the bundle's own directory is 0700.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644))
            .with_context(|| format!("{}: chmod", path.display()))?;
        let path = path.to_str().with_context(|| format!("{}: not UTF-8", path.display()))?;
        let options = json!(["rbind", "rprivate"]);
        mounts
            .push(json!({ "destination": format!("/etc/{name}"), "type": "bind", "source": path, "options": options }));
        Ok(())
    };
    if container || !options.add_host.is_empty() {
        add("hosts", &hosts(config["hostname"].as_str(), &options.add_host)?)?;
    }
    if container {
        if let Some(name) = config["hostname"].as_str() {
            add("hostname", &format!("{name}\n"))?;
        }
        add("resolv.conf", &std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default())?;
    }
    Ok(mounts)
}

fn hosts(own: Option<&str>, more: &[String]) -> anyhow::Result<String> {
    let mut text = String::from("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n");
    if let Some(own) = own {
        let _ = writeln!(text, "127.0.1.1\t{own}");
    }
    for line in more {
        let (host, address) =
            line.split_once([':', '=']).with_context(|| format!("bad format for add-host: {line:?}"))?;
        if host.is_empty() || host.contains(char::is_whitespace) {
            bail!("bad format for add-host: {line:?}");
        }
        let address: IpAddr = address
            .trim_matches(['[', ']'])
            .parse()
            .ok()
            .with_context(|| format!("invalid IP address in add-host: {address:?}"))?;
        let _ = writeln!(text, "{address}\t{host}");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_checked_lines() {
        let text = hosts(Some("box"), &["db:10.0.0.2".into(), "six=[fe80::1]".into()]).unwrap();
        assert!(text.ends_with("127.0.1.1\tbox\n10.0.0.2\tdb\nfe80::1\tsix\n"), "{text}");
        for bad in ["db", "db:", "db:x", ":1.2.3.4", "a b:1.2.3.4", "a\nb:1.2.3.4"] {
            assert!(hosts(None, &[bad.into()]).is_err(), "{bad:?}");
        }
    }
}

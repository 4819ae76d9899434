//! What is mounted in a container and what it is joined to, as its `config.json` tells.

use serde_json::Value;
use std::path::Path;

/// A bind mount of the host's, or a volume.
pub struct Mount {
    /// Of a volume.
    pub name: Option<String>,
    pub source: String,
    pub destination: String,
}

/// Binds and volumes; not the files of the container's own identity.
pub fn mounts(dir: &Path) -> bundle::Result<Vec<Mount>> {
    let config = bundle::read_config(dir)?;
    let all = config["mounts"].as_array().into_iter().flatten();
    let mount = |mount: &Value| {
        let text = |name: &str| mount[name].as_str().unwrap_or_default().to_owned();
        let (source, destination) = (text("source"), text("destination"));
        let own = ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf"].contains(&destination.as_str());
        let mut parts = source.rsplit('/');
        let name = parts.next().filter(|last| *last == "_data").and(parts.next()).map(Into::into);
        (mount["type"] == "bind" && !own).then_some(Mount { name, source, destination })
    };
    Ok(all.filter_map(mount).collect())
}

/// The network's name: docker's `none` for one of its own that nobody joined to another.
pub fn network(dir: &Path) -> bundle::Result<&'static str> {
    let config = bundle::read_config(dir)?;
    let namespaces = config["linux"]["namespaces"].as_array();
    let own = namespaces.is_some_and(|list| list.iter().any(|namespace| namespace["type"] == "network"));
    Ok(if own { "none" } else { "host" })
}

//! Hosts that answer for a registry: docker's `registry-mirrors` for docker.io, and a table for any one.

use crate::config::{json_of, read};
use crate::error::clip;
use crate::origin::Origin;
use crate::{Error, Result};
use std::path::Path;

/// Another host for the same images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// `HOST[:PORT]`
    pub host: String,
    /// Declared as `http://`.
    pub plain_http: bool,
}

/// The mirrors of `host` that a file declares, in its order: `{"registry-mirrors": ["https://…"]}` is docker's
/// daemon.json as it stands, `{"mirrors": {"HOST": ["https://…"]}}` is for any registry and comes first.
pub fn mirrors(path: &Path, host: &str) -> Result<Vec<Mirror>> {
    let config = json_of(path, &read(path)?)?;
    let own = config["mirrors"].get(host);
    let docker = config.get("registry-mirrors").filter(|_| host == "docker.io");
    let bad = |reason: String| Error::Json { path: path.into(), reason };
    let mut found = Vec::new();
    for list in [own, docker].into_iter().flatten() {
        let list = list.as_array().ok_or_else(|| bad("mirrors are not a list".into()))?;
        for url in list {
            let url = url.as_str().unwrap_or_default();
            found.push(
                mirror(url).ok_or_else(|| bad(format!("{:?} is no mirror: want https://HOST[:PORT]", clip(url))))?,
            );
        }
    }
    Ok(found)
}

fn mirror(url: &str) -> Option<Mirror> {
    let origin = Origin::of(url)?;
    let host = url.split_once("://")?.1.trim_end_matches('/');
    let nothing_else = !host.contains(['/', '?', '#']);
    nothing_else.then(|| Mirror { host: host.to_ascii_lowercase(), plain_http: origin.scheme == "http" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dockers_file_and_ours() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("daemon.json");
        let look = |text: &str, host: &str| {
            std::fs::write(&path, text).unwrap();
            mirrors(&path, host).map(|found| found.into_iter().map(|m| (m.host, m.plain_http)).collect::<Vec<_>>())
        };
        let both = r#"{"debug":true,"registry-mirrors":["https://A.example/","http://b:5000"],"mirrors":{"docker.io":["https://first"],"ghcr.io":["https://g"]}}"#;
        let of = |host: &str| (host.to_owned(), host == "b:5000");
        assert_eq!(look(both, "docker.io").unwrap(), [of("first"), of("a.example"), of("b:5000")]);
        assert_eq!(look(both, "ghcr.io").unwrap(), [of("g")]);
        assert_eq!(look(both, "quay.io").unwrap(), []);
        for bad in [
            r#"{"registry-mirrors":["mirror.example"]}"#,
            r#"{"registry-mirrors":["https://m/path"]}"#,
            r#"{"registry-mirrors":["https://u:p@m"]}"#,
            r#"{"registry-mirrors":["file:///x"]}"#,
            r#"{"registry-mirrors":[1]}"#,
            r#"{"registry-mirrors":"https://m"}"#,
            "[]",
            "",
        ] {
            assert!(look(bad, "docker.io").is_err(), "{bad}");
        }
        assert!(matches!(mirrors(Path::new("/none"), "x"), Err(Error::File { .. })));
    }
}

//! `-v`, `--mount` and `--tmpfs`: three ways to write one wish, in docker's grammar and with docker's words.

mod csv;
mod mount;
mod tmpfs;
mod volume;

pub use mount::from_mount;
pub use tmpfs::from_tmpfs;
pub use volume::{from_container, from_volume};

use anyhow::bail;
use bundle::Volume;
use bundle::volumes::ANONYMOUS;
use serde_json::{Map, Value, json};
use std::path::PathBuf;

/// One mount that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    pub kind: Kind,
    /// In the container: absolute, without `.`, `..` and needless slashes.
    pub target: String,
    pub read_only: bool,
    /// How docker's inspect repeats the options of `-v`.
    pub mode: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    Bind(Bind),
    Volume(Named),
    /// Options as mount(8) has them; docker lists only those of `--mount`.
    Tmpfs {
        options: Vec<String>,
        listed: bool,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    pub source: PathBuf,
    pub propagation: String,
    /// `rbind` or `bind`.
    pub how: &'static str,
    /// `rro`: read-only with everything that is mounted below.
    pub all_read_only: bool,
    /// `-v` makes a directory that is not there, `--mount` refuses.
    pub make: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    pub volume: Volume,
    /// Leave out what the image has at that place.
    pub nocopy: bool,
    /// What of the volume is mounted; empty for all of it.
    pub subpath: String,
}

impl Named {
    /// All of a volume.
    pub fn whole(volume: Volume, nocopy: bool) -> Self {
        Self { volume, nocopy, subpath: String::new() }
    }

    /// The directory of the host that is mounted. What stands behind the `/./` is looked up when the container
    /// starts, by the rules of `linux_sandbox::Bind`.
    pub fn source(&self, volumes: &bundle::Volumes) -> PathBuf {
        let data = volumes.data(&self.volume.name);
        if self.subpath.is_empty() { data } else { data.join(".").join(&self.subpath) }
    }
}

impl Wish {
    /// As docker's inspect repeats a `--mount`, members in lowerCamelCase.
    pub fn shown(&self) -> Value {
        let mut shown = match &self.kind {
            Kind::Bind(bind) => {
                let mut shown =
                    json!({ "type": "bind", "source": bind.source.to_string_lossy(), "target": self.target });
                if bind.propagation != "rprivate" {
                    shown["bindOptions"]["propagation"] = bind.propagation.as_str().into();
                }
                if bind.how == "bind" {
                    shown["bindOptions"]["nonRecursive"] = true.into();
                }
                shown
            }
            Kind::Volume(named) => {
                let mut shown = json!({ "type": "volume", "target": self.target });
                if !named.volume.is_anonymous() {
                    shown["source"] = named.volume.name.as_str().into();
                }
                if named.nocopy {
                    shown["volumeOptions"]["noCopy"] = true.into();
                }
                if !named.subpath.is_empty() {
                    shown["volumeOptions"]["subpath"] = named.subpath.as_str().into();
                }
                let labels = named.volume.labels.iter().filter(|(name, _)| *name != ANONYMOUS);
                let labels: Map<String, Value> = labels.map(|(name, value)| (name.clone(), value.clone())).collect();
                if !labels.is_empty() {
                    shown["volumeOptions"]["labels"] = labels.into();
                }
                if let Some(Value::Object(options)) = shown.get_mut("volumeOptions") {
                    options.insert("driverConfig".into(), json!({}));
                }
                shown
            }
            Kind::Tmpfs { options, .. } => {
                let mut shown = json!({ "type": "tmpfs", "target": self.target });
                for option in options {
                    match option.split_once('=') {
                        Some(("size", bytes)) => shown["tmpfsOptions"]["sizeBytes"] = bytes.parse::<i64>().ok().into(),
                        Some(("mode", mode)) => {
                            shown["tmpfsOptions"]["mode"] = u32::from_str_radix(mode, 8).ok().into();
                        }
                        _ => {}
                    }
                }
                shown
            }
        };
        if self.read_only {
            shown["readOnly"] = true.into();
        }
        shown
    }
}

const PROPAGATIONS: [&str; 6] = ["rprivate", "private", "rshared", "shared", "rslave", "slave"];

/// An absolute path, without `.`, `..` and needless slashes.
pub fn destination(path: &str) -> anyhow::Result<String> {
    if !path.starts_with('/') {
        bail!("invalid mount path: '{path}' mount path must be absolute");
    }
    let names: Vec<&str> = path.split('/').filter(|name| !matches!(*name, "" | ".")).collect();
    if names.is_empty() {
        bail!("invalid specification: destination can't be '/'");
    }
    if names.contains(&"..") {
        bail!("invalid mount path: '{path}' must not contain '..'");
    }
    Ok(format!("/{}", names.join("/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bind(text: &str) -> Option<(String, String, bool, String)> {
        let wish = from_volume(text).ok()?;
        match wish.kind {
            Kind::Bind(bind) => Some((bind.source.to_str()?.into(), wish.target, wish.read_only, bind.propagation)),
            Kind::Volume(named) => Some((named.volume.name, wish.target, wish.read_only, named.nocopy.to_string())),
            Kind::Tmpfs { .. } => None,
        }
    }

    #[test]
    fn docker_volumes() {
        for (text, want) in [
            ("/a:/b", ("/a", "/b", false, "rprivate")),
            ("/a:/b/:ro", ("/a", "/b", true, "rprivate")),
            ("/a:/b:rw,z,rslave", ("/a", "/b", false, "rslave")),
            ("data:/b", ("data", "/b", false, "false")),
            ("data:/b:nocopy,ro", ("data", "/b", true, "true")),
        ] {
            let (source, to, ro, rest) = bind(text).unwrap();
            assert_eq!((&*source, &*to, ro, &*rest), want, "{text}");
        }
        for text in [
            "",
            "/a:/",
            "/a:b",
            "/a:/b:rx",
            "/a:/b:ro:x",
            "a/b:/c",
            "../x:..",
            ":/b",
            "/a:/x/../y",
            "/a:ro",
            "/a:/b:ro,rw",
            "/a:/b:nocopy",
            "data:/b:rshared",
            "x:/b",
        ] {
            assert_eq!(bind(text), None, "{text:?}");
        }
        let wish = from_volume("/only").unwrap();
        assert!(matches!(wish.kind, Kind::Volume(Named { volume, .. }) if volume.is_anonymous()));
    }

    #[test]
    fn docker_mounts() {
        let wish = from_mount("type=bind,source=/etc,target=/b,readonly,bind-propagation=rslave").unwrap();
        assert!(wish.read_only && matches!(wish.kind, Kind::Bind(Bind { propagation, .. }) if propagation == "rslave"));
        let wish = from_mount("src=data,dst=/b,volume-nocopy,\"volume-label=a=b,c\"").unwrap();
        let Kind::Volume(named) = wish.kind else { panic!() };
        assert!(named.nocopy && named.volume.name == "data" && named.volume.labels["a"] == "b,c");
        let wish = from_mount("type=tmpfs,destination=/b,tmpfs-size=1m,tmpfs-mode=1770").unwrap();
        let options = ["nosuid", "nodev", "noexec", "size=1048576", "mode=1770"].map(Into::into).into();
        assert_eq!(wish.kind, Kind::Tmpfs { options, listed: true });
        for (text, words) in [
            ("type=bind,src=/etc", "invalid argument \"type=bind,src=/etc\" for \"--mount\" flag: target is required"),
            ("dst=/x,noise", "invalid field 'noise' must be a key=value pair"),
            ("dst=/x,a=b", "unexpected key 'a' in 'a=b'"),
            ("dst=/x,ro=maybe", "invalid value for ro: maybe"),
            ("type=bind,src=/etc,dst=/x,volume-nocopy", "cannot mix 'volume-*' options with mount type 'bind'"),
            ("dst=/x,bind-propagation=shared", "cannot mix 'bind-*' options with mount type 'volume'"),
            ("dst=/x,tmpfs-size=1m", "cannot mix 'tmpfs-*' options with mount type 'volume'"),
            ("type=bind,dst=/x", "invalid mount config for type \"bind\": field Source must not be empty"),
            (
                "type=bind,src=/nowhere,dst=/x",
                "invalid mount config for type \"bind\": bind source path does not exist: /nowhere",
            ),
            ("type=bind,src=/etc,dst=x", "invalid mount path: 'x' mount path must be absolute"),
            (
                "type=tmpfs,dst=/",
                "invalid mount config for type \"tmpfs\": invalid specification: destination can't be '/'",
            ),
            ("type=tmpfs,src=/a,dst=/x", "invalid mount config for type \"tmpfs\": field Source must not be specified"),
            ("type=npipe,dst=/x", "invalid mount config for type \"npipe\": mount type unknown"),
            ("dst=/x,\"a", "parse error"),
            ("type=tmpfs,dst=/x,tmpfs-size=lots", "invalid value for tmpfs-size: lots"),
            ("type=tmpfs,dst=/x,tmpfs-mode=9", "invalid value for tmpfs-mode: 9"),
        ] {
            let error = from_mount(text).unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn docker_tmpfs() {
        assert!(from_tmpfs("/x:size=").is_err() && from_tmpfs("/x:lowerdir=/").is_err() && from_tmpfs("x").is_err());
    }
}

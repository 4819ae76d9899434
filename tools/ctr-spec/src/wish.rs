//! `-v`, `--mount` and `--tmpfs`: three ways to write one wish, in docker's grammar and with docker's words.

use crate::limits::size;
use anyhow::{Context, bail};
use bundle::{Volume, names, volumes};
use serde_json::{Value, json};
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

/// Whether a path stays below where it starts, as far as its words say.
fn is_local(path: &str) -> bool {
    let mut depth = 0_i32;
    let below = path.split('/').filter(|part| !matches!(*part, "" | ".")).all(|part| {
        depth += if part == ".." { -1 } else { 1 };
        depth >= 0
    });
    below && !path.starts_with('/')
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
                if !named.volume.labels.is_empty() && !named.volume.is_anonymous() {
                    shown["volumeOptions"]["labels"] = named.volume.labels.clone().into();
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

/// `host:path[:options]`, `name:path[:options]`, or `path` alone for a volume without a name.
pub fn from_volume(text: &str) -> anyhow::Result<Wish> {
    let invalid = || format!("invalid volume specification: '{text}'");
    let parts: Vec<&str> = text.split(':').collect();
    let (from, to, options) = match parts.as_slice() {
        [to] => (None, *to, ""),
        [_, mode] if !mode.contains('/') && Modes::read(mode).is_ok() => bail!(invalid()),
        [from, to] => (Some(*from), *to, ""),
        [from, to, options] => (Some(*from), *to, *options),
        _ => bail!(invalid()),
    };
    let target = destination(to).with_context(invalid)?;
    let modes = Modes::read(options)?;
    let kind = match from {
        Some(path) if path.starts_with(['/', '.', '~']) => {
            if modes.nocopy {
                bail!("invalid mode: {options}");
            }
            let source = std::path::absolute(path).with_context(invalid)?;
            let propagation = modes.propagation.unwrap_or("rprivate").into();
            Kind::Bind(Bind { source, propagation, how: "rbind", all_read_only: false, make: true })
        }
        _ if modes.propagation.is_some() => bail!("invalid mode: {options}"),
        Some(name) => Kind::Volume(Named::whole(Volume::named(volumes::check(name)?), modes.nocopy)),
        None => Kind::Volume(Named::whole(Volume::anonymous(), false)),
    };
    Ok(Wish { kind, target, read_only: modes.read_only, mode: options.into() })
}

/// The third part of `-v`: each kind of word once.
#[derive(Default)]
struct Modes<'a> {
    read_only: bool,
    nocopy: bool,
    propagation: Option<&'a str>,
}

impl<'a> Modes<'a> {
    fn read(text: &'a str) -> anyhow::Result<Self> {
        let mut modes = Self::default();
        let mut seen = Vec::new();
        for word in text.split(',').filter(|_| !text.is_empty()) {
            let kind = match word {
                "ro" | "rw" => {
                    modes.read_only = word == "ro";
                    "access"
                }
                "nocopy" => {
                    modes.nocopy = true;
                    "copy"
                }
                // Labels of SELinux: docker, too, does nothing with them where SELinux is off.
                "z" | "Z" => "label",
                "consistent" | "cached" | "delegated" => "consistency",
                _ if PROPAGATIONS.contains(&word) => {
                    modes.propagation = Some(word);
                    "propagation"
                }
                _ => bail!("invalid mode: {text}"),
            };
            if seen.contains(&kind) {
                bail!("invalid mode: {text}");
            }
            seen.push(kind);
        }
        Ok(modes)
    }
}

/// `type=bind,src=/a,dst=/b,ro`: fields as in a line of a CSV file.
pub fn from_mount(text: &str) -> anyhow::Result<Wish> {
    read_mount(text).map_err(|error| match error.downcast::<Daemon>() {
        Ok(Daemon(words)) => anyhow::anyhow!(words),
        Err(error) => anyhow::anyhow!("invalid argument {text:?} for \"--mount\" flag: {error:#}"),
    })
}

/// What docker's client passes and docker's daemon refuses.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Daemon(String);

#[derive(Default)]
struct Fields {
    kind: String,
    source: String,
    target: String,
    read_only: bool,
    propagation: Option<String>,
    recursive: Option<String>,
    nocopy: bool,
    subpath: String,
    labels: Vec<(String, String)>,
    tmpfs: Vec<String>,
    /// The first option of each kind that belongs to one type of mount only.
    own: [bool; 3],
}

const TYPES: [&str; 3] = ["bind", "volume", "tmpfs"];

fn read_mount(text: &str) -> anyhow::Result<Wish> {
    let fields = read_fields(text)?;
    let daemon = |words: &str| Daemon(format!("invalid mount config for type \"{}\": {words}", fields.kind));
    if fields.target.is_empty() {
        bail!("target is required");
    }
    for (kind, given) in TYPES.iter().zip(fields.own) {
        if given && *kind != fields.kind {
            bail!("cannot mix '{kind}-*' options with mount type '{}'", fields.kind);
        }
    }
    let target = destination(&fields.target).map_err(|error| daemon(&format!("{error:#}")))?;
    let kind = match fields.kind.as_str() {
        "bind" => {
            if fields.source.is_empty() {
                return Err(daemon("field Source must not be empty").into());
            }
            if !fields.source.starts_with(['/', '.']) {
                let words = format!("invalid mount path: '{}' mount path must be absolute", fields.source);
                return Err(daemon(&words).into());
            }
            let source = std::path::absolute(&fields.source)?;
            if !source.try_exists().unwrap_or(false) {
                return Err(daemon(&format!("bind source path does not exist: {}", source.display())).into());
            }
            let recursive = fields.recursive.as_deref().unwrap_or("enabled");
            Kind::Bind(Bind {
                source,
                propagation: fields.propagation.unwrap_or_else(|| "rprivate".into()),
                how: if recursive == "disabled" { "bind" } else { "rbind" },
                all_read_only: fields.read_only && recursive == "readonly",
                make: false,
            })
        }
        "volume" => {
            let mut volume = match fields.source.as_str() {
                "" => Volume::anonymous(),
                name => Volume::named(volumes::check(name).map_err(|error| Daemon(error.to_string()))?),
            };
            volume.labels.extend(fields.labels.into_iter().map(|(name, value)| (name, value.into())));
            let subpath = fields.subpath;
            if !subpath.is_empty() && fields.source.is_empty() {
                return Err(daemon("must not set Subpath when using anonymous volumes").into());
            }
            if !is_local(&subpath) {
                return Err(daemon("subpath must be a relative path within the volume").into());
            }
            Kind::Volume(Named { volume, nocopy: fields.nocopy, subpath })
        }
        "tmpfs" if !fields.source.is_empty() => return Err(daemon("field Source must not be specified").into()),
        "tmpfs" => {
            let usual = ["nosuid", "nodev", "noexec"].map(String::from);
            Kind::Tmpfs { options: usual.into_iter().chain(fields.tmpfs).collect(), listed: true }
        }
        other => return Err(Daemon(format!("invalid mount config for type \"{other}\": mount type unknown")).into()),
    };
    Ok(Wish { kind, target, read_only: fields.read_only, mode: String::new() })
}

fn read_fields(text: &str) -> anyhow::Result<Fields> {
    let mut fields = Fields { kind: "volume".into(), ..Fields::default() };
    for field in csv(text)? {
        let (key, value) = field.split_once('=').map_or((field.as_str(), None), |(key, value)| (key, Some(value)));
        let key = key.to_ascii_lowercase();
        let switch = || match value {
            None | Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
            Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
            Some(value) => Err(anyhow::anyhow!("invalid value for {key}: {value}")),
        };
        if let Some(own) = TYPES.iter().position(|kind| key.starts_with(&format!("{kind}-"))) {
            fields.own[own] = true;
        }
        match key.as_str() {
            "readonly" | "ro" => {
                fields.read_only = switch()?;
                continue;
            }
            "volume-nocopy" => {
                fields.nocopy = switch()?;
                continue;
            }
            "bind-nonrecursive" => {
                fields.recursive = switch()?.then(|| "disabled".into());
                continue;
            }
            _ => {}
        }
        let Some(value) = value else { bail!("invalid field '{field}' must be a key=value pair") };
        match key.as_str() {
            "type" => fields.kind = value.to_ascii_lowercase(),
            "source" | "src" => fields.source = value.into(),
            "target" | "dst" | "destination" => fields.target = value.into(),
            "consistency" => {}
            "bind-propagation" if PROPAGATIONS.contains(&value) => fields.propagation = Some(value.into()),
            "bind-propagation" => bail!("invalid propagation mode: {value}"),
            "bind-recursive" if ["enabled", "disabled", "writable", "readonly"].contains(&value) => {
                fields.recursive = Some(value.into());
            }
            "bind-recursive" => bail!(
                "invalid value for {key}: {value} (must be \"enabled\", \"disabled\", \"writable\", or \"readonly\")"
            ),
            "volume-label" => {
                let (name, value) = value.split_once('=').unwrap_or((value, ""));
                fields.labels.push((name.into(), value.into()));
            }
            "volume-subpath" => fields.subpath = value.into(),
            "volume-driver" if value == "local" => {}
            "volume-driver" => bail!("volume driver {value:?}: only \"local\" is here"),
            "tmpfs-size" => match size(value) {
                Some(bytes) => fields.tmpfs.push(format!("size={bytes}")),
                None => bail!("invalid value for {key}: {value}"),
            },
            "tmpfs-mode" => match u32::from_str_radix(value, 8) {
                Ok(mode) if mode <= 0o7777 => fields.tmpfs.push(format!("mode={mode:o}")),
                _ => bail!("invalid value for {key}: {value}"),
            },
            _ => bail!("unexpected key '{key}' in '{field}'"),
        }
    }
    Ok(fields)
}

/// The fields of one line; a field in quotes may hold commas, and quotes twice.
fn csv(text: &str) -> anyhow::Result<Vec<String>> {
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        let Some(quoted) = rest.strip_prefix('"') else {
            let (field, more) = rest.split_once(',').map_or((rest, None), |(field, more)| (field, Some(more)));
            if field.contains('"') {
                bail!("parse error: bare \" in non-quoted field");
            }
            fields.push(field.to_owned());
            match more {
                Some(more) => rest = more,
                None => return Ok(fields),
            }
            continue;
        };
        let mut field = String::new();
        let mut left = quoted;
        loop {
            let Some((before, after)) = left.split_once('"') else { bail!("parse error: extraneous or missing \"") };
            field.push_str(before);
            left = after;
            match left.strip_prefix('"') {
                Some(more) => {
                    field.push('"');
                    left = more;
                }
                None => break,
            }
        }
        fields.push(field);
        match left.strip_prefix(',') {
            Some(more) => rest = more,
            None if left.is_empty() => return Ok(fields),
            None => bail!("parse error: extraneous or missing \""),
        }
    }
}

/// `/path[:options]` of `--tmpfs`.
pub fn from_tmpfs(text: &str) -> anyhow::Result<Wish> {
    let (path, wishes) = text.split_once(':').unwrap_or((text, ""));
    let target = destination(path).with_context(|| format!("invalid tmpfs specification: '{text}'"))?;
    let mut options: Vec<String> = ["nosuid", "noexec", "nodev"].map(Into::into).to_vec();
    for wish in wishes.split(',').filter(|wish| !wish.is_empty()) {
        match wish {
            "suid" | "exec" | "dev" => options.retain(|old| old.strip_prefix("no") != Some(wish)),
            "nosuid" | "noexec" | "nodev" if options.iter().any(|old| old == wish) => {}
            "ro" | "rw" | "nosuid" | "noexec" | "nodev" | "noatime" | "relatime" | "strictatime" => {
                options.push(wish.into());
            }
            _ => match wish.split_once('=') {
                Some(("size" | "mode" | "uid" | "gid" | "nr_inodes" | "nr_blocks", value)) if !value.is_empty() => {
                    options.push(wish.into());
                }
                _ => bail!("invalid tmpfs option [{wish:?}]"),
            },
        }
    }
    Ok(Wish { kind: Kind::Tmpfs { options, listed: false }, target, read_only: false, mode: wishes.into() })
}

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

/// The container of `--volumes-from`, and whether its volumes shall be read-only whatever they are there.
pub fn from_container(text: &str) -> anyhow::Result<(&str, bool)> {
    let (name, mode) = text.split_once(':').unwrap_or((text, ""));
    if name.is_empty() || names::check(name).is_err() && !name.bytes().all(|b| b.is_ascii_hexdigit()) {
        bail!("invalid volumes-from specification: {text:?}");
    }
    Ok((name, Modes::read(mode)?.read_only))
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

//! `--mount type=bind,src=/a,dst=/b`.

use super::csv::csv;
use super::{Bind, Kind, Named, PROPAGATIONS, Wish, destination};
use crate::flag;
use crate::limits::size;
use anyhow::bail;
use bundle::{Volume, volumes};

/// `type=bind,src=/a,dst=/b,ro`: fields as in a line of a CSV file.
pub fn from_mount(text: &str) -> anyhow::Result<Wish> {
    read_mount(text).map_err(|error| match error.downcast::<Daemon>() {
        Ok(Daemon(words)) => anyhow::anyhow!(words),
        Err(error) => flag::refused("--mount", text, format!("{error:#}")),
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
    let mode = if matches!(kind, Kind::Volume(_)) { "z" } else { "" };
    Ok(Wish { kind, target, read_only: fields.read_only, mode: mode.into() })
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

/// Whether a path stays below where it starts, as far as its words say.
fn is_local(path: &str) -> bool {
    let mut depth = 0_i32;
    let below = path.split('/').filter(|part| !matches!(*part, "" | ".")).all(|part| {
        depth += if part == ".." { -1 } else { 1 };
        depth >= 0
    });
    below && !path.starts_with('/')
}

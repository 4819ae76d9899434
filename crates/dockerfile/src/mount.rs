//! `RUN --mount=type=…,target=…`: what the command sees beside the image (Dockerfile reference, "RUN --mount").

use crate::words::{self, Lookup};
use anyhow::{Context, bail};
use std::path::Path;

/// What is mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MountKind {
    /// Files of the context, a stage or an image; what is written there is thrown away.
    #[default]
    Bind,
    /// A directory that stays from build to build.
    Cache,
    /// Empty memory.
    Tmpfs,
    /// A file, or a variable, that reaches no layer.
    Secret,
    /// The socket of an SSH agent.
    Ssh,
}

/// Who may use a cache directory at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sharing {
    /// Everyone.
    #[default]
    Shared,
    /// Each gets one of its own.
    Private,
    /// One after the other.
    Locked,
}

/// One `--mount`. Numbers and names are as written or as the reference has them when left out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mount {
    /// `type`
    pub kind: MountKind,
    /// Where the process sees it; empty for a secret or socket at its usual place.
    pub target: String,
    /// A stage, image or named context; the build context when absent.
    pub from: Option<String>,
    /// The path below `from`.
    pub source: String,
    /// Of a cache, secret or agent. A cache's is its target when absent.
    pub id: String,
    /// The process may not write there.
    pub read_only: bool,
    /// Of a cache.
    pub sharing: Sharing,
    /// Bytes, of a tmpfs.
    pub size: Option<u64>,
    /// A missing secret or agent is an error.
    pub required: bool,
    /// Of the cache directory, secret or socket.
    pub mode: Option<u32>,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// The variable that a secret is given in.
    pub env: Option<String>,
}

impl Mount {
    /// Reads `type=cache,target=/x`. Variables are put in, but not in `from`, which makes the graph.
    pub fn parse(text: &str, escape: char, lookup: Lookup<'_>) -> anyhow::Result<Self> {
        let mut mount = Self::default();
        let (mut seen, mut writable): (Vec<String>, Option<bool>) = (Vec::new(), None);
        for field in fields(text)? {
            let (key, value) = match field.split_once('=') {
                Some((key, value)) => (key.to_ascii_lowercase(), Some(value)),
                None => (field.to_ascii_lowercase(), None),
            };
            let value = match (value, key.as_str()) {
                (Some(from), "from") if from.contains('$') => {
                    bail!("--mount: from={from}: no variables here; name a stage after them and use that")
                }
                (Some(value), "from") => Some(value.to_owned()),
                (Some(value), _) => Some(words::expand(value, escape, lookup)?),
                (None, _) => None,
            };
            let name = canonical(&key).with_context(|| format!("--mount={text}: unexpected key '{key}'"))?;
            let flag = || boolean(value.as_deref()).with_context(|| format!("--mount: {field}: want true or false"));
            let wanted = || value.clone().with_context(|| format!("--mount: {key} needs a value: {key}=…"));
            match name {
                "type" => mount.kind = kind(&wanted()?)?,
                "target" => mount.target = wanted()?,
                "from" => mount.from = Some(wanted()?).filter(|from| !from.is_empty()),
                "source" => mount.source = wanted()?,
                "id" => mount.id = wanted()?,
                "readonly" => writable = Some(!flag()?),
                "readwrite" => writable = Some(flag()?),
                "required" => mount.required = flag()?,
                "sharing" => mount.sharing = sharing(&wanted()?)?,
                "size" => mount.size = Some(size(&wanted()?)?),
                "mode" => mount.mode = Some(mode(&wanted()?)?),
                "uid" => mount.uid = number(&key, &wanted()?)?,
                "gid" => mount.gid = number(&key, &wanted()?)?,
                _ => mount.env = Some(wanted()?),
            }
            seen.push(name.to_owned());
        }
        mount.read_only = match (writable, mount.kind) {
            (Some(writable), _) => !writable,
            (None, kind) => kind == MountKind::Bind,
        };
        mount.check(&seen)?;
        mount.fill();
        Ok(mount)
    }

    /// The stage, image or context that it takes from, before any variable is known.
    pub fn from_of(text: &str) -> Option<String> {
        let fields = fields(text).ok()?;
        let from = fields.iter().find_map(|field| {
            let (key, value) = field.split_once('=')?;
            key.eq_ignore_ascii_case("from").then(|| value.to_owned())
        })?;
        (!from.is_empty()).then_some(from)
    }

    /// Each kind has keys of its own.
    fn check(&self, seen: &[String]) -> anyhow::Result<()> {
        let (word, allowed): (_, &[&str]) = match self.kind {
            MountKind::Bind => ("bind", &["target", "from", "source", "readonly", "readwrite"]),
            MountKind::Cache => {
                ("cache", &["target", "from", "source", "id", "readonly", "readwrite", "sharing", "mode", "uid", "gid"])
            }
            MountKind::Tmpfs => ("tmpfs", &["target", "size"]),
            MountKind::Secret => ("secret", &["target", "source", "id", "required", "mode", "uid", "gid", "env"]),
            MountKind::Ssh => ("ssh", &["target", "id", "required", "mode", "uid", "gid"]),
        };
        if let Some(other) = seen.iter().find(|key| *key != "type" && !allowed.contains(&key.as_str())) {
            bail!("--mount=type={word}: {other} is not for this type; it takes {}", allowed.join(", "));
        }
        let usual = matches!(self.kind, MountKind::Secret | MountKind::Ssh);
        if self.target.is_empty() && !usual {
            bail!("--mount=type={word}: needs target=PATH");
        }
        if self.kind == MountKind::Secret && self.id.is_empty() && self.source.is_empty() && self.target.is_empty() {
            bail!("--mount=type=secret: needs id=NAME or target=PATH");
        }
        if usual && self.target == "/" || self.target.contains('\0') {
            bail!("--mount: target {:?} is not a place to mount at", self.target);
        }
        Ok(())
    }

    fn fill(&mut self) {
        let base = |path: &str| Path::new(path).file_name().map(|name| name.to_string_lossy().into_owned());
        match self.kind {
            MountKind::Cache if self.id.is_empty() => self.id.clone_from(&self.target),
            MountKind::Secret => {
                if self.id.is_empty() {
                    self.id =
                        base(if self.source.is_empty() { &self.target } else { &self.source }).unwrap_or_default();
                }
                if self.target.is_empty() && self.env.is_none() {
                    self.target = format!("/run/secrets/{}", base(&self.id).unwrap_or_default());
                }
            }
            MountKind::Ssh if self.id.is_empty() => self.id = "default".into(),
            _ => {}
        }
    }
}

/// One line of CSV, as Go reads it: a field in double quotes may hold commas, and two quotes are one.
fn fields(text: &str) -> anyhow::Result<Vec<String>> {
    let (mut found, mut field, mut quoted) = (Vec::new(), String::new(), false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.next_if_eq(&'"').is_some() => field.push('"'),
            '"' if quoted => quoted = false,
            '"' if field.is_empty() => quoted = true,
            '"' => bail!("--mount={text}: a quote within a field"),
            ',' if !quoted => found.push(std::mem::take(&mut field)),
            c => field.push(c),
        }
    }
    if quoted {
        bail!("--mount={text}: a double quote has no end");
    }
    found.push(field);
    Ok(found)
}

fn canonical(key: &str) -> Option<&'static str> {
    Some(match key {
        "type" => "type",
        "target" | "dst" | "destination" => "target",
        "from" => "from",
        "source" | "src" => "source",
        "id" => "id",
        "readonly" | "ro" => "readonly",
        "readwrite" | "rw" => "readwrite",
        "required" => "required",
        "sharing" => "sharing",
        "size" => "size",
        "mode" => "mode",
        "uid" => "uid",
        "gid" => "gid",
        "env" => "env",
        _ => return None,
    })
}

fn kind(text: &str) -> anyhow::Result<MountKind> {
    Ok(match text.to_ascii_lowercase().as_str() {
        "bind" => MountKind::Bind,
        "cache" => MountKind::Cache,
        "tmpfs" => MountKind::Tmpfs,
        "secret" => MountKind::Secret,
        "ssh" => MountKind::Ssh,
        _ => bail!("--mount: unsupported mount type {text:?}: bind, cache, tmpfs, secret or ssh"),
    })
}

fn sharing(text: &str) -> anyhow::Result<Sharing> {
    Ok(match text.to_ascii_lowercase().as_str() {
        "shared" => Sharing::Shared,
        "private" => Sharing::Private,
        "locked" => Sharing::Locked,
        _ => bail!("--mount: unsupported sharing {text:?}: shared, private or locked"),
    })
}

/// Go's `strconv.ParseBool`; a key alone is true.
fn boolean(text: Option<&str>) -> Option<bool> {
    match text {
        None | Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Some(true),
        Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Some(false),
        _ => None,
    }
}

/// `64m`: bytes, by powers of 1024.
fn size(text: &str) -> anyhow::Result<u64> {
    let lower = text.to_ascii_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let scale = match lower[digits.len()..].trim_end_matches("ib").trim_end_matches('b') {
        "" => 1,
        "k" => 1 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        "t" => 1_u64 << 40,
        _ => bail!("--mount: size={text}: want a number and perhaps k, m or g"),
    };
    digits
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(scale))
        .with_context(|| format!("--mount: size={text}: want a number and perhaps k, m or g"))
}

fn mode(text: &str) -> anyhow::Result<u32> {
    let parsed = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777);
    parsed.with_context(|| format!("--mount: mode={text}: want an octal number like 0700"))
}

fn number(key: &str, text: &str) -> anyhow::Result<u32> {
    text.parse().with_context(|| format!("--mount: {key}={text}: want a number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(text: &str) -> anyhow::Result<Mount> {
        Mount::parse(text, '\\', &|name| (name == "x").then(|| "X".to_owned()))
    }

    #[test]
    fn what_is_left_out_is_as_the_reference_says() {
        let bind = mount("target=/a").unwrap();
        assert_eq!((bind.kind, bind.read_only, bind.from), (MountKind::Bind, true, None));
        assert!(!mount("type=bind,dst=/a,rw").unwrap().read_only);
        let cache = mount("type=cache,target=/$x,sharing=locked,mode=0755,uid=1,gid=2").unwrap();
        assert_eq!((cache.id.as_str(), cache.target.as_str(), cache.sharing), ("/X", "/X", Sharing::Locked));
        assert_eq!((cache.mode, cache.uid, cache.gid, cache.read_only), (Some(0o755), 1, 2, false));
        assert_eq!(mount("type=tmpfs,target=/t,size=64m").unwrap().size, Some(64 << 20));
        let secret = mount("type=secret,id=a/token").unwrap();
        assert_eq!((secret.id.as_str(), secret.target.as_str()), ("a/token", "/run/secrets/token"));
        assert_eq!(mount("type=secret,target=/etc/key").unwrap().id, "key");
        let env = mount("type=secret,id=k,env=KEY,required").unwrap();
        assert_eq!((env.env.as_deref(), env.target.as_str(), env.required), (Some("KEY"), "", true));
        assert_eq!(mount("type=secret,id=k,env=KEY,target=/k").unwrap().target, "/k");
        assert_eq!(mount("type=ssh").unwrap().id, "default");
        assert_eq!(mount("type=bind,\"target=/a,b\",from=base").unwrap().target, "/a,b");
        assert_eq!(Mount::from_of("type=bind,from=base,target=/a").as_deref(), Some("base"));
    }

    #[test]
    fn mistakes_are_named() {
        for (text, want) in [
            ("type=nope,target=/a", "unsupported mount type \"nope\""),
            ("type=bind", "needs target"),
            ("type=bind,target=/a,from=$x", "no variables here"),
            ("type=bind,target=/a,sharing=locked", "sharing is not for this type"),
            ("type=cache,target=/a,size=1", "size is not for this type"),
            ("type=cache,target=/a,sharing=x", "unsupported sharing"),
            ("type=cache,target=/a,mode=9", "octal"),
            ("type=cache,target", "target needs a value"),
            ("type=secret", "needs id"),
            ("type=ssh,target=/,id=a", "not a place"),
            ("targett=/a", "unexpected key 'targett'"),
            ("type=bind,target=/a,ro=maybe", "true or false"),
            ("type=tmpfs,target=/a,size=9999999999999g", "want a number"),
            ("\"a", "no end"),
        ] {
            let error = format!("{:#}", mount(text).unwrap_err());
            assert!(error.contains(want), "{text}: {error}");
        }
    }
}

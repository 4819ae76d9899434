//! `-v HOST:PATH:OPTIONS`, and the same options behind `--volumes-from`.

use super::{Bind, Kind, Named, PROPAGATIONS, Wish, destination};
use anyhow::{Context, bail};
use bundle::{Volume, names, volumes};

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
    // Docker's for a volume with a name.
    let mode = if options.is_empty() && from.is_some() && matches!(kind, Kind::Volume(_)) { "z" } else { options };
    Ok(Wish { kind, target, read_only: modes.read_only, mode: mode.into() })
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

/// The container of `--volumes-from`, and whether its volumes shall be read-only whatever they are there.
pub fn from_container(text: &str) -> anyhow::Result<(&str, bool)> {
    let (name, mode) = text.split_once(':').unwrap_or((text, ""));
    if name.is_empty() || names::check(name).is_err() && !name.bytes().all(|b| b.is_ascii_hexdigit()) {
        bail!("invalid volumes-from specification: {text:?}");
    }
    Ok((name, Modes::read(mode)?.read_only))
}

//! What ctr-spawn is given: a bundle, its configuration, secrets for its environment, and the name that it gets.

use crate::Args;
use crate::config::Config;
use anyhow::{Context, bail};
use bundle::Containers;
use bundle::config::{has_env, set_env};
use std::fs::File;
use std::path::Path;
use wire::{Bundle, Record};

pub fn read_bundle(args: &Args) -> anyhow::Result<Bundle> {
    match &args.bundle {
        Some(dir) => {
            let path = std::path::absolute(dir).with_context(|| dir.display().to_string())?;
            Ok(bundle::load(&path)?)
        }
        None => match toolkit::record_unbuffered("bundle")? {
            Record::Bundle(bundle) => Ok(bundle),
            other => {
                bail!("<stdin>: a record of an {}, not of a bundle: is img-unpack missing in the pipe?", other.kind())
            }
        },
    }
}

/// A name that is safe as the name of a directory.
pub fn container_id(args: &Args, dir: &Path) -> anyhow::Result<String> {
    if let Some(id) = &args.id {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'+');
        if id.is_empty() || id.len() > 128 || !id.bytes().all(plain) || id.starts_with('.') {
            return Err(toolkit::usage(format!("--id {id}: letters, digits, and _ - . + only")));
        }
        return Ok(id.clone());
    }
    let name = dir.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if bundle::names::is_id(name) {
        return Ok(name.to_owned());
    }
    // Two bundles may have the same name, and one process cannot be two containers.
    Ok(format!("{}-{}", name.replace(|c: char| !c.is_ascii_alphanumeric(), "-"), std::process::id()))
}

/// The configuration, with the namespaces of other containers as they are now: valid while the files are open.
pub fn read_config(dir: &Path) -> anyhow::Result<(Config, Vec<File>)> {
    let mut config = bundle::read_config(dir)?;
    let containers = containers();
    let joined = match containers.id_of(dir).map(|id| containers.read(&id)).transpose()?.flatten() {
        Some(found) => bundle::join::resolve(&mut config, &found.meta, &containers)?,
        None => Vec::new(),
    };
    let config = serde_json::from_value(config).with_context(|| dir.join("config.json").display().to_string())?;
    Ok((config, joined))
}

fn containers() -> Containers {
    Containers::new(&toolkit::root_dir(None), &toolkit::run_dir())
}

/// A process without a HOME gets that of its user.
pub fn add_home(config: &mut Config, bundle: &Bundle) {
    let Some(process) = config.process.as_mut().filter(|process| !has_env(&process.env, "HOME")) else { return };
    let passwd = match &bundle.overlay {
        Some(_) => bundle::rootfs_file(bundle, "etc/passwd"),
        None => bundle::rootfs_file_below(&bundle.path.as_path().join(&config.root.path), "etc/passwd"),
    };
    // A passwd that is none, as a FIFO, knows no home.
    let home = bundle::users::home(process.user.uid, passwd.ok().flatten().as_deref());
    set_env(&mut process.env, &format!("HOME={home}"));
}

/// A secret that is written down in config.json would outlive its use.
pub fn add_variables(config: &mut Config, wishes: &[String]) -> anyhow::Result<()> {
    for wish in wishes {
        let Some((name, variable)) = wish.split_once('=').filter(|(name, _)| !name.is_empty()) else {
            return Err(toolkit::usage(format!("--env-from {wish}: want NAME=VARIABLE")));
        };
        let value = std::env::var(variable).with_context(|| format!("--env-from {wish}: {variable}"))?;
        if let Some(process) = &mut config.process {
            process.env.retain(|old| old.split('=').next() != Some(name));
            process.env.push(format!("{name}={value}"));
        }
    }
    Ok(())
}

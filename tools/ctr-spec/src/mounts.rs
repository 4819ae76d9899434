//! What a container sees of the host's files: binds, volumes, file systems in memory.

use anyhow::{Context, bail};
use clap::Args;
use serde_json::{Value, json};
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
#[group(skip)]
pub struct Options {
    /// Show a directory or file of the host, or a named volume, in the container
    #[arg(short, long = "volume", value_name = "SOURCE:PATH[:OPTIONS]")]
    volume: Vec<String>,

    /// Mount a file system in memory: PATH:size=64m,mode=1777,exec
    #[arg(long, value_name = "PATH[:OPTIONS]")]
    tmpfs: Vec<String>,

    /// Mount the root file system read-only
    #[arg(long)]
    read_only: bool,
}

/// A directory that must be there before the container starts.
pub struct Source {
    path: PathBuf,
    mode: u32,
}

/// Adds the mounts, `own` first: each replaces what was mounted there, and parents come before children.
/// Nothing is made on disk yet; the sources that have to be are returned.
pub fn set(config: &mut Value, options: &Options, root: &Path, own: Vec<Value>) -> anyhow::Result<Vec<Source>> {
    let mut sources = Vec::new();
    let mut wished: Vec<Value> = Vec::new();
    for text in &options.volume {
        let (mount, source) = volume(text, root)?;
        sources.extend(source);
        wished.push(mount);
    }
    for text in &options.tmpfs {
        wished.push(tmpfs(text)?);
    }
    for (n, mount) in wished.iter().enumerate() {
        if wished[..n].iter().any(|other| other["destination"] == mount["destination"]) {
            bail!("Duplicate mount point: {}", mount["destination"].as_str().unwrap_or_default());
        }
    }
    if options.read_only {
        config["root"]["readonly"] = true.into();
    }
    let mounts = config["mounts"].as_array_mut().context("config.json: mounts: not a list")?;
    for mount in own.into_iter().chain(wished) {
        mounts.retain(|old| old["destination"] != mount["destination"]);
        mounts.push(mount);
    }
    // A stable sort: mounts of one depth stay in their order, and /dev comes before /dev/pts.
    mounts.sort_by_key(|mount| mount["destination"].as_str().map_or(0, |path| path.matches('/').count()));
    Ok(sources)
}

/// Makes them as docker makes them: with their parents, and readable by everyone.
pub fn make_sources(sources: &[Source]) -> anyhow::Result<()> {
    for source in sources {
        let parent = source.path.parent().unwrap_or(&source.path);
        let make = |path: &Path, mode| DirBuilder::new().recursive(true).mode(mode).create(path);
        make(parent, if source.mode == 0o755 { 0o755 } else { 0o700 })
            .and_then(|()| make(&source.path, 0o755))
            .with_context(|| format!("{}: mkdir", source.path.display()))?;
    }
    Ok(())
}

/// `host:path[:options]`, `name:path[:options]`, or `path` alone for a volume without a name.
fn volume(text: &str, root: &Path) -> anyhow::Result<(Value, Option<Source>)> {
    let parts: Vec<&str> = text.split(':').collect();
    let fresh = bundle::names::id();
    let (from, to, options) = match parts.as_slice() {
        [to] => (fresh.as_str(), *to, ""),
        [from, to] => (*from, *to, ""),
        [from, to, options] => (*from, *to, *options),
        _ => bail!("invalid volume specification: '{text}'"),
    };
    let to = destination(to).with_context(|| format!("invalid volume specification: '{text}'"))?;
    let source = if from.starts_with(['/', '.', '~']) {
        let path = std::path::absolute(from).with_context(|| format!("invalid volume specification: '{text}'"))?;
        let missing = !path.try_exists().with_context(|| format!("{}", path.display()))?;
        (path.clone(), missing.then_some(Source { path, mode: 0o755 }))
    } else {
        let path = volume_dir(root, from)?;
        (path.clone(), Some(Source { path, mode: 0o700 }))
    };
    let path = source.0.to_str().with_context(|| format!("{}: not UTF-8", source.0.display()))?;
    let mount = json!({ "destination": to, "type": "bind", "source": path, "options": bind_options(options)? });
    Ok((mount, source.1))
}

/// A named volume is a directory below the root.
fn volume_dir(root: &Path, name: &str) -> anyhow::Result<PathBuf> {
    if bundle::names::check(name).is_err() || name.starts_with('/') {
        bail!(
            "create {name}: \"{name}\" includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path"
        );
    }
    Ok(root.join("volumes").join(name).join("_data"))
}

fn bind_options(text: &str) -> anyhow::Result<Vec<&str>> {
    let mut access = "rw";
    let mut propagation = "rprivate";
    for option in text.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" | "rw" => access = option,
            "private" | "rprivate" | "shared" | "rshared" | "slave" | "rslave" => propagation = option,
            // Labels of SELinux: docker, too, does nothing with them where SELinux is off.
            "z" | "Z" => {}
            _ => bail!("invalid mode: {text}"),
        }
    }
    Ok(vec!["rbind", access, propagation])
}

fn tmpfs(text: &str) -> anyhow::Result<Value> {
    let (path, wishes) = text.split_once(':').unwrap_or((text, ""));
    let path = destination(path).with_context(|| format!("invalid tmpfs specification: '{text}'"))?;
    let mut options = vec!["nosuid", "noexec", "nodev"];
    for wish in wishes.split(',').filter(|wish| !wish.is_empty()) {
        match wish {
            "suid" | "exec" | "dev" => options.retain(|old| old.strip_prefix("no") != Some(wish)),
            "ro" | "rw" | "nosuid" | "noexec" | "nodev" | "noatime" | "relatime" => options.push(wish),
            _ => match wish.split_once('=') {
                Some(("size" | "mode" | "uid" | "gid" | "nr_inodes" | "nr_blocks", value)) if !value.is_empty() => {
                    options.push(wish);
                }
                _ => bail!("invalid tmpfs option [{wish:?}]"),
            },
        }
    }
    Ok(json!({ "destination": path, "type": "tmpfs", "source": "tmpfs", "options": options }))
}

/// An absolute path, without `.`, `..` and needless slashes.
fn destination(path: &str) -> anyhow::Result<String> {
    if !path.starts_with('/') {
        bail!("mount path must be absolute: '{path}'");
    }
    let names: Vec<&str> = path.split('/').filter(|name| !matches!(*name, "" | ".")).collect();
    if names.is_empty() {
        bail!("destination can't be '/'");
    }
    if names.contains(&"..") {
        bail!("mount path must not contain '..': '{path}'");
    }
    Ok(format!("/{}", names.join("/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bind(text: &str) -> Option<(String, String, String)> {
        let (mount, _) = volume(text, Path::new("/root-of-dock")).ok()?;
        let options: Vec<String> = serde_json::from_value(mount["options"].clone()).ok()?;
        Some((mount["source"].as_str()?.into(), mount["destination"].as_str()?.into(), options.join(",")))
    }

    #[test]
    fn docker_volumes() {
        for (text, want) in [
            ("/a:/b", ("/a", "/b", "rbind,rw,rprivate")),
            ("/a:/b/:ro", ("/a", "/b", "rbind,ro,rprivate")),
            ("/a:/b:rw,z,rslave", ("/a", "/b", "rbind,rw,rslave")),
            ("data:/b", ("/root-of-dock/volumes/data/_data", "/b", "rbind,rw,rprivate")),
        ] {
            let (source, to, options) = bind(text).unwrap();
            assert_eq!((&*source, &*to, &*options), want, "{text}");
        }
        for text in ["", "/a:/", "/a:b", "/a:/b:rx", "/a:/b:ro:x", "a/b:/c", "../x:..", ":/b", "/a:/x/../y"] {
            assert_eq!(bind(text), None, "{text:?}");
        }
        let (source, ..) = bind("/only").unwrap();
        assert!(source.starts_with("/root-of-dock/volumes/") && source.ends_with("/_data"));
    }

    #[test]
    fn later_mounts_replace_earlier_ones_and_parents_come_first() {
        let mut config = json!({"mounts": [{"destination": "/dev/shm", "type": "tmpfs"}, {"destination": "/dev"}]});
        let options = Options {
            volume: vec!["/a:/x/y/z".into(), "/b:/x".into(), "/c:/dev/shm".into()],
            tmpfs: vec!["/run:size=1m,exec".into()],
            read_only: true,
        };
        set(&mut config, &options, Path::new("/r"), vec![]).unwrap();
        let at: Vec<_> =
            config["mounts"].as_array().unwrap().iter().map(|m| m["destination"].as_str().unwrap()).collect();
        assert_eq!(at, ["/dev", "/x", "/run", "/dev/shm", "/x/y/z"]);
        assert_eq!(config["mounts"][2]["options"], json!(["nosuid", "nodev", "size=1m"]));
        assert_eq!(config["mounts"][3]["type"], "bind");
        let twice = Options { volume: vec!["/a:/x".into()], tmpfs: vec!["/x/".into()], read_only: false };
        let error = set(&mut config, &twice, Path::new("/r"), vec![]).err().unwrap();
        assert_eq!(error.to_string(), "Duplicate mount point: /x");
        assert!(tmpfs("/x:size=").is_err() && tmpfs("/x:lowerdir=/").is_err() && tmpfs("x").is_err());
    }
}

//! What of the host is seen in the container: bind mounts, volumes, file systems in memory.

use crate::wish::{self, Bind, Kind, Named, Wish};
use anyhow::{Context, bail};
use bundle::{Containers, Volumes};
use clap::Args;
use serde_json::{Map, Value, json};
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use toolkit::WithHint;

#[derive(Debug, Args)]
#[group(skip)]
pub struct Options {
    /// Show a directory or file of the host, or a named volume, in the container
    #[arg(short, long = "volume", value_name = "SOURCE:PATH[:OPTIONS]")]
    volume: Vec<String>,

    /// The same and more, in words: type=bind,src=/a,dst=/b,ro
    #[arg(long, value_name = "KEY=VALUE,...")]
    mount: Vec<String>,

    /// Mount the volumes of another container
    #[arg(long, value_name = "CONTAINER[:ro]")]
    volumes_from: Vec<String>,

    /// Mount a file system in memory: PATH:size=64m,mode=1777,exec
    #[arg(long, value_name = "PATH[:OPTIONS]")]
    tmpfs: Vec<String>,

    /// Mount the root file system read-only
    #[arg(long)]
    read_only: bool,
}

impl Options {
    /// Places of volumes without a name, as docker's Config.Volumes has them: the image's, and those of `-v PATH`.
    pub fn unnamed(&self, image: &Value, before: &Value) -> Value {
        let mut places = Map::new();
        for old in [&image["config"]["Volumes"], &before["volumes"]] {
            places.extend(old.as_object().cloned().unwrap_or_default());
        }
        places.extend(self.volume.iter().filter(|text| !text.contains(':')).map(|text| (text.clone(), json!({}))));
        if places.is_empty() { Value::Null } else { places.into() }
    }

    /// The words of the options, where docker's inspect repeats them.
    pub fn note(&self, host: &mut Map<String, Value>) {
        let mut put = |name: &str, list: Vec<Value>| {
            if !list.is_empty() {
                let old = host.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
                host.insert(name.into(), old.into_iter().chain(list).collect());
            }
        };
        put("binds", self.volume.iter().filter(|text| text.contains(':')).map(|text| json!(text)).collect());
        put("volumesFrom", self.volumes_from.iter().map(|text| json!(text)).collect());
        put(
            "mounts",
            self.mount.iter().filter_map(|text| wish::from_mount(text).ok()).map(|wish| wish.shown()).collect(),
        );
        let tmpfs = self.tmpfs.iter().map(|text| text.split_once(':').unwrap_or((text, "")));
        let tmpfs: Map<String, Value> = tmpfs.map(|(path, options)| (path.into(), options.into())).collect();
        if !tmpfs.is_empty() {
            host.insert("tmpfs".into(), tmpfs.into());
        }
    }
}

/// The mounts of a bundle, and what has to be on disk before it starts.
pub struct Mounts {
    wishes: Vec<Wish>,
    /// Those of other containers: their mount points as they have them.
    inherited: Vec<Value>,
}

/// Reads all options. The image's VOLUMEs come last: only where nothing else is mounted.
pub fn read(options: &Options, containers: &Containers, image: &Value, container: bool) -> anyhow::Result<Mounts> {
    let mut wishes: Vec<Wish> = Vec::new();
    let flags = options.volume.iter().map(|text| wish::from_volume(text));
    let flags = flags.chain(options.mount.iter().map(|text| wish::from_mount(text)));
    for wish in flags.chain(options.tmpfs.iter().map(|text| wish::from_tmpfs(text))) {
        let wish = wish?;
        if wishes.iter().any(|other| other.target == wish.target) {
            bail!("Duplicate mount point: {}", wish.target);
        }
        wishes.push(wish);
    }
    let mut inherited: Vec<Value> = Vec::new();
    for text in &options.volumes_from {
        for point in points_of(containers, text)? {
            let target = &point["destination"];
            inherited.retain(|other| other["destination"] != *target);
            inherited.push(point);
        }
    }
    inherited.retain(|point| !wishes.iter().any(|wish| point["destination"] == wish.target.as_str()));
    let of_image = image["config"]["Volumes"].as_object().filter(|_| container);
    for path in of_image.into_iter().flat_map(Map::keys) {
        let target = wish::destination(path).with_context(|| format!("image configuration: Volumes: {path:?}"))?;
        let taken = wishes.iter().any(|wish| wish.target == target)
            || inherited.iter().any(|point| point["destination"] == target.as_str());
        if !taken {
            let kind = Kind::Volume(Named::whole(bundle::Volume::anonymous(), false));
            wishes.push(Wish { kind, target, read_only: false, mode: String::new() });
        }
    }
    Ok(Mounts { wishes, inherited })
}

/// What another container has mounted: volumes and directories of the host, not its file systems in memory.
fn points_of(containers: &Containers, text: &str) -> anyhow::Result<Vec<Value>> {
    let (name, read_only) = wish::from_container(text)?;
    let found = containers.find(name)?;
    let points = found.meta.rest.get("mounts").and_then(Value::as_array).cloned().unwrap_or_default();
    let shared = points.into_iter().filter(|point| point["type"] != "tmpfs");
    Ok(shared
        .map(|mut point| {
            if read_only {
                point["rw"] = false.into();
            }
            point
        })
        .collect())
}

impl Mounts {
    /// A second ctr-spec on one container does not make the image's volumes again.
    pub fn forget_those_of(&mut self, points: &[Value]) {
        let there = |target: &str| points.iter().any(|point| point["destination"] == target);
        self.wishes.retain(|wish| {
            !matches!(&wish.kind, Kind::Volume(named) if named.volume.is_anonymous()) || !there(&wish.target)
        });
    }

    /// Adds the mounts, `own` first: each replaces what was mounted there, and parents come before children.
    /// Nothing is made on disk yet.
    pub fn set(&self, config: &mut Value, options: &Options, volumes: &Volumes, own: Vec<Value>) -> anyhow::Result<()> {
        if options.read_only {
            config["root"]["readonly"] = true.into();
        }
        let read_only = config["root"]["readonly"] == true;
        let mounts = config["mounts"].as_array_mut().context("config.json: mounts: not a list")?;
        let inherited = self.inherited.iter().map(inherit);
        let wished: Vec<Value> = self.wishes.iter().map(|wish| mount(wish, volumes)).collect::<anyhow::Result<_>>()?;
        let own = own.into_iter().map(|mount| if read_only { made_read_only(mount) } else { mount });
        for mount in own.chain(inherited).chain(wished) {
            mounts.retain(|old| old["destination"] != mount["destination"]);
            mounts.push(mount);
        }
        // A stable sort: mounts of one depth stay in their order, and /dev comes before /dev/pts.
        mounts.sort_by_key(|mount| mount["destination"].as_str().map_or(0, |path| path.matches('/').count()));
        Ok(())
    }

    /// As `docker inspect` lists them, members in lowerCamelCase.
    pub fn points(&self, volumes: &Volumes, before: &[Value]) -> Vec<Value> {
        let new: Vec<Value> =
            self.inherited.iter().cloned().chain(self.wishes.iter().filter_map(|w| point(w, volumes))).collect();
        let replaced = |old: &&Value| !new.iter().any(|new| new["destination"] == old["destination"]);
        before.iter().filter(replaced).cloned().chain(new.iter().cloned()).collect()
    }

    /// Whether any volume is mounted, new or another container's.
    pub fn has_volumes(&self) -> bool {
        self.volumes().next().is_some() || self.inherited.iter().any(|point| point["type"] == "volume")
    }

    /// The volumes to make, each with its place in the container.
    pub fn volumes(&self) -> impl Iterator<Item = (&Named, &str)> {
        self.wishes.iter().filter_map(|wish| match &wish.kind {
            Kind::Volume(named) => Some((named, wish.target.as_str())),
            _ => None,
        })
    }

    /// Makes the host's directories of `-v` as docker makes them: with their parents, and readable by everyone.
    pub fn make_directories(&self) -> anyhow::Result<()> {
        for wish in &self.wishes {
            let Kind::Bind(Bind { source, make: true, .. }) = &wish.kind else { continue };
            let make = || DirBuilder::new().recursive(true).mode(0o755).create(source);
            match source.try_exists() {
                Ok(true) => {}
                Ok(false) => make().map_err(|error| not_made(source, &error)).hint(|| HOW_TO_BIND.into())?,
                Err(error) => return Err(not_made(source, &error)).hint(|| HOW_TO_BIND.into()),
            }
        }
        Ok(())
    }
}

const HOW_TO_BIND: &str =
    "make it first, or bind what is there; a name without / is a volume, which needs no directory";

/// Docker's words, with the system's in lower case as Go has them.
fn not_made(source: &Path, error: &std::io::Error) -> anyhow::Error {
    let cause = error.to_string().to_lowercase();
    let cause = cause.split(" (os error").next().unwrap_or_default();
    anyhow::anyhow!("error while creating mount source path '{0}': mkdir {0}: {cause}", source.display())
}

fn text(path: PathBuf) -> anyhow::Result<String> {
    path.into_os_string().into_string().map_err(|path| anyhow::anyhow!("{}: not UTF-8", path.display()))
}

/// The mount as runtime-spec has it.
fn mount(wish: &Wish, volumes: &Volumes) -> anyhow::Result<Value> {
    let access = if wish.read_only { "ro" } else { "rw" };
    let bind = |source, words: [&str; 3]| json!({ "destination": wish.target, "type": "bind", "source": source, "options": words });
    Ok(match &wish.kind {
        Kind::Bind(wanted) => {
            let access = if wanted.all_read_only { "rro" } else { access };
            bind(text(wanted.source.clone())?, [wanted.how, access, &wanted.propagation])
        }
        Kind::Volume(named) => bind(text(named.source(volumes))?, ["rbind", access, "rprivate"]),
        Kind::Tmpfs { options, .. } => {
            let mut options = options.clone();
            options.extend(wish.read_only.then(|| "ro".into()));
            json!({ "destination": wish.target, "type": "tmpfs", "source": "tmpfs", "options": options })
        }
    })
}

/// What is the container's own is as read-only as its root.
fn made_read_only(mut mount: Value) -> Value {
    if let Some(options) = mount["options"].as_array_mut().filter(|options| !options.iter().any(|word| word == "ro")) {
        options.push("ro".into());
    }
    mount
}

fn inherit(point: &Value) -> Value {
    let access = if point["rw"] == false { "ro" } else { "rw" };
    let propagation = point["propagation"].as_str().filter(|word| !word.is_empty()).unwrap_or("rprivate");
    let options = ["rbind", access, propagation];
    json!({ "destination": point["destination"], "type": "bind", "source": point["source"], "options": options })
}

fn point(wish: &Wish, volumes: &Volumes) -> Option<Value> {
    Some(match &wish.kind {
        Kind::Bind(bind) => json!({
            "type": "bind", "source": bind.source.to_string_lossy(), "destination": wish.target,
            "mode": wish.mode, "rw": !wish.read_only, "propagation": bind.propagation,
        }),
        Kind::Volume(named) => json!({
            "type": "volume", "name": named.volume.name, "source": named.source(volumes).to_string_lossy(),
            "destination": wish.target, "driver": "local", "mode": wish.mode, "rw": !wish.read_only, "propagation": "",
        }),
        Kind::Tmpfs { listed: false, .. } => return None,
        Kind::Tmpfs { .. } => json!({
            "type": "tmpfs", "source": "", "destination": wish.target,
            "mode": "", "rw": !wish.read_only, "propagation": "",
        }),
    })
}

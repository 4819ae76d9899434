//! `RUN --mount`: what a command sees beside the image. Nothing of it reaches the layer: the places to mount on
//! are made in a layer below the upper directory, and what is written there goes elsewhere or away.

use crate::builder::Builder;
use crate::caches::{self, Claimed};
use crate::copying::Tree;
use crate::run::Workshop;
use crate::shelf::{Owner, Shelf};
use crate::source::Root;
use crate::state::State;
use crate::take::take;
use anyhow::{Context, bail};
use bundle::{Stub, What};
use dockerfile::{Ignore, Mount, MountKind, Run, absolute};
use rustix::fd::{AsRawFd, OwnedFd};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

/// The mounts of one RUN, with their sources known and nothing made yet.
pub struct Planned {
    mounts: Vec<(Mount, Source)>,
}

/// Where files come from.
enum Source {
    /// The build context.
    Context,
    /// A stage, an image or a named context.
    From(Tree),
    /// Nothing is copied.
    Nowhere,
}

/// What has been made for one RUN; it goes with the value.
#[derive(Default)]
pub struct Made {
    /// Options of ctr-spec.
    options: Vec<OsString>,
    pub stubs: Vec<Stub>,
    /// Variables with a secret: name and value.
    pub variables: Vec<(String, OsString)>,
    /// What is mounted by descriptor: the descriptor, and where it is when we are gone.
    open: Vec<(OwnedFd, PathBuf)>,
    /// Trees of this build that are mounted.
    trees: Vec<PathBuf>,
    shelf: Option<Shelf>,
    /// Mounts of agents so far.
    agents: usize,
    caches: Vec<Claimed>,
}

impl Builder<'_> {
    /// Finds the sources; the second part is what they mean for the cache. Secrets and agents count by their names
    /// alone, a cache by nothing but its own.
    pub(crate) fn plan_mounts(
        &mut self,
        state: &State,
        run: &Run,
        stage: usize,
    ) -> anyhow::Result<(Planned, Vec<Value>)> {
        let snapshot = state.clone();
        let lookup = |name: &str| snapshot.lookup(name);
        let (mut mounts, mut keys) = (Vec::new(), Vec::new());
        for mut mount in run.mounts(self.variant.graph.escape, &lookup)? {
            if !mount.target.is_empty() {
                mount.target = absolute(state.config.working_dir(), &mount.target);
            }
            if mount.target == "/" {
                bail!("--mount: invalid mount target \"/\"");
            }
            if let (MountKind::Cache, Some(namespace)) = (mount.kind, &self.build.wishes.builtin.namespace) {
                mount.id = format!("{}/{}", namespace.trim_end_matches('/'), mount.id.trim_start_matches('/'));
            }
            let (source, key) = self.mount_source(&mount, stage)?;
            keys.push(mount_key(&mount, &key));
            mounts.push((mount, source));
        }
        Ok((Planned { mounts }, keys))
    }

    fn mount_source(&mut self, mount: &Mount, stage: usize) -> anyhow::Result<(Source, Value)> {
        let of_files = matches!(mount.kind, MountKind::Bind | MountKind::Cache);
        match &mount.from {
            _ if !of_files => Ok((Source::Nowhere, Value::Null)),
            None if mount.kind == MountKind::Cache => Ok((Source::Nowhere, Value::Null)),
            None => {
                let found = self.build.context.one(&mount.source)?;
                let digest = self.build.context.digest(&found)?;
                Ok((Source::Context, digest.into()))
            }
            Some(from) => {
                let tree = self.tree(from, stage)?;
                let key = match &tree {
                    Tree::Packed(image) => image.digest.to_string(),
                    Tree::Open(root) => root.digest(&root.one(&mount.source)?)?,
                };
                Ok((Source::From(tree), key.into()))
            }
        }
    }

    /// What the mounts mean for the cache by the files that the command sees, where that may be less than an image
    /// has: another image with the same files there is as good. None where it is no other answer than the first.
    pub(crate) fn mounts_by_content(
        &mut self,
        planned: &Planned,
        keys: &[Value],
    ) -> anyhow::Result<Option<Vec<Value>>> {
        let mut by_content = keys.to_vec();
        for ((mount, source), key) in planned.mounts.iter().zip(&mut by_content) {
            let is_part = !dockerfile::ignore::clean(&mount.source).trim_matches(['/', '.']).is_empty();
            if let (Source::From(tree @ Tree::Packed(_)), true) = (source, is_part) {
                let root = self.opened(tree)?;
                *key = mount_key(mount, &root.digest(&root.one(&mount.source)?)?.into());
            }
        }
        Ok((by_content != keys).then_some(by_content))
    }

    /// Makes everything that the mounts need. Caches are claimed in the order of their names, so that two steps
    /// never wait for each other.
    pub(crate) fn make_mounts(&mut self, planned: &Planned, workshop: &Workshop) -> anyhow::Result<Made> {
        let mut made = Made::default();
        let mut wanted: Vec<&Mount> =
            planned.mounts.iter().map(|(mount, _)| mount).filter(|mount| mount.kind == MountKind::Cache).collect();
        wanted.sort_by(|a, b| a.id.cmp(&b.id));
        wanted.dedup_by(|a, b| a.id == b.id);
        let all = self.build.siblings.root().join("cache").join("mounts");
        made.caches = wanted.into_iter().map(|mount| caches::claim(&all, mount)).collect::<anyhow::Result<_>>()?;
        for (number, (mount, source)) in planned.mounts.iter().enumerate() {
            self.make_mount(&mut made, number, mount, source, workshop)
                .with_context(|| format!("--mount=type={:?}", mount.kind).to_ascii_lowercase())?;
        }
        Ok(made)
    }

    fn make_mount(
        &mut self,
        made: &mut Made,
        number: usize,
        mount: &Mount,
        source: &Source,
        workshop: &Workshop,
    ) -> anyhow::Result<()> {
        match mount.kind {
            MountKind::Bind => self.bind(made, number, mount, source, workshop),
            MountKind::Cache => self.cache(made, mount, source),
            MountKind::Tmpfs => {
                let size = mount.size.map(|size| format!(",size={size}")).unwrap_or_default();
                made.options.extend(["--tmpfs".into(), format!("{}:exec{size}", mount.target).into()]);
                made.stubs.push(Stub { path: mount.target.clone().into(), what: What::Directory });
                Ok(())
            }
            MountKind::Secret => self.secret(made, number, mount),
            MountKind::Ssh => self.agent(made, mount),
        }
    }

    /// The context is copied: its files belong to root and .dockerignore holds, and nobody outside sees what is
    /// written. A tree of an image is mounted as it is, unless the command may write there.
    fn bind(
        &mut self,
        made: &mut Made,
        number: usize,
        mount: &Mount,
        source: &Source,
        workshop: &Workshop,
    ) -> anyhow::Result<()> {
        let root = match source {
            Source::From(tree) => self.opened(tree)?,
            Source::Context | Source::Nowhere => Arc::clone(&self.build.context),
        };
        // A directory that the command line named is the caller's, and copied as the context is.
        let cache = self.build.siblings.root().join("cache").canonicalize();
        let is_ours = cache.is_ok_and(|cache| root.path().starts_with(cache));
        if let (Source::From(_), true, true) = (source, mount.read_only, is_ours) {
            let fd = root.open_at(&mount.source)?;
            made.trees.push(root.path().to_owned());
            return made.bind_open(fd, mount);
        }
        let found = root.one(&mount.source)?;
        let to = workshop.path().join(format!("mount-{number}"));
        take(&root, &found, &to)?;
        let is_directory = to.is_dir();
        made.bind(&to, &mount.target, mount.read_only, is_directory)
    }

    fn secret(&self, made: &mut Made, number: usize, mount: &Mount) -> anyhow::Result<()> {
        let Some(bytes) = self.build.wishes.running.secret(&mount.id)? else {
            if mount.required {
                bail!("secret {}: not found: give it with --secret id={}", mount.id, mount.id);
            }
            return Ok(());
        };
        if let Some(name) = &mount.env {
            made.variables.push((name.clone(), OsString::from_vec(bytes.clone())));
        }
        if !mount.target.is_empty() {
            let owner = Owner { mode: mount.mode.unwrap_or(0o400), uid: mount.uid, gid: mount.gid };
            let path = made.shelf()?.secret(&format!("secret-{number}"), &bytes, owner)?;
            made.bind(&path, &mount.target, true, false)?;
        }
        Ok(())
    }

    /// As in BuildKit only agents are counted: the first is 0, whatever else is mounted before it.
    fn agent(&self, made: &mut Made, mount: &Mount) -> anyhow::Result<()> {
        let number = made.agents;
        made.agents += 1;
        let Some(agent) = self.build.wishes.running.agent(&mount.id)? else {
            if mount.required {
                bail!("ssh {}: not found: give it with --ssh {}", mount.id, mount.id);
            }
            return Ok(());
        };
        let usual = format!("/run/buildkit/ssh_agent.{number}");
        let target = if mount.target.is_empty() { &usual } else { &mount.target };
        let owner = Owner { mode: mount.mode.unwrap_or(0o600), uid: mount.uid, gid: mount.gid };
        let path = made.shelf()?.agent(&format!("agent-{number}"), &agent, owner)?;
        if !made.options.iter().any(|word| word.to_string_lossy().starts_with("SSH_AUTH_SOCK=")) {
            made.options.extend(["--env".into(), format!("SSH_AUTH_SOCK={target}").into()]);
        }
        made.bind(&path, target, false, false)
    }

    fn cache(&mut self, made: &mut Made, mount: &Mount, source: &Source) -> anyhow::Result<()> {
        let Some(claimed) = made.caches.iter().find(|claimed| claimed.id == mount.id) else {
            bail!("{}: not claimed", mount.id);
        };
        let (path, is_new) = (claimed.path.clone(), claimed.is_new);
        if let (Source::From(tree), true) = (source, is_new) {
            let root = self.opened(tree)?;
            caches::seed(&path, |to| take(&root, &root.one(&mount.source)?, to))?;
        }
        caches::own(&path, mount, is_new)?;
        // A step beside this one may write there: the place below is looked up once, from the cache's own
        // directory, and mounted by its descriptor (CVE-2024-23651).
        let below = if mount.from.is_none() { mount.source.as_str() } else { "" };
        let fd = Root::open(&path, Ignore::default(), true)?.open_at(below)?;
        made.bind_open(fd, mount)
    }
}

fn mount_key(mount: &Mount, source: &Value) -> Value {
    let kind = format!("{:?}", mount.kind);
    let Mount { target, id, read_only, env, mode, uid, gid, source: path, .. } = mount;
    json!([kind, target, id, read_only, env, mode, uid, gid, path, source])
}

impl Made {
    fn shelf(&mut self) -> anyhow::Result<&mut Shelf> {
        if self.shelf.is_none() {
            self.shelf = Some(Shelf::open(&toolkit::run_dir())?);
        }
        self.shelf.as_mut().context("no shelf")
    }

    fn bind(&mut self, source: &Path, target: &str, read_only: bool, directory: bool) -> anyhow::Result<()> {
        let source = source.to_str().with_context(|| format!("{}: not UTF-8", source.display()))?;
        let mut words =
            vec!["type=bind".to_owned(), quoted(&format!("src={source}")), quoted(&format!("dst={target}"))];
        if read_only {
            words.push("readonly".into());
        }
        self.options.extend(["--mount".into(), words.join(",").into()]);
        let what = if directory { What::Directory } else { What::File };
        self.stubs.push(Stub { path: target.into(), what });
        Ok(())
    }

    /// By descriptor: ctr-spawn mounts what was found, whatever its path means by then.
    fn bind_open(&mut self, fd: OwnedFd, mount: &Mount) -> anyhow::Result<()> {
        let own = format!("/proc/{}/fd/{}", std::process::id(), fd.as_raw_fd());
        let is_directory = rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(&fd)?.st_mode).is_dir();
        let real = std::fs::read_link(&own).with_context(|| format!("{own}: readlink"))?;
        self.open.push((fd, real));
        self.bind(Path::new(&own), &mount.target, mount.read_only, is_directory)
    }

    pub fn specify(&self, command: &mut Command) {
        command.args(&self.options);
    }

    /// The variables reach ctr-spawn as its own, and the process by their names: no file holds them.
    pub fn give_variables(&self, command: &mut Command) {
        for (number, (name, value)) in self.variables.iter().enumerate() {
            let own = format!("DFILE_BUILD_SECRET_{number}");
            command.arg("--env-from").arg(format!("{name}={own}")).env(own, value);
        }
    }

    /// Changes the bundle of a RUN that failed so that it can be entered after this build: without secrets and
    /// agents, with trees that stay.
    pub fn keep(&self, workshop: &Workshop) -> anyhow::Result<()> {
        let dir = workshop.bundle();
        let mut config = bundle::read_config(&dir)?;
        let mut moved: Vec<(&Path, PathBuf)> = Vec::new();
        for (number, tree) in self.trees.iter().enumerate() {
            let to = workshop.path().join(format!("tree-{number}"));
            if !moved.iter().any(|(from, _)| from == tree) && std::fs::rename(tree, &to).is_ok() {
                moved.push((tree, to));
            }
        }
        let shelf = self.shelf.as_ref().map(Shelf::path);
        let after = |source: &str| {
            let open = self.open.iter().find(|(fd, _)| {
                source.strip_prefix(&format!("/proc/{}/fd/", std::process::id())) == Some(&fd.as_raw_fd().to_string())
            });
            let path = open.map_or_else(|| PathBuf::from(source), |(_, real)| real.clone());
            let moved = moved.iter().find_map(|(from, to)| Some(to.join(path.strip_prefix(from).ok()?)));
            // Path::join leaves a slash at the end of what was a file.
            moved.map_or(path, |moved| moved.components().collect())
        };
        if let Some(mounts) = config["mounts"].as_array_mut() {
            let secret = |mount: &Value| {
                mount["source"].as_str().is_some_and(|s| shelf.is_some_and(|shelf| Path::new(s).starts_with(shelf)))
            };
            mounts.retain(|mount| !secret(mount));
            for mount in mounts.iter_mut() {
                if let Some(source) = mount["source"].as_str() {
                    mount["source"] = after(source).to_string_lossy().into();
                }
            }
        }
        if let Some(env) = config["process"]["env"].as_array_mut().filter(|_| shelf.is_some()) {
            env.retain(|word| !word.as_str().is_some_and(|word| word.starts_with("SSH_AUTH_SOCK=")));
        }
        Ok(bundle::write_config(&dir, &config)?)
    }
}

/// A field of a CSV line.
fn quoted(field: &str) -> String {
    if field.contains([',', '"']) { format!("\"{}\"", field.replace('"', "\"\"")) } else { field.to_owned() }
}

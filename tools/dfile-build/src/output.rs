//! Where the result goes: `--output` in docker's words. Each is a pipeline of siblings:
//!
//! ```sh
//! img-unpack --tar IMAGE | tar -x -C DIR                  # type=local,dest=DIR
//! img-unpack --tar IMAGE >FILE                            # type=tar,dest=FILE
//! img-save --format oci -o FILE IMAGE                     # type=oci,dest=FILE, and so type=docker
//! img-save --format oci IMAGE | img-load --layout DIR     # type=oci,tar=false,dest=DIR
//! ```

use crate::siblings::{self, Siblings};
use anyhow::Context;
use layer_tar::{Options, Owners, Target};
use rustix::fd::AsFd;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::str::FromStr;
use wire::{Platform, Record, Reference};

/// One `--output`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    kind: Kind,
    /// None is stdout, where there are bytes.
    dest: Option<PathBuf>,
    /// Names beside those of `-t`.
    pub names: Vec<Reference>,
    push: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Into the store.
    Image,
    /// The files of the image, in a directory.
    Local,
    /// The same as a tar.
    Tar,
    /// An archive for `docker load`.
    Docker,
    Oci,
    /// An OCI layout that is a directory.
    Layout,
    /// Only what the cache keeps.
    Nothing,
}

impl FromStr for Output {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut output = Self { kind: Kind::Local, dest: None, names: Vec::new(), push: false };
        if !text.contains('=') {
            let kind = if text == "-" { Kind::Tar } else { Kind::Local };
            return Ok(Self { kind, dest: to(text), ..output });
        }
        let (mut kind, mut tar, mut dest) = (None, true, None);
        for field in text.split(',') {
            let (key, value) = field.split_once('=').ok_or_else(|| format!("{field:?}: want KEY=VALUE"))?;
            let yes = || value.parse::<bool>().map_err(|_| format!("{key}={value}: want true or false"));
            match key.trim().to_ascii_lowercase().as_str() {
                "type" => kind = Some(value),
                "dest" => dest = Some(value),
                "name" => output.names.push(value.parse().map_err(|error: wire::ReferenceError| error.to_string())?),
                "tar" => tar = yes()?,
                "push" => output.push = yes()?,
                _ => return Err(format!("unknown key {key:?}: want type, dest, tar, name, push")),
            }
        }
        output.kind = match (kind, dest) {
            (Some("local"), Some("-") | None) => return Err("type=local needs dest=DIR".into()),
            (Some("local"), _) => Kind::Local,
            (Some("tar"), _) => Kind::Tar,
            (Some("oci"), Some("-") | None) if !tar => return Err("tar=false needs dest=DIR".into()),
            (Some("oci"), _) if !tar => Kind::Layout,
            (Some("oci"), _) => Kind::Oci,
            (Some("image"), _) | (Some("docker"), None) => Kind::Image,
            (Some("registry"), _) => {
                output.push = true;
                Kind::Image
            }
            (Some("docker"), _) => Kind::Docker,
            (Some("cacheonly"), _) => Kind::Nothing,
            (Some(other), _) => {
                return Err(format!("unknown type {other:?}: want local, tar, oci, docker, image, registry"));
            }
            (None, _) => return Err("type is required".into()),
        };
        output.dest = dest.and_then(to);
        Ok(output)
    }
}

fn to(text: &str) -> Option<PathBuf> {
    (text != "-").then(|| text.into())
}

impl Output {
    /// `--push`
    pub fn registry() -> Self {
        Self { push: true, ..Self::store() }
    }

    /// `--load`
    pub fn store() -> Self {
        Self { kind: Kind::Image, dest: None, names: Vec::new(), push: false }
    }

    /// What cannot hold an image for several platforms, in BuildKit's words.
    pub fn takes(&self, platforms: usize) -> Result<(), String> {
        match self.kind {
            Kind::Docker if platforms > 1 => {
                Err("docker exporter does not currently support exporting manifest lists".into())
            }
            Kind::Tar if platforms > 1 => Err("type=tar is for one platform: want type=local".into()),
            _ => Ok(()),
        }
    }

    /// Whether the image gets its names in the store.
    pub fn is_image(&self) -> bool {
        self.kind == Kind::Image
    }

    /// Whether stdout is for its bytes.
    pub fn is_stdout(&self) -> bool {
        self.dest.is_none() && matches!(self.kind, Kind::Tar | Kind::Docker | Kind::Oci)
    }

    /// Runs the pipeline for an image that is in the store.
    pub fn deliver(
        &self,
        siblings: &Siblings,
        image: &Record,
        names: &[Reference],
        platforms: &[Platform],
    ) -> anyhow::Result<()> {
        let mut unpack = siblings.on_layout("img-unpack");
        unpack.arg("--tar");
        match (self.kind, &self.dest) {
            (Kind::Image, _) if self.push => names.iter().chain(&self.names).try_for_each(|name| {
                let mut push = siblings.on_layout("img-push");
                finish(push.arg("--").arg(name.to_string()).stdout(Stdio::null()), None)
            }),
            (Kind::Image | Kind::Nothing, _) => Ok(()),
            (Kind::Local, Some(dir)) if platforms.len() > 1 => platforms.iter().try_for_each(|platform| {
                let mut unpack = siblings.on_layout("img-unpack");
                unpack.args(["--tar", "--platform"]).arg(platform.to_string());
                let dir = dir.join(platform.to_string().replace('/', "_"));
                local(&mut unpack, image, &dir).with_context(|| dir.display().to_string())
            }),
            (Kind::Local, Some(dir)) => local(&mut unpack, image, dir).with_context(|| dir.display().to_string()),
            (Kind::Tar, Some(file)) => to_file(&mut unpack, image, file).with_context(|| file.display().to_string()),
            (Kind::Tar, None) => finish(&mut unpack, Some(image)),
            (Kind::Layout, Some(dir)) => layout(siblings, image, names, dir, platforms.len() > 1),
            (kind, dest) => {
                let format = if kind == Kind::Oci { "oci" } else { "docker" };
                let mut save = save(siblings, format, names, platforms.len() > 1);
                if let Some(file) = dest {
                    save.arg("--output").arg(file);
                }
                finish(&mut save, Some(image))
            }
        }
    }
}

fn save(siblings: &Siblings, format: &str, names: &[Reference], several: bool) -> Command {
    let mut save = siblings.on_layout("img-save");
    save.args(["--format", format]);
    if several {
        save.arg("--all-platforms");
    }
    for name in names {
        save.arg("--tag").arg(name.to_string());
    }
    save
}

/// Files belong to the caller and replace what has their name, as with docker.
fn local(unpack: &mut Command, image: &Record, dir: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(dir)?;
    let root = File::open(dir)?;
    let options = Options { owners: Owners::Mine, target: Target::Tree, umask_is_zero: false, selinux: false };
    piped(unpack, image, |tar| {
        layer_tar::apply(tar, root.as_fd(), &options)?;
        Ok(())
    })
}

/// The old file, or the whole new one.
fn to_file(unpack: &mut Command, image: &Record, file: &Path) -> anyhow::Result<()> {
    if file.metadata().is_ok_and(|there| !there.is_file()) {
        return finish(unpack.stdout(File::options().write(true).open(file)?), Some(image));
    }
    let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let temp = tempfile::Builder::new().prefix(".dfile-build-").tempfile_in(dir)?;
    finish(unpack.stdout(temp.as_file().try_clone()?), Some(image))?;
    temp.as_file().sync_all()?;
    temp.persist(file)?;
    Ok(())
}

fn layout(siblings: &Siblings, image: &Record, names: &[Reference], dir: &Path, several: bool) -> anyhow::Result<()> {
    let mut load = siblings.command("img-load");
    load.arg("--force").arg("--layout").arg(dir).stdout(Stdio::null());
    if several {
        load.arg("--all-platforms");
    }
    piped(&mut save(siblings, "oci", names, several), image, |archive| {
        let mut child = load.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().context("img-load: execve")?;
        let mut pipe = child.stdin.take().context("img-load: no stdin")?;
        let copied = std::io::copy(archive, &mut pipe);
        drop(pipe);
        siblings::check("img-load", &child.wait_with_output()?)?;
        copied?;
        Ok(())
    })
}

/// Gives a tool the record, and `read` what it prints.
fn piped(
    command: &mut Command,
    image: &Record,
    read: impl FnOnce(&mut std::process::ChildStdout) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let name = siblings::name_of(command);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    writeln!(child.stdin.take().context("no stdin")?, "{}", image.to_line())?;
    let mut stdout = child.stdout.take().context("no stdout")?;
    let done = read(&mut stdout);
    drop(stdout);
    siblings::check(&name, &child.wait_with_output()?)?;
    done
}

/// Runs a tool whose stdout goes where it should already.
fn finish(command: &mut Command, image: Option<&Record>) -> anyhow::Result<()> {
    let name = siblings::name_of(command);
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().with_context(|| name.clone())?;
    let mut pipe = child.stdin.take().context("no stdin")?;
    if let Some(image) = image {
        writeln!(pipe, "{}", image.to_line())?;
    }
    drop(pipe);
    siblings::check(&name, &child.wait_with_output()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dockers_words() {
        for (text, kind, dest, stdout) in [
            ("out", Kind::Local, Some("out"), false),
            ("-", Kind::Tar, None, true),
            ("type=local,dest=a b", Kind::Local, Some("a b"), false),
            ("type=tar,dest=-", Kind::Tar, None, true),
            ("type=tar", Kind::Tar, None, true),
            ("type=oci,dest=x", Kind::Oci, Some("x"), false),
            ("type=oci,tar=false,dest=x", Kind::Layout, Some("x"), false),
            ("type=docker", Kind::Image, None, false),
            ("type=docker,dest=-", Kind::Docker, None, true),
            ("type=image,name=a,push=true", Kind::Image, None, false),
            ("dest=x,TYPE=cacheonly", Kind::Nothing, Some("x"), false),
        ] {
            let output: Output = text.parse().unwrap();
            assert_eq!(
                (output.kind, output.dest.as_deref(), output.is_stdout()),
                (kind, dest.map(Path::new), stdout),
                "{text}"
            );
        }
        for text in [
            "type=local",
            "type=local,dest=-",
            "type=oci,tar=false",
            "dest=x",
            "type=x",
            "type=tar,x=y",
            "type=tar,dest",
        ] {
            assert!(text.parse::<Output>().is_err(), "{text}");
        }
    }
}

//! Where a build takes its files from: a directory, a tar or a bare Dockerfile on stdin, a git repository; and the
//! named contexts of `--build-context`. What comes as a stream is unpacked to a directory of this build, by the walker
//! that unpacks layers: the archive is as hostile as any.

use crate::archive;
use crate::git::{self, Repository};
use crate::scratch::Scratch;
use crate::siblings::{self, Siblings};
use crate::source::Root;
use anyhow::{Context, bail};
use dockerfile::Ignore;
use layer_tar::{Options, Owners, Target};
use oci_layout::{Layout, OpenImage};
use rustix::fd::AsFd;
use std::fs::{self, File};
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use wire::Platform;

/// A place of files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    Directory(PathBuf),
    Stdin,
    Url(String),
    Git(Repository),
}

/// What `--build-context NAME=` stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// `docker-image://`
    Image(String),
    /// `oci-layout://`, and what in it: a name, a digest, or the only one.
    Layout {
        dir: PathBuf,
        image: Option<String>,
    },
    Place(Place),
}

/// A place that was looked at.
#[derive(Debug)]
pub struct Opened {
    pub root: Root,
    /// Stdin was a Dockerfile, and there are no files.
    pub dockerfile: Option<Vec<u8>>,
    /// Of a commit: no file is newer.
    pub made: Option<i64>,
}

impl Place {
    /// What the operand of a build names.
    pub fn of(text: &Path) -> Self {
        match text.to_str() {
            Some("-") => Self::Stdin,
            Some(word) => match Repository::of(word) {
                Some(repository) => Self::Git(repository),
                None if word.starts_with("http://") || word.starts_with("https://") => Self::Url(word.to_owned()),
                None => Self::Directory(text.to_owned()),
            },
            None => Self::Directory(text.to_owned()),
        }
    }
}

impl FromStr for Named {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        if let Some(image) = text.strip_prefix("docker-image://") {
            return Ok(Self::Image(image.to_owned()));
        }
        if let Some(rest) = text.strip_prefix("oci-layout://") {
            let (dir, image) = match rest.split_once('@') {
                Some((dir, digest)) => (dir, Some(digest)),
                None => match rest.rsplit_once(':') {
                    Some((dir, tag)) if !tag.contains('/') => (dir, Some(tag)),
                    _ => (rest, None),
                },
            };
            return Ok(Self::Layout { dir: dir.into(), image: image.map(Into::into) });
        }
        match Place::of(Path::new(text)) {
            Place::Stdin => bail!("stdin is for the context itself"),
            place => Ok(Self::Place(place)),
        }
    }
}

impl Opened {
    /// A text of the context itself.
    pub fn text(&self, path: &str) -> anyhow::Result<Option<Vec<u8>>> {
        self.root.text(path, dockerfile::LONGEST)
    }

    /// What is left out: by the `.dockerignore` of the Dockerfile (`NAME.dockerignore`), else of the context.
    pub fn ignore(&self, of_dockerfile: Option<&str>) -> anyhow::Result<Ignore> {
        for path in of_dockerfile.into_iter().chain([".dockerignore"]) {
            if let Some(text) = self.text(path)? {
                let text = String::from_utf8(text).with_context(|| path.to_owned())?;
                return Ignore::parse(&text).with_context(|| path.to_owned());
            }
        }
        Ok(Ignore::default())
    }
}

/// Fetches and unpacks what has to be.
pub fn open(place: &Place, keep_git_dir: bool, scratch: &Scratch, siblings: &Siblings) -> anyhow::Result<Opened> {
    let tree = |path: &Path| Root::open(path, Ignore::default(), false);
    match place {
        Place::Directory(path) => Ok(Opened { root: tree(path)?, dockerfile: None, made: None }),
        Place::Stdin => stream(std::io::stdin(), scratch).context("<stdin>"),
        Place::Url(url) => {
            let file = fetch(url, None, "context", scratch, siblings)?;
            stream(File::open(&file)?, scratch).with_context(|| url.clone())
        }
        Place::Git(repository) => {
            let dir = scratch.path()?;
            let commit = git::fetch(repository, &dir, keep_git_dir, siblings)?;
            let root = match repository.directory.as_str() {
                "" => tree(&dir)?,
                below => tree(&dir)?.directory(below).with_context(|| repository.url.clone())?,
            };
            Ok(Opened { root, dockerfile: None, made: Some(commit.time) })
        }
    }
}

/// A file from the web, in a directory of its own. The tool that speaks TLS is a sibling.
pub fn fetch(
    url: &str,
    checksum: Option<&str>,
    name: &str,
    scratch: &Scratch,
    siblings: &Siblings,
) -> anyhow::Result<PathBuf> {
    let dir = scratch.path()?;
    fs::create_dir(&dir).with_context(|| dir.display().to_string())?;
    let file = dir.join(name);
    let mut get = siblings.command("url-get");
    if let Some(checksum) = checksum {
        get.arg("--checksum").arg(checksum);
    }
    let output = get.arg("--output").arg(&file).arg("--").arg(url).output().context("url-get: execve")?;
    siblings::check("url-get", &output)?;
    Ok(file)
}

/// A tar in any compression, else the Dockerfile itself.
fn stream(from: impl Read + Send, scratch: &Scratch) -> anyhow::Result<Opened> {
    let dir = scratch.path()?;
    fs::create_dir(&dir).with_context(|| dir.display().to_string())?;
    let mut plain = archive::plain(from)?;
    let start = archive::head(&mut plain)?;
    if start.is_empty() {
        bail!("empty: want a tar of the context, or a Dockerfile");
    }
    let is_tar = archive::is_header(&start) || start.iter().all(|byte| *byte == 0);
    let mut whole = Cursor::new(start).chain(plain);
    let mut dockerfile = None;
    if is_tar {
        unpack(whole, &dir)?;
    } else {
        let mut text = Vec::new();
        whole.by_ref().take(dockerfile::LONGEST + 1).read_to_end(&mut text)?;
        if text.len() as u64 > dockerfile::LONGEST {
            bail!("neither a tar nor a Dockerfile: longer than {} bytes", dockerfile::LONGEST);
        }
        dockerfile = Some(text);
    }
    Ok(Opened { root: Root::open(&dir, Ignore::default(), false)?, dockerfile, made: None })
}

/// Everything belongs to us: COPY gives the files to root or to whom it says.
fn unpack(tar: impl Read, dir: &Path) -> anyhow::Result<()> {
    let root = File::open(dir)?;
    let options = Options { owners: Owners::Mine, target: Target::Tree, umask_is_zero: false, selinux: false };
    layer_tar::apply(tar, root.as_fd(), &options)?;
    Ok(())
}

/// Copies an image of another layout into ours: every blob is checked on the way.
pub fn bring(
    from: &Layout,
    wanted: Option<&str>,
    to: &Layout,
    platform: Option<&Platform>,
) -> anyhow::Result<OpenImage> {
    let descriptor = match (wanted, from.index()?) {
        (Some(name), _) => from.find(name)?,
        (None, list) if list.len() == 1 => list[0].clone(),
        (None, _) => bail!("{}: holds several images: name one, as in oci-layout://DIR:TAG", from.path().display()),
    };
    let image = from.open_image(&descriptor, platform)?;
    for blob in image.manifest.layers.iter().chain([&image.manifest.config]) {
        if to.has(&blob.digest) == Some(blob.size) {
            continue;
        }
        let mut writer = to.writer_for(blob.digest.algorithm())?;
        let mut reader = from.read(blob)?;
        std::io::copy(&mut reader, &mut writer)?;
        reader.finish()?;
        writer.commit(blob)?;
    }
    to.put_as(&image.descriptor, &image.manifest_bytes)?;
    Ok(to.open_image(&image.descriptor, platform)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_context_names() {
        let layout = |dir: &str, image: Option<&str>| Named::Layout { dir: dir.into(), image: image.map(Into::into) };
        for (text, want) in [
            ("docker-image://alpine:3", Named::Image("alpine:3".into())),
            ("oci-layout://a/b", layout("a/b", None)),
            ("oci-layout:///a:3.1", layout("/a", Some("3.1"))),
            ("oci-layout://x:1/y", layout("x:1/y", None)),
            ("oci-layout://x@sha256:ab", layout("x", Some("sha256:ab"))),
            ("../dir", Named::Place(Place::Directory("../dir".into()))),
        ] {
            assert_eq!(text.parse::<Named>().unwrap(), want, "{text}");
        }
        assert!("-".parse::<Named>().is_err());
        assert!(matches!(Place::of(Path::new("https://h/r.git#b:d")), Place::Git(_)));
    }
}

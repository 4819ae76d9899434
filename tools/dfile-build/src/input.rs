//! What a build is made from, found and read: the Dockerfile, the context, and what `.dockerignore` leaves out of it.

use crate::args::{Args, Wishes};
use crate::context::{self, Opened, Place};
use crate::scratch::Scratch;
use crate::siblings::Siblings;
use crate::source::Root;
use anyhow::{Context, bail};
use dockerfile::{File, Ignore};
use std::fs;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use toolkit::{WithHint, usage};

/// Of a line that an error is about.
const LONGEST_SHOWN: usize = 200;
/// An error that has so much of the beginning of a line has the line.
const SAME: usize = 30;

/// The Dockerfile and the context.
#[derive(Debug)]
pub struct Input {
    pub text: Vec<u8>,
    pub file: File,
    pub context: Root,
    pub ignore: Ignore,
    /// The time of the commit that the context is.
    pub made: Option<i64>,
}

impl Input {
    pub fn read(wishes: &Wishes, scratch: &Scratch, siblings: &Siblings) -> anyhow::Result<Self> {
        let args = &wishes.args;
        let place = Place::of(&args.context);
        if place == Place::Stdin && args.file.as_deref() == Some(Path::new("-")) {
            return Err(usage("can't use stdin for both build context and dockerfile"));
        }
        let mut opened = context::open(&place, wishes.builtin.keep_git_dir, scratch, siblings)?;
        let (name, text) = read_dockerfile(args, &place, &mut opened)?;
        let file = dockerfile::parse(&text, &name).or_else(|error| named(error, &name));
        let file = with_line(file, &name, &text)?;
        let ignore = match place {
            Place::Directory(_) => read_ignore(args)?,
            _ => opened.ignore(Some(&format!("{name}.dockerignore")))?,
        };
        Ok(Self { text, file, context: opened.root, ignore, made: opened.made })
    }
}

/// The name for messages, and the text.
fn read_dockerfile(args: &Args, place: &Place, opened: &mut Opened) -> anyhow::Result<(String, Vec<u8>)> {
    let mut text = Vec::new();
    let limit = dockerfile::LONGEST;
    let name = match (&args.file, place, opened.dockerfile.take()) {
        (Some(path), ..) if path == Path::new("-") => {
            std::io::stdin().take(limit).read_to_end(&mut text).context("<stdin>")?;
            "<stdin>".to_owned()
        }
        (None, _, Some(whole)) => return Ok(("<stdin>".into(), whole)),
        (given, Place::Directory(_), _) => {
            let path = given.clone().unwrap_or_else(|| args.context.join("Dockerfile"));
            let shown = given.as_ref().map_or_else(|| "Dockerfile".into(), |path| path.display().to_string());
            // A FIFO that somebody names has somebody who writes.
            let open = if given.is_some() { fs::File::open(&path) } else { open_file(&path) };
            let file = open.with_context(|| format!("{}: open", path.display()))?;
            file.take(limit).read_to_end(&mut text).with_context(|| format!("{}: read", path.display()))?;
            shown
        }
        (given, ..) => {
            let name = given.as_ref().map_or_else(|| "Dockerfile".into(), |path| path.display().to_string());
            text = opened.text(&name)?.with_context(|| format!("{name}: not found in the context"))?;
            name
        }
    };
    if text.len() as u64 >= limit {
        bail!("{name}: longer than {limit} bytes");
    }
    Ok((name, text))
}

/// An error that is about a line shows it, where its words do not have it already.
pub fn with_line<T>(result: anyhow::Result<T>, name: &str, text: &[u8]) -> anyhow::Result<T> {
    let error = match result {
        Ok(done) => return Ok(done),
        Err(error) => error,
    };
    let message = format!("{error:#}");
    let rest = message.strip_prefix(name).and_then(|rest| rest.strip_prefix(':')).unwrap_or_default();
    let number: Option<usize> = rest.split(':').next().and_then(|number| number.parse().ok());
    let text = String::from_utf8_lossy(text);
    let line = number.and_then(|number| text.lines().nth(number.checked_sub(1)?));
    let shown: String =
        line.unwrap_or_default().trim().chars().filter(|c| !c.is_control()).take(LONGEST_SHOWN).collect();
    let start: String = shown.trim_end_matches(['\\', '`', ' ']).chars().take(SAME).collect();
    if rest.contains(&start) { Err(error) } else { Err(error).hint(|| format!("that line is: {shown}")) }
}

/// A file of the context, or a directory, which cannot be read: a FIFO there would keep the build waiting for ever.
fn open_file(path: &Path) -> std::io::Result<fs::File> {
    let kind = fs::metadata(path)?.file_type();
    if kind.is_file() || kind.is_dir() {
        fs::File::open(path)
    } else {
        Err(std::io::Error::other("not a regular file"))
    }
}

/// An error without a line still says which file.
fn named<T>(error: anyhow::Error, name: &str) -> anyhow::Result<T> {
    if error.to_string().starts_with(name) { Err(error) } else { Err(error.context(name.to_owned())) }
}

/// `<Dockerfile>.dockerignore` beats `.dockerignore` of the context.
fn read_ignore(args: &Args) -> anyhow::Result<Ignore> {
    let file = args.file.clone().unwrap_or_else(|| args.context.join("Dockerfile"));
    let mut own = file.into_os_string();
    own.push(".dockerignore");
    for path in [PathBuf::from(own), args.context.join(".dockerignore")] {
        match open_file(&path).and_then(std::io::read_to_string) {
            Ok(text) => return Ignore::parse(&text).with_context(|| path.display().to_string()),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("{}: read", path.display())),
        }
    }
    Ok(Ignore::default())
}

//! The other tools, run as processes from the directory of our own executable. Their one-line errors become
//! ours; their environment is a short list, so that nothing of the caller's reaches a build by accident.

use anyhow::{Context, bail};
use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use wire::Record;

/// What a tool may see of our environment: places, the time of a reproducible build, the way to a registry.
const PASSED: [&str; 23] = [
    "PATH",
    "HOME",
    "TMPDIR",
    "XDG_RUNTIME_DIR",
    "XDG_DATA_HOME",
    "SOURCE_DATE_EPOCH",
    "XDG_CONFIG_HOME",
    "DOCKER_CONFIG",
    "DOCKER_AUTH_CONFIG",
    "REGISTRY_AUTH_FILE",
    "DOCK_CERTS",
    "DOCK_MIRRORS",
    "DOCK_REGISTRY_TIMEOUT",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "ALL_PROXY",
    "all_proxy",
];

/// Where the tools are and where they work.
#[derive(Debug)]
pub struct Siblings {
    directory: PathBuf,
    root: PathBuf,
    pub layout: PathBuf,
    /// No time in the image is later.
    pub epoch: Option<i64>,
}

impl Siblings {
    pub fn new(root: PathBuf, layout: PathBuf, epoch: Option<i64>) -> anyhow::Result<Self> {
        let own = std::env::current_exe().context("/proc/self/exe: readlink")?;
        let directory = own.parent().unwrap_or(Path::new("/")).to_owned();
        Ok(Self { directory, root, layout, epoch })
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What others may see of our environment.
    #[expect(clippy::unused_self, reason = "whoever starts programs has them")]
    pub fn passed(&self) -> impl Iterator<Item = (OsString, OsString)> {
        PASSED.iter().filter_map(|key| Some((OsString::from(key), std::env::var_os(key)?)))
    }

    /// What somebody has to type to run a tool: its name alone where the shell finds it.
    pub fn as_typed(&self, name: &str) -> PathBuf {
        let own = self.directory.join(name);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file());
        let same = |file: &PathBuf| file.canonicalize().ok() == own.canonicalize().ok();
        if found.as_ref().is_some_and(same) { name.into() } else { own }
    }

    /// A tool that is about to be run.
    pub fn command(&self, name: &str) -> Command {
        let mut command = Command::new(self.directory.join(name));
        // As they are for us: in a user namespace of ours others take themselves for root.
        command.env_clear().env("DOCK_ROOT", &self.root).env("DOCK_RUN", toolkit::run_dir()).stdin(Stdio::null());
        command.envs(self.passed());
        match self.epoch {
            Some(epoch) => command.env("SOURCE_DATE_EPOCH", epoch.to_string()),
            // --build-arg SOURCE_DATE_EPOCH= says that there is none.
            None => command.env_remove("SOURCE_DATE_EPOCH"),
        };
        command
    }

    /// The same, with `--layout`.
    pub fn on_layout(&self, name: &str) -> Command {
        let mut command = self.command(name);
        command.arg("--layout").arg(&self.layout);
        command
    }
}

/// Runs a tool to its end with `input` on stdin; the answer is the record that it prints.
pub fn transform(command: &mut Command, input: Option<&Record>) -> anyhow::Result<Record> {
    let child = start(command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() }))?;
    let name = name_of(command);
    feed(child, &name, |pipe| match input {
        Some(record) => Ok(writeln!(pipe, "{}", record.to_line())?),
        None => Ok(()),
    })
}

/// Runs a tool whose stdin `write` fills.
pub fn fed(command: &mut Command, write: impl FnOnce(&mut dyn Write) -> anyhow::Result<()>) -> anyhow::Result<Record> {
    let child = start(command.stdin(Stdio::piped()))?;
    feed(child, &name_of(command), |pipe| write(pipe))
}

fn start(command: &mut Command) -> anyhow::Result<Child> {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().with_context(|| format!("{}: execve", Path::new(command.get_program()).display()))
}

pub fn name_of(command: &Command) -> String {
    Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn feed(
    mut child: Child,
    name: &str,
    write: impl FnOnce(&mut dyn Write) -> anyhow::Result<()>,
) -> anyhow::Result<Record> {
    let written = match child.stdin.take() {
        Some(pipe) => {
            toolkit::widen_pipe(&pipe);
            let mut pipe = std::io::BufWriter::with_capacity(256 * 1024, pipe);
            let written = write(&mut pipe).and_then(|()| Ok(pipe.flush()?));
            if written.is_err() {
                // Half a stream must not look like a whole one: the reader goes before its end comes.
                let _ = child.kill();
            }
            drop(pipe.into_parts());
            written
        }
        None => Ok(()),
    };
    let output = child.wait_with_output()?;
    match written {
        // A reader that went away says better why than the broken pipe does.
        Err(error) if is_broken_pipe(&error) && !output.stderr.is_empty() => {}
        other => other?,
    }
    record(name, &output)
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|cause| cause.kind() == std::io::ErrorKind::BrokenPipe)
}

fn record(name: &str, output: &Output) -> anyhow::Result<Record> {
    check(name, output)?;
    let text = String::from_utf8(output.stdout.clone()).with_context(|| format!("{name}: <stdout>"))?;
    let line = text.lines().next().with_context(|| format!("{name} printed no record"))?;
    Record::parse(line).with_context(|| format!("{name}: <stdout>"))
}

/// The tool's own error line.
pub fn check(name: &str, output: &Output) -> anyhow::Result<()> {
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let line = text.lines().rfind(|line| !line.starts_with("hint: ") && !line.starts_with("Try '"));
    match line {
        Some(line) => bail!("{line}"),
        None => bail!("{name}: {}", output.status),
    }
}

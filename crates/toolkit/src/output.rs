//! What a tool writes to stdout, checked to its last byte: a pipe must not lose its end silently.

use crate::usage;
use clap::ValueEnum;
use std::io::{self, BufWriter, IsTerminal, Stdout, Write};
use wire::Record;

/// The one way to stdout. Rust loses data silently when a buffered stdout is dropped on a full disk, so every
/// tool ends in [`Out::finish`].
#[derive(Debug)]
pub struct Out {
    to: BufWriter<Stdout>,
    carries_bytes: bool,
}

/// What a tool prints that stands behind a command of docker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One record a line.
    Json,
    /// Docker's own lines.
    Docker,
}

/// Wraps an error of writing to stdout, so that it is told from other errors.
#[derive(Debug, thiserror::Error)]
#[error("<stdout>: {0}")]
struct StdoutError(io::Error);

impl Out {
    pub(crate) fn stdout() -> Self {
        Self { to: BufWriter::with_capacity(64 * 1024, io::stdout()), carries_bytes: false }
    }

    /// Prints one record at once: what it names is in place, and the next tool may start.
    pub fn record(&mut self, record: &Record) -> anyhow::Result<()> {
        self.text(&record.to_line())?;
        self.text("\n")?;
        self.finish()
    }

    /// Prints text as it is.
    pub fn text(&mut self, text: &str) -> anyhow::Result<()> {
        self.to.write_all(text.as_bytes()).map_err(|error| StdoutError(error).into())
    }

    /// The stream for tar bytes. From here on a closed pipe is an error: the copy is not complete.
    pub fn bytes(&mut self) -> &mut (impl Write + Send + use<>) {
        self.carries_bytes = true;
        &mut self.to
    }

    /// Flushes. Every tool ends here; an error is exit code 1.
    pub fn finish(&mut self) -> anyhow::Result<()> {
        match self.to.flush() {
            Err(error) if self.carries_bytes => Err(anyhow::Error::new(error).context("<stdout>")),
            other => other.map_err(|error| StdoutError(error).into()),
        }
    }
}

/// Lists end quietly when `head` has seen enough; errors of tar streams are not [`StdoutError`]s.
pub(crate) fn reader_went_away(error: &anyhow::Error) -> bool {
    error.downcast_ref::<StdoutError>().is_some_and(|error| error.0.kind() == io::ErrorKind::BrokenPipe)
}

/// Tar is never written to a terminal.
pub fn refuse_terminal(what: &str) -> anyhow::Result<()> {
    if io::stdout().is_terminal() {
        return Err(usage(format!("refusing to write {what} to a terminal: redirect stdout, or name a file with -o")));
    }
    Ok(())
}

/// How many columns the terminal has that stderr is; None where it is none, or cannot move its cursor.
pub fn terminal_width() -> Option<usize> {
    let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    let size = rustix::termios::tcgetwinsize(io::stderr()).ok().filter(|_| !dumb)?;
    Some(if size.ws_col == 0 { 80 } else { size.ws_col.into() })
}

/// A pipe holds 64 KiB by default; a layer passes 1 MiB pipes with a quarter of the task switches. Fails
/// quietly: it is an optimisation, and the descriptor may be a file.
pub fn widen_pipe(fd: impl rustix::fd::AsFd) {
    let _ = rustix::pipe::fcntl_setpipe_size(fd, 1 << 20);
}

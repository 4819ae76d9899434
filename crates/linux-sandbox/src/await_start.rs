//! fifo(7): a container that is made and does not run yet. Its process has done everything but the exec, and reads
//! from a FIFO until somebody writes a byte: the operation "start" of the OCI runtime specification.

use crate::error::{Call, Result};
use crate::exec::{Exec, look_up};
use crate::steps::{Mechanism, Scene, quote};
use rustix::fd::OwnedFd;
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat, open};
use rustix::io::{Errno, read, write};
use serde::Serialize;
use std::ffi::CString;
use std::path::{Path, PathBuf};

/// Reports that all is ready, and waits for the start. A command that is not there is an error now already.
#[derive(Debug, Serialize)]
pub struct AwaitStart {
    /// The FIFO, on the host.
    pub fifo: PathBuf,
    #[serde(skip)]
    descriptor: Option<OwnedFd>,
    #[serde(skip)]
    command: String,
    #[serde(skip)]
    candidates: Vec<CString>,
}

impl AwaitStart {
    /// Makes the FIFO and opens it for both directions, so that neither the opening nor the absence of a writer
    /// ends the waiting.
    pub fn new(fifo: &Path, exec: &Exec) -> std::result::Result<Self, crate::Error> {
        mknodat(CWD, fifo, FileType::Fifo, Mode::from_raw_mode(0o600), 0).call(|| format!("mkfifo({fifo:?})"))?;
        let descriptor =
            open(fifo, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).call(|| format!("open({fifo:?})"))?;
        let command = exec.args.first().cloned().unwrap_or_default();
        Ok(Self { fifo: fifo.into(), descriptor: Some(descriptor), command, candidates: exec.candidates() })
    }
}

impl Mechanism for AwaitStart {
    fn shell(&self) -> String {
        format!("read -r _ <{}", quote(&self.fifo.to_string_lossy()))
    }

    fn run(&self, scene: &mut Scene) -> Result<()> {
        look_up(&self.command, &self.candidates)?;
        // The parent reads the end of this pipe as "all is well".
        scene.report = None;
        let Some(fifo) = &self.descriptor else { return Ok(()) };
        while let Err(Errno::INTR) = read(fifo, &mut [0]) {}
        Ok(())
    }
}

/// Lets a process that waits at `fifo` go on. False: nobody waits there.
pub fn start(fifo: &Path) -> std::result::Result<bool, crate::Error> {
    let line = || format!("open({fifo:?})");
    let fifo = match open(fifo, OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty()) {
        Err(Errno::NXIO | Errno::NOENT) => return Ok(false),
        other => other.call(line)?,
    };
    write(&fifo, b"\n").call(line).map(|_| true)
}

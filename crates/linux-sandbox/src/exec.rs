//! The last steps: where the process stands, and the exec that replaces us.

use crate::born_last;
use crate::error::{Call, Error, Result, cause};
use crate::steps::{Mechanism, Scene, in_rootfs, quote};
use crate::sys;
use crate::walk::{self, Links};
use rustix::fs::{Access, AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, accessat, openat2, statat};
use rustix::io::Errno;
use rustix::process::{fchdir, getcwd};
use serde::Serialize;
use std::ffi::CString;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Makes the working directory where the image has none, as docker does.
#[derive(Debug, Serialize)]
pub struct MakeWorkDir {
    /// Below the root.
    pub path: PathBuf,
}

impl Mechanism for MakeWorkDir {
    fn shell(&self) -> String {
        format!("mkdir -p {}", in_rootfs(&self.path))
    }

    fn run(&self, scene: &mut Scene) -> Result<()> {
        walk::make_dirs(scene.root()?, &self.path, Links::InRoot).map(drop)
    }
}

/// `chdir(2)`, and a look at where that led: `/proc/self/fd/7` of an image once led out (CVE-2024-21626).
#[derive(Debug, Serialize)]
pub struct WorkDir {
    /// As the process will see it.
    pub path: PathBuf,
}

impl Mechanism for WorkDir {
    fn shell(&self) -> String {
        format!("cd {}", quote(&self.path.to_string_lossy()))
    }

    fn run(&self, _: &mut Scene) -> Result<()> {
        let line = || format!("chdir({:?})", self.path);
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = openat2(CWD, &self.path, flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS).call(line)?;
        fchdir(&dir).call(line)?;
        // The kernel puts "(unreachable)" before a path that is not below the root.
        let now = getcwd(Vec::new()).call(|| "getcwd()".into())?;
        if now.as_bytes().first() != Some(&b'/') {
            return Err(Error::refused(format!("chdir({:?}): leads out of the container", self.path)));
        }
        Ok(())
    }
}

/// `execve(2)` of the command, found in the container's own PATH.
#[derive(Debug, Serialize)]
pub struct Exec {
    /// The command and its arguments.
    pub args: Vec<String>,
    /// The whole environment.
    pub env: Vec<String>,
    /// Descriptors from 3 on that the command keeps.
    #[serde(skip_serializing_if = "is_zero")]
    pub keep: u32,
    /// The process that executes it is born for that alone (`born_last.rs`).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub born_last: bool,
    #[serde(skip)]
    ready: Ready,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// What must be asked before a filter of system calls may forbid the asking: every descriptor of ours closes at
/// the exec, and the command is not our own program.
#[derive(Debug, Serialize)]
pub struct Look {
    /// The command, as it was given.
    pub command: String,
    /// As [`Exec::keep`].
    #[serde(skip_serializing_if = "is_zero")]
    pub keep: u32,
    #[serde(skip)]
    candidates: Vec<CString>,
}

impl Look {
    fn take(candidates: &[CString], keep: u32, scene: &mut Scene) -> Result<()> {
        let first = keep.saturating_add(3);
        sys::close_on_exec_from(first).call(|| format!("close_range({first}, ~0, CLOSE_RANGE_CLOEXEC)"))?;
        candidates.iter().try_for_each(|candidate| refuse_ourselves(scene, &candidate.to_string_lossy()))?;
        scene.looked = true;
        Ok(())
    }
}

impl Mechanism for Look {
    fn shell(&self) -> String {
        format!("exec 3>&- 4>&- 5>&- && command -v {}", quote(&self.command))
    }

    fn run(&self, scene: &mut Scene) -> Result<()> {
        Self::take(&self.candidates, self.keep, scene)
    }
}

/// Everything as C strings, made before the clone.
#[derive(Debug, Default)]
struct Ready {
    candidates: Vec<CString>,
    args: Vec<CString>,
    env: Vec<CString>,
}

const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

impl Exec {
    /// Prepares the call.
    pub fn new(args: Vec<String>, env: Vec<String>) -> std::result::Result<Self, Error> {
        let strings = |list: &[String]| {
            let list = list.iter().map(|text| CString::new(text.as_str()));
            list.collect::<std::result::Result<Vec<_>, _>>()
                .map_err(|_| Error::refused("exec: an argument contains NUL"))
        };
        let Some(command) = args.first().filter(|command| !command.is_empty()) else {
            return Err(Error::refused("exec: no command: neither the image nor the command line names one"));
        };
        let path = env.iter().rev().find_map(|entry| entry.strip_prefix("PATH=")).unwrap_or(DEFAULT_PATH);
        let candidates: Vec<String> = if command.contains('/') {
            vec![command.clone()]
        } else {
            path.split(':').map(|dir| format!("{}/{command}", if dir.is_empty() { "." } else { dir })).collect()
        };
        let ready = Ready { candidates: strings(&candidates)?, args: strings(&args)?, env: strings(&env)? };
        Ok(Self { args, env, keep: 0, born_last: false, ready })
    }

    /// The command keeps `count` descriptors from 3 on, as systemd and podman hand sockets on.
    #[must_use]
    pub fn keeping(mut self, count: u32) -> Self {
        self.keep = count;
        self
    }

    /// The process that executes it is born for that alone, in the PID namespace that was entered for its children.
    #[must_use]
    pub fn born_last(mut self, yes: bool) -> Self {
        self.born_last = yes;
        self
    }

    /// The step that goes before a filter.
    pub fn look(&self) -> Look {
        Look { command: self.command().into(), keep: self.keep, candidates: self.ready.candidates.clone() }
    }

    pub(crate) fn candidates(&self) -> Vec<CString> {
        self.ready.candidates.clone()
    }

    fn command(&self) -> &str {
        self.args.first().map_or("", String::as_str)
    }

    fn try_all(&self) -> Error {
        let mut found: Option<Error> = None;
        for candidate in &self.ready.candidates {
            let path = candidate.to_string_lossy();
            let errno = sys::execve(candidate, &self.ready.args, &self.ready.env);
            match (errno, diagnose(&path, errno)) {
                (_, Some(message)) => {
                    let code = if errno == Errno::NOENT && self.command().contains('/') { 127 } else { 126 };
                    let error = Error::Exec { code, message: format!("{path}: {message}") };
                    // As a shell: what is there but cannot be executed is remembered, and the search goes on.
                    if errno != Errno::ACCESS {
                        return error;
                    }
                    found.get_or_insert(error);
                }
                (Errno::NOENT | Errno::NOTDIR, None) => {}
                (errno, None) => {
                    found.get_or_insert(Error::Exec {
                        code: 126,
                        message: format!("{path}: {}", cause(errno.raw_os_error())),
                    });
                }
            }
        }
        found.unwrap_or_else(|| missing(self.command()))
    }
}

fn missing(command: &str) -> Error {
    let place =
        if command.contains('/') { "no such file in the container" } else { "not found in the container's PATH" };
    Error::Exec { code: 127, message: format!("{command}: {place}") }
}

/// Whether one of the files could be executed, as far as can be told without doing it.
pub(crate) fn look_up(command: &str, candidates: &[CString]) -> Result<()> {
    let mut found = None;
    for candidate in candidates {
        let path = candidate.to_string_lossy();
        let denied = |message: String| Error::Exec { code: 126, message: format!("{path}: {message}") };
        match statat(CWD, &*path, AtFlags::empty()).map(|found| FileType::from_raw_mode(found.st_mode)) {
            Ok(FileType::Directory) => drop(found.get_or_insert(denied("is a directory".into()))),
            Ok(_) => match accessat(CWD, &*path, Access::EXEC_OK, AtFlags::EACCESS) {
                Ok(()) => return Ok(()),
                Err(errno) => {
                    let message = diagnose(&path, errno).unwrap_or_else(|| cause(errno.raw_os_error()));
                    found.get_or_insert(denied(message));
                }
            },
            Err(Errno::ACCESS) => drop(found.get_or_insert(denied(cause(libc::EACCES)))),
            Err(_) => {}
        }
    }
    Err(found.unwrap_or_else(|| missing(command)))
}

impl Mechanism for Exec {
    fn shell(&self) -> String {
        let words = self.env.iter().chain(&self.args).map(|word| quote(word)).collect::<Vec<_>>();
        let line = format!("exec env -i {}", words.join(" "));
        if self.born_last { format!("( {line} )") } else { line }
    }

    /// Returns only when it fails.
    fn run(&self, scene: &mut Scene) -> Result<()> {
        if !scene.looked {
            Look::take(&self.ready.candidates, self.keep, scene)?;
        }
        if self.born_last {
            born_last::go_on_as_child(scene, self.keep.saturating_add(3))?;
            // Before, the container's procfs did not know this process.
            self.ready.candidates.iter().try_for_each(|path| refuse_ourselves(scene, &path.to_string_lossy()))?;
        }
        Err(self.try_all())
    }
}

/// `/proc/self/exe` still is ctr-spawn's own file. A container that could execute it, itself or as the
/// interpreter of a script, would hold a descriptor of a program of the host (CVE-2019-5736). Three things stand
/// against that: this check; the parent executes the same file as long as the container lives, so the kernel
/// answers ETXTBSY to whoever would write to it; and it is static, so nothing of the image is loaded into it.
fn refuse_ourselves(scene: &Scene, path: &str) -> Result<()> {
    let is_ours = |path: &str| {
        statat(CWD, path, AtFlags::empty()).is_ok_and(|found| scene.own_file == Some((found.st_dev, found.st_ino)))
    };
    let interpreter = || head(path).and_then(|head| Some(interpreter_of(&head)?.0));
    if is_ours(path) || interpreter().is_some_and(|path| is_ours(&path)) {
        return Err(Error::Exec {
            code: 126,
            message: format!("{path}: leads to the program that starts the container"),
        });
    }
    Ok(())
}

/// The first bytes of a file, if it is a regular one that we may read.
fn head(path: &str) -> Option<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty()).ok()?;
    let found = rustix::fs::fstat(&file).ok()?;
    if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
        return None;
    }
    let mut head = Vec::with_capacity(4096);
    std::fs::File::from(file).take(4096).read_to_end(&mut head).ok()?;
    Some(head)
}

/// What a file needs to run: the program in its `#!` line, or the loader that its ELF header names.
fn interpreter_of(head: &[u8]) -> Option<(String, &'static str)> {
    if let Some(line) = head.strip_prefix(b"#!") {
        let line = String::from_utf8_lossy(line.split(|byte| *byte == b'\n').next()?).into_owned();
        let word = line.trim_matches([' ', '\t']).split([' ', '\t']).next()?.to_owned();
        return Some((word, "its #! line"));
    }
    // ELF, little endian, of 64 or 32 bits: the program headers, then the one of type PT_INTERP.
    let wide = head.starts_with(b"\x7fELF\x02\x01");
    if !wide && !head.starts_with(b"\x7fELF\x01\x01") {
        return None;
    }
    let number = |at: usize, size: usize| -> Option<usize> {
        let bytes = head.get(at..at.checked_add(size)?)?;
        Some(bytes.iter().rev().fold(0, |value, byte| value << 8 | usize::from(*byte)))
    };
    let (table, size, count) = if wide {
        (number(32, 8)?, number(54, 2)?, number(56, 2)?)
    } else {
        (number(28, 4)?, number(42, 2)?, number(44, 2)?)
    };
    for index in 0..count.min(64) {
        let header = table.checked_add(index * size)?;
        if number(header, 4)? == 3 {
            let (offset, length) = if wide {
                (number(header + 8, 8)?, number(header + 32, 8)?)
            } else {
                (number(header + 4, 4)?, number(header + 16, 4)?)
            };
            let name = head.get(offset..offset.checked_add(length)?)?;
            return Some((String::from_utf8_lossy(name).trim_end_matches('\0').to_owned(), "its loader"));
        }
    }
    None
}

/// Machines of ELF headers, by their number.
const MACHINES: [(u8, &str); 7] =
    [(3, "386"), (21, "ppc64le"), (22, "s390x"), (40, "arm"), (62, "amd64"), (183, "arm64"), (243, "riscv64")];

/// What is really missing, when the kernel says only "No such file" or "Exec format error".
fn diagnose(path: &str, errno: Errno) -> Option<String> {
    let found = statat(CWD, path, AtFlags::empty()).ok()?;
    let kind = FileType::from_raw_mode(found.st_mode);
    match errno {
        Errno::ACCESS if kind == FileType::Directory => Some("is a directory".into()),
        Errno::ACCESS if found.st_mode & 0o111 == 0 => Some("no execute permission (chmod +x)".into()),
        Errno::ACCESS => Some("Permission denied".into()),
        Errno::NOENT => {
            let (wanted, what) = interpreter_of(&head(path)?)?;
            match wanted.strip_suffix('\r') {
                Some(without) => {
                    Some(format!("{what} names {without:?} with a CR behind it: the file has DOS line ends"))
                }
                None => Some(format!("{what} names {wanted}, which is not in the container")),
            }
        }
        Errno::NOEXEC => {
            let head = head(path).unwrap_or_default();
            if !head.starts_with(b"\x7fELF") {
                return Some(
                    if head.is_empty() { "is empty" } else { "neither a program nor a script: it has no #! line" }
                        .into(),
                );
            }
            let machine = head.get(18).and_then(|number| MACHINES.iter().find(|(known, _)| known == number));
            Some(format!(
                "is a program for {}, which this machine cannot run",
                machine.map_or("another machine", |(_, name)| name)
            ))
        }
        _ => None,
    }
}

/// The device and inode of the running program, before anything is isolated.
pub(crate) fn own_file() -> Option<(u64, u64)> {
    let found = statat(CWD, Path::new("/proc/self/exe"), AtFlags::empty()).ok()?;
    Some((found.st_dev, found.st_ino))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_needs() {
        assert_eq!(interpreter_of(b"#! /bin/sh -e\nx"), Some(("/bin/sh".into(), "its #! line")));
        assert_eq!(interpreter_of(b"#!/bin/sh\r\n"), Some(("/bin/sh\r".into(), "its #! line")));
        assert_eq!(interpreter_of(b"text"), None);
        assert_eq!(interpreter_of(b"\x7fELF\x02\x01"), None, "cut short");
        // Of 32 bits: one program header at 52, and behind it what it names.
        let mut narrow =
            [&b"\x7fELF\x01\x01"[..], &[0; 22], &[52, 0, 0, 0], &[0; 10], &[32, 0, 1, 0], &[0; 6]].concat();
        narrow.extend(
            [&[3, 0, 0, 0, 84, 0, 0, 0][..], &[0; 8], &[19, 0, 0, 0], &[0; 12], b"/lib/ld-linux.so.2\0"].concat(),
        );
        assert_eq!(interpreter_of(&narrow), Some(("/lib/ld-linux.so.2".into(), "its loader")));
        assert_eq!(interpreter_of(&narrow[..90]), None, "cut short");
    }

    #[test]
    fn no_command_is_refused() {
        assert!(Exec::new(vec![], vec![]).is_err());
        assert!(Exec::new(vec![String::new()], vec![]).is_err());
        let exec = Exec::new(vec!["a".into()], vec!["PATH=/x::/y".into()]).unwrap();
        assert_eq!(exec.ready.candidates, [c"/x/a".to_owned(), c"./a".to_owned(), c"/y/a".to_owned()]);
    }
}

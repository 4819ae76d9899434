//! `memfd_create(2)`: the program goes on as a copy of itself that nobody can write to.
//!
//! A process that enters a container can be seen there before it has executed the container's command. One who may
//! trace it (`CAP_SYS_PTRACE` in the host's user namespace) reaches the file behind its `/proc/PID/exe`, keeps a
//! descriptor until nobody executes that file any more, and writes to it: the next one who runs the tool runs what
//! the container wrote (CVE-2019-5736). Behind a sealed copy in memory there is nothing to write to.

use crate::error::{Call, Error, Result};
use crate::sys;
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, memfd_create, open, sendfile};
use rustix::io::Errno;
use std::ffi::{CStr, CString, OsString};
use std::os::unix::ffi::OsStringExt;

/// What ps(1) shows of a program that was executed by a descriptor is that descriptor's number: this mends it.
pub fn set_name(name: &CStr) -> std::result::Result<(), Error> {
    rustix::thread::set_name(name).call(|| format!("prctl(PR_SET_NAME, {name:?})"))
}

/// Everything that could change the bytes or take the seals off.
const SEALS: SealFlags = SealFlags::SEAL.union(SealFlags::SHRINK).union(SealFlags::GROW).union(SealFlags::WRITE);

/// Whether this program is a sealed copy already.
pub fn is_sealed() -> bool {
    let own = open("/proc/self/exe", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    own.and_then(fcntl_get_seals).is_ok_and(|seals| seals.contains(SEALS))
}

/// Executes a sealed copy of this program with the arguments and the environment given; returns only when it fails.
/// `name` is what `/proc/PID/exe` shows. The caller must not have read what it cannot read again.
pub fn run_sealed(
    name: &CStr,
    args: impl IntoIterator<Item = OsString>,
    env: impl IntoIterator<Item = (OsString, OsString)>,
) -> std::result::Result<(), Error> {
    let own = open("/proc/self/exe", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .call(|| "open(\"/proc/self/exe\")".into())?;
    let copy = sealed_copy(name, &own)?;
    let text = |word: OsString| CString::new(word.into_vec()).map_err(|_| Error::refused("exec: a word contains NUL"));
    let args = args.into_iter().map(text).collect::<Result<Vec<_>>>()?;
    let mut variables = Vec::new();
    for (mut variable, value) in env {
        variable.push("=");
        variable.push(value);
        variables.push(text(variable)?);
    }
    let path = CString::new(format!("/proc/self/fd/{}", copy.as_raw_fd())).unwrap_or_default();
    Err(sys::execve(&path, &args, &variables)).call(|| format!("execve({path:?}): <sealed copy of {name:?}>"))
}

fn sealed_copy(name: &CStr, own: &OwnedFd) -> Result<OwnedFd> {
    let line = || format!("memfd_create({name:?})");
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let copy = match memfd_create(name, flags | MemfdFlags::EXEC) {
        // Linux 6.3 brought the flag; before, every one could be executed.
        Err(Errno::INVAL) => memfd_create(name, flags),
        other => other,
    }
    .call(line)?;
    while sendfile(&copy, own, None, 1 << 30).call(|| "sendfile(<copy>, \"/proc/self/exe\")".into())? > 0 {}
    fcntl_add_seals(&copy, SEALS).call(|| "fcntl(<copy>, F_ADD_SEALS)".into())?;
    Ok(copy)
}

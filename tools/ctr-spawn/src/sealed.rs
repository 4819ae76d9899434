//! This program as a copy that nobody can write to, where processes of a container look on before it is theirs
//! (CVE-2019-5736).

use crate::Args;
use crate::config::Config;
use anyhow::Context;
use std::ffi::OsString;
use std::path::Path;
use wire::Bundle;

/// In a PID namespace that is there already, its processes see the new one before it has executed its command.
pub fn others_look_on(config: &Config) -> bool {
    let joined =
        |kind: &str, path: Option<&Path>| kind == "pid" && path.is_some_and(|path| !path.as_os_str().is_empty());
    let mut namespaces = config.linux.namespaces.iter();
    rustix::process::geteuid().is_root() && namespaces.any(|one| joined(&one.kind, one.path.as_deref().map(Path::new)))
}

/// Once more from the start, as a copy of this program that nobody can write to (CVE-2019-5736). A bundle that was
/// named on stdin is named by an argument then: that line has been read. The first word is where the siblings are.
pub fn run_sealed(args: &Args, stderr: Option<&linux_sandbox::FirstStderr>, bundle: &Bundle) -> anyhow::Result<()> {
    if linux_sandbox::is_sealed() {
        return Ok(linux_sandbox::set_name(c"ctr-spawn")?);
    }
    if let Some(stderr) = stderr {
        stderr.give_back()?;
    }
    let own = std::env::current_exe().context("/proc/self/exe")?;
    let mut words: Vec<OsString> = std::iter::once(own.into()).chain(std::env::args_os().skip(1)).collect();
    if args.bundle.is_none() {
        words.insert(1, bundle.path.as_path().into());
    }
    Ok(linux_sandbox::run_sealed(c"ctr-spawn", words, std::env::vars_os())?)
}

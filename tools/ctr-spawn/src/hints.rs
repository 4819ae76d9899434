//! What the reader can do where the host stands in the way.

use toolkit::{Failure, WithHint};

/// The error, and what the reader can do where the host stands in the way.
pub fn with_hint(error: &linux_sandbox::Error) -> anyhow::Error {
    let failure = || Failure::with_code(error.code(), error.to_string());
    let hinted = hint_for(error).map(|hint| Err::<(), _>(failure()).hint(|| hint));
    hinted.and_then(Result::err).unwrap_or_else(failure)
}

/// What to do about it, if it is known.
pub fn hint_for(error: &linux_sandbox::Error) -> Option<String> {
    let text = error.to_string();
    if rustix::process::geteuid().is_root() {
        None
    } else if text.starts_with("cgroup: ") {
        let how = linux_sandbox::how_to_get_cgroups();
        Some(format!("limits need a cgroup that is this user's: {how}"))
    } else if text.contains("setns(") {
        Some("it belongs to another user namespace: joining it takes root".into())
    } else if text.ends_with("Invalid argument") && (text.contains("setresuid(") || text.contains("setgroups(")) {
        Some("no such ID in the container: it has those that /etc/subuid and /etc/subgid give to this user".into())
    } else if text.starts_with("clone3(") {
        let unknown =
            "user namespaces may be off: see sysctl user.max_user_namespaces and kernel.unprivileged_userns_clone";
        Some(subids::obstacle().unwrap_or_else(|| unknown.into()))
    } else {
        None
    }
}

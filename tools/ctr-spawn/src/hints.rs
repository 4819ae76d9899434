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
    nested(&text)
        .map(Into::into)
        .or_else(|| if rustix::process::geteuid().is_root() { None } else { without_root(&text) })
}

/// In a container of somebody's, whoever asks.
fn nested(text: &str) -> Option<&'static str> {
    if text.contains("not supported as upperdir") {
        Some(
            "it lies on an overlay itself, as a container's root does: DOCK_ROOT has to be elsewhere, on a volume of that container",
        )
    } else if text.starts_with("clone3(") && text.ends_with("Function not implemented") {
        Some(
            "a filter of system calls answers so: where this is a container, it takes --security-opt seccomp=unconfined or --privileged",
        )
    } else if text.contains("fsmount(proc)") && text.ends_with("Operation not permitted") {
        Some(
            "parts of /proc are covered here, and the kernel gives no uncovered one: where this is a container, it takes --security-opt systempaths=unconfined; else --pid host",
        )
    } else {
        None
    }
}

fn without_root(text: &str) -> Option<String> {
    if text.starts_with("cgroup: ") {
        let how = linux_sandbox::how_to_get_cgroups();
        Some(format!("limits need a cgroup that is this user's: {how}"))
    } else if text.contains("setns(") {
        Some("it belongs to another user namespace: joining it takes root".into())
    } else if text.ends_with("Invalid argument") && (text.contains("setresuid(") || text.contains("setgroups(")) {
        Some("no such ID in the container: it has those that /etc/subuid and /etc/subgid give to this user".into())
    } else if text.starts_with("newuidmap ") || text.starts_with("newgidmap ") {
        subids::powerless()
    } else if text.starts_with("clone3(") {
        let unknown =
            "user namespaces may be off: see sysctl user.max_user_namespaces and kernel.unprivileged_userns_clone";
        Some(subids::obstacle().unwrap_or_else(|| unknown.into()))
    } else {
        None
    }
}

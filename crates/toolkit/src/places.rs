//! Where things are kept when nobody says: what lasts, and what a reboot may take.

use std::env;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Where images, layers and containers live: `given`, else `$DOCK_ROOT`, else /var/lib/dock for root and
/// `$XDG_DATA_HOME/dock` (`~/.local/share/dock`) for everybody else.
pub fn root_dir(given: Option<&Path>) -> PathBuf {
    place(given, "DOCK_ROOT", "/var/lib/dock", "XDG_DATA_HOME", ".local/share")
}

/// What must not survive a reboot: `$DOCK_RUN`, else /run/dock for root, else `$XDG_RUNTIME_DIR/dock`.
pub fn run_dir() -> PathBuf {
    place(None, "DOCK_RUN", "/run/dock", "XDG_RUNTIME_DIR", ".local/share/dock/run")
}

/// The image layout: `given`, else `images` below the root.
pub fn layout_dir(given: Option<&Path>) -> PathBuf {
    given.map_or_else(|| root_dir(None).join("images"), absolute)
}

fn place(given: Option<&Path>, own: &str, for_root: &str, xdg: &str, below_home: &str) -> PathBuf {
    if let Some(path) = given {
        return absolute(path);
    }
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(path) = set(own) {
        return absolute(&path);
    }
    if is_roots() {
        return for_root.into();
    }
    set(xdg).unwrap_or_else(|| set("HOME").unwrap_or_else(|| "/".into()).join(below_home)).join("dock")
}

/// Whose places they are: those of who started the program, also when it is root of a user namespace by now.
pub(crate) fn is_roots() -> bool {
    static AT_THE_START: OnceLock<bool> = OnceLock::new();
    *AT_THE_START.get_or_init(|| rustix::process::geteuid().is_root())
}

/// Records carry absolute paths; the working directory of the next tool may be another.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

//! Where things are kept when nobody says: what lasts, and what a reboot may take.

use std::env;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Where images, layers and containers live: `given`, else `$DOCK_ROOT`, else /var/lib/dock for root and
/// `$XDG_DATA_HOME/dock` (`~/.local/share/dock`) for everybody else.
pub fn root_dir(given: Option<&Path>) -> PathBuf {
    place(given, "DOCK_ROOT", "/var/lib/dock").unwrap_or_else(|| of_user(set("XDG_DATA_HOME"), ".local/share"))
}

/// What must not survive a reboot: `$DOCK_RUN`, else /run/dock for root, else `dock` in the user's own directory for
/// such things, which is the same whether he has logged in or cron runs his commands.
pub fn run_dir() -> PathBuf {
    let uid = rustix::process::geteuid().as_raw();
    let is_ours = |dir: &PathBuf| std::fs::metadata(dir).is_ok_and(|found| found.uid() == uid);
    // After su or sudo the variable may still name that of another user.
    let mut places = set("XDG_RUNTIME_DIR").into_iter().chain([format!("/run/user/{uid}").into()]);
    place(None, "DOCK_RUN", "/run/dock").unwrap_or_else(|| of_user(places.find(is_ours), ".local/share/dock/run"))
}

/// The image layout: `given`, else `images` below the root.
pub fn layout_dir(given: Option<&Path>) -> PathBuf {
    given.map_or_else(|| root_dir(None).join("images"), absolute)
}

fn place(given: Option<&Path>, own: &str, for_root: &str) -> Option<PathBuf> {
    let named = given.map(absolute).or_else(|| set(own).map(|path| absolute(&path)));
    named.or_else(|| is_roots().then(|| for_root.into()))
}

fn of_user(dir: Option<PathBuf>, below_home: &str) -> PathBuf {
    dir.unwrap_or_else(|| set("HOME").unwrap_or_else(|| "/".into()).join(below_home)).join("dock")
}

fn set(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
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

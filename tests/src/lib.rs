//! What the end-to-end tests share: a room of one's own with its own store, a shell in it that finds the
//! tools of `bin/`, and skips that say why and are counted.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

pub mod background;
pub mod builder;
pub mod bundle;
pub mod corpus;
pub mod dice;
pub mod dockerd;
pub mod ends;
pub mod image;
pub mod liar;
pub mod proxy;
pub mod registry;
pub mod swap;
pub mod tokens;
pub mod tree;
pub mod unfit;

/// A temporary directory with a `DOCK_ROOT` and a `DOCK_RUN` in it. Everything in it goes when it is dropped.
#[derive(Debug)]
pub struct Room {
    dir: TempDir,
    uid: Option<u32>,
    /// Lines of subuid(5) on the machine of that user.
    ranges: bool,
}

/// What a command left behind.
#[derive(Debug)]
pub struct Ran {
    /// The script, for messages.
    pub script: String,
    /// Exit code, 128+n for signal n.
    pub code: i32,
    /// Everything on stdout.
    pub stdout: String,
    /// Everything on stderr.
    pub stderr: String,
}

impl Room {
    /// A fresh room.
    #[allow(clippy::new_without_default, reason = "a room is made on disk")]
    pub fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("dock-test-").tempdir().expect("temporary directory");
        Self { dir, uid: None, ranges: false }
    }

    /// A fresh room whose commands run as an ordinary user who owns it.
    pub fn of_user(uid: u32) -> Self {
        let mut room = Self::new();
        std::os::unix::fs::chown(room.dir.path(), Some(uid), Some(uid)).expect("chown");
        room.uid = Some(uid);
        room
    }

    /// The same on a machine where he has ranges of IDs: `USER:FIRST:COUNT`, one a line. Each command sees them in a
    /// mount namespace of its own, and the files of the host stay as they are.
    pub fn of_user_with_ranges(uid: u32, ranges: &str) -> Self {
        let mut room = Self::of_user(uid);
        room.write("etc/ranges", ranges);
        // newuidmap(1) wants to know who calls.
        room.write("etc/passwd", format!("root:x:0:0::/:/bin/sh\nroomer:x:{uid}:{uid}::/:/bin/sh\n"));
        room.ranges = true;
        room
    }

    /// The ordinary user whose room it is.
    pub fn uid(&self) -> Option<u32> {
        self.uid
    }

    /// The room's directory, or a path in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file, with its directories.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("parent")).expect("mkdir");
        fs::write(&path, content).expect("write");
        path
    }

    /// Runs a script with `sh -c` in the room.
    pub fn sh(&self, script: &str) -> Ran {
        self.command("sh", script)
    }

    /// Runs a script, as root, in a mount namespace whose mounts are all shared: what a container does not keep to
    /// itself shows there, and what others of this machine mount meanwhile does not. Fails if anything is left.
    #[track_caller]
    pub fn sh_without_mounts_left(&self, script: &str) -> Ran {
        self.write("mounts.sh", script);
        let ran = self.sh("unshare --mount --propagation private sh -c 'mount --make-rshared / || exit
            cat /proc/self/mountinfo >mounts.before; sh mounts.sh; code=$?; cat /proc/self/mountinfo >mounts.after; exit $code'");
        let mounts = |name: &str| fs::read_to_string(self.path(name)).expect("list of mounts");
        assert_eq!(mounts("mounts.after"), mounts("mounts.before"), "{script}: {ran:#?}");
        Ran { script: script.into(), ..ran }
    }

    /// What is mounted below the room, or from it, where the tests run.
    pub fn mounts(&self) -> Vec<String> {
        let here = self.dir.path().display().to_string();
        let all = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
        all.lines().filter(|line| line.contains(&here)).map(str::to_owned).collect()
    }

    /// Runs a script with a shell of choice (`dash`, `busybox sh`).
    pub fn command(&self, shell: &str, script: &str) -> Ran {
        let mut words: Vec<String> = shell.split(' ').map(Into::into).collect();
        if let Some(uid) = self.uid {
            let user = format!("setpriv --reuid {uid} --regid {uid} --clear-groups");
            words.splice(0..0, user.split(' ').map(Into::into));
            if self.ranges {
                let mounts = "for f in subuid subgid; do [ -e /etc/$f ] || : >/etc/$f; mount --bind etc/ranges /etc/$f; done; \
                              mount --bind etc/passwd /etc/passwd; exec \"$@\"";
                let words_before = ["unshare", "-m", "sh", "-ec", mounts, "sh"];
                words.splice(0..0, words_before.map(Into::into));
            }
        }
        let output = Command::new(&words[0])
            .args(&words[1..])
            .arg("-c")
            .arg(script)
            .current_dir(self.dir.path())
            .env_clear()
            .env("PATH", format!("{}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", bin().display()))
            .env("HOME", self.dir.path())
            .env("LC_ALL", "C.UTF-8")
            .env("TMPDIR", self.dir.path())
            .env("DOCK_ROOT", self.path("root"))
            .env("DOCK_RUN", self.path("run"))
            .stdin(std::process::Stdio::null())
            .output()
            .expect("shell");
        Ran::new(script, &output)
    }
}

impl Ran {
    fn new(script: &str, output: &Output) -> Self {
        use std::os::unix::process::ExitStatusExt;
        Self {
            script: script.into(),
            code: output.status.code().unwrap_or_else(|| 128 + output.status.signal().unwrap_or(0)),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Asserts exit code 0 and gives stdout without its last line feed.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:#?}");
        self.stdout.trim_end_matches('\n').to_owned()
    }

    /// Asserts the exit code and that stderr has one line (and at most a hint) which contains `part`.
    #[track_caller]
    pub fn fails(self, code: i32, part: &str) -> Self {
        assert_eq!(self.code, code, "{self:#?}");
        assert!(self.stderr.contains(part), "no {part:?} in {self:#?}");
        let more = ["hint: ", "Try '", "See '"];
        let lines = self.stderr.lines().filter(|line| !more.iter().any(|start| line.starts_with(start))).count();
        assert_eq!(lines, 1, "an error is one line: {self:#?}");
        self
    }
}

/// Where the tools are: `$DOCK_BIN`, else `bin/` beside this crate.
pub fn bin() -> PathBuf {
    std::env::var_os("DOCK_BIN").map_or_else(|| top().join("bin"), PathBuf::from)
}

/// The top of the source tree.
pub fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("parent").to_owned()
}

/// Whether a program is on the PATH.
pub fn has(program: &str) -> bool {
    Command::new("sh").args(["-c", &format!("command -v {program} >/dev/null")]).status().is_ok_and(|s| s.success())
}

/// Says why a test does not run, in a line that `tests/summary` counts.
pub fn skip(reason: &str) {
    use std::io::Write;
    // Not eprintln!: the test harness would swallow the line of a test that passes.
    let _ = writeln!(std::io::stderr(), "SKIP: {}: {reason}", std::thread::current().name().unwrap_or("test"));
}

/// Ends the test with a counted skip unless it runs as root and every program is there.
#[macro_export]
macro_rules! needs {
    (root $(, $program:literal)*) => {
        if !$crate::is_root() { return $crate::skip("needs root"); }
        $crate::needs!($($program),*);
    };
    ($($program:literal),* $(,)?) => {
        $( if !$crate::has($program) { return $crate::skip(concat!("needs ", $program)); } )*
    };
}

/// Whether the tests run as root.
pub fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").is_ok_and(|m| m.uid() == 0)
}

impl Room {
    /// A podman command line whose storage, state and settings stand in the room. podman raises hard limits by
    /// default, which not every machine allows; `CONTAINERS_CONF` names limits that all do.
    pub fn podman(&self) -> String {
        let conf = self.write(
            "podman/containers.conf",
            "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\n[engine]\ncgroup_manager = \"cgroupfs\"\n",
        );
        let dir = self.path("podman");
        format!(
            "CONTAINERS_CONF={} podman --root {dir}/root --runroot {dir}/run --tmpdir {dir}/tmp --storage-driver vfs --runtime runc",
            conf.display(),
            dir = dir.display()
        )
    }
}

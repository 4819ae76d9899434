//! A real dockerd for a test, in a network and mount namespace of its own, with everything that it keeps below
//! the test's directory. Ended with the value.

use crate::Room;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A running daemon. Dropping it ends it and its containerd.
#[derive(Debug)]
pub struct Dockerd {
    child: Child,
    dir: PathBuf,
}

impl Dockerd {
    /// Starts one and waits until it answers; None, after a counted skip, when it does not.
    pub fn start(room: &Room) -> Option<Self> {
        Self::start_with(room, "")
    }

    /// [`Dockerd::start`] with more options.
    pub fn start_with(room: &Room, options: &str) -> Option<Self> {
        let dir = room.path("dockerd");
        std::fs::create_dir_all(&dir).expect("mkdir");
        let log = std::fs::File::create(dir.join("log")).expect("log");
        // /run is private to the namespace: dockerd and containerd have fixed paths below it.
        let script = format!(
            "mount --make-rprivate / && mount -t tmpfs tmpfs /run && ip link set lo up \
             && exec dockerd --data-root {dir}/data --exec-root {dir}/exec --pidfile {dir}/pid --host unix://{dir}/sock \
                --storage-driver vfs --exec-opt native.cgroupdriver=cgroupfs --bridge none --iptables=false --ip6tables=false {options}",
            dir = dir.display()
        );
        // A process group of its own, so that the end takes containerd along; --kill-child for a test that dies.
        let child = Command::new("unshare")
            .args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", &script])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .process_group(0)
            .spawn()
            .expect("unshare");
        let mut daemon = Self { child, dir };
        for _ in 0..300 {
            if daemon.docker(&["version"]).is_ok() {
                return Some(daemon);
            }
            if !matches!(daemon.child.try_wait(), Ok(None)) {
                break;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let log = std::fs::read_to_string(daemon.dir.join("log")).unwrap_or_default();
        crate::skip(&format!("dockerd does not start here: {}", log.lines().last().unwrap_or_default()));
        None
    }

    /// The value of `DOCKER_HOST`.
    pub fn host(&self) -> String {
        format!("unix://{}/sock", self.dir.display())
    }

    /// Runs the docker client; stdout, or stderr when it fails.
    pub fn docker(&self, args: &[&str]) -> Result<String, String> {
        let output = Command::new("docker")
            .args(args)
            .env("DOCKER_HOST", self.host())
            .env("DOCKER_CONFIG", &self.dir)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| error.to_string())?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        // unshare passes the end on by --kill-child: the namespace's first process takes everything in it along.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

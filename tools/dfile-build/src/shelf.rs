//! A directory below `$DOCK_RUN` for what no store may hold: secrets and sockets of one RUN. What a killed build
//! left there goes with the next one.

use crate::run::private_dir;
use anyhow::Context;
use rustix::fs::FlockOperation;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// The directory; it goes with the value.
#[derive(Debug)]
pub struct Shelf {
    path: PathBuf,
    _lock: File,
    proxies: Vec<(PathBuf, Arc<AtomicBool>)>,
}

/// Who may use what lies there.
#[derive(Debug, Clone, Copy)]
pub struct Owner {
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
}

impl Shelf {
    pub fn open(run: &Path) -> anyhow::Result<Self> {
        let all = run.join("build");
        private_dir(&all)?;
        let door = File::open(&all).with_context(|| format!("{}: open", all.display()))?;
        rustix::fs::flock(&door, FlockOperation::LockExclusive).with_context(|| format!("{}: flock", all.display()))?;
        crate::run::sweep(&all);
        let dir = tempfile::Builder::new().prefix("run-").tempdir_in(&all);
        let path = dir.with_context(|| format!("{}: mkdtemp", all.display()))?.keep();
        let lock = File::open(&path).with_context(|| format!("{}: open", path.display()))?;
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .with_context(|| format!("{}: flock", path.display()))?;
        Ok(Self { path, _lock: lock, proxies: Vec::new() })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Lays a secret down.
    pub fn secret(&self, name: &str, bytes: &[u8], owner: Owner) -> anyhow::Result<PathBuf> {
        let path = self.path.join(name);
        let mut options = fs::OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(&path);
        file.and_then(|mut file| file.write_all(bytes)).with_context(|| format!("{}: write", path.display()))?;
        give(&path, owner)?;
        Ok(path)
    }

    /// A socket that leads to the agent, with an owner and a mode of its own: the agent's cannot be changed.
    pub fn agent(&mut self, name: &str, agent: &Path, owner: Owner) -> anyhow::Result<PathBuf> {
        let path = self.path.join(name);
        let listener = UnixListener::bind(&path).with_context(|| format!("{}: bind", path.display()))?;
        give(&path, owner)?;
        let over = Arc::new(AtomicBool::new(false));
        let (is_over, agent) = (Arc::clone(&over), agent.to_owned());
        thread::spawn(move || {
            for client in listener.incoming() {
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
                // An agent that does not answer shows as an end of the connection.
                if let (Ok(client), Ok(server)) = (client, UnixStream::connect(&agent)) {
                    let _ = join(&client, &server);
                }
            }
        });
        self.proxies.push((path.clone(), over));
        Ok(path)
    }
}

impl Drop for Shelf {
    fn drop(&mut self) {
        for (path, over) in &self.proxies {
            over.store(true, Ordering::Relaxed);
            // Wakes the thread that waits for a client.
            let _ = UnixStream::connect(path);
        }
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Both ways, until each side has said its last.
fn join(client: &UnixStream, server: &UnixStream) -> io::Result<()> {
    for (from, to) in [(client, server), (server, client)] {
        let (mut from, mut to) = (from.try_clone()?, to.try_clone()?);
        thread::spawn(move || {
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(std::net::Shutdown::Write);
        });
    }
    Ok(())
}

fn give(path: &Path, owner: Owner) -> anyhow::Result<()> {
    chown(path, owner.uid, owner.gid)?;
    let mode = fs::Permissions::from_mode(owner.mode);
    fs::set_permissions(path, mode).with_context(|| format!("{}: chmod", path.display()))
}

/// An ordinary user has only one ID to give: in the container it is the process's.
pub fn chown(path: &Path, uid: u32, gid: u32) -> anyhow::Result<()> {
    match std::os::unix::fs::lchown(path, Some(uid), Some(gid)) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && !rustix::process::geteuid().is_root() => {
            Ok(())
        }
        other => other.with_context(|| format!("{}: lchown", path.display())),
    }
}

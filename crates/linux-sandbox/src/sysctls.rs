//! sysctl(8), only those that belong to a namespace: the others would change the host.

use crate::error::{Call, Error, Result};
use crate::procfs;
use crate::steps::{Mechanism, Scene, quote};
use serde::Serialize;
use std::collections::BTreeMap;

/// Writes below `/proc/sys`, through a procfs that nobody else can have mounted over (CVE-2019-16884).
#[derive(Debug, Serialize)]
pub struct Sysctls {
    /// `net.ipv4.ip_forward` → `1`
    pub values: BTreeMap<String, String>,
}

const IPC: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

impl Sysctls {
    /// Refuses every name that is not of a namespace which the container has for itself (CVE-2022-0811: a
    /// value of `kernel.core_pattern` is a command that the host runs).
    pub fn new(values: BTreeMap<String, String>, own_ipc: bool, own_network: bool) -> std::result::Result<Self, Error> {
        for (name, value) in &values {
            let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'/');
            let well_formed = name.bytes().all(plain) && !name.split(['.', '/']).any(str::is_empty);
            let ipc = IPC.contains(&name.as_str()) || name.starts_with("fs.mqueue.");
            let network = name.starts_with("net.");
            if !well_formed || value.contains(['\n', '\0']) || !(ipc || network) {
                return Err(Error::refused(format!(
                    "sysctl {name}: belongs to no namespace: it would change the host"
                )));
            }
            if ipc && !own_ipc || network && !own_network {
                return Err(Error::refused(format!(
                    "sysctl {name}: the container shares this namespace with the host"
                )));
            }
        }
        Ok(Self { values })
    }
}

/// In a name, `/` and `.` change places: `net.ipv4.conf.eth0/1.forwarding` is of the device `eth0.1`.
fn path(name: &str) -> String {
    let swap = |c| match c {
        '.' => '/',
        '/' => '.',
        c => c,
    };
    format!("sys/{}", name.chars().map(swap).collect::<String>())
}

impl Mechanism for Sysctls {
    fn shell(&self) -> String {
        crate::steps::all(
            self.values.iter().map(|(name, value)| format!("sysctl -w {}", quote(&format!("{name}={value}")))),
        )
    }

    fn run(&self, scene: &mut Scene) -> Result<()> {
        for (name, value) in &self.values {
            let path = path(name);
            let file = procfs::open_to_write(scene, &path)?;
            rustix::io::write(&file, value.as_bytes()).call(|| format!("write(<procfs>/{path}, {value:?})"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_belongs_to_a_namespace() {
        let try_one = |name: &str, ipc, net| Sysctls::new([(name.to_owned(), "1".to_owned())].into(), ipc, net).is_ok();
        for name in ["net.ipv4.ip_forward", "kernel.shmmax", "fs.mqueue.msg_max", "net.ipv4.conf.eth0/1.forwarding"] {
            assert!(try_one(name, true, true), "{name}");
            assert!(!try_one(name, false, false), "{name} of the host");
        }
        for name in
            ["kernel.core_pattern", "kernel.shmmax+kernel.core_pattern", "vm.swappiness", "net..x", "fs.file-max", ""]
        {
            assert!(!try_one(name, true, true), "{name}");
        }
        assert_eq!(path("net.ipv4.conf.eth0/1.forwarding"), "sys/net/ipv4/conf/eth0.1/forwarding");
    }
}

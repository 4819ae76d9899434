//! capabilities(7) and credentials(7): who the process is and what of root is left to it.

use crate::error::{Call, Result};
use crate::steps::{Mechanism, Scene};
use crate::sys;
use rustix::fs::{FileType, Gid, Uid};
use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set, configure_capability_in_ambient_set, set_capabilities,
    set_keep_capabilities, set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};
use serde::Serialize;
use std::collections::BTreeSet;

/// Names in the order of their numbers, without `CAP_`. The last one is of Linux 5.9.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// The number of `CAP_CHOWN`, `cap_chown` or `CHOWN`.
pub fn capability_number(name: &str) -> Option<u32> {
    let upper = name.to_ascii_uppercase();
    let short = upper.strip_prefix("CAP_").unwrap_or(&upper);
    NAMES.iter().position(|known| *known == short).and_then(|number| u32::try_from(number).ok())
}

/// User, groups and umask. The bounding set is cut here already: that needs a capability which the user switch
/// takes away.
#[derive(Debug, Serialize)]
pub struct User {
    /// User ID.
    pub uid: u32,
    /// Group ID.
    pub gid: u32,
    /// Supplementary groups; `None` where the user namespace has given up `setgroups`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<Vec<u32>>,
    /// umask(2)
    pub umask: u32,
    /// What no exec can ever give back.
    pub bounding: Vec<String>,
}

impl Mechanism for User {
    fn shell(&self) -> String {
        let ids = |list: &[u32]| list.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
        let groups = match &self.groups {
            None => "--keep-groups".into(),
            Some(groups) if groups.is_empty() => "--clear-groups".into(),
            Some(groups) => format!("--groups {}", ids(groups)),
        };
        format!(
            "umask {:04o}; exec setpriv --reuid {} --regid {} {groups} --bounding-set {} sh",
            self.umask,
            self.uid,
            self.gid,
            plus(&self.bounding)
        )
    }

    fn run(&self, scene: &mut Scene) -> Result<()> {
        if scene.own_pipes {
            give_pipes(Uid::from_raw(self.uid));
        }
        let keep: Vec<u32> = self.bounding.iter().filter_map(|name| capability_number(name)).collect();
        for number in (0..64).filter(|number| !keep.contains(number)) {
            match sys::drop_from_bounding_set(number) {
                Err(Errno::INVAL) => break,
                other => other.call(|| format!("prctl(PR_CAPBSET_DROP, {number})"))?,
            }
        }
        set_keep_capabilities(true).call(|| "prctl(PR_SET_KEEPCAPS)".into())?;
        if let Some(groups) = &self.groups {
            let groups: Vec<Gid> = groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
            set_thread_groups(&groups).call(|| format!("setgroups({:?})", self.groups))?;
        }
        let gid = Gid::from_raw(self.gid);
        set_thread_res_gid(gid, gid, gid).call(|| format!("setresgid({})", self.gid))?;
        let uid = Uid::from_raw(self.uid);
        set_thread_res_uid(uid, uid, uid).call(|| format!("setresuid({})", self.uid))?;
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(self.umask));
        Ok(())
    }
}

/// So that the process can open /dev/stdout again, whoever it is. /dev/null stays whose it is, and a pipe that cannot
/// be given away, as by the only user that there is, is good enough.
fn give_pipes(uid: Uid) {
    for fd in [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()] {
        if rustix::fs::fstat(fd).is_ok_and(|found| FileType::from_raw_mode(found.st_mode) == FileType::Fifo) {
            let _ = rustix::fs::fchown(fd, Some(uid), None);
        }
    }
}

/// The sets as asked. Inheritable and ambient ones are empty unless somebody names them: a process that is not root
/// would otherwise get capabilities back from files (CVE-2022-24769).
#[derive(Debug, Default, Serialize)]
pub struct Capabilities {
    /// In force at the exec.
    pub effective: Vec<String>,
    /// May be taken into force.
    pub permitted: Vec<String>,
    /// Stay over an exec of a program whose file names them, too.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub inheritable: Vec<String>,
    /// Stay over every exec. Those that are not inheritable and permitted cannot be, and are left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ambient: Vec<String>,
    /// [`Capabilities::unknown`]: nobody gets them, and a note says so (runtime-spec config.md, "Linux Process").
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<String>,
}

impl Capabilities {
    /// Those of the names that Linux does not have, as far as this program knows.
    pub fn unknown<'a>(names: impl IntoIterator<Item = &'a String>) -> Vec<String> {
        let unknown = names.into_iter().filter(|name| capability_number(name).is_none());
        unknown.collect::<BTreeSet<_>>().into_iter().cloned().collect()
    }
}

fn set(names: &[String]) -> CapabilitySet {
    let bits = names.iter().filter_map(|name| capability_number(name)).fold(0_u64, |bits, number| bits | 1 << number);
    CapabilitySet::from_bits_retain(bits)
}

impl Mechanism for Capabilities {
    fn shell(&self) -> String {
        format!("exec setpriv --inh-caps={} --ambient-caps={} sh", plus(&self.inheritable), plus(&self.ambient))
    }

    fn run(&self, scene: &mut Scene) -> Result<()> {
        for name in &self.unknown {
            scene.note(&format!("capabilities: {name}: no such capability"));
        }
        let mut sets = CapabilitySets {
            effective: set(&self.effective),
            permitted: set(&self.permitted),
            inheritable: set(&self.inheritable),
        };
        // In a user namespace, or under another runtime, less may be there than the configuration names.
        if let Ok(have) = rustix::thread::capabilities(None) {
            sets.permitted &= have.permitted;
        }
        sets.effective &= sets.permitted;
        sets.inheritable &= sets.permitted;
        set_capabilities(None, sets).call(|| "capset()".into())?;
        clear_ambient_capability_set().call(|| "prctl(PR_CAP_AMBIENT_CLEAR_ALL)".into())?;
        for one in (set(&self.ambient) & sets.inheritable & sets.permitted).iter() {
            configure_capability_in_ambient_set(one, true).call(|| format!("prctl(PR_CAP_AMBIENT_RAISE, {one:?})"))?;
        }
        Ok(())
    }
}

fn plus(names: &[String]) -> String {
    names.iter().fold("-all".to_owned(), |text, name| {
        let lower = name.to_ascii_lowercase();
        format!("{text},+{}", lower.strip_prefix("cap_").unwrap_or(&lower))
    })
}

/// No exec gives more than there is: set-user-ID bits and file capabilities do nothing.
#[derive(Debug, Serialize)]
pub struct NoNewPrivileges {}

impl Mechanism for NoNewPrivileges {
    fn shell(&self) -> String {
        "exec setpriv --no-new-privs sh".into()
    }

    fn run(&self, _: &mut Scene) -> Result<()> {
        set_no_new_privs(true).call(|| "prctl(PR_SET_NO_NEW_PRIVS)".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_the_kernels_numbers() {
        for (name, number) in [("CAP_CHOWN", 0), ("cap_net_raw", 13), ("SYS_ADMIN", 21), ("CAP_CHECKPOINT_RESTORE", 40)]
        {
            assert_eq!(capability_number(name), Some(number));
        }
        assert_eq!(capability_number("CAP_NOTHING"), None);
        assert_eq!(set(&["CAP_MKNOD".into()]), CapabilitySet::MKNOD);
    }
}

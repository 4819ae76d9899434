//! Why a host gives an ordinary user no user namespace, or no range in it, and how its administrator changes that.

use rustix::fs::{StatVfsMountFlags, getxattr, statvfs};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// What the kernel's parameters say, as a line for the administrator; `None` when none of them is in the way.
pub fn obstacle() -> Option<String> {
    obstacle_in(Path::new("/proc/sys"))
}

/// Each with the value that forbids it and the one that allows it: Debian's own, everybody's, Ubuntu's own.
const PARAMETERS: [(&str, &str, &str, &str); 3] = [
    ("kernel", "unprivileged_userns_clone", "0", "1"),
    ("user", "max_user_namespaces", "0", "10000"),
    ("kernel", "apparmor_restrict_unprivileged_userns", "1", "0"),
];

fn obstacle_in(parameters: &Path) -> Option<String> {
    PARAMETERS.iter().find_map(|(group, name, forbids, allows)| {
        let value = fs::read_to_string(parameters.join(group).join(name)).ok()?;
        (value.trim() == *forbids).then(|| {
            format!("{group}.{name} is {forbids}, so ordinary users have no user namespaces: root allows them with sysctl -w {group}.{name}={allows}")
        })
    })
}

/// Why newuidmap(1) and newgidmap(1) may not write a map, as a line for the administrator.
pub fn powerless() -> Option<String> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    if status.contains("\nNoNewPrivs:\t1") {
        return Some("no_new_privs is set, as by a unit's NoNewPrivileges=: it takes newuidmap's rights away".into());
    }
    crate::enter::helpers().ok()?.iter().find_map(|helper| powerless_file(helper))
}

/// It has its rights by its owner and mode, or by file capabilities.
fn powerless_file(helper: &Path) -> Option<String> {
    let set_user_id = fs::metadata(helper).ok()?.permissions().mode() & 0o4000 != 0;
    let capable = getxattr(helper, "security.capability", &mut [0_u8; 64]).is_ok();
    let name = helper.display();
    if !set_user_id && !capable {
        return Some(format!("{name} is not set-user-ID root: root mends that with chmod u+s {name}"));
    }
    let mount = statvfs(helper).ok()?;
    mount.f_flag.contains(StatVfsMountFlags::NOSUID).then(|| format!("{name} is on a file system mounted nosuid"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_parameter_is_named_with_what_allows_it() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(obstacle_in(dir.path()), None, "a kernel that has none of them");
        for (group, name, forbids, allows) in PARAMETERS {
            let file = dir.path().join(group).join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, format!("{forbids}\n")).unwrap();
            let line = obstacle_in(dir.path()).unwrap();
            assert!(line.contains(&format!("sysctl -w {group}.{name}={allows}")), "{line}");
            fs::write(&file, format!("{allows}\n")).unwrap();
            assert_eq!(obstacle_in(dir.path()), None);
        }
    }
}

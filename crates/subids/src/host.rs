//! Why a host gives an ordinary user no user namespace, and how its administrator changes that.

use std::fs;
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

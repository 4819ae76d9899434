//! systemd on a host with cgroups of version 1, alone or beside version 2: it knows fewer limits there, and not every tree.

use super::{Cgroups, Limit};
use crate::cgroups::write;
use crate::error::{Call, Result};
use std::fs;

/// The limits that it knows there, as runc translates them.
pub(super) fn properties(limits: &[Limit]) -> Vec<Vec<String>> {
    let number = |name: &str, value: u64| vec![vec![name.to_owned(), "t".to_owned(), value.to_string()]];
    let or_max = |value: i64| u64::try_from(value).unwrap_or(u64::MAX);
    let of = |limit: &Limit| match limit {
        Limit::Memory(bytes) => number("MemoryLimit", or_max(*bytes)),
        Limit::CpuShares(shares) => number("CPUShares", *shares),
        Limit::Devices(rules) => devices(rules, &fs::read_to_string("/proc/devices").unwrap_or_default()),
        Limit::CpuQuota(..) | Limit::Pids(_) => super::properties(std::slice::from_ref(limit)),
        _ => Vec::new(),
    };
    limits.iter().flat_map(of).collect()
}

/// The list of devices of version 1 is systemd's to write, and one that it does not know of it takes for open. It takes
/// numbers as paths, and whole kinds by their names in `/proc/devices`.
fn devices(rules: &[(bool, String)], names: &str) -> Vec<Vec<String>> {
    let mut list: Vec<[String; 2]> = Vec::new();
    for (allow, rule) in rules {
        let words: Vec<&str> = rule.split(' ').collect();
        let [kind, numbers, access] = words[..] else { continue };
        let long = if kind == "b" { "block" } else { "char" };
        let path = match numbers.split_once(':') {
            _ if kind == "a" => {
                list.clear();
                if *allow {
                    return vec![["DevicePolicy", "s", "auto"].map(Into::into).into()];
                }
                continue;
            }
            Some(("*", _)) => format!("{long}-*"),
            Some((major, "*")) => match name_of(long, major, names) {
                Some(name) => format!("{long}-{name}"),
                None => continue,
            },
            _ => format!("/dev/{long}/{numbers}"),
        };
        list.retain(|[known, _]| *allow || *known != path);
        list.extend(allow.then(|| [path, access.to_owned()]));
    }
    let head = ["DeviceAllow".to_owned(), "a(ss)".to_owned(), list.len().to_string()];
    let policy = ["DevicePolicy", "s", "strict"].map(Into::into).into();
    vec![policy, head.into_iter().chain(list.into_iter().flatten()).collect()]
}

/// The name of a major number.
fn name_of<'a>(kind: &str, major: &str, names: &'a str) -> Option<&'a str> {
    let (characters, blocks) = names.split_once("Block devices:")?;
    let lines = if kind == "block" { blocks } else { characters };
    lines
        .lines()
        .filter_map(|line| line.trim().split_once(' '))
        .find(|(number, _)| *number == major)
        .map(|(_, name)| name)
}

/// The process goes into its cgroup in every tree of version 1. That of systemd's own tree is there, and those of the
/// controllers that it uses.
pub(super) fn go_everywhere(cgroups: &Cgroups, pid: i32) -> Result<()> {
    for group in cgroups.groups.iter().filter(|group| group.enable.is_empty() && !group.controllers.is_empty()) {
        let missing = group.path.ancestors().skip(1).take_while(|dir| !dir.exists());
        group.above.borrow_mut().extend(missing.map(Into::into));
        fs::create_dir_all(&group.path).call(|| format!("mkdir({:?})", group.path))?;
        group.switch_on()?;
        write(&group.path.join("cgroup.procs"), &pid.to_string())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_by_number_and_by_name() {
        let names = "Character devices:\n  1 mem\n136 pts\n\nBlock devices:\n  8 sd\n";
        let rule = |allow, text: &str| (allow, text.to_owned());
        let rules = [
            rule(true, "c 9:9 r"),
            rule(false, "a *:* rwm"),
            rule(true, "c *:* m"),
            rule(true, "c 1:3 rwm"),
            rule(true, "b 8:* r"),
            rule(true, "c 136:* rwm"),
            rule(true, "c 77:* rwm"),
            rule(true, "c 5:1 rw"),
            rule(false, "c 5:1 rw"),
        ];
        let line = |rules| devices(rules, names).concat().join(" ");
        assert_eq!(
            line(&rules),
            "DevicePolicy s strict DeviceAllow a(ss) 4 char-* m /dev/char/1:3 rwm block-sd r char-pts rwm"
        );
        assert_eq!(line(&[rule(false, "a *:* rwm"), rule(true, "a *:* rwm")]), "DevicePolicy s auto");
    }
}

//! The default profile of system calls: a data file with its source, in docker's rules. What it allows depends
//! on the capabilities that the container has, so it is made when these are known.

use crate::{Error, Result};
use serde_json::{Value, json};

const PROFILE: &str = include_str!("../data/seccomp");

/// `linux.seccomp` of a runtime configuration for a container with these capabilities (`CAP_…`), on the machine
/// that this program was built for.
pub fn default(capabilities: &[&str]) -> Value {
    let machine = std::env::consts::ARCH;
    let mut profile = json!({ "defaultAction": "SCMP_ACT_ERRNO", "syscalls": [] });
    let (mut plain, mut others) = (Vec::new(), Vec::new());
    for line in PROFILE.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (condition, line) = line.split_once(": ").unwrap_or(("", line));
        let has = |name: &str| capabilities.iter().any(|have| have.strip_prefix("CAP_") == Some(name));
        let applies = match condition.split_once(' ') {
            None => true,
            Some(("arches" | "arch", name)) => name == machine,
            Some(("cap", name)) => has(name),
            Some((_, name)) => !has(name),
        };
        match line.split_once(' ') {
            _ if !applies => {}
            Some(("default", action)) => profile["defaultErrnoRet"] = errno(action).into(),
            _ if condition.starts_with("arches") => profile["architectures"] = line.split(' ').collect(),
            Some(("allow", rule)) => match rule.split_once(" where ") {
                None => plain.extend(rule.split(' ')),
                Some((name, test)) => others.extend(
                    conditions(test)
                        .into_iter()
                        .map(|arg| json!({ "names": [name], "action": "SCMP_ACT_ALLOW", "args": [arg] })),
                ),
            },
            Some((_, rule)) => {
                let (number, names) = rule.split_once(' ').unwrap_or((rule, ""));
                let names: Vec<&str> = names.split(' ').collect();
                let number: u32 = number.parse().unwrap_or(1);
                others.push(json!({ "names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": number }));
            }
            None => {}
        }
    }
    others.insert(0, json!({ "names": plain, "action": "SCMP_ACT_ALLOW" }));
    profile["syscalls"] = others.into();
    profile
}

/// `linux.seccomp` from a profile in docker's format, whose rules may depend on capabilities, the machine and the
/// kernel (`release` of uname(2)). A plain `linux.seccomp` passes through as it is.
pub fn from_docker(profile: &Value, capabilities: &[&str], release: &str) -> Result<Value> {
    let wrong = |what: &str| Error::Seccomp(what.into());
    let Some(members) = profile.as_object() else { return Err(wrong("not a JSON object")) };
    let mut result = members.clone();
    if let Some(map) = result.shift_remove("archMap").filter(|map| !map.is_null()) {
        if profile["architectures"].as_array().is_some_and(|list| !list.is_empty()) {
            return Err(wrong("both 'architectures' and 'archMap' were specified: use either of them"));
        }
        let ours = match std::env::consts::ARCH {
            "aarch64" => "SCMP_ARCH_AARCH64",
            _ => "SCMP_ARCH_X86_64",
        };
        let entry = map.as_array().into_iter().flatten().find(|entry| entry["architecture"] == ours);
        let others = entry.and_then(|entry| entry["subArchitectures"].as_array()).cloned().unwrap_or_default();
        result.insert("architectures".into(), entry.map(|_| ours.into()).into_iter().chain(others).collect());
    }
    let mut kept = Vec::new();
    for rule in profile["syscalls"].as_array().into_iter().flatten() {
        let Some(members) = rule.as_object() else { return Err(wrong("syscalls: not a list of objects")) };
        if rule["name"].is_string() && rule["names"].is_array() {
            return Err(wrong("both 'name' and 'names' were specified: use either of them"));
        }
        let excluded = meets(&rule["excludes"], capabilities, release).any(|met| met);
        let included = meets(&rule["includes"], capabilities, release).all(|met| met);
        if excluded || !included {
            continue;
        }
        let mut rule = members.clone();
        for member in ["includes", "excludes", "comment"] {
            rule.shift_remove(member);
        }
        if let Some(name) = rule.shift_remove("name") {
            rule.insert("names".into(), json!([name]));
        }
        rule.retain(|_, value| !value.is_null());
        kept.push(Value::Object(rule));
    }
    result.insert("syscalls".into(), kept.into());
    Ok(Value::Object(result))
}

/// Each condition that the filter has, and whether it is met. Of capabilities every one must be there to include a
/// rule, any one to exclude it: so each is a condition of its own. Of architectures one is enough.
fn meets<'a>(filter: &'a Value, capabilities: &'a [&str], release: &'a str) -> impl Iterator<Item = bool> + 'a {
    let list = |name: &str| filter[name].as_array().filter(|list| !list.is_empty());
    let machine = match std::env::consts::ARCH {
        "aarch64" => "arm64",
        _ => "amd64",
    };
    let caps = list("caps").into_iter().flatten();
    let caps = caps.map(move |name| capabilities.iter().any(|have| name == have));
    let arches = list("arches").map(move |list| list.iter().any(|arch| arch == machine));
    let kernel = filter["minKernel"].as_str().map(move |least| version(release) >= version(least));
    caps.chain(arches).chain(kernel)
}

/// Major and minor of `6.18.3-x`.
fn version(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

fn errno(action: &str) -> u32 {
    action.rsplit(' ').next().and_then(|number| number.parse().ok()).unwrap_or(1)
}

/// `0 in 0-11 13` or `0 & MASK = 0`, as the alternatives that each become a rule.
fn conditions(test: &str) -> Vec<Value> {
    if let Some((index, mask)) = test.split_once(" & ") {
        let digits = mask.trim_start_matches("0x").trim_end_matches(" = 0");
        let mask = u64::from_str_radix(digits, 16).unwrap_or(u64::MAX);
        return vec![json!({ "index": number(index), "value": mask, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ" })];
    }
    let (index, list) = test.split_once(" in ").unwrap_or(("0", ""));
    let one = |value: u64, op: &str| json!({ "index": number(index), "value": value, "op": op });
    let ranges = list.split(' ').map(|range| range.split_once('-').unwrap_or((range, range)));
    ranges
        .flat_map(|(from, to)| match (number(from), number(to)) {
            // Two conditions on one argument are alternatives to runc: a range is said without them.
            (0, to) if to > 0 => vec![one(to + 1, "SCMP_CMP_LT")],
            (from, to) => (from..=to).map(|value| one(value, "SCMP_CMP_EQ")).collect(),
        })
        .collect()
}

fn number(text: &str) -> u64 {
    text.parse().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(profile: &Value, name: &str) -> bool {
        let rules = profile["syscalls"].as_array().unwrap();
        rules.iter().any(|rule| {
            rule["action"] == "SCMP_ACT_ALLOW"
                && rule.get("args").is_none()
                && rule["names"].as_array().unwrap().iter().any(|known| known == name)
        })
    }

    #[test]
    fn what_is_allowed_follows_the_capabilities() {
        let plain = default(&crate::caps::default());
        assert_eq!((&plain["defaultAction"], &plain["defaultErrnoRet"]), (&json!("SCMP_ACT_ERRNO"), &json!(1)));
        assert!(allows(&plain, "read") && allows(&plain, "chroot") && allows(&plain, "ptrace"));
        for name in ["unshare", "mount", "bpf", "keyctl", "add_key", "io_uring_setup", "kexec_load", "socket", "clone"]
        {
            assert!(!allows(&plain, name), "{name}");
        }
        let admin = default(&["CAP_SYS_ADMIN"]);
        assert!(allows(&admin, "unshare") && allows(&admin, "clone3") && !allows(&admin, "chroot"));
        assert!(!allows(&admin, "keyctl") && !allows(&admin, "kexec_load"));
    }

    #[test]
    fn cve_2026_31431_families_of_sockets() {
        let profile = default(&[]);
        let allowed = |family: u64| {
            profile["syscalls"].as_array().unwrap().iter().filter(|rule| rule["names"] == json!(["socket"])).any(
                |rule| {
                    let (value, op) = (rule["args"][0]["value"].as_u64().unwrap(), &rule["args"][0]["op"]);
                    if op == "SCMP_CMP_LT" { family < value } else { family == value }
                },
            )
        };
        for family in [0, 1, 2, 10, 11, 16, 17, 31, 45] {
            assert!(allowed(family), "{family}");
        }
        for family in [12, 19, 20, 23, 34, 37, 38, 40, 46, u64::MAX] {
            assert!(!allowed(family), "{family}");
        }
    }

    #[test]
    fn profiles_in_dockers_format() {
        let rule = |name: &str, more: Value| {
            let mut rule = json!({"names": [name], "action": "SCMP_ACT_ALLOW", "args": null, "comment": "x"});
            rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            rule
        };
        let profile = json!({
            "defaultAction": "SCMP_ACT_ERRNO",
            "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]},
                {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]}],
            "syscalls": [
                rule("read", json!({})),
                rule("a", json!({"includes": {"caps": ["CAP_A"]}})),
                rule("b", json!({"includes": {"caps": ["CAP_B"]}})),
                rule("ab", json!({"includes": {"caps": ["CAP_A", "CAP_B"]}})),
                rule("not_a", json!({"excludes": {"caps": ["CAP_A"]}})),
                rule("mips", json!({"includes": {"arches": ["mips"]}})),
                rule("here", json!({"includes": {"arches": ["amd64", "arm64"]}})),
                rule("old", json!({"includes": {"minKernel": "4.8"}})),
                rule("new", json!({"includes": {"minKernel": "6.19"}})),
                {"name": "single", "action": "SCMP_ACT_ALLOW"},
            ],
        });
        let got = from_docker(&profile, &["CAP_A"], "6.18.3-x").unwrap();
        let names: Vec<&Value> = got["syscalls"].as_array().unwrap().iter().map(|rule| &rule["names"][0]).collect();
        assert_eq!(names, ["read", "a", "here", "old", "single"]);
        assert_eq!(got["architectures"].as_array().unwrap().len(), 2);
        assert_eq!(got["syscalls"][0], json!({"names": ["read"], "action": "SCMP_ACT_ALLOW"}));
        assert!(from_docker(&json!([]), &[], "6.1").is_err());
        let both = json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"name": "a", "names": ["b"]}]});
        assert!(from_docker(&both, &[], "6.1").is_err());
        assert_eq!(from_docker(&default(&[]), &[], "6.1").unwrap(), default(&[]), "a plain one stays");
    }

    #[test]
    fn clone_makes_no_namespaces() {
        let profile = default(&[]);
        let of = |name: &str| {
            let rules = profile["syscalls"].as_array().unwrap().iter();
            rules.filter(|rule| rule["names"] == json!([name])).cloned().collect::<Vec<_>>()
        };
        assert_eq!(of("clone").len(), 1);
        assert_eq!(of("clone")[0]["args"][0]["value"], 0x7e02_0000_u64);
        assert_eq!((&of("clone3")[0]["action"], &of("clone3")[0]["errnoRet"]), (&json!("SCMP_ACT_ERRNO"), &json!(38)));
    }
}

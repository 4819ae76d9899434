//! Device nodes of the host in the container, and the rule of the devices cgroup that lets it use them.

use crate::flag;
use anyhow::{Context, bail};
use clap::Args;
use rustix::fs::{FileType, Stat, major, minor, stat};
use serde_json::{Map, Value, json};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

#[derive(Debug, Args)]
#[group(skip)]
pub struct Options {
    /// Give a device of the host to the container
    #[arg(long, value_name = "HOST[:CONTAINER][:rwm]")]
    device: Vec<String>,

    /// Allow a device by number: 'c 1:3 rwm'
    #[arg(long, value_name = "RULE")]
    device_cgroup_rule: Vec<String>,
}

pub fn set(config: &mut Value, host: &mut Map<String, Value>, options: &Options) -> anyhow::Result<()> {
    let mut shown = Vec::new();
    for text in &options.device {
        let (from, to, access) = parse(text)?;
        let gather = || format!("error gathering device information while adding custom device {from:?}");
        for (path, place) in nodes(from, to).with_context(gather)? {
            give(config, &path, &place, access).with_context(gather)?;
        }
        shown.push(json!({ "pathOnHost": from, "pathInContainer": to, "cgroupPermissions": access }));
    }
    for text in &options.device_cgroup_rule {
        allow(config, rule(text).map_err(|why| flag::refused("--device-cgroup-rule", text, why))?);
    }
    if !shown.is_empty() {
        host.insert("devices".into(), shown.into());
    }
    if !options.device_cgroup_rule.is_empty() {
        host.insert("deviceCgroupRules".into(), json!(options.device_cgroup_rule));
    }
    Ok(())
}

/// `--privileged`: every device that the host has, and every rule.
pub fn set_all(config: &mut Value) -> anyhow::Result<()> {
    let own =
        |path: &str| ["/dev/pts", "/dev/shm", "/dev/mqueue", "/dev/console", "/dev/fd", "/dev/ptmx"].contains(&path);
    for (path, place) in nodes("/dev", "/dev")? {
        if !Path::new(&place).ancestors().any(|above| above.to_str().is_some_and(own)) {
            // What disappears meanwhile is no device of the host.
            let _ = node(config, &path, &place);
        }
    }
    config["linux"]["resources"]["devices"] = json!([{ "allow": true, "access": "rwm" }]);
    Ok(())
}

/// Docker's grammar; the access is the last part when it is nothing but r, w and m.
fn parse(text: &str) -> anyhow::Result<(&str, &str, &str)> {
    let is_access = |text: &str| !text.is_empty() && text.bytes().all(|b| b"rwm".contains(&b));
    let (from, to, access) = match text.split(':').collect::<Vec<_>>().as_slice() {
        [from] => (*from, *from, "rwm"),
        [from, access] if is_access(access) => (*from, *from, *access),
        [from, to] => (*from, *to, "rwm"),
        [from, to, access] if is_access(access) => (*from, *to, *access),
        [_, _, access] => return Err(toolkit::usage(format!("bad mode specified: {access}"))),
        _ => return Err(toolkit::usage(format!("bad format for path: {text}"))),
    };
    if !from.starts_with('/') || !to.starts_with('/') || to.split('/').any(|name| name == "..") {
        return Err(toolkit::usage(format!("{text} is not an absolute path")));
    }
    Ok((from, to, access))
}

/// The node itself, or every one in a directory: where it is on the host, where it comes to be.
fn nodes(from: &str, to: &str) -> anyhow::Result<Vec<(String, String)>> {
    let kind = |path: &str| stat(path).map(|stat| FileType::from_raw_mode(stat.st_mode));
    if kind(from)? != FileType::Directory {
        return Ok(vec![(from.into(), to.into())]);
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(from).with_context(|| from.to_owned())? {
        let entry = entry?;
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
        let place = |dir: &str| format!("{}/{name}", dir.trim_end_matches('/'));
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() && !["pts", "shm", "mqueue", "fd"].contains(&name.as_str()) {
            found.extend(nodes(&place(from), &place(to))?);
        } else if kind.is_char_device() || kind.is_block_device() {
            found.push((place(from), place(to)));
        }
    }
    Ok(found)
}

/// Type, major and minor of a device node.
pub fn numbers(path: &str) -> anyhow::Result<(&'static str, u32, u32)> {
    let stat = stat(path).with_context(|| path.to_owned())?;
    Ok((letter(&stat).with_context(|| format!("{path}: not a device node"))?, major(stat.st_rdev), minor(stat.st_rdev)))
}

fn letter(stat: &Stat) -> Option<&'static str> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::CharacterDevice => Some("c"),
        FileType::BlockDevice => Some("b"),
        _ => None,
    }
}

/// Adds the node; gives its type and numbers.
fn node(config: &mut Value, path: &str, place: &str) -> anyhow::Result<(&'static str, u32, u32)> {
    let (kind, major, minor) = numbers(path)?;
    let stat = stat(path)?;
    let list = &mut config["linux"]["devices"];
    if !list.is_array() {
        *list = json!([]);
    }
    if let Some(list) = list.as_array_mut() {
        list.retain(|old| old["path"] != place);
        list.push(json!({
            "path": place, "type": kind, "major": major, "minor": minor,
            "fileMode": stat.st_mode & 0o7777, "uid": stat.st_uid, "gid": stat.st_gid,
        }));
    }
    Ok((kind, major, minor))
}

fn give(config: &mut Value, path: &str, place: &str, access: &str) -> anyhow::Result<()> {
    let (kind, major, minor) = node(config, path, place)?;
    allow(config, json!({ "allow": true, "type": kind, "major": major, "minor": minor, "access": access }));
    Ok(())
}

fn allow(config: &mut Value, rule: Value) {
    let rules = &mut config["linux"]["resources"]["devices"];
    if !rules.is_array() {
        *rules = json!([]);
    }
    if let Some(rules) = rules.as_array_mut() {
        rules.push(rule);
    }
}

/// `c 1:3 rwm`; an asterisk, or `a` for the type, is all of them.
fn rule(text: &str) -> anyhow::Result<Value> {
    let invalid = || format!("invalid device cgroup format '{text}'");
    let [kind, numbers, access] = text.split(' ').collect::<Vec<_>>()[..] else { bail!(invalid()) };
    let (major, minor) = numbers.split_once(':').with_context(invalid)?;
    let number = |text: &str| match text {
        "*" => Ok(None),
        _ if text.bytes().all(|b| b.is_ascii_digit()) => text.parse::<u32>().map(Some).with_context(invalid),
        _ => bail!(invalid()),
    };
    let plain = !access.is_empty() && access.len() <= 3 && access.bytes().all(|b| b"rwm".contains(&b));
    if !["a", "b", "c"].contains(&kind) || !plain {
        bail!(invalid());
    }
    let mut rule = json!({ "allow": true, "type": kind, "access": access });
    for (name, number) in [("major", number(major)?), ("minor", number(minor)?)] {
        if let Some(number) = number {
            rule[name] = number.into();
        }
    }
    Ok(rule)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_devices() {
        assert_eq!(parse("/dev/null").unwrap(), ("/dev/null", "/dev/null", "rwm"));
        assert_eq!(parse("/dev/null:r").unwrap(), ("/dev/null", "/dev/null", "r"));
        assert_eq!(parse("/dev/null:/dev/x:rw").unwrap(), ("/dev/null", "/dev/x", "rw"));
        for text in ["null", "/dev/null:/dev/x:z", "/a:/b:r:w", "/dev/null:/../x", ""] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn docker_rules() {
        assert_eq!(
            rule("c 1:3 rw").unwrap(),
            json!({"allow": true, "type": "c", "access": "rw", "major": 1, "minor": 3})
        );
        assert_eq!(rule("b *:* m").unwrap(), json!({"allow": true, "type": "b", "access": "m"}));
        for text in ["", "c 1:3", "c 1 rw", "d 1:3 rw", "c 1:3 rwmr", "c -1:3 r", "c 1:3  r", "c 4294967296:1 r"] {
            assert!(rule(text).is_err(), "{text:?}");
        }
    }
}

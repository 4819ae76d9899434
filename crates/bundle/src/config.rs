//! The runtime configuration (OCI runtime-spec config.md) that an image's configuration becomes. It is built
//! as JSON values: runc and crun read it as it is, and members that other tools add survive.

use crate::users::User;
use crate::{Error, Result, caps, masks, seccomp};
use serde_json::{Value, json};
use std::path::Path;

/// What docker puts there when the image says nothing.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The newest version that runc 1.1 and crun 1.8 both know.
const OCI_VERSION: &str = "1.0.2";

/// `USER` of an image configuration; empty when there is none.
pub fn image_user(image: &Value) -> Result<&str> {
    match &image["config"]["User"] {
        Value::Null => Ok(""),
        Value::String(user) => Ok(user),
        _ => Err(Error::Image("User", "a string")),
    }
}

/// `Entrypoint` and `Cmd` of an image configuration.
pub fn image_command(image: &Value) -> Result<(Vec<String>, Vec<String>)> {
    Ok((strings(image, "Entrypoint")?, strings(image, "Cmd")?))
}

/// The configuration for a container of the image, which runs as `user`. Of the image it takes the command, the
/// environment and the working directory, and nothing else: labels and annotations are data, and some runtimes
/// obey annotations (CVE-2026-53488).
pub fn from_image(image: &Value, user: &User, hostname: &str) -> Result<Value> {
    let (entrypoint, cmd) = image_command(image)?;
    let args = [entrypoint, cmd].concat();
    let mut config = json!({
        "ociVersion": OCI_VERSION,
        "process": {
            "terminal": false,
            "user": {},
            "args": args,
            "env": environment(&strings(image, "Env")?, hostname, user),
            "cwd": working_directory(image)?,
            "capabilities": capabilities(&caps::default()),
            "noNewPrivileges": false,
        },
        "root": { "path": "rootfs", "readonly": false },
        "hostname": hostname,
        "mounts": mounts(),
        "linux": {
            "resources": { "devices": devices() },
            "namespaces": namespaces(),
            "seccomp": seccomp::default(&caps::default()),
            "maskedPaths": masks::masked(),
            "readonlyPaths": masks::read_only(),
        },
    });
    set_user(&mut config, user);
    Ok(config)
}

/// Makes the process run as `user`.
pub fn set_user(config: &mut Value, user: &User) {
    config["process"]["user"] = json!({ "uid": user.uid, "gid": user.gid, "additionalGids": user.additional_gids });
}

/// The three sets that a process starts with. Inheritable and ambient ones stay empty: with them, a program
/// that the process runs would keep privileges by file capabilities (CVE-2022-29162).
pub fn capabilities(names: &[&str]) -> Value {
    json!({ "bounding": names, "effective": names, "permitted": names, "inheritable": [], "ambient": [] })
}

/// Sets `NAME=value` in a list of such, in place when the name is there.
pub fn set_env(env: &mut Vec<String>, assignment: &str) {
    let name = assignment.split('=').next().unwrap_or(assignment);
    match env.iter_mut().find(|old| old.split('=').next() == Some(name)) {
        Some(old) => assignment.clone_into(old),
        None => env.push(assignment.into()),
    }
}

/// Whether a list of `NAME=value` has the name.
pub fn has_env(env: &[String], name: &str) -> bool {
    env.iter().any(|old| old.split('=').next() == Some(name))
}

/// The host name of a container is the start of its ID, as docker's; of any other bundle, the directory's own.
pub(crate) fn hostname_for(dir: &Path) -> String {
    let name = std::path::absolute(dir).ok().and_then(|dir| dir.file_name()?.to_str().map(str::to_owned));
    match name {
        Some(name) if crate::names::is_id(&name) => name[..12].into(),
        Some(name) if is_hostname(&name) => name,
        _ => "dock".into(),
    }
}

/// Letters, digits, hyphens, dots, and underscores as docker's users write them; at most 64 bytes (sethostname(2)).
pub fn is_hostname(name: &str) -> bool {
    let inside = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    !name.is_empty() && name.len() <= 64 && name.bytes().all(inside) && !name.starts_with(['-', '.'])
}

/// Docker's order: PATH, HOSTNAME, the image's own, HOME. The image's HOME wins over that of passwd.
fn environment(image: &[String], hostname: &str, user: &User) -> Vec<String> {
    let mut env = vec![format!("PATH={DEFAULT_PATH}"), format!("HOSTNAME={hostname}")];
    for assignment in image.iter().filter(|assignment| assignment.contains('=')) {
        set_env(&mut env, assignment);
    }
    if !has_env(&env, "HOME") {
        env.push(format!("HOME={}", user.home.as_deref().unwrap_or("/")));
    }
    env
}

fn working_directory(image: &Value) -> Result<String> {
    match &image["config"]["WorkingDir"] {
        Value::Null => Ok("/".into()),
        Value::String(dir) if dir.starts_with('/') => Ok(dir.clone()),
        Value::String(dir) => Ok(format!("/{dir}")),
        _ => Err(Error::Image("WorkingDir", "a string")),
    }
}

fn strings(image: &Value, name: &'static str) -> Result<Vec<String>> {
    let list = match &image["config"][name] {
        Value::Null => return Ok(Vec::new()),
        Value::Array(list) => list,
        _ => return Err(Error::Image(name, "a list of strings")),
    };
    // A NUL would end a C string early: what is checked would not be what is executed.
    let text = |value: &Value| value.as_str().filter(|text| !text.contains('\0')).map(str::to_owned);
    list.iter().map(text).collect::<Option<_>>().ok_or(Error::Image(name, "a list of strings"))
}

/// Docker's seven.
fn mounts() -> Value {
    let mount = |at: &str, kind: &str, source: &str, options: &str| {
        let options: Vec<&str> = options.split(',').collect();
        json!({ "destination": at, "type": kind, "source": source, "options": options })
    };
    json!([
        mount("/proc", "proc", "proc", "nosuid,noexec,nodev"),
        mount("/dev", "tmpfs", "tmpfs", "nosuid,strictatime,mode=755,size=65536k"),
        mount("/dev/pts", "devpts", "devpts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5"),
        mount("/sys", "sysfs", "sysfs", "nosuid,noexec,nodev,ro"),
        mount("/sys/fs/cgroup", "cgroup", "cgroup", "ro,nosuid,noexec,nodev"),
        mount("/dev/mqueue", "mqueue", "mqueue", "nosuid,noexec,nodev"),
        mount("/dev/shm", "tmpfs", "shm", "nosuid,noexec,nodev,mode=1777,size=67108864"),
    ])
}

/// Everything is refused but null, zero, full, random, urandom, tty, console, ptmx and terminals; making
/// nodes is allowed as docker allows it (and needs `CAP_MKNOD`).
fn devices() -> Value {
    let allow = |major: u32, minor: Option<u32>, access: &str| match minor {
        Some(minor) => json!({ "allow": true, "type": "c", "major": major, "minor": minor, "access": access }),
        None => json!({ "allow": true, "type": "c", "major": major, "access": access }),
    };
    json!([
        { "allow": false, "access": "rwm" },
        { "allow": true, "type": "c", "access": "m" },
        { "allow": true, "type": "b", "access": "m" },
        allow(1, Some(3), "rwm"),
        allow(1, Some(5), "rwm"),
        allow(1, Some(7), "rwm"),
        allow(1, Some(8), "rwm"),
        allow(1, Some(9), "rwm"),
        allow(5, Some(0), "rwm"),
        allow(5, Some(1), "rwm"),
        allow(5, Some(2), "rwm"),
        allow(136, None, "rwm"),
    ])
}

/// A namespace of its own of every kind but user and time.
fn namespaces() -> Value {
    let kinds = ["pid", "network", "ipc", "uts", "mount", "cgroup"];
    kinds.iter().map(|kind| json!({ "type": kind })).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(home: Option<&str>) -> User {
        User { uid: 7, gid: 8, additional_gids: vec![8, 9], home: home.map(Into::into) }
    }

    fn env(image: &Value, home: Option<&str>) -> Vec<String> {
        let config = from_image(image, &user(home), "h").unwrap();
        serde_json::from_value(config["process"]["env"].clone()).unwrap()
    }

    #[test]
    fn an_image_without_a_word_gets_dockers_defaults() {
        let config = from_image(&json!({}), &user(None), "h").unwrap();
        assert_eq!(config["process"]["args"], json!([]));
        assert_eq!(config["process"]["cwd"], "/");
        assert_eq!(config["process"]["user"], json!({"uid": 7, "gid": 8, "additionalGids": [8, 9]}));
        assert_eq!(env(&json!({}), None), [&format!("PATH={DEFAULT_PATH}"), "HOSTNAME=h", "HOME=/"]);
        for set in ["inheritable", "ambient"] {
            assert_eq!(config["process"]["capabilities"][set], json!([]), "CVE-2022-29162");
        }
    }

    #[test]
    fn home_comes_from_the_image_first_then_from_passwd() {
        let image = json!({"config": {"Env": ["HOME=/image", "PATH=/x", "A=1", "A=2", "noise"]}});
        assert_eq!(env(&image, Some("/passwd")), ["PATH=/x", "HOSTNAME=h", "HOME=/image", "A=2"]);
        assert_eq!(env(&json!({}), Some("/passwd"))[2], "HOME=/passwd");
    }

    #[test]
    fn entrypoint_then_cmd_and_an_absolute_directory() {
        let image = json!({"config": {"Entrypoint": ["/e", "a b"], "Cmd": ["c"], "WorkingDir": "w"}});
        let config = from_image(&image, &user(None), "h").unwrap();
        assert_eq!(config["process"]["args"], json!(["/e", "a b", "c"]));
        assert_eq!(config["process"]["cwd"], "/w");
    }

    #[test]
    fn cve_2026_53488_labels_never_reach_the_runtime() {
        let image = json!({"config": {"Labels": {"run.oci.hooks": "x"}}, "annotations": {"run.oci.handler": "x"}});
        let text = from_image(&image, &user(None), "h").unwrap().to_string();
        assert!(!text.contains("run.oci") && !text.contains("annotations"));
    }

    #[test]
    fn wrong_types_are_errors() {
        for image in [
            json!({"config": {"Env": "A=1"}}),
            json!({"config": {"Env": [1]}}),
            json!({"config": {"Cmd": ["a\u{0}b"]}}),
            json!({"config": {"Entrypoint": {"a": 1}}}),
            json!({"config": {"WorkingDir": 1}}),
        ] {
            assert!(from_image(&image, &user(None), "h").is_err(), "{image}");
        }
        assert!(image_user(&json!({"config": {"User": 0}})).is_err());
    }

    #[test]
    fn host_names() {
        let id = "0123456789abcdef".repeat(4);
        for (dir, want) in [(&format!("/c/{id}")[..], "0123456789ab"), ("/x/box", "box"), ("/x/a b", "dock")] {
            assert_eq!(hostname_for(Path::new(dir)), want);
        }
    }
}

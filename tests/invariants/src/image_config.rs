use crate::parts;
use bundle::{config, users};
use serde_json::Value;

/// An image configuration, a zero byte, an /etc/passwd, a zero byte, an /etc/group. What the image says never
/// steers the host: no capability outlives an exec, every mask is there, there are no annotations, no hooks and no
/// mounts but the usual ones; and a user that is all digits is that number (CVE-2024-40635).
pub fn image_config(input: &[u8]) {
    let [image, passwd, group] = parts::<3>(input);
    let Ok(image) = serde_json::from_slice::<Value>(image) else { return };
    let Ok(spec) = config::image_user(&image) else { return };
    let Ok(user) = users::resolve(spec, Some(passwd), Some(group)) else { return };
    let name = spec.split(':').next().unwrap_or_default();
    if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit()) {
        assert_eq!(Ok(user.uid), name.parse(), "user {spec:?}");
    }
    let Ok(config) = config::from_image(&image, &user, "box") else { return };
    let empty = || serde_json::json!({"config": {}});
    let usual = config::from_image(&empty(), &user, "box").expect("an empty image has a configuration");
    for member in ["root", "hostname", "mounts", "linux", "annotations", "hooks"] {
        assert_eq!(config.get(member), usual.get(member), "{member} is not the image's to say");
    }
    for member in ["capabilities", "noNewPrivileges", "rlimits", "terminal", "user"] {
        assert_eq!(config["process"].get(member), usual["process"].get(member), "{member} is not the image's to say");
    }
    let capabilities = &config["process"]["capabilities"];
    assert_eq!((&capabilities["inheritable"], &capabilities["ambient"]), (&empty_list(), &empty_list()));
    assert!(config["process"]["cwd"].as_str().is_some_and(|cwd| cwd.starts_with('/')), "{config}");
}

fn empty_list() -> Value {
    Value::Array(Vec::new())
}

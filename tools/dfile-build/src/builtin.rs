//! Build arguments that are for the builder and not for the Dockerfile (reference, "BuildKit built-in build args").

use std::collections::BTreeMap;
use toolkit::usage;

const CHECK: &str = "BUILDKIT_DOCKERFILE_CHECK";
const HOSTNAME: &str = "BUILDKIT_SANDBOX_HOSTNAME";
const INLINE_CACHE: &str = "BUILDKIT_INLINE_CACHE";
const KEEP_GIT_DIR: &str = "BUILDKIT_CONTEXT_KEEP_GIT_DIR";
const NAMESPACE: &str = "BUILDKIT_CACHE_MOUNT_NS";

/// What they say.
#[derive(Debug, Default)]
pub struct Builtin {
    /// Instead of the directive `# check=`.
    pub check: Option<String>,
    /// Of RUN.
    pub hostname: Option<String>,
    /// The same as `--cache-to type=inline`.
    pub inline_cache: bool,
    /// A git context has its `.git`.
    pub keep_git_dir: bool,
    /// Before the IDs of cache mounts.
    pub namespace: Option<String>,
}

impl Builtin {
    pub fn of(args: &BTreeMap<String, String>) -> anyhow::Result<Self> {
        let text = |name: &str| args.get(name).filter(|value| !value.is_empty()).cloned();
        let flag = |name: &str| match args.get(name).map(String::as_str) {
            None | Some("" | "0" | "f" | "F" | "false" | "False" | "FALSE") => Ok(false),
            Some("1" | "t" | "T" | "true" | "True" | "TRUE") => Ok(true),
            Some(value) => Err(usage(format!("--build-arg {name}={value}: want true or false"))),
        };
        Ok(Self {
            check: text(CHECK),
            hostname: text(HOSTNAME),
            inline_cache: flag(INLINE_CACHE)?,
            keep_git_dir: flag(KEEP_GIT_DIR)?,
            namespace: text(NAMESPACE),
        })
    }
}

/// Whether it is one of them: no ARG need declare it.
pub fn is_one(name: &str) -> bool {
    [CHECK, HOSTNAME, INLINE_CACHE, KEEP_GIT_DIR, NAMESPACE].contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_gos() {
        let of = |value: &str| Builtin::of(&BTreeMap::from([(INLINE_CACHE.to_owned(), value.to_owned())]));
        assert!(of("1").unwrap().inline_cache && of("TRUE").unwrap().inline_cache);
        assert!(!of("0").unwrap().inline_cache && !of("").unwrap().inline_cache);
        assert!(of("yes").is_err());
    }
}

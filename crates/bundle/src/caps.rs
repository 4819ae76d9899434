//! Capability names: the default set and the whole set are data files with their source.

/// Not a capability of Linux.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown capability: \"CAP_{0}\"")]
pub struct Unknown(String);

/// What a container has unless it is asked for otherwise.
pub fn default() -> Vec<&'static str> {
    crate::masks::lines(include_str!("../data/capabilities"))
}

/// What a container of docker has unless it is asked for otherwise.
pub fn docker() -> Vec<&'static str> {
    crate::masks::lines(include_str!("../data/docker-capabilities"))
}

/// Every capability, in the order of their numbers.
pub fn all() -> Vec<&'static str> {
    crate::masks::lines(include_str!("../data/all-capabilities"))
}

/// The full name for `CAP_NET_ADMIN`, `NET_ADMIN` or `net_admin`.
pub fn parse(name: &str) -> Result<&'static str, Unknown> {
    let upper = name.to_ascii_uppercase();
    let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
    all().into_iter().find(|known| &known[4..] == bare).ok_or_else(|| Unknown(bare.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_hold_what_they_say() {
        assert_eq!((default().len(), docker().len()), (11, 14));
        assert!(default().iter().all(|name| docker().contains(name)));
        assert_eq!(all().len(), 41);
        assert_eq!((all()[21], all()[40]), ("CAP_SYS_ADMIN", "CAP_CHECKPOINT_RESTORE"));
        assert!(default().iter().all(|name| all().contains(name)));
    }

    #[test]
    fn names_are_taken_as_docker_takes_them() {
        for name in ["NET_ADMIN", "net_admin", "CAP_NET_ADMIN", "cap_net_admin"] {
            assert_eq!(parse(name), Ok("CAP_NET_ADMIN"));
        }
        for name in ["", "CAP_", "CAP_CAP_NET_ADMIN", "NET", "ALL"] {
            assert!(parse(name).is_err(), "{name:?}");
        }
    }
}

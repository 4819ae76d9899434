//! Options of a mount as fstab(5) and mount(8) write them, and what the kernel makes of each.

use super::Propagation;
use rustix::mount::MountAttrFlags;
use serde::Serialize;

/// What holds for a mount whatever file system it shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Attributes(pub(super) u64);

impl Attributes {
    /// Nothing may be written.
    pub const READ_ONLY: Self = Self(1);
    /// Set-user-ID bits and file capabilities do nothing.
    pub const NOSUID: Self = Self(2);
    /// Device nodes do nothing.
    pub const NODEV: Self = Self(4);
    /// Nothing can be executed.
    pub const NOEXEC: Self = Self(8);

    const WORDS: [(&'static str, u64); 8] = [
        ("ro", 1),
        ("nosuid", 2),
        ("nodev", 4),
        ("noexec", 8),
        ("noatime", 0x10),
        ("strictatime", 0x20),
        ("nodiratime", 0x80),
        ("nosymfollow", 0x20_0000),
    ];

    const OPPOSITES: [(&'static str, u64); 7] = [
        ("rw", 1),
        ("suid", 2),
        ("dev", 4),
        ("exec", 8),
        ("atime", 0x10),
        ("diratime", 0x80),
        ("symfollow", 0x20_0000),
    ];

    /// Both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
    pub(super) fn is_empty(&self) -> bool {
        self.0 == 0
    }

    pub(super) fn flags(self) -> MountAttrFlags {
        MountAttrFlags::from_bits_retain(u32::try_from(self.0).unwrap_or(0))
    }

    pub(super) fn words<'a>(self) -> impl Iterator<Item = &'a str> {
        Self::WORDS.iter().filter(move |(_, bit)| self.0 & bit != 0).map(|(word, _)| *word)
    }
}

/// Options that say what is so anyhow, or what only remounting knows.
const USUAL: [&str; 21] = [
    "defaults",
    "suid",
    "dev",
    "exec",
    "atime",
    "diratime",
    "relatime",
    "async",
    "symfollow",
    "nostrictatime",
    "norelatime",
    "silent",
    "loud",
    "iversion",
    "noiversion",
    "acl",
    "noacl",
    "nomand",
    "nolazytime",
    "remount",
    "rrelatime",
];

/// A mount as fstab(5) and mount(8) write it, sorted into what the kernel wants apart.
#[derive(Debug, Clone, Default)]
pub struct Mount {
    /// `bind` or `rbind` was among the options.
    pub bind: bool,
    /// `rbind`.
    pub recursive: bool,
    /// The attributes of the mount.
    pub attributes: Attributes,
    /// `rro`, `rnosuid`, …: attributes of this mount and of those below it.
    pub recursive_attributes: Attributes,
    /// `rrw`, `rsuid`, …: the same taken away.
    pub recursive_clear: Attributes,
    /// `rprivate`, `rslave`, …
    pub propagation: Option<Propagation>,
    /// `tmpcopyup`: a tmpfs starts with what the image has there.
    pub copy_up: bool,
    /// `idmap` (false) or `ridmap` (true).
    pub idmap: Option<bool>,
    /// What is left for the file system: `size=64m`, `gid=5`.
    pub options: Vec<String>,
}

impl Mount {
    /// Sorts the options. Words that are already so by default (`rw`, `relatime`, …) disappear.
    pub fn parse<'a>(words: impl IntoIterator<Item = &'a str>) -> Self {
        let mut mount = Self::default();
        for word in words {
            match word {
                "bind" => mount.bind = true,
                "rbind" => (mount.bind, mount.recursive) = (true, true),
                "tmpcopyup" => mount.copy_up = true,
                "idmap" => mount.idmap = Some(false),
                "ridmap" => mount.idmap = Some(true),
                "private" | "rprivate" => mount.propagation = Some(Propagation::Private),
                "slave" | "rslave" => mount.propagation = Some(Propagation::Slave),
                "shared" | "rshared" => mount.propagation = Some(Propagation::Shared),
                "unbindable" | "runbindable" => mount.propagation = Some(Propagation::Unbindable),
                "rw" => mount.attributes.0 &= !1,
                word if USUAL.contains(&word) => {}
                word => {
                    let bit = |word: &str, list: &[(&str, u64)]| Some(list.iter().find(|(known, _)| *known == word)?.1);
                    let below = word.strip_prefix('r').unwrap_or_default();
                    if let Some(bit) = bit(word, &Attributes::WORDS) {
                        mount.attributes.0 |= bit;
                    } else if let Some(bit) = bit(below, &Attributes::WORDS) {
                        mount.recursive_attributes.0 |= bit;
                        mount.recursive_clear.0 &= !bit;
                    } else if let Some(bit) = bit(below, &Attributes::OPPOSITES) {
                        mount.recursive_clear.0 |= bit;
                        mount.recursive_attributes.0 &= !bit;
                    } else {
                        mount.options.push(word.to_owned());
                    }
                }
            }
        }
        mount
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_sorted() {
        let mount = Mount::parse(["nosuid", "noexec", "ro", "rbind", "rslave", "size=1m", "mode=755", "relatime"]);
        assert!(mount.bind && mount.recursive);
        assert_eq!(mount.attributes.words().collect::<Vec<_>>(), ["ro", "nosuid", "noexec"]);
        assert_eq!(mount.propagation, Some(Propagation::Slave));
        assert_eq!(mount.options, ["size=1m", "mode=755"]);
    }
}

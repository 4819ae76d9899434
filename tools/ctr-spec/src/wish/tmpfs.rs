//! `--tmpfs PATH:OPTIONS`.

use super::{Kind, Wish, destination};
use anyhow::bail;

/// `/path[:options]` of `--tmpfs`.
pub fn from_tmpfs(text: &str) -> anyhow::Result<Wish> {
    let (path, wishes) = text.split_once(':').unwrap_or((text, ""));
    let target = destination(path)?;
    let mut options: Vec<String> = ["nosuid", "noexec", "nodev"].map(Into::into).to_vec();
    for wish in wishes.split(',').filter(|wish| !wish.is_empty()) {
        match wish {
            "suid" | "exec" | "dev" => options.retain(|old| old.strip_prefix("no") != Some(wish)),
            "nosuid" | "noexec" | "nodev" if options.iter().any(|old| old == wish) => {}
            "ro" | "rw" | "nosuid" | "noexec" | "nodev" | "noatime" | "relatime" | "strictatime" => {
                options.push(wish.into());
            }
            _ => match wish.split_once('=') {
                Some(("size" | "mode" | "uid" | "gid" | "nr_inodes" | "nr_blocks", value)) if !value.is_empty() => {
                    options.push(wish.into());
                }
                _ => {
                    let parts: Vec<_> = wish.split('=').map(|part| format!("{part:?}")).collect();
                    bail!("invalid tmpfs option [{}]", parts.join(" "))
                }
            },
        }
    }
    Ok(Wish { kind: Kind::Tmpfs { options, listed: false }, target, read_only: false, mode: wishes.into() })
}

//! The `--flags` of an instruction.

use super::slip::distance;
use crate::parse::{Flag, Statement};
use anyhow::bail;

/// Those that may stand without a value, and those that may stand more than once.
const SWITCHES: [&str; 4] = ["link", "parents", "keep-git-dir", "unpack"];
const LISTS: [&str; 2] = ["mount", "exclude"];

pub(super) fn check_flags(s: &Statement, allowed: &[&str]) -> anyhow::Result<()> {
    for (index, Flag { name, value }) in s.flags.iter().enumerate() {
        let name = name.as_str();
        if !allowed.contains(&name) {
            let near = allowed.iter().map(|known| (distance(name, known), known)).min();
            match near {
                Some((far, known)) if far <= 2 => bail!("{} has no flag --{name}: did you mean --{known}?", s.name),
                _ => bail!("{} has no flag --{name}", s.name),
            }
        }
        if value.is_none() && !SWITCHES.contains(&name) {
            bail!("{} --{name} needs a value: --{name}=…", s.name);
        }
        if !LISTS.contains(&name) && s.flags[..index].iter().any(|other| other.name == name) {
            bail!("{} --{name} stands twice", s.name);
        }
    }
    Ok(())
}

pub(super) fn flag(s: &Statement, name: &str) -> Option<String> {
    s.flags.iter().find(|flag| flag.name == name).and_then(|flag| flag.value.clone())
}

/// All values of a flag, in order.
pub(super) fn flags(s: &Statement, name: &str) -> Vec<String> {
    s.flags.iter().filter(|flag| flag.name == name).filter_map(|flag| flag.value.clone()).collect()
}

/// `--link`, `--link=true`, `--link=false`; none when it does not stand there.
pub(super) fn switch(s: &Statement, name: &str) -> anyhow::Result<Option<bool>> {
    let Some(found) = s.flags.iter().find(|flag| flag.name == name) else { return Ok(None) };
    match found.value.as_deref() {
        None | Some("true" | "1" | "t" | "T" | "TRUE" | "True") => Ok(Some(true)),
        Some("false" | "0" | "f" | "F" | "FALSE" | "False") => Ok(Some(false)),
        Some(other) => bail!("{} --{name}={other}: want true or false", s.name),
    }
}

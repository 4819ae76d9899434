//! Limits of each process for itself: setrlimit(2).

use crate::flag;
use anyhow::{Context, bail};
use serde_json::{Value, json};

pub(super) fn set_ulimit(config: &mut Value, wish: &str) -> anyhow::Result<()> {
    const NAMES: [&str; 16] = [
        "core",
        "cpu",
        "data",
        "fsize",
        "locks",
        "memlock",
        "msgqueue",
        "nice",
        "nofile",
        "nproc",
        "rss",
        "rtprio",
        "rttime",
        "sigpending",
        "stack",
        "as",
    ];
    let (name, values) = wish.split_once('=').with_context(|| format!("invalid ulimit argument: {wish}"))?;
    if !NAMES.contains(&name) {
        bail!("invalid ulimit type: {name}");
    }
    let value = |text: &str| match text {
        "-1" | "unlimited" => Ok(u64::MAX),
        _ => flag::INT.number(text).map_err(anyhow::Error::msg).and_then(|number| Ok(u64::try_from(number)?)),
    };
    let (soft, hard) = values.split_once(':').unwrap_or((values, values));
    if hard.contains(':') {
        bail!("too many limit value arguments - {values}, can only have up to two, `soft[:hard]`");
    }
    let (soft, hard) = (value(soft)?, value(hard)?);
    if soft > hard {
        bail!("ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}");
    }
    let kind = format!("RLIMIT_{}", name.to_ascii_uppercase());
    let limits = &mut config["process"]["rlimits"];
    if !limits.is_array() {
        *limits = json!([]);
    }
    if let Some(limits) = limits.as_array_mut() {
        limits.retain(|old| old["type"] != kind.as_str());
        limits.push(json!({ "type": kind, "soft": soft, "hard": hard }));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ulimit_of_a_kind_wins() {
        let mut config = json!({"process": {}});
        for wish in ["nofile=1:2", "core=-1", "nofile=5"] {
            set_ulimit(&mut config, wish).unwrap();
        }
        let want = json!([
            {"type": "RLIMIT_CORE", "soft": u64::MAX, "hard": u64::MAX},
            {"type": "RLIMIT_NOFILE", "soft": 5, "hard": 5},
        ]);
        assert_eq!(config["process"]["rlimits"], want);
        for wish in ["nofile", "x=1", "nofile=2:1", "nofile=a", "nofile=1:2:3"] {
            assert!(set_ulimit(&mut config, wish).is_err(), "{wish}");
        }
    }
}

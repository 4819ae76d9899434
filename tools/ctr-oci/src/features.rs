//! features: what this runtime can do (OCI runtime-spec features.md), a data file.

use toolkit::Out;

/// The newest version of the specification that is known here. Every 1.x is read.
pub const NEWEST: &str = "1.3.0";

pub fn verb(out: &mut Out) -> anyhow::Result<()> {
    out.text(include_str!("../data/features.json"))
}

//! Moments and choices for tests that disturb: random, and the same again with the same `DOCK_SEED`.

use std::time::SystemTime;

/// Numbers that look random (xorshift).
#[derive(Debug)]
pub struct Dice(u64);

impl Dice {
    /// Those of `$DOCK_SEED`, else of the clock; the seed is printed, for the one who wants to see it again.
    #[allow(clippy::new_without_default, reason = "no two are alike")]
    pub fn new() -> Self {
        let now =
            || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(1, |time| time.subsec_nanos().into());
        let seed = number("DOCK_SEED").unwrap_or_else(now);
        println!("DOCK_SEED={seed}");
        Self(seed | 1)
    }

    /// A number below `sides`.
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// How often: `$DOCK_ROUNDS`, else `default`.
pub fn rounds(default: u64) -> u64 {
    number("DOCK_ROUNDS").unwrap_or(default)
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

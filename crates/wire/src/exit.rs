//! Exit codes of every tool, listed in dock-tools(7).

/// The work is done and the result is printed.
pub const DONE: u8 = 0;
/// The operation failed; for predicates and comparisons: "no", "differs".
pub const FAILED: u8 = 1;
/// The command line was wrong.
pub const USAGE: u8 = 2;
/// ctr-spawn and ctr-exec only: our own failure, usage included, so that 1 and 2 stay the process's own.
pub const SPAWN_FAILED: u8 = 125;
/// ctr-spawn and ctr-exec only: the command was found and could not be executed.
pub const NOT_EXECUTABLE: u8 = 126;
/// ctr-spawn and ctr-exec only: the command was not found.
pub const NOT_FOUND: u8 = 127;
/// ctr-spawn and ctr-exec only: the process died of signal *n*: 128 + n.
pub const SIGNAL_BASE: u8 = 128;

//! The signal of STOPSIGNAL.

/// A number, or a name with or without SIG.
pub(super) fn is_signal(text: &str) -> bool {
    const NAMES: [&str; 31] = [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM",
        "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF",
        "WINCH", "IO", "PWR", "SYS",
    ];
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    // Go's names of the real-time signals, 34 to 64: half of them counted from each end.
    let distance = |end: &str, sign: char, most: u8| match name.strip_prefix(end) {
        Some("") => true,
        Some(rest) => {
            rest.strip_prefix(sign).and_then(|n| n.parse::<u8>().ok()).is_some_and(|n| (1..=most).contains(&n))
        }
        None => false,
    };
    NAMES.contains(&name)
        || distance("RTMIN", '+', 15)
        || distance("RTMAX", '-', 14)
        || text.parse::<u8>().is_ok_and(|n| (1..=64).contains(&n))
}

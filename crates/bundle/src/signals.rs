//! Signals by name, as docker takes them: `TERM`, `SIGTERM`, `sigterm`, `15`, `RTMIN+3`.

/// Linux's numbers on every architecture that containers commonly run on (signal(7)).
const NAMES: [(&str, i32); 35] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("IOT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("POLL", 29),
    ("PWR", 30),
    ("SYS", 31),
    ("UNUSED", 31),
];
const RTMIN: i32 = 34;
const RTMAX: i32 = 64;

/// The number of a signal, or `None` when there is no such one. 0 is none.
pub fn number(name: &str) -> Option<i32> {
    if let Ok(number) = name.parse::<i32>() {
        return (1..=RTMAX).contains(&number).then_some(number);
    }
    let upper = name.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let offset = |rest: &str| rest.parse::<i32>().ok().filter(|offset| (0..=RTMAX - RTMIN).contains(offset));
    match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(""), _) => Some(RTMIN),
        (_, Some("")) => Some(RTMAX),
        (Some(rest), _) => Some(RTMIN + offset(rest.strip_prefix('+')?)?),
        (_, Some(rest)) => Some(RTMAX - offset(rest.strip_prefix('-')?)?),
        _ => NAMES.iter().find(|(known, _)| *known == name).map(|(_, number)| *number),
    }
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn names_and_numbers() {
        let good = [("TERM", 15), ("SIGTERM", 15), ("sigkill", 9), ("9", 9), ("RTMIN+3", 37), ("SIGRTMAX-1", 63)];
        for (name, want) in good {
            assert_eq!(number(name), Some(want), "{name}");
        }
        for bad in ["", "SIG", "0", "65", "-9", "TERMX", "RTMIN+31", "RTMIN-1", "RTMAX+1", "15 "] {
            assert_eq!(number(bad), None, "{bad}");
        }
    }
}

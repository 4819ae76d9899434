//! HEALTHCHECK, as the configuration has it and as the history does.

use super::quoted;
use crate::Healthcheck;
use serde_json::{Map, Value};

/// The member of the configuration; what is 0 is inherited, and left out.
pub(super) fn member(check: &Healthcheck) -> Value {
    let mut members = Map::new();
    members.insert("Test".into(), check.test.clone().into());
    for (name, value) in [
        ("Interval", check.interval),
        ("Timeout", check.timeout),
        ("StartPeriod", check.start_period),
        ("StartInterval", check.start_interval),
        ("Retries", check.retries),
    ] {
        if value != 0 {
            members.insert(name.into(), value.into());
        }
    }
    Value::Object(members)
}

/// `&{["CMD-SHELL" "true"] "5s" "0s" "0s" "0s" '\x03'}`
pub(super) fn line(check: &Healthcheck) -> String {
    let times = [check.interval, check.timeout, check.start_period, check.start_interval];
    let times: Vec<String> = times.iter().map(|nanos| format!("\"{}\"", go_duration(*nanos))).collect();
    format!("&{{{} {} '\\x{:02x}'}}", quoted(&check.test), times.join(" "), check.retries)
}

/// Go's `Duration.String` for a millisecond and more.
fn go_duration(nanos: u64) -> String {
    let seconds = |nanos: u64| {
        let text = format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000);
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    match nanos {
        0 => "0s".into(),
        n if n < 1_000_000_000 => {
            let text = format!("{}.{:06}", n / 1_000_000, n % 1_000_000);
            format!("{}ms", text.trim_end_matches('0').trim_end_matches('.'))
        }
        n if n < 60_000_000_000 => format!("{}s", seconds(n)),
        n => {
            let minutes = n / 60_000_000_000;
            let rest = seconds(n % 60_000_000_000);
            if minutes < 60 {
                format!("{minutes}m{rest}s")
            } else {
                format!("{}h{}m{rest}s", minutes / 60, minutes % 60)
            }
        }
    }
}

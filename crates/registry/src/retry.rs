//! Which failures are worth another try, and when.

use std::time::Duration;

/// How often a request is sent at most.
pub(crate) const TRIES: u32 = 3;
/// A registry may ask us to wait; not for longer than a person would.
const LONGEST_WAIT: Duration = Duration::from_secs(120);

/// Waits before try number `next` (1 is the first repetition); `asked` is the `Retry-After` header. False, at once,
/// when the registry wants more time than a person has.
pub(crate) fn wait(next: u32, asked: Option<&str>) -> bool {
    let delay = delay(next, asked, jiff::Timestamp::now());
    if delay <= LONGEST_WAIT {
        std::thread::sleep(delay);
    }
    delay <= LONGEST_WAIT
}

/// RFC 9110 section 10.2.3: seconds, or a date. What is neither is not heard.
fn delay(next: u32, asked: Option<&str>, now: jiff::Timestamp) -> Duration {
    let until = |text: &str| {
        let date = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
        Some(Duration::try_from(date.duration_since(now)).unwrap_or_default())
    };
    let asked = asked.and_then(|text| text.trim().parse().map(Duration::from_secs).ok().or_else(|| until(text.trim())));
    asked.unwrap_or(Duration::from_millis(250 << next.min(5)))
}

/// Too many requests, or the server's own trouble.
pub(crate) fn worth_it(status: u16) -> bool {
    matches!(status, 408 | 429 | 500 | 502 | 503 | 504)
}

/// Nothing came back. What will be no different next time is not tried again.
pub(crate) fn transient(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::Io(error) => error.kind() != std::io::ErrorKind::InvalidData,
        ureq::Error::Timeout(_) | ureq::Error::ConnectionFailed | ureq::Error::Protocol(_) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_are_what_the_registry_asks_for() {
        let now = "1999-12-31T23:59:00Z".parse().unwrap();
        let delay = |next, asked| delay(next, asked, now);
        assert_eq!(delay(1, None), Duration::from_millis(500));
        assert_eq!(delay(2, None), Duration::from_secs(1));
        assert_eq!(delay(1, Some("0")), Duration::ZERO);
        assert_eq!(delay(1, Some(" 7 ")), Duration::from_secs(7));
        assert_eq!(delay(1, Some("Fri, 31 Dec 1999 23:59:59 GMT")), Duration::from_secs(59));
        assert_eq!(delay(1, Some("Fri, 31 Dec 1999 23:00:00 GMT")), Duration::ZERO, "it is over");
        assert_eq!(delay(1, Some("soon")), delay(1, None));
        assert!(!wait(1, Some("86400")), "not waited for");
    }
}

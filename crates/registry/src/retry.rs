//! Which failures are worth another try, and when.

use std::time::Duration;

/// How often a request is sent at most.
pub(crate) const TRIES: u32 = 3;
/// A registry may ask us to wait; not for longer than a person would.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Waits before try number `next` (1 is the first repetition); `asked` is the `Retry-After` header.
pub(crate) fn wait(next: u32, asked: Option<&str>) {
    std::thread::sleep(delay(next, asked));
}

fn delay(next: u32, asked: Option<&str>) -> Duration {
    match asked.and_then(|text| text.trim().parse().ok()) {
        Some(seconds) => Duration::from_secs(seconds).min(LONGEST_WAIT),
        None => Duration::from_millis(250 << next.min(5)),
    }
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
    fn waits_grow_and_are_capped() {
        assert_eq!(delay(1, None), Duration::from_millis(500));
        assert_eq!(delay(2, None), Duration::from_secs(1));
        assert_eq!(delay(1, Some("0")), Duration::ZERO);
        assert_eq!(delay(1, Some("86400")), LONGEST_WAIT);
        assert_eq!(delay(1, Some("Fri, 31 Dec 1999 23:59:59 GMT")), delay(1, None));
    }
}

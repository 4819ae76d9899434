//! `--restart`: whether a container that has ended is started again, and after which pause. Docker's back-off:
//! 100 ms, doubled each time up to a minute; ten seconds of life make it 100 ms again.

use bundle::Restart;
use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(60);
/// A life as long as this was a good one.
const GOOD: Duration = Duration::from_secs(10);

/// The policy and where it stands.
#[derive(Debug)]
pub struct Policy {
    restart: Restart,
    pause: Duration,
    /// How often it was started again.
    pub count: u64,
}

impl Policy {
    pub fn new(restart: Restart) -> Self {
        Self { restart, pause: Duration::ZERO, count: 0 }
    }

    /// The pause before the next life, or `None` when this was the last one.
    pub fn after(&mut self, code: u8, lived: Duration, stopped: bool) -> Option<Duration> {
        if stopped {
            return None;
        }
        let again = match self.restart.name.as_str() {
            "always" | "unless-stopped" => true,
            "on-failure" => {
                let most = self.restart.maximum_retry_count;
                code != 0 && (most == 0 || self.count < most)
            }
            _ => false,
        };
        if !again {
            return None;
        }
        self.count += 1;
        self.pause = if self.pause.is_zero() || lived >= GOOD { FIRST } else { (self.pause * 2).min(LONGEST) };
        Some(self.pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(name: &str, most: u64) -> Policy {
        Policy::new(Restart { name: name.into(), maximum_retry_count: most })
    }

    #[test]
    fn pauses_double_up_to_a_minute_and_a_good_life_counts() {
        let mut always = policy("always", 0);
        let mut pauses = Vec::new();
        for _ in 0..12 {
            pauses.push(always.after(0, Duration::from_secs(1), false).unwrap().as_millis());
        }
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 60000, 60000]);
        assert_eq!(always.after(1, GOOD, false), Some(FIRST));
        assert_eq!(always.after(1, GOOD, true), None, "a person's stop is the last word");
    }

    #[test]
    fn who_comes_back() {
        assert_eq!(policy("no", 0).after(1, GOOD, false), None);
        assert_eq!(policy("on-failure", 0).after(0, GOOD, false), None);
        assert!(policy("unless-stopped", 0).after(0, GOOD, false).is_some());
        let mut twice = policy("on-failure", 2);
        assert!(twice.after(1, GOOD, false).is_some() && twice.after(137, GOOD, false).is_some());
        assert_eq!(twice.after(1, GOOD, false), None);
        assert_eq!(twice.count, 2);
    }
}

//! When to try again, and for how long. Pure but for the wall clock that a server's date is held against.

use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

/// A server that wants a longer pause is left alone: whoever asked for the image tries again later.
pub const PAUSE_MAX: Duration = Duration::from_secs(120);

/// Tries of one piece of work, the waits between them doubling.
#[derive(Debug, Clone)]
pub struct Retries {
    /// Tries that may still follow a failure.
    most: u32,
    failures: u32,
    first: Duration,
}

impl Retries {
    pub fn new(most: u32, first: Duration) -> Retries {
        Retries { most, failures: 0, first }
    }

    /// The wait before the next try; none: enough. `asked` is what the server wants, `random` is in `[0, 1)` and spreads a fleet.
    pub fn next(&mut self, asked: Option<Duration>, random: f64) -> Option<Duration> {
        if self.failures >= self.most || asked.is_some_and(|asked| asked > PAUSE_MAX) {
            return None;
        }
        let span = self.first.saturating_mul(1 << self.failures.min(16)).min(PAUSE_MAX);
        self.failures += 1;
        // At least half of the span: a server in trouble needs it.
        Some(asked.unwrap_or_else(|| span.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0)))
    }

    /// The work goes forward, if with breaks.
    pub fn progressed(&mut self) {
        self.failures = 0;
    }
}

/// A number in `[0, 1)` from the randomness that std draws for its hash maps; good enough to spread a fleet.
pub fn random() -> f64 {
    let bits = std::collections::hash_map::RandomState::new().build_hasher().finish() >> 11;
    bits as f64 / (1u64 << 53) as f64
}

/// `Retry-After` (RFC 9110 section 10.2.3): seconds, or a date that is held against `now`.
pub fn retry_after(header: &str, now: jiff::Timestamp) -> Option<Duration> {
    let header = header.trim();
    if !header.is_empty() && header.bytes().all(|c| c.is_ascii_digit()) {
        return Some(Duration::from_secs(header.parse().unwrap_or(u64::MAX)));
    }
    let date = jiff::fmt::rfc2822::parse(header).ok()?.timestamp();
    Some(Duration::try_from(date.duration_since(now)).unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_and_end() {
        let mut retries = Retries::new(3, Duration::from_secs(1));
        let waits: Vec<_> = (0..4).map(|_| retries.next(None, 0.0).map(|wait| wait.as_millis())).collect();
        assert_eq!(waits, [Some(500), Some(1000), Some(2000), None]);
        retries.progressed();
        assert_eq!(retries.next(None, 1.0), Some(Duration::from_secs(1)));
        assert!(Retries::new(u32::MAX, Duration::MAX).next(None, 1.0).unwrap() <= PAUSE_MAX);
    }

    #[test]
    fn a_server_may_say_how_long_within_reason() {
        let mut retries = Retries::new(9, Duration::from_secs(1));
        assert_eq!(retries.next(Some(Duration::ZERO), 1.0), Some(Duration::ZERO));
        assert_eq!(retries.next(Some(PAUSE_MAX), 1.0), Some(PAUSE_MAX));
        assert_eq!(retries.next(Some(PAUSE_MAX + Duration::from_secs(1)), 1.0), None);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let check = |header: &str, expected: Option<u64>| {
            assert_eq!(retry_after(header, now).map(|wait| wait.as_secs()), expected, "{header}");
        };
        check("0", Some(0));
        check(" 17 ", Some(17));
        check("99999999999999999999999", Some(u64::MAX));
        check("Thu, 01 Jan 2026 00:01:00 GMT", Some(60));
        check("Wed, 31 Dec 2025 00:01:00 GMT", Some(0));
        for bad in ["", "-1", "soon", "1.5", "Thu"] {
            check(bad, None);
        }
    }
}

//! When to try the broker again, and in which version of MQTT. Pure: randomness and time are given.

use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

use crate::model::Protocol;

/// A session that held for so long ends a series of failures.
const HELD: Duration = Duration::from_secs(60);
/// The first attempt after a loss comes within this time, spread so that a fleet does not come at once.
const FIRST: Duration = Duration::from_secs(1);

/// Waits between attempts: spread over the whole of a span that doubles ("full jitter").
#[derive(Debug)]
pub struct Backoff {
    most: Duration,
    failures: u32,
}

impl Backoff {
    pub fn new(most: Duration) -> Backoff {
        Backoff { most, failures: 0 }
    }

    /// The wait after a session that held for `held` (zero: it did not come about). `random` is in `[0, 1)`.
    pub fn next(&mut self, held: Duration, random: f64) -> Duration {
        if held >= HELD {
            self.failures = 0;
        }
        let span = FIRST.saturating_mul(1u32.checked_shl(self.failures).unwrap_or(u32::MAX)).min(self.most);
        self.failures = (self.failures + 1).min(31);
        span.mul_f64(random.clamp(0.0, 1.0))
    }
}

/// A number in `[0, 1)` from the randomness that std draws for its hash maps; good enough to spread a fleet.
pub fn random() -> f64 {
    let bits = std::collections::hash_map::RandomState::new().build_hasher().finish() >> 11;
    bits as f64 / (1u64 << 53) as f64
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    V5,
    /// MQTT 3.1.1
    V3,
}

/// Which version to speak.
#[derive(Debug)]
pub struct Choice {
    setting: Protocol,
    next: Dialect,
    /// The broker has spoken MQTT 5: a strange answer later is a fault and no refusal.
    knows_v5: bool,
}

impl Choice {
    pub fn new(setting: Protocol) -> Choice {
        let next = match setting {
            Protocol::Auto | Protocol::V5 => Dialect::V5,
            Protocol::V3 => Dialect::V3,
        };
        Choice { setting, next, knows_v5: false }
    }

    pub fn dialect(&self) -> Dialect {
        self.next
    }

    pub fn connected(&mut self) {
        self.knows_v5 |= self.next == Dialect::V5;
    }

    /// The broker would not have this version, or answered with something that is none. True: another is worth a try.
    pub fn refused(&mut self) -> bool {
        if self.setting != Protocol::Auto || self.knows_v5 {
            return false;
        }
        self.next = match self.next {
            Dialect::V5 => Dialect::V3,
            Dialect::V3 => Dialect::V5,
        };
        self.next == Dialect::V3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_most_and_start_again_after_a_session_that_held() {
        let mut backoff = Backoff::new(Duration::from_secs(10));
        let waits: Vec<u64> =
            (0..6).map(|_| backoff.next(Duration::ZERO, 0.999_999_999).as_secs_f64().round() as u64).collect();
        assert_eq!(waits, [1, 2, 4, 8, 10, 10]);
        assert_eq!(backoff.next(HELD, 0.5), FIRST / 2);
        // A broker that takes us in and throws us out is no reason to hurry.
        assert_eq!(backoff.next(HELD / 2, 0.5), FIRST);
        for _ in 0..100 {
            assert!(backoff.next(Duration::ZERO, random()) <= Duration::from_secs(10));
        }
        assert_eq!(backoff.next(Duration::ZERO, 0.0), Duration::ZERO);
    }

    #[test]
    fn random_numbers_differ_and_are_in_range() {
        let numbers: Vec<f64> = (0..100).map(|_| random()).collect();
        assert!(numbers.iter().all(|n| (0.0..1.0).contains(n)));
        assert!(numbers.windows(2).any(|pair| (pair[0] - pair[1]).abs() > 0.1));
    }

    #[test]
    fn an_old_broker_is_spoken_to_in_its_own_version() {
        let mut choice = Choice::new(Protocol::Auto);
        assert_eq!(choice.dialect(), Dialect::V5);
        assert!(choice.refused());
        assert_eq!(choice.dialect(), Dialect::V3);
        choice.connected();
        // It was replaced by one that knows 5 only: come round again, but after a wait.
        assert!(!choice.refused());
        assert_eq!(choice.dialect(), Dialect::V5);
        choice.connected();
        assert!(!choice.refused());
        assert_eq!(choice.dialect(), Dialect::V5, "a broker that spoke 5 goes on doing so");
    }

    #[test]
    fn a_version_that_was_set_is_kept() {
        for (setting, dialect) in [(Protocol::V5, Dialect::V5), (Protocol::V3, Dialect::V3)] {
            let mut choice = Choice::new(setting);
            assert!(!choice.refused());
            assert_eq!(choice.dialect(), dialect);
        }
    }
}

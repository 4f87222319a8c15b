//! One bound on the bytes a second of all downloads together. Pure: time is given.

use std::time::Duration;

/// A bucket of bytes that fills at the rate and holds one second's worth. Taking may leave a debt, which the taker waits out.
#[derive(Debug)]
pub struct Bucket {
    /// Bytes a second; 0: no bound.
    rate: u64,
    /// Bytes that may be taken at once; below zero: taken before its time.
    level: i128,
    /// Up to when it was filled.
    filled: Duration,
}

impl Bucket {
    pub fn new(rate: u64) -> Bucket {
        Bucket { rate, level: i128::from(rate), filled: Duration::ZERO }
    }

    /// Takes `bytes` at the time `now` of a clock that never goes back; how long the taker has to wait now.
    pub fn take(&mut self, bytes: usize, now: Duration) -> Duration {
        if self.rate == 0 {
            return Duration::ZERO;
        }
        let rate = i128::from(self.rate);
        let passed_us = now.saturating_sub(self.filled).as_micros() as i128;
        let gained = passed_us * rate / 1_000_000;
        // Kept until a whole byte came of it, or a slow rate asked often would never fill.
        if gained > 0 {
            self.filled = now;
            self.level = (self.level + gained).min(rate);
        }
        self.level -= bytes as i128;
        let debt = (-self.level).max(0);
        Duration::from_micros(u64::try_from(debt * 1_000_000 / rate).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_bound_nobody_waits() {
        assert_eq!(Bucket::new(0).take(usize::MAX, Duration::ZERO), Duration::ZERO);
    }

    /// Whoever waits as told gets the rate, whatever the pieces are.
    #[test]
    fn the_rate_is_kept_after_the_first_second() {
        for piece in [1usize, 100, 1000, 64 * 1024] {
            let (mut bucket, mut now, mut taken) = (Bucket::new(1000), Duration::ZERO, 0u64);
            while taken < 200_000 {
                now += bucket.take(piece, now);
                taken += piece as u64;
            }
            let allowed = 1000 + now.as_millis() as u64;
            assert!(taken <= allowed && taken + 1 >= allowed, "{piece}: {taken} of {allowed}");
        }
    }

    #[test]
    fn a_pause_saves_up_one_second_and_no_more() {
        let mut bucket = Bucket::new(1000);
        assert_eq!(bucket.take(1000, Duration::from_secs(100)), Duration::ZERO);
        assert_eq!(bucket.take(500, Duration::from_secs(100)), Duration::from_millis(500));
        assert_eq!(bucket.take(0, Duration::from_secs(99)), Duration::from_millis(500));
    }
}

//! Ages and durations as kubectl prints them.

use std::time::Duration;

use crate::model::Timestamp;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const YEAR: u64 = 365 * DAY;

/// `2m5s`, `47h`: the fewer digits, the longer it is.
/// Source: `apimachinery/pkg/util/duration/duration.go`, `HumanDuration`.
pub fn human(duration: Duration) -> String {
    let s = duration.as_secs();
    match s {
        0..120 => format!("{s}s"),
        120..600 => two(s / MINUTE, "m", s % MINUTE, "s"),
        600..10_800 => format!("{}m", s / MINUTE),
        10_800..28_800 => two(s / HOUR, "h", s % HOUR / MINUTE, "m"),
        28_800..172_800 => format!("{}h", s / HOUR),
        172_800..691_200 => two(s / DAY, "d", s % DAY / HOUR, "h"),
        _ if s < 2 * YEAR => format!("{}d", s / DAY),
        _ if s < 8 * YEAR => two(s / YEAR, "y", s % YEAR / DAY, "d"),
        _ => format!("{}y", s / YEAR),
    }
}

fn two(big: u64, big_unit: &str, small: u64, small_unit: &str) -> String {
    if small == 0 { format!("{big}{big_unit}") } else { format!("{big}{big_unit}{small}{small_unit}") }
}

/// How long ago `then` was. A time that lies ahead by more than a second is `<invalid>`, none at all is `<unknown>`.
pub fn since(then: Timestamp, now: Timestamp) -> String {
    if then == Timestamp::EPOCH {
        return "<unknown>".into();
    }
    if then.as_millis().saturating_sub(now.as_millis()) >= 2000 {
        return "<invalid>".into();
    }
    human(now.since(then))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(seconds: u64, expected: &str) {
        assert_eq!(human(Duration::from_secs(seconds)), expected, "{seconds} s");
    }

    #[test]
    fn durations_are_printed_as_kubectl_prints_them() {
        check(0, "0s");
        check(119, "119s");
        check(120, "2m");
        check(599, "9m59s");
        check(600, "10m");
        check(10_799, "179m");
        check(10_800, "3h");
        check(28_799, "7h59m");
        check(28_800, "8h");
        check(172_799, "47h");
        check(172_800, "2d");
        check(191 * HOUR, "7d23h");
        check(192 * HOUR, "8d");
        check(729 * DAY, "729d");
        check(730 * DAY, "2y");
        check(8 * YEAR - DAY, "7y364d");
        check(8 * YEAR, "8y");
        check(u64::MAX, "584942417355y");
    }

    #[test]
    fn an_age_says_when_it_cannot_be_told() {
        let now = Timestamp::from_secs(1_000_000);
        assert_eq!(since(Timestamp::EPOCH, now), "<unknown>");
        assert_eq!(since(Timestamp::from_secs(1_000_001), now), "0s");
        assert_eq!(since(Timestamp::from_secs(1_000_002), now), "<invalid>");
        assert_eq!(since(Timestamp::from_secs(999_995), now), "5s");
    }
}

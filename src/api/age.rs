//! Ages and durations as kubectl prints them.

use std::time::Duration;

use crate::model::{Timestamp, age};

pub fn human(duration: Duration) -> String {
    age::human(i64::try_from(duration.as_secs()).unwrap_or(i64::MAX))
}

/// How long ago `then` was. A time that lies ahead by more than a second is `<invalid>`, none at all is `<unknown>`.
pub fn since(then: Timestamp, now: Timestamp) -> String {
    if then == Timestamp::EPOCH {
        return "<unknown>".into();
    }
    age::human(now.as_millis().saturating_sub(then.as_millis()) / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_says_when_it_cannot_be_told() {
        let now = Timestamp::from_secs(1_000_000);
        assert_eq!(since(Timestamp::EPOCH, now), "<unknown>");
        assert_eq!(since(Timestamp::from_secs(1_000_001), now), "0s");
        assert_eq!(since(Timestamp::from_secs(1_000_002), now), "<invalid>");
        assert_eq!(since(Timestamp::from_secs(999_995), now), "5s");
    }
}

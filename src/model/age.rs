//! How kubectl shows an age or a duration: `2m5s`, `47h`.

/// An age in whole seconds, shorter the older it is. Source: `apimachinery/pkg/util/duration`, `HumanDuration`.
pub fn human(seconds: i64) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    const YEAR: i64 = 365 * DAY;
    let two = |big: i64, unit: &str, small: i64, small_unit: &str| match small {
        0 => format!("{big}{unit}"),
        _ => format!("{big}{unit}{small}{small_unit}"),
    };
    match seconds {
        ..=-2 => "<invalid>".to_string(),
        -1..=0 => "0s".to_string(),
        s if s < 2 * MINUTE => format!("{s}s"),
        s if s < 10 * MINUTE => two(s / MINUTE, "m", s % MINUTE, "s"),
        s if s < 3 * HOUR => format!("{}m", s / MINUTE),
        s if s < 8 * HOUR => two(s / HOUR, "h", s % HOUR / MINUTE, "m"),
        s if s < 2 * DAY => format!("{}h", s / HOUR),
        s if s < 8 * DAY => two(s / DAY, "d", s % DAY / HOUR, "h"),
        s if s < 2 * YEAR => format!("{}d", s / DAY),
        s if s < 8 * YEAR => two(s / YEAR, "y", s % YEAR / DAY, "d"),
        s => format!("{}y", s / YEAR),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_human(seconds: i64, expected: &str) {
        assert_eq!(human(seconds), expected, "{seconds}");
    }

    #[test]
    fn ages_read_as_kubectl_shows_them() {
        check_human(i64::MIN, "<invalid>");
        check_human(-2, "<invalid>");
        check_human(-1, "0s");
        check_human(119, "119s");
        check_human(120, "2m");
        check_human(599, "9m59s");
        check_human(600, "10m");
        check_human(10_799, "179m");
        check_human(10_800, "3h");
        check_human(28_799, "7h59m");
        check_human(28_800, "8h");
        check_human(172_799, "47h");
        check_human(172_800, "2d");
        check_human(191 * 3600, "7d23h");
        check_human(192 * 3600, "8d");
        check_human(729 * 86_400, "729d");
        check_human(730 * 86_400, "2y");
        check_human(731 * 86_400, "2y1d");
        check_human(8 * 365 * 86_400, "8y");
        check_human(i64::MAX, "292471208677y");
    }
}

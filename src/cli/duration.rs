//! Durations: as Go writes them in flags (`1h30m`), and as kubectl shows an age (`2m5s`, `47h`).

use std::time::Duration;

/// Reads Go's form: `300ms`, `1.5h`, `2h45m`, `0`, with a sign. None is not negative: a negative one is refused, as
/// no flag but `wait --timeout` has a meaning for it.
///
/// # Errors
/// Go's own text for what it cannot read.
pub fn parse(text: &str) -> Result<Duration, String> {
    match parse_signed(text)? {
        (false, duration) => Ok(duration),
        (true, duration) if duration.is_zero() => Ok(duration),
        (true, _) => Err(format!("invalid duration {text:?}: must not be negative")),
    }
}

/// As `parse`, with true for a negative one beside its amount.
///
/// # Errors
/// As `parse`.
pub fn parse_signed(text: &str) -> Result<(bool, Duration), String> {
    let invalid = || format!("time: invalid duration {text:?}");
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let negative = text.starts_with('-');
    if unsigned == "0" {
        return Ok((negative, Duration::ZERO));
    }
    if unsigned.is_empty() {
        return Err(invalid());
    }
    let mut rest = unsigned;
    let mut nanos: f64 = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let amount: f64 = number.parse().map_err(|_| invalid())?;
        let end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, next) = tail.split_at(end);
        if unit.is_empty() {
            return Err(format!("time: missing unit in duration {text:?}"));
        }
        let factor = unit_nanos(unit).ok_or_else(|| format!("time: unknown unit {unit:?} in duration {text:?}"))?;
        nanos += amount * factor;
        rest = next;
    }
    // Go's own bound: what fits 63 bits of nanoseconds, about 292 years.
    if nanos > 9.2e18 {
        return Err(invalid());
    }
    Ok((negative, Duration::from_secs_f64(nanos / 1e9)))
}

fn unit_nanos(unit: &str) -> Option<f64> {
    match unit {
        "ns" => Some(1.0),
        "us" | "µs" | "μs" => Some(1e3),
        "ms" => Some(1e6),
        "s" => Some(1e9),
        "m" => Some(60e9),
        "h" => Some(3600e9),
        _ => None,
    }
}

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

/// Seconds since a time in Kubernetes' text form; none for what is no time.
pub fn seconds_since(time: &str) -> Option<i64> {
    let then: jiff::Timestamp = time.parse().ok()?;
    Some(jiff::Timestamp::now().as_second() - then.as_second())
}

/// How long ago a time is, as a column shows it; `<unknown>` for no time.
pub fn age(time: &str) -> String {
    seconds_since(time).map_or_else(|| "<unknown>".to_string(), human)
}

/// `Mon, 02 Jan 2006 15:04:05 -0700`, in the reader's time zone, as `describe` prints times; empty for no time.
pub fn rfc1123z(time: &str) -> String {
    let Ok(then) = time.parse::<jiff::Timestamp>() else { return String::new() };
    then.to_zoned(jiff::tz::TimeZone::system()).strftime("%a, %d %b %Y %H:%M:%S %z").to_string()
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

    #[track_caller]
    fn check(text: &str, expected_ms: Option<u64>) {
        assert_eq!(parse(text).ok(), expected_ms.map(Duration::from_millis), "{text}");
    }

    #[test]
    fn durations_read_as_go_reads_them() {
        check("30s", Some(30_000));
        check("1h30m", Some(5_400_000));
        check("1.5h", Some(5_400_000));
        check(".5s", Some(500));
        check("300ms", Some(300));
        check("0", Some(0));
        check("0s", Some(0));
        check("+1m", Some(60_000));
        check("-0s", Some(0));
        for bad in ["", "-", "1", "s", "1x", "-1s", "1..2s", "1h 2m", ".s", "1e3s", "9999999999h", "é", "1é"] {
            check(bad, None);
        }
        assert_eq!(parse_signed("-1s"), Ok((true, Duration::from_secs(1))));
    }

    #[test]
    fn a_refused_duration_is_told_in_gos_words() {
        assert_eq!(parse("5"), Err("time: missing unit in duration \"5\"".into()));
        assert_eq!(parse("5y"), Err("time: unknown unit \"y\" in duration \"5y\"".into()));
        assert_eq!(parse("x"), Err("time: invalid duration \"x\"".into()));
    }
}

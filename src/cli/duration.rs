//! Durations: as Go writes them in flags (`1h30m`), and as kubectl shows an age (`2m5s`, `47h`).

use std::time::Duration;

pub use crate::model::age::human;

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

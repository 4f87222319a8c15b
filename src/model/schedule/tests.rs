use super::*;

fn t(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

/// The next times, up to three; `never` where they end.
#[track_caller]
fn check(expr: &str, zone: &str, from: &str, expected: &[&str]) {
    let schedule = Schedule::parse(expr, Some(zone).filter(|z| !z.is_empty())).unwrap();
    let mut after = t(from);
    for expected in expected {
        let next = schedule.next(after);
        assert_eq!(next.map_or("never".to_string(), Timestamp::rfc3339), *expected, "{expr} {zone} {from}");
        after = next.unwrap_or(after);
    }
}

#[track_caller]
fn refused(expr: &str, expected: &str) {
    assert_eq!(Schedule::parse(expr, None).unwrap_err(), expected, "{expr}");
}

#[test]
fn day_fields_are_both_to_match_with_a_star_and_either_without() {
    check("0 0 13 * 5", "", "2026-01-01T00:00:00Z", &["2026-01-02T00:00:00Z", "2026-01-09T00:00:00Z"]);
    check("0 0 13 * *", "", "2026-01-01T00:00:00Z", &["2026-01-13T00:00:00Z", "2026-02-13T00:00:00Z"]);
    check("0 0 */10 * MON", "", "2026-01-01T00:00:00Z", &["2026-01-05T00:00:00Z", "2026-01-11T00:00:00Z"]);
    check("0 0 1-31 * 5", "", "2026-01-01T00:00:00Z", &["2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z"]);
    check("0 0 *,5 * 1", "", "2026-01-01T00:00:00Z", &["2026-01-05T00:00:00Z", "2026-01-12T00:00:00Z"]);
    check("0 0 * * 0", "", "2026-01-01T00:00:00Z", &["2026-01-04T00:00:00Z"]);
    check("0 0 , * 1", "", "2026-01-01T00:00:00Z", &["2026-01-05T00:00:00Z"]);
}

#[test]
fn what_never_fires_is_valid_and_its_search_ends() {
    check("0 0 30 2 *", "", "2026-01-01T00:00:00Z", &["never"]);
    check(", * * * *", "Europe/Berlin", "2026-01-01T00:00:00Z", &["never"]);
    check("0 0 29 2 *", "", "2024-02-29T00:00:00Z", &["2028-02-29T00:00:00Z"]);
    check("0 0 29 2 *", "", "2096-03-01T00:00:00Z", &["never"]);
    // 30 December 2011 did not exist in Apia: robfig's search has no end here.
    check("0 12 30 12 *", "Pacific/Apia", "2011-12-29T00:00:00Z", &["2012-12-29T22:00:00Z"]);
}

#[test]
fn a_skipped_civil_time_does_not_fire_and_a_repeated_one_fires_twice() {
    let fall = ["2026-11-01T05:30:00Z", "2026-11-01T06:30:00Z", "2026-11-02T06:30:00Z"];
    check("30 1 * * *", "America/New_York", "2026-11-01T00:00:00-04:00", &fall);
    let spring = ["2026-03-07T07:30:00Z", "2026-03-09T06:30:00Z"];
    check("30 2 * * *", "America/New_York", "2026-03-07T00:00:00-05:00", &spring);
    check("0 0 * * 0", "Asia/Beirut", "2022-03-21T00:00:00Z", &["2022-04-02T21:00:00Z"]);
    // The very second of the change belongs to the new offset.
    check("0 3 * * *", "Europe/Berlin", "2026-03-29T00:59:59Z", &["2026-03-29T01:00:00Z"]);
}

#[test]
fn every_counts_from_the_time_it_is_asked_with() {
    check("@every 90s", "", "2026-01-01T00:00:00.700Z", &["2026-01-01T00:01:30Z", "2026-01-01T00:03:00Z"]);
    check("@every -5m", "", "2026-01-01T00:00:00Z", &["2026-01-01T00:00:01Z"]);
    check("@every 1.9s", "", "2026-01-01T00:00:00Z", &["2026-01-01T00:00:01Z"]);
    check("@every 24h", "Europe/Berlin", "2026-03-28T12:00:00Z", &["2026-03-29T12:00:00Z"]);
}

#[test]
fn refusals_are_in_kubernetes_words() {
    refused("", "empty spec string");
    refused("* * * *", "expected exactly 5 fields, found 4: [* * * *]");
    refused(" @daily", "expected exactly 5 fields, found 1: [@daily]");
    refused("60 * * * *", "end of range (60) above maximum (59): 60");
    refused("* * 0 * *", "beginning of range (0) below minimum (1): 0");
    refused("* * * * 7", "end of range (7) above maximum (6): 7");
    refused("* * * * FRI-MON", "beginning of range (5) beyond end of range (1): FRI-MON");
    refused("*/0 * * * *", "step of range should be a positive number: */0");
    refused("1-2-3 * * * *", "too many hyphens: 1-2-3");
    refused("1/2/3 * * * *", "too many slashes: 1/2/3");
    refused("x * * * *", "failed to parse int from x: strconv.Atoi: parsing \"x\": invalid syntax");
    refused("1/-3 * * * *", "negative number (-3) not allowed: -3");
    refused("@daiily", "unrecognized descriptor: @daiily");
    refused("@every", "unrecognized descriptor: @every");
    refused("@every 5", "failed to parse duration @every 5: time: missing unit in duration \"5\"");
    refused("@every 5x", "failed to parse duration @every 5x: time: unknown unit \"x\" in duration \"5x\"");
    refused("TZ=UTC", "cannot use TZ or CRON_TZ in schedule, use timeZone field instead");
    refused("CRON_TZ=UTC * * * * *", "cannot use TZ or CRON_TZ in schedule, use timeZone field instead");
    refused("*-TZ * * * *", "cannot use TZ or CRON_TZ in schedule, use timeZone field instead");
}

#[track_caller]
fn check_zone_text(name: &str, expected: Result<(), &str>) {
    assert_eq!(check_zone(name), expected.map_err(String::from), "{name:?}");
}

#[test]
fn zones_are_checked_as_the_api_server_does() {
    for known in ["UTC", "Etc/UTC", "Europe/Berlin", "America/Argentina/ComodRivadavia", "Etc/GMT+5"] {
        check_zone_text(known, Ok(()));
    }
    check_zone_text("", Err("timeZone must be nil or non-empty string"));
    let iana = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones";
    check_zone_text("local", Err(iana));
    for name in ["Mars/Phobos", "europe/berlin", "../etc/passwd", "Europe/", "-x", "Etc/Unknown", "A/abcdefghijklmno"] {
        check_zone_text(name, Err(&format!("unknown time zone {name}")));
    }
}

#[track_caller]
fn check_latest(expr: &str, after: &str, until: &str, expected: &str) {
    let latest = Schedule::parse(expr, None).unwrap().latest(t(after), t(until));
    assert_eq!(latest.map_or("none".to_string(), Timestamp::rfc3339), expected, "{expr} {after} {until}");
}

#[test]
fn the_latest_time_is_the_last_not_later_than_now() {
    check_latest("*/15 * * * *", "2026-01-01T00:00:00Z", "2026-01-01T00:14:59.999Z", "none");
    check_latest("*/15 * * * *", "2026-01-01T00:00:00Z", "2026-01-01T00:15:00Z", "2026-01-01T00:15:00Z");
    check_latest("*/15 * * * *", "2026-01-01T00:00:00Z", "2026-03-01T10:44:00Z", "2026-03-01T10:30:00Z");
    // Two times a minute apart and then a day of none: Kubernetes' own estimate overshoots here and finds none.
    check_latest("0,1 0 * * *", "2026-01-01T00:00:00Z", "2026-01-03T12:00:00Z", "2026-01-03T00:01:00Z");
    check_latest("0 0 30 2 *", "2026-01-01T00:00:00Z", "2029-01-01T00:00:00Z", "none");
    check_latest("@every 7m", "2026-01-01T00:00:00.5Z", "2026-01-01T01:00:00Z", "2026-01-01T00:56:00Z");
    check_latest("@every 7m", "2026-01-01T00:00:00Z", "2026-01-01T00:06:59Z", "none");
}

#[test]
fn a_time_is_written_in_the_schedules_zone() {
    let berlin = Schedule::parse("* * * * *", Some("Europe/Berlin")).unwrap();
    assert_eq!(berlin.civil_text(t("2026-01-01T00:15:00Z")), "2026-01-01T01:15:00+01:00");
    let newfoundland = Schedule::parse("* * * * *", Some("America/St_Johns")).unwrap();
    assert_eq!(newfoundland.civil_text(t("2026-01-01T00:15:00Z")), "2025-12-31T20:45:00-03:30");
    let utc = Schedule::parse("* * * * *", None).unwrap();
    assert_eq!(utc.civil_text(t("2026-01-01T00:15:00Z")), "2026-01-01T00:15:00Z");
}

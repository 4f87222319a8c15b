//! Finds the next date of a cron line in a time zone. The `cron` crate does the search, under a fixed offset only: it
//! numbers weekdays from Sunday = 1, always wants both day fields to match, and goes wrong in a zone whose offset
//! changes. So it is given explicit numbers, and is asked anew at each change of the zone's offset.

use std::ops::Range;
use std::str::FromStr;

use chrono::{DateTime, Datelike, FixedOffset};
use jiff::tz::TimeZone;

use super::grammar::{Fields, Set};

/// Kubernetes gives up after the fifth year that follows.
const YEARS_SEARCHED: i32 = 5;

/// Seconds since 1970 of the dates that the `cron` crate knows: the years 1970 to 2100.
pub(super) const KNOWN_S: Range<i64> = 0..4_133_980_800;

/// The dates of one cron line, in no zone yet: those of any of the parts. No part: never.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Calendar {
    parts: Vec<cron::Schedule>,
}

/// An offset from UTC and the second at which it ends, if it does.
struct Span {
    offset: FixedOffset,
    end_s: Option<i64>,
}

impl Calendar {
    pub(super) fn new(fields: &Fields) -> Calendar {
        // If a day field has a star both must match, else either: two searches, and the earlier date counts.
        let either = !fields.dom.star && !fields.dow.star;
        let any = None;
        let parts = if either {
            vec![part(fields, Some(fields.dom), any), part(fields, any, Some(fields.dow))]
        } else {
            vec![part(fields, Some(fields.dom), Some(fields.dow))]
        };
        Calendar { parts: parts.into_iter().flatten().collect() }
    }

    /// The first time later than `after_s`, in seconds since 1970.
    ///
    /// A time that was found counts only if the offset it was found with still holds then. If not, the search goes on
    /// from the change, whose own second belongs to the new offset: civil times that were skipped are never met, those
    /// that come twice are met twice, and the result always rises. It ends, since each turn moves on by a change of offset
    /// and the years are bounded; robfig's own search has no end where a zone leaves out a whole day (Apia 2011).
    pub(super) fn next(&self, after_s: i64, zone: &TimeZone) -> Option<i64> {
        if after_s >= KNOWN_S.end {
            return None;
        }
        let mut after_s = after_s.max(KNOWN_S.start - 1);
        let last_year = year(after_s + 1, Span::at(after_s + 1, zone)?.offset)? + YEARS_SEARCHED;
        loop {
            let span = Span::at(after_s + 1, zone)?;
            let found = self.next_at(after_s, span.offset);
            match (found, span.end_s) {
                (Some(t), None) => return within(t, &span, last_year),
                (Some(t), Some(end_s)) if t < end_s => return within(t, &span, last_year),
                (_, Some(end_s)) => after_s = within(end_s, &span, last_year)? - 1,
                (None, None) => return None,
            }
        }
    }

    fn next_at(&self, after_s: i64, offset: FixedOffset) -> Option<i64> {
        let after = civil(after_s, offset)?;
        self.parts.iter().filter_map(|part| part.after(&after).next()).map(|found| found.timestamp()).min()
    }
}

/// A search for dates on which all given fields match; none: a field is empty and nothing matches.
fn part(fields: &Fields, dom: Option<Set>, dow: Option<Set>) -> Option<cron::Schedule> {
    let minute = list(fields.minute, 0)?;
    let hour = list(fields.hour, 0)?;
    let month = list(fields.month, 0)?;
    let dom = dom.map_or(Some("*".into()), |dom| list(dom, 0))?;
    let dow = dow.map_or(Some("*".into()), |dow| list(dow, 1))?;
    let line = format!("0 {minute} {hour} {dom} {month} {dow}");
    Some(cron::Schedule::from_str(&line).expect("lists of numbers within each field's bounds"))
}

/// A comma list for the `cron` crate, whose numbers are `shift` higher.
fn list(set: Set, shift: u64) -> Option<String> {
    let numbers: Vec<String> = set.numbers().map(|n| (n + shift).to_string()).collect();
    (!set.is_empty()).then(|| numbers.join(","))
}

impl Span {
    fn at(second: i64, zone: &TimeZone) -> Option<Span> {
        let instant = jiff::Timestamp::from_second(second).ok()?;
        let offset = FixedOffset::east_opt(zone.to_offset(instant).seconds())?;
        let end_s = zone.following(instant).next().map(|change| change.timestamp().as_second());
        Some(Span { offset, end_s })
    }
}

fn civil(second: i64, offset: FixedOffset) -> Option<DateTime<FixedOffset>> {
    Some(DateTime::from_timestamp(second, 0)?.with_timezone(&offset))
}

fn year(second: i64, offset: FixedOffset) -> Option<i32> {
    Some(civil(second, offset)?.year())
}

fn within(second: i64, span: &Span, last_year: i32) -> Option<i64> {
    (year(second, span.offset)? <= last_year).then_some(second)
}

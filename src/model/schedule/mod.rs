//! A CronJob's schedule: five cron fields, a macro or `@every`, in one time zone. Reads and fires it as Kubernetes does,
//! that is as robfig/cron v3 `ParseStandard` does. Knows no clock and no CronJob: it is asked what comes after a time.

mod calendar;
mod duration;
mod grammar;
mod zone;

use std::ops::Range;

use jiff::tz::TimeZone;

use super::Timestamp;
use calendar::Calendar;
use grammar::Fields;

pub use zone::check_zone;

/// When a CronJob fires. Equal expressions in equal zones are equal.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    rule: Rule,
    zone: TimeZone,
}

#[derive(Debug, Clone, PartialEq)]
enum Rule {
    /// `@every`: seconds between two firings, at least one.
    Every(i64),
    Calendar(Calendar),
}

impl Schedule {
    /// The times that are searched: the years 1970 to 2100.
    pub const KNOWN: Range<Timestamp> =
        Timestamp::from_secs(calendar::KNOWN_S.start)..Timestamp::from_secs(calendar::KNOWN_S.end);

    /// Reads `spec.schedule` and `spec.timeZone`; no zone is UTC. A schedule that can never fire (30 February) is valid,
    /// as it is in Kubernetes.
    ///
    /// # Errors
    /// The text that Kubernetes prints after `spec.schedule: Invalid value: …:`, or that of `check_zone`.
    pub fn parse(expr: &str, time_zone: Option<&str>) -> Result<Schedule, String> {
        let rule = Rule::parse(expr)?;
        let zone = time_zone.map_or(Ok(TimeZone::UTC), zone::load)?;
        Ok(Schedule { rule, zone })
    }

    /// The first firing time later than `after`, a whole second. None: none through the fifth year after it, where
    /// Kubernetes gives up too, or none before the year 2101.
    ///
    /// A civil time that a zone skips in spring is skipped, one that it repeats in autumn fires twice.
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let after_s = after.as_secs();
        let next = match &self.rule {
            Rule::Every(delay_s) => after_s.checked_add(*delay_s)?,
            Rule::Calendar(calendar) => calendar.next(after_s, &self.zone)?,
        };
        Some(Timestamp::from_secs(next)).filter(|t| *t > after)
    }

    /// The last firing time later than `after` and not later than `until`. `@every` counts from `after`.
    pub fn latest(&self, after: Timestamp, until: Timestamp) -> Option<Timestamp> {
        let due = |t: &Timestamp| *t <= until;
        let first = self.next(after).filter(due)?;
        match &self.rule {
            Rule::Every(delay_s) => {
                let periods = (until.as_secs() - first.as_secs()) / delay_s;
                Some(Timestamp::from_secs(first.as_secs() + periods * delay_s))
            }
            Rule::Calendar(_) if self.next(first).filter(due).is_none() => Some(first),
            Rule::Calendar(_) => {
                // Firing times rise with the time that is asked from, so the last one is found by halving: a minute's
                // schedule after a year in a drawer takes 25 questions and no walk over half a million times.
                let (mut from, mut beyond) = (first.as_secs(), until.as_secs());
                while beyond - from > 1 {
                    let middle = from + (beyond - from) / 2;
                    match self.next(Timestamp::from_secs(middle)).filter(due) {
                        Some(_) => from = middle,
                        None => beyond = middle,
                    }
                }
                self.next(Timestamp::from_secs(from))
            }
        }
    }

    /// A time as RFC 3339 in this schedule's zone, whole seconds: `2026-01-01T01:15:00+01:00`, `…Z` without an offset.
    pub fn civil_text(&self, t: Timestamp) -> String {
        let Ok(instant) = jiff::Timestamp::from_second(t.as_secs()) else { return t.rfc3339() };
        let offset = self.zone.to_offset(instant);
        if offset.is_zero() {
            t.rfc3339()
        } else {
            offset.to_datetime(instant).to_string() + &zone::offset_text(offset)
        }
    }
}

impl Rule {
    fn parse(expr: &str) -> Result<Rule, String> {
        if expr.is_empty() {
            return Err("empty spec string".into());
        }
        // robfig reads a zone in front of the fields; the API server refuses whatever has these letters.
        const NO_ZONE_HERE: &str = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
        if expr.starts_with("TZ=") || expr.starts_with("CRON_TZ=") {
            return Err(NO_ZONE_HERE.into());
        }
        let rule = if expr.starts_with('@') { Rule::descriptor(expr)? } else { Rule::calendar(&Fields::parse(expr)?) };
        // `*-TZ` is the one form that gets this far: what follows the hyphen after a star is not read.
        if expr.contains("TZ") { Err(NO_ZONE_HERE.into()) } else { Ok(rule) }
    }

    /// `@daily` and its like, and `@every 90s`; lower case only.
    fn descriptor(text: &str) -> Result<Rule, String> {
        let fields = match text {
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" | "@midnight" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            _ => return Rule::every(text),
        };
        Ok(Rule::calendar(&Fields::parse(fields).expect("the macros' own fields are valid")))
    }

    fn every(text: &str) -> Result<Rule, String> {
        const NS_PER_S: i64 = 1_000_000_000;
        let duration = text.strip_prefix("@every ").ok_or_else(|| format!("unrecognized descriptor: {text}"))?;
        let ns = duration::parse(duration).map_err(|e| format!("failed to parse duration {text}: {e}"))?;
        // Nothing is too short or negative: it is every second then.
        Ok(Rule::Every((ns / NS_PER_S).max(1)))
    }

    fn calendar(fields: &Fields) -> Rule {
        Rule::Calendar(Calendar::new(fields))
    }
}

#[cfg(test)]
mod tests;

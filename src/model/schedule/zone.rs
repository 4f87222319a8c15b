//! Time zones by their names in the IANA database.
//!
//! The data is the system's (`/usr/share/zoneinfo`); jiff reads it when a zone is first asked for and keeps it. It is
//! the one reading of files below `model`: a zone's rules are constants to whoever asks, as a calendar's are.

use jiff::tz::{Offset, TimeZone};

/// A part of a zone's name between slashes is at most this long.
const PART_MAX: usize = 14;

/// Whether `spec.timeZone` is acceptable (`validateTimeZone` in Kubernetes' `pkg/apis/batch/validation`).
///
/// # Errors
/// The text that Kubernetes prints after `spec.timeZone: Invalid value: …:`.
pub fn check_zone(name: &str) -> Result<(), String> {
    load(name).map(|_| ())
}

/// The zone of exactly this name. jiff takes any case; Kubernetes' look-up is by the file's name.
pub(super) fn load(name: &str) -> Result<TimeZone, String> {
    if name.is_empty() {
        return Err("timeZone must be nil or non-empty string".into());
    }
    if !name.split('/').all(is_part) {
        return Err(unknown(name));
    }
    if name.eq_ignore_ascii_case("Local") {
        return Err("timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones".into());
    }
    let found = TimeZone::get(name).ok().filter(|zone| zone.iana_name() == Some(name) && !zone.is_unknown());
    found.ok_or_else(|| unknown(name))
}

fn unknown(name: &str) -> String {
    format!("unknown time zone {name}")
}

fn is_part(part: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'+' | b'-');
    let spelled = !part.starts_with('-') && part.bytes().all(allowed);
    spelled && (1..=PART_MAX).contains(&part.len()) && part != "." && part != ".."
}

/// `+01:00`, as RFC 3339 has it: no seconds.
pub(super) fn offset_text(offset: Offset) -> String {
    let minutes = offset.seconds() / 60;
    let sign = if minutes < 0 { '-' } else { '+' };
    format!("{sign}{:02}:{:02}", minutes.abs() / 60, minutes.abs() % 60)
}

//! The findings as text for a person and as JSON for a program.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{Check, Level};

impl Level {
    /// The word of the JSON and of the text.
    pub fn word(self) -> &'static str {
        match self {
            Level::Ok => "ok",
            Level::Skipped => "skipped",
            Level::Warn => "warn",
            Level::Fail => "fail",
        }
    }

    fn colour(self) -> &'static str {
        match self {
            Level::Ok => "32",
            Level::Skipped => "2",
            Level::Warn => "33",
            Level::Fail => "31",
        }
    }
}

/// A line a check, a second one with what to do, and a sum.
pub fn text(checks: &[Check], colour: bool) -> String {
    let width = checks.iter().map(|check| check.name.len()).max().unwrap_or(0);
    let mut out = String::new();
    for check in checks {
        let word = format!("{:<7}", check.level.word());
        let word = if colour { format!("\x1b[{}m{word}\x1b[0m", check.level.colour()) } else { word };
        let _ = writeln!(out, "{word}  {:<width$}  {}", check.name, one_line(&check.found));
        if !check.remedy.is_empty() {
            let _ = writeln!(out, "{:7}  {:<width$}  -> {}", "", "", one_line(&check.remedy));
        }
    }
    let count = |level| checks.iter().filter(|check| check.level == level).count();
    let _ = writeln!(
        out,
        "\n{} ok, {} warnings, {} failed, {} skipped",
        count(Level::Ok),
        count(Level::Warn),
        count(Level::Fail),
        count(Level::Skipped)
    );
    out
}

/// `{"ok": …, "checks": [{"name", "level", "found", "remedy"?}]}`
pub fn json(checks: &[Check]) -> Value {
    let one = |check: &Check| {
        let mut shown = json!({ "name": check.name, "level": check.level.word(), "found": check.found });
        if !check.remedy.is_empty() {
            shown["remedy"] = check.remedy.as_str().into();
        }
        shown
    };
    json!({ "ok": !super::fails(checks), "checks": checks.iter().map(one).collect::<Vec<Value>>() })
}

/// What a library or a broker says may have several lines, or codes for a terminal.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

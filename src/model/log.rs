//! What a person wants to read of a container's log.

use super::{AttemptId, Timestamp};

/// The query of `pods/NAME/log`.
#[derive(Debug, Clone, PartialEq)]
pub struct LogQuery {
    pub attempt: AttemptId,
    /// Go on until the attempt is over.
    pub follow: bool,
    /// Only that many last lines.
    pub tail: Option<u64>,
    pub since: Option<Timestamp>,
    /// Begin each line with its time.
    pub timestamps: bool,
    pub limit_bytes: Option<u64>,
    /// Only what comes after the lines that the reader has; `tail` is not looked at then.
    pub after: Option<Reached>,
}

/// The last lines that a reader has: all that are of one time.
#[derive(Debug, Clone, PartialEq)]
pub struct Reached {
    /// As it stands in the log, letter for letter: a clock that was set must not hide lines.
    pub time: String,
    pub lines: u64,
}

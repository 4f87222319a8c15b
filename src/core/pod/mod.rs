//! The kubelet's part: from a pod's record to attempts that start, stop and are counted.
use super::draft::Draft;
use crate::model::attempt::Stamp;
use crate::model::{AttemptId, Booted, Exit, Pod};

/// The daemon has (re)started: what was found is compared with what the pods' records say.
pub fn booted(_draft: &mut Draft, _booted: &Booted) {}
pub fn started(_draft: &mut Draft, _attempt: &AttemptId, _pid: u32, _at: &Stamp) {}
pub fn exited(_draft: &mut Draft, _exit: &Exit) {}
/// `StopPods`: end every pod gracefully, excused; `Effect::AllStopped` when none is live.
pub fn stop_all(_draft: &mut Draft) {}
pub fn sync(_draft: &mut Draft) {}
/// Removes a pod's record (its processes are gone): counts it into its Job first, and has its directories removed.
pub fn remove(_draft: &mut Draft, _pod: &Pod) {}

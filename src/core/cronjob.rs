//! Decides when a CronJob makes a Job.
use super::draft::Draft;
pub fn sync(_draft: &mut Draft) {}

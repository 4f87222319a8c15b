//! Decides when a Job needs pods and when it is over.
use super::draft::Draft;
use crate::model::Pod;
pub fn sync(_draft: &mut Draft) {}
/// A pod's record is about to be removed: what it counted for goes into its Job's status, in the same commit.
pub fn fold(_draft: &mut Draft, _pod: &Pod) {}

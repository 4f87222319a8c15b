//! The node's own record.
use super::draft::Draft;
use crate::model::Booted;
pub fn booted(_draft: &mut Draft, _booted: &Booted) {}
pub fn sync(_draft: &mut Draft) {}

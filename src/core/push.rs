//! The fleet's sets.
use super::draft::Draft;
use crate::model::{LinkSeen, Push};
pub fn booted(_draft: &mut Draft) {}
pub fn pushed(_draft: &mut Draft, _push: &Push) {}
pub fn link(_draft: &mut Draft, _link: &LinkSeen) {}
pub fn sync(_draft: &mut Draft) {}

//! What goes by itself: orphans, expired events, finished pods beyond the bound.
use super::draft::Draft;
pub fn sync(_draft: &mut Draft) {}

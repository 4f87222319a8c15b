//! Whether a change that a caller asks for fits what is there.
use super::draft::Draft;
use crate::model::{Ask, AskId};
pub fn asked(_draft: &mut Draft, _id: AskId, _ask: &Ask, _dry_run: bool) {}

//! From one template to the next on a node that has one pod: gap first, or, with a surge, the new pod beside the old.
//! Source: `pkg/controller/daemon/update.go`.

use crate::model::daemonset::UpdateKind;
use crate::model::{DaemonSet, Pod};

use super::super::draft::Draft;
use super::{View, create, delete, is_available};

/// Pods that are too many. Without a surge the oldest stays; with one, the oldest of the old and of the new template, and
/// the old one goes when the new one is available or the old one is of no use.
pub fn surplus<'a>(draft: &mut Draft, view: &'a View) -> Vec<&'a Pod> {
    let running = view.running();
    if running.len() <= 1 {
        return Vec::new();
    }
    if surge(view.set) == 0 {
        return running[1..].to_vec();
    }
    let (new, old): (Vec<&Pod>, Vec<&Pod>) = running.into_iter().partition(|pod| view.is_updated(pod));
    let mut gone: Vec<&Pod> = new.iter().skip(1).chain(old.iter().skip(1)).copied().collect();
    if let (Some(new), Some(old)) = (new.first(), old.first())
        && (!old.status.ready.is || is_available(draft, view.set, new))
    {
        gone.push(old);
    }
    gone
}

/// The next move of a rolling update; nothing with `OnDelete`, whose pods get the new template when a person deletes them.
pub fn advance(draft: &mut Draft, view: &View) {
    match view.set.spec.update_strategy.kind {
        UpdateKind::RollingUpdate => {}
        UpdateKind::OnDelete => return,
    }
    let present: Vec<&Pod> = view.pods.iter().copied().filter(|pod| pod.meta.deleting.is_none()).collect();
    // One pod of another template; anything else is `tend`'s to put in order first.
    let [old] = present[..] else { return };
    if view.is_updated(old) {
        return;
    }
    if surge(view.set) > 0 {
        // A new pod that is on its way out is seen gone before the next one starts.
        if !view.pods.iter().any(|pod| view.is_updated(pod)) {
            create(draft, view);
        }
    } else if unavailable_max(view.set) > 0 || !is_available(draft, view.set, old) {
        delete(draft, view.set, [old]);
    }
}

fn surge(set: &DaemonSet) -> u32 {
    match set.spec.update_strategy.kind {
        UpdateKind::RollingUpdate => {
            set.spec.update_strategy.rolling_update.max_surge.as_ref().map_or(0, |share| share.on_one_node())
        }
        UpdateKind::OnDelete => 0,
    }
}

fn unavailable_max(set: &DaemonSet) -> u32 {
    set.spec.update_strategy.rolling_update.max_unavailable.as_ref().map_or(1, |share| share.on_one_node())
}

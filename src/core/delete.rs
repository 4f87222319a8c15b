//! How things are deleted: a pod is asked to end first, an owner goes before, after or without what it owns.

use crate::model::pod::Excuse;
use crate::model::{Deleting, Key, Kind, Pod, Propagation, Record};

use super::draft::Draft;

/// Marks a pod for deletion; `pod::sync` ends its processes and removes it when they are gone. A second, shorter grace
/// period shortens the first; a longer one changes nothing. `excuse` says that its end is not to be counted as a failure.
pub fn pod(draft: &mut Draft, pod: &Pod, grace_s: Option<u32>, excuse: Option<Excuse>) {
    let mut pod = pod.clone();
    let grace_s = grace_s.unwrap_or_else(|| pod.spec.grace_s());
    match &mut pod.meta.deleting {
        Some(deleting) => deleting.grace_s = deleting.grace_s.min(grace_s),
        None => pod.meta.deleting = Some(Deleting { since: draft.now().moment(), grace_s, foreground: false }),
    }
    if !pod.status.phase.is_terminal() && pod.status.excused.is_none() {
        pod.status.excused = excuse;
    }
    draft.put(pod);
}

/// Deletes any record. What it owns follows by the garbage collector (`gc`), except with `Orphan`.
pub fn record(draft: &mut Draft, key: &Key, grace_s: Option<u32>, propagation: Propagation) {
    let Some(found) = draft.get(key).cloned() else { return };
    if let Record::Pod(found) = &*found {
        return pod(draft, found, grace_s, None);
    }
    let propagation = match key.kind {
        // The last to go: what it holds would have no place.
        Kind::Namespace => Propagation::Foreground,
        Kind::DaemonSet | Kind::Job | Kind::CronJob => propagation,
        // These own nothing that they could wait for.
        Kind::Pod
        | Kind::Node
        | Kind::ConfigMap
        | Kind::Secret
        | Kind::ControllerRevision
        | Kind::Event
        | Kind::Image
        | Kind::Set
        | Kind::Ack => Propagation::Background,
    };
    match propagation {
        Propagation::Background => draft.delete(key),
        Propagation::Orphan => {
            for kind in [Kind::Pod, Kind::Job, Kind::ControllerRevision] {
                for owned in draft.owned(&found.meta().uid, kind) {
                    let mut orphan = (*owned).clone();
                    orphan.meta_mut().owner = None;
                    draft.put(orphan);
                }
            }
            draft.delete(key);
        }
        Propagation::Foreground => {
            let mut waiting = (*found).clone();
            if waiting.meta().deleting.is_none() {
                let since = draft.now().moment();
                waiting.meta_mut().deleting = Some(Deleting { since, grace_s: 0, foreground: true });
                draft.put(waiting);
            }
        }
    }
}

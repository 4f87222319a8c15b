//! Pods leave a node whose NoExecute taints they do not tolerate, at once or after `tolerationSeconds`.
//! Source: `pkg/controller/tainteviction/taint_eviction.go`.

use std::time::Duration;

use crate::core::delete;
use crate::core::draft::Draft;
use crate::model::node::TaintEffect;
use crate::model::pod::Toleration;
use crate::model::{EventType, Node, Pod};

use super::say_of_pod;

/// How long the pod may stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stay {
    ForGood,
    Only(Duration),
}

/// Deletes the pod when it may stay no longer; true when it did. Time counts from when the taint was first met.
pub fn by_taints(draft: &mut Draft, pod: &mut Pod) -> bool {
    let stay = draft.node().map_or(Stay::ForGood, |node| stay(&pod.spec.tolerations, node));
    let Stay::Only(time) = stay else {
        pod.status.tainted = None;
        return false;
    };
    let now = draft.now();
    let since = pod.status.tainted.get_or_insert_with(|| now.moment());
    let left = time.saturating_sub(now.since(since));
    if !left.is_zero() {
        draft.wake_in(left);
        return false;
    }
    let text = format!("Marking for deletion Pod {}/{}", pod.meta.namespace, pod.meta.name);
    say_of_pod(draft, pod, EventType::Normal, "TaintManagerEviction", &text, "taint-eviction-controller");
    delete::pod(draft, pod, None, None);
    true
}

/// The shortest stay that the taints leave. A toleration without seconds is for good; the first that fits is used.
fn stay(tolerations: &[Toleration], node: &Node) -> Stay {
    let taints = node.spec.taints.iter().filter(|t| t.effect == TaintEffect::NoExecute);
    let stays = taints.map(|taint| match tolerations.iter().find(|t| t.tolerates(taint)) {
        None => Stay::Only(Duration::ZERO),
        Some(Toleration { toleration_seconds: None, .. }) => Stay::ForGood,
        Some(Toleration { toleration_seconds: Some(s), .. }) => {
            Stay::Only(Duration::from_secs(u64::try_from(*s).unwrap_or(0)))
        }
    });
    stays.fold(Stay::ForGood, |shortest, next| match (shortest, next) {
        (Stay::ForGood, other) | (other, Stay::ForGood) => other,
        (Stay::Only(a), Stay::Only(b)) => Stay::Only(a.min(b)),
    })
}

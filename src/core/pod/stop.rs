//! Ends containers: SIGTERM, the grace period, SIGKILL. For a deleted pod, a deadline, a drained node, a daemon that goes.
//! Source: `pkg/kubelet/kuberuntime/kuberuntime_container.go`, `killContainer`.

use std::time::Duration;

use crate::core::draft::Draft;
use crate::model::node::Halt;
use crate::model::pod::Stopping;
use crate::model::{AttemptId, Effect, EventType, Pod};

use super::{say, say_of_pod};

/// A kubelet never waits less, except when it is told not to wait at all.
const GRACE_MIN: Duration = Duration::from_secs(2);
const DEADLINE_EXCEEDED: &str = "DeadlineExceeded";
const EVICTED: &str = "Evicted";
/// Source: `pkg/kubelet/eviction/eviction_manager.go`, `immediateEvictionGracePeriodSeconds`.
const EVICTION_GRACE_S: u32 = 1;
const DEADLINE_MESSAGE: &str = "Pod was active on the node longer than the specified deadline";

/// Brings the stop of every live container forward. A shorter grace period than before shortens what is left.
pub fn stop_live(draft: &mut Draft, pod: &mut Pod, grace_s: u32) {
    let live: Vec<String> = pod.statuses().filter(|c| c.state.is_live()).map(|c| c.name.clone()).collect();
    for name in live {
        stop(draft, pod, &name, grace(grace_s));
    }
}

fn grace(grace_s: u32) -> Duration {
    let asked = Duration::from_secs(u64::from(grace_s));
    if asked.is_zero() { asked } else { asked.max(GRACE_MIN) }
}

fn stop(draft: &mut Draft, pod: &mut Pod, name: &str, grace: Duration) {
    let now = draft.now();
    let uid = pod.meta.uid.clone();
    let Some(status) = pod.status_of_mut(name) else { return };
    let attempt = AttemptId { pod: uid, container: name.to_string(), number: status.restarts };
    let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
    let is_new = status.stopping.is_none();
    let stopping = status.stopping.get_or_insert_with(|| Stopping { since: now.moment(), grace_ms, killed: false });
    if stopping.killed {
        return;
    }
    stopping.grace_ms = stopping.grace_ms.min(grace_ms);
    let left = Duration::from_millis(stopping.grace_ms).saturating_sub(now.since(&stopping.since));
    stopping.killed = left.is_zero();
    if stopping.killed {
        draft.effect(Effect::Kill(attempt));
    } else {
        draft.wake_in(left);
        if is_new {
            draft.effect(Effect::Terminate(attempt));
        }
    }
    if is_new {
        say(draft, pod, name, EventType::Normal, "Killing", &format!("Stopping container {name}"));
    }
}

/// The daemon has started anew in the same boot: what it had asked for is asked for again.
pub fn ask_again(draft: &mut Draft, pod: &Pod, attempt: &AttemptId) {
    let Some(stopping) = pod.status_of(&attempt.container).and_then(|c| c.stopping.as_ref()) else { return };
    let again = if stopping.killed { Effect::Kill } else { Effect::Terminate };
    draft.effect(again(attempt.clone()));
}

/// Decides `activeDeadlineSeconds`, counted from when the node took the pod up. The pod has failed once it is quiet.
pub fn check_deadline(draft: &mut Draft, pod: &mut Pod) {
    let (Some(deadline_s), Some(started)) = (pod.spec.active_deadline_seconds, pod.status.started.clone()) else {
        return;
    };
    if is_overdue(pod) {
        return;
    }
    let deadline = Duration::from_secs(u64::from(deadline_s));
    let age = draft.now().since(&started);
    if age < deadline {
        return draft.wake_in(deadline - age);
    }
    pod.status.reason = DEADLINE_EXCEEDED.to_string();
    pod.status.message = DEADLINE_MESSAGE.to_string();
    say_of_pod(draft, pod, EventType::Normal, DEADLINE_EXCEEDED, DEADLINE_MESSAGE, "kubelet");
}

/// It is to fail as a whole, as its deadline has passed or it was evicted, and is not finished yet.
pub fn is_overdue(pod: &Pod) -> bool {
    !pod.status.phase.is_terminal() && (pod.status.reason == DEADLINE_EXCEEDED || is_evicted(pod))
}

fn is_evicted(pod: &Pod) -> bool {
    pod.status.reason == EVICTED
}

/// Decides that the pod takes more of the node than it may. It has failed once it is quiet.
pub fn evict(draft: &mut Draft, pod: &mut Pod, message: &str) {
    if !pod.is_active() || is_overdue(pod) {
        return;
    }
    pod.status.reason = EVICTED.to_string();
    pod.status.message = message.to_string();
    say_of_pod(draft, pod, EventType::Warning, EVICTED, message, "kubelet");
}

/// How long its containers have to end when nobody has deleted it.
pub fn grace_s(pod: &Pod) -> u32 {
    if is_evicted(pod) { EVICTION_GRACE_S } else { pod.spec.grace_s() }
}

/// `StopPods`: remembered in the node's record, as a step has no other memory.
pub fn stop_all(draft: &mut Draft) {
    if !set_halt(draft, Halt::Stopping) {
        // Before the first `Booted` there is no node, and nothing was started.
        draft.effect(Effect::AllStopped);
    }
}

/// Says once that every pod has ended, when that was asked for.
pub fn say_all_stopped(draft: &mut Draft) {
    if draft.node().is_none_or(|node| node.status.halt != Halt::Stopping) {
        return;
    }
    let any_live = draft.pods_in_hand().iter().filter_map(|r| r.as_pod()).any(Pod::is_live);
    if !any_live {
        set_halt(draft, Halt::Stopped);
        draft.effect(Effect::AllStopped);
    }
}

/// False when there is no node yet.
pub fn set_halt(draft: &mut Draft, halt: Halt) -> bool {
    let Some(mut node) = draft.node().cloned() else { return false };
    node.status.halt = halt;
    draft.put(node);
    true
}

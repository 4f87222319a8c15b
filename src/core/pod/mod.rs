//! The kubelet's part: from a pod's record to attempts that start, stop and are counted. Decides; knows no process, no
//! cgroup, no clock. The record is its only memory: each step reads where a pod is and takes it as far as it goes.

mod boot;
mod env;
mod evict;
mod exit;
mod expand;
mod launch;
mod phase;
mod pull;
mod refusal;
mod resources;
mod restart;
mod security;
mod signal;
mod start;
mod stop;
mod take;
#[cfg(test)]
mod tests;
mod volumes;

use crate::core::draft::Draft;
use crate::core::job;
use crate::model::node::Halt;
use crate::model::pod::{Backoff, Excuse};
use crate::model::{
    AttemptId, ContainerStatus, Effect, Ended, EventType, Key, Kind, Moment, Node, ObjectRef, Pod, sorted,
};

pub use boot::booted;
pub use exit::{exited, started};
pub use pull::pulled;
pub use stop::stop_all;
pub use volumes::outgrown;

use take::Room;

/// Takes every pod as far as it goes now. Those that have finished and are kept for reading are many, and left alone.
pub fn sync(draft: &mut Draft) {
    let records = draft.pods_in_hand();
    let mut pods: Vec<&Pod> = records.iter().filter_map(|r| r.as_pod()).collect();
    let mut room = Room::taken_by(pods.iter().copied());
    // Whoever came first is taken up first.
    sorted::by_key(&mut pods, |pod| pod.meta.created);
    for pod in pods {
        if pod.meta.deleting.is_some() {
            end(draft, pod);
        } else {
            go_on(draft, pod, &mut room);
        }
    }
    stop::say_all_stopped(draft);
}

/// A pod that is being deleted: its record goes when nothing of it is live.
fn end(draft: &mut Draft, old: &Pod) {
    let Some(deleting) = &old.meta.deleting else { return };
    let mut pod = old.clone();
    if pod.is_live() {
        stop::stop_live(draft, &mut pod, deleting.grace_s);
        phase::set_ready(&mut pod, false, draft.now());
        save(draft, old, pod);
    } else {
        phase::finish_deleted(&mut pod, draft.now());
        remove(draft, &pod);
    }
}

/// A pod that is neither finished nor being deleted.
fn go_on(draft: &mut Draft, old: &Pod, room: &mut Room) {
    let mut pod = old.clone();
    if pod.status.started.is_none() {
        let is_leaving = draft.node().is_some_and(|node| node.status.halt != Halt::No);
        if is_leaving || !take::take_up(draft, &mut pod, room) {
            return save(draft, old, pod);
        }
    }
    // What has come to an end by itself is neither late nor lost, and starts nothing more.
    phase::settle(draft, &mut pod);
    if !pod.status.phase.is_terminal() {
        if evict::by_taints(draft, &mut pod) {
            return;
        }
        volumes::refresh(draft, &mut pod);
        stop::check_deadline(draft, &mut pod);
        if stop::is_overdue(&pod) || draft.node().is_some_and(Node::holds_pods) {
            let grace_s = stop::grace_s(&pod);
            stop::stop_live(draft, &mut pod, grace_s);
        } else {
            start::start_due(draft, &mut pod);
        }
        phase::settle(draft, &mut pod);
    }
    save(draft, old, pod);
}

/// Removes a pod's record (its processes are gone): counts it into its Job first, and has its directories removed. The
/// Job is shown the pod with the phase it ended in, which the record itself may never have had.
pub fn remove(draft: &mut Draft, pod: &Pod) {
    job::fold(draft, pod);
    draft.delete(&Key::new(Kind::Pod, &pod.meta.namespace, &pod.meta.name));
    draft.effect(Effect::Remove(pod.meta.uid.clone()));
}

/// Writes what has changed: durably when a promise rests on it, else to ride with the next commit. A durable commit lets
/// go of the evidence that was kept for it.
fn save(draft: &mut Draft, old: &Pod, mut new: Pod) {
    if Promise::of(old) == Promise::of(&new) {
        return draft.put_quietly(new);
    }
    let kept: Vec<String> = new.statuses().filter(|c| c.evidence_from.is_some()).map(|c| c.name.clone()).collect();
    kept.iter().for_each(|name| let_go(draft, &mut new, name));
    draft.put(new);
}

/// Of the evidence of a container's attempts that are over, in a step that makes their ends durable.
fn let_go(draft: &mut Draft, pod: &mut Pod, container: &str) {
    let uid = pod.meta.uid.clone();
    let Some(status) = pod.status_of_mut(container) else { return };
    let Some(from) = status.evidence_from.take() else { return };
    let over = status.restarts.saturating_add(u32::from(!status.state.is_live()));
    for number in from..over {
        draft.effect(Effect::Forget(AttemptId { pod: uid.clone(), container: container.to_string(), number }));
    }
}

/// The part of a pod's status that must not be forgotten. The rest is found again or merely informs: why a container
/// waits, a process id, readiness, that SIGKILL was sent.
#[derive(PartialEq)]
struct Promise<'p> {
    started: Option<&'p Moment>,
    finished: Option<&'p Moment>,
    reason: &'p str,
    excused: Option<Excuse>,
    tainted: Option<&'p Moment>,
    containers: Vec<ContainerPromise<'p>>,
}

#[derive(PartialEq)]
struct ContainerPromise<'p> {
    /// None while it restarts with numbers that are reserved.
    attempt: Option<AttemptPromise<'p>>,
    reserved: u32,
    excused_restarts: u32,
    backoff_ms: Option<u64>,
    image_id: &'p str,
    stopping: Option<&'p Moment>,
}

#[derive(PartialEq)]
struct AttemptPromise<'p> {
    number: u32,
    is_live: bool,
    ended: Option<&'p Ended>,
    backoff: Option<&'p Backoff>,
}

impl<'p> Promise<'p> {
    fn of(pod: &'p Pod) -> Promise<'p> {
        let status = &pod.status;
        let attempt = |c: &'p ContainerStatus| AttemptPromise {
            number: c.restarts,
            is_live: c.state.is_live(),
            ended: restart::previous(c),
            backoff: c.backoff.as_ref(),
        };
        let containers = pod.statuses().map(|c| ContainerPromise {
            attempt: (c.reserved == 0).then(|| attempt(c)),
            reserved: c.reserved,
            excused_restarts: c.excused_restarts,
            backoff_ms: c.backoff.as_ref().map(|b| b.delay_ms),
            image_id: &c.image_id,
            stopping: c.stopping.as_ref().map(|s| &s.since),
        });
        Promise {
            started: status.started.as_ref(),
            finished: status.finished.as_ref(),
            reason: &status.reason,
            excused: status.excused,
            tainted: status.tainted.as_ref(),
            containers: containers.collect(),
        }
    }
}

/// `name_namespace(uid)`, as a kubelet names a pod in its messages.
fn shown(pod: &Pod) -> String {
    format!("{}_{}({})", pod.meta.name, pod.meta.namespace, pod.meta.uid)
}

/// The kubelet says something about one container.
fn say(draft: &mut Draft, pod: &Pod, container: &str, kind: EventType, reason: &str, message: &str) {
    let is_init = pod.status.init.iter().any(|c| c.name == container);
    let list = if is_init { "initContainers" } else { "containers" };
    let about = ObjectRef { field_path: format!("spec.{list}{{{container}}}"), ..about(pod) };
    draft.event(&about, kind, reason, message, "kubelet");
}

/// Some component says something about the pod.
fn say_of_pod(draft: &mut Draft, pod: &Pod, kind: EventType, reason: &str, message: &str, source: &str) {
    draft.event(&about(pod), kind, reason, message, source);
}

fn about(pod: &Pod) -> ObjectRef {
    let meta = &pod.meta;
    ObjectRef {
        kind: Kind::Pod,
        namespace: meta.namespace.clone(),
        name: meta.name.clone(),
        uid: meta.uid.clone(),
        field_path: String::new(),
    }
}

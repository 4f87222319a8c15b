//! Decides whether a DaemonSet has its pod on this node, and which one. Knows no process: it reads what the pods' records
//! say. Source: `pkg/controller/daemon/daemon_controller.go`.

mod revision;
mod rollout;
#[cfg(test)]
mod tests;

use std::time::Duration;

use serde_json::{Value, json};

use crate::model::daemonset::Replacing;
use crate::model::node::TaintEffect;
use crate::model::pod::{Phase, Toleration, TolerationOperator};
use crate::model::{DaemonSet, DaemonSetStatus, EventType, Kind, Node, Owner, Pod, sorted};

use super::draft::Draft;
use super::{delete, fit, template};

/// The wait before a failed pod is replaced doubles from here ...
const REPLACE_FIRST: Duration = Duration::from_secs(1);
/// ... to here; after twice this without a failure it begins anew. Source: `failedPodsBackoff`.
const REPLACE_LONGEST: Duration = Duration::from_secs(15 * 60);

pub const HASH_LABEL: &str = "controller-revision-hash";
const GENERATION_LABEL: &str = "pod-template-generation";

/// What every DaemonSet pod tolerates: the node's own troubles are no reason to take it away. All pods use the host's
/// network here. Source: `AddOrUpdateDaemonPodTolerations`.
const TOLERATED: [(&str, TaintEffect); 7] = [
    ("node.kubernetes.io/not-ready", TaintEffect::NoExecute),
    ("node.kubernetes.io/unreachable", TaintEffect::NoExecute),
    ("node.kubernetes.io/disk-pressure", TaintEffect::NoSchedule),
    ("node.kubernetes.io/memory-pressure", TaintEffect::NoSchedule),
    ("node.kubernetes.io/pid-pressure", TaintEffect::NoSchedule),
    ("node.kubernetes.io/unschedulable", TaintEffect::NoSchedule),
    ("node.kubernetes.io/network-unavailable", TaintEffect::NoSchedule),
];

pub fn sync(draft: &mut Draft) {
    // The garbage collector has those that are being deleted in hand.
    for record in draft.select(Kind::DaemonSet, |record| record.meta().deleting.is_none()) {
        let Some(set) = record.as_daemon_set() else { continue };
        let Some(place) = draft.node().map(|node| place(set, node)) else { continue };
        sync_set(draft, set, place);
    }
}

/// Whether this node is a place for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Run,
    /// A pod that is there stays, none is started: only a NoSchedule taint is in the way.
    Keep,
    Leave,
}

/// A cordon is no reason against it. Source: `NodeShouldRunDaemonPod`.
fn place(set: &DaemonSet, node: &Node) -> Place {
    let spec = &set.spec.template.spec;
    if !fit::is_named(spec, node) || !fit::node_matches(spec, node) {
        return Place::Leave;
    }
    if node.spec.taints.is_empty() {
        return Place::Run;
    }
    let mut tolerations = spec.tolerations.clone();
    tolerations.extend(TOLERATED.map(|(key, effect)| Toleration {
        key: key.to_string(),
        operator: TolerationOperator::Exists,
        effect: effect.as_str().to_string(),
        ..Toleration::default()
    }));
    if fit::untolerated(&tolerations, node, TaintEffect::NoExecute).is_some() {
        Place::Leave
    } else if fit::untolerated(&tolerations, node, TaintEffect::NoSchedule).is_some() {
        Place::Keep
    } else {
        Place::Run
    }
}

/// One DaemonSet as it is looked at in one round.
struct View<'a> {
    set: &'a DaemonSet,
    place: Place,
    /// Of its present template.
    revision: revision::Current,
    /// Oldest first.
    pods: Vec<&'a Pod>,
}

impl View<'_> {
    fn is_updated(&self, pod: &Pod) -> bool {
        pod.meta.labels.get(HASH_LABEL) == Some(&self.revision.hash)
    }

    /// Not asked to go, not finished.
    fn running(&self) -> Vec<&Pod> {
        self.pods.iter().copied().filter(|pod| pod.is_active()).collect()
    }
}

fn sync_set(draft: &mut Draft, set: &DaemonSet, place: Place) {
    let records = draft.owned(&set.meta.uid, Kind::Pod);
    let mut pods: Vec<&Pod> = records.iter().filter_map(|record| record.as_pod()).collect();
    sorted::by(&mut pods, |a, b| (a.meta.created, &a.meta.name).cmp(&(b.meta.created, &b.meta.name)));
    let revision = revision::current(draft, set);
    let view = View { set, place, revision, pods };
    let mut status = set.status.clone();
    let acted = match place {
        Place::Run | Place::Keep => tend(draft, &view, &mut status),
        Place::Leave => delete(draft, set, view.pods.iter().copied().filter(|pod| pod.meta.deleting.is_none())),
    };
    // A taint that lets no new pod in is no time to take the old one away.
    if !acted && place == Place::Run {
        rollout::advance(draft, &view);
    }
    revision::drop_old(draft, &view);
    report(draft, &view, &mut status);
    draft.put_quietly(DaemonSet { status, ..set.clone() });
}

/// Keeps one good pod: replaces those that ended, ends those too many, makes the one that lacks when none is left, not
/// even one on its way out. True when it changed something. Source: `podsShouldBeOnNode`.
fn tend(draft: &mut Draft, view: &View, status: &mut DaemonSetStatus) -> bool {
    if view.pods.is_empty() {
        return view.place == Place::Run && create(draft, view);
    }
    let mut gone = Vec::new();
    for pod in view.pods.iter().copied().filter(|pod| pod.meta.deleting.is_none()) {
        let replaced = match pod.status.phase {
            Phase::Failed => replace_failed(draft, view, pod, status),
            Phase::Succeeded => replace_succeeded(draft, view.set, pod),
            Phase::Pending | Phase::Running => false,
        };
        if replaced {
            gone.push(pod);
        }
    }
    gone.extend(rollout::surplus(draft, view));
    delete(draft, view.set, gone)
}

/// True when the wait is over: the pod goes, and the wait of the next one is longer.
fn replace_failed(draft: &mut Draft, view: &View, pod: &Pod, status: &mut DaemonSetStatus) -> bool {
    let (set, now) = (view.set, draft.now());
    let known = status.backoff.as_ref().filter(|backoff| backoff.generation == set.meta.generation);
    let delay = match known {
        Some(known) => {
            let (delay, passed) = (Duration::from_millis(known.delay_ms), now.since(&known.updated));
            if passed < delay {
                draft.wake_in(delay - passed);
                return false;
            }
            if passed > 2 * REPLACE_LONGEST { REPLACE_FIRST } else { (2 * delay).min(REPLACE_LONGEST) }
        }
        None => REPLACE_FIRST,
    };
    let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
    status.backoff = Some(Replacing { delay_ms, updated: now.moment(), generation: set.meta.generation });
    let node = draft.node().map_or(String::new(), |node| node.meta.name.clone());
    let (namespace, name) = (&pod.meta.namespace, &pod.meta.name);
    let message = format!("Found failed daemon pod {namespace}/{name} on node {node}, will try to kill it");
    template::tell(draft, Kind::DaemonSet, &set.meta, EventType::Warning, "FailedDaemonPod", &message);
    true
}

fn replace_succeeded(draft: &mut Draft, set: &DaemonSet, pod: &Pod) -> bool {
    let node = draft.node().map_or(String::new(), |node| node.meta.name.clone());
    let (namespace, name) = (&pod.meta.namespace, &pod.meta.name);
    let message = format!("Found succeeded daemon pod {namespace}/{name} on node {node}, will try to delete it");
    template::tell(draft, Kind::DaemonSet, &set.meta, EventType::Normal, "SucceededDaemonPod", &message);
    true
}

/// True when there was one to delete.
fn delete<'a>(draft: &mut Draft, set: &DaemonSet, pods: impl IntoIterator<Item = &'a Pod>) -> bool {
    let mut any = false;
    for pod in pods {
        any = true;
        delete::pod(draft, pod, None, None);
        let message = format!("Deleted pod: {}", pod.meta.name);
        template::tell(draft, Kind::DaemonSet, &set.meta, EventType::Normal, "SuccessfulDelete", &message);
    }
    any
}

/// False when the node is full.
fn create(draft: &mut Draft, view: &View) -> bool {
    let set = view.set;
    if template::room(draft) == 0 {
        let message = template::no_room(draft);
        template::tell_once(draft, Kind::DaemonSet, &set.meta, EventType::Warning, "FailedCreate", &message);
        return false;
    }
    let mut labels = set.spec.template.metadata.labels.clone();
    labels.insert(HASH_LABEL.to_string(), view.revision.hash.clone());
    labels.insert(GENERATION_LABEL.to_string(), view.revision.number.to_string());
    let mould = template::Mould {
        namespace: set.meta.namespace.clone(),
        owner: Owner { kind: Kind::DaemonSet, name: set.meta.name.clone(), uid: set.meta.uid.clone() },
        labels,
        annotations: set.spec.template.metadata.annotations.clone(),
        spec: template::pod_spec(set.spec.document(), &tolerations(), None),
    };
    let pod = mould.pod(draft);
    let message = format!("Created pod: {}", pod.meta.name);
    draft.put(pod);
    template::tell(draft, Kind::DaemonSet, &set.meta, EventType::Normal, "SuccessfulCreate", &message);
    true
}

fn tolerations() -> Vec<Value> {
    let toleration =
        |(key, effect): (&str, TaintEffect)| json!({"key": key, "operator": "Exists", "effect": effect.as_str()});
    TOLERATED.map(toleration).to_vec()
}

/// `status`: of the oldest pod, as Kubernetes counts.
fn report(draft: &mut Draft, view: &View, status: &mut DaemonSetStatus) {
    let should_run = view.place == Place::Run;
    let oldest = view.pods.first().copied().filter(|_| should_run);
    status.desired = u32::from(should_run);
    status.current = u32::from(oldest.is_some());
    status.misscheduled = u32::from(!should_run && !view.pods.is_empty());
    status.ready = u32::from(oldest.is_some_and(|pod| pod.status.ready.is));
    status.available = u32::from(oldest.is_some_and(|pod| is_available(draft, view.set, pod)));
    status.updated = u32::from(oldest.is_some_and(|pod| view.is_updated(pod)));
    status.observed_generation = view.set.meta.generation;
    status.update_hash.clone_from(&view.revision.hash);
    status.update_number = view.revision.number;
}

/// Ready for at least `minReadySeconds`; wakes when that will be so.
fn is_available(draft: &mut Draft, set: &DaemonSet, pod: &Pod) -> bool {
    let (true, Some(since)) = (pod.status.ready.is, &pod.status.ready.since) else { return false };
    let rest = Duration::from_secs(set.spec.min_ready_seconds.into()).saturating_sub(draft.now().since(since));
    if !rest.is_zero() {
        draft.wake_in(rest);
    }
    rest.is_zero()
}

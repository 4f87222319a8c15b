//! A pod's status as a kubelet reports it.

use serde_json::{Value, json};

use super::{Condition, Fields, time, time_or_null};
use crate::model::pod::Qos;
use crate::model::{ContainerState, ContainerStatus, Ended, Node, Phase, Pod};

pub(super) fn pod(shown: Fields, pod: &Pod, node: Option<&Node>) -> Fields {
    shown.put("spec", spec(pod, node)).put("status", status(pod, node))
}

/// True when `spec.nodeName` of this pod is shown though it is not in its document: the document is shared by all pods of
/// one owner and knows no node.
pub fn shows_node(pod: &Pod) -> bool {
    pod.status.started.is_some() && pod.spec.node_name.is_empty()
}

fn spec(pod: &Pod, node: Option<&Node>) -> Value {
    let mut spec = pod.spec.document().clone();
    if let (Some(node), Some(fields)) = (node.filter(|_| shows_node(pod)), spec.as_object_mut()) {
        fields.insert("nodeName".into(), node.meta.name.as_str().into());
    }
    spec
}

fn status(pod: &Pod, node: Option<&Node>) -> Value {
    let s = &pod.status;
    let shown = Fields::new()
        .put("phase", s.phase.as_str())
        .some("conditions", conditions(pod))
        .some("message", s.message.as_str())
        .some("reason", s.reason.as_str());
    let ip = node.map_or("", |n| n.status.facts.internal_ip.as_str());
    // An unscheduled pod has no address, no start and no containers.
    let shown = if s.started.is_none() {
        shown
    } else {
        let ips = if ip.is_empty() { json!([]) } else { json!([{ "ip": ip }]) };
        shown
            .some("hostIP", ip)
            .some("hostIPs", ips.clone())
            .some("podIP", ip)
            .some("podIPs", ips)
            .some("startTime", time(s.started.as_ref()))
            .some("initContainerStatuses", statuses(pod, &s.init, true))
            .some("containerStatuses", statuses(pod, &s.containers, false))
    };
    shown.put("qosClass", qos(pod.spec.qos())).done()
}

fn qos(qos: Qos) -> &'static str {
    match qos {
        Qos::Guaranteed => "Guaranteed",
        Qos::Burstable => "Burstable",
        Qos::BestEffort => "BestEffort",
    }
}

/// Source: `pkg/kubelet/status/generate.go`; the kubelet's order.
fn conditions(pod: &Pod) -> Vec<Value> {
    let created = time_or_null(pod.meta.created);
    let scheduled = Condition {
        kind: "PodScheduled",
        is: pod.status.started.is_some(),
        since: pod.status.started.as_ref().map_or(created, |m| m.wall.rfc3339().into()),
        reason: if pod.status.unschedulable.is_some() { "Unschedulable" } else { "" },
        message: pod.status.unschedulable.clone().unwrap_or_default(),
    };
    let mut all = Vec::new();
    if pod.status.started.is_some() {
        all.extend([sandbox(pod), initialized(pod), ready(pod, "Ready"), ready(pod, "ContainersReady")]);
    }
    all.push(scheduled);
    all.into_iter().map(|c| c.show("lastProbeTime", Value::Null)).collect()
}

fn sandbox(pod: &Pod) -> Condition<'static> {
    Condition {
        kind: "PodReadyToStartContainers",
        is: !pod.status.phase.is_terminal(),
        since: time(pod.status.finished.as_ref().or(pod.status.started.as_ref())),
        reason: "",
        message: String::new(),
    }
}

fn initialized(pod: &Pod) -> Condition<'static> {
    let waiting = names(&pod.status.init, |c| !init_is_done(c));
    let (reason, message) = match (waiting.is_empty(), pod.status.phase) {
        (true, Phase::Succeeded) => ("PodCompleted", String::new()),
        (true, Phase::Pending | Phase::Running | Phase::Failed) => ("", String::new()),
        (false, _) => {
            ("ContainersNotInitialized", format!("containers with incomplete status: [{}]", waiting.join(" ")))
        }
    };
    let last_init = pod.status.init.iter().filter_map(|c| c.state.ended()).map(|e| &e.finished).next_back();
    let since = last_init.filter(|_| waiting.is_empty()).or(pod.status.started.as_ref());
    Condition { kind: "Initialized", is: waiting.is_empty(), since: time(since), reason, message }
}

/// `Ready` and `ContainersReady` differ by readiness gates alone, and there are none.
fn ready<'a>(pod: &Pod, kind: &'a str) -> Condition<'a> {
    let s = &pod.status;
    let (reason, message) = match (s.ready.is, s.phase) {
        (true, _) => ("", String::new()),
        (false, Phase::Succeeded) => ("PodCompleted", String::new()),
        (false, Phase::Failed) => ("PodFailed", String::new()),
        (false, Phase::Pending | Phase::Running) => {
            let mut unready = names(&s.containers, |c| !is_running(c));
            if unready.is_empty() {
                // Every container runs, but the pod is being ended as a whole.
                unready = names(&s.containers, |_| true);
            }
            ("ContainersNotReady", format!("containers with unready status: [{}]", unready.join(" ")))
        }
    };
    Condition { kind, is: s.ready.is, since: time(s.ready.since.as_ref().or(s.started.as_ref())), reason, message }
}

fn names(statuses: &[ContainerStatus], which: impl Fn(&ContainerStatus) -> bool) -> Vec<&str> {
    statuses.iter().filter(|c| which(c)).map(|c| c.name.as_str()).collect()
}

fn is_running(status: &ContainerStatus) -> bool {
    matches!(status.state, ContainerState::Running { .. })
}

fn init_is_done(status: &ContainerStatus) -> bool {
    status.state.ended().is_some_and(|e| e.exit_code == 0)
}

fn statuses(pod: &Pod, statuses: &[ContainerStatus], init: bool) -> Vec<Value> {
    statuses.iter().map(|status| container(pod, status, init)).collect()
}

fn container(pod: &Pod, status: &ContainerStatus, init: bool) -> Value {
    let image = pod.container(&status.name).map_or("", |c| c.image.as_str());
    let numbers = Numbers::of(status);
    let id = |number: Option<u32>| number.map_or(String::new(), |n| container_id(pod, status, n));
    let last = status.last.as_ref().map(|ended| json!({ "terminated": terminated(ended, id(numbers.last)) }));
    Fields::new()
        .put("name", status.name.as_str())
        .put("state", state(status, init, id(numbers.present)))
        .put("lastState", last.unwrap_or_else(|| json!({})))
        .put("ready", if init { init_is_done(status) } else { is_running(status) })
        .put("restartCount", status.restarts)
        .put("image", image)
        .put("imageID", status.image_id.as_str())
        .some("containerID", id(numbers.present.or(numbers.last)))
        .put("started", is_running(status))
        .done()
}

/// Which attempts `state` and `lastState` tell of; none where no process has come to be known.
struct Numbers {
    present: Option<u32>,
    last: Option<u32>,
}

impl Numbers {
    fn of(status: &ContainerStatus) -> Numbers {
        let before = status.restarts.checked_sub(1);
        match status.state {
            // Between two attempts the number is still that of the one that ended.
            ContainerState::Waiting { .. } => {
                Numbers { present: None, last: status.last.as_ref().map(|_| status.restarts) }
            }
            ContainerState::Starting { .. } => Numbers { present: None, last: before },
            ContainerState::Running { .. } | ContainerState::Ended(_) => {
                Numbers { present: Some(status.restarts), last: before }
            }
        }
    }
}

fn container_id(pod: &Pod, status: &ContainerStatus, number: u32) -> String {
    format!("pinnace://{}/{}/{number}", pod.meta.uid, status.name)
}

fn state(status: &ContainerStatus, init: bool, id: String) -> Value {
    match &status.state {
        ContainerState::Waiting { reason, message, .. } => {
            json!({ "waiting": Fields::new().some("reason", reason.as_str()).some("message", message.as_str()).done() })
        }
        ContainerState::Starting { .. } => {
            json!({ "waiting": { "reason": if init { "PodInitializing" } else { "ContainerCreating" } } })
        }
        ContainerState::Running { started, .. } => json!({ "running": { "startedAt": started.wall.rfc3339() } }),
        ContainerState::Ended(ended) => json!({ "terminated": terminated(ended, id) }),
    }
}

fn terminated(ended: &Ended, id: String) -> Value {
    // A container runtime gives the epoch for what never started.
    let started = ended.started.as_ref().map_or_else(|| "1970-01-01T00:00:00Z".to_string(), |m| m.wall.rfc3339());
    Fields::new()
        .put("exitCode", ended.exit_code)
        .some("reason", ended.reason.as_str())
        .some("message", ended.message.as_str())
        .put("startedAt", started)
        .put("finishedAt", ended.finished.wall.rfc3339())
        .some("containerID", id)
        .done()
}

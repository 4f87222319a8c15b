//! Takes pods up: what the scheduler and a kubelet's admission do together, for one node.

use crate::core::draft::Draft;
use crate::core::fit::{self, HostPorts, Misfit};
use crate::model::{EventType, Pod};

use super::{resources, say_of_pod};

const SCHEDULER: &str = "default-scheduler";

/// What the pods that were taken up leave for others.
#[derive(Debug, Default)]
pub struct Room {
    pods: usize,
    ports: HostPorts,
}

impl Room {
    pub fn taken_by<'p>(pods: impl Iterator<Item = &'p Pod>) -> Room {
        let mut room = Room::default();
        for pod in pods.filter(|p| p.status.started.is_some() && !p.status.phase.is_terminal()) {
            room.take(pod);
        }
        room
    }

    fn take(&mut self, pod: &Pod) {
        self.pods += 1;
        self.ports.extend(fit::host_ports(&pod.spec));
    }

    fn misfit(&self, pod: &Pod, pods_max: usize) -> Option<Misfit> {
        if self.pods >= pods_max {
            Some(Misfit::TooManyPods)
        } else if !self.ports.is_disjoint(&fit::host_ports(&pod.spec)) {
            Some(Misfit::Ports)
        } else {
            None
        }
    }
}

/// Takes the pod up if it fits; else says why it does not, once for each reason. True when the node has it.
pub fn take_up(draft: &mut Draft, pod: &mut Pod, room: &mut Room) -> bool {
    let (text, node) = match draft.node() {
        None => ("no nodes available to schedule pods".to_string(), String::new()),
        Some(node) => {
            let pods_max = draft.settings().pods_max;
            let misfit = fit::misfit(&pod.spec, node).or_else(|| room.misfit(pod, pods_max));
            (misfit.map(|m| m.message()).unwrap_or_default(), node.meta.name.clone())
        }
    };
    if !text.is_empty() {
        if pod.status.unschedulable.as_ref() != Some(&text) {
            say_of_pod(draft, pod, EventType::Warning, "FailedScheduling", &text, SCHEDULER);
            pod.status.unschedulable = Some(text);
        }
        return false;
    }
    room.take(pod);
    pod.status.unschedulable = None;
    pod.status.started = Some(draft.now().moment());
    let text = format!("Successfully assigned {}/{} to {node}", pod.meta.namespace, pod.meta.name);
    say_of_pod(draft, pod, EventType::Normal, "Scheduled", &text, SCHEDULER);
    warn_of_limits(draft, pod);
    true
}

/// A pod that runs without limits that it asked for is told so, once. With `limits: required` it does not run at all.
fn warn_of_limits(draft: &mut Draft, pod: &Pod) {
    let Some(node) = draft.node() else { return };
    let missing = resources::missing_controllers(&pod.spec, &node.status.facts, draft.settings());
    if missing.is_empty() || draft.settings().limits_required {
        return;
    }
    let text = format!("This host offers no cgroup controller {}: these limits are not enforced", missing.join(", "));
    say_of_pod(draft, pod, EventType::Warning, "LimitsNotEnforced", &text, "kubelet");
}

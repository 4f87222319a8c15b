//! What the pod as a whole is, from what its containers are: phase, Ready, and how it finished.
//! Source: `pkg/kubelet/kubelet_pods.go`, `getPhase`.

use crate::core::draft::Draft;
use crate::model::pod::{Excuse, Ready, RestartPolicy};
use crate::model::{ContainerState, ContainerStatus, Ended, Moment, Now, Phase, Pod};

use super::exit::is_lost;
use super::start::is_done;
use super::stop::is_overdue;

/// Brings phase, Ready and the end of the pod in line with its containers. A finished pod is not touched.
pub fn settle(draft: &Draft, pod: &mut Pod) {
    if pod.status.phase.is_terminal() {
        return;
    }
    let phase = phase(pod);
    match phase {
        Phase::Succeeded | Phase::Failed => finish(pod, phase, draft.now()),
        Phase::Pending | Phase::Running => pod.status.phase = phase,
    }
    let is = pod.status.phase == Phase::Running && pod.meta.deleting.is_none() && all_running(pod);
    set_ready(pod, is, draft.now());
}

/// The phase of a pod that is being deleted and has nothing live any more.
pub fn finish_deleted(pod: &mut Pod, now: &Now) {
    if pod.status.phase.is_terminal() || pod.status.started.is_none() {
        return;
    }
    let succeeded = pod.status.containers.iter().all(is_done);
    finish(pod, if succeeded { Phase::Succeeded } else { Phase::Failed }, now);
}

fn finish(pod: &mut Pod, phase: Phase, now: &Now) {
    pod.status.phase = phase;
    pod.status.finished = Some(last_end(pod, now).unwrap_or_else(|| now.moment()));
    if phase == Phase::Failed && pod.status.reason.is_empty() {
        blame(pod);
    }
    set_ready(pod, false, now);
}

/// When the last of the app containers ended; none when one of them has no end to show.
fn last_end(pod: &Pod, now: &Now) -> Option<Moment> {
    let ends: Option<Vec<&Ended>> = pod.status.containers.iter().map(|c| c.state.ended()).collect();
    ends?.into_iter().map(|ended| &ended.finished).min_by_key(|moment| now.since(moment)).cloned()
}

/// When every container that failed was ended by a reboot or a drain, so was the pod.
fn blame(pod: &mut Pod) {
    let failed = |c: &ContainerStatus| c.state.ended().filter(|ended| ended.exit_code != 0).cloned();
    let failures: Vec<Ended> = pod.statuses().filter_map(failed).collect();
    if failures.iter().any(|ended| ended.excused.is_none()) {
        return;
    }
    let Some(excuse) = failures.last().and_then(|ended| ended.excused) else { return };
    let (reason, message) = match excuse {
        Excuse::Reboot => ("NodeRebooted", "The machine went down while the pod was running."),
        Excuse::Drained => {
            ("NodeDrained", "The pod was stopped because the node was drained or told to stop its pods.")
        }
        Excuse::Surplus => return,
    };
    pod.status.reason = reason.to_string();
    pod.status.message = message.to_string();
    pod.status.excused.get_or_insert(excuse);
}

fn phase(pod: &Pod) -> Phase {
    let policy = pod.spec.restart_policy;
    let apps = || pod.status.containers.iter();
    if is_overdue(pod) {
        return if pod.is_live() { pod.status.phase } else { Phase::Failed };
    }
    let never = policy == RestartPolicy::Never && !pod.is_live();
    if never && pod.statuses().filter_map(|c| c.state.ended()).any(is_lost) {
        return Phase::Failed;
    }
    let init_failed = pod.status.init.iter().any(|c| c.state.ended().is_some_and(|ended| ended.exit_code != 0));
    if never && init_failed {
        return Phase::Failed;
    }
    let init_pending = !pod.status.init.iter().all(is_done);
    let never_ran = |c: &ContainerStatus| c.last.is_none() && waits(&c.state);
    if (init_pending && apps().all(never_ran)) || apps().any(never_ran) || apps().next().is_none() {
        return Phase::Pending;
    }
    // Each container has run. One that is live, or will be, keeps the pod running.
    let all_ended = apps().all(|c| c.state.ended().is_some());
    match policy {
        RestartPolicy::Always => Phase::Running,
        RestartPolicy::OnFailure | RestartPolicy::Never if !all_ended => Phase::Running,
        RestartPolicy::OnFailure | RestartPolicy::Never if apps().all(is_done) => Phase::Succeeded,
        RestartPolicy::OnFailure => Phase::Running,
        RestartPolicy::Never => Phase::Failed,
    }
}

/// No process of the present attempt has been seen.
fn waits(state: &ContainerState) -> bool {
    match state {
        ContainerState::Waiting { .. } | ContainerState::Starting { .. } => true,
        ContainerState::Running { .. } | ContainerState::Ended(_) => false,
    }
}

fn all_running(pod: &Pod) -> bool {
    pod.status.containers.iter().all(|c| match &c.state {
        ContainerState::Running { .. } => c.stopping.is_none(),
        ContainerState::Waiting { .. } | ContainerState::Starting { .. } | ContainerState::Ended(_) => false,
    })
}

/// The Ready condition; its time is that of its last change.
pub fn set_ready(pod: &mut Pod, is: bool, now: &Now) {
    if pod.status.ready.is != is {
        pod.status.ready = Ready { is, since: Some(now.moment()) };
    }
}

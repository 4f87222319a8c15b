//! An attempt's process came to be, or is over. Each report may come twice, and late.

use crate::core::draft::{Draft, owning_job};
use crate::model::attempt::Stamp;
use crate::model::pod::{Excuse, boot_of};
use crate::model::{
    AttemptId, ContainerState, ContainerStatus, Effect, Ended, EventType, Exit, HowEnded, Kind, Moment, Now, Pod,
};

use super::{boot, phase, save, say, start, stop};

/// Reason and exit code of what a reboot ended, as containerd reports it.
pub const REBOOTED: &str = "Unknown";
const REBOOTED_CODE: i32 = 255;
const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;
/// On a Job or a pod: a reboot counts as a failure, as it does in Kubernetes.
const COUNT_REBOOTS: &str = "pinnace.dev/count-reboots";

/// The attempt's process exists. This merely informs: after a crash of the daemon it is found again.
pub fn started(draft: &mut Draft, attempt: &AttemptId, pid: u32, at: &Stamp) {
    let Some(record) = draft.pod_by_uid(&attempt.pod) else {
        draft.effect(Effect::Kill(attempt.clone()));
        return draft.effect(Effect::Remove(attempt.pod.clone()));
    };
    let Some(old) = record.as_pod() else { return };
    let mut pod = old.clone();
    // An order of the daemon before, which the record does not know: see `ContainerStatus::reserved`.
    if is_next(&pod, attempt) {
        boot::catch_up(&mut pod, attempt, draft.now().moment());
    }
    if !is_current(&pod, attempt) {
        return draft.effect(Effect::Kill(attempt.clone()));
    }
    run(draft, &mut pod, &attempt.container, pid, Some(at));
    save(draft, old, pod);
}

/// The attempt is over. An end that is known already, or that is of an older attempt, changes nothing; its evidence is
/// let go again, as that may not have happened before.
pub fn exited(draft: &mut Draft, exit: &Exit) {
    let id = &exit.attempt;
    let record = draft.pod_by_uid(&id.pod);
    if let Some(old) = record.as_ref().and_then(|r| r.as_pod()).filter(|pod| is_current(pod, id)) {
        let mut pod = old.clone();
        let was_stopped = pod.status_of(&id.container).is_some_and(|c| c.stopping.is_some());
        end(draft, &mut pod, exit);
        if !was_stopped && may_wait(&pod, exit) {
            return wait(draft, pod, &id.container);
        }
        release(&mut pod, &id.container);
        // The Job is looked at before its pods, and must know work that was done before its deadline passed.
        if pod.meta.deleting.is_none() {
            phase::settle(draft, &mut pod);
        }
        save(draft, old, pod);
    } else if record.as_ref().and_then(|r| r.as_pod()).is_some_and(|pod| is_kept(pod, id)) {
        return;
    }
    // Carried out after this step's commit: the status that the evidence proves is durable by then.
    draft.effect(Effect::Forget(id.clone()));
    if record.is_none() {
        draft.effect(Effect::Remove(id.pod.clone()));
    }
}

/// Whether the end may become durable with the intent of the next attempt, so that a restart costs one commit. It is
/// found again until then: the exit record stays where it is. A Job counts ends, a stop was asked for by somebody, and
/// where no attempt follows there is no later commit: those do not wait. Nor does what has no record.
fn may_wait(pod: &Pod, exit: &Exit) -> bool {
    let is_of_job = pod.meta.owner.as_ref().is_some_and(|owner| owner.kind == Kind::Job);
    let is_recorded = match exit.how {
        HowEnded::Code(_) | HowEnded::Signal(_) => true,
        HowEnded::NotStarted(_) | HowEnded::Lost => false,
    };
    let (policy, name) = (pod.spec.restart_policy, &exit.attempt.container);
    let goes_on = pod.meta.deleting.is_none()
        && !stop::is_overdue(pod)
        && !pod.status.init.iter().any(|c| c.name == *name && start::is_done(c))
        && pod.status_of(name).is_some_and(|c| start::wants_attempt(c, policy));
    is_recorded && goes_on && !is_of_job
}

/// The end is known, and its evidence still needed.
fn is_kept(pod: &Pod, id: &AttemptId) -> bool {
    pod.status_of(&id.container).is_some_and(|c| c.evidence_from.is_some_and(|from| from <= id.number))
}

/// What comes next is durable at once again.
fn release(pod: &mut Pod, container: &str) {
    if let Some(status) = pod.status_of_mut(container) {
        status.reserved = 0;
    }
}

fn wait(draft: &mut Draft, mut pod: Pod, container: &str) {
    if let Some(status) = pod.status_of_mut(container) {
        status.evidence_from.get_or_insert(status.restarts);
    }
    draft.put_quietly(pod);
}

/// The attempt is the one that the pod's record says is under way.
pub fn is_current(pod: &Pod, id: &AttemptId) -> bool {
    pod.status_of(&id.container).is_some_and(|c| c.restarts == id.number && c.state.is_live())
}

fn is_next(pod: &Pod, id: &AttemptId) -> bool {
    let status = pod.status_of(&id.container);
    status.is_some_and(|c| c.restarts.checked_add(1) == Some(id.number) && !c.state.is_live() && c.last.is_some())
}

/// A starting container is running from now on; a running one is left as it is.
pub fn run(draft: &mut Draft, pod: &mut Pod, container: &str, pid: u32, at: Option<&Stamp>) {
    let now = draft.now();
    let Some(status) = pod.status_of_mut(container) else { return };
    let ContainerState::Starting { since } = &status.state else { return };
    let started = at.map_or_else(|| since.clone(), |stamp| moment(stamp, since, now));
    status.state = ContainerState::Running { started, pid };
    say(draft, pod, container, EventType::Normal, "Started", &format!("Started container {container}"));
}

/// Records how the current attempt ended.
pub fn end(draft: &mut Draft, pod: &mut Pod, exit: &Exit) {
    let now = draft.now();
    let excused = excuse(draft, pod, &exit.attempt.container, is_of_shutdown(pod, exit, now));
    let Some(status) = pod.status_of_mut(&exit.attempt.container) else { return };
    let Some(begun) = began(status).cloned() else { return };
    let (exit_code, reason, message) = meaning(exit);
    let reported = exit.started.as_ref().map(|stamp| moment(stamp, &begun, now));
    let seen = match &status.state {
        ContainerState::Running { started, .. } => Some(started.clone()),
        ContainerState::Starting { .. } | ContainerState::Waiting { .. } | ContainerState::Ended(_) => None,
    };
    let finished = moment(&exit.finished, &begun, now);
    let ended = Ended { exit_code, reason, message, started: seen.or(reported), finished, excused };
    if ended.reason == "StartError" {
        let text = format!("Error: {}", ended.message);
        say(draft, pod, &exit.attempt.container, EventType::Warning, "Failed", &text);
    }
    put_end(pod, &exit.attempt.container, ended);
}

/// The shim is gone and left no record.
pub fn lose(draft: &mut Draft, pod: &mut Pod, attempt: &AttemptId) {
    let now = draft.now();
    let finished = Stamp { wall: now.wall, boot: now.boot.clone(), up_ms: now.moment().up_ms };
    let how = HowEnded::Lost;
    end(
        draft,
        pod,
        &Exit { attempt: attempt.clone(), how, oom_killed: false, told_from_outside: false, started: None, finished },
    );
}

/// The machine went down under the attempt.
pub fn reboot(draft: &mut Draft, pod: &mut Pod, container: &str) {
    let excused = excuse(draft, pod, container, true);
    let Some(status) = pod.status_of(container) else { return };
    let started = match &status.state {
        ContainerState::Running { started, .. } => Some(started.clone()),
        ContainerState::Starting { .. } | ContainerState::Waiting { .. } | ContainerState::Ended(_) => None,
    };
    let ended = Ended {
        exit_code: REBOOTED_CODE,
        reason: REBOOTED.to_string(),
        message: "The machine went down while the container was running.".to_string(),
        started,
        finished: draft.now().moment(),
        excused,
    };
    put_end(pod, container, ended);
}

/// Ended by a reboot or a drain, whether that counts or not: a pod that is never restarted cannot go on.
pub fn is_lost(ended: &Ended) -> bool {
    ended.exit_code != 0 && (ended.excused.is_some() || ended.reason == REBOOTED)
}

fn put_end(pod: &mut Pod, container: &str, ended: Ended) {
    let Some(status) = pod.status_of_mut(container) else { return };
    status.state = ContainerState::Ended(ended);
    status.stopping = None;
}

/// When the current attempt was begun.
fn began(status: &ContainerStatus) -> Option<&Moment> {
    match &status.state {
        ContainerState::Starting { since } => Some(since),
        ContainerState::Running { started, .. } => Some(started),
        ContainerState::Waiting { .. } | ContainerState::Ended(_) => None,
    }
}

/// Exit code, reason and message, as containerd gives them.
fn meaning(exit: &Exit) -> (i32, String, String) {
    let say = |code: i32, reason: &str, message: &str| (code, reason.to_string(), message.to_string());
    let failed = if exit.oom_killed { "OOMKilled" } else { "Error" };
    match &exit.how {
        HowEnded::Code(0) => say(0, "Completed", ""),
        HowEnded::Code(code) => say(*code, failed, ""),
        HowEnded::Signal(n) => say(128_i32.saturating_add(*n), failed, ""),
        HowEnded::NotStarted(why) => say(128, "StartError", why),
        HowEnded::Lost if exit.oom_killed => say(137, failed, ""),
        HowEnded::Lost => {
            say(137, "ContainerStatusUnknown", "The container could not be located when the pod was terminated")
        }
    }
}

/// Whose doing the end was, when it was not the program's own and not a person's. A stop that is under way in a pod that
/// is neither deleted nor overdue is a drain.
fn excuse(draft: &Draft, pod: &Pod, container: &str, machine_went_down: bool) -> Option<Excuse> {
    if pod.status_of(container)?.stopping.is_some() {
        (pod.meta.deleting.is_none() && !stop::is_overdue(pod)).then_some(Excuse::Drained)
    } else if machine_went_down {
        reboot_excuse(draft, pod)
    } else {
        None
    }
}

/// A record from before the last boot is how an orderly shutdown looks where it tells of SIGTERM or SIGKILL, or of a
/// program that gave up when it was told to end: the init system tells every process that is left, the shim too.
fn is_of_shutdown(pod: &Pod, exit: &Exit, now: &Now) -> bool {
    let boot = pod.status_of(&exit.attempt.container).and_then(|status| boot_of(&status.state));
    let is_ended_by_init = match exit.how {
        HowEnded::Signal(SIGTERM | SIGKILL) => true,
        HowEnded::Code(code) => code != 0 && exit.told_from_outside,
        HowEnded::Signal(_) => exit.told_from_outside,
        HowEnded::NotStarted(_) | HowEnded::Lost => false,
    };
    is_ended_by_init && !exit.oom_killed && boot.is_some_and(|boot| *boot != now.boot)
}

fn reboot_excuse(draft: &Draft, pod: &Pod) -> Option<Excuse> {
    let counts = |annotations: &crate::model::Labels| annotations.get(COUNT_REBOOTS).is_some_and(|v| v == "true");
    let of_job = || owning_job(draft, &pod.meta).is_some_and(|job| counts(&job.meta.annotations));
    (!counts(&pod.meta.annotations) && !of_job()).then_some(Excuse::Reboot)
}

/// A shim's stamp on both clocks. It knows no trust: in this boot that is known now, before it was known when the
/// attempt was begun.
fn moment(stamp: &Stamp, begun: &Moment, now: &Now) -> Moment {
    let wall_trusted = if stamp.boot == now.boot { now.wall_trusted } else { begun.wall_trusted };
    Moment { wall: stamp.wall, boot: stamp.boot.clone(), up_ms: stamp.up_ms, wall_trusted }
}

//! Decides when a Job needs pods and when it is over. Knows no process: it reads what the pods' records say.
//! Source: `pkg/controller/job/job_controller.go`.

mod backoff;
mod pods;
mod tally;
#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::model::job::{JobCondition, JobConditionKind};
use crate::model::pod::{Excuse, RestartPolicy};
use crate::model::{EventType, Job, JobStatus, Key, Kind, Now, Pod, Propagation, Record};

use super::draft::Draft;
use super::{delete, template};
use tally::Tally;
pub use tally::fold;

/// Looks after every Job that has not ended, and lets those that have go when their time is up.
pub fn sync(draft: &mut Draft) {
    for record in draft.select(Kind::Job, is_of_interest) {
        let Record::Job(job) = &*record else { continue };
        match job.status.finished() {
            Some(end) => expire(draft, job, end),
            None => sync_job(draft, job),
        }
    }
}

/// A Job that has ended is never touched again; at most it goes as a whole.
fn is_of_interest(record: &Record) -> bool {
    record.as_job().is_some_and(|job| {
        let expires = job.spec.ttl_seconds_after_finished.is_some() && job.meta.deleting.is_none();
        expires || job.status.finished().is_none()
    })
}

/// `ttlSecondsAfterFinished`: the Job goes, its pods first. Source: `pkg/controller/ttlafterfinished`.
fn expire(draft: &mut Draft, job: &Job, end: &JobCondition) {
    let Some(ttl_s) = job.spec.ttl_seconds_after_finished else { return };
    let rest = Duration::from_secs(ttl_s.into()).saturating_sub(draft.now().since(&end.changed));
    if rest.is_zero() {
        delete::record(draft, &Key::new(Kind::Job, &job.meta.namespace, &job.meta.name), None, Propagation::Foreground);
    } else {
        draft.wake_in(rest);
    }
}

fn sync_job(draft: &mut Draft, job: &Job) {
    let records = draft.owned_in_hand(&job.meta.uid);
    let pods: Vec<&Pod> = records.iter().filter_map(|record| record.as_pod()).collect();
    let tally = Tally::new(job, &pods, draft.at_rest(&job.meta.uid));
    let mut status = job.status.clone();
    // The garbage collector has a Job that is being deleted in hand.
    if job.meta.deleting.is_none() {
        advance(draft, job, &pods, &tally, &mut status);
    }
    status.active = count(tally.active.len());
    status.ready = tally.ready;
    status.terminating = tally.terminating;
    status.succeeded = tally.succeeded;
    status.failed = tally.failed;
    write(draft, job, status);
}

/// Counters follow from the pods and only inform; all else is a promise.
fn write(draft: &mut Draft, job: &Job, status: JobStatus) {
    let JobStatus { active, ready, terminating, succeeded, failed, .. } = status;
    let only_counted = JobStatus { active, ready, terminating, succeeded, failed, ..job.status.clone() } == status;
    let next = Job { status, ..job.clone() };
    if only_counted { draft.put_quietly(next) } else { draft.put(next) }
}

fn advance(draft: &mut Draft, job: &Job, pods: &[&Pod], tally: &Tally, status: &mut JobStatus) {
    if status.finishing().is_none() {
        begin(draft, job, status);
        match ending(draft, job, tally, status) {
            Some(end) => {
                assert!(end.agrees_with(job, tally), "{end:?} with {} successes in {}", tally.succeeded, job.meta.name);
                end.decide(draft.now(), status);
            }
            None => return manage(draft, job, pods, tally, status),
        }
    }
    finish(draft, job, tally, status);
}

// ---- going on ------------------------------------------------------------------------------------------------------

/// `startTime`; a Job that is resumed starts anew, so that its deadline does not run while it is suspended.
fn begin(draft: &mut Draft, job: &Job, status: &mut JobStatus) {
    if job.spec.suspend {
        return;
    }
    if status.condition(JobConditionKind::Suspended).is_some() {
        set(status, draft.now(), JobConditionKind::Suspended, false, "JobResumed", "Job resumed");
        status.started = None;
        template::tell(draft, Kind::Job, &job.meta, EventType::Normal, "Resumed", "Job resumed");
    }
    status.started.get_or_insert_with(|| draft.now().moment());
}

fn manage(draft: &mut Draft, job: &Job, pods: &[&Pod], tally: &Tally, status: &mut JobStatus) {
    if !job.spec.suspend {
        return pods::manage(draft, job, pods, tally);
    }
    pods::delete(draft, job, &tally.active, Some(Excuse::Surplus));
    if status.condition(JobConditionKind::Suspended).is_none() {
        set(status, draft.now(), JobConditionKind::Suspended, true, "JobSuspended", "Job suspended");
        template::tell(draft, Kind::Job, &job.meta, EventType::Normal, "Suspended", "Job suspended");
    }
}

// ---- ending --------------------------------------------------------------------------------------------------------

/// How a Job ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Completed,
    BackoffLimitExceeded,
    DeadlineExceeded,
}

/// The end that is due, if one is; the first that applies. Work that is complete stays complete: a device that was down
/// when the deadline passed, or two exits seen at once, turn no success into a failure. (A work queue is complete only
/// when its last pod has ended, so there failures have the first word, as in Kubernetes.)
fn ending(draft: &mut Draft, job: &Job, tally: &Tally, status: &JobStatus) -> Option<End> {
    if job.spec.wanted().is_some_and(|wanted| tally.succeeded >= wanted) {
        return Some(End::Completed);
    }
    if tally.failed > job.spec.failures_max() || has_restarted_too_often(job, tally) {
        return Some(End::BackoffLimitExceeded);
    }
    if is_past_deadline(draft, job, status) {
        return Some(End::DeadlineExceeded);
    }
    let drained = job.spec.wanted().is_none() && tally.succeeded > 0 && tally.active.is_empty();
    drained.then_some(End::Completed)
}

/// With `OnFailure` a pod does not fail, its containers are started again; the restarts of all pods that have not
/// ended are what counts. Source: `pastBackoffLimitOnFailure`.
fn has_restarted_too_often(job: &Job, tally: &Tally) -> bool {
    let max = job.spec.failures_max();
    match job.spec.template.spec.restart_policy {
        RestartPolicy::OnFailure => tally.restarts >= max.max(1),
        RestartPolicy::Never | RestartPolicy::Always => false,
    }
}

fn is_past_deadline(draft: &mut Draft, job: &Job, status: &JobStatus) -> bool {
    let (Some(deadline_s), Some(started)) = (job.spec.active_deadline_seconds, &status.started) else { return false };
    if job.spec.suspend {
        return false;
    }
    let rest = Duration::from_secs(deadline_s).saturating_sub(draft.now().since(started));
    if !rest.is_zero() {
        draft.wake_in(rest);
    }
    rest.is_zero()
}

impl End {
    /// Complete if and only if there are as many successes as were asked for; a work queue needs one.
    fn agrees_with(self, job: &Job, tally: &Tally) -> bool {
        let complete = self == End::Completed;
        match job.spec.wanted() {
            Some(wanted) => complete == (tally.succeeded >= wanted),
            None => !complete || tally.succeeded > 0,
        }
    }

    /// Its first condition. The second follows when no pod is left.
    fn decide(self, now: &Now, status: &mut JobStatus) {
        let (kind, reason, message) = match self {
            End::Completed => (
                JobConditionKind::SuccessCriteriaMet,
                "CompletionsReached",
                "Reached expected number of succeeded pods",
            ),
            End::BackoffLimitExceeded => {
                (JobConditionKind::FailureTarget, "BackoffLimitExceeded", "Job has reached the specified backoff limit")
            }
            End::DeadlineExceeded => {
                (JobConditionKind::FailureTarget, "DeadlineExceeded", "Job was active longer than specified deadline")
            }
        };
        set(status, now, kind, true, reason, message);
    }
}

/// Ends the pods that are left, then the Job. What a success makes superfluous is no failure; what a failure cuts short
/// is one, as in Kubernetes.
fn finish(draft: &mut Draft, job: &Job, tally: &Tally, status: &mut JobStatus) {
    let Some(decided) = status.finishing().cloned() else { return };
    let success = decided.kind == JobConditionKind::SuccessCriteriaMet;
    pods::delete(draft, job, &tally.active, success.then_some(Excuse::Surplus));
    if !tally.active.is_empty() || tally.terminating > 0 {
        return;
    }
    if success {
        set(status, draft.now(), JobConditionKind::Complete, true, &decided.reason, &decided.message);
        status.completed = Some(draft.now().moment());
        template::tell(draft, Kind::Job, &job.meta, EventType::Normal, "Completed", "Job completed");
    } else {
        set(status, draft.now(), JobConditionKind::Failed, true, &decided.reason, &decided.message);
        template::tell(draft, Kind::Job, &job.meta, EventType::Warning, &decided.reason, &decided.message);
    }
}

/// Changes a condition where it stands, or adds it at the end.
fn set(status: &mut JobStatus, now: &Now, kind: JobConditionKind, value: bool, reason: &str, message: &str) {
    let (reason, message) = (reason.to_string(), message.to_string());
    let next = JobCondition { kind, status: value, reason, message, changed: now.moment() };
    match status.conditions.iter_mut().find(|condition| condition.kind == kind) {
        Some(condition) => *condition = next,
        None => status.conditions.push(next),
    }
}

/// Counts are bounded by `pods_max` and the status' own width.
fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

//! What a Job's pods amount to. Counters are derived from the pods that exist and from what was kept of removed ones;
//! nothing is ever counted up, so no crash and no repetition can count an end twice.

use crate::model::job::RECENT_FAILURES_MAX;
use crate::model::pod::Phase;
use crate::model::{AtRest, Deleting, Job, Moment, Now, Pod, sorted};

use super::super::draft::{Draft, owning_job};
use super::count;

/// What a pod counts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Undecided,
    Succeeded,
    Failed,
    /// It ended, or will end, by no fault of its own and without having done its work.
    Excused,
}

pub struct Tally<'a> {
    pub active: Vec<&'a Pod>,
    /// Of the active ones.
    pub ready: u32,
    pub terminating: u32,
    pub succeeded: u32,
    pub failed: u32,
    /// Container restarts of the pods that have not ended, but those that followed a reboot or a drain.
    pub restarts: u32,
}

impl<'a> Tally<'a> {
    /// `pods` are the Job's that are not at rest.
    pub fn new(job: &Job, pods: &[&'a Pod], at_rest: AtRest) -> Tally<'a> {
        let folded = &job.status.folded;
        let mut succeeded = folded.succeeded.saturating_add(at_rest.succeeded);
        let mut failed = folded.failed.saturating_add(at_rest.failed);
        for pod in pods {
            match outcome(job, pod) {
                Outcome::Succeeded => succeeded = succeeded.saturating_add(1),
                Outcome::Failed => failed = failed.saturating_add(1),
                Outcome::Undecided | Outcome::Excused => {}
            }
        }
        let unfinished: Vec<&Pod> = pods.iter().copied().filter(|pod| !pod.status.phase.is_terminal()).collect();
        let active: Vec<&Pod> = unfinished.iter().copied().filter(|pod| pod.is_active()).collect();
        Tally {
            ready: count(active.iter().filter(|pod| pod.status.ready.is).count()),
            terminating: count(unfinished.len() - active.len()),
            restarts: unfinished.iter().map(|pod| restarts(job, pod)).fold(0, u32::saturating_add),
            active,
            succeeded,
            failed,
        }
    }
}

/// A reboot is no fault of the program, unless the Job says that it is to count.
fn restarts(job: &Job, pod: &Pod) -> u32 {
    let counts_reboots = job.meta.annotations.get(COUNT_REBOOTS).is_some_and(|v| v == "true");
    let counted = pod.statuses().map(|c| match counts_reboots {
        true => c.restarts,
        false => c.restarts.saturating_sub(c.excused_restarts),
    });
    counted.fold(0, u32::saturating_add)
}

const COUNT_REBOOTS: &str = "pinnace.dev/count-reboots";

/// As the Job controller: a pod that is deleted before it has ended has failed at once, whatever its exit code will be
/// (many programs answer SIGTERM with 0, which is no proof of finished work); with `podReplacementPolicy: Failed` its
/// phase decides, when it has one. A pod that is excused counts for nothing, unless it had done its work before it was
/// told to end. Source: `isPodFailed`, `getNewFinishedPods`, `deleteJobPods`.
pub fn outcome(job: &Job, pod: &Pod) -> Outcome {
    let cut_short = is_cut_short(pod);
    let phase = pod.status.phase;
    if pod.status.excused.is_some() {
        let did_its_work = phase == Phase::Succeeded && pod.meta.deleting.is_some() && !cut_short;
        return if did_its_work { Outcome::Succeeded } else { Outcome::Excused };
    }
    if cut_short && !job.spec.waits_for_terminating() {
        return Outcome::Failed;
    }
    match phase {
        Phase::Succeeded => Outcome::Succeeded,
        Phase::Failed => Outcome::Failed,
        Phase::Pending | Phase::Running => Outcome::Undecided,
    }
}

/// Its deletion began before it had ended. Where both bear the same millisecond the excuse tells: only a pod that has not
/// ended gets one. What ended in another boot than that of its deletion ended before it, or was lost with the machine and
/// has failed in any case; the wall clock is not asked.
fn is_cut_short(pod: &Pod) -> bool {
    let Some(Deleting { since, .. }) = &pod.meta.deleting else { return false };
    if !pod.status.phase.is_terminal() {
        return true;
    }
    end(pod).filter(|end| end.boot == since.boot).is_some_and(|end| match pod.status.excused {
        Some(_) => end.up_ms >= since.up_ms,
        None => end.up_ms > since.up_ms,
    })
}

/// When its last container ended; else when it reached its last phase.
fn end(pod: &Pod) -> Option<&Moment> {
    let ends = pod.statuses().filter_map(|c| c.state.ended()).map(|ended| &ended.finished);
    ends.reduce(|a, b| if is_after(b, a) { b } else { a }).or(pod.status.finished.as_ref())
}

fn is_after(a: &Moment, b: &Moment) -> bool {
    if a.boot == b.boot { a.up_ms > b.up_ms } else { a.wall > b.wall }
}

/// The moment that a success or failure counts from: a pod that was cut short failed when its deletion began.
pub fn moment(pod: &Pod) -> Option<&Moment> {
    match &pod.meta.deleting {
        Some(deleting) if is_cut_short(pod) => Some(&deleting.since),
        Some(_) | None => end(pod),
    }
}

/// A pod's record is about to be removed: what it counted for goes into its Job's status, in the same commit. A pod that
/// goes without an end that anybody saw has failed.
pub fn fold(draft: &mut Draft, pod: &Pod) {
    let Some(mut job) = owning_job(draft, &pod.meta) else { return };
    let outcome = outcome(&job, pod);
    let folded = &mut job.status.folded;
    match outcome {
        Outcome::Succeeded => {
            folded.succeeded = folded.succeeded.saturating_add(1);
            let success = moment(pod).cloned();
            folded.last_success =
                folded.last_success.take().into_iter().chain(success).max_by_key(|m| draft.now().order(m));
        }
        Outcome::Failed | Outcome::Undecided => {
            folded.failed = folded.failed.saturating_add(1);
            folded.recent_failures.extend(moment(pod).cloned());
            keep_latest(&mut folded.recent_failures, draft.now());
        }
        Outcome::Excused => return,
    }
    draft.put(job);
}

fn keep_latest(moments: &mut Vec<Moment>, now: &Now) {
    sorted::by_key(moments, |moment| std::cmp::Reverse(now.order(moment)));
    moments.truncate(RECENT_FAILURES_MAX);
}

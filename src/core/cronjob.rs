//! Decides when a CronJob makes a Job, and which of its old Jobs go. Knows no cron grammar and no pods.
//!
//! The order of the checks is that of Kubernetes' `cronjob_controllerv2.go`. What differs, on purpose:
//! - A Job and the record that its time was acted upon are one commit, so no crash lies between them.
//! - While the wall clock is not to be trusted nothing is started; afterwards at most the one run that was missed last.
//! - The time missed last is found exactly, where Kubernetes estimates it and may find none for uneven schedules; and
//!   `@every` counts from the last time even when a deadline lies between.

mod start;

use std::sync::Arc;
use std::time::Duration;

use crate::model::cronjob::{ActiveJob, ConcurrencyPolicy, Held};
use crate::model::job::JobConditionKind;
use crate::model::schedule::check_zone;
use crate::model::{CronJob, CronJobStatus, EventType, Job, Kind, Now, Record, Schedule, Timestamp, Uid, sorted};
use crate::model::{ObjectRef, Propagation};

use super::delete;
use super::draft::{Draft, about};

const SOURCE: &str = "cronjob-controller";

/// More missed times than this are worth a warning.
const MISSED_MAX: u64 = 100;

/// A clock that was set back by less than this is an ordinary correction; beyond it a person is told what is waited for.
const SET_BACK_MAX: Duration = Duration::from_secs(600);

pub fn sync(draft: &mut Draft) {
    for record in draft.list(Kind::CronJob) {
        if let Some(cron_job) = record.as_cron_job() {
            sync_one(draft, &record, cron_job);
        }
    }
}

fn sync_one(draft: &mut Draft, record: &Record, before: &CronJob) {
    let about = about(record);
    let mut cron_job = before.clone();
    let jobs = children(draft, &cron_job.meta.uid);
    follow(draft, &about, &mut cron_job.status, &jobs);
    remember_since(&mut cron_job.status, draft.now());
    let held = match judge(&cron_job, draft.now()) {
        Verdict::Rest => None,
        Verdict::Hold(held) => Some(held),
        Verdict::Wait { next, held } => {
            next.inspect(|next| draft.wake_at(*next));
            held
        }
        Verdict::Start { due, next } => {
            next.inspect(|next| draft.wake_at(*next));
            start::start(draft, &about, &mut cron_job, &due).err()
        }
    };
    hold(draft, &about, &mut cron_job.status, held);
    prune(draft, &about, &cron_job, &jobs);
    write(draft, before, cron_job);
}

/// Its Jobs by name, so that events and deletions come in an order of their own.
fn children(draft: &Draft, owner: &Uid) -> Vec<Arc<Record>> {
    let mut jobs = draft.owned(owner, Kind::Job);
    sorted::by(&mut jobs, |a, b| a.meta().name.cmp(&b.meta().name));
    jobs
}

/// A status in which only the words about what is waited for have changed need not be durable.
fn write(draft: &mut Draft, before: &CronJob, after: CronJob) {
    let words_only = CronJobStatus {
        held: after.status.held.clone(),
        strangers: after.status.strangers.clone(),
        ..before.status.clone()
    };
    if after.status == words_only { draft.put_quietly(after) } else { draft.put(after) }
}

// ---- what its Jobs are at --------------------------------------------------------------------------------------------

/// Brings `active`, `last_successful` and `strangers` up to what its Jobs are.
fn follow(draft: &mut Draft, about: &ObjectRef, status: &mut CronJobStatus, jobs: &[Arc<Record>]) {
    let mut strangers = Vec::new();
    for job in jobs.iter().filter_map(|record| record.as_job()) {
        let active = status.active.iter().position(|active| active.uid == job.meta.uid);
        match (job.status.finished(), active) {
            (Some(end), Some(active)) => {
                let message = format!("Saw completed job: {}, status: {}", job.meta.name, end.kind.as_str());
                draft.event(about, EventType::Normal, "SawCompletedJob", &message, SOURCE);
                status.active.remove(active);
            }
            (None, None) => strangers.push(job),
            (Some(_), None) | (None, Some(_)) => {}
        }
        if job.status.condition(JobConditionKind::Complete).is_some() {
            // None is less than any time.
            status.last_successful = status.last_successful.max(job.status.completed.as_ref().map(|at| at.wall));
        }
    }
    for job in strangers.iter().filter(|job| !status.strangers.contains(&job.meta.uid)) {
        let message = format!("Saw a job that the controller did not create or forgot: {}", job.meta.name);
        draft.event(about, EventType::Warning, "UnexpectedJob", &message, SOURCE);
    }
    status.strangers = strangers.iter().map(|job| job.meta.uid.clone()).collect();
    drop_missing(draft, about, status, jobs);
}

fn drop_missing(draft: &mut Draft, about: &ObjectRef, status: &mut CronJobStatus, jobs: &[Arc<Record>]) {
    let is_there = |active: &ActiveJob| jobs.iter().any(|job| job.meta().uid == active.uid);
    for missing in status.active.iter().filter(|active| !is_there(active)) {
        let message = format!("Active job went missing: {}", missing.name);
        draft.event(about, EventType::Normal, "MissingJob", &message, SOURCE);
    }
    status.active.retain(is_there);
}

/// Removes the oldest finished Jobs beyond each history limit; by start, those that never started last.
fn prune(draft: &mut Draft, about: &ObjectRef, cron_job: &CronJob, jobs: &[Arc<Record>]) {
    let limits = [
        (JobConditionKind::Complete, cron_job.spec.successful_jobs_history_limit),
        (JobConditionKind::Failed, cron_job.spec.failed_jobs_history_limit),
    ];
    for (end, limit) in limits {
        let Some(limit) = limit else { continue };
        let ended = |job: &&Job| job.status.finished().is_some_and(|condition| condition.kind == end);
        let mut finished: Vec<&Job> = jobs.iter().filter_map(|record| record.as_job()).filter(ended).collect();
        sorted::by_key(&mut finished, |job| {
            job.status.started.as_ref().map_or((true, None), |at| (false, Some(at.wall)))
        });
        let beyond = finished.len().saturating_sub(limit as usize);
        finished[..beyond].iter().for_each(|job| delete_job(draft, about, &job.meta.name));
    }
}

fn delete_job(draft: &mut Draft, about: &ObjectRef, name: &str) {
    let key = crate::model::Key::new(Kind::Job, &about.namespace, name);
    delete::record(draft, &key, None, Propagation::Background);
    draft.event(about, EventType::Normal, "SuccessfulDelete", &format!("Deleted job {name}"), SOURCE);
}

// ---- what is due -----------------------------------------------------------------------------------------------------

/// What is to be done about a CronJob now.
#[derive(Debug, Clone, PartialEq)]
enum Verdict {
    /// Nothing, until it is changed.
    Rest,
    /// Nothing, until it or the system is changed; and why.
    Hold(Held),
    /// Nothing now; `held` tells of a time that is due and not acted upon. Look again at `next`.
    Wait { next: Option<Timestamp>, held: Option<Held> },
    /// A Job for this time.
    Start { due: Due, next: Option<Timestamp> },
}

/// A scheduled time to be acted upon.
#[derive(Debug, Clone, PartialEq)]
struct Due {
    time: Timestamp,
    /// It is the last of so many that something was wrong.
    many_missed: bool,
}

/// Times count from here as long as none was acted upon. It moves back when the clock does: what never fired cannot fire
/// twice.
fn remember_since(status: &mut CronJobStatus, now: &Now) {
    if now.wall_trusted && status.last_schedule.is_none() {
        status.since = Some(status.since.map_or(now.wall, |since| since.min(now.wall)));
    }
}

/// Decides in Kubernetes' order of checks.
fn judge(cron_job: &CronJob, now: &Now) -> Verdict {
    let spec = &cron_job.spec;
    if cron_job.meta.deleting.is_some() {
        return Verdict::Rest;
    }
    if let Some(zone) = &spec.time_zone
        && let Err(why) = check_zone(zone)
    {
        return Verdict::Hold(warning("UnknownTimeZone", format!("invalid timeZone: {zone:?}: {why}")));
    }
    if spec.suspend {
        return Verdict::Rest;
    }
    let schedule = match spec.times() {
        Ok(schedule) => schedule,
        Err(why) => {
            let message = format!("unparseable schedule: {:?} : {why}", spec.schedule);
            return Verdict::Hold(warning("UnparseableSchedule", message));
        }
    };
    if !now.wall_trusted {
        let message = "the wall clock is not to be trusted yet; nothing is started until it is set".to_string();
        return Verdict::Hold(warning("ClockNotTrusted", message));
    }
    judge_time(cron_job, schedule, now.wall)
}

fn judge_time(cron_job: &CronJob, schedule: &Schedule, now: Timestamp) -> Verdict {
    let (spec, status) = (&cron_job.spec, &cron_job.status);
    let after = status.last_schedule.or(status.since).unwrap_or(now);
    let latest = schedule.latest(after, now);
    let next = schedule.next(latest.unwrap_or(after));
    let wait = |held| Verdict::Wait { next, held };
    let Some(time) = latest else {
        return wait(why_none(spec.schedule.as_str(), after, next, now));
    };
    let earliest = spec.starting_deadline_seconds.map(|deadline_s| now.minus(Duration::from_secs(deadline_s)));
    if earliest.is_some_and(|earliest| time <= earliest) {
        let message = format!("Missed scheduled time to start a job: {}", rfc1123(time));
        return wait(Some(Held { time: Some(time), ..warning("MissSchedule", message) }));
    }
    // Names have minutes: a second time within one (`@every 30s`) is taken as dealt with by the first one's Job.
    if status.last_schedule.is_some_and(|last| minutes(last) == minutes(time)) {
        return wait(None);
    }
    if spec.concurrency_policy == ConcurrencyPolicy::Forbid && !status.active.is_empty() {
        return wait(Some(Held {
            kind: EventType::Normal,
            reason: "JobAlreadyActive".into(),
            message: "Not starting job because prior execution is running and concurrency policy is Forbid".into(),
            time: Some(time),
        }));
    }
    let from = earliest.map_or(after, |earliest| earliest.max(after));
    Verdict::Start { due: Due { time, many_missed: missed(schedule, from, now) > MISSED_MAX }, next }
}

/// Nothing is due: usually because it is too early, and then there is nothing to tell. The words hold no present time:
/// they are told once.
fn why_none(schedule: &str, after: Timestamp, next: Option<Timestamp>, now: Timestamp) -> Option<Held> {
    if after.since(now) > SET_BACK_MAX {
        let message = format!(
            "the clock was set back to before {after}, for which a job was started already; no time fires twice, so \
             nothing is started until then. If that time was wrong, delete this CronJob and create it again"
        );
        return Some(warning("ClockWentBack", message));
    }
    let never = next.is_none();
    never.then(|| warning("InvalidSchedule", format!("invalid schedule: {schedule} : no time within five years")))
}

/// About how many times were missed, as Kubernetes estimates it: the first two tell the distance.
fn missed(schedule: &Schedule, after: Timestamp, now: Timestamp) -> u64 {
    let Some(first) = schedule.next(after).filter(|first| *first <= now) else { return 0 };
    let Some(second) = schedule.next(first).filter(|second| *second <= now) else { return 1 };
    now.since(first).as_secs() / second.since(first).as_secs().max(1) + 1
}

/// Minutes since 1970, the number in the name of a Job.
fn minutes(time: Timestamp) -> i64 {
    time.as_secs().div_euclid(60)
}

/// `Thu, 01 Jan 2026 00:15:00 +0000`.
fn rfc1123(time: Timestamp) -> String {
    let instant = jiff::Timestamp::from_second(time.as_secs()).unwrap_or_default();
    instant.strftime("%a, %d %b %Y %H:%M:%S %z").to_string()
}

fn warning(reason: &str, message: String) -> Held {
    Held { kind: EventType::Warning, reason: reason.into(), message, time: None }
}

/// Tells once why nothing is started.
fn hold(draft: &mut Draft, about: &ObjectRef, status: &mut CronJobStatus, held: Option<Held>) {
    if let Some(new) = held.as_ref().filter(|new| status.held.as_ref() != Some(new)) {
        draft.event(about, new.kind, &new.reason, &new.message, SOURCE);
    }
    status.held = held;
}

#[cfg(test)]
mod tests;

//! Job, CronJob and DaemonSet with their status.

use serde_json::{Value, json};

use super::{Condition, Fields, time};
use crate::model::{CronJob, DaemonSet, Job, Key, Kind, State, Timestamp};

pub(super) fn job(shown: Fields, job: &Job) -> Fields {
    let s = &job.status;
    let conditions: Vec<Value> = s
        .conditions
        .iter()
        .map(|c| {
            let since = time(Some(&c.changed));
            let condition = Condition {
                kind: c.kind.as_str(),
                is: c.status,
                since: since.clone(),
                reason: &c.reason,
                message: c.message.clone(),
            };
            condition.show("lastProbeTime", since)
        })
        .collect();
    let status = Fields::new()
        .some("conditions", conditions)
        .some("startTime", time(s.started.as_ref()))
        .some("completionTime", time(s.completed.as_ref()))
        .some("active", s.active)
        .some("succeeded", s.succeeded)
        .some("failed", s.failed)
        .put("terminating", s.terminating)
        .put("uncountedTerminatedPods", json!({}))
        .put("ready", s.ready);
    shown.put("spec", job.spec.document().clone()).put("status", status.done())
}

pub(super) fn cron_job(shown: Fields, cron_job: &CronJob, state: &State) -> Fields {
    let s = &cron_job.status;
    let active: Vec<Value> = s
        .active
        .iter()
        .map(|job| {
            let record = state.get(&Key::new(Kind::Job, &cron_job.meta.namespace, &job.name));
            Fields::new()
                .put("kind", Kind::Job.names().kind)
                .put("namespace", cron_job.meta.namespace.as_str())
                .put("name", job.name.as_str())
                .put("uid", job.uid.as_str())
                .put("apiVersion", Kind::Job.api_version())
                .some("resourceVersion", record.map(|r| r.meta().revision.to_string()))
                .done()
        })
        .collect();
    let status = Fields::new()
        .some("active", active)
        .some("lastScheduleTime", s.last_schedule.map(Timestamp::rfc3339))
        .some("lastSuccessfulTime", s.last_successful.map(Timestamp::rfc3339));
    shown.put("spec", cron_job.spec.document().clone()).put("status", status.done())
}

pub(super) fn daemon_set(shown: Fields, daemon_set: &DaemonSet) -> Fields {
    let s = &daemon_set.status;
    let status = Fields::new()
        .put("currentNumberScheduled", s.current)
        .put("numberMisscheduled", s.misscheduled)
        .put("desiredNumberScheduled", s.desired)
        .put("numberReady", s.ready)
        .some("observedGeneration", s.observed_generation)
        .some("updatedNumberScheduled", s.updated)
        .some("numberAvailable", s.available)
        .some("numberUnavailable", s.desired.saturating_sub(s.available));
    shown.put("spec", daemon_set.spec.document().clone()).put("status", status.done())
}

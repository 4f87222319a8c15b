//! Rows of Job, CronJob and DaemonSet.

use serde::Deserialize;
use serde_json::Value;

use super::{AGE, CONTAINERS, Column, IMAGES, NAME, SELECTOR, age, containers, labels, selector};
use crate::model::job::JobConditionKind;
use crate::model::{CronJob, DaemonSet, Job, JobSpec, Now};

pub(super) const JOB: &[Column] = &[
    NAME,
    Column("Status", "string", "", 0, "Whether it runs, is suspended, is complete or has failed."),
    Column("Completions", "string", "", 0, "Pods that have succeeded, of those wanted."),
    Column("Duration", "string", "", 0, "Time from its start to its completion, or to now."),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

pub(super) const CRON_JOB: &[Column] = &[
    NAME,
    Column("Schedule", "string", "", 0, "When it makes a Job."),
    Column("Timezone", "string", "", 0, "The time zone of the schedule."),
    Column("Suspend", "boolean", "", 0, "Whether it is told to make none."),
    Column("Active", "integer", "", 0, "Its Jobs that have not finished."),
    Column("Last Schedule", "string", "", 0, "Time since the last scheduled time that it acted upon."),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

pub(super) const DAEMON_SET: &[Column] = &[
    NAME,
    Column("Desired", "integer", "", 0, "Nodes that should run its pod: one or none."),
    Column("Current", "integer", "", 0, "Those of them that have one."),
    Column("Ready", "integer", "", 0, "Those whose pod is ready."),
    Column("Up-to-date", "integer", "", 0, "Those whose pod is of the present template."),
    Column("Available", "integer", "", 0, "Those whose pod has been ready for minReadySeconds."),
    Column("Node Selector", "string", "", 0, "Labels that a node must have."),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

pub(super) fn job(job: &Job, now: &Now) -> Vec<Value> {
    let [names, images] = containers(&job.spec.template.spec.containers);
    vec![
        job.meta.name.as_str().into(),
        job_status(job).into(),
        completions(job).into(),
        duration(job, now).into(),
        age::since(job.meta.created, now.wall).into(),
        names,
        images,
        selector(job.spec.selector.as_ref()).into(),
    ]
}

fn job_status(job: &Job) -> &'static str {
    let is = |kind| job.status.condition(kind).is_some();
    if is(JobConditionKind::Complete) {
        "Complete"
    } else if is(JobConditionKind::Failed) {
        "Failed"
    } else if job.meta.deleting.is_some() {
        "Terminating"
    } else if is(JobConditionKind::Suspended) {
        "Suspended"
    } else if is(JobConditionKind::FailureTarget) {
        "FailureTarget"
    } else {
        "Running"
    }
}

fn completions(job: &Job) -> String {
    let succeeded = job.status.succeeded;
    match (job.spec.completions, job.spec.parallelism.unwrap_or(0)) {
        (Some(wanted), _) => format!("{succeeded}/{wanted}"),
        (None, parallelism) if parallelism > 1 => format!("{succeeded}/1 of {parallelism}"),
        (None, _) => format!("{succeeded}/1"),
    }
}

/// A failed Job has no completion time: its duration grows on, as with kubectl.
fn duration(job: &Job, now: &Now) -> String {
    match (&job.status.started, &job.status.completed) {
        (None, _) => String::new(),
        (Some(started), None) => age::human(now.since(started)),
        (Some(started), Some(completed)) => age::human(completed.wall.since(started.wall)),
    }
}

pub(super) fn cron_job(cron_job: &CronJob, now: &Now) -> Vec<Value> {
    // The template is kept as a document, checked at the door; one that cannot be read has nothing to show.
    let template = JobSpec::deserialize(&cron_job.spec.job_template.spec).unwrap_or_default();
    let [names, images] = containers(&template.template.spec.containers);
    let last = cron_job.status.last_schedule.map_or_else(|| "<none>".into(), |t| age::since(t, now.wall));
    vec![
        cron_job.meta.name.as_str().into(),
        cron_job.spec.schedule.as_str().into(),
        cron_job.spec.time_zone.as_deref().unwrap_or("<none>").into(),
        if cron_job.spec.suspend { "True" } else { "False" }.into(),
        cron_job.status.active.len().into(),
        last.into(),
        age::since(cron_job.meta.created, now.wall).into(),
        names,
        images,
        selector(template.selector.as_ref()).into(),
    ]
}

pub(super) fn daemon_set(daemon_set: &DaemonSet, now: &Now) -> Vec<Value> {
    let (s, template) = (&daemon_set.status, &daemon_set.spec.template.spec);
    let [names, images] = containers(&template.containers);
    vec![
        daemon_set.meta.name.as_str().into(),
        s.desired.into(),
        s.current.into(),
        s.ready.into(),
        s.updated.into(),
        s.available.into(),
        labels(&template.node_selector).into(),
        age::since(daemon_set.meta.created, now.wall).into(),
        names,
        images,
        selector(Some(&daemon_set.spec.selector)).into(),
    ]
}

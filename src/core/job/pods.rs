//! How many pods a Job should have now, which of them go when there are too many, and the making of those that lack.

use std::cmp::Reverse;
use std::time::Duration;

use crate::model::pod::{Excuse, Phase};
use crate::model::{EventType, Job, Kind, Labels, Now, Owner, Pod, sorted};

use super::super::draft::Draft;
use super::super::{delete, template};
use super::backoff;
use super::tally::Tally;

/// Pods made for one Job in one step. Source: `MaxPodCreateDeletePerSync`.
pub const CREATED_PER_STEP_MAX: usize = 500;

/// Makes or ends pods until there are as many as are wanted. `pods` are those that are not at rest. Source: `manageJob`.
pub fn manage(draft: &mut Draft, job: &Job, pods: &[&Pod], tally: &Tally) {
    let active = tally.active.len();
    let wanted = wanted(job, tally);
    if active > wanted {
        let mut victims = tally.active.clone();
        sorted::by_key(&mut victims, |pod| rank(pod, draft.now()));
        victims.truncate(active - wanted);
        return delete(draft, job, &victims, Some(Excuse::Surplus));
    }
    let terminating = if job.spec.waits_for_terminating() { tally.terminating as usize } else { 0 };
    let lacking = wanted.saturating_sub(active + terminating);
    if lacking == 0 {
        return;
    }
    let wait = backoff(draft, job, tally);
    if wait.is_zero() { create(draft, job, pods, active, lacking) } else { draft.wake_in(wait) }
}

/// Looks at all pods of the Job only where one has failed.
fn backoff(draft: &Draft, job: &Job, tally: &Tally) -> Duration {
    if tally.failed == 0 {
        return Duration::ZERO;
    }
    let records = draft.owned(&job.meta.uid, Kind::Pod);
    let pods: Vec<&Pod> = records.iter().filter_map(|record| record.as_pod()).collect();
    backoff::remaining(job, &pods, draft.now())
}

/// How many pods should be active. A work queue gets no new ones after its first success; those at work finish.
fn wanted(job: &Job, tally: &Tally) -> usize {
    let parallel_max = job.spec.parallel_max();
    match job.spec.wanted() {
        Some(completions) => parallel_max.min(completions.saturating_sub(tally.succeeded)) as usize,
        None if tally.succeeded > 0 => tally.active.len(),
        None => parallel_max as usize,
    }
}

/// The lowest go first: what is lost with them is least. Source: `ActivePodsWithRanks` in `controller_utils.go`.
fn rank(pod: &Pod, now: &Now) -> impl Ord + use<> {
    let taken_up = pod.status.started.is_some();
    let running = pod.status.phase == Phase::Running;
    let ready = pod.status.ready.is;
    let ready_since = pod.status.ready.since.as_ref().filter(|_| ready).map(|since| now.order(since));
    let restarts: u32 = pod.statuses().map(|c| c.restarts).max().unwrap_or(0);
    (
        taken_up,
        running,
        ready,
        Reverse(ready_since),
        Reverse(restarts),
        Reverse(pod.meta.created),
        pod.meta.name.clone(),
    )
}

pub fn delete(draft: &mut Draft, job: &Job, pods: &[&Pod], excuse: Option<Excuse>) {
    for pod in pods {
        delete::pod(draft, pod, None, excuse);
        let message = format!("Deleted pod: {}", pod.meta.name);
        template::tell(draft, Kind::Job, &job.meta, EventType::Normal, "SuccessfulDelete", &message);
    }
}

fn create(draft: &mut Draft, job: &Job, pods: &[&Pod], active: usize, lacking: usize) {
    let room = template::room(draft);
    if room < lacking {
        let message = template::no_room(draft);
        template::tell_once(draft, Kind::Job, &job.meta, EventType::Warning, "FailedCreate", &message);
    }
    // A pod that was made in this step has no revision yet.
    let made = pods.iter().filter(|pod| pod.meta.revision == 0).count();
    let budget = CREATED_PER_STEP_MAX.saturating_sub(made);
    let number = lacking.min(room).min(budget);
    if number < lacking.min(room) {
        draft.wake_in(Duration::ZERO);
    }
    if number == 0 {
        return;
    }
    let mould = mould(draft, job);
    for _ in 0..number {
        let pod = mould.pod(draft);
        let message = format!("Created pod: {}", pod.meta.name);
        draft.put(pod);
        template::tell(draft, Kind::Job, &job.meta, EventType::Normal, "SuccessfulCreate", &message);
    }
    let (live, max) = (active + number, job.spec.parallel_max() as usize);
    assert!(live <= max, "{live} live pods in {}, which may have {max}", job.meta.name);
}

fn mould(draft: &Draft, job: &Job) -> template::Mould {
    let another = draft.any_owned(&job.meta.uid, Kind::Pod);
    let known = another.as_ref().and_then(|record| record.as_pod()).map(|pod| &pod.spec);
    let mut labels = job.spec.template.metadata.labels.clone();
    add_labels(&mut labels, job);
    template::Mould {
        namespace: job.meta.namespace.clone(),
        owner: Owner { kind: Kind::Job, name: job.meta.name.clone(), uid: job.meta.uid.clone() },
        labels,
        annotations: job.spec.template.metadata.annotations.clone(),
        spec: template::pod_spec(job.spec.document(), &[], known),
    }
}

/// What finds a Job's pods. A new Job's template has them already; a template that a person labels himself
/// (`manualSelector`) may not.
fn add_labels(labels: &mut Labels, job: &Job) {
    for prefix in ["", "batch.kubernetes.io/"] {
        let name = || job.meta.name.clone();
        labels.entry(format!("{prefix}job-name")).or_insert_with(name);
        let uid = || job.meta.uid.to_string();
        labels.entry(format!("{prefix}controller-uid")).or_insert_with(uid);
    }
}

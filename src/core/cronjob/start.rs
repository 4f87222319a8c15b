//! Makes the Job of one scheduled time. Its name is derived from the time, and the same commit has the time as acted
//! upon: one Job for one time, for ever.

use crate::model::cronjob::{ActiveJob, ConcurrencyPolicy, Held};
use crate::model::{
    CronJob, EventType, Job, JobStatus, Key, Kind, Labels, Meta, ObjectRef, Owner, Spec, Timestamp, sorted,
};

use super::{Due, SOURCE, delete_job, minutes, warning};
use crate::core::draft::Draft;
use crate::core::job_admit::finish_job_document;

/// The scheduled time of a CronJob's Job, in the CronJob's zone.
const TIME_ANNOTATION: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";

/// Kinds that do not count towards `objects_max`.
const UNCOUNTED: [Kind; 2] = [Kind::Pod, Kind::Event];

/// Starts the Job that is due, after deleting those that it replaces. Err: it cannot be made; the time stays due.
pub(super) fn start(draft: &mut Draft, about: &ObjectRef, cron_job: &mut CronJob, due: &Due) -> Result<(), Held> {
    let key = Key::new(Kind::Job, &cron_job.meta.namespace, &job_name(&cron_job.meta.name, due.time));
    let made = match draft.get(&key).and_then(|record| record.as_job()).cloned() {
        // Made before, for this minute: acted upon, whatever has become of it.
        Some(job) if job.meta.is_owned_by(&cron_job.meta.uid) => Made::Before(job),
        Some(_) => return Err(failed(due, &format!("{} {:?} already exists", Kind::Job.resource(), key.name))),
        None => Made::Now(new_job(draft, cron_job, key, due.time)?),
    };
    if due.many_missed {
        let message = "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew";
        draft.event(about, EventType::Warning, "TooManyMissedTimes", message, SOURCE);
    }
    cron_job.status.last_schedule = Some(due.time);
    match made {
        Made::Before(job) => {
            if job.status.finished().is_none() && !is_active(cron_job, &job) {
                cron_job.status.active.push(ActiveJob { name: job.meta.name, uid: job.meta.uid });
            }
        }
        Made::Now(job) => {
            if cron_job.spec.concurrency_policy == ConcurrencyPolicy::Replace {
                let replaced = std::mem::take(&mut cron_job.status.active);
                replaced.iter().for_each(|active| delete_job(draft, about, &active.name));
            }
            let message = format!("Created job {}", job.meta.name);
            draft.event(about, EventType::Normal, "SuccessfulCreate", &message, SOURCE);
            cron_job.status.active.push(ActiveJob { name: job.meta.name.clone(), uid: job.meta.uid.clone() });
            draft.put(job);
        }
    }
    Ok(())
}

enum Made {
    Before(Job),
    Now(Job),
}

/// `backup-29454495`: minutes since 1970.
pub(super) fn job_name(cron_job: &str, time: Timestamp) -> String {
    format!("{cron_job}-{}", minutes(time))
}

fn is_active(cron_job: &CronJob, job: &Job) -> bool {
    cron_job.status.active.iter().any(|active| active.uid == job.meta.uid)
}

fn new_job(draft: &mut Draft, cron_job: &CronJob, key: Key, time: Timestamp) -> Result<Job, Held> {
    let failed = |why: &str| failed(&Due { time, many_missed: false }, why);
    let objects_max = draft.settings().objects_max;
    if objects(draft) >= objects_max {
        return Err(failed(&format!("this node keeps at most {objects_max} objects (objects_max); delete some")));
    }
    let template = &cron_job.spec.job_template;
    let mut annotations = template.metadata.annotations.clone();
    let schedule = cron_job.spec.times().map_err(|why| failed(&why))?;
    annotations.insert(TIME_ANNOTATION.into(), schedule.civil_text(time));
    let owner = Owner { kind: Kind::CronJob, name: cron_job.meta.name.clone(), uid: cron_job.meta.uid.clone() };
    let meta = Meta { annotations, owner: Some(owner), ..Meta::named(&key.namespace, &key.name) };
    let mut meta = draft.new_meta(Kind::Job, meta);
    let mut document = template.spec.clone();
    meta.labels = labels(&template.metadata.labels, &document);
    finish_job_document(&mut document, &meta.name, &meta.uid);
    let spec = Spec::new(document).map_err(|e| failed(&format!("spec.jobTemplate.spec: {e}")))?;
    Ok(Job { meta, spec, status: JobStatus::default() })
}

/// A Job without labels of its own has those of its pods (Kubernetes' defaulting), from before admission adds to them.
fn labels(own: &Labels, spec: &serde_json::Value) -> Labels {
    if !own.is_empty() {
        return own.clone();
    }
    let pods = spec.pointer("/template/metadata/labels").and_then(|labels| labels.as_object());
    sorted::map(pods.into_iter().flatten().filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_string()))))
}

fn objects(draft: &Draft) -> usize {
    Kind::SERVED.iter().filter(|kind| !UNCOUNTED.contains(kind)).map(|kind| draft.list(*kind).len()).sum()
}

fn failed(due: &Due, why: &str) -> Held {
    Held { time: Some(due.time), ..warning("FailedCreate", format!("Error creating job: {why}")) }
}

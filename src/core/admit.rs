//! Whether a change that a caller asks for fits what is there: names taken, fields that may not change, a revision that
//! is no longer the newest. What a record must be in itself was checked by `manifest`.

use std::sync::Arc;

use serde_json::Value;

use crate::model::image::{Disk, ImageSpec};
use crate::model::{
    Ask, AskId, Cause, Effect, Failure, Job, Key, Kind, Meta, Owner, Pod, PodStatus, Reason, Record, Scope, Spec, Uid,
    pod_defaults,
};

use super::draft::Draft;
use super::job_admit::finish_job_document;
use super::{delete, image, push};

type Outcome = Result<Arc<Record>, Failure>;

/// Carries out what a caller asks, and answers. A dry run answers the same and writes nothing.
pub fn asked(draft: &mut Draft, id: AskId, ask: &Ask, dry_run: bool) {
    let answer = match ask {
        Ask::Create(record) => created(draft, record).map(|record| keep(draft, record, dry_run)),
        Ask::Replace { record, if_revision } => {
            replaced(draft, record, *if_revision).map(|record| keep(draft, record, dry_run))
        }
        Ask::Delete { key, grace_s, propagation, if_uid } => deletable(draft, key, if_uid.as_ref()).map(|found| {
            if !dry_run {
                push::deleted_by_a_person(draft, &found);
                delete::record(draft, key, *grace_s, *propagation);
                push::realise(draft);
            }
            // A set may have given the name to an object of its own at once.
            let ending = draft.get(key).filter(|there| there.meta().uid == found.meta().uid).cloned();
            ending.unwrap_or(found)
        }),
        Ask::Keep { image, disk } => Ok(kept(draft, image, *disk)),
        Ask::Prune => image::prune(draft),
        Ask::Drain => drained(draft).map(|record| keep(draft, record, dry_run)),
    };
    draft.effect(Effect::Answer { id, answer, warnings: Vec::new() });
}

/// Writes it, and gives back what the caller is shown: the record with the revision that the commit will have.
fn keep(draft: &mut Draft, mut record: Record, dry_run: bool) -> Arc<Record> {
    let key = record.key();
    let unchanged = draft.get(&key).filter(|old| ***old == record).cloned();
    if let Some(unchanged) = unchanged {
        return unchanged;
    }
    if !dry_run {
        draft.put(record.clone());
        record.meta_mut().revision = draft.next_revision();
    }
    Arc::new(record)
}

fn kept(draft: &mut Draft, image: &ImageSpec, disk: Disk) -> Arc<Record> {
    let mut record = (*image::keep(draft, image, disk)).clone();
    record.meta_mut().revision = draft.next_revision();
    Arc::new(record)
}

// ---- create --------------------------------------------------------------------------------------------------------

/// The record as it will be stored, or why it may not be made.
///
/// # Errors
/// `AlreadyExists`; `NotFound` for a namespace that is not there; `Forbidden` for kinds that nobody may make and beyond
/// `objects_max`.
pub fn created(draft: &mut Draft, record: &Record) -> Result<Record, Failure> {
    let kind = record.kind();
    makeable(kind, &record.meta().name)?;
    in_a_namespace(draft, record)?;
    bounded(draft, kind)?;
    let mut record = record.clone();
    let meta = draft.new_meta(kind, record.meta().clone());
    if draft.find(kind, &meta.namespace, &meta.name).is_some() {
        return Err(Failure::already_exists(kind, &meta.name));
    }
    let owner = meta.owner.clone().filter(|owner| is_owner(draft, owner, kind, &meta.namespace));
    *record.meta_mut() = Meta { owner, set: None, ..meta };
    match &mut record {
        Record::Job(job) => complete_job(job)?,
        Record::Pod(pod) => pod.status = PodStatus::new(&pod.spec),
        Record::Namespace(_)
        | Record::Node(_)
        | Record::ConfigMap(_)
        | Record::Secret(_)
        | Record::DaemonSet(_)
        | Record::ControllerRevision(_)
        | Record::CronJob(_)
        | Record::Event(_)
        | Record::Image(_)
        | Record::Set(_)
        | Record::Ack(_) => {}
    }
    Ok(record)
}

/// Only a CronJob that is there may be named, by a Job. Kubernetes collects what an owner that is gone is said to have; here
/// the Job has no owner then, and runs.
fn is_owner(draft: &Draft, owner: &Owner, of: Kind, namespace: &str) -> bool {
    let found = draft.find(owner.kind, namespace, &owner.name);
    of == Kind::Job && owner.kind == Kind::CronJob && found.is_some_and(|found| found.meta().uid == owner.uid)
}

fn makeable(kind: Kind, name: &str) -> Result<(), Failure> {
    let why = match kind {
        Kind::Node => "a node registers itself when pinnace node starts",
        Kind::Event => "events are made by the node",
        Kind::ControllerRevision => "revisions are made by the DaemonSet controller",
        Kind::Set => "sets come from the fleet; publish one on its topic",
        Kind::Ack => "this kind is internal",
        Kind::Namespace
        | Kind::ConfigMap
        | Kind::Secret
        | Kind::DaemonSet
        | Kind::Job
        | Kind::CronJob
        | Kind::Pod
        | Kind::Image => return Ok(()),
    };
    Err(forbidden(kind, name, why))
}

fn forbidden(kind: Kind, name: &str, why: &str) -> Failure {
    Failure::new(Reason::Forbidden, format!("{} {name:?} is forbidden: {why}", kind.resource())).about(kind, name)
}

fn in_a_namespace(draft: &Draft, record: &Record) -> Result<(), Failure> {
    let namespace = &record.meta().namespace;
    if !record.kind().names().namespaced {
        return Ok(());
    }
    let found = draft.find(Kind::Namespace, "", namespace);
    let Some(found) = found else { return Err(Failure::not_found(Kind::Namespace, namespace)) };
    if found.meta().deleting.is_some() {
        let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
        return Err(forbidden(record.kind(), &record.meta().name, &why));
    }
    Ok(())
}

fn bounded(draft: &Draft, kind: Kind) -> Result<(), Failure> {
    let max = draft.settings().objects_max;
    let is_counted = |kind: Kind| !matches!(kind, Kind::Event | Kind::Pod | Kind::Ack);
    if !is_counted(kind) {
        return Ok(());
    }
    let there: usize = Kind::SERVED.into_iter().filter(|kind| is_counted(*kind)).map(|kind| draft.count(kind)).sum();
    if there < max {
        return Ok(());
    }
    let why = format!("this node holds {there} objects already and its bound objects_max is {max}");
    Err(Failure::new(Reason::Forbidden, why))
}

/// Adds what the API server adds to a new Job: the labels and the selector that find its pods.
fn complete_job(job: &mut Job) -> Result<(), Failure> {
    let mut document = job.spec.document().clone();
    finish_job_document(&mut document, &job.meta.name, &job.meta.uid);
    job.spec = reread(document, Kind::Job, &job.meta.name)?;
    Ok(())
}

fn reread<V: serde::de::DeserializeOwned>(document: Value, kind: Kind, name: &str) -> Result<Spec<V>, Failure> {
    Spec::new(document).map_err(|e| {
        let text = format!("{} {name:?}: its spec cannot be read back: {e}", kind.resource());
        Failure::new(Reason::InternalError, text).about(kind, name)
    })
}

// ---- replace -------------------------------------------------------------------------------------------------------

/// The record as it will be stored in place of the one of that name.
///
/// # Errors
/// `NotFound`; `Conflict` for another revision or uid; `Invalid` for a field that may not change.
pub fn replaced(draft: &Draft, new: &Record, if_revision: Option<u64>) -> Result<Record, Failure> {
    let (kind, name) = (new.kind(), new.meta().name.clone());
    let old = draft.get(&new.key()).ok_or_else(|| Failure::not_found(kind, &name))?;
    let uid = &new.meta().uid;
    let other_uid = !uid.as_str().is_empty() && *uid != old.meta().uid;
    if other_uid || if_revision.is_some_and(|revision| revision != old.meta().revision) {
        return Err(Failure::conflict(kind, &name));
    }
    merged(old, new)
}

/// The new record with what only the node may set: identity, age, owner, status. Its spec is checked against the old.
fn merged(old: &Record, new: &Record) -> Result<Record, Failure> {
    let kind = new.kind();
    let mut next = new.clone();
    let meta = old.meta();
    *next.meta_mut() =
        Meta { labels: new.meta().labels.clone(), annotations: new.meta().annotations.clone(), ..meta.clone() };
    let mut causes = Vec::new();
    let changed = match (old, &mut next) {
        (Record::Job(old), Record::Job(next)) => {
            complete_job(next)?;
            next.status = old.status.clone();
            job_changes(old, next, &mut causes);
            old.spec != next.spec
        }
        (Record::CronJob(old), Record::CronJob(next)) => {
            next.status = old.status.clone();
            old.spec != next.spec
        }
        (Record::DaemonSet(old), Record::DaemonSet(next)) => {
            next.status = old.status.clone();
            immutable(
                &mut causes,
                "spec.selector",
                old.spec.document().get("selector"),
                next.spec.document().get("selector"),
            );
            old.spec != next.spec
        }
        (Record::Pod(old), Record::Pod(next)) => {
            next.status = old.status.clone();
            pod_changes(old, next, &mut causes);
            whole_spec(old) != whole_spec(next)
        }
        (Record::Node(old), Record::Node(next)) => {
            next.status = old.status.clone();
            // Uncordoning ends a drain; cordoning again goes on with it.
            next.spec.drained = old.spec.drained && next.spec.unschedulable;
            false
        }
        (Record::ConfigMap(old), Record::ConfigMap(next)) => {
            if old.spec.immutable && (old.spec.data != next.spec.data || old.spec.binary_data != next.spec.binary_data)
            {
                causes.push(Cause::forbidden("data", "field is immutable when `immutable` is set"));
            }
            still_immutable(old.spec.immutable, next.spec.immutable, &mut causes);
            false
        }
        (Record::Secret(old), Record::Secret(next)) => {
            if old.spec.kind != next.spec.kind {
                causes.push(Cause::invalid("type", Value::from(next.spec.kind.clone()), "field is immutable"));
            }
            if old.spec.immutable && old.spec.data != next.spec.data {
                causes.push(Cause::forbidden("data", "field is immutable when `immutable` is set"));
            }
            still_immutable(old.spec.immutable, next.spec.immutable, &mut causes);
            false
        }
        (Record::Namespace(_), Record::Namespace(_)) => false,
        (Record::Image(old), Record::Image(next)) => old.spec != next.spec,
        (_, next) => return Err(forbidden(kind, &next.meta().name, "this kind is written by the node alone")),
    };
    if !causes.is_empty() {
        return Err(Failure::invalid(kind, &new.meta().name, causes));
    }
    if changed {
        next.meta_mut().generation += 1;
    }
    Ok(next)
}

fn still_immutable(old: bool, next: bool, causes: &mut Vec<Cause>) {
    if old && !next {
        causes.push(Cause::forbidden("immutable", "field is immutable when `immutable` is set"));
    }
}

fn immutable(causes: &mut Vec<Cause>, path: &str, old: Option<&Value>, next: Option<&Value>) {
    if old != next {
        causes.push(Cause::invalid(path, next.unwrap_or(&Value::Null), "field is immutable"));
    }
}

/// Source: `pkg/apis/batch/validation/validation.go`, `ValidateJobUpdate`.
fn job_changes(old: &Job, next: &Job, causes: &mut Vec<Cause>) {
    let (before, after) = (old.spec.document(), next.spec.document());
    for field in ["completions", "selector"] {
        immutable(causes, &format!("spec.{field}"), before.get(field), after.get(field));
    }
    // A Job that is suspended and has never started may still be told where to run.
    let never_started = old.spec.suspend && old.status.started.is_none();
    let (before, after) = match never_started {
        true => (fixed_part(before.get("template")), fixed_part(after.get("template"))),
        false => (before.get("template").cloned(), after.get("template").cloned()),
    };
    immutable(causes, "spec.template", before.as_ref(), after.as_ref());
}

/// A template without what a Job that never started may still change.
fn fixed_part(template: Option<&Value>) -> Option<Value> {
    let mut template = template.cloned()?;
    template.as_object_mut()?.remove("metadata");
    if let Some(spec) = template.get_mut("spec").and_then(Value::as_object_mut) {
        for field in ["nodeSelector", "tolerations", "affinity"] {
            spec.remove(field);
        }
    }
    Some(template)
}

/// A pod's spec with all defaults. A store may hold pods that were made of a template when it gave them fewer.
fn whole_spec(pod: &Pod) -> Value {
    let mut document = pod.spec.document().clone();
    if let Some(fields) = document.as_object_mut() {
        pod_defaults::complete(fields);
    }
    document
}

/// Of a pod's spec only the deadline may be set or lowered and tolerations be added.
fn pod_changes(old: &Pod, next: &Pod, causes: &mut Vec<Cause>) {
    let fixed = |pod: &Pod| {
        let mut document = whole_spec(pod);
        if let Some(spec) = document.as_object_mut() {
            spec.remove("activeDeadlineSeconds");
            spec.remove("tolerations");
        }
        document
    };
    let only_added = old.spec.tolerations.iter().all(|t| next.spec.tolerations.contains(t));
    let lowered = match (old.spec.active_deadline_seconds, next.spec.active_deadline_seconds) {
        (None, _) => true,
        (Some(old), Some(next)) => next <= old,
        (Some(_), None) => false,
    };
    if fixed(old) != fixed(next) || !only_added || !lowered {
        let text = "pod updates may not change fields other than `spec.activeDeadlineSeconds` (set or lowered), `spec.tolerations` (only additions to existing tolerations)";
        causes.push(Cause::forbidden("spec", text));
    }
}

// ---- delete and drain ----------------------------------------------------------------------------------------------

fn deletable(draft: &Draft, key: &Key, if_uid: Option<&Uid>) -> Outcome {
    let found = draft.get(key).cloned().ok_or_else(|| Failure::not_found(key.kind, &key.name))?;
    if if_uid.is_some_and(|uid| *uid != found.meta().uid) {
        return Err(Failure::conflict(key.kind, &key.name));
    }
    match key.kind {
        Kind::Node => Err(forbidden(key.kind, &key.name, "it is this device; stop pinnace node to take it away")),
        Kind::Namespace if key.name == "default" || key.name == "kube-system" => {
            Err(forbidden(key.kind, &key.name, "this namespace may not be deleted"))
        }
        Kind::Image => found.as_image().map_or(Ok(()), |i| image::removable(draft, i)).map(|()| found),
        Kind::Set => Err(forbidden(key.kind, &key.name, &how_a_set_goes(draft, &found))),
        Kind::Namespace
        | Kind::ConfigMap
        | Kind::Secret
        | Kind::DaemonSet
        | Kind::ControllerRevision
        | Kind::Job
        | Kind::CronJob
        | Kind::Pod
        | Kind::Event
        | Kind::Ack => Ok(found),
    }
}

fn how_a_set_goes(draft: &Draft, found: &Record) -> String {
    let topic = found.as_set().map_or(String::new(), |set| match &set.key.scope {
        scope @ (Scope::All | Scope::Group(_)) => format!("{scope}/{}", set.key.slot),
        Scope::Node => format!("node/{}/{}", draft.node().map_or("", |node| node.meta.name.as_str()), set.key.slot),
    });
    format!(
        "it came from the fleet; a tombstone or an empty message on its topic, ROOT/FLEET/d/{topic}, takes away what it brought, and its refusal"
    )
}

fn drained(draft: &Draft) -> Result<Record, Failure> {
    let node = draft.node().ok_or_else(|| Failure::new(Reason::ServiceUnavailable, "the node is starting"))?;
    let mut node = node.clone();
    node.spec.unschedulable = true;
    node.spec.drained = true;
    Ok(node.into())
}

#[cfg(test)]
#[allow(clippy::wildcard_enum_match_arm)]
mod tests;

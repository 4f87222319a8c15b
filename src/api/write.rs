//! Changes: a body becomes a record, a record becomes an `Ask`, the loop's answer becomes the reply.

use std::sync::Arc;

use hyper::StatusCode;
use serde_json::{Value, json};

use super::call::{self, Call};
use super::query::Query;
use super::read::{self, Filter};
use super::reply::{self, Reply};
use super::route::Target;
use super::{Handle, json_patch};
use crate::manifest::{self, Decoded, Strictness, view};
use crate::model::{Ask, Cause, Failure, Key, Kind, Owner, Propagation, Reason, Record, State, Uid};

/// A patch that names no revision is tried again this often when somebody else was faster.
const PATCH_TRIES_MAX: u32 = 5;

pub async fn create(handle: &Handle, target: &Target, call: Call) -> Result<Reply, Failure> {
    let (strictness, dry_run) = (call.strictness()?, call.query.dry_run()?);
    let value = required(call.document().await?)?;
    let owner = (target.kind == Kind::Job).then(|| cron_job_of(&value)).flatten();
    let mut decoded = decode(value, target, strictness)?;
    decoded.record.meta_mut().owner = owner;
    let (result, warnings) = handle.ask(Ask::Create(Box::new(decoded.record)), dry_run).await;
    let reply = reply::json(StatusCode::CREATED, &shown(handle, target, &*result?));
    Ok(reply::with_warnings(reply, &joined(decoded.warnings, warnings)))
}

/// The CronJob that a Job is made of, by `kubectl create job --from` too. Admission sees whether it is there; every other
/// owner is the node's to name.
fn cron_job_of(job: &Value) -> Option<Owner> {
    let references = job.pointer("/metadata/ownerReferences")?.as_array()?;
    let text = |of: &Value, field: &str| of.get(field)?.as_str().map(str::to_string);
    let is_one = |of: &&Value| {
        of["kind"] == "CronJob" && of["controller"] == true && text(of, "apiVersion").is_some_and(is_batch)
    };
    let of = references.iter().find(is_one)?;
    Some(Owner { kind: Kind::CronJob, name: text(of, "name")?, uid: Uid::new(text(of, "uid")?) })
}

fn is_batch(api_version: String) -> bool {
    api_version.starts_with("batch/")
}

pub async fn replace(handle: &Handle, target: &Target, name: &str, call: Call) -> Result<Reply, Failure> {
    let (strictness, dry_run) = (call.strictness()?, call.query.dry_run()?);
    let value = required(call.document().await?)?;
    let stored = read::find(&handle.state.borrow(), target, name)?;
    let decoded = replacement(handle, target, &stored, value, strictness)?;
    let if_revision = Some(decoded.record.meta().revision).filter(|revision| *revision != 0);
    let (result, warnings) = handle.ask(Ask::Replace { record: Box::new(decoded.record), if_revision }, dry_run).await;
    let reply = reply::json(StatusCode::OK, &shown(handle, target, &*result?));
    Ok(reply::with_warnings(reply, &joined(decoded.warnings, warnings)))
}

pub async fn patch(handle: &Handle, target: &Target, name: &str, call: Call) -> Result<Reply, Failure> {
    let (strictness, dry_run) = (call.strictness()?, call.query.dry_run()?);
    let patch = Patch::of(call).await?;
    let apply = |stored: &Record, shown: Value| {
        let patched = patch.apply(shown)?;
        replacement(handle, target, stored, patched, strictness)
    };
    let (record, warnings) = change(handle, target, name, dry_run, apply).await?;
    Ok(reply::with_warnings(reply::json(StatusCode::OK, &shown(handle, target, &record)), &warnings))
}

/// Reads an object, changes it and writes it back, again and again while somebody else is faster; not when the change
/// itself names the revision that it is for.
pub async fn change(
    handle: &Handle,
    target: &Target,
    name: &str,
    dry_run: bool,
    apply: impl Fn(&Record, Value) -> Result<Decoded, Failure>,
) -> Result<(Arc<Record>, Vec<String>), Failure> {
    let mut tries_left = PATCH_TRIES_MAX;
    loop {
        let (stored, shown) = {
            let state = handle.state.borrow();
            let stored = read::find(&state, target, name)?;
            let shown = view::object(&stored, &state);
            (stored, shown)
        };
        let decoded = apply(&stored, shown)?;
        let named = decoded.record.meta().revision;
        let if_revision = Some(if named == 0 { stored.meta().revision } else { named });
        let ask = Ask::Replace { record: Box::new(decoded.record), if_revision };
        tries_left -= 1;
        match handle.ask(ask, dry_run).await {
            (Ok(record), warnings) => return Ok((record, joined(decoded.warnings, warnings))),
            (Err(e), _)
                if e.reason == Reason::Conflict && if_revision == Some(stored.meta().revision) && tries_left > 0 => {}
            (Err(e), _) => return Err(e),
        }
    }
}

/// A patch of any of Kubernetes' three kinds.
pub enum Patch {
    Merge(Value),
    Strategic(Value),
    Json(Value),
}

impl Patch {
    /// # Errors
    /// `UnsupportedMediaType` for another content type; `BadRequest` for a body that is no JSON.
    pub async fn of(call: Call) -> Result<Patch, Failure> {
        let wrap = match call.content_type() {
            "application/merge-patch+json" => Patch::Merge,
            "application/strategic-merge-patch+json" => Patch::Strategic,
            "application/json-patch+json" => Patch::Json,
            _ => {
                return Err(call::unsupported(
                    "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json",
                ));
            }
        };
        Ok(wrap(call::json(&call.bytes().await?)?))
    }

    /// # Errors
    /// `BadRequest` or `Invalid` when the patch does not fit.
    pub fn apply(&self, mut onto: Value) -> Result<Value, Failure> {
        match self {
            Patch::Merge(patch) => manifest::merge_patch(&mut onto, patch),
            Patch::Strategic(patch) => manifest::strategic_merge_patch(&mut onto, patch),
            Patch::Json(operations) => json_patch::apply(&mut onto, operations)?,
        }
        Ok(onto)
    }
}

/// A new version of a stored object, from a body that names it.
///
/// # Errors
/// `BadRequest` when it names another; `Conflict` when it names an object of that name that is gone.
pub fn replacement(
    handle: &Handle,
    target: &Target,
    stored: &Record,
    mut value: Value,
    strictness: Strictness,
) -> Result<Decoded, Failure> {
    let name = &stored.meta().name;
    let given = value["metadata"]["name"].as_str().unwrap_or("");
    if given != name {
        let message = format!("the name of the object ({given}) does not match the name on the URL ({name})");
        return Err(Failure::new(Reason::BadRequest, message));
    }
    hide_what_is_only_shown(&mut value, stored, &handle.state.borrow());
    let mut decoded = decode(value, target, strictness)?;
    let (meta, now) = (decoded.record.meta(), stored.meta());
    if !meta.uid.as_str().is_empty() && meta.uid != now.uid {
        return Err(wrong_uid(target.kind, name, &meta.uid, &now.uid));
    }
    keep_drained(&mut decoded.record, stored);
    Ok(decoded)
}

fn wrong_uid(kind: Kind, name: &str, wanted: &Uid, found: &Uid) -> Failure {
    let message = format!(
        "Operation cannot be fulfilled on {} {name:?}: Precondition failed: UID in precondition: {wanted}, UID in object meta: {found}",
        kind.resource()
    );
    Failure::new(Reason::Conflict, message).about(kind, name)
}

/// What the API adds to an object must not look like a change when it is sent back: the finalizer of an owner that waits
/// for what it owns, and the node of a pod, whose document all pods of its owner share.
fn hide_what_is_only_shown(value: &mut Value, stored: &Record, state: &State) {
    if stored.meta().deleting.as_ref().is_some_and(|d| d.foreground) {
        remove_if(value, "metadata", "finalizers", &json!(["foregroundDeletion"]));
    }
    if let Some(node) = state.node().filter(|_| stored.as_pod().is_some_and(view::shows_node)) {
        remove_if(value, "spec", "nodeName", &json!(node.meta.name));
    }
}

fn remove_if(value: &mut Value, part: &str, field: &str, shown: &Value) {
    if let Some(fields) = value.get_mut(part).and_then(Value::as_object_mut).filter(|f| f.get(field) == Some(shown)) {
        fields.shift_remove(field);
    }
}

/// Kubernetes knows no drained node; one stays drained while it stays cordoned, whatever else is changed.
fn keep_drained(record: &mut Record, stored: &Record) {
    if let (Record::Node(new), Some(old)) = (record, stored.as_node()) {
        new.spec.drained = new.spec.unschedulable && old.spec.drained;
    }
}

/// A body as a record of the target's kind, without what is only ever shown.
pub fn decode(mut value: Value, target: &Target, strictness: Strictness) -> Result<Decoded, Failure> {
    if !value.is_object() {
        return Err(Failure::new(Reason::BadRequest, "the request's body must be one object"));
    }
    if let Some(annotations) = value.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.shift_remove(view::SET_ANNOTATION);
        annotations.shift_remove(view::GROUPS_ANNOTATION);
    }
    manifest::decode_value(value, Some(target.kind), &target.namespace, strictness)
}

pub async fn delete(handle: &Handle, target: &Target, name: &str, call: Call) -> Result<Reply, Failure> {
    let query = Query::clone(&call.query);
    let body = call.document().await?;
    let options = DeleteOptions::read(target.kind, &query, body.as_ref())?;
    let stored = read::find(&handle.state.borrow(), target, name)?;
    options.check(&stored)?;
    let key = Key::new(target.kind, &target.namespace, name);
    let (result, warnings) = handle.ask(options.ask(key), options.dry_run).await;
    let record = result?;
    // What is still there, because it ends in its own time, is shown; of what is gone only that it is.
    let ending = still_ending(&handle.state.borrow(), &record);
    let body = ending.map_or_else(|| view::success(&record), |ending| shown(handle, target, &ending));
    Ok(reply::with_warnings(reply::json(StatusCode::OK, &body), &warnings))
}

fn still_ending(state: &State, deleted: &Record) -> Option<Arc<Record>> {
    let there = state.get(&deleted.key())?;
    let is_the_same = there.meta().uid == deleted.meta().uid;
    (is_the_same && there.meta().deleting.is_some()).then(|| there.clone())
}

/// Deletes every object that the selectors fit, one by one; the reply lists them.
pub async fn delete_all(handle: &Handle, target: &Target, call: Call) -> Result<Reply, Failure> {
    let query = Query::clone(&call.query);
    let filter = Filter::new(target, &query)?;
    let body = call.document().await?;
    let options = DeleteOptions::read(target.kind, &query, body.as_ref())?;
    let found = filter.select(&handle.state.borrow());
    let (mut deleted, mut warnings) = (Vec::new(), Vec::new());
    for record in found {
        let (result, more) = handle.ask(options.ask(record.key()), options.dry_run).await;
        warnings.extend(more);
        match result {
            Ok(record) => deleted.push(shown(handle, target, &record)),
            // Somebody else deleted it meanwhile.
            Err(e) if e.reason == Reason::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    let list = view::list(target.kind, deleted, handle.state.borrow().revision);
    Ok(reply::with_warnings(reply::json(StatusCode::OK, &list), &warnings))
}

/// `policy/v1` Eviction: there are no disruption budgets, so it is a delete with the options inside it.
pub async fn evict(handle: &Handle, target: &Target, name: &str, call: Call) -> Result<Reply, Failure> {
    let query = Query::clone(&call.query);
    let body = call.document().await?;
    let options = DeleteOptions::read(target.kind, &query, body.as_ref().map(|b| &b["deleteOptions"]))?;
    let stored = read::find(&handle.state.borrow(), target, name)?;
    options.check(&stored)?;
    let key = Key::new(target.kind, &target.namespace, name);
    let (result, warnings) = handle.ask(options.ask(key), options.dry_run).await;
    let body = view::success(&*result?);
    Ok(reply::with_warnings(reply::json(StatusCode::CREATED, &body), &warnings))
}

/// `DeleteOptions` from the body and the query; the body goes first.
struct DeleteOptions {
    grace_s: Option<u32>,
    propagation: Propagation,
    if_uid: Option<Uid>,
    if_revision: Option<u64>,
    dry_run: bool,
}

impl DeleteOptions {
    fn read(kind: Kind, query: &Query, body: Option<&Value>) -> Result<DeleteOptions, Failure> {
        let nothing = json!({});
        let body = body.filter(|b| !b.is_null()).unwrap_or(&nothing);
        let text = |name: &str| body[name].as_str().or_else(|| query.get(name));
        let orphan = body["orphanDependents"].as_bool().or_else(|| query.get("orphanDependents").map(|v| v == "true"));
        let propagation = match (text("propagationPolicy"), orphan) {
            (Some("Background"), _) | (None, Some(false)) => Propagation::Background,
            (Some("Foreground"), _) => Propagation::Foreground,
            (Some("Orphan"), _) | (None, Some(true)) => Propagation::Orphan,
            (None, None) => default_propagation(kind),
            (Some(other), _) => {
                let causes =
                    vec![Cause::unsupported("propagationPolicy", other, &["Background", "Foreground", "Orphan"])];
                return Err(invalid_options(causes));
            }
        };
        let preconditions = &body["preconditions"];
        Ok(DeleteOptions {
            grace_s: grace(body, query)?,
            propagation,
            if_uid: preconditions["uid"].as_str().map(Uid::new),
            if_revision: preconditions["resourceVersion"].as_str().and_then(|v| v.parse().ok()),
            dry_run: query.dry_run()? || body["dryRun"].as_array().is_some_and(|all| all.iter().any(|v| v == "All")),
        })
    }

    fn check(&self, stored: &Record) -> Result<(), Failure> {
        let meta = stored.meta();
        if let Some(uid) = self.if_uid.as_ref().filter(|uid| **uid != meta.uid) {
            return Err(wrong_uid(stored.kind(), &meta.name, uid, &meta.uid));
        }
        match self.if_revision {
            Some(revision) if revision != meta.revision => Err(Failure::conflict(stored.kind(), &meta.name)),
            _ => Ok(()),
        }
    }

    fn ask(&self, key: Key) -> Ask {
        let (grace_s, propagation, if_uid) = (self.grace_s, self.propagation, self.if_uid.clone());
        Ask::Delete { key, grace_s, propagation, if_uid }
    }
}

fn grace(body: &Value, query: &Query) -> Result<Option<u32>, Failure> {
    let given = match &body["gracePeriodSeconds"] {
        Value::Null => query.number::<i64>("gracePeriodSeconds")?,
        number => number.as_i64().or(Some(-1)),
    };
    let checked = |s: i64| {
        u32::try_from(s).map_err(|_| {
            invalid_options(vec![Cause::invalid("gracePeriodSeconds", s, "must be greater than or equal to 0")])
        })
    };
    given.map(checked).transpose()
}

fn invalid_options(causes: Vec<Cause>) -> Failure {
    let texts: Vec<String> = causes.iter().map(|c| format!("{}: {}", c.field, c.message)).collect();
    let message = format!("DeleteOptions.meta.k8s.io \"\" is invalid: {}", texts.join(", "));
    Failure { causes, ..Failure::new(Reason::Invalid, message) }
}

/// Without a word from the caller a Job of batch/v1 leaves its pods behind; everything else takes along what it owns.
/// Source: `pkg/registry/batch/job/strategy.go`, `DefaultGarbageCollectionPolicy`.
fn default_propagation(kind: Kind) -> Propagation {
    if kind == Kind::Job { Propagation::Orphan } else { Propagation::Background }
}

pub async fn drain(handle: &Handle, query: &Query) -> Result<Reply, Failure> {
    let (result, warnings) = handle.ask(Ask::Drain, query.dry_run()?).await;
    let body = view::object(&*result?, &handle.state.borrow());
    Ok(reply::with_warnings(reply::json(StatusCode::OK, &body), &warnings))
}

pub fn shown(handle: &Handle, target: &Target, record: &Record) -> Value {
    let mut object = view::object(record, &handle.state.borrow());
    object["apiVersion"] = target.api_version.as_str().into();
    object
}

pub fn required(body: Option<Value>) -> Result<Value, Failure> {
    body.ok_or_else(|| Failure::new(Reason::BadRequest, "the request needs a body with the object"))
}

fn joined(mut decoding: Vec<String>, admission: Vec<String>) -> Vec<String> {
    decoding.extend(admission);
    decoding
}

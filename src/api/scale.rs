//! `jobs/NAME/scale`: `replicas` of autoscaling/v1 is a Job's `parallelism`, so that `kubectl scale job` works.

use std::sync::Arc;

use hyper::StatusCode;
use serde_json::{Value, json};

use super::Handle;
use super::call::Call;
use super::read;
use super::reply::{self, Reply};
use super::route::Target;
use super::table::selector_text;
use super::write::{self, Patch};
use crate::manifest::{Decoded, Strictness};
use crate::model::{Cause, Failure, Reason, Record};

pub fn get(handle: &Handle, target: &Target, name: &str) -> Result<Reply, Failure> {
    let record = read::find(&handle.state.borrow(), target, name)?;
    Ok(reply::json(StatusCode::OK, &scale(&record)))
}

pub async fn replace(handle: &Handle, target: &Target, name: &str, call: Call) -> Result<Reply, Failure> {
    let dry_run = call.query.dry_run()?;
    let new = write::required(call.document().await?)?;
    set(handle, target, name, dry_run, |_| Ok(new.clone())).await
}

pub async fn patch(handle: &Handle, target: &Target, name: &str, call: Call) -> Result<Reply, Failure> {
    let dry_run = call.query.dry_run()?;
    let patch = Patch::of(call).await?;
    // An unchanged revision in the result is the server's own, not one that the caller insists on.
    set(handle, target, name, dry_run, |now| {
        let mut new = patch.apply(now.clone())?;
        let unchanged = now["metadata"]["resourceVersion"].clone();
        if let Some(revision) = new.pointer_mut("/metadata/resourceVersion").filter(|r| **r == unchanged) {
            *revision = Value::Null;
        }
        Ok(new)
    })
    .await
}

async fn set(
    handle: &Handle,
    target: &Target,
    name: &str,
    dry_run: bool,
    new_scale: impl Fn(Value) -> Result<Value, Failure>,
) -> Result<Reply, Failure> {
    let apply = |stored: &Record, shown: Value| -> Result<Decoded, Failure> {
        let new = new_scale(scale(stored))?;
        let replicas = replicas(&new, name)?;
        let mut job = shown;
        job["spec"]["parallelism"] = replicas.into();
        if let Some(revision) = new["metadata"]["resourceVersion"].as_str().filter(|v| !v.is_empty()) {
            job["metadata"]["resourceVersion"] = revision.into();
        }
        write::replacement(handle, target, stored, job, Strictness::Ignore)
    };
    let (record, warnings): (Arc<Record>, Vec<String>) = write::change(handle, target, name, dry_run, apply).await?;
    Ok(reply::with_warnings(reply::json(StatusCode::OK, &scale(&record)), &warnings))
}

fn replicas(scale: &Value, name: &str) -> Result<i64, Failure> {
    let (shown, number) = match &scale["spec"]["replicas"] {
        Value::Null => ("null".to_string(), Some(0)),
        given => (given.to_string(), given.as_i64()),
    };
    number.filter(|n| (0..=i64::from(i32::MAX)).contains(n)).ok_or_else(|| {
        let cause = Cause::invalid("spec.replicas", shown, "must be greater than or equal to 0");
        let message = format!("Scale.autoscaling {name:?} is invalid: {}: {}", cause.field, cause.message);
        Failure { causes: vec![cause], ..Failure::new(Reason::Invalid, message) }
    })
}

fn scale(record: &Record) -> Value {
    let meta = record.meta();
    let job = record.as_job();
    let replicas = job.map_or(0, |job| job.spec.parallelism.unwrap_or(1));
    json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {
            "name": meta.name,
            "namespace": meta.namespace,
            "uid": meta.uid,
            "resourceVersion": meta.revision.to_string(),
            "creationTimestamp": meta.created.rfc3339(),
        },
        "spec": { "replicas": replicas },
        "status": {
            "replicas": job.map_or(0, |job| job.status.active),
            "selector": job.and_then(|job| job.spec.selector.as_ref()).map_or(String::new(), selector_text),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::route;
    use crate::model::Kind;

    #[test]
    fn only_jobs_are_scaled() {
        let scaled = Kind::SERVED.into_iter().filter(|k| route::parts(*k).iter().any(|(name, _)| *name == "scale"));
        assert_eq!(scaled.collect::<Vec<Kind>>(), [Kind::Job]);
    }

    #[test]
    fn replicas_are_a_whole_number() {
        let of = |value: Value| replicas(&json!({ "spec": { "replicas": value } }), "j").map_err(|e| e.message);
        assert_eq!(of(json!(3)), Ok(3));
        assert_eq!(of(Value::Null), Ok(0));
        assert_eq!(
            of(json!(-1)).unwrap_err(),
            "Scale.autoscaling \"j\" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0"
        );
        assert!(of(json!("3")).is_err() && of(json!(1.5)).is_err() && of(json!(3_000_000_000i64)).is_err());
    }
}

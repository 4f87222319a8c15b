//! One object in an API request.

use pinnace::manifest::{Decoded, Strictness, decode_value};
use pinnace::model::{Failure, Kind, Reason};
use serde_json::{Value, json};

fn pod() -> Value {
    json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "command": ["true"]}]}})
}

fn decode(value: Value, strictness: Strictness) -> Result<Decoded, Failure> {
    decode_value(value, Some(Kind::Pod), "ns", strictness)
}

#[track_caller]
fn refused(value: Value, expect: Option<Kind>, expected: &str) {
    let failure = decode_value(value, expect, "ns", Strictness::Strict).unwrap_err();
    assert_eq!((failure.reason, failure.message.as_str()), (Reason::BadRequest, expected));
}

#[test]
fn the_path_says_what_the_body_does_not() {
    let decoded = decode(pod(), Strictness::Strict).unwrap();
    assert_eq!(decoded.record.key().to_string(), "Pod ns/p");
}

#[test]
fn a_body_that_contradicts_the_path_is_refused() {
    let mut other = pod();
    other["metadata"]["namespace"] = json!("other");
    refused(
        other,
        Some(Kind::Pod),
        "the namespace of the provided object does not match the namespace sent on the request",
    );
    let mut cron = pod();
    cron["kind"] = json!("CronJob");
    cron["apiVersion"] = json!("batch/v1beta1");
    refused(
        cron,
        Some(Kind::Job),
        "CronJob in version \"v1beta1\" cannot be handled as a Job: the request is for jobs.batch",
    );
    refused(json!([1]), Some(Kind::Pod), "an object with apiVersion and kind is needed, not [1]");
    refused(json!({"spec": {}}), None, "Object 'apiVersion' is missing in an object with the fields [spec]");
}

#[test]
fn unknown_fields_are_refused_told_or_left_out() {
    let mut odd = pod();
    odd["spec"]["containers"][0]["imag"] = json!("x");
    odd["spek"] = json!({});
    refused(
        {
            let mut odd = odd.clone();
            odd["kind"] = json!("Pod");
            odd
        },
        Some(Kind::Pod),
        "Pod in version \"v1\" cannot be handled as a Pod: strict decoding error: unknown field \
         \"spec.containers[0].imag\" (did you mean \"image\"?), unknown field \"spek\" (did you mean \"spec\"?)",
    );
    let warned = decode(odd.clone(), Strictness::Warn).unwrap();
    assert_eq!(warned.warnings[0], "unknown field \"spec.containers[0].imag\" (did you mean \"image\"?)");
    let ignored = decode(odd.clone(), Strictness::Ignore).unwrap();
    assert!(ignored.warnings.is_empty());
    assert!(ignored.record.as_pod().unwrap().spec.document()["containers"][0].get("imag").is_none());
    assert_eq!(ignored.source["spek"], json!({}), "the source is as sent");
}

#[test]
fn what_pinnace_does_not_do_is_refused_even_when_unknown_fields_are_not() {
    let mut odd = pod();
    odd["spec"]["schedulingGates"] = json!([{"name": "v"}]);
    let failure = decode(odd, Strictness::Ignore).unwrap_err();
    assert_eq!(failure.message, "Pod \"p\" is invalid: spec.schedulingGates: Forbidden: not supported by pinnace");
    assert_eq!(
        (failure.causes[0].reason.as_str(), failure.causes[0].field.as_str()),
        ("FieldValueForbidden", "spec.schedulingGates")
    );
}

/// `kubectl get -o yaml | kubectl replace -f -`.
#[test]
fn what_the_server_writes_is_dropped_and_kept_as_precondition() {
    let mut whole = pod();
    whole["metadata"] = json!({
        "name": "p", "namespace": "ns", "uid": "u-1", "resourceVersion": "17", "creationTimestamp": null, "generation": 3,
        "managedFields": [{"manager": "x"}], "selfLink": "/x", "finalizers": [],
        "ownerReferences": [{"kind": "Job"}], "deletionTimestamp": "2026-01-01T00:00:00Z",
    });
    whole["status"] = json!({"phase": "Running", "unheard": 1});
    let record = decode(whole, Strictness::Strict).unwrap().record;
    let meta = record.meta();
    assert_eq!((meta.uid.as_str(), meta.revision, meta.generation), ("u-1", 17, 0));
    assert!(meta.owner.is_none() && meta.deleting.is_none());
    assert_eq!(decode(pod(), Strictness::Strict).unwrap().record.meta().uid.as_str(), "");
}

#[test]
fn the_bounds_of_a_text_hold_for_a_request_too() {
    let mut deep = json!(1);
    for _ in 0..100 {
        deep = json!([deep]);
    }
    refused(
        deep,
        Some(Kind::Pod),
        "error reading the manifest: too many levels of nesting, the most that is taken is 64",
    );
    refused(
        json!(vec![1; 60_000]),
        Some(Kind::Pod),
        "error reading the manifest: too many values, the most that is taken is 50000",
    );
}
